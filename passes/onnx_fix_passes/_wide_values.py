"""Which values of a model have a type that the target lacks, and which belong together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Skipped
from onnx_fix.model import Model
from onnx_fix.scope import Scope, is_standard, node_label
from onnx_fix_passes._wide_rules import HOLDERS, converts, holds, obstacle
from onnx_fix_passes._wide_types import (
    CARRIERS,
    NARROW,
    Carrier,
    carrier_of,
    casts,
    has_int64,
    lacks,
    name_of,
)

_OF_TYPES = frozenset({"dtype", "dtype_refused", "uint8_io", "quantized_constant"})
"""Kinds of findings that say that a node does not take an element type elsewhere taken."""

_ON_BITS = frozenset({"BitCast", "BitShift"})
"""Ops that no release takes, and that are arithmetic in a wider type."""


@dataclass(frozen=True)
class Obstacle:
    """What keeps a group as it is: a node, or an input of the network that no node reads."""

    scope: Scope
    node: gs.Node | None
    reason: str
    unread: str = ""

    def skipped(self) -> Skipped:
        """The obstacle as a report shows it."""
        if self.node is None:
            return Skipped(self.scope.path, self.unread, "input", self.reason)
        return Skipped(self.scope.path, node_label(self.node), self.node.op, self.reason)


@dataclass(eq=False)
class Group:
    """Values of one element type that nodes tie together, so that they change it together.

    ``wanted``: the target refuses one of them. ``obstacles`` are the nodes that keep the group as
    it is, each with the reason. ``ends`` are its inputs and outputs of the network.
    """

    carrier: Carrier
    wanted: bool = False
    exact: bool = True
    obstacles: list[Obstacle] = field(default_factory=list)
    nodes: list[tuple[Scope, gs.Node]] = field(default_factory=list)
    inputs: list[gs.Tensor] = field(default_factory=list)
    outputs: list[gs.Tensor] = field(default_factory=list)
    cast_ends: set[int] = field(default_factory=set)
    tensors: dict[int, gs.Tensor] = field(default_factory=dict)

    @property
    def changes_ends(self) -> bool:
        """Whether an input or output of the network changes its type."""
        return any(id(t) not in self.cast_ends for t in (*self.inputs, *self.outputs))


class Values:
    """The groups of a model."""

    def __init__(self, model: Model, *, retype_io: bool, doubles: bool) -> None:
        self.model = model
        self.retype_io = retype_io
        self.doubles = doubles
        self._tensors: dict[int, gs.Tensor] = {}
        self._above: dict[int, int] = {}
        self._types: dict[int, int] = {}
        self._groups: dict[int, Group] = {}

    def groups(self) -> list[Group]:
        """Every group of which the target refuses a value, in the order of the graph."""
        plain = [s for s in self.model.scopes if s.kind != "function"]
        touching: list[tuple[Scope, gs.Node, list[gs.Tensor]]] = []
        for scope in plain:
            for tensor in (*scope.graph.inputs, *scope.graph.outputs):
                self._of(scope, tensor)
            for node in scope.graph.nodes:
                mine = [t for t in self._near(scope, node) if self._of(scope, t)]
                if mine:
                    self._tie(node, mine)
                    touching.append((scope, node, mine))
        if not self._types:
            return []
        for key, tensor in self._tensors.items():
            self._group(tensor).tensors[key] = tensor
        lacking = self._lacking()
        for group in self._found():
            group.wanted = group.carrier.was in lacking
        for scope, node, mine in touching:
            self._want(scope, node, mine)
            for group in dict.fromkeys(self._group(t) for t in mine):
                group.nodes.append((scope, node))
        self._ends()
        self._hold()
        for scope, node, mine in touching:
            self._hinder(scope, node, mine)
        for group in self._found():
            self._settle(group)
        return [g for g in self._found() if g.wanted]

    # -- which values belong together --------------------------------------------------------------

    def _of(self, scope: Scope, tensor: gs.Tensor) -> bool:
        if not tensor.name:
            return False
        key = id(tensor)
        if key not in self._above:
            dtype = scope.dtype(tensor)
            if dtype not in CARRIERS:
                return False
            self._above[key], self._types[key], self._tensors[key] = key, dtype, tensor
        return True

    def _near(self, scope: Scope, node: gs.Node) -> Iterator[gs.Tensor]:
        yield from node.inputs
        yield from node.outputs
        for inner in self.model.inner_scopes(node):
            yield from inner.graph.inputs
            yield from inner.graph.outputs

    def _tie(self, node: gs.Node, mine: list[gs.Tensor]) -> None:
        first: dict[int, gs.Tensor] = {}
        for tensor in mine:
            one = first.setdefault(self._types[id(tensor)], tensor)
            self._above[self._root(tensor)] = self._root(one)

    def _root(self, tensor: gs.Tensor) -> int:
        key = id(tensor)
        while self._above[key] != key:
            self._above[key] = self._above[self._above[key]]
            key = self._above[key]
        return key

    def _group(self, tensor: gs.Tensor) -> Group:
        root = self._root(tensor)
        if root not in self._groups:
            self._groups[root] = Group(carrier_of(self._types[root], self.model.target))
        return self._groups[root]

    def _found(self) -> list[Group]:
        return list(self._groups.values())

    # -- which are refused -------------------------------------------------------------------------

    def _lacking(self) -> frozenset[int]:
        """The types that the target does not take at all."""
        target, opset = self.model.target, self.model.opset
        return frozenset(
            t for t in set(self._types.values()) if lacks(target, opset, t, bound=True)
        )

    def _want(self, scope: Scope, node: gs.Node, mine: list[gs.Tensor]) -> None:
        """Take in what the target has against the types of a node that it takes elsewhere."""
        groups = [(t, self._group(t)) for t in mine]
        open_ = [
            (t, g)
            for t, g in groups
            if not g.wanted and not (g.carrier.is_float and g.carrier.was not in NARROW)
        ]
        if not open_ or not is_standard(node):
            return
        if node.op in _ON_BITS and scope.refused(node):
            for _, group in open_:
                group.wanted = True
        for finding in scope.judge(node).findings:
            if finding.kind in _OF_TYPES and (finding.refuses or finding.in_doubt):
                for tensor, group in open_:
                    group.wanted |= finding.tensor in ("", tensor.name)

    # -- the ends of the network -------------------------------------------------------------------

    def _ends(self) -> None:
        model, graph = self.model, self.model.main.graph
        for tensors, at_input in ((graph.inputs, True), (graph.outputs, False)):
            for tensor in tensors:
                if id(tensor) not in self._types:
                    continue
                group = self._group(tensor)
                (group.inputs if at_input else group.outputs).append(tensor)
                if not group.wanted or model.is_overridable(tensor):
                    continue
                if casts(model.target, model.opset, group.carrier, at_input=at_input):
                    group.cast_ends.add(id(tensor))

    def _hold(self) -> None:
        """Without the option, inputs and outputs keep their types."""
        main = self.model.main
        for group in self._found():
            if not group.wanted or self.retype_io:
                continue
            was, to = name_of(group.carrier.was), name_of(group.carrier.to)
            for tensors, what in ((group.inputs, "input"), (group.outputs, "output")):
                for tensor in tensors:
                    if id(tensor) in group.cast_ends:
                        continue
                    reason = (
                        f"the {what} '{tensor.name}' of the network is {was}, which "
                        f"{self.model.target.name} does not take; --retype-io (retype_io=True) "
                        f"makes it {to}"
                    )
                    near = self.model.consumers(tensor) if what == "input" else []
                    maker = self.model.producer(tensor)
                    node = near[0] if near else maker
                    group.obstacles.append(Obstacle(main, node, reason, str(tensor.name)))

    # -- what is in the way ------------------------------------------------------------------------

    def _hinder(self, scope: Scope, node: gs.Node, mine: list[gs.Tensor]) -> None:
        for group in dict.fromkeys(self._group(t) for t in mine):
            if not group.wanted:
                continue
            carrier = group.carrier
            if carrier.to == TensorProto.INT64 and not has_int64(self.model.target):
                reason = (
                    f"{self.model.target.name} computes INT64 as INT32, which does not hold the "
                    f"values of {name_of(carrier.was)}"
                )
            else:
                reason = obstacle(scope, node, carrier, group.tensors)
            if reason:
                group.obstacles.append(Obstacle(scope, node, reason))

    def _settle(self, group: Group) -> None:
        """Decide on what is not exact: floats carried in another precision."""
        if not group.wanted or not group.carrier.is_float or group.carrier.was in NARROW:
            return
        members = group.tensors
        moved = all(
            n.op in HOLDERS or converts(s, n, group.carrier, members) for s, n in group.nodes
        ) and all(
            holds(self.model.main, t)
            for t in members.values()
            if self.model.constness(t) == "initializer"
        )
        group.exact = moved
        asked = self.doubles or (self.retype_io and group.changes_ends)
        if group.carrier.was == TensorProto.DOUBLE and not moved and not asked:
            reason = (
                f"{self.model.target.name} does not take DOUBLE, and FLOAT would compute less "
                "precisely; the option doubles of widen-types asks for that"
            )
            group.obstacles.append(Obstacle(*group.nodes[0], reason))
