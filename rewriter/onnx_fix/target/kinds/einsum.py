"""Restrictions on the equation of an Einsum."""

from __future__ import annotations

from onnx_fix.target.facts import Dim, NodeFacts
from onnx_fix.target.kinds.base import NOTHING, Entry, Hit, Hits, Names, spelled
from onnx_fix.target.values import UNKNOWN, attribute, given, label

_IN_DOUBT: Hits = (Hit("attribute equation comes from a function parameter", certain=False),)


def _equation(node: NodeFacts) -> str | None:
    value = attribute(node, "equation", "")
    return None if value is UNKNOWN else str(value)


def characters(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """Labels are lower case letters, beside ``->``, dots, commas and blanks."""
    equation = _equation(node)
    if equation is None:
        return _IN_DOUBT
    bad = sorted({c for c in equation if not ("a" <= c <= "z" or c in "->., ")})
    return (Hit(f"equation '{equation}' holds {spelled(bad)}"),) if bad else NOTHING


def features(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """No ``forbidden`` feature: ellipsis, diagonal, more than two inputs."""
    equation = _equation(node)
    if equation is None:
        return _IN_DOUBT
    terms = equation.split("->")[0].replace(" ", "").split(",")
    used = []
    if "ellipsis" in entry["forbidden"] and "..." in equation:
        used.append("an ellipsis")
    if "diagonal" in entry["forbidden"] and any(_repeats(term) for term in terms):
        used.append("a label twice in one term")
    if "more than two inputs" in entry["forbidden"] and len(terms) > 2:
        used.append(f"{len(terms)} inputs")
    return (Hit(f"equation '{equation}' has {spelled(used)}"),) if used else NOTHING


def _repeats(term: str) -> bool:
    labels = term.replace(".", "")
    return len(set(labels)) < len(labels)


def broadcast(entry: Entry, node: NodeFacts, _: Names) -> Hits:
    """A label has one size everywhere; 1 beside n is not taken."""
    equation = _equation(node)
    if equation is None:
        return _IN_DOUBT
    sizes: dict[str, set[Dim]] = {}
    for index, term in enumerate(equation.split("->")[0].replace(" ", "").split(",")):
        tensor = given(node, index)
        if tensor is None:
            continue
        if tensor.shape is None:
            text = f"the rank of {label(index, tensor)} is not known"
            return (Hit(text, tensor.name, certain=False),)
        front, dots, back = term.partition("...")
        pairs = list(zip(front, tensor.shape, strict=False))
        if dots and back:
            pairs += list(zip(back, tensor.shape[-len(back) :], strict=False))
        for letter, size in pairs:
            sizes.setdefault(letter, set()).add(size)
    mixed = {c: s for c, s in sizes.items() if 1 in s and len(s) > 1}
    if not mixed:
        return NOTHING
    sure = any(isinstance(size, int) and size != 1 for s in mixed.values() for size in s)
    return (Hit(f"label {spelled(sorted(mixed))} has size 1 and another", certain=sure),)
