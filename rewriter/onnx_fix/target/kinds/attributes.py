"""Restrictions on the attributes of a node."""

from __future__ import annotations

from onnx_fix.target.facts import NodeFacts
from onnx_fix.target.kinds.base import NOTHING, Entry, Hit, Hits, Names, spelled
from onnx_fix.target.values import (
    UNKNOWN,
    attribute,
    given,
    integer,
    integers,
    normalized,
    rank,
    same,
)


def _in_doubt(name: str) -> Hits:
    return (Hit(f"attribute {name} comes from a function parameter", certain=False),)


def allowed_names(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """Only the attributes in ``names`` are read."""
    present = set(node.attributes) | node.unresolved
    strange = sorted(present - set(entry["names"]))
    return tuple(
        Hit(f"attribute {name} is not read, only {spelled(entry['names'])}") for name in strange
    )


def allowed_values(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The value of ``attribute`` (each of its elements) must be one of ``values``."""
    name, allowed = entry["attribute"], entry["values"]
    value = attribute(node, name, entry.get("default"))
    if value is UNKNOWN:
        return _in_doubt(name)
    if value is None:
        return NOTHING
    elements = value if isinstance(value, (list, tuple)) else [value]
    if all(any(same(element, other) for other in allowed) for element in elements):
        return NOTHING
    if "negative_of_rank" in entry:
        axis, dims = integer(value), rank(given(node, entry["negative_of_rank"]))
        if dims is None:
            return (Hit(f"{name} is {value} and the rank is not known", certain=False),)
        if axis is not None and axis - dims in allowed:
            return NOTHING
    written = "" if name in node.attributes else ", the ONNX default"
    return (Hit(f"{name} is {value}{written}; only {spelled(allowed)} is taken"),)


def must_be_absent(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """None of the attributes named may be written, whatever its value."""
    names = entry["attribute"]
    listed = names if isinstance(names, list) else [names]
    return tuple(
        Hit(f"attribute {name} must not be there")
        for name in listed
        if name in node.attributes or name in node.unresolved
    )


def must_be_present(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The attribute must be written even where ONNX has a default."""
    name = entry["attribute"]
    if name in node.unresolved:
        return _in_doubt(name)
    if name in node.attributes:
        return NOTHING
    return (Hit(f"attribute {name} must be written on the node"),)


def value_misread(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The attribute is read as something else: always, or for the ``values`` listed."""
    name = entry["attribute"]
    if name in node.unresolved:
        return _in_doubt(name)
    if name not in node.attributes:
        return NOTHING
    value = attribute(node, name)
    if "values" in entry and not any(same(value, misread) for misread in entry["values"]):
        return NOTHING
    return (Hit(f"{name} = {_short(value)} is read as something else"),)


def ignored(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """The attribute is not read, so its value must be the one that the importer assumes."""
    name = entry["attribute"]
    if name in node.unresolved:
        return _in_doubt(name)
    if name not in node.attributes:
        return NOTHING
    value = attribute(node, name)
    if "default" in entry and same(value, entry["default"]):
        return NOTHING
    harmless = _harmless(entry.get("harmless", {}), value, node)
    if harmless:
        return NOTHING
    return (Hit(f"{name} = {_short(value)} is not read", certain=harmless is False),)


def _harmless(rule: Entry, value: object, node: NodeFacts) -> bool | None:
    """Whether the value changes nothing; None where only the rank would tell."""
    if "all_equal" in rule:
        listed = integers(value)
        return listed is not None and all(item == rule["all_equal"] for item in listed)
    if "iota_of_rank" in rule:
        listed, dims = integers(value), rank(given(node, rule["iota_of_rank"]))
        if listed is None:
            return False
        if dims is None:
            return None if listed == list(range(len(listed))) else False
        return [normalized(item, dims) for item in listed] == list(range(dims))
    for key in ("first_of_rank", "end_of_rank"):
        if key in rule:
            place, dims = integer(value), rank(given(node, rule[key]))
            if place is None:
                return False
            if dims is None:
                return None
            return place <= -dims if key == "first_of_rank" else place >= dims
    return False


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
