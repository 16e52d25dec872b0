"""The dynamic dims of a model's inputs: which there are, and what a set of sizes makes of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import onnx

from onnx_fix.dim_names import symbol_of
from onnx_fix.errors import UsageError
from onnx_fix.symbolic import Size, parse_size


@dataclass(frozen=True, slots=True)
class Place:
    """Where a symbol stands: ``axis`` of an input of ``rank`` axes."""

    input: str
    axis: int
    rank: int


def fed_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the graph inputs a caller must give a value for.

    Below IR version 4 every initializer is listed as an input too; those have a value already.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    constants.update(sparse.values.name for sparse in model.graph.sparse_initializer)
    return [value for value in model.graph.input if value.name not in constants]


def tensor_type(value_type: onnx.TypeProto) -> onnx.TypeProto.Tensor | None:
    """Return the tensor type of a value or of a sequence's or optional's elements, or None."""
    kind = value_type.WhichOneof("value")
    if kind == "tensor_type":
        return value_type.tensor_type
    if kind == "sequence_type":
        return tensor_type(value_type.sequence_type.elem_type)
    if kind == "optional_type":
        return tensor_type(value_type.optional_type.elem_type)
    return None


def input_dims(value: onnx.ValueInfoProto) -> tuple[int | str, ...] | None:
    """Return the declared dims of an input, or None where its rank is not declared.

    A dim is an int, or the name of its symbol. A dim without a name (or with a negative size, as
    some exporters write it) gets the name ``input[axis]``: it is a symbol of its own.
    """
    found = tensor_type(value.type)
    if found is None or not found.HasField("shape"):
        return None
    dims: list[int | str] = []
    for axis, dim in enumerate(found.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            dims.append(dim.dim_value)
        else:
            dims.append(symbol_of(dim) or f"{value.name}[{axis}]")
    return tuple(dims)


def dim_at(value: onnx.ValueInfoProto, axis: int) -> tuple[int, int | str]:
    """Return an axis of an input, counted from the front, and the dim there as `input_dims` says.

    Raises:
        UsageError: The input declares no shape, or has no such axis.
    """
    dims = input_dims(value)
    if dims is None:
        raise UsageError(f"input '{value.name}' declares no shape, so no dim of it can be meant")
    if not -len(dims) <= axis < len(dims):
        raise UsageError(f"input '{value.name}' has {len(dims)} dims and no axis {axis}")
    return axis % len(dims), dims[axis]


def _named_dims(model: onnx.ModelProto) -> Iterator[tuple[str, Place]]:
    for value in fed_inputs(model):
        dims = input_dims(value) or ()
        for axis, dim in enumerate(dims):
            if isinstance(dim, str):
                yield dim, Place(value.name, axis, len(dims))


def symbols(model: onnx.ModelProto) -> dict[str, tuple[Place, ...]]:
    """Return every symbol that has a size of its own, with the places it stands at.

    A dim whose name is arithmetic over other symbols (``past + sequence``, ``2*s0``) has none: its
    size follows from theirs. Order: first appearance.
    """
    places: dict[str, list[Place]] = {}
    for name, place in _named_dims(model):
        places.setdefault(name, []).append(place)
    plain = {name for name in places if name.isidentifier()}
    return {
        name: tuple(where)
        for name, where in places.items()
        if name in plain or _arithmetic(name, plain) is None
    }


def dim_size(dim: int | str, sizes: Mapping[str, int]) -> int:
    """Return the size of one dim under ``sizes``.

    Raises:
        UsageError: The dim is a symbol that ``sizes`` does not name.
    """
    if isinstance(dim, int):
        return dim
    if dim in sizes:
        return sizes[dim]
    found = _arithmetic(dim, sizes)
    if found is None:
        known = ", ".join(sizes) or "none"
        raise UsageError(f"no size is given for the dynamic dim '{dim}' (given: {known})")
    try:
        return max(0, found.at(sizes))
    except ZeroDivisionError:
        return 0


def _arithmetic(text: str, names: Collection[str]) -> Size | None:
    """A name read as integer arithmetic over ``names``; None where it is anything else."""
    found = _read(text)
    if found is None or not found.symbols.issubset(names):
        return None
    # Some exporters write -1 for a dim without a size.
    return None if found.number is not None and found.number < 0 else found


@lru_cache(maxsize=1024)
def _read(text: str) -> Size | None:
    try:
        return parse_size(text)
    except UsageError:
        return None
