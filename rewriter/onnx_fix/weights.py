"""Constant tensors: where their bytes lie, and the one way to read them."""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx_graphsurgeon.ir.tensor import LazyValues

from onnx_fix.errors import ModelError

_KEPT_BYTES = 256
"""Tensors of at most this size stay in memory once read."""

STUB = "onnx-fix:stub:"
"""Start of the location of a tensor whose bytes were left out of a skeleton."""


def element_count(tensor: TensorProto) -> int:
    """How many elements a tensor has."""
    return math.prod(tensor.dims)


def is_external(tensor: TensorProto) -> bool:
    """Whether the bytes lie outside the model file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def external_location(tensor: TensorProto) -> str:
    """The location entry of an external tensor, as written."""
    return next((e.value for e in tensor.external_data if e.key == "location"), "")


def data_path(tensor: TensorProto, base_dir: Path | None) -> Path:
    """The file that holds an external tensor, which must lie below the model's own folder.

    Raises:
        ModelError: the location is empty, absolute, leaves the folder, or no file is there.
    """
    location = external_location(tensor)
    if base_dir is None:
        raise ModelError(
            f"tensor '{tensor.name}' keeps its data in '{location}', but the model was given "
            "without a folder; pass the path of the model file instead"
        )
    parts = PurePosixPath(location.replace("\\", "/"))
    outside = parts.is_absolute() or PureWindowsPath(location).drive or ".." in parts.parts
    path = base_dir / parts
    if not location or outside or not path.resolve().is_relative_to(base_dir.resolve()):
        raise ModelError(
            f"tensor '{tensor.name}' keeps its data in '{location}', which is outside the model's "
            f"folder {base_dir}; move the data file beside the model and export again"
        )
    if not path.is_file():
        raise ModelError(
            f"tensor '{tensor.name}' keeps its data in '{location}', and there is no such file in "
            f"{base_dir}; copy it beside the model"
        )
    return path


def read_tensor(tensor: TensorProto, base_dir: Path | None) -> NDArray[np.generic]:
    """The value of a tensor; an external one is read, and only its own bytes.

    Raises:
        ModelError: the data is missing, too short, or outside the model's folder.
    """
    if not is_external(tensor):
        return np.asarray(numpy_helper.to_array(tensor))
    entries = {e.key: e.value for e in tensor.external_data}
    path = data_path(tensor, base_dir)
    length = int(entries["length"]) if entries.get("length") else -1
    with path.open("rb") as file:
        file.seek(int(entries.get("offset") or 0))
        raw = file.read(length)
    if 0 <= length != len(raw):
        raise ModelError(
            f"tensor '{tensor.name}' should have {length} bytes in {path}, which ends after "
            f"{len(raw)} of them; the file is truncated, copy it again"
        )
    loaded = TensorProto()
    loaded.data_type = tensor.data_type
    loaded.dims.extend(tensor.dims)
    loaded.raw_data = raw
    return np.asarray(numpy_helper.to_array(loaded))


def retyped(tensor: TensorProto, dtype: int, base_dir: Path | None) -> TensorProto:
    """A tensor with its values in another element type.

    Raises:
        ModelError: as ``read_tensor``.
    """
    kind = onnx.helper.tensor_dtype_to_np_dtype(dtype)
    return numpy_helper.from_array(read_tensor(tensor, base_dir).astype(kind), tensor.name)


def stub(tensor: TensorProto, number: int) -> TensorProto:
    """A tensor of the same name, type and shape without its bytes, recognisable by a number."""
    light = TensorProto()
    light.name = tensor.name
    light.data_type = tensor.data_type
    light.dims.extend(tensor.dims)
    light.data_location = TensorProto.EXTERNAL
    entry = light.external_data.add()
    entry.key, entry.value = "location", f"{STUB}{number}"
    return light


def stub_number(tensor: TensorProto) -> int | None:
    """The number given to ``stub``, or None for a tensor that has its bytes."""
    location = external_location(tensor) if is_external(tensor) else ""
    return int(location.removeprefix(STUB)) if location.startswith(STUB) else None


def is_stub(tensor: TensorProto) -> bool:
    """Whether the bytes were left out of a skeleton."""
    return is_external(tensor) and external_location(tensor).startswith(STUB)


def is_heavy(tensor: TensorProto, limit: int) -> bool:
    """Whether a skeleton leaves the bytes out: external data, or more than ``limit`` elements."""
    return is_external(tensor) or element_count(tensor) > limit


class StoredValues(LazyValues):  # type: ignore[misc]
    """The values of a tensor of the model file: read on demand, below the model's folder only."""

    def __init__(self, tensor: TensorProto, base_dir: Path | None) -> None:
        self.tensor = tensor
        self.base_dir = base_dir
        self.shape = tuple(tensor.dims)
        self._kept: NDArray[np.generic] | None = None

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The numpy type of the elements."""
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(self.tensor.data_type))

    @property
    def nbytes(self) -> int:
        """The size in memory."""
        return element_count(self.tensor) * self.dtype.itemsize

    def load(self) -> NDArray[np.generic]:
        """Read the values; small ones, which are asked for again and again, are kept.

        Raises:
            ModelError: as ``read_tensor``.
        """
        if self._kept is not None:
            return self._kept
        value = read_tensor(self.tensor, self.base_dir)
        if value.nbytes <= _KEPT_BYTES:
            value.flags.writeable = False
            self._kept = value
        return value


class StoredConstant(gs.Constant):  # type: ignore[misc]
    """A constant of the model file. Looking at its values leaves it one of the file: GraphSurgeon's
    own class would keep the array in its place, and so lose where the bytes lie."""

    @property
    def values(self) -> NDArray[np.generic]:
        """The values, read on demand.

        Raises:
            ModelError: as ``read_tensor``.
        """
        return np.asarray(self._values.load())


def stored_constant(tensor: TensorProto, base_dir: Path | None) -> gs.Constant:
    """A constant that is backed by a tensor of the model file."""
    return StoredConstant(tensor.name, StoredValues(tensor, base_dir))


def stored_proto(constant: gs.Constant) -> TensorProto | None:
    """The proto behind a constant of the model file, or None for one made by a pass."""
    values = constant._values
    return values.tensor if isinstance(values, StoredValues) else None


def constant_proto(constant: gs.Constant) -> TensorProto:
    """A constant as a named TensorProto."""
    stored = stored_proto(constant)
    if stored is not None:
        named = TensorProto()
        named.CopyFrom(stored)
        named.name = constant.name
        return named
    return numpy_helper.from_array(np.asarray(constant.values), constant.name)
