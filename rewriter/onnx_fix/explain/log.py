"""Find what is known in a message or a whole log, and name what is not."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from onnx_fix.explain.builder_lines import BUILDER_LINES
from onnx_fix.explain.catalogue import BARE_FALSE, Message, anchors, messages, plain
from onnx_fix.explain.lines import ECHOES, KNOWN_LINES, KnownLine
from onnx_fix.explain.places import NodeInLog, Reader, places
from onnx_fix.explain.trtexec_lines import TRTEXEC_LINES

_WORD = re.compile(r"[A-Za-z_]{4,}")
_CHUNK = 1 << 16
_LONGEST_LINE = 4096
"""Characters of a line that are looked at where it seems to be an error."""
_OVERLAP = 4096
"""Longest text that may stand across the border of two chunks, in characters."""
_BARE = re.compile(
    r"In function check(?P<op>[A-Z]\w*):\s*\[\d+\] false\b|"
    r"\(check(?P<op2>[A-Z]\w*)\): UNSUPPORTED_NODE: false\b"
)
_MADE_PLUGIN = re.compile(r"Successfully created plugin: (\w+)")
_LOST_PLUGIN = re.compile(r"could not find plugin:? (\w+)")
_MARKS = (
    *("[E]", "[F]", "ERROR", "Error", "error:", "Assertion", "Exception", "Traceback", "Aborted"),
    *("Killed", "not supported", "unsupported", "Unsupported", "FAILED", "terminate called"),
)
"""What a line that reports an error nearly always holds."""
_STAMP = re.compile(r"^\W*\[?\d{1,4}[/-]\d{1,2}[/-]\d{2,4}[-T ]\d{1,2}:\d{2}:\d{2}[.\d]*\]?\s*")
_LEVEL = re.compile(
    r"\[(?:E|F|W|I|V|TRT|TensorRT)\]\s*|\[TensorRT\] |ERROR: |\b\w{1,64}\.(?:cpp|h):\d+: "
)
_DUMP = re.compile(r"(?:input|output|name|op_type|domain|doc_string|s): \"|attribute \{")


@dataclass
class Hit:
    """Something known, with every place that it was found at.

    ``message`` or ``line`` is set, never both, and neither for what is not known; ``same`` are
    texts that the log does not tell apart from the message. ``op`` is the op that the log names
    with it, and ``nodes`` are the nodes, each once, in order. ``line_number`` counts from 1.
    """

    text: str
    found: str
    line_number: int
    op: str = ""
    message: Message | None = None
    same: tuple[Message, ...] = ()
    line: KnownLine | None = None
    count: int = 0
    nodes: dict[NodeInLog, None] = field(default_factory=dict)
    subjects: dict[str, None] = field(default_factory=dict)


@dataclass
class Scan:
    """What a log holds; ``unknown`` are lines that look like errors and hold nothing known."""

    hits: list[Hit]
    unknown: list[Hit]
    made_plugins: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Find:
    """A stretch of a log, and the text of the data that it holds."""

    start: int
    end: int
    message: Message | None = None
    op: str = ""
    same: tuple[Message, ...] = ()


def scan(text: str) -> Scan:
    """Go through a log once. Time grows with its length, memory with what is found."""
    lines = _Lines(text)
    found = _messages_in(text)
    covered = [(find.start, find.end) for find in found]
    others = _known_lines(text, lines, covered)
    odd = [_Find(start, end) for start, end in _odd_lines(text, lines, covered)]
    hits: dict[tuple[str, str], Hit] = {}
    unknown: dict[tuple[str, str], Hit] = {}
    reader = Reader(places(text))
    latest_op = ""
    for find in sorted([*found, *odd], key=lambda f: f.start):
        message = find.message
        said = (
            _bare(text[find.start : find.end][:_LONGEST_LINE]) if message is None else message.text
        )
        node = reader.node_at(find.end, said)
        op = find.op or node.op
        key = (said, op)
        if message is not None and message.says_no_importer:
            # The line that names the op comes before the one that says that no plugin was found.
            op = op or latest_op
            latest_op = op
            key = ("no importer", op)
        into = unknown if message is None else hits
        if key not in into:
            line, number = lines.at(find.start)
            into[key] = Hit(said, line, number, op, message, find.same)
        into[key].count += 1
        if node:
            into[key].nodes[node] = None
    ordered = sorted([*hits.values(), *others], key=lambda hit: hit.line_number)
    made = frozenset(_MADE_PLUGIN.findall(text))
    return Scan(_without_echo(ordered), list(unknown.values()), made)


def _without_echo(hits: list[Hit]) -> list[Hit]:
    """A text about a missing plugin that names no op repeats those that name one."""
    named = [h for h in hits if h.message is not None and h.message.says_no_importer and h.op]
    if not named:
        return hits
    return [
        h for h in hits if h.op or h.message is None or not h.message.says_no_importer or h.nodes
    ]


class _Lines:
    """Positions to lines."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts: list[int] | None = None

    def at(self, position: int) -> tuple[str, int]:
        """The line at a position, and its number. Of a very long line, which no log has, the part
        around the position."""
        start, end = self.span(position)
        start, end = max(start, position - _LONGEST_LINE), min(end, position + _LONGEST_LINE)
        return self._text[start:end].strip(), self.number(position)

    def number(self, position: int) -> int:
        if self._starts is None:
            self._starts = [m.end() for m in re.finditer("\n", self._text)]
        return bisect_right(self._starts, position) + 1

    def span(self, position: int) -> tuple[int, int]:
        start = self._text.rfind("\n", 0, position) + 1
        end = self._text.find("\n", position)
        return start, len(self._text) if end < 0 else end


def _messages_in(text: str) -> list[_Find]:
    """Where the texts of the data stand, the longest where several overlap, in order."""
    found = list(_bare_in(text))
    for match in _LOST_PLUGIN.finditer(text):
        lost = messages()["Plugin not found, are the plugin name, version, and namespace correct?"]
        found.append(_Find(match.start(), match.end(), lost, match[1]))
    index = anchors()
    for begin in range(0, len(text), _CHUNK):
        stop = begin + _CHUNK + _OVERLAP
        words = index.keys() & set(_WORD.findall(text, begin, stop))
        for message in (m for word in sorted(words) for m in index[word]):
            for match in message.pattern.finditer(text, begin, stop):
                if match.start() < begin + _CHUNK and not _inside_word(text, match.start()):
                    op = match.groupdict().get("op") or ""
                    found.append(_Find(match.start(), match.end(), message, op))
    return _longest(text, found)


def _inside_word(text: str, at: int) -> bool:
    return at > 0 and text[at].isalnum() and text[at - 1].isalnum()


def _bare_in(text: str) -> Iterator[_Find]:
    message = messages()[BARE_FALSE]
    for match in _BARE.finditer(text):
        yield _Find(match.start(), match.end(), message, match["op"] or match["op2"])


def _longest(text: str, found: list[_Find]) -> list[_Find]:
    """Of overlapping texts the longest; texts that differ in nothing a log shows stay together."""
    found.sort(key=lambda f: (f.start, -f.end))
    kept: list[_Find] = []
    for find in found:
        last = kept[-1] if kept else None
        if last is None or find.start >= last.end:
            kept.append(find)
        elif (find.start, find.end) == (last.start, last.end):
            first, second = last.message, find.message
            if first is second or first is None or second is None:
                continue
            same = last.same
            if plain(first.text) == plain(second.text):
                if text.startswith(second.text, find.start):
                    first, second = second, first
                same = (*same, second)
            elif len(plain(second.text)) > len(plain(first.text)):
                first, same = second, ()  # a value of the other text swallowed words of this one
            kept[-1] = replace(last, message=first, op=last.op or find.op, same=same)
        elif find.end - find.start > last.end - last.start and find.start > last.start:
            kept[-1] = find
    return kept


def _known_lines(text: str, lines: _Lines, covered: list[tuple[int, int]]) -> list[Hit]:
    hits: list[Hit] = []
    taken: set[int] = set()
    for known in (*BUILDER_LINES, *KNOWN_LINES, *TRTEXEC_LINES):
        if known.starts not in text:
            continue
        hit: Hit | None = None
        for match in known.pattern.finditer(text):
            start = text.rfind("\n", 0, match.start()) + 1
            if start in taken:
                continue
            taken.add(start)
            covered.append(match.span())
            if hit is None:
                found, number = lines.at(match.start())
                hit = Hit(known.starts.strip(), found, number, line=known)
                hits.append(hit)
            hit.count += 1
            subject = match.groupdict().get("what")
            if subject:
                hit.subjects[subject.strip()] = None
    return hits


def _odd_lines(
    text: str, lines: _Lines, covered: list[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Where lines stand that look like errors and hold nothing known."""
    holds = _holds(sorted(covered))
    starts = sorted({lines.span(at)[0] for mark in _MARKS for at in _every(text, mark)})
    for start in starts:
        end = lines.span(start)[1]
        line = text[start : min(end, start + _LONGEST_LINE)]
        said = _bare(line)
        if not said or holds(start, end) or _DUMP.match(said):
            continue
        if any(echo in line for echo in ECHOES) or (said[0] == "[" and said[-1] == "]"):
            continue
        if re.match(r"(?:\w+\.(?:cpp|h):\d+ )?In function|Invalid Node - ", said):
            continue
        yield start, end


def _bare(line: str) -> str:
    """A line without its time, level and place in the source."""
    return _LEVEL.sub("", _STAMP.sub("", line)).strip()


def _holds(spans: list[tuple[int, int]]) -> Callable[[int, int], bool]:
    begins = [begin for begin, _ in spans]

    def overlaps(start: int, end: int) -> bool:
        at = bisect_right(begins, end) - 1
        return at >= 0 and any(e > start for _, e in spans[max(0, at - 3) : at + 1])

    return overlaps


def _every(text: str, mark: str) -> Iterator[int]:
    at = text.find(mark)
    while at >= 0:
        yield at
        end = text.find("\n", at)
        at = -1 if end < 0 else text.find(mark, end)


def nearest(text: str) -> str:
    """The text of the data that is most like a short message, or nothing."""
    import difflib  # only where nothing was found

    said = plain(re.sub(r"^.*?(?:Assertion failed:|UNSUPPORTED_NODE:|INVALID_NODE:)", "", text))
    if not 8 <= len(said) <= 400:
        return ""
    close = difflib.get_close_matches(said, messages(), n=1, cutoff=0.6)
    return close[0] if close else ""
