"""A node in the ops that a rule of the lowering writes it in, at the operator set it stands in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, NodeProto, numpy_helper

from onnx_fix.contract import Exactness, Rewrite, Skip
from onnx_fix.emit import Emitter
from onnx_fix.lower.node import LowNode, Refused
from onnx_fix.scope import Scope, TypeInfo


def by_rule(
    scope: Scope,
    node: gs.Node,
    rule: Callable[[LowNode], list[NodeProto]],
    exactness: Exactness = Exactness.ROUNDING,
) -> Rewrite | Skip:
    """The rewrite that a rule writes; its nodes stand in the operator set of the scope."""
    proto = scope.model.named_proto(node)
    if proto is None:
        return Skip(node, "the node cannot be read")
    tensors = {t.name: t for t in (*node.inputs, *node.outputs) if t.name}
    taken = set(tensors)

    def types(name: str) -> TypeInfo:
        tensor = tensors.get(name)
        return TypeInfo() if tensor is None else TypeInfo(scope.dtype(tensor), scope.shape(tensor))

    def value(name: str) -> Any:
        tensor = tensors.get(name)
        if tensor is None:
            return None
        held = scope.constant(tensor)
        return scope.folded(tensor) if held is None else held

    def fresh(base: str) -> str:
        name, count = base, 0
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(name)
        return name

    # A rule writes for the operator set below the one that it is given.
    low = LowNode(proto, scope.opset + 1, types, value, fresh)
    try:
        nodes = rule(low)
    except Refused as refused:
        return Skip(node, str(refused))
    return _emitted(scope, node, nodes, exactness)


def _emitted(scope: Scope, node: gs.Node, nodes: list[NodeProto], exactness: Exactness) -> Rewrite:
    e = Emitter(scope)
    made: dict[str, gs.Tensor] = {t.name: t for t in node.inputs if t.name}
    for proto in nodes:
        attributes = {a.name: _attribute(a) for a in proto.attribute}
        if proto.op_type == "Constant":
            made[proto.output[0]] = e.const(attributes["value"].values)
            continue
        inputs = [made[name] if name else None for name in proto.input]
        outputs = e.many(proto.op_type, len(proto.output), *inputs, **attributes)
        made.update(zip(proto.output, outputs, strict=True))
    results = [(out, made[out.name]) for out in node.outputs if out.name]
    return e.rewrite(node, results, exactness=exactness)


def _attribute(attribute: AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.type == attribute.TENSOR:
        return gs.Constant("", np.asarray(numpy_helper.to_array(value)))
    if isinstance(value, bytes):
        return value.decode()
    return list(value) if attribute.type in (attribute.INTS, attribute.FLOATS) else value
