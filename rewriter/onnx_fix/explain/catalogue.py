"""The literal texts of TensorRT's ONNX parser, and how to find them in a log.

A text of the data holds run-time values as ``<*>`` or ``<op>``. In a log the same text may stand in
a C++ condition (``cond && "text"``), be joined from several C++ literals (``"one " "two"``), be
wrapped by a console, or have lost its last full stop.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, Literal

from onnx_fix.target.data import Release, main_line, read

Origin = Literal["restriction", "check", "helper", "no importer", "fact"]
"""Where the data has a text: a restriction of an op, a check of its importer, a check shared by
several importers, what is said of an op that nothing takes, a fact about no op in particular."""

BARE_FALSE = "false"
"""What releases since 9.1 say of an op known to be unsupported: the condition of an empty check."""

_HOLE = re.compile(r"<\*>|<op>|<name>")
_WORD = re.compile(r"[A-Za-z_]{4,}")
_GAP = r"[\s\"\\]+"
_LONGEST_VALUE = 200
_IN_EVERY_LOG = frozenset(
    (
        *("Input", "Output", "Tensor", "Weights", "Size", "Found", "Node", "Shape", "Dynamic"),
        *("input", "inputs", "output", "outputs", "tensor", "weights", "index", "name", "size"),
        *("Loop", "node"),
    )
)
"""Words of ordinary lines, which tell nothing (nor do names of ops)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One place in the data where a text stands.

    ``op`` is empty where the text belongs to no op in particular; ``via`` names the shared helper
    of the parser that raises it; ``releases`` are the listed releases that have it; ``detail`` is
    the data entry.
    """

    text: str
    op: str
    origin: Origin
    releases: frozenset[str]
    via: str = ""
    code: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Message:
    """One text, with every place that it stands in."""

    text: str
    entries: tuple[Entry, ...] = field(repr=False)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds the text in a log; group ``op`` holds what stands for ``<op>``."""
        return re.compile(_regex(self.text))

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words outside run-time values that are long enough to look for."""
        # A value may stand right beside a word, and then the log has neither alone.
        return tuple(_WORD.findall(re.sub(rf"\w*(?:{_HOLE.pattern})\w*", " ", _whole(self.text))))

    @property
    def says_no_importer(self) -> bool:
        """Whether the text is said of an op that no importer takes."""
        return any(entry.origin == "no importer" for entry in self.entries)


def _whole(text: str) -> str:
    """The text without a value that the data has cut in two."""
    return re.sub(r"<\*?$", "<*>", text)


def plain(text: str) -> str:
    """The text without what a log need not have: values at either end, the last full stop."""
    text = re.sub(r"(?:<\*>|<name>|<\*?$|[\s.!:=])+$", "", text.replace("\\'", "'"))
    return re.sub(r"^(?:<\*>|\s)+", "", text)


def _regex(text: str) -> str:
    """A pattern for a text; see the top of the module for the liberties it allows."""
    trimmed = plain(text)
    parts = []
    at = 0
    for hole in _HOLE.finditer(trimmed):
        parts.append(_literal(trimmed[at : hole.start()]))
        if hole.group() == "<op>":
            parts.append(r"(?P<op>\w+(?:(?:\.|::)\w+)*)")
        else:
            parts.append(rf"[^\n]{{0,{_LONGEST_VALUE}}}?")
        at = hole.end()
    parts.append(_literal(trimmed[at:]))
    end = r"(?![A-Za-z0-9_])" if re.search(r"\w$", trimmed) and trimmed == text else ""
    return "".join(parts) + end


def _literal(text: str) -> str:
    """Fixed text: blanks match any run of blanks, quotes and line breaks, quotes are optional."""
    words = re.split(r"\s+", text)
    return _GAP.join(re.escape(word).replace("'", r"\\?'") for word in words)


@cache
def messages() -> Mapping[str, Message]:
    """Every text of the data with its places, by text."""
    found: dict[str, list[Entry]] = {}
    for entry in _entries():
        found.setdefault(entry.text, []).append(entry)
    return MappingProxyType({t: Message(t, tuple(entries)) for t, entries in found.items()})


@cache
def anchors() -> Mapping[str, tuple[Message, ...]]:
    """The texts by one word each: the word that the fewest texts have."""
    known = [m for m in messages().values() if m.text != BARE_FALSE]
    counts = Counter(word for message in known for word in set(message.words))
    common = _IN_EVERY_LOG.union(read("operators"))
    index: dict[str, list[Message]] = {}
    for message in known:
        word = min(message.words, key=lambda w: (w in common, counts[w], -len(w), w))
        index.setdefault(word, []).append(message)
    return MappingProxyType({word: tuple(listed) for word, listed in index.items()})


def _entries() -> Iterator[Entry]:
    yield from _of_restrictions()
    yield from _of_checks()
    yield from _of_facts()


def _of_restrictions() -> Iterator[Entry]:
    for raw in read("restrictions"):
        wordings = {raw.get("message")} | {
            change.get("message") for change in raw.get("changes", {}).values()
        }
        for wording in sorted(filter(None, wordings)):
            has = [
                r for r in _listed() if r.within(raw) and r.settle(raw).get("message") == wording
            ]
            yield Entry(
                wording, raw["op"], "restriction", frozenset(r.name for r in has), detail=raw
            )


def _of_checks() -> Iterator[Entry]:
    data = read("messages")
    users: dict[str, set[str]] = {}
    for raw in data["ops"]:
        within = releases_within(raw)
        yield Entry(raw["text"], raw["op"], "check", within, raw.get("via", ""), raw["code"], raw)
        users.setdefault(raw["text"], set()).add(raw["op"])
    for raw in data["helpers"]:
        via = raw["via"]
        op = via if via in read("operators") else ""
        if op not in users.get(raw["text"], ()) if op else raw["text"] not in users:
            within = releases_within(raw)
            yield Entry(raw["text"], op, "helper", within, "" if op else via, detail=raw)


def _of_facts() -> Iterator[Entry]:
    facts = read("facts")
    for raw in facts["unsupported_op_errors"]:
        yield Entry(raw["text"], "", "no importer", releases_within(raw), detail=raw)
    attempt = "No importer registered for op: <op>. Attempting to import as plugin."
    yield Entry(attempt, "", "no importer", releases_within({"since": "7.1", "until": None}))
    plugins = read("plugins")
    for raw in (*facts["general"], *plugins["mapping"], *plugins["local_functions"]):
        for key in ("message", "warning_text"):
            text = raw.get(key, "")
            if text and not text.startswith(("No importer", "Plugin not found")):
                yield Entry(text, "", "fact", releases_within(raw), detail=raw)


@cache
def _listed() -> tuple[Release, ...]:
    return tuple(Release.named(name) for name in read("releases")["releases"])


def releases_within(interval: Mapping[str, Any]) -> frozenset[str]:
    """The listed releases that an interval of the data holds."""
    sides = interval.get("side", ())
    return frozenset(
        r.name for r in _listed() if r.name in sides or ("since" in interval and r.within(interval))
    )


def spans_in_words(names: Collection[str]) -> tuple[str, ...]:
    """A set of releases as intervals of the main line; side releases where they stand apart."""
    order = main_line()
    spans: list[list[str]] = []
    for before, name in zip((None, *order), order, strict=False):
        if name in names:
            if before in names:
                spans[-1].append(name)
            else:
                spans.append([name])
    words = [
        releases_in_words({"since": s[0], "until": None if s[-1] == order[-1] else s[-1]})
        for s in spans
    ]
    for name, facts in read("releases")["releases"].items():
        base = facts.get("base")
        if base is not None and (base in names) != (name in names):
            words.append(name if name in names else f"not {name}")
    return tuple(words)


def releases_in_words(interval: Mapping[str, Any]) -> str:
    """An interval of the data as people say it: ``7.0 to 8.6``, ``since 10.0``, ``rtx-1.7``."""
    if "since" not in interval:
        return ", ".join(interval["side"])
    since, until = interval["since"], interval.get("until")
    order = main_line()
    if since not in order or since == until:
        words = str(since)
    elif until is None:
        words = "all releases" if since == order[0] else f"since {since}"
    else:
        words = f"{since} to {until}"
    more = [*interval.get("also_on", ()), *interval.get("side", ())]
    words += f", {', '.join(more)}" if more else ""
    less = interval.get("not_on", ())
    return words + (f", not {', '.join(less)}" if less else "")
