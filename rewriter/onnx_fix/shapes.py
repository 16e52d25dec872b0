"""Types and shapes of all tensors of a model.

``onnx.shape_inference`` goes over the whole model once. It stops at most Reshape and Expand nodes
that older exporters write, because their shape operand is assembled from Shape, Gather and Concat;
so a sweep in execution order follows the small integer tensors symbolically (``shape_values``) and
asks onnx again, node by node, wherever more is known of the inputs than before. After a rewrite
only such a sweep is needed: what was known of the tensors that stayed still holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TypeProto,
    numpy_helper,
)
from onnx.checker import ValidationError
from onnx.shape_inference import InferenceError

from onnx_fix.functions import bodies_of
from onnx_fix.scope import Scope, TypeInfo
from onnx_fix.shape_values import ShapeValues
from onnx_fix.target.facts import Dim

if TYPE_CHECKING:
    from onnx_fix.model import Model

_ANONYMOUS = "unk__"
"""Start of the symbols that onnx's inference invents for dims it knows nothing of."""

_MOST_DATA = 64
"""Constants of at most this many elements are shown to onnx as values (axes, sizes, splits)."""

_SIZED = frozenset({"ConstantOfShape", "Expand", "Pad", "Reshape", "Resize", "Slice", "Tile"})
"""Ops whose outputs have shapes that follow from values."""


def infer_all(model: Model) -> dict[int, TypeInfo]:
    """What onnx finds for the whole model, by identity of the tensor."""
    found: dict[int, TypeInfo] = {}
    proto = _run(model.skeleton())
    for scope, graph in paired(model, proto):
        for values in (graph.value_info, graph.output, graph.input):
            for value in values:
                tensor = scope.tensors.get(value.name)
                if tensor is None or isinstance(tensor, gs.Constant):
                    continue
                info = type_info(value.type)
                if info.dtype is not None or info.shape is not None:
                    found[id(tensor)] = info
    return found


def _run(proto: ModelProto) -> ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (InferenceError, RuntimeError, ValueError):
        # Data propagation or a faulty node stops the inference: take what it finds without.
        try:
            return onnx.shape_inference.infer_shapes(proto)
        except (InferenceError, RuntimeError, ValueError):
            return proto


def paired(model: Model, proto: ModelProto) -> Iterator[tuple[Scope, GraphProto]]:
    """Every graph scope of the model with the graph of the same place in ``proto``."""

    def walk(scope: Scope, graph: GraphProto) -> Iterator[tuple[Scope, GraphProto]]:
        yield scope, graph
        alive = (n for n in scope.graph.nodes if model.alive(n))
        for node, origin in zip(alive, graph.node, strict=True):
            inner = model.inner_scopes(node)
            bodies = bodies_of(origin) if inner else ()
            for inner_scope, inner_graph in zip(inner, bodies, strict=True):
                yield from walk(inner_scope, inner_graph)

    yield from walk(model.main, proto.graph)


class Sweep:
    """One pass over the nodes of a model that improves the types found so far, in place."""

    def __init__(self, model: Model, types: dict[int, TypeInfo]) -> None:
        self._model = model
        self._types = types
        self._improved: set[int] = set()
        self._asked: dict[object, tuple[TypeInfo | None, ...]] = {}
        imports = {o.domain: o.version for o in model.proto.opset_import}
        self._imports = [onnx.helper.make_opsetid(d, v) for d, v in imports.items()]

    def run(self) -> None:
        """Go over all graphs, outer ones first; bodies of functions have no types."""
        for scope in self._model.scopes:
            if scope.kind == "function":
                continue
            values = ShapeValues(self._model, scope, self._types)
            for node in scope.graph.nodes:
                if not self._model.alive(node):
                    continue
                if self._worth_asking(node):
                    for tensor, info in self._ask(scope, node):
                        self._learn(tensor, info)
                driven = values.follow(node)
                if driven is not None:
                    self._learn(node.outputs[0], driven)

    def _worth_asking(self, node: gs.Node) -> bool:
        """Whether more is known of the inputs than when the outputs were last looked at."""
        if any(id(t) in self._improved for t in node.inputs):
            return True
        if any(t.name and id(t) not in self._types for t in node.outputs):
            return True
        return node.op in _SIZED and self._is_vague(node.outputs[0]) and self._is_sized(node)

    def _is_vague(self, tensor: gs.Tensor) -> bool:
        shape = self._info(tensor).shape
        return shape is None or any(
            d is None or (isinstance(d, str) and d.startswith(_ANONYMOUS)) for d in shape
        )

    def _is_sized(self, node: gs.Node) -> bool:
        """Whether constants that have to be computed decide on the shape of its output."""
        first = 0 if node.op == "ConstantOfShape" else 1
        return any(t.name and self._is_foldable(t) for t in node.inputs[first:])

    def _is_foldable(self, tensor: gs.Tensor) -> bool:
        return self._model.constness(tensor) == "foldable"

    def _learn(self, tensor: gs.Tensor, info: TypeInfo) -> None:
        before = self._types.get(id(tensor))
        after = better(before, info)
        if after != before:
            self._types[id(tensor)] = after
            self._improved.add(id(tensor))

    def _ask(self, scope: Scope, node: gs.Node) -> Iterator[tuple[gs.Tensor, TypeInfo]]:
        """What onnx infers for one node from the types of its inputs."""
        proto = self._model.named_proto(node)
        if proto is None or any(isinstance(v, gs.Graph) for v in node.attrs.values()):
            return
        schema = _schema(node.op, scope.opset, node.domain or "")
        if schema is None:
            return
        types: dict[str, TypeInfo] = {}
        data: dict[str, NDArray[np.generic]] = {}
        for tensor in node.inputs:
            if not tensor.name:
                continue
            info = self._info(tensor)
            if info.dtype is None:
                return
            types[tensor.name] = info
            value = self._data(node, tensor) if _is_data(info) else None
            if value is not None:
                data[tensor.name] = value
        question = _question(scope.opset, node, types, data)
        answer = None if question is None else self._asked.get(question)
        if answer is None:
            answer = self._inferred(schema, proto, types, data)
            if question is not None:
                self._asked[question] = answer
        for tensor, found in zip(node.outputs, answer, strict=True):
            if found is not None:
                yield tensor, found

    def _data(self, node: gs.Node, tensor: gs.Tensor) -> NDArray[np.generic] | None:
        """The value of a small constant, computed where it decides on a shape.

        The nodes before this one are done, so that what is known of them is final.
        """
        value = self._model.value_if_there(tensor, limit=_MOST_DATA)
        if value is None and node.op in _SIZED and self._is_foldable(tensor):
            value = self._model.folded(tensor)
        return None if value is None or value.size > _MOST_DATA else value

    def _inferred(
        self,
        schema: onnx.defs.OpSchema,
        proto: NodeProto,
        types: dict[str, TypeInfo],
        data: dict[str, NDArray[np.generic]],
    ) -> tuple[TypeInfo | None, ...]:
        """The types of the outputs, None in the place of those that onnx says nothing of."""
        try:
            inferred = onnx.shape_inference.infer_node_outputs(
                schema,
                proto,
                {name: _type_proto(info) for name, info in types.items()},
                {name: numpy_helper.from_array(value, name) for name, value in data.items()},
                opset_imports=self._imports,
            )
        except (InferenceError, ValidationError, RuntimeError, ValueError):
            inferred = {}
        return tuple(
            type_info(inferred[name]) if name in inferred else None for name in proto.output
        )

    def _info(self, tensor: gs.Tensor) -> TypeInfo:
        if isinstance(tensor, gs.Constant):
            return self._model.type_of(tensor)
        return self._types.get(id(tensor), TypeInfo())


def _question(
    opset: int, node: gs.Node, types: dict[str, TypeInfo], data: dict[str, NDArray[np.generic]]
) -> object | None:
    """All that the types of a node's outputs follow from, names apart: layers repeat. None where an
    attribute is a tensor or anything else that cannot be compared."""
    attributes: list[tuple[str, object]] = []
    for name, value in node.attrs.items():
        if isinstance(value, list):
            attributes.append((name, tuple(value)))
        elif isinstance(value, (int, float, str)):
            attributes.append((name, value))
        else:
            return None
    # The same tensor twice is another question than two tensors of one type.
    places = {name: k for k, name in enumerate(types)}
    return (
        opset,
        node.op,
        node.domain or "",
        tuple(attributes),
        tuple(places.get(t.name, -1) for t in node.inputs),
        tuple(types.values()),
        tuple((places[name], value.dtype.str, value.tobytes()) for name, value in data.items()),
        tuple(bool(t.name) for t in node.outputs),
    )


@cache
def _schema(op: str, opset: int, domain: str) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(op, opset, domain)
    except onnx.defs.SchemaError:
        return None


@lru_cache(maxsize=4096)
def _type_proto(info: TypeInfo) -> TypeProto:
    """The proto of a type; layers repeat, and so do types. Nobody changes what is kept here."""
    return onnx.helper.make_tensor_type_proto(int(info.dtype or 0), info.shape)


def _is_data(info: TypeInfo) -> bool:
    """Whether a tensor may be a list of axes, sizes or scales, whose value decides on shapes."""
    return info.shape is not None and len(info.shape) <= 1


def better(known: TypeInfo | None, more: TypeInfo) -> TypeInfo:
    """Join two statements about one tensor, the more precise one winning in every place."""
    if known is None:
        return more
    if known.shape is None or more.shape is None or len(known.shape) != len(more.shape):
        shape = more.shape if known.shape is None else known.shape
        return TypeInfo(known.dtype or more.dtype, shape)
    dims = tuple(_better_dim(a, b) for a, b in zip(known.shape, more.shape, strict=True))
    return TypeInfo(known.dtype or more.dtype, dims)


def _better_dim(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) or b is None:
        return a
    if isinstance(b, int) or a is None:
        return b
    return b if a.startswith(_ANONYMOUS) else a


def type_info(value: TypeProto) -> TypeInfo:
    """What a type says of a tensor; nothing for sequences, maps and optionals."""
    return _type_info(value.SerializeToString())


@lru_cache(maxsize=4096)
def _type_info(serialized: bytes) -> TypeInfo:
    value = TypeProto.FromString(serialized)
    kind = value.WhichOneof("value")
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return TypeInfo()
    tensor = getattr(value, kind)
    shape: tuple[Dim, ...] | None = None
    if tensor.HasField("shape"):
        shape = tuple(
            d.dim_value if d.HasField("dim_value") else (d.dim_param or None)
            for d in tensor.shape.dim
        )
    return TypeInfo(tensor.elem_type or None, shape)
