"""Run a model on the CPU: onnxruntime with graph optimisations off, or the onnx reference."""

from __future__ import annotations

import ctypes
import re
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import onnx
from onnx import external_data_helper

from onnx_fix.errors import UsageError
from onnx_fix.load import stored_tensors
from onnx_fix.verify.feeds import DTYPES, Value
from onnx_fix.verify.source import ChainSource, ModelSource, Source
from onnx_fix.verify.symbols import dim_size
from onnx_fix.weights import external_location, is_external

OracleName = Literal["onnxruntime", "onnx.reference"]
ORACLES: tuple[OracleName, ...] = ("onnxruntime", "onnx.reference")
"""All oracles, the one that is asked first in front."""

SERIALIZED_LIMIT = 2**31 - 2**20
"""Bytes of weights beyond which a model cannot be handed over as one protobuf message (2 GiB)."""

_FOLDER_OPTION = "session.model_external_initializers_file_folder_path"
_FOLDER_OPTION_SINCE = (1, 21)
_SPILL_ABOVE = 1024
_MESSAGE_LENGTH = 600
# What onnxruntime says where it has no kernel, does not know the operator, or not yet the opset.
_LACKS = re.compile(
    r"NOT_IMPLEMENTED|Could not find an implementation|No Op registered for"
    r"|is not a registered function/op|is under development|If you need support create"
)
_IR_TOO_NEW = re.compile(r"max supported IR version: (\d+)")
# Types that numpy has no dtype for, as onnxruntime names them.
_EXOTIC: Mapping[str, int] = {
    "tensor(bfloat16)": onnx.TensorProto.BFLOAT16,
    "tensor(float8e4m3fn)": onnx.TensorProto.FLOAT8E4M3FN,
    "tensor(float8e4m3fnuz)": onnx.TensorProto.FLOAT8E4M3FNUZ,
    "tensor(float8e5m2)": onnx.TensorProto.FLOAT8E5M2,
    "tensor(float8e5m2fnuz)": onnx.TensorProto.FLOAT8E5M2FNUZ,
}


class RunError(Exception):
    """A model does not load or does not run; ``lacks_kernel`` where another oracle may do it."""

    def __init__(self, message: str, *, lacks_kernel: bool = False) -> None:
        super().__init__(message)
        self.lacks_kernel = lacks_kernel


class Oracle(Protocol):
    """Something that computes a model's outputs."""

    def run(self, feeds: Mapping[str, Value]) -> dict[str, Any]:
        """Return every output by name; raise `RunError` where that fails."""


def open_oracle(source: Source, name: OracleName, threads: int = 0) -> Oracle:
    """Load a model, or the models of a chain.

    Args:
        source: The model. Nothing is written to its folder.
        name: Which oracle.
        threads: Threads within an operator, onnxruntime alone; 0 leaves it to onnxruntime.

    Raises:
        RunError: It does not load.
    """
    if isinstance(source, ChainSource):
        return Chain(source, [open_oracle(link, name, threads) for link in source.links])
    if name == "onnxruntime":
        return OnnxRuntime(source, threads)
    return Reference(source)


class Chain:
    """Models that run one after the other; what no later one reads is let go of.

    What goes between them must have the sizes that are declared, the same for the same symbol.
    """

    def __init__(self, source: ChainSource, oracles: Sequence[Oracle]) -> None:
        self._source = source
        self._oracles = oracles

    def run(self, feeds: Mapping[str, Value]) -> dict[str, Any]:
        """Return every output by name."""
        links = self._source.links
        there: dict[str, Any] = dict(feeds)
        sizes: dict[str, int] = {}
        for name in self._source.given:
            self._check(name, there.get(name), sizes)
        for number, (link, oracle) in enumerate(zip(links, self._oracles, strict=True)):
            made = oracle.run({name: there[name] for name in link.inputs()})
            for name in made:
                self._check(name, made[name], sizes)
            there |= made
            later = {name for other in links[number + 1 :] for name in other.inputs()}
            later.update(self._source.wanted)
            there = {name: value for name, value in there.items() if name in later}
        return {name: there[name] for name in self._source.wanted}

    def _check(self, name: str, value: object, sizes: dict[str, int]) -> None:
        """Compare a shape with what is declared, and learn the sizes of its symbols.

        Raises:
            RunError: they differ.
        """
        dims = self._source.declared.get(name)
        if dims is None or not isinstance(value, np.ndarray):
            return
        wanted: list[int | str] = []
        for dim in dims:
            try:
                wanted.append(dim_size(dim, sizes))
            except UsageError:
                wanted.append(dim)
        fits = len(dims) == value.ndim and all(
            isinstance(want, str) or want == size
            for want, size in zip(wanted, value.shape, strict=True)
        )
        if not fits:
            raise RunError(
                f"'{name}' goes between two parts and has shape {list(value.shape)}, declared is "
                f"[{', '.join(map(str, dims))}], which would be [{', '.join(map(str, wanted))}]; "
                "correct the names of dims in the export"
            )
        for want, size in zip(wanted, value.shape, strict=True):
            if isinstance(want, str):
                sizes[want] = size


class OnnxRuntime:
    """A session of onnxruntime: CPU, no graph optimisation, silent."""

    def __init__(self, source: ModelSource, threads: int = 0) -> None:
        self._kept: list[object] = []
        self._outputs = source.outputs()
        with _reported("onnxruntime"):
            self._session = self._open(source, threads)
            types = [v.type for v in (*self._session.get_inputs(), *self._session.get_outputs())]
            self._exotic = any(kind in _EXOTIC for kind in types)
            self._input_types = {v.name: v.type for v in self._session.get_inputs()}

    def run(self, feeds: Mapping[str, Value], seconds: float | None = None) -> dict[str, Any]:
        """Return every output by name; a run that takes longer than ``seconds`` fails."""
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        with _ended(options, seconds), _reported("onnxruntime"):
            if self._exotic:
                given = {name: self._to_ort(name, value) for name, value in feeds.items()}
                results = self._session.run_with_ort_values(self._outputs, given, options)
                values: Sequence[Any] = [_from_ort(result) for result in results]
            else:
                values = self._session.run(self._outputs, dict(feeds), options)
        return dict(zip(self._outputs, values, strict=True))

    def _open(self, source: ModelSource, threads: int) -> Any:
        options = self._options(threads)
        if source.path is not None:
            try:
                return _session(str(source.path), options)
            except Exception as error:
                if not _IR_TOO_NEW.search(str(error)):
                    raise
                options = self._options(threads)
        proto = self._spill(source.proto, options)
        if not _has_external(proto):
            return self._from_memory(proto, options)
        if source.base_dir is None:
            raise RunError("its weights are external, and the folder they lie in was not given")
        if _version() >= _FOLDER_OPTION_SINCE:
            options.add_session_config_entry(_FOLDER_OPTION, str(source.base_dir.resolve()))
            return self._from_memory(proto, options)
        return _from_links(proto, source.base_dir, options)

    def _from_memory(self, proto: onnx.ModelProto, options: Any) -> Any:
        try:
            return _session(proto.SerializeToString(), options)
        except Exception as error:
            newest = _IR_TOO_NEW.search(str(error))
            if newest is None:
                raise
            # The stamp is newer than this onnxruntime knows; the graph most often is not.
            older = onnx.ModelProto()
            older.CopyFrom(proto)
            older.ir_version = int(newest.group(1))
            return _session(older.SerializeToString(), options)

    def _options(self, threads: int) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Sizes change from case to case: patterns are of no use, and an arena keeps the largest.
        options.enable_mem_pattern = False
        options.enable_cpu_mem_arena = False
        options.use_deterministic_compute = True
        # Few runs never win back the time to repack weights, and a packed copy of weights that
        # are mapped from their file takes as much memory again.
        options.add_session_config_entry("session.disable_prepacking", "1")
        return options

    def _spill(self, proto: onnx.ModelProto, options: Any) -> onnx.ModelProto:
        """Hand inline weights over beside the message where it would pass the protobuf limit."""
        weights = [t for t in proto.graph.initializer if len(t.raw_data) > _SPILL_ABOVE]
        if sum(len(tensor.raw_data) for tensor in weights) <= SERIALIZED_LIMIT:
            return proto
        small = onnx.ModelProto()
        for field, value in proto.ListFields():
            if field.name != "graph":
                _assign(small, field.name, value)
        for field, value in proto.graph.ListFields():
            if field.name != "initializer":
                _assign(small.graph, field.name, value)
        names, values = [], []
        for tensor in proto.graph.initializer:
            if len(tensor.raw_data) <= _SPILL_ABOVE:
                small.graph.initializer.append(tensor)
                continue
            outside = small.graph.initializer.add(
                name=tensor.name, data_type=tensor.data_type, dims=tensor.dims
            )
            outside.data_location = onnx.TensorProto.EXTERNAL
            outside.external_data.add(key="location", value="memory")
            names.append(tensor.name)
            values.append(self._ort_value(onnx.numpy_helper.to_array(tensor), tensor.data_type))
        options.add_external_initializers(names, values)
        return small

    def _to_ort(self, name: str, value: Value) -> Any:
        import onnxruntime

        kind = self._input_types.get(name, "")
        if isinstance(value, list) or value.dtype == np.object_:
            raise RunError(
                f"onnxruntime: its Python interface cannot take input '{name}' ({kind}) in one "
                "call with the model's 16-bit or 8-bit floats",
                lacks_kernel=True,
            )
        if kind in _EXOTIC:
            return self._ort_value(value, _EXOTIC[kind])
        return onnxruntime.OrtValue.ortvalue_from_numpy(value)

    def _ort_value(self, array: Any, elem_type: int) -> Any:
        """Wrap an array without a copy; the array is kept, since onnxruntime only points at it."""
        import onnxruntime

        array = np.ascontiguousarray(array).reshape(array.shape)
        if elem_type in _EXOTIC.values():
            array = array.view(np.uint16 if array.itemsize == 2 else np.uint8)
            make = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type
            value = make(array, elem_type)
        else:
            value = onnxruntime.OrtValue.ortvalue_from_numpy(array)
        self._kept += [array, value]
        return value


@contextmanager
def _ended(options: Any, seconds: float | None) -> Iterator[None]:
    """Make onnxruntime stop after the node that it is at when the time is over."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, lambda: setattr(options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _assign(message: Any, name: str, value: Any) -> None:
    descriptor = message.DESCRIPTOR.fields_by_name[name]
    if descriptor.message_type is None and isinstance(value, (str, bytes, int, float, bool)):
        setattr(message, name, value)
    elif isinstance(value, Sequence) or hasattr(value, "extend"):
        getattr(message, name).extend(value)
    else:
        getattr(message, name).CopyFrom(value)


def _session(model: str | bytes, options: Any) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _version() -> tuple[int, ...]:
    import onnxruntime

    return tuple(int(part) for part in re.findall(r"\d+", onnxruntime.__version__)[:2])


def _from_ort(value: Any) -> Any:
    kind = value.data_type()
    if kind not in _EXOTIC:
        return value.numpy()
    # OrtValue.numpy() refuses these types, so read its memory: elements lie densely, C order.
    dtype = np.dtype(DTYPES[_EXOTIC[kind]])
    shape = tuple(value.shape())
    data = ctypes.string_at(value.data_ptr(), prod(shape) * dtype.itemsize)
    return np.frombuffer(data, dtype=dtype).reshape(shape)


def _locations(proto: onnx.ModelProto) -> list[str]:
    return sorted({external_location(t) for t in stored_tensors(proto) if is_external(t)} - {""})


def _has_external(proto: onnx.ModelProto) -> bool:
    return any(location != "memory" for location in _locations(proto))


def _from_links(proto: onnx.ModelProto, base_dir: Path, options: Any) -> Any:
    """Load from a folder of our own that links to the weights, for onnxruntime before 1.21."""
    root = base_dir.resolve()
    with tempfile.TemporaryDirectory(prefix="onnx-fix-") as name:
        folder = Path(name)
        for location in _locations(proto):
            target = (root / location).resolve()
            if not target.is_relative_to(root):
                raise RunError(f"external data '{location}' lies outside the model's folder")
            link = folder / location
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)
        (folder / "model.onnx").write_bytes(proto.SerializeToString())
        return _session(str(folder / "model.onnx"), options)


class Reference:
    """The reference implementation of the onnx package: slow, and knows every standard operator."""

    def __init__(self, source: ModelSource) -> None:
        self._outputs = source.outputs()
        with _reported("onnx.reference"):
            from onnx.reference import ReferenceEvaluator

            proto = source.proto
            if _locations(proto):
                if source.base_dir is None:
                    raise RunError("its weights are external, and their folder was not given")
                proto = onnx.ModelProto()
                proto.CopyFrom(source.proto)
                external_data_helper.load_external_data_for_model(proto, str(source.base_dir))
            self._evaluator = ReferenceEvaluator(proto)

    def run(self, feeds: Mapping[str, Value]) -> dict[str, Any]:
        """Return every output by name."""
        with _reported("onnx.reference"), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            values = self._evaluator.run(None, dict(feeds))
        return dict(zip(self._outputs, values, strict=True))


class _reported:
    """Turn whatever an oracle raises into a `RunError` with its message."""

    def __init__(self, oracle: OracleName) -> None:
        self._oracle = oracle

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, RunError):
            return
        text = str(error) or type(error).__name__
        lacks = self._oracle == "onnxruntime" and bool(_LACKS.search(text))
        raise RunError(f"{self._oracle}: {_shorten(text)}", lacks_kernel=lacks) from error


def _shorten(text: str) -> str:
    """Drop onnxruntime's source locations and status prefix; keep one line."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : (\w+) : ", r"\1: ", text.strip())
    text = re.sub(r"/\S+\.(?:cc|h|cpp):\d+ [^()]+\([^()]*\)(?: const)? ", "", text)
    text = " ".join(text.split())
    return text if len(text) <= _MESSAGE_LENGTH else text[: _MESSAGE_LENGTH - 1] + "…"
