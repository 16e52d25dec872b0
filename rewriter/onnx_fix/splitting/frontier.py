"""The fewest tensors that a part has to be handed: a minimum vertex cut."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable

from onnx_fix.splitting.network import Network

Cost = Callable[[str], int]

_Vertex = tuple[str, bool]
"""A tensor on its near side (False: the side it is made on) and on its far side (True)."""


def frontier(
    network: Network, wanted: Iterable[str], may: Callable[[int], bool], cost: Cost
) -> tuple[set[str], set[int]]:
    """Choose which tensors are handed over and which nodes are computed anew behind them.

    Of all choices that give the wanted tensors, the cheapest, and among equals the one that
    computes least anew (max-flow min-cut theorem; flows by shortest augmenting paths).

    Args:
        network: The graph.
        wanted: Tensors that a part reads and does not make.
        may: Whether a node may be computed anew.
        cost: What it costs to hand a tensor over, more than 0.

    Returns:
        The names of the tensors to hand over, and the numbers of the nodes to compute anew.
    """
    goal = list(dict.fromkeys(wanted))
    flow = _Flow()
    todo, seen = list(goal), set(goal)
    while todo:
        name = todo.pop()
        flow.add((name, False), (name, True), cost(name))
        maker = network.maker.get(name)
        if maker is None or not may(maker):
            flow.starts.add(name)
            continue
        for need in network.needs[maker]:
            flow.add((need, True), (name, False), math.inf)
            if need not in seen:
                seen.add(need)
                todo.append(need)
    far = flow.far_side(goal)
    handed = {n for n in seen if (n, True) in far and (n, False) not in far}
    anew: set[int] = set()
    todo = [n for n in goal if n not in handed]
    while todo:
        maker = network.maker[todo.pop()]
        if maker not in anew:
            anew.add(maker)
            todo += [n for n in network.needs[maker] if n not in handed]
    # What is handed over and not read after all: a tensor that a constant stands for, say.
    read = {n for number in anew for n in network.needs[number]} | set(goal)
    return handed & read, anew


class _Flow:
    """A network of capacities between tensors, and the largest flow through it."""

    def __init__(self) -> None:
        self.starts: set[str] = set()
        self._left: dict[_Vertex, dict[_Vertex, float]] = {}

    def add(self, start: _Vertex, end: _Vertex, capacity: float) -> None:
        """An edge."""
        self._left.setdefault(start, {})[end] = capacity
        self._left.setdefault(end, {}).setdefault(start, 0)

    def far_side(self, goal: list[str]) -> set[_Vertex]:
        """The vertices from which the goal can still be reached once the flow is largest."""
        ends = {(name, True) for name in goal}
        while path := self._path(ends):
            room = min(self._left[a][b] for a, b in path)
            for a, b in path:
                self._left[a][b] -= room
                self._left[b][a] += room
        found, todo = set(ends), list(ends)
        while todo:
            end = todo.pop()
            for start in self._left.get(end, {}):
                if start not in found and self._left[start].get(end, 0) > 0:
                    found.add(start)
                    todo.append(start)
        return found

    def _path(self, ends: set[_Vertex]) -> list[tuple[_Vertex, _Vertex]]:
        """The edges of a shortest way from a start to the goal that has room left."""
        first = [(name, False) for name in sorted(self.starts)]
        before: dict[_Vertex, _Vertex | None] = dict.fromkeys(first)
        todo = deque(first)
        while todo:
            here = todo.popleft()
            if here in ends:
                path = []
                while (last := before[here]) is not None:
                    path.append((last, here))
                    here = last
                return path
            for there, room in self._left.get(here, {}).items():
                if room > 0 and there not in before:
                    before[there] = here
                    todo.append(there)
        return []
