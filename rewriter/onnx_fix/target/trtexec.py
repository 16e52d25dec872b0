"""The options of trtexec, by release, and those of the program that TensorRT-RTX has instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from onnx_fix.target.data import Release, main_line, read

Takes = Literal["", "value", "optional"]


@dataclass(frozen=True, slots=True)
class Flag:
    """One option, as a release has it.

    ``deprecated`` says that the release still takes it and warns. ``replacement`` is what to write
    instead, empty where there is nothing; ``note`` what else a person should know. ``takes`` says
    whether ``=VALUE`` follows; a switch takes none. A second use of an option that is not
    ``repeatable`` ends the run. ``evidence`` is ``source`` where the option parser was read; for
    TensorRT-RTX it is where the option was seen.
    """

    name: str
    deprecated: bool = False
    replacement: str = ""
    note: str = ""
    takes: Takes = ""
    repeatable: bool = False
    evidence: str = "source"


def newest_read() -> str:
    """The newest release whose option parser was read; later ones are taken to be like it."""
    return str(read("trtexec")["order"][-1])


def is_rtx(release: str) -> bool:
    """Whether a listed release is one of TensorRT-RTX, which has a program of its own."""
    return release.startswith("rtx-")


def program(release: str) -> str:
    """The program that comes with a release and builds engines."""
    return str(read("trtexec")["rtx"]["program"]) if is_rtx(release) else "trtexec"


@cache
def flags(release: str) -> Mapping[str, Flag] | None:
    """The options that trtexec of a listed release takes, by name.

    None for TensorRT-RTX, which has another program.
    """
    if is_rtx(release):
        return None
    at = _read_at(release)
    return {
        name: _flag(name, entry, deprecated=_deprecated(entry, at))
        for name, entry in sorted(_entries().items())
        if entry.get("parsed", True) and any(at.within(span) for span in entry["available"])
    }


@cache
def rtx_flags() -> Mapping[str, Flag]:
    """The options that the program of TensorRT-RTX was seen to take; there may be others."""
    data = read("trtexec")["rtx"]
    return {name: _flag(name, entry) for name, entry in sorted(data["flags"].items())}


def options(release: str) -> Mapping[str, Flag]:
    """The options that are known of the program of a listed release."""
    found = flags(release)
    return rtx_flags() if found is None else found


def all_names() -> frozenset[str]:
    """Every option of trtexec that is known of, in whatever release."""
    return frozenset(_entries())


def read_itself(release: str) -> bool:
    """Whether the option parser of the release was read, so that what is not known is not there."""
    return not is_rtx(release) and Release.named(release) == _read_at(release)


def behaves(release: str, fact: str) -> bool:
    """Whether the program of a release does what an entry of ``behaviour`` says.

    TensorRT-RTX is taken to do as the newest trtexec that was read.
    """
    entry = next(e for e in read("trtexec")["behaviour"] if e["id"] == fact)
    return _read_at(release).within(entry)


def spans(name: str) -> tuple[tuple[str, str | None], ...]:
    """The releases of the main line that take an option: first and last, None where still taken."""
    entry = _entries().get(name)
    if entry is None or not entry.get("parsed", True):
        return ()
    return tuple((span["since"], span["until"]) for span in entry["available"])


def replaced_by(name: str) -> str:
    """What a strongly typed network has in place of an option about precision, in words."""
    return str(read("trtexec")["replaced_by"].get(name, ""))


def replacement_of(name: str) -> str:
    """What to write instead of an option that newer releases do not take; empty where unknown."""
    return str(_entries().get(name, {}).get("replacement", ""))


def note_on(name: str) -> str:
    """What a person should know of an option; empty where there is nothing."""
    return str(_entries().get(name, {}).get("note", ""))


def strongly_typed_only(release: str) -> bool:
    """Whether the types of the model decide on precision, so that no option does."""
    return "--fp16" not in options(release)


def _read_at(release: str) -> Release:
    """The release whose option parser tells: the newest that was read, for those after it."""
    at, newest = Release.named(release), Release.named(newest_read())
    return newest if at.index > newest.index else at


@cache
def _entries() -> Mapping[str, Mapping[str, Any]]:
    data = read("trtexec")
    return {**data["all_flags"], **data["key_flags"]}


def _flag(name: str, entry: Mapping[str, Any], *, deprecated: bool = False) -> Flag:
    return Flag(
        name,
        deprecated,
        entry.get("replacement", ""),
        entry.get("note", ""),
        entry.get("takes", ""),
        entry.get("repeatable", False),
        entry.get("evidence", "source"),
    )


def _deprecated(entry: Mapping[str, Any], at: Release) -> bool:
    since = entry.get("deprecated_since")
    return since is not None and main_line().index(since) <= at.index
