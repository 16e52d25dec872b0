"""Types and shapes of all tensors of a model.

``onnx.shape_inference`` does the work; it stops at most Reshape and Expand nodes that older
exporters write, because their shape operand is assembled from Shape, Gather and Concat. So the
small integer tensors are followed here symbolically, what follows for the shapes is handed to the
next run of the inference, and so on until nothing new is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, GraphProto, ModelProto, ValueInfoProto
from onnx.shape_inference import InferenceError

from onnx_fix.scope import Scope, TypeInfo
from onnx_fix.shape_values import ShapeValues
from onnx_fix.target.facts import Dim

if TYPE_CHECKING:
    from onnx_fix.model import Model

_MOST_ROUNDS = 6
_ANONYMOUS = "unk__"
"""Prefix of the symbols that onnx's inference invents; they are kept, being distinct symbols."""


def infer(model: Model) -> None:
    """Find types and shapes of every tensor and hand them to the model (``Model.set_types``)."""
    proto = model.skeleton()
    found: dict[int, TypeInfo] = {}
    model.set_types(found)
    pinned = model.pinned_types()
    _add(proto, model, pinned)
    extra: dict[int, TypeInfo] = {}
    for _ in range(_MOST_ROUNDS):
        inferred = _run(proto)
        found.clear()
        for scope, graph in _pairs(model, inferred):
            _read(scope, graph, found)
        for key, info in pinned.items():
            found.setdefault(key, info)
        news = {}
        for scope in model.scopes:
            if scope.kind != "function":
                news.update(ShapeValues(model, scope, found).improvements())
        if all(extra.get(key) == info for key, info in news.items()):
            break
        found.update(news)
        extra.update(news)
        _add(proto, model, extra)
    for key, info in extra.items():
        found[key] = _better(found.get(key), info)


def _run(proto: ModelProto) -> ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (InferenceError, RuntimeError, ValueError):
        # Data propagation or a faulty node stops the inference: take what it finds without.
        try:
            return onnx.shape_inference.infer_shapes(proto)
        except (InferenceError, RuntimeError, ValueError):
            return proto


def _better(known: TypeInfo | None, more: TypeInfo) -> TypeInfo:
    """Join two statements about one tensor, the more precise one winning in every place."""
    if known is None:
        return more
    if known.shape is None or more.shape is None or len(known.shape) != len(more.shape):
        return TypeInfo(known.dtype or more.dtype, more.shape or known.shape)
    dims = tuple(_better_dim(a, b) for a, b in zip(known.shape, more.shape, strict=True))
    return TypeInfo(known.dtype or more.dtype, dims)


def _better_dim(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) or b is None:
        return a
    if isinstance(b, int) or a is None:
        return b
    return b if a.startswith(_ANONYMOUS) else a


def _pairs(model: Model, proto: ModelProto) -> Iterator[tuple[Scope, GraphProto]]:
    """Every graph scope of the model with the graph of the same place in ``proto``."""

    def walk(scope: Scope, graph: GraphProto) -> Iterator[tuple[Scope, GraphProto]]:
        yield scope, graph
        alive = (n for n in scope.graph.nodes if model.alive(n))
        for node, origin in zip(alive, graph.node, strict=True):
            graphs = [
                g
                for a in origin.attribute
                for g in ([a.g] if a.type == AttributeProto.GRAPH else a.graphs)
            ]
            for inner, inner_graph in zip(model.inner_scopes(node), graphs, strict=True):
                yield from walk(inner, inner_graph)

    yield from walk(model.main, proto.graph)


def _read(scope: Scope, graph: GraphProto, found: dict[int, TypeInfo]) -> None:
    for values in (graph.value_info, graph.output, graph.input):
        for value in values:
            tensor = scope.tensors.get(value.name)
            if tensor is None or isinstance(tensor, gs.Constant):
                continue
            info = type_info(value)
            if info.dtype is not None or info.shape is not None:
                found[id(tensor)] = info


def type_info(value: ValueInfoProto) -> TypeInfo:
    """What a value info says; nothing for sequences, maps and optionals."""
    kind = value.type.WhichOneof("value")
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return TypeInfo()
    tensor = getattr(value.type, kind)
    shape: tuple[Dim, ...] | None = None
    if tensor.HasField("shape"):
        shape = tuple(
            d.dim_value if d.HasField("dim_value") else (d.dim_param or None)
            for d in tensor.shape.dim
        )
    return TypeInfo(tensor.elem_type or None, shape)


def _add(proto: ModelProto, model: Model, infos: dict[int, TypeInfo]) -> None:
    """Write types into the value infos of a skeleton."""
    if not infos:
        return
    for scope, graph in _pairs(model, proto):
        have = {v.name: v for v in graph.value_info}
        fixed = {v.name for v in (*graph.input, *graph.output)}
        for name, tensor in scope.tensors.items():
            info = infos.get(id(tensor))
            if info is None or info.dtype is None or name in fixed:
                continue
            value = have.get(name)
            if value is None:
                value = graph.value_info.add()
                value.name = name
            value.type.CopyFrom(onnx.helper.make_tensor_type_proto(info.dtype, info.shape))
