"""Attributes of an op as those of a plugin node, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx

from onnx_fix.errors import UsageError
from onnx_fix.plugin_table.entries import AttributeRule, PluginEntry

ABOUT_PLUGINS = frozenset({"plugin_version", "plugin_namespace"})
"""Attributes that pick the creator and say nothing of the result."""

Numbers = Callable[[str], list[float] | None]
"""The numbers of a constant input by its name in the table, None where it is no constant."""


class NoCounterpart(UsageError):
    """A node that the table has no translation for, and why."""


def plain(value: object) -> Any:
    """A value of an attribute: text, number, or list of those."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def of_proto(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node that are text, numbers, or lists of those."""
    return {a.name: plain(onnx.helper.get_attribute_value(a)) for a in node.attribute}


def defaults(entry: PluginEntry, opset: int | None = None) -> dict[str, Any]:
    """What ONNX says of attributes that a node lacks, where the op is one of ONNX.

    ``opset`` is the operator set of the node, the newest where it is left out.
    """
    schema = _schema(entry, opset)
    if schema is None:
        return {}
    return {
        name: plain(onnx.helper.get_attribute_value(known.default_value))
        for name, known in schema.attributes.items()
        if known.default_value.type
    }


def _schema(entry: PluginEntry, opset: int | None) -> onnx.defs.OpSchema | None:
    """The op as an operator set has it; None where it is no op of ONNX or came later."""
    if not entry.is_standard:
        return None
    if opset is None:
        return onnx.defs.get_schema(entry.op_type)
    try:
        return onnx.defs.get_schema(entry.op_type, opset)
    except onnx.defs.SchemaError:
        return None


def translated(
    entry: PluginEntry, given: Mapping[str, Any], numbers: Numbers, opset: int | None = None
) -> dict[str, Any]:
    """The attributes of the plugin node for those of a node of the op.

    ``opset`` is the operator set of the node, which says what attributes mean that it lacks.

    Raises:
        NoCounterpart: a value has no counterpart, or an attribute is unknown to the table.
    """
    usual = defaults(entry, opset)
    schema = _schema(entry, opset)
    rules = {name: rule for name, rule in entry.attributes.items() if rule is not None}
    for rule in rules.values():
        if rule.from_ and schema is not None and rule.from_ not in schema.attributes:
            usual[rule.from_] = rule.unknown
    used = {rule.from_ for rule in rules.values()} | set(entry.ignored) | ABOUT_PLUGINS
    for name, value in given.items():
        if name in used or (name in usual and same(usual[name], value)):
            continue
        if name in entry.attributes and entry.attributes[name] is None:
            raise NoCounterpart(
                f"its attribute {name} = {value!r} has no counterpart in {entry.known_as}"
            )
        raise NoCounterpart(f"its attribute {name} is not in the table")
    return {name: _one(entry, name, rule, given, usual, numbers) for name, rule in rules.items()}


def _one(
    entry: PluginEntry,
    name: str,
    rule: AttributeRule,
    given: Mapping[str, Any],
    usual: Mapping[str, Any],
    numbers: Numbers,
) -> Any:
    if rule.value is not None:
        return rule.value
    if rule.input is not None:
        found = numbers(rule.input)
        if found is None:
            raise NoCounterpart(
                f"its input {rule.input} is no constant, and {entry.known_as} takes it as the "
                f"attribute {name}"
            )
        return found
    old = str(rule.from_)
    value = given.get(old, rule.default if rule.default is not None else usual.get(old))
    return converted(rule, old, value)


def converted(rule: AttributeRule, name: str, value: Any) -> Any:
    """A value as a rule writes it.

    Raises:
        NoCounterpart: there is none, or the table has no such value.
    """
    if value is None:
        raise NoCounterpart(f"it has no attribute {name}, and the table gives no default")
    if rule.values is not None:
        by_text = {str(k): v for k, v in rule.values.items()}
        if str(value) not in by_text:
            known = ", ".join(by_text)
            raise NoCounterpart(f"its attribute {name} is {value!r}; the table has {known}")
        return by_text[str(value)]
    if rule.repeat > 1 and isinstance(value, list):
        return value * rule.repeat
    if rule.parts > 1 and isinstance(value, list):
        part = value[: len(value) // rule.parts]
        if part * rule.parts != value:
            raise NoCounterpart(
                f"its attribute {name} is {value}, and {rule.parts} equal parts are wanted"
            )
        return part
    return value


def of_plugin(entry: PluginEntry, given: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a plugin node with those that it lacks.

    Raises:
        NoCounterpart: one is lacking, and nothing says what the plugin takes then.
    """
    usual = defaults(entry)
    found: dict[str, Any] = {}
    for name, rule in entry.attributes.items():
        if rule is None:
            continue
        if name in given:
            found[name] = given[name]
        elif rule.from_ is not None:
            other = rule.default if rule.default is not None else usual.get(rule.from_)
            found[name] = converted(rule, rule.from_, other)
        else:
            raise NoCounterpart(f"the plugin node has no attribute {name}")
    return found


def inverted(entry: PluginEntry, made: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of the op for those of a plugin node.

    Raises:
        NoCounterpart: a value is none that the table makes.
    """
    found: dict[str, Any] = {}
    for name, rule in entry.attributes.items():
        if rule is None or rule.from_ is None:
            continue
        value = made[name]
        if rule.values is not None:
            back = {str(v): k for k, v in rule.values.items()}
            if str(value) not in back:
                raise NoCounterpart(f"the attribute {name} of the plugin node is {value!r}")
            value = back[str(value)]
        elif rule.repeat > 1 and isinstance(value, list):
            value = value[: len(value) // rule.repeat]
        elif rule.parts > 1 and isinstance(value, list):
            value = value * rule.parts
        found[rule.from_] = value
    return found


def same(a: Any, b: Any) -> bool:
    """Whether two values of an attribute are one, numbers of FLOAT attributes being rounded."""
    if isinstance(a, float) and isinstance(b, int | float):
        return abs(a - b) <= 1e-6 * max(abs(a), abs(b))
    return bool(a == b)
