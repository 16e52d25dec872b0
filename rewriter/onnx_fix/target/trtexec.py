"""The options of trtexec, by release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from onnx_fix.target.data import Release, main_line, read


@dataclass(frozen=True, slots=True)
class Flag:
    """One option, as a release has it.

    ``deprecated`` says that the release still takes it and warns. ``replacement`` is what to write
    instead, empty where there is nothing; ``note`` what else a person should know.
    """

    name: str
    deprecated: bool = False
    replacement: str = ""
    note: str = ""


def newest_read() -> str:
    """The newest release whose option parser was read; later ones are taken to be like it."""
    return str(read("trtexec")["order"][-1])


@cache
def flags(release: str) -> Mapping[str, Flag] | None:
    """The options that trtexec of a listed release takes, by name.

    None for TensorRT-RTX, which has another program.
    """
    at = Release.named(release)
    if at.name.startswith("rtx-"):
        return None
    data = read("trtexec")
    newest = Release.named(newest_read())
    if at.index > newest.index:
        at = newest
    entries: dict[str, Mapping[str, Any]] = {**data["all_flags"], **data["key_flags"]}
    return {
        name: Flag(
            name, _deprecated(entry, at), entry.get("replacement", ""), entry.get("note", "")
        )
        for name, entry in sorted(entries.items())
        if any(at.within(span) for span in entry["available"])
    }


def _deprecated(entry: Mapping[str, Any], at: Release) -> bool:
    since = entry.get("deprecated_since")
    return since is not None and main_line().index(since) <= at.index
