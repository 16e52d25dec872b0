"""Run engines of TensorRT: the small part of it that a model in parts needs.

TensorRT 8.5 or later (tensors by name) or TensorRT-RTX, and torch or cuda-python for the memory of
the GPU. Sizes that depend on the data are outputs of host parts, so that no engine needs an output
allocator.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from onnx_fix.errors import ModelError, UsageError
from onnx_fix.splitting.manifest import NUMPY, Manifest, Part

SUFFIXES = (".plan", ".engine", ".trt")
"""What the file of an engine may end in, in the place of ``.onnx``."""

_TYPES: Mapping[str, np.dtype[Any]] = {
    "FLOAT": np.dtype(np.float32),
    "HALF": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "FP8": np.dtype(ml_dtypes.float8_e4m3fn),
    "INT64": np.dtype(np.int64),
    "INT32": np.dtype(np.int32),
    "INT8": np.dtype(np.int8),
    "UINT8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
"""The element types of TensorRT by the names of ``DataType``."""


class Device(Protocol):
    """Memory of a GPU, and the stream that everything is put into."""

    stream: int

    def take(self, size: int) -> int:
        """The address of so many new bytes."""
        ...

    def upload(self, address: int, data: NDArray[Any]) -> None:
        """Copy a dense array to an address."""
        ...

    def download(self, address: int, data: NDArray[Any]) -> None:
        """Fill a dense array from an address, after all that is in the stream is done."""
        ...

    def release(self) -> None:
        """Give all the memory back."""
        ...


class CudaDevice:
    """The current GPU by cuda-python."""

    def __init__(self, cudart: Any) -> None:
        self._cudart = cudart
        self._taken: list[int] = []
        self.stream = int(self._asked("cudaStreamCreate"))

    def take(self, size: int) -> int:
        """The address of so many new bytes."""
        address = int(self._asked("cudaMalloc", max(size, 1)))
        self._taken.append(address)
        return address

    def upload(self, address: int, data: NDArray[Any]) -> None:
        """Copy a dense array to an address."""
        if data.nbytes:
            kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
            self._asked("cudaMemcpy", address, data.ctypes.data, data.nbytes, kind)

    def download(self, address: int, data: NDArray[Any]) -> None:
        """Fill a dense array from an address, after all that is in the stream is done."""
        self._asked("cudaStreamSynchronize", self.stream)
        if data.nbytes:
            kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
            self._asked("cudaMemcpy", data.ctypes.data, address, data.nbytes, kind)

    def release(self) -> None:
        """Give all the memory back."""
        while self._taken:
            self._asked("cudaFree", self._taken.pop())

    def _asked(self, name: str, *arguments: object) -> Any:
        status, *values = getattr(self._cudart, name)(*arguments)
        if int(status) != 0:
            raise ModelError(f"the GPU cannot be used: {name} says {status!r}")
        return values[0] if values else None


class TorchDevice:
    """The current GPU by torch."""

    def __init__(self, torch: Any) -> None:
        if not torch.cuda.is_available():
            raise ModelError("the GPU cannot be used: torch finds no CUDA device")
        self._torch = torch
        self._taken: dict[int, Any] = {}
        self._stream = torch.cuda.Stream()
        self.stream = int(self._stream.cuda_stream)

    def take(self, size: int) -> int:
        """The address of so many new bytes."""
        held = self._torch.empty(max(size, 1), dtype=self._torch.uint8, device="cuda")
        self._taken[held.data_ptr()] = held
        return int(held.data_ptr())

    def upload(self, address: int, data: NDArray[Any]) -> None:
        """Copy a dense array to an address."""
        if data.nbytes:
            raw = np.frombuffer(data.tobytes(), np.uint8).copy()
            self._taken[address][: data.nbytes].copy_(self._torch.from_numpy(raw))
            self._torch.cuda.current_stream().synchronize()

    def download(self, address: int, data: NDArray[Any]) -> None:
        """Fill a dense array from an address, after all that is in the stream is done."""
        self._stream.synchronize()
        if data.nbytes:
            raw = self._taken[address][: data.nbytes].cpu().numpy()
            data[...] = np.frombuffer(raw.tobytes(), data.dtype).reshape(data.shape)

    def release(self) -> None:
        """Give all the memory back."""
        self._taken.clear()


def open_device() -> Device:
    """The GPU, by cuda-python or else torch.

    Raises:
        UsageError: neither is installed.
        ModelError: there is no GPU that can be used.
    """
    for module in ("cuda.bindings.runtime", "cuda.cudart"):
        cudart = _module(module)
        if cudart is not None:
            return CudaDevice(cudart)
    torch = _module("torch")
    if torch is not None:
        return TorchDevice(torch)
    raise UsageError(
        "engines need memory of the GPU, and neither cuda-python nor torch is installed: "
        "pip install cuda-python"
    )


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


class Engines:
    """The engines of a folder, and the TensorRT that runs them."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Look for all that is needed before anything is loaded.

        Raises:
            UsageError: a package, or the engine of a part, is missing.
            ModelError: there is no GPU that can be used.
        """
        rtx = manifest.target.startswith("rtx-")
        package = "tensorrt_rtx" if rtx else "tensorrt"
        self._files: dict[str, Path] = {}
        missing: list[Part] = []
        for part in manifest.parts:
            if part.kind == "engine":
                beside = [(folder / part.file).with_suffix(s) for s in SUFFIXES]
                found = next((path for path in beside if path.is_file()), None)
                if found is None:
                    missing.append(part)
                else:
                    self._files[part.file] = found
        if missing:
            raise UsageError(_how_to_build(missing, folder, rtx))
        self._trt = _module(package)
        if self._trt is None:
            extra = "rtx" if rtx else "tensorrt"
            raise UsageError(
                f"the parts are for {manifest.target}, and the package {package} is not "
                f"installed: pip install 'onnx-fix[{extra}]', or run them in onnxruntime"
            )
        self._device = open_device()
        severity = getattr(self._trt, "ILogger", self._trt.Logger).Severity
        self._logger = self._trt.Logger(severity.ERROR)
        if hasattr(self._trt, "init_libnvinfer_plugins"):
            self._trt.init_libnvinfer_plugins(self._logger, "")
        self._runtime = self._trt.Runtime(self._logger)

    def open(self, part: Part) -> Engine:
        """The engine of a part.

        Raises:
            ModelError: it cannot be loaded.
        """
        path = self._files[part.file]
        engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise ModelError(
                f"{path} is no engine of the installed TensorRT {self._trt.__version__} and this "
                f"GPU; build it again from {part.file}"
            )
        if not hasattr(engine, "num_io_tensors"):
            raise UsageError(
                f"TensorRT {self._trt.__version__} does not know tensors by name, which this "
                "runner needs (8.5 or later); the manifest says what an application has to do"
            )
        return Engine(self._trt, engine, self._device, part, path)


class Engine:
    """One engine with its context."""

    def __init__(self, trt: Any, engine: Any, device: Device, part: Part, path: Path) -> None:
        self._trt = trt
        self._device = device
        self._path = path
        self._outputs = {t.name: NUMPY.get(t.dtype) for t in part.outputs}
        self._context = engine.create_execution_context()
        if self._context is None:
            raise ModelError(f"{path} gets no context; the GPU may lack memory")
        self._engine = engine
        self._names = [engine.get_tensor_name(k) for k in range(engine.num_io_tensors)]

    def __call__(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run on the inputs of the part; element types are those of the manifest again.

        Raises:
            ModelError: a size is outside of the profile, or the run fails.
        """
        try:
            return self._run(feeds)
        finally:
            self._device.release()

    def _run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        kept: list[NDArray[Any]] = []
        for name in self._names:
            if self._is_input(name):
                kept.append(self._give(name, feeds[name]))
        places: dict[str, tuple[int, NDArray[Any]]] = {}
        for name in self._names:
            if not self._is_input(name):
                places[name] = self._prepare(name)
        if not self._context.execute_async_v3(self._device.stream):
            raise ModelError(f"{self._path} does not run; TensorRT's log says why")
        found: dict[str, NDArray[Any]] = {}
        for name, (address, array) in places.items():
            self._device.download(address, array)
            if not self._on_host(name):
                found[name] = array
            else:
                found[name] = array.copy()
        return {n: a.astype(self._outputs[n] or a.dtype, copy=False) for n, a in found.items()}

    def _is_input(self, name: str) -> bool:
        return bool(self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT)

    def _on_host(self, name: str) -> bool:
        """Whether the values decide on shapes, so that they have to lie in host memory."""
        return bool(self._engine.get_tensor_location(name) == self._trt.TensorLocation.HOST)

    def _dtype(self, name: str) -> np.dtype[Any]:
        kind = str(self._engine.get_tensor_dtype(name)).rpartition(".")[2]
        if kind not in _TYPES:
            raise ModelError(f"{self._path}: '{name}' is {kind}, which numpy has no type for")
        return _TYPES[kind]

    def _give(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        array = narrowed(value, self._dtype(name), name)
        if not self._context.set_input_shape(name, tuple(array.shape)):
            raise ModelError(
                f"{self._path}: shape {list(array.shape)} of '{name}' is outside of the profile "
                "that the engine was built with"
            )
        if self._on_host(name):
            self._context.set_tensor_address(name, array.ctypes.data)
            return array
        address = self._device.take(array.nbytes)
        self._device.upload(address, array)
        self._context.set_tensor_address(name, address)
        return array

    def _prepare(self, name: str) -> tuple[int, NDArray[Any]]:
        shape = tuple(self._context.get_tensor_shape(name))
        if any(size < 0 for size in shape):
            raise ModelError(
                f"{self._path}: the size of '{name}' is not known before the run, which no part "
                "made by onnx-fix split has"
            )
        array = np.empty(shape, self._dtype(name))
        address = array.ctypes.data if self._on_host(name) else self._device.take(array.nbytes)
        self._context.set_tensor_address(name, address)
        return address, array


def narrowed(value: NDArray[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """A dense array of the type that an engine has: INT64 is INT32 there before release 9.

    Raises:
        ModelError: a number does not fit.
    """
    if value.dtype.kind in "iu" and dtype.kind in "iu" and value.size:
        bounds = np.iinfo(dtype)
        if value.min() < bounds.min or value.max() > bounds.max:
            raise ModelError(f"'{name}' has numbers that do not fit into {dtype.name}")
    return np.ascontiguousarray(value, dtype).reshape(value.shape)


def _how_to_build(missing: list[Part], folder: Path, rtx: bool) -> str:
    program = "tensorrt_rtx" if rtx else "trtexec"
    lines = []
    for part in missing:
        dynamic = [
            f"{t.name}:{'x'.join(str(d) if isinstance(d, int) else f'<{d}>' for d in t.shape)}"
            for t in part.inputs
            if t.shape is not None and any(isinstance(d, str) for d in t.shape)
        ]
        ranges = "".join(f" --{k}Shapes={','.join(dynamic)}" for k in ("min", "opt", "max"))
        path = folder / part.file
        lines.append(
            f"  {program} --onnx={path} --saveEngine={path.with_suffix(SUFFIXES[0])}"
            + (ranges if dynamic else "")
        )
    return "there is no engine beside these parts; build them:\n" + "\n".join(lines)
