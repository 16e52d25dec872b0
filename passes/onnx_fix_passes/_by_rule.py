"""A node written as a rule of the lowering writes it, for a pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_graphsurgeon as gs

from onnx_fix.contract import Exactness, Rewrite, Skip
from onnx_fix.emit import Emitter
from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.scope import Scope, TypeInfo
from onnx_fix_passes._from_protos import emit_all


def low_node(scope: Scope, node: gs.Node, opset: int) -> LowNode | None:
    """The node as rules see it; None where it cannot be read. Inputs have their names."""
    proto = scope.model.named_proto(node)
    if proto is None:
        return None
    tensors = {t.name: t for t in (*node.inputs, *node.outputs) if t.name}
    known = {name: TypeInfo(scope.dtype(t), scope.shape(t)) for name, t in tensors.items()}

    def value(name: str) -> Any:
        tensor = tensors.get(name)
        if tensor is None:
            return None
        held = scope.constant(tensor)
        return scope.folded(tensor) if held is None else held

    return LowNode(
        proto,
        opset,
        lambda n: known.get(n, TypeInfo()),
        value,
        _fresh({*known, *proto.output}),
    )


def _fresh(taken: set[str]) -> Callable[[str], str]:
    def fresh(base: str) -> str:
        name, number = base, 2
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name)
        return name

    return fresh


def is_taken(scope: Scope, tensor: gs.Tensor) -> bool:
    """Whether the target takes such a tensor anywhere."""
    return not tensor.name or scope.accepts("Identity", [tensor], outputs=[tensor])


def by_rule(
    scope: Scope,
    node: gs.Node,
    rule: Rule,
    *,
    opset: int | None = None,
    exactness: Exactness = Exactness.EXACT,
) -> Rewrite | Skip:
    """The nodes that a rule writes in the operator set of the model.

    ``opset`` is the operator set above the one that the rule is to write for, where it is not the
    one above that of the model.
    """
    low = low_node(scope, node, scope.opset + 1 if opset is None else opset)
    if low is None:
        return Skip(node, "the node cannot be read")
    names = list(low.proto.output)
    try:
        protos = rule(low)
    except Refused as refused:
        return Skip(node, str(refused))
    e = Emitter(scope)
    given = {t.name: t for t in node.inputs if t.name}
    made = given | emit_all(e, protos, given.get)
    pairs = [(out, made[name]) for out, name in zip(node.outputs, names, strict=True) if out.name]
    return e.rewrite(node, pairs, exactness=exactness, note=low.note)
