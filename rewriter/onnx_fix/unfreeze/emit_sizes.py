"""Nodes that compute sizes at run time, as protobufs.

A ``Nodes`` collects nodes and constants outside any graph. Equal nodes are made once, so every
input has one Shape, every symbol one Gather, and every subexpression is computed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import gcd

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from onnx_fix.functions import all_graphs
from onnx_fix.symbolic import Size, SizeLike, size
from onnx_fix.symbolic.size import Atom, Extreme, Quotient

Source = tuple[str, int]
"""A tensor and the axis whose size a symbol is."""


def names_of(model: ModelProto) -> set[str]:
    """Every name of a tensor or node of the graphs."""
    found: set[str] = set()
    for graph in all_graphs(model):
        found.update(v.name for v in (*graph.input, *graph.output))
        found.update(t.name for t in graph.initializer)
        found.update(s.values.name for s in graph.sparse_initializer)
        for node in graph.node:
            found.update((node.name, *node.input, *node.output))
    return found


class Nodes:
    """Collects nodes; calling it makes one: ``y = nodes("Add", a, b)`` is the name of its output.

    ``sources`` says for each symbol which tensor has it as the size of which axis. ``taken`` are
    names that no new tensor or node may have. The spelling is that of operator set ``opset``,
    from 9 on.
    """

    def __init__(
        self,
        opset: int,
        sources: Mapping[str, Source],
        *,
        taken: Iterable[str] = (),
        prefix: str = "unfreeze/",
    ) -> None:
        self.opset = opset
        self.sources = dict(sources)
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._taken = set(taken)
        self._prefix = prefix
        self._counts: dict[str, int] = {}
        self._made: dict[object, str] = {}
        self._lengths: dict[Size, str] = {}

    # -- nodes ------------------------------------------------------------------------------------

    def __call__(self, op: str, *inputs: str, **attrs: object) -> str:
        """One node with one output; an equal one that is there already is used again."""
        key = (op, inputs, tuple(sorted((k, repr(v)) for k, v in attrs.items())))
        if key not in self._made:
            name = self.fresh(op)
            node = helper.make_node(op, inputs, [name], name=name)
            node.attribute.extend(helper.make_attribute(k, v) for k, v in attrs.items())
            self.nodes.append(node)
            self._made[key] = name
        return self._made[key]

    def constant(self, value: NDArray[np.generic]) -> str:
        """An initializer; equal ones are made once."""
        value = np.asarray(value)
        key = (str(value.dtype), value.shape, value.tobytes())
        if key not in self._made:
            name = self.fresh("constant")
            array = np.ascontiguousarray(value).reshape(value.shape)
            self.initializers.append(numpy_helper.from_array(array, name))
            self._made[key] = name
        return self._made[key]

    def ints(self, values: Sequence[int]) -> str:
        """A 1-D int64 constant."""
        return self.constant(np.asarray(values, np.int64).reshape(-1))

    def fresh(self, kind: str) -> str:
        """A name that nothing else has."""
        while True:
            count = self._counts.get(kind, 0)
            self._counts[kind] = count + 1
            name = f"{self._prefix}{kind}_{count}"
            if name not in self._taken:
                self._taken.add(name)
                return name

    def insert(self, graph: GraphProto, ir_version: int = 4) -> None:
        """Put what was collected into the main graph: first, or after the last tensor it reads.

        Constants become Constant nodes before IR version 4, where an initializer has to be an
        input, too. A second call adds nothing.
        """
        if not self.nodes and not self.initializers:
            return
        if ir_version < 4:
            self.nodes[:0] = [
                helper.make_node("Constant", [], [t.name], name=t.name, value=t)
                for t in self.initializers
            ]
            self.initializers = []
        read = {name for node in self.nodes for name in node.input}
        place = max((k + 1 for k, n in enumerate(graph.node) if read & set(n.output)), default=0)
        after = list(graph.node[place:])
        del graph.node[place:]
        graph.node.extend((*self.nodes, *after))
        graph.initializer.extend(self.initializers)
        self.nodes, self.initializers = [], []

    # -- sizes ------------------------------------------------------------------------------------

    def length(self, value: SizeLike) -> str:
        """A size as a 1-D int64 tensor of one element.

        Raises:
            KeyError: a symbol has no source.
        """
        value = size(value)
        if value not in self._lengths:
            self._lengths[value] = self._length(value)
        return self._lengths[value]

    def scalar(self, value: SizeLike) -> str:
        """A size as an int64 tensor of rank 0."""
        number = size(value).number
        if number is not None:
            return self.constant(np.asarray(number, np.int64))
        return self("Gather", self.length(value), self.constant(np.asarray(0, np.int64)), axis=0)

    def vector(self, values: Sequence[SizeLike]) -> str:
        """Sizes as a 1-D int64 tensor; neighbours that are numbers become one constant."""
        parts: list[str] = []
        numbers: list[int] = []
        for value in map(size, values):
            if value.number is not None:
                numbers.append(value.number)
                continue
            if numbers:
                parts.append(self.ints(numbers))
                numbers = []
            parts.append(self.length(value))
        if numbers or not parts:
            parts.append(self.ints(numbers))
        return parts[0] if len(parts) == 1 else self("Concat", *parts, axis=0)

    def _length(self, value: Size) -> str:
        if value.number is not None:
            return self.ints([value.number])
        left, right, op = taken_apart(value)
        if op in ("Add", "Sub"):
            # One that is there already may be only a number away.
            for there in self._lengths:
                distance = (value - there).number
                if distance is not None and there.number is None:
                    return self("Add", self._lengths[there], self.ints([distance]))
        if op == "Atom":
            ((monomial, _),) = value.terms
            return self._atom(monomial[0])
        return self(op, self.length(left), self.length(right))

    def _atom(self, atom: Atom) -> str:
        if isinstance(atom, str):
            tensor, axis = self.sources[atom]
            return self("Gather", self("Shape", tensor), self.ints([axis]), axis=0)
        if isinstance(atom, Extreme):
            first, second = (self.length(a) for a in atom.args)
            if self.opset >= 12:
                return self("Max" if atom.kind == "max" else "Min", first, second)
            pair = (first, second) if atom.kind == "max" else (second, first)
            return self("Where", self("Greater", *pair), first, second)
        return self._floor(atom)

    def _floor(self, quotient: Quotient) -> str:
        top, bottom = self.length(quotient.top), self.length(quotient.bottom)
        whole = self("Div", top, bottom)
        if least(quotient.top) >= 0 and least(quotient.bottom) >= 0:
            return whole
        # Div cuts towards 0; the floor is one less where the remainder has the other sign.
        remainder = self("Sub", top, self("Mul", whole, bottom))
        below = self("Less", self("Mul", remainder, bottom), self.ints([0]))
        return self("Sub", whole, self("Cast", below, to=TensorProto.INT64))


def least(value: Size) -> int:
    """A number that the size is never below, for symbols from 0 on; -1 where none is seen."""
    total = 0
    for monomial, coefficient in value.terms:
        if not monomial:
            total += coefficient
        elif coefficient < 0 or any(_atom_least(a) < 0 for a in monomial):
            return -1
    return max(total, -1)


def _atom_least(atom: Atom) -> int:
    if isinstance(atom, str):
        return 0
    if isinstance(atom, Quotient):
        return 0 if least(atom.top) >= 0 and least(atom.bottom) >= 0 else -1
    below = [least(a) for a in atom.args]
    return max(below) if atom.kind == "max" else min(below)


def taken_apart(value: Size) -> tuple[Size, Size, str]:
    """The two sizes that make this one, and the op: Mul, Add or Sub; Atom where there are none.

    Products are found again, so ``(H + 2)*(W + 2)`` is one multiplication.
    """
    coefficients = [c for _, c in value.terms]
    common = gcd(*coefficients)
    if all(c < 0 for c in coefficients):
        common = -common
    (lead, first), *rest = value.terms
    if common != 1:
        return Size({m: c // common for m, c in value.terms}), size(common), "Mul"
    if not rest:
        if len(lead) == 1:
            return value, value, "Atom"
        return Size({lead[:1]: 1}), Size({lead[1:]: first}), "Mul"
    atom = _most_frequent(value)
    one = Size({(atom,): 1})
    inside = Size({_less(m, atom): c for m, c in value.terms if atom in m})
    outside = Size({m: c for m, c in value.terms if atom not in m})
    if not outside.terms:
        return one, inside, "Mul"
    shared = outside.exact(inside) if inside.number is None else None
    if shared is not None:
        return inside, one + shared, "Mul"
    if all(c < 0 for _, c in (one * inside).terms):
        return outside, -(one * inside), "Sub"
    if outside.terms[0][1] < 0:
        return one * inside, -outside, "Sub"
    return one * inside, outside, "Add"


def factors(value: SizeLike) -> tuple[Size, ...]:
    """Sizes whose product it is, each taken apart no further; itself where there are no two."""
    value = size(value)
    if value.number is not None:
        return (value,)
    left, right, op = taken_apart(value)
    return (*factors(left), *factors(right)) if op == "Mul" else (value,)


def _most_frequent(value: Size) -> Atom:
    counts: dict[Atom, int] = {}
    for monomial, _ in value.terms:
        for atom in set(monomial):
            counts[atom] = counts.get(atom, 0) + 1
    return max(counts, key=lambda a: (counts[a], str(a)))


def _less(monomial: tuple[Atom, ...], atom: Atom) -> tuple[Atom, ...]:
    left = list(monomial)
    left.remove(atom)
    return tuple(left)
