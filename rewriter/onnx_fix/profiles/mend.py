"""What to do about a profile whose sizes do not all work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx_fix.profiles.asked import Range
from onnx_fix.profiles.rules import Rule

NARROW = "narrow the ranges to sizes that work, or export again so that these do"


def mend_for(rules: Sequence[Rule], ranges: Mapping[str, Range], *, warned: bool) -> str:
    """What to do about sizes that fail; ``warned`` where the three of the profile work."""
    mends = []
    kept = [r.symbol for r in rules if r.kind == "multiple"] if warned else []
    if kept:
        mends.append(
            f"feed {' and '.join(kept)} by this rule alone (pad before the engine): the engine "
            "takes other sizes, too, and fails or computes something else"
        )
    for rule in rules:
        limits = ranges.get(rule.symbol)
        if limits is None:
            continue
        low, usual, high = limits
        if rule.kind == "multiple":
            if kept:
                continue
            up = low + (rule.rest - low) % rule.number
            fixed = up, max(up, _down(usual, rule)), max(up, _down(high, rule))
            mends.append(f"set {rule.symbol}={':'.join(map(str, fixed))}")
        elif rule.kind == "most":
            fixed = min(low, rule.number), min(usual, rule.number), rule.number
            mends.append(f"set {rule.symbol}={':'.join(map(str, fixed))}")
        elif rule.kind == "least":
            fixed = rule.number, max(usual, rule.number), max(high, rule.number)
            mends.append(f"set {rule.symbol}={':'.join(map(str, fixed))}")
        elif rule.kind == "equal":
            mends.append(
                f"feed {rule.symbol} and {rule.other} with one size, or export again with one "
                "name for both"
            )
        elif rule.kind == "gap":
            below, above = (low, rule.number), (rule.rest, high)
            mends.append(
                f"end {rule.symbol} at {rule.number} or begin it at {rule.rest}, or make two "
                f"profiles: {rule.symbol}={below[0]}..{below[1]} and {above[0]}..{above[1]}"
            )
        elif rule.kind == "only":
            mends.append(
                f"set {rule.symbol}={rule.number}, or export again with this dim dynamic "
                "(see OF804)"
            )
    return "; ".join(mends) or NARROW


def _down(size: int, rule: Rule) -> int:
    """The largest size up to one that keeps to a rule."""
    return size - (size - rule.rest) % rule.number
