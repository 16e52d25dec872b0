"""The passes of a pipeline with what a command line, or a caller, asks for besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from onnx_fix.pipeline import PassEntry

BOUNDING = ("bound-non-zero", "replace-nms")
"""The passes that take the largest counts."""


def with_max_count(
    passes: tuple[PassEntry, ...], max_count: Mapping[str, int]
) -> tuple[PassEntry, ...]:
    """The passes with NonZero and NonMaxSuppression nodes bounded; the passes that do it are put
    first where they are missing."""
    if not max_count:
        return passes
    have = {e.name for e in passes}
    passes = (*(PassEntry(name=name) for name in BOUNDING if name not in have), *passes)

    def bounded(entry: PassEntry) -> PassEntry:
        known = entry.options.get("max_count") or {}
        options = {**entry.options, "max_count": {**known, **max_count}}
        return entry.model_copy(update={"options": options})

    return tuple(bounded(e) if e.name in BOUNDING else e for e in passes)


FREEZING = "freeze-inputs"
"""The pass that takes the values of inputs."""

FIXING = "freeze-dims"
"""The pass that takes the sizes of dims."""


def with_freeze(
    passes: tuple[PassEntry, ...], freeze: Mapping[str, object]
) -> tuple[PassEntry, ...]:
    """The passes with inputs made constants."""
    return _with_more(passes, FREEZING, "freeze", freeze)


def with_static(passes: tuple[PassEntry, ...], static: Mapping[str, int]) -> tuple[PassEntry, ...]:
    """The passes with dims of inputs made numbers."""
    return _with_more(passes, FIXING, "static", static)


def _with_more(
    passes: tuple[PassEntry, ...], name: str, option: str, more: Mapping[str, object]
) -> tuple[PassEntry, ...]:
    """The passes with more items in a mapping that one of them takes, which is put first where it
    is missing."""
    if not more:
        return passes
    if all(e.name != name for e in passes):
        passes = (PassEntry(name=name), *passes)

    def added(entry: PassEntry) -> PassEntry:
        known = entry.options.get(option) or {}
        options = {**entry.options, option: {**known, **more}}
        return entry.model_copy(update={"options": options})

    return tuple(added(e) if e.name == name else e for e in passes)


WIDENING = "widen-types"
"""The pass that changes the types of network inputs and outputs."""


def with_retype_io(passes: tuple[PassEntry, ...]) -> tuple[PassEntry, ...]:
    """The passes with inputs and outputs retyped; the pass that does it is put first where it is
    missing."""
    if all(e.name != WIDENING for e in passes):
        passes = (PassEntry(name=WIDENING), *passes)
    return tuple(
        e.model_copy(update={"options": {**e.options, "retype_io": True}})
        if e.name == WIDENING
        else e
        for e in passes
    )


UNFREEZING = "unfreeze-shapes"
"""The pass that makes dims of inputs dynamic."""


def with_dynamic(
    passes: tuple[PassEntry, ...],
    dynamic: Mapping[str, str],
    also: Sequence[str | Path],
    assume: Mapping[str, str | int],
) -> tuple[PassEntry, ...]:
    """The passes with dims made dynamic; the pass that does it is put first where it is missing."""
    if not (dynamic or also or assume):
        return passes
    if all(e.name != UNFREEZING for e in passes):
        passes = (PassEntry(name=UNFREEZING), *passes)

    def unfreezing(entry: PassEntry) -> PassEntry:
        known = entry.options
        options = {
            **known,
            "dynamic": {**(known.get("dynamic") or {}), **dynamic},
            "also": [*(known.get("also") or ()), *(str(path) for path in also)],
            "assume": {**(known.get("assume") or {}), **assume},
        }
        return entry.model_copy(update={"options": options})

    return tuple(unfreezing(e) if e.name == UNFREEZING else e for e in passes)


def with_unfreeze(passes: tuple[PassEntry, ...]) -> tuple[PassEntry, ...]:
    """The passes with the dims freed that the model declares; the pass that does it is put first
    where it is missing."""
    if all(e.name != UNFREEZING for e in passes):
        passes = (PassEntry(name=UNFREEZING), *passes)
    return tuple(
        e.model_copy(update={"options": {**e.options, "declared": True}})
        if e.name == UNFREEZING
        else e
        for e in passes
    )
