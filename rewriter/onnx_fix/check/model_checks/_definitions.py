"""Whether a node means the same under the definitions of two opsets."""

from __future__ import annotations

from functools import cache

import onnx
from onnx import AttributeProto, NodeProto

_FLATTENS_BEFORE_13 = frozenset({"Hardmax", "LogSoftmax", "Softmax"})
"""Ops that changed what they compute without a change of inputs or attributes."""


@cache
def _schema(op: str, opset: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return None


def differs(node: NodeProto, written: int, read: int) -> bool:
    """Whether a node of the default domain means another thing, or nothing, if it was written by
    the definitions of one opset and is read by those of another.

    What a definition only adds (element types, attributes and inputs that the node does not use)
    makes no difference.
    """
    mine, theirs = _schema(node.op_type, written), _schema(node.op_type, read)
    if mine is None or mine is theirs:
        return False
    if theirs is None:
        return True
    if mine.since_version == theirs.since_version:
        return False
    if node.op_type in _FLATTENS_BEFORE_13 and (written < 13) != (read < 13):
        # Over the last axis, and said so, both rules are one.
        return not any(a.name == "axis" and a.i == -1 for a in node.attribute)
    return _inputs_differ(node, mine, theirs) or _attributes_differ(node, mine, theirs)


def _inputs_differ(node: NodeProto, mine: onnx.defs.OpSchema, theirs: onnx.defs.OpSchema) -> bool:
    if not theirs.min_input <= len(node.input) <= theirs.max_input:
        return True
    pairs = zip(node.input, mine.inputs, theirs.inputs, strict=False)
    return any(name and _plain(a.name) != _plain(b.name) for name, a, b in pairs)


def _plain(name: str) -> str:
    return name.removeprefix("input_").lower()


def _attributes_differ(
    node: NodeProto, mine: onnx.defs.OpSchema, theirs: onnx.defs.OpSchema
) -> bool:
    given = {a.name for a in node.attribute}
    for attribute in node.attribute:
        known = mine.attributes.get(attribute.name)
        new = known is not None and attribute.name not in theirs.attributes
        if new and not _is_default(attribute, known):
            return True
    for name, formal in theirs.attributes.items():
        if name in given:
            continue
        if formal.required:
            return True
        old = mine.attributes.get(name)
        if old is not None and old.default_value != formal.default_value:
            return True
    return False


def _is_default(attribute: AttributeProto, formal: onnx.defs.OpSchema.Attribute | None) -> bool:
    if formal is None or attribute.ref_attr_name or not formal.default_value.name:
        return False
    default = formal.default_value
    return attribute.type == default.type and (
        onnx.helper.get_attribute_value(attribute) == onnx.helper.get_attribute_value(default)
    )
