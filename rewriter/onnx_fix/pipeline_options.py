"""What the options of the command line ask of the passes of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx_fix.errors import UsageError
from onnx_fix.pipeline import PassEntry, with_options

BOUNDING = ("bound-non-zero", "replace-nms")
"""The passes that take the largest counts."""

FREEZING = "freeze-inputs"
"""The pass that takes the values of inputs."""

FIXING = "freeze-dims"
"""The pass that takes the sizes of dims."""

WIDENING = "widen-types"
"""The pass that changes the types of network inputs and outputs."""

UNFREEZING = "unfreeze-shapes"
"""The pass that makes dims of inputs dynamic."""


def with_max_count(
    passes: tuple[PassEntry, ...], max_count: Mapping[str, int]
) -> tuple[PassEntry, ...]:
    """The passes with NonZero and NonMaxSuppression nodes bounded."""
    if not max_count:
        return passes
    return with_options(passes, BOUNDING, lambda known: _merged(known, "max_count", max_count))


def with_freeze(
    passes: tuple[PassEntry, ...], freeze: Mapping[str, object]
) -> tuple[PassEntry, ...]:
    """The passes with inputs made constants."""
    if not freeze:
        return passes
    return with_options(passes, [FREEZING], lambda known: _merged(known, "freeze", freeze))


def with_static(passes: tuple[PassEntry, ...], static: Mapping[str, int]) -> tuple[PassEntry, ...]:
    """The passes with dims of inputs made numbers."""
    if not static:
        return passes
    return with_options(passes, [FIXING], lambda known: _merged(known, "static", static))


def with_retype_io(passes: tuple[PassEntry, ...]) -> tuple[PassEntry, ...]:
    """The passes with inputs and outputs retyped."""
    return with_options(passes, [WIDENING], lambda _known: {"retype_io": True})


def with_dynamic(
    passes: tuple[PassEntry, ...],
    dynamic: Mapping[str, str],
    also: Sequence[str | Path],
    assume: Mapping[str, str | int],
) -> tuple[PassEntry, ...]:
    """The passes with dims made dynamic."""
    if not (dynamic or also or assume):
        return passes

    def asked(known: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            **_merged(known, "dynamic", dynamic),
            "also": [*(known.get("also") or ()), *(str(path) for path in also)],
            **_merged(known, "assume", assume),
        }

    return with_options(passes, [UNFREEZING], asked)


def with_unfreeze(passes: tuple[PassEntry, ...]) -> tuple[PassEntry, ...]:
    """The passes with the dims freed that the model declares."""
    return with_options(passes, [UNFREEZING], lambda _known: {"declared": True})


def _merged(known: Mapping[str, Any], option: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping of an option with more in it, which wins."""
    return {option: {**(known.get(option) or {}), **more}}


def parse_counts(texts: Sequence[str]) -> dict[str, int]:
    """``NAME=K`` as a mapping; names may hold equal signs themselves.

    Raises:
        UsageError: it is not of this form, or K is no positive number.
    """
    found: dict[str, int] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        if not name or not number.isdecimal() or int(number) < 1:
            raise UsageError(f"'{text}': NAME=K is wanted, with K a positive number")
        found[name] = int(number)
    return found
