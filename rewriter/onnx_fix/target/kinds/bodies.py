"""The body of an If or Loop, whichever library holds it.

``onnx.GraphProto`` and graphs in the manner of onnx-graphsurgeon (``nodes``, ``inputs``,
``outputs``) are read, the latter with their shapes where they come ``InContext``; of anything else
nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from onnx_fix.dim_names import symbol_of
from onnx_fix.target.facts import Dim


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a body, with its shape where it is declared."""

    name: str
    shape: tuple[Dim, ...] | None


@dataclass(slots=True)
class Body:
    """What the restrictions ask of a body.

    ``read`` holds every name that a node reads (nested bodies included), ``identities`` maps the
    output of each Identity to its input, ``truths`` the value of each constant boolean scalar.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    read: set[str] = field(default_factory=set)
    identities: dict[str, str] = field(default_factory=dict)
    truths: dict[str, bool] = field(default_factory=dict)

    def origin(self, name: str) -> str:
        """Where a tensor comes from, Identity nodes passed over."""
        seen = set()
        while name in self.identities and name not in seen:
            seen.add(name)
            name = self.identities[name]
        return name


@dataclass(frozen=True, slots=True)
class InContext:
    """A graph of onnx-graphsurgeon whose tensors do not hold their shapes: ``shape`` tells them."""

    graph: object
    shape: Callable[[Any], tuple[Dim, ...] | None]


def read_body(graph: object) -> Body | None:
    """The body, or None where the object is not a graph of a known kind."""
    if isinstance(graph, InContext):
        return _from_surgeon(graph.graph, graph.shape)
    # GraphSurgeon first: asked for an attribute it lacks, its Graph prints an error.
    if hasattr(graph, "nodes") and hasattr(graph, "outputs"):
        return _from_surgeon(graph, _surgeon_shape)
    if hasattr(graph, "node") and hasattr(graph, "initializer"):
        return _from_proto(graph)
    return None


def _from_proto(graph: Any) -> Body:
    from onnx import numpy_helper  # numpy_helper is slow to import; only a body needs it

    body = Body(
        tuple(Port(value.name, _proto_shape(value)) for value in graph.input),
        tuple(Port(value.name, _proto_shape(value)) for value in graph.output),
    )
    body.read.update(_proto_reads(graph))
    for tensor in graph.initializer:
        stored_here = tensor.data_location != 1
        if tensor.data_type == 9 and list(tensor.dims) in ([], [1]) and stored_here:
            body.truths[tensor.name] = bool(numpy_helper.to_array(tensor).reshape(-1)[0])
    for node in graph.node:
        if node.op_type == "Identity":
            body.identities[node.output[0]] = node.input[0]
        elif node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value" and attribute.t.data_type == 9:
                    held = numpy_helper.to_array(attribute.t).reshape(-1)
                    if held.size == 1:
                        body.truths[node.output[0]] = bool(held[0])
    return body


def _proto_shape(value: Any) -> tuple[Dim, ...] | None:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else symbol_of(dim) or None
        for dim in kind.shape.dim
    )


def _proto_reads(graph: Any) -> Iterator[str]:
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _proto_reads(inner)
                yield from (value.name for value in inner.output)


def _from_surgeon(graph: Any, shape: Callable[[Any], tuple[Dim, ...] | None]) -> Body:
    body = Body(
        tuple(Port(tensor.name, shape(tensor)) for tensor in graph.inputs),
        tuple(Port(tensor.name, shape(tensor)) for tensor in graph.outputs),
    )
    for node, tensor in _surgeon_reads(graph):
        body.read.add(tensor.name)
        held = getattr(tensor, "values", None) if tensor.shape in ((), [], (1,), [1]) else None
        if held is not None and str(held.dtype) == "bool":
            body.truths[tensor.name] = bool(held.reshape(-1)[0])
        if node.op == "Identity" and node.outputs:
            body.identities[node.outputs[0].name] = tensor.name
    for tensor in graph.outputs:
        held = getattr(tensor, "values", None) if tensor.shape in ((), [], (1,), [1]) else None
        if held is not None and str(held.dtype) == "bool":
            body.truths[tensor.name] = bool(held.reshape(-1)[0])
    return body


def _surgeon_shape(tensor: Any) -> tuple[Dim, ...] | None:
    shape = tensor.shape
    if shape is None:
        return None
    return tuple(size if isinstance(size, int) else str(size) or None for size in shape)


def _surgeon_reads(graph: Any) -> Iterator[tuple[Any, Any]]:
    for node in graph.nodes:
        for tensor in node.inputs:
            yield node, tensor
        for value in node.attrs.values():
            if hasattr(value, "nodes") and hasattr(value, "outputs"):
                yield from _surgeon_reads(value)
                yield from ((node, tensor) for tensor in value.outputs)
