"""The ``when`` of a restriction: a condition on a node that may be unknown.

A condition is a JSON object of one of these forms; the answer is True, False or None (unknown).

* ``{"all": [...]}``, ``{"any": [...]}``, ``{"not": c}``: three-valued logic
* ``{"attribute": a, "in": [...], "default": v}``: the value of an attribute is one of a list
* ``{"has_attribute": a}``: the attribute is written on the node
* ``{"given": i}``: input i is there and not empty
* ``{"not_constant": i}``: input i is there and the parser does not see weights for it
* ``{"not_weights": i}``: the same, but an input given as the empty name counts too
* ``{"dtype": i, "in": [...]}``: the element type of input i, as the release sees it
* ``{"float_input_behind": i}``: input i rests on the values of a floating-point network input
* ``{"inside": a}``: the node is in a graph that is attribute a of another node
* ``{"no_axes": i}``: neither the attribute ``axes`` nor input i lists an axis
* ``{"may_hold_zero": i}``: input i holds a zero
* ``{"uneven_split": i}``: attribute ``num_outputs`` does not divide input i along ``axis``
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from onnx_fix.target.facts import NodeFacts
from onnx_fix.target.values import (
    UNKNOWN,
    attribute,
    axes_of,
    constant,
    given,
    integer,
    normalized,
    same,
)

Condition = Mapping[str, Any]
Names = Mapping[int, str]


def holds(condition: Condition, node: NodeFacts, names: Names) -> bool | None:
    """Whether a condition holds for a node; None where the node does not show it.

    ``names`` are the element types as the release sees them (``dtypes.names_inside``).
    """
    for key, evaluate in _FORMS.items():
        if key in condition:
            return evaluate(condition, node, names)
    raise KeyError(f"no form of condition: {sorted(condition)}")


def _all(condition: Condition, node: NodeFacts, names: Names) -> bool | None:
    answers = [holds(part, node, names) for part in condition["all"]]
    if False in answers:
        return False
    return None if None in answers else True


def _any(condition: Condition, node: NodeFacts, names: Names) -> bool | None:
    answers = [holds(part, node, names) for part in condition["any"]]
    if True in answers:
        return True
    return None if None in answers else False


def _not(condition: Condition, node: NodeFacts, names: Names) -> bool | None:
    answer = holds(condition["not"], node, names)
    return None if answer is None else not answer


def _attribute(condition: Condition, node: NodeFacts, _: Names) -> bool | None:
    value = attribute(node, condition["attribute"], condition.get("default"))
    if value is UNKNOWN:
        return None
    return any(same(value, allowed) for allowed in condition["in"])


def _has_attribute(condition: Condition, node: NodeFacts, _: Names) -> bool | None:
    name = condition["has_attribute"]
    return None if name in node.unresolved else name in node.attributes


def _given(condition: Condition, node: NodeFacts, _: Names) -> bool | None:
    return given(node, condition["given"]) is not None


def _not_constant(condition: Condition, node: NodeFacts, _: Names) -> bool | None:
    tensor = given(node, condition["not_constant"])
    return tensor is not None and tensor.constness != "initializer"


def _not_weights(condition: Condition, node: NodeFacts, _: Names) -> bool | None:
    index = condition["not_weights"]
    return index < len(node.inputs) and (
        not node.inputs[index].name or node.inputs[index].constness != "initializer"
    )


def _dtype(condition: Condition, node: NodeFacts, names: Names) -> bool | None:
    tensor = given(node, condition["dtype"])
    if tensor is None:
        return False
    if not tensor.dtype:
        return None
    return names.get(tensor.dtype) in condition["in"]


_FLOATS = frozenset({"FP32", "FP16", "BF16", "DOUBLE"})


def _float_input_behind(condition: Condition, node: NodeFacts, names: Names) -> bool | None:
    tensor = given(node, condition["float_input_behind"])
    if tensor is None or tensor.constness != "runtime":
        return False
    origin = tensor.origin()
    return None if origin is None else any(names.get(t) in _FLOATS for t in origin.inputs)


def _inside(condition: Condition, node: NodeFacts, _: Names) -> bool | None:
    return condition["inside"] in node.scope.split("/")


def _no_axes(condition: Condition, node: NodeFacts, _: Names) -> bool | None:
    axes = axes_of(node, condition["no_axes"])
    return None if axes is UNKNOWN else axes is None


def _may_hold_zero(condition: Condition, node: NodeFacts, _: Names) -> bool | None:
    value = constant(given(node, condition["may_hold_zero"]))
    return None if value is None else bool((value == 0).any())


def _uneven_split(condition: Condition, node: NodeFacts, _: Names) -> bool | None:
    parts = integer(attribute(node, "num_outputs"))
    if parts is None:
        return None if "num_outputs" in node.unresolved else False
    if parts == 1:
        return False
    size = _size_along_axis(node, condition["uneven_split"])
    return None if size is None or parts <= 0 else size % parts != 0


def _last_part_negative(condition: Condition, node: NodeFacts, _: Names) -> bool | None:
    parts = integer(attribute(node, "num_outputs"))
    size = _size_along_axis(node, condition["last_part_negative"])
    if parts is None or parts <= 0 or size is None:
        return False
    return size - -(-size // parts) * (parts - 1) < 0


def _size_along_axis(node: NodeFacts, index: int) -> int | None:
    tensor, axis = given(node, index), integer(attribute(node, "axis", 0))
    if tensor is None or tensor.shape is None or axis is None:
        return None
    place = normalized(axis, len(tensor.shape))
    size = tensor.shape[place] if 0 <= place < len(tensor.shape) else None
    return size if isinstance(size, int) else None


_FORMS: Mapping[str, Callable[[Condition, NodeFacts, Names], bool | None]] = {
    "all": _all,
    "any": _any,
    "not": _not,
    "attribute": _attribute,
    "has_attribute": _has_attribute,
    "given": _given,
    "not_constant": _not_constant,
    "not_weights": _not_weights,
    "dtype": _dtype,
    "float_input_behind": _float_input_behind,
    "inside": _inside,
    "no_axes": _no_axes,
    "may_hold_zero": _may_hold_zero,
    "last_part_negative": _last_part_negative,
    "uneven_split": _uneven_split,
}
