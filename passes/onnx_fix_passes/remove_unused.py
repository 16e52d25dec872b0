"""Nodes whose results nobody reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.scope import Scope


@dataclass(frozen=True)
class RemoveUnused(Pass):
    """Remove nodes that no output depends on, where the target would refuse one of them.

    The parser of TensorRT imports every node, so an op that it lacks stops it even when nobody
    reads the result.

    Rules:

    1. A node that the target refuses goes where no output of its graph or body depends on it,
       with the nodes that read it and the nodes that then have no reader left.
    2. With ``everywhere`` every such node goes, refused or not.

    Before:
        u = Unique (x)
        y = Relu (x)
    After:
        y = Relu (x)
    Exact:
        Yes: an ONNX node has no effect but its outputs. Inputs of the graph stay, read or not.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.CLEAN
    mends: ClassVar[tuple[Mends, ...]] = (Mends("*", "*", "no output depends on the node"),)

    everywhere: bool = False
    """Remove every node that no output depends on, whether the target takes it or not."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose nothing in the place of unused nodes, one rewrite for each that hang together."""
        unused = _unused(scope)
        going: dict[int, gs.Node] = {}
        for node in unused.values():
            above = any(id(n) in going for n in _read_from(scope, node))
            if self.everywhere or above or scope.refused(node):
                going[id(node)] = node
        for group in _groups(scope, going):
            yield Rewrite(tuple(reversed(group)), (), ())


def _unused(scope: Scope) -> dict[int, gs.Node]:
    """The nodes of any domain that no output depends on, in execution order."""
    found: dict[int, gs.Node] = {}
    for node in reversed(scope.graph.nodes):
        if scope.nodes_alive(node) and not any(_is_needed(scope, t, found) for t in node.outputs):
            found[id(node)] = node
    return dict(reversed(found.items()))


def _is_needed(scope: Scope, tensor: gs.Tensor, unused: dict[int, gs.Node]) -> bool:
    if not tensor.name:
        return False
    return scope.is_output(tensor) or any(id(n) not in unused for n in scope.consumers(tensor))


def _read_from(scope: Scope, node: gs.Node) -> Iterator[gs.Node]:
    for tensor in node.inputs:
        producer = scope.producer(tensor) if tensor.name else None
        if producer is not None:
            yield producer


def _groups(scope: Scope, nodes: dict[int, gs.Node]) -> Iterator[list[gs.Node]]:
    """The nodes that hang together, each group in execution order."""
    group_of: dict[int, int] = {}
    members: dict[int, list[gs.Node]] = {}
    for key, node in nodes.items():
        joined = {group_of[id(n)] for n in _read_from(scope, node) if id(n) in group_of}
        first = min(joined, default=key)
        members.setdefault(first, [])
        for other in joined - {first}:
            for member in members[other]:
                group_of[id(member)] = first
            members[first].extend(members.pop(other))
        members[first].append(node)
        group_of[key] = first
    place = {key: k for k, key in enumerate(nodes)}
    for group in members.values():
        yield sorted(group, key=lambda n: place[id(n)])
