"""The manifest of a model in parts: what runs where, in which order, on which tensors."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from onnx import TensorProto, ValueInfoProto
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from onnx_fix.dim_names import symbol_of
from onnx_fix.errors import ModelError, UsageError
from onnx_fix.verify.feeds import DTYPES
from onnx_fix.verify.symbols import tensor_type

NAME = "manifest.json"
"""The file of the manifest, in the folder of the parts."""

SCHEMA_VERSION = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tensor(_Strict):
    """A tensor that enters or leaves a part, or the model as a whole."""

    name: str
    dtype: str = Field(description="element type: float32, int64, bool, bfloat16, string, ...")
    shape: tuple[int | str, ...] | None = Field(
        description="sizes and symbols; the same symbol is the same size; null: rank not declared"
    )
    data_dependent: bool = Field(
        default=False, description="whether its size follows from the data, not from input sizes"
    )
    has_default: bool = Field(
        default=False, description="whether the part has a value for it, if none is given"
    )


class Part(_Strict):
    """One part: an ONNX model of its own."""

    file: str = Field(description="the model, in the folder of the manifest")
    kind: Literal["engine", "host"] = Field(
        description="engine: for TensorRT; host: for onnxruntime or code of your own"
    )
    sha256: str = Field(description="hash of the file")
    nodes: tuple[str, ...] = Field(
        default=(), description="of a host part: the nodes that the model was cut at"
    )
    refused: int = Field(default=0, description="nodes left in it that the target refuses")
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Original(_Strict):
    """The model that was cut."""

    name: str
    sha256: str = Field(description="hash of the model file (external weights aside)")
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Manifest(_Strict):
    """All of it. Within a schema version keys are only ever added."""

    schema_version: Literal[1] = 1
    tool: str = Field(description="the program that wrote it")
    target: str = Field(description="TensorRT release, such as trt-7.2")
    original: Original
    parts: Annotated[tuple[Part, ...], Field(min_length=1, description="in the order they run")]
    external_data: tuple[str, ...] = Field(
        default=(), description="files of weights beside the parts, which several may share"
    )
    verification: str = Field(default="", description="how the parts compared with the original")

    def to_json(self) -> str:
        """The text of the file."""
        return self.model_dump_json(indent=1) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder.

    Raises:
        UsageError: there is none.
        ModelError: it is not one, or of a later version.
    """
    path = folder / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror or error}; pass a folder that onnx-fix split wrote"
        ) from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is no text file") from error
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ModelError(
            f"{path} is no manifest of version {SCHEMA_VERSION}: {where}: {first['msg']}"
        ) from error


def dtype_name(elem_type: int) -> str:
    """An element type as the manifest spells it."""
    if elem_type == TensorProto.STRING:
        return "string"
    if elem_type in DTYPES:
        return str(np.dtype(DTYPES[elem_type]).name)
    return TensorProto.DataType.Name(elem_type).lower()


NUMPY = {dtype_name(elem): np.dtype(scalar) for elem, scalar in DTYPES.items()}
"""The numpy type of each element type, by its name in the manifest."""


def tensor_of(
    value: ValueInfoProto, *, data_dependent: bool = False, has_default: bool = False
) -> Tensor:
    """A declared input or output as the manifest has it; a dim without a name gets ``name[axis]``.

    Raises:
        ModelError: it is no tensor.
    """
    found = tensor_type(value.type)
    if found is None or value.type.WhichOneof("value") != "tensor_type":
        raise ModelError(f"'{value.name}' is no tensor, and only tensors can go between parts")
    shape: tuple[int | str, ...] | None = None
    if found.HasField("shape"):
        shape = tuple(
            int(d.dim_value)
            if d.HasField("dim_value") and d.dim_value >= 0
            else symbol_of(d) or f"{value.name}[{axis}]"
            for axis, d in enumerate(found.shape.dim)
        )
    return Tensor(
        name=value.name,
        dtype=dtype_name(found.elem_type),
        shape=shape,
        data_dependent=data_dependent,
        has_default=has_default,
    )


def hash_of(data: bytes) -> str:
    """SHA-256 as the manifest spells it."""
    return hashlib.sha256(data).hexdigest()
