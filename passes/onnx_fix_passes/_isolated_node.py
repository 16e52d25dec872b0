"""A node with inner graphs, apart from the graph around it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import GraphProto, NodeProto, TensorProto, TypeProto

from onnx_fix.constants import RANDOM
from onnx_fix.functions import bodies_of
from onnx_fix.lower.rules.bodies import type_proto
from onnx_fix.scope import Scope, TypeInfo
from onnx_fix.shape_values import ShapeValues
from onnx_fix.weights import read_tensor
from onnx_fix_passes._body_rounds import Array, Unresolved, rename

_SMALL = 64


@dataclass(frozen=True)
class Isolated:
    """The node as it stands, a copy; the tensors that it and its graphs read, with their types;
    and the values of those that are known."""

    scope: Scope
    proto: NodeProto
    tensors: dict[str, gs.Tensor]
    given: dict[str, Array]

    def graph(self, nodes: Iterable[NodeProto], outputs: Iterable[str], name: str) -> GraphProto:
        """A graph of some nodes, whose inputs are what is read from outside."""
        graph = GraphProto(name=name)
        graph.node.extend(nodes)
        own = {output for node in graph.node for output in node.output}
        graph.output.extend(onnx.ValueInfoProto(name=output) for output in outputs)
        for outside, tensor in self.tensors.items():
            if outside in own:
                continue
            value = graph.input.add()
            value.name = outside
            kind = _type(self.scope, tensor)
            if kind is not None:
                value.type.CopyFrom(kind)
        return graph

    def given_in(self, body: GraphProto) -> dict[str, Array]:
        """The values that are known in an inner graph: of what is outside, and its weights."""
        if body.sparse_initializer:
            raise Unresolved("its body has a sparse initializer")
        own = {output for node in body.node for output in node.output}
        own.update(value.name for value in body.input)
        given = {name: value for name, value in self.given.items() if name not in own}
        weights = {t.name: self.read(t) for t in body.initializer if t.name not in own}
        return {**given, **weights}

    def read(self, tensor: TensorProto) -> Array:
        """The value of an initializer of an inner graph."""
        return read_tensor(tensor, self.scope.model.base_dir)


def isolated(scope: Scope, node: gs.Node, values: ShapeValues) -> Isolated:
    """Copy a node with what is known outside of it.

    Raises:
        Unresolved: it draws random numbers, or has parameters of an enclosing function.
    """
    proto = NodeProto()
    proto.CopyFrom(scope.model.whole_proto(node))
    _check(proto)
    tensors: dict[str, gs.Tensor] = {}

    def outside(name: str) -> str:
        tensor = _lookup(scope, name)
        if tensor is not None:
            tensors[name] = tensor
        return name

    rename(proto, outside)
    given = {}
    for name, tensor in tensors.items():
        value = _value(scope, tensor, values)
        if value is not None and value.size <= _SMALL:
            given[name] = value
    return Isolated(scope, proto, tensors, given)


def _type(scope: Scope, tensor: gs.Tensor) -> TypeProto | None:
    """The type of a tensor outside. Symbols are kept for tensors of the main graph only: those of a
    body are declared by whoever wrote it, and need not agree with others of that name."""
    dtype, shape = scope.dtype(tensor), scope.shape(tensor)
    if dtype is None:
        return None
    main = scope.model.main
    if shape is not None and main.tensors.get(tensor.name) is not tensor:
        shape = tuple(d if isinstance(d, int) else None for d in shape)
    return type_proto(TypeInfo(dtype, shape))


def _check(node: NodeProto) -> None:
    """Look for what cannot be written down twice.

    Raises:
        Unresolved: a parameter of a function, or a random number.
    """
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            raise Unresolved(
                f"attribute {attribute.name} of a {node.op_type} is a parameter of the enclosing "
                "function; inline it"
            )
    for graph in bodies_of(node):
        for inner in graph.node:
            if inner.op_type in RANDOM and not _rests(inner):
                raise Unresolved(f"it draws random numbers ({inner.op_type})")
            _check(inner)


def _rests(node: NodeProto) -> bool:
    """Whether a Dropout does nothing: it is not in training."""
    return node.op_type == "Dropout" and len(node.input) < 3


def _lookup(scope: Scope | None, name: str) -> gs.Tensor | None:
    while scope is not None:
        if name in scope.tensors:
            return scope.tensors[name]
        scope = scope.parent
    return None


def _value(scope: Scope, tensor: gs.Tensor, values: ShapeValues) -> Array | None:
    """The value of a tensor as far as constants and static sizes tell it."""
    constant = scope.folded(tensor)
    dtype, shape = scope.dtype(tensor), scope.shape(tensor)
    if constant is not None or dtype is None or shape is None or len(shape) > 1:
        return constant
    numbers = values.numbers(tensor)
    if numbers is None or (not shape and len(numbers) != 1):
        return None
    kind = onnx.helper.tensor_dtype_to_np_dtype(dtype)
    return np.asarray(numbers if shape else numbers[0], kind)
