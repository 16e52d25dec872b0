"""Divide a network into parts: which nodes stand in which, and which tensors go between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from onnx_fix.splitting.frontier import frontier
from onnx_fix.splitting.network import Network, stages

Kind = Literal["engine", "host"]

_ONE = 1 << 40
"""What one more tensor between two parts costs; its number of elements decides between equals."""
_NOMINAL = 64
"""The size of a dim that is not known."""


@dataclass(frozen=True, slots=True)
class Section:
    """One part: numbers of nodes in execution order, names of what enters and leaves."""

    kind: Kind
    nodes: tuple[int, ...]
    cuts: tuple[int, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def divide(network: Network, cuts: Sequence[int]) -> list[Section]:
    """The parts in the order they run.

    Every part has what does not depend on a later cut. Sizes, constants and views of data are
    computed in each part that reads them where that leaves fewer tensors between the parts.
    """
    return _Division(network, cuts).sections()


class _Division:
    def __init__(self, network: Network, cuts: Sequence[int]) -> None:
        self._network = network
        self._cuts = frozenset(cuts)
        self._stage = stages(network, cuts)
        self._last = max((self._stage[c] + 1 for c in cuts), default=0)
        self._leaving: set[str] = set(network.outputs)
        """What has to leave the part that makes it, as known so far."""

    def sections(self) -> list[Section]:
        hosts = [self._host(stage) for stage in range(self._last)]
        engines: list[tuple[set[int], set[str]]] = []
        for stage in range(self._last, -1, -1):
            engines.insert(0, self._engine(stage))
        found: list[Section] = []
        for stage, (nodes, inputs) in enumerate(engines):
            if nodes:
                found.append(self._section("engine", nodes, inputs))
            if stage < len(hosts):
                nodes, inputs = hosts[stage]
                if found and found[-1].kind == "host":
                    # Nothing lies between the two: one part runs both.
                    nodes = nodes | set(found[-1].nodes)
                    made = {n for number in nodes for n in self._network.makes(number)}
                    inputs = (inputs | set(found.pop().inputs)) - made
                found.append(self._section("host", nodes, inputs))
        return self._with_outputs(found)

    def _host(self, stage: int) -> tuple[set[int], set[str]]:
        """The cut nodes of a stage, with the constants that they read."""
        mine = {c for c in self._cuts if self._stage[c] == stage}
        wanted = [n for c in sorted(mine) for n in self._network.needs[c]]
        handed, anew = frontier(
            self._network,
            wanted,
            lambda m: m not in self._cuts and self._network.is_constant(m),
            self._cost,
        )
        self._leaving |= handed
        return mine | anew, handed

    def _engine(self, stage: int) -> tuple[set[int], set[str]]:
        """What of a stage is wanted by the outputs of the model and by later parts."""
        network = self._network
        todo = [n for n in sorted(self._leaving) if self._made_in(n) == stage]
        mine: set[int] = set()
        wanted: list[str] = []
        while todo:
            number = network.maker[todo.pop()]
            if number in mine:
                continue
            mine.add(number)
            for need in network.needs[number]:
                (todo if self._made_in(need) == stage else wanted).append(need)
        handed, anew = frontier(
            network, sorted(wanted), lambda m: m not in self._cuts and network.is_cheap(m),
            self._cost,
        )  # fmt: skip
        self._leaving |= handed
        return mine | anew, handed

    def _made_in(self, name: str) -> int | None:
        """The stage whose engine makes a tensor; None for inputs and what the host makes."""
        maker = self._network.maker.get(name)
        return None if maker is None or maker in self._cuts else self._stage[maker]

    def _cost(self, name: str) -> int:
        """What it costs to hand a tensor over.

        Inputs of the model are there anyway. A tensor that leaves its part already costs half of
        a new one. A list of sizes costs more than a tensor that has them: as an input of an engine
        its values, not its shape, would have to be known to the profile.
        """
        if name in self._network.inputs:
            return 1
        size = min(self._elements(name), _ONE // 4)
        if self._network.is_size(name):
            return 4 * _ONE + size
        maker = self._network.maker.get(name)
        there = name in self._leaving or maker in self._cuts
        return (_ONE // 2 if there else _ONE) + size

    def _elements(self, name: str) -> int:
        shape = self._network.type_of(name).shape
        if shape is None:
            return _NOMINAL**4
        count = 1
        for dim in shape:
            count *= dim if isinstance(dim, int) else _NOMINAL
        return 1 + count

    def _section(self, kind: Kind, nodes: set[int], inputs: set[str]) -> Section:
        network = self._network
        declared = [v.name for v in network.model.proto.graph.input if v.name in inputs]
        between = sorted(inputs - set(declared), key=self._place)
        cuts = tuple(sorted(nodes & self._cuts))
        return Section(kind, tuple(sorted(nodes)), cuts, (*declared, *between), ())

    def _place(self, name: str) -> tuple[int, int]:
        maker = self._network.maker[name]
        return maker, self._network.makes(maker).index(name)

    def _with_outputs(self, sections: list[Section]) -> list[Section]:
        """Every tensor that leaves is an output of the first part that makes it; an output that is
        an initializer is one of the first part for the target."""
        network = self._network
        stored = [n for n in network.outputs if n in network.stored]
        home = next((k for k, s in enumerate(sections) if s.kind == "engine"), 0)
        leaving = {n for s in sections for n in s.inputs} | set(network.outputs)
        given: set[str] = set()
        found: list[Section] = []
        for number, section in enumerate(sections):
            makes = {n for k in section.nodes for n in network.makes(k)}
            mine = [n for n in network.outputs if n in makes and n not in given]
            mine += sorted((makes & leaving) - given - set(mine), key=self._place)
            given |= set(mine)
            mine += stored if number == home else []
            found.append(
                Section(section.kind, section.nodes, section.cuts, section.inputs, tuple(mine))
            )
        return found
