"""Dims of inputs that become numbers: which are meant, and the model with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from onnx import GraphProto, ModelProto, ValueInfoProto

from onnx_fix.dim_names import symbol_of
from onnx_fix.errors import UsageError
from onnx_fix.functions import bodies_of, every_node
from onnx_fix.profiles.settle import near
from onnx_fix.verify.symbols import dim_at, dim_size, fed_inputs, symbols, tensor_type

Sizes = dict[str, int]
"""Sizes by symbol; a dim without a name is called ``input[axis]``."""


def parse_static(texts: Sequence[str]) -> dict[str, int]:
    """``NAME=SIZE`` as a mapping; NAME is a symbol, or INPUT:AXIS.

    Raises:
        UsageError: it is not of this form, or a name comes twice.
    """
    found: dict[str, int] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        if not name or not number.isdecimal() or int(number) < 1:
            raise UsageError(
                f"'{text}': DIM=SIZE is wanted, such as batch=1 or image:2=480, with a positive "
                "SIZE"
            )
        if name in found:
            raise UsageError(f"'{text}': {name} is given a size twice")
        found[name] = int(number)
    return found


def sizes_of(model: ModelProto, static: Mapping[str, int]) -> Sizes:
    """The sizes that symbols of the inputs get.

    Args:
        model: The model as it came.
        static: Sizes by symbol, or by INPUT:AXIS (from the end where negative).

    Raises:
        UsageError: there is no such dim, or it has another size already.
    """
    free = symbols(model)
    found: Sizes = {}
    said: dict[str, str] = {}
    for name, number in static.items():
        symbol = name if name in free else _symbol_at(model, name, number)
        if symbol is None:
            continue
        if symbol not in free:
            raise UsageError(
                f"the size of {name} is {symbol}, which follows from other dims; give theirs: "
                f"{', '.join(free)}"
            )
        if found.setdefault(symbol, number) != number:
            raise UsageError(
                f"{said[symbol]}={found[symbol]} and {name}={number} are one dim, {symbol}"
            )
        said.setdefault(symbol, name)
    return found


def _symbol_at(model: ModelProto, place: str, number: int) -> str | None:
    """What the dim INPUT:AXIS is called; None where it is that number already."""
    inputs = {value.name: value for value in fed_inputs(model)}
    name, _, axis = place.rpartition(":")
    if name not in inputs or not axis.removeprefix("-").isdecimal():
        known = [*symbols(model), *(f"{n}:AXIS" for n in inputs)]
        raise UsageError(f"the model has no dim '{place}'{near(place, known)}")
    _, dim = dim_at(inputs[name], int(axis))
    if isinstance(dim, str):
        return dim
    if dim != number:
        raise UsageError(f"{place} is always {dim} in the model, and cannot be {number}")
    return None


def with_static(model: ModelProto, sizes: Mapping[str, int]) -> ModelProto:
    """The model with the sizes in all shapes that it declares; a copy.

    Arithmetic over the symbols (``2*N``) becomes a number as well, where it can be told.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    for value in _declared(copy):
        found = tensor_type(value.type)
        if found is None or not found.HasField("shape"):
            continue
        for axis, dim in enumerate(found.shape.dim):
            if dim.HasField("dim_value") and dim.dim_value >= 0:
                continue
            try:
                dim.dim_value = dim_size(symbol_of(dim) or f"{value.name}[{axis}]", sizes)
            except UsageError:  # another symbol
                continue
    return copy


def _declared(model: ModelProto) -> Iterator[ValueInfoProto]:
    """The values whose shapes the model declares, in inner graphs as well."""
    graphs: list[GraphProto] = [model.graph]
    for _, node in every_node(model.graph.node):
        graphs += bodies_of(node)
    for graph in graphs:
        yield from graph.input
        yield from graph.output
        yield from graph.value_info
