"""A node written as a rule of the lowering writes it, for a pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, NodeProto, numpy_helper

from onnx_fix.contract import Exactness, Rewrite, Skip
from onnx_fix.emit import Emitter
from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.scope import Scope, TypeInfo

_SMALL = 64


def low_node(scope: Scope, node: gs.Node, opset: int) -> LowNode | None:
    """The node as rules see it; None where it cannot be read. Inputs have their names."""
    proto = scope.model.named_proto(node)
    if proto is None:
        return None
    known = {t.name: TypeInfo(scope.dtype(t), scope.shape(t)) for t in node.inputs if t.name}
    values = {
        t.name: value
        for t in node.inputs
        if t.name and (value := scope.constant(t, limit=_SMALL)) is not None
    }
    return LowNode(
        proto,
        opset,
        lambda n: known.get(n, TypeInfo()),
        values.get,
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
        made = rule(low)
    except Refused as refused:
        return Skip(node, str(refused))
    e = Emitter(scope)
    tensors: dict[str, gs.Tensor] = {t.name: t for t in node.inputs if t.name}
    emitted(e, made, tensors)
    pairs = [
        (out, tensors[name]) for out, name in zip(node.outputs, names, strict=True) if out.name
    ]
    return e.rewrite(node, pairs, exactness=exactness)


def emitted(e: Emitter, made: Sequence[NodeProto], tensors: dict[str, gs.Tensor]) -> None:
    """Write nodes, and note their outputs under the names that they have in ``made``."""
    for proto in made:
        if proto.op_type == "Constant":
            value = next(a.t for a in proto.attribute if a.name == "value")
            tensors[proto.output[0]] = e.const(numpy_helper.to_array(value))
            continue
        inputs = [tensors[name] if name else None for name in proto.input]
        outputs = e.many(proto.op_type, len(proto.output), *inputs, **attributes(proto))
        tensors.update(zip(proto.output, outputs, strict=True))


def attributes(node: NodeProto) -> dict[str, Any]:
    """The attributes of a node as an emitter takes them."""
    return {a.name: _attribute(a) for a in node.attribute}


def _attribute(attribute: AttributeProto) -> object:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.type == attribute.TENSOR:
        return gs.Constant("", np.asarray(numpy_helper.to_array(value)))
    if isinstance(value, bytes):
        return value.decode()
    return list(value) if attribute.type in (attribute.INTS, attribute.FLOATS) else value
