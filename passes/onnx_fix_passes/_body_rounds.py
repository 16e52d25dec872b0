"""The rounds of a Loop or Scan and the branches of an If, as nodes of the graph around them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper

from onnx_fix.functions import bodies_of, every_node, has_bodies

Array = NDArray[np.generic]
Shape = tuple[int | str | None, ...]


MARK = "\x02"
"""Stands in no name of a model, and in every name that is made here."""


class Unresolved(Exception):
    """The control flow rests on what is known at run time only; the message says on what."""


@dataclass(frozen=True)
class Limits:
    """How much may be written out: rounds of one loop, and nodes altogether."""

    rounds: int = 32
    nodes: int = 2000


@dataclass(frozen=True)
class Known:
    """What is known where the node stands: values, shapes and types by name, and how the bytes of
    an initializer of a body are read."""

    value: Callable[[str], Array | None]
    shape: Callable[[str], Shape | None]
    dtype: Callable[[str], int]
    evaluated: Callable[[NodeProto, Sequence[Array]], Array | None]
    read: Callable[[TensorProto], Array]


def count_nodes(graph: GraphProto) -> int:
    """How many nodes there are in a graph and in those inside it."""
    return sum(1 for _ in every_node(graph.node))


def rename(node: NodeProto, names: Callable[[str], str]) -> None:
    """Rename what a node reads, in the graphs inside it too, but for what these define."""
    node.input[:] = [names(name) if name else "" for name in node.input]
    for graph in bodies_of(node):
        _rename_inside(graph, names)


def _rename_inside(graph: GraphProto, names: Callable[[str], str]) -> None:
    own = {value.name for value in graph.input} | {t.name for t in graph.initializer}
    own.update(name for node in graph.node for name in node.output)

    def outside(name: str) -> str:
        return name if name in own else names(name)

    for node in graph.node:
        rename(node, outside)
    for value in graph.output:
        value.name = outside(value.name)


@dataclass
class Rounds:
    """Writes the control flow of one graph out; names that it makes are in no model."""

    opset: int
    limits: Limits
    constants: dict[str, Array] = field(default_factory=dict)
    """What the new nodes read: numbers of rounds, and the initializers of bodies."""
    _number: int = 0
    _written: int = 0

    def resolve(self, node: NodeProto, known: Known) -> list[NodeProto]:
        """The nodes that stand for an If, Loop or Scan.

        Raises:
            Unresolved: how it runs is not known, or it is too long.
        """
        if node.op_type == "If":
            return self._if(node, known)
        if node.op_type == "Loop":
            return self._loop(node, known)
        if node.op_type == "Scan":
            return self._scan(node, known)
        raise Unresolved(f"a {node.op_type} with an inner graph is not written out")

    # -- the three ops -----------------------------------------------------------------------------

    def _if(self, node: NodeProto, known: Known) -> list[NodeProto]:
        condition = known.value(node.input[0])
        if condition is None or condition.size != 1:
            raise Unresolved(f"the condition '{node.input[0]}' of an If is known at run time only")
        taken = "then_branch" if condition.reshape(-1)[0] else "else_branch"
        body = _Body(self, _graph(node, taken), known.read)
        nodes, results = body.copy(())
        return [*nodes, *map(_identity, results, node.output)]

    def _loop(self, node: NodeProto, known: Known) -> list[NodeProto]:
        body = _Body(self, _graph(node, "body"), known.read)
        trips = self._trips(node, known)
        condition = known.value(node.input[1]) if len(node.input) > 1 and node.input[1] else None
        if condition is None and len(node.input) > 1 and node.input[1]:
            raise Unresolved(f"the condition '{node.input[1]}' is known at run time only")
        goes_on = condition is None or bool(condition.reshape(-1)[0])
        states = list(node.input[2:])
        stacked: list[list[str]] = [[] for _ in node.output[len(states) :]]
        local = _Local(known, self.constants)
        always = body.always_true()
        if goes_on and always:
            if trips is None:
                raise Unresolved("it has no trip count and a condition that is always true")
            self._check(trips)
        given = [known.shape(name) if name else None for name in (*node.input[:2], "", "")]
        ranks = [rank_inside(body.graph, k, given[k]) for k in (0, 1)]
        made: list[NodeProto] = []
        number = 0
        while goes_on and (trips is None or number < trips):
            if number >= self.limits.rounds:
                raise Unresolved(
                    f"it makes more than {self.limits.rounds} rounds before its condition ends it"
                )
            round_ = self.constant(np.full((1,) * ranks[0], number, np.int64))
            still = self.constant(np.full((1,) * ranks[1], True))
            nodes, results = body.copy((round_, still, *states))
            made += nodes
            local.add(nodes)
            states = results[1 : 1 + len(states)]
            for rows, name in zip(stacked, results[1 + len(states) :], strict=True):
                rows.append(name)
            if not always:
                value = local.value(results[0])
                if value is None or value.size != 1:
                    raise Unresolved(
                        f"whether it goes on after round {number} ('{body.graph.output[0].name}') "
                        "is known at run time only"
                    )
                goes_on = bool(value.reshape(-1)[0])
            number += 1
        outputs = node.output[: len(states)]
        made += [_identity(s, out) for s, out in zip(states, outputs, strict=True) if out]
        for rows, out in zip(stacked, node.output[len(states) :], strict=True):
            if out:
                made += self._stack(rows, out, 0, known)
        return made

    def _trips(self, node: NodeProto, known: Known) -> int | None:
        if not node.input or not node.input[0]:
            return None
        value = known.value(node.input[0])
        if value is None or value.size != 1:
            raise Unresolved(f"the trip count '{node.input[0]}' is known at run time only")
        return int(value.reshape(-1)[0])

    def _check(self, rounds: int) -> None:
        if rounds > self.limits.rounds:
            raise Unresolved(
                f"it makes {rounds} rounds, and at most {self.limits.rounds} are written out"
            )

    def _scan(self, node: NodeProto, known: Known) -> list[NodeProto]:
        if self.opset < 9:
            raise Unresolved("Scan of operator set 8 has another form; raise the operator set")
        body = _Body(self, _graph(node, "body"), known.read)
        given = {a.name: list(a.ints) for a in node.attribute}
        count = next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 0)
        held = len(node.input) - count
        states, scanned = list(node.input[:held]), list(node.input[held:])
        axes = given.get("scan_input_axes") or [0] * count
        back = given.get("scan_input_directions") or [0] * count
        length = None
        for k, name in enumerate(scanned):
            shape = known.shape(name)
            if shape is None:
                raise Unresolved(f"the rank of '{name}', which it goes over, is not known")
            axes[k] %= len(shape)
            size = shape[axes[k]]
            length = size if not isinstance(length, int) else length
        if not isinstance(length, int):
            dim = f"the dim '{length}'" if length else "a dim of unknown size"
            raise Unresolved(f"it goes over {dim} of '{scanned[0]}'; fix the dim (--static)")
        self._check(length)
        outputs = list(node.output[held:])
        stacked: list[list[str]] = [[] for _ in outputs]
        made: list[NodeProto] = []
        for number in range(length):
            slices = []
            for name, axis, reverse in zip(scanned, axes, back, strict=True):
                place = length - 1 - number if reverse else number
                index = self.constant(np.asarray(place, np.int64))
                slices.append(self.fresh(name))
                made.append(helper.make_node("Gather", [name, index], slices[-1:], axis=axis))
            nodes, results = body.copy((*states, *slices))
            made += nodes
            states = results[:held]
            for rows, name in zip(stacked, results[held:], strict=True):
                rows.append(name)
        made += [_identity(s, o) for s, o in zip(states, node.output[:held], strict=True) if o]
        axes = given.get("scan_output_axes") or [0] * len(outputs)
        back = given.get("scan_output_directions") or [0] * len(outputs)
        for rows, out, axis, reverse in zip(stacked, outputs, axes, back, strict=True):
            if out:
                made += self._stack(rows[::-1] if reverse else rows, out, axis, known)
        return made

    # -- pieces ------------------------------------------------------------------------------------

    def _stack(self, rows: Sequence[str], out: str, axis: int, known: Known) -> list[NodeProto]:
        shape = known.shape(out)
        if axis < 0:
            if shape is None:
                raise Unresolved(f"an axis is negative, and the rank of '{out}' is not known")
            axis += len(shape)
        if not rows:
            return [_identity(self._empty(out, axis, known), out)]
        made = []
        for row in rows:
            name = self.fresh(row)
            if self.opset >= 13:
                axes = self.constant(np.asarray([axis], np.int64))
                made.append(helper.make_node("Unsqueeze", [row, axes], [name]))
            else:
                made.append(helper.make_node("Unsqueeze", [row], [name], axes=[axis]))
        if len(made) == 1:
            made[0].output[0] = out
            return made
        joined = [node.output[0] for node in made]
        return [*made, helper.make_node("Concat", joined, [out], axis=axis)]

    def _empty(self, out: str, axis: int, known: Known) -> str:
        shape, dtype = known.shape(out), known.dtype(out)
        others = [d for k, d in enumerate(shape or ()) if k != axis]
        if shape is None or not dtype or not all(isinstance(d, int) for d in others):
            raise Unresolved(f"it makes no round, and the sizes of '{out}' are not known")
        sizes = [d if isinstance(d, int) and k != axis else 0 for k, d in enumerate(shape)]
        return self.constant(np.zeros(sizes, helper.tensor_dtype_to_np_dtype(dtype)))

    def copies(
        self, graph: GraphProto, read: Callable[[TensorProto], Array]
    ) -> Callable[[Iterable[str]], tuple[list[NodeProto], list[str]]]:
        """What makes a copy of a graph for given inputs: its nodes, and the names of its outputs.

        Raises:
            Unresolved: the graph has a sparse initializer.
        """
        return _Body(self, graph, read).copy

    def fresh(self, base: str) -> str:
        """A name that nothing has."""
        self._number += 1
        return f"{base.partition(MARK)[0]}{MARK}{self._number}"

    def constant(self, value: Array) -> str:
        """The name of a new constant."""
        name = self.fresh("constant")
        self.constants[name] = value
        return name

    def count(self, nodes: int) -> None:
        """Note how many nodes were written.

        Raises:
            Unresolved: they are too many.
        """
        self._written += nodes
        if self._written > self.limits.nodes:
            raise Unresolved(
                f"written out it would be more than {self.limits.nodes} nodes, which is the limit"
            )


class _Body:
    """A graph of which copies are made."""

    def __init__(
        self, rounds: Rounds, graph: GraphProto, read: Callable[[TensorProto], Array]
    ) -> None:
        self.graph = graph
        self._rounds = rounds
        self._size = count_nodes(graph)
        if graph.sparse_initializer:
            raise Unresolved("its body has a sparse initializer")
        self._weights = {t.name: rounds.constant(read(t)) for t in graph.initializer}
        """Initializers that are inputs too are fed, and so no weights."""
        for value in graph.input:
            self._weights.pop(value.name, None)

    def copy(self, given: Iterable[str]) -> tuple[list[NodeProto], list[str]]:
        """The nodes of one round and the names of its results."""
        self._rounds.count(self._size)
        names = dict(self._weights)
        names.update(zip((value.name for value in self.graph.input), given, strict=True))
        made = []
        for node in self.graph.node:
            copy = NodeProto()
            copy.CopyFrom(node)
            rename(copy, lambda name: names.get(name, name))
            for k, name in enumerate(node.output):
                if name:
                    names[name] = copy.output[k] = self._rounds.fresh(name)
            made.append(copy)
        return made, [names.get(value.name, value.name) for value in self.graph.output]

    def always_true(self) -> bool:
        """Whether the first output is the second input, or a constant that is true."""
        makers = {name: node for node in self.graph.node for name in node.output}
        name = self.graph.output[0].name
        while name in makers and makers[name].op_type == "Identity":
            name = makers[name].input[0]
        if name == self.graph.input[1].name:
            return True
        node = makers.get(name)
        if node is not None and node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    return bool(numpy_helper.to_array(attribute.t).all())
        held = self._weights.get(name)
        return held is not None and bool(self._rounds.constants[held].reshape(-1).all())


class _Local:
    """Values of new nodes as far as they follow from constants, node by node on demand."""

    def __init__(self, known: Known, constants: Mapping[str, Array]) -> None:
        self._known = known
        self._constants = constants
        self._makers: dict[str, NodeProto] = {}
        self._values: dict[str, Array | None] = {}

    def add(self, nodes: Iterable[NodeProto]) -> None:
        """Take in nodes."""
        self._makers.update((name, node) for node in nodes for name in node.output if name)

    def value(self, name: str) -> Array | None:
        """The value of a tensor, None where it is known at run time only."""
        stack = [name]
        while stack:
            top = stack[-1]
            if top in self._values:
                stack.pop()
                continue
            node = self._makers.get(top)
            if top in self._constants:
                self._values[top] = self._constants[top]
            elif node is None:
                self._values[top] = self._known.value(top)
            elif len(node.output) != 1 or has_bodies(node):
                self._values[top] = None
            else:
                missing = [n for n in node.input if n and n not in self._values]
                if missing:
                    stack.append(missing[0])
                    continue
                given = [self._values[n] for n in node.input if n]
                held = [v for v in given if v is not None]
                whole = len(held) == len(given)
                self._values[top] = self._known.evaluated(node, held) if whole else None
        return self._values[name]


def _graph(node: NodeProto, name: str) -> GraphProto:
    for attribute in node.attribute:
        if attribute.name == name and attribute.type == AttributeProto.GRAPH:
            return attribute.g
    raise Unresolved(f"it has no {name}")


def _identity(source: str, out: str) -> NodeProto:
    return helper.make_node("Identity", [source], [out])


def rank_inside(graph: GraphProto, index: int, outside: Shape | None) -> int:
    """The rank of the number of the round (0) or the condition (1) in the body of a Loop: as it is
    declared, or as what is given from outside."""
    if index < len(graph.input):
        kind = graph.input[index].type.tensor_type
        if kind.HasField("shape"):
            return len(kind.shape.dim)
    return len(outside or ())
