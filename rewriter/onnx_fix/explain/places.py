"""Where in a log a message stands: the node that the parser names around it, and the release."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from onnx_fix.errors import UsageError
from onnx_fix.target import Target, load_target

_WHILE = re.compile(
    r"While parsing node number (?P<number>\d+)"
    r"(?: \[(?P<op>[\w.:]+)(?: -> \"(?P<output>[^\"\n]*)\"|)\])?"
)
_IN_NODE = re.compile(
    r"In node (?P<number>-?\d+)"
    r"(?: with name: (?P<name>[^\n]{0,2000}?) and operator: (?P<op>\S*)| \[(?P<bare>[\w.:]+)\])?"
    r"(?: \((?P<function>\w+)\))?"
)
_IN_FUNCTION = re.compile(r"In function (?P<function>\w+):")
_BEGIN = re.compile(r"--- Begin node ---(?P<dump>.{0,200000}?)--- End node ---", re.DOTALL)
_FIELD = re.compile(r"^(?:.*?\.cpp:\d+: )?(name|op_type|output): \"([^\"\n]*)\"", re.MULTILINE)
_INVALID = re.compile(r"Invalid Node - (?P<name>[^\r\n]+)")
_RUNNING = re.compile(r"\[(?P<family>TensorRT(?:-RTX|_RTX| RTX)?) v(?P<digits>\d{4,6})\]")
_VERSION = re.compile(
    r"(?P<family>TensorRT(?:-RTX|_RTX| RTX)?) version: (?P<version>\d+(?:\.\d+)+)"
)


@dataclass(frozen=True, slots=True)
class NodeInLog:
    """A node as a log names it. ``number`` is its index in the graph, None where not said; the
    other fields are empty where not said."""

    number: int | None = None
    name: str = ""
    op: str = ""
    output: str = ""

    def __bool__(self) -> bool:
        return self.number is not None or bool(self.name or self.op or self.output)

    def with_more(self, other: NodeInLog) -> NodeInLog:
        """This node, with what only the other knows."""
        return NodeInLog(
            other.number if self.number is None else self.number,
            self.name or other.name,
            self.op or other.op,
            self.output or other.output,
        )


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a log from which on a node is meant. ``opens`` is False where a line only
    tells more of the node that is meant already."""

    at: int
    node: NodeInLog
    opens: bool


def places(text: str) -> list[Place]:
    """Every naming of a node in a log, in order."""
    found = list(_places(text))
    found.sort(key=lambda place: place.at)
    return found


def _places(text: str) -> Iterator[Place]:
    for match in _WHILE.finditer(text):
        node = NodeInLog(int(match["number"]), "", match["op"] or "", match["output"] or "")
        yield Place(match.start(), node, True)
    for match in _IN_NODE.finditer(text):
        number = int(match["number"])
        op = match["op"] or match["bare"] or _op_of(match["function"] or "")
        node = NodeInLog(number if number >= 0 else None, match["name"] or "", op)
        yield Place(match.start(), node, True)
    for match in _IN_FUNCTION.finditer(text):
        yield Place(match.start(), NodeInLog(op=_op_of(match["function"])), False)
    for match in _BEGIN.finditer(text):
        fields = dict(reversed(_FIELD.findall(match["dump"])))
        node = NodeInLog(
            None, fields.get("name", ""), fields.get("op_type", ""), fields.get("output", "")
        )
        yield Place(match.start(), node, False)
    for match in _INVALID.finditer(text):
        name = match["name"].strip()
        node = NodeInLog(output=name[8:]) if name.startswith("node_of_") else NodeInLog(name=name)
        yield Place(match.start(), node, False)


def _op_of(function: str) -> str:
    """``importClip`` and ``checkClip`` are about Clip; helpers and the importer itself are not."""
    match = re.match(r"(?:import|check)([A-Z]\w*)$", function)
    if match is None or match[1] in _NO_OPS:
        return ""
    return match[1]


_NO_OPS = frozenset(
    (
        *("FallbackPluginImporter", "Model", "Input", "Inputs", "Initializers", "Subgraph"),
        *("LocalFunction", "LocalFunctions", "Dimensions", "NotInvalidType", "Graph", "Node"),
    )
)


class Reader:
    """Goes through the places of a log in step with the messages found in it."""

    def __init__(self, found: list[Place]) -> None:
        self._places = found
        self._next = 0
        self._node = NodeInLog()
        self._spent: str | None = None

    def node_at(self, position: int, message: str) -> NodeInLog:
        """The node that the message at a position is about; empty where the log names none.

        A node is good for one message, and for its repetitions, until the next one is named.
        """
        while self._next < len(self._places) and self._places[self._next].at <= position:
            place = self._places[self._next]
            self._next += 1
            if place.opens or self._spent is not None:
                self._node, self._spent = place.node, None
            else:
                self._node = self._node.with_more(place.node)
        if self._spent not in (None, message):
            return NodeInLog()
        self._spent = message
        return self._node

    def named(self, op: str) -> NodeInLog:
        """The current node, its op filled in."""
        return replace(self._node, op=self._node.op or op)


def release_in(text: str) -> Target | None:
    """The release that wrote a log, where it says so in a form of trtexec; None elsewhere."""
    running = _RUNNING.search(text)
    said = _VERSION.search(text)
    if running is not None:
        family, version = running["family"], _version(running["digits"])
    elif said is not None:
        family, version = said["family"], said["version"]
    else:
        return None
    prefix = "rtx-" if "RTX" in family else "trt-"
    parts = version.split(".")
    try:
        return load_target(prefix + ".".join(parts[:3]))
    except UsageError:
        return None  # older than all that is known


def _version(digits: str) -> str:
    """``7201`` is 7.2.1, ``8601`` 8.6.1, ``100300`` 10.3.0: NvInferVersion.h."""
    number = int(digits)
    if len(digits) <= 4:
        return f"{number // 1000}.{number // 100 % 10}.{number % 100}"
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"
