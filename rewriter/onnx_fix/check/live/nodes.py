"""From what a parser says of a node to the node of the model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto

from onnx_fix.check.live.result import LiveError, Place
from onnx_fix.scope import STANDARD_DOMAINS

_MADE_NAME = re.compile(r"\bnode_of_(\S+)")
"""What TensorRT calls a node without a name: after its first output."""
_STACK = re.compile(r"^(.*) \(([^()]*)\)$")
_PLUGIN_ATTRIBUTES = frozenset({"plugin_version", "plugin_namespace"})


class NodeIndex:
    """The nodes of a model, in all scopes, by what a parser may call them."""

    def __init__(self, proto: ModelProto) -> None:
        self._main = list(proto.graph.node)
        self._known = {v.name for v in proto.graph.input}
        self._known.update(t.name for t in proto.graph.initializer)
        self._known.update(t.values.name for t in proto.graph.sparse_initializer)
        self._functions: dict[tuple[str, str], list[FunctionProto]] = {}
        for function in proto.functions:
            self._functions.setdefault((function.domain, function.name), []).append(function)

    @cached_property
    def _sorted(self) -> bool:
        """Whether the main graph is in order, so that parsers keep its order."""
        made = set(self._known)
        for node in self._main:
            if not all(name in made for name in _reads(node)):
                return False
            made.update(_makes(node))
        return True

    def find(self, error: LiveError) -> tuple[Place | None, bool]:
        """The node that an error is about, and whether it is certainly that one.

        False comes with the node of the main graph inside which the parser failed.
        """
        top = self._main[error.index] if 0 <= error.index < len(self._main) else None
        if top is not None and not error.stack and _is(top, error):
            return self._place(top, ""), True
        inside = (
            self._inside(top, "", set()) if top is not None else self._all() if error.op else ()
        )
        fits = [(place, node) for place, node in inside if _is(node, error)]
        fits = _by_stack(_by_output(fits, error), error)
        if len(fits) == 1:
            return fits[0][0], True
        return (None, True) if top is None else (self._place(top, ""), False)

    def labelled(self, label: str) -> Place | None:
        """The node of a log line ``name [Op]``, None where there is not exactly one."""
        name, _, op = label.strip().removesuffix("]").rpartition(" [")
        error = LiveError(code="", text=name, name=name, op=op)
        fits = [place for place, node in self._all() if _is(node, error)]
        if not fits and (made := _MADE_NAME.match(name)):
            first = made.group(1)
            fits = [place for place, n in self._all() if n.op_type == op and first in n.output[:1]]
        return fits[0] if len(fits) == 1 else None

    def mentioned(self, text: str) -> Place | None:
        """The first node whose name stands in a text as a word."""
        for word in re.split(r"[\s()\[\]{}<>,;'\"]+", text):
            place = self._by_name.get(word) or self._by_name.get(word.rstrip(":."))
            if place is not None:
                return place
        return None

    def taken(self, errors: Iterable[LiveError], parsed: bool) -> frozenset[tuple[str, str]]:
        """Scope and node of all that a parser surely got past.

        All where it took the model; else those before the first error, if the main graph is in
        order, since parsers sort it first. An error without a node proves nothing of any node.
        """
        if parsed:
            reached = self._main
        else:
            indices = [error.index for error in errors]
            certain = indices and min(indices) >= 0 and self._sorted
            reached = self._main[: min(indices)] if certain else []
        seen: set[int] = set()
        inside = (entry for node in reached for entry in self._inside(node, "", seen))
        places = [place for place, _ in inside]
        return frozenset(
            (p.scope, p.node) for p in [*(self._place(n, "") for n in reached), *places]
        )

    @cached_property
    def _by_name(self) -> dict[str, Place | None]:
        """The nodes by name; None for a name that several have."""
        found: dict[str, Place | None] = {}
        for place, node in self._all():
            # Short names and numbers are ordinary words of messages.
            name = text_of(node.name)
            if len(name) > 2 and not name.isdigit():
                found[name] = None if name in found else place
        return found

    def _all(self) -> Iterator[tuple[Place, NodeProto]]:
        seen: set[int] = set()
        for node in self._main:
            yield self._place(node, ""), node
            yield from self._inside(node, "", seen)

    def _inside(
        self, owner: NodeProto, scope: str, seen: set[int]
    ) -> Iterator[tuple[Place, NodeProto]]:
        """What stands in the subgraphs of a node, and in the functions it calls (once each)."""
        for path, graph in _subgraphs(owner, scope):
            yield from self._nodes(graph.node, path, seen)
        for function in self._functions.get((owner.domain, owner.op_type), ()):
            if function.overload == owner.overload and id(function) not in seen:
                seen.add(id(function))
                yield from self._nodes(function.node, _path(function), seen)

    def _nodes(
        self, nodes: Iterable[NodeProto], scope: str, seen: set[int]
    ) -> Iterator[tuple[Place, NodeProto]]:
        for node in nodes:
            yield self._place(node, scope), node
            yield from self._inside(node, scope, seen)

    def _place(self, node: NodeProto, scope: str) -> Place:
        calls = (node.domain, node.op_type) in self._functions
        attributes = {a.name for a in node.attribute}
        plugin = not calls and (
            node.domain not in STANDARD_DOMAINS or bool(attributes & _PLUGIN_ATTRIBUTES)
        )
        return Place(scope, _label(node), text_of(node.op_type), text_of(node.domain), plugin)


def text_of(name: str | bytes) -> str:
    """A name of a model; protobuf gives those that are no UTF-8 as bytes."""
    return name if isinstance(name, str) else name.decode(errors="replace")


def _label(node: NodeProto) -> str:
    """As ``onnx_fix.scope.node_label``."""
    return text_of(node.name or next((name for name in node.output if name), node.op_type))


def _path(function: FunctionProto) -> str:
    overload = f":{text_of(function.overload)}" if function.overload else ""
    return f"function {text_of(function.domain)}::{text_of(function.name)}{overload}"


def _subgraphs(node: NodeProto, scope: str) -> Iterator[tuple[str, GraphProto]]:
    """The bodies in a node, with the paths that ``onnx_fix.view`` gives them."""
    prefix = f"{scope}/{_label(node)}" if scope else _label(node)
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield f"{prefix}/{text_of(attribute.name)}", attribute.g
        for k, graph in enumerate(attribute.graphs):
            yield f"{prefix}/{text_of(attribute.name)}[{k}]", graph


def _makes(node: NodeProto) -> Iterator[str]:
    return (name for name in node.output if name)


def _reads(node: NodeProto) -> Iterator[str]:
    """The names a node takes from its scope, those that its bodies reach for included."""
    yield from (name for name in node.input if name)
    for _, graph in _subgraphs(node, ""):
        own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
        for inner in graph.node:
            yield from (name for name in _reads(inner) if name not in own)
            own.update(_makes(inner))
        yield from (v.name for v in graph.output if v.name and v.name not in own)


def _is(node: NodeProto, error: LiveError) -> bool:
    return node.name == error.name and error.op in ("", node.op_type)


_Fit = tuple[Place, NodeProto]


def _by_output(fits: list[_Fit], error: LiveError) -> list[_Fit]:
    """Those whose first output the text names, or all where it names none."""
    made = _MADE_NAME.search(error.text)
    output = made.group(1).rstrip(":,.") if made else None
    return [fit for fit in fits if output in fit[1].output[:1]] or fits


def _by_stack(fits: list[_Fit], error: LiveError) -> list[_Fit]:
    """Those in the innermost scope of the stack, or all where there is none.

    An entry is ``name (then_branch)`` for a branch and ``call (name)`` for a function.
    """
    match = _STACK.match(error.stack[-1]) if error.stack else None
    if match is None:
        return fits
    ends = (f"/{match.group(2)}", f"::{match.group(2)}")
    return [fit for fit in fits if fit[0].scope.endswith(ends)] or fits
