"""Whether a node means the same under the definitions of two opsets."""

from __future__ import annotations

from functools import cache

import onnx
from onnx import AttributeProto, NodeProto

_FLATTENS_BEFORE_13 = frozenset({"Hardmax", "LogSoftmax", "Softmax"})
"""Ops that changed what they compute without a change of inputs or attributes."""


def _schema(op: str, opset: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return None


@cache
def _definitions(
    op: str, written: int, read: int
) -> tuple[onnx.defs.OpSchema | None, onnx.defs.OpSchema | None]:
    """The definitions of an op at two opsets; no first one where they are the same."""
    mine, theirs = _schema(op, written), _schema(op, read)
    if mine is not None and theirs is not None and mine.since_version == theirs.since_version:
        return None, theirs
    return mine, theirs


def differs(node: NodeProto, written: int, read: int) -> bool:
    """Whether a node of the default domain means another thing, or nothing, if it was written by
    the definitions of one opset and is read by those of another.

    What a definition only adds (element types, attributes and inputs that the node does not use)
    makes no difference.
    """
    mine, theirs = _definitions(node.op_type, written, read)
    if mine is None:
        return False
    if theirs is None:
        return True
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
    given = set()
    for attribute in node.attribute:
        name = attribute.name
        given.add(name)
        known = mine.attributes.get(name)
        new = known is not None and name not in theirs.attributes
        if new and not _is_default(attribute, known):
            return True
    return not _needed(node.op_type, mine.since_version, theirs.since_version) <= given


@cache
def _needed(op: str, written: int, read: int) -> frozenset[str]:
    """The attributes without which a node means another thing, or nothing, by the second of two
    definitions."""
    mine, theirs = _schema(op, written), _schema(op, read)
    assert mine is not None and theirs is not None, op
    old = mine.attributes
    return frozenset(
        name
        for name, formal in theirs.attributes.items()
        if formal.required or (name in old and old[name].default_value != formal.default_value)
    )


def _is_default(attribute: AttributeProto, formal: onnx.defs.OpSchema.Attribute | None) -> bool:
    if formal is None or attribute.ref_attr_name or not formal.default_value.name:
        return False
    default = formal.default_value
    return attribute.type == default.type and (
        onnx.helper.get_attribute_value(attribute) == onnx.helper.get_attribute_value(default)
    )
