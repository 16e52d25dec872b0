"""A node in the ops that a rule of the lowering writes it in, at the operator set it stands in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_graphsurgeon as gs
from onnx import NodeProto

from onnx_fix.contract import Exactness, Rewrite, Skip
from onnx_fix.emit import Emitter
from onnx_fix.lower.node import LowNode, Refused
from onnx_fix.scope import Scope, TypeInfo
from onnx_fix_passes._from_protos import emit_all


def by_rule(
    scope: Scope,
    node: gs.Node,
    rule: Callable[[LowNode], list[NodeProto]],
    exactness: Exactness = Exactness.ROUNDING,
) -> Rewrite | Skip:
    """The rewrite that a rule writes; its nodes stand in the operator set of the scope."""
    low = for_rules(scope, node)
    if low is None:
        return Skip(node, "the node cannot be read")
    try:
        nodes = rule(low)
    except Refused as refused:
        return Skip(node, str(refused))
    return in_place(scope, node, nodes, exactness)


def for_rules(scope: Scope, node: gs.Node) -> LowNode | None:
    """The node as rules see it, that what they write stands in the operator set of the scope."""
    proto = scope.model.named_proto(node)
    if proto is None:
        return None
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
    return LowNode(proto, scope.opset + 1, types, value, fresh)


def in_place(
    scope: Scope, node: gs.Node, nodes: Sequence[NodeProto], exactness: Exactness
) -> Rewrite:
    """The rewrite of a node into the nodes that a rule wrote."""
    e = Emitter(scope)
    made = emit_all(e, nodes, {t.name: t for t in node.inputs if t.name}.get)
    return e.rewrite(node, [(t, made[t.name]) for t in node.outputs if t.name], exactness=exactness)
