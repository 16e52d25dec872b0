"""Execution order of nodes."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnx_fix.errors import InternalError

if TYPE_CHECKING:
    from onnx_fix.model import Model


def reads(node: gs.Node) -> Iterable[gs.Tensor]:
    """The tensors a node needs before it can run, those read inside its subgraphs included."""
    yield from node.inputs
    for value in node.attrs.values():
        if isinstance(value, gs.Graph):
            for inner in value.nodes:
                yield from reads(inner)
            yield from value.outputs


def in_order(model: Model, nodes: Iterable[gs.Node]) -> list[gs.Node]:
    """The nodes as they stand if that order can be executed, else the nearest one that can.

    Nodes that need not move stay in their relative order (Kahn's algorithm with the old position
    as priority). Linear when nothing has to move.

    Raises:
        InternalError: the nodes depend on each other in a circle.
    """
    listed = list(nodes)
    place = {id(n): k for k, n in enumerate(listed)}
    needs: list[set[int]] = []
    sound = True
    for k, node in enumerate(listed):
        before = set()
        for tensor in reads(node):
            maker = model.producer(tensor)
            if maker is not None and id(maker) in place and maker is not node:
                before.add(place[id(maker)])
        sound = sound and all(b < k for b in before)
        needs.append(before)
    if sound:
        return listed
    waiting = [len(b) for b in needs]
    feeds: list[list[int]] = [[] for _ in listed]
    for k, before in enumerate(needs):
        for b in before:
            feeds[b].append(k)
    ready = [k for k, n in enumerate(waiting) if n == 0]
    order: list[gs.Node] = []
    while ready:
        k = heappop(ready)
        order.append(listed[k])
        for after in feeds[k]:
            waiting[after] -= 1
            if waiting[after] == 0:
                heappush(ready, after)
    if len(order) != len(listed):
        raise InternalError("a rewrite made nodes depend on each other in a circle")
    return order
