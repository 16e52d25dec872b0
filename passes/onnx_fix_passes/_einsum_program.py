"""Tensor programs on labelled axes: the steps into which an Einsum is planned, before any node."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from onnx_fix.target.facts import Dim
from onnx_fix_passes._einsum_letters import Labels

Op = Literal[
    "Transpose",
    "Reshape",
    "Flatten",
    "Unsqueeze",
    "Squeeze",
    "Take",
    "Pick",
    "KeepDiagonal",
    "ReduceSum",
    "SumByOnes",
    "Mul",
    "MatMul",
]


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor: the label and the size of every axis."""

    labels: Labels
    dims: tuple[Dim, ...]

    def dim(self, label: str) -> Dim:
        """The size of an axis."""
        return self.dims[self.labels.index(label)]


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on values by number (operands first, then the results of the steps).

    ``numbers`` is: the permutation of Transpose; the sizes of Reshape (0 copies, -1 takes the
    rest); the axis of Flatten; the axes of Unsqueeze, Squeeze and ReduceSum (none: all axes);
    axis and index of Take, which drops the axis; axis, count and stride of Pick, which keeps every
    stride-th element; the two axes and the rank for KeepDiagonal, which sets all else to zero; the
    size of the last axis for SumByOnes, a product with a vector of ones.
    """

    op: Op
    inputs: tuple[int, ...]
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Prices:
    """What the planner may use, and what it should avoid.

    ``matmul``: the target multiplies matrices of this dtype. ``half``: the dtype has so few bits
    that sums belong inside a MatMul. ``axes``: the target reads the axes of Unsqueeze, Squeeze and
    ReduceSum. ``assume``: sizes of a contracted label that are not known to be equal may be taken
    as equal. ``merge``: axes may be merged by a Reshape that fails on empty tensors.
    """

    matmul: bool = True
    half: bool = False
    axes: bool = True
    assume: bool = True
    merge: bool = False

    def of(self, op: Op, numbers: Sequence[int]) -> float:
        """The price of a step: about one per node."""
        if op in ("Unsqueeze", "Squeeze", "ReduceSum") and numbers and not self.axes:
            return 3.0
        if op == "KeepDiagonal":
            return 6.0
        # Of two plans of one length, the one that only permutes is preferred.
        return 1.05 if op in ("Reshape", "Flatten", "SumByOnes") else 1.0


@dataclass
class Program:
    """Steps written so far. ``last`` is the number of the value written last, ``result`` that of
    the result."""

    prices: Prices
    values: list[Value]
    steps: list[Step] = field(default_factory=list)
    cost: float = 0.0
    assumed: tuple[str, ...] = ()
    """Equalities of sizes that are taken for granted, in words."""
    rounds: bool = False
    """Whether floating-point sums are reordered."""
    result: int = -1

    def copy(self) -> Program:
        """An independent copy to go on with."""
        return replace(self, values=list(self.values), steps=list(self.steps))

    @property
    def last(self) -> int:
        return len(self.values) - 1

    def add(self, op: Op, inputs: Sequence[int], numbers: Iterable[int], result: Value) -> int:
        """Write a step; the number of its result."""
        step = Step(op, tuple(inputs), tuple(numbers))
        self.steps.append(step)
        self.values.append(result)
        self.cost += self.prices.of(op, step.numbers)
        return self.last

    # -- steps that only move data ---------------------------------------------------------------

    def transpose(self, x: int, labels: Labels) -> int:
        """Bring the axes into an order."""
        have = self.values[x]
        if have.labels == labels:
            return x
        perm = [have.labels.index(label) for label in labels]
        dims = tuple(have.dims[k] for k in perm)
        return self.add("Transpose", [x], perm, Value(labels, dims))

    def unsqueeze(self, x: int, layout: Sequence[str | None]) -> int:
        """Insert axes of size 1 where the layout says None; the labels stand in order already."""
        axes = [k for k, label in enumerate(layout) if label is None]
        if not axes:
            return x
        have = self.values[x]
        labels = tuple(f"-{k}" if label is None else label for k, label in enumerate(layout))
        dims = tuple(1 if label is None else have.dim(label) for label in layout)
        wanted = Value(labels, dims)
        shape, safe = sizes(have, wanted)
        if not self.prices.axes and shape is not None and safe:
            return self.add("Reshape", [x], shape, wanted)
        return self.add("Unsqueeze", [x], axes, wanted)

    def drop(self, x: int, labels: Iterable[str]) -> int:
        """Remove axes of size 1."""
        gone = frozenset(labels)
        have = self.values[x]
        axes = [k for k, label in enumerate(have.labels) if label in gone]
        if not axes:
            return x
        wanted = without(have, gone)
        shape, safe = sizes(have, wanted)
        if self.prices.axes:
            return self.add("Squeeze", [x], axes, wanted)
        if shape is not None and safe:
            return self.add("Reshape", [x], shape, wanted)
        for axis in reversed(axes):
            x = self.add("Take", [x], [axis, 0], without(self.values[x], {have.labels[axis]}))
        return x

    def reshape(self, x: int, wanted: Value) -> int | None:
        """Reshape by constant sizes; None where that cannot be written for every size."""
        shape, safe = sizes(self.values[x], wanted)
        if shape is None or not (safe or self.prices.merge):
            return None
        return self.add("Reshape", [x], shape, wanted)

    def merge(self, x: int, labels: Labels) -> int | None:
        """Make one axis of adjacent ones; None if they are not, or it cannot be written."""
        have = self.values[x]
        start = have.labels.index(labels[0])
        stop = start + len(labels)
        if have.labels[start:stop] != labels:
            return None
        size = product(have.dims[start:stop])
        name = merged(labels)
        wanted = Value(
            (*have.labels[:start], name, *have.labels[stop:]),
            (*have.dims[:start], size, *have.dims[stop:]),
        )
        shape, safe = sizes(have, wanted)
        if shape is not None and safe:
            return self.add("Reshape", [x], shape, wanted)
        if len(wanted.labels) == 2:
            # Flatten computes both sizes as products, so empty tensors are no trouble.
            return self.add("Flatten", [x], [1 if start else stop], wanted)
        return self.reshape(x, wanted)

    # -- steps that compute ----------------------------------------------------------------------

    def sum(self, x: int, labels: Iterable[str]) -> int:
        """Sum over axes."""
        have = self.values[x]
        gone = frozenset(labels) & frozenset(have.labels)
        if all(have.dim(label) == 1 for label in gone):
            return self.drop(x, gone)
        self.rounds = True
        if len(gone) == len(have.labels):
            return self.add("ReduceSum", [x], [], Value((), ()))
        if not self.prices.axes and self.prices.matmul:
            count = product([have.dim(label) for label in gone])
            if isinstance(count, int):
                return self._sum_by_ones(x, gone, count)
        axes = [k for k, label in enumerate(have.labels) if label in gone]
        return self.add("ReduceSum", [x], axes, without(have, gone))

    def _sum_by_ones(self, x: int, gone: frozenset[str], count: int) -> int:
        have = self.values[x]
        tail = tuple(label for label in have.labels if label in gone)
        rest = without(have, gone)
        x = self.transpose(x, (*rest.labels, *tail))
        whole = self.merge(x, tail) if len(tail) > 1 else x
        if whole is not None:
            return self.add("SumByOnes", [whole], [count], rest)
        for label in reversed(tail):
            size = have.dim(label)
            assert isinstance(size, int), label
            x = self.add("SumByOnes", [x], [size], without(self.values[x], {label}))
        return x

    def diagonal(self, x: int, label: str) -> int | None:
        """Take the diagonal over all axes of one label; None where equal sizes must not be assumed.

        Elements are moved or kept beside zeros, never multiplied, so Inf and NaN stay where they
        are.
        """
        have = self.values[x]
        where = [k for k, name in enumerate(have.labels) if name == label]
        known = [have.dims[k] for k in where]
        size = next((d for d in known if isinstance(d, int)), None)
        if any(not same(d, known[0]) for d in known[1:]):
            if not self.prices.assume:
                return None
            self.assume(label, known)
        if size is None:
            return self._keep_diagonal(x, label, where)
        # Axes of one label cannot be told apart by name: number them.
        names = [f"{n}#{k}" if n == label else n for k, n in enumerate(have.labels)]
        dims = [size if n == label else d for n, d in zip(have.labels, have.dims, strict=True)]
        tail = tuple(names[k] for k in where)
        numbered = Value(tuple(names), tuple(dims))
        first, count = where[0], len(where)
        flat = _flattened(numbered, first, count, label, size**count)
        shape, safe = sizes(numbered, flat)
        if where[-1] - first != count - 1 or shape is None or not safe:
            # At the end, where all sizes before can be copied.
            rest = without(numbered, tail)
            perm = [k for k in range(len(names)) if k not in where] + where
            first = len(rest.labels)
            numbered = Value((*rest.labels, *tail), (*rest.dims, *[size] * count))
            if perm != sorted(perm):
                x = self.add("Transpose", [x], perm, numbered)
            flat = _flattened(numbered, first, count, label, size**count)
            shape, _ = sizes(numbered, flat)
        x = self.add("Reshape", [x], shape or (), flat)
        stride = sum(size**k for k in range(count))
        taken = Value(flat.labels, (*flat.dims[:first], size, *flat.dims[first + 1 :]))
        return self.add("Pick", [x], [first, size, stride], taken)

    def _keep_diagonal(self, x: int, label: str, where: list[int]) -> int:
        while len(where) > 1:
            have = self.values[x]
            numbers = [where[-2], where[-1], len(have.labels)]
            kept = self.add("KeepDiagonal", [x], numbers, have)
            axis = where.pop()
            labels, dims = list(have.labels), list(have.dims)
            del labels[axis], dims[axis]
            # Every sum holds one element and zeros: nothing is rounded.
            x = self.add("ReduceSum", [kept], [axis], Value(tuple(labels), tuple(dims)))
        return x

    def assume(self, label: str, known: Iterable[Dim]) -> None:
        """Note that the sizes of a label are taken as equal."""
        # onnx calls dims that it knows nothing of unk__0, unk__1, ...
        sizes = ["?" if d is None or str(d).startswith("unk__") else str(d) for d in known]
        self.assumed = (
            *self.assumed,
            f"the sizes of label '{label}' ({', '.join(sizes)}) are taken as equal",
        )


def _flattened(value: Value, first: int, count: int, label: str, size: int) -> Value:
    """The value with some adjacent axes made one."""
    stop = first + count
    return Value(
        (*value.labels[:first], label, *value.labels[stop:]),
        (*value.dims[:first], size, *value.dims[stop:]),
    )


def merged(labels: Labels) -> str:
    """The name of an axis made of several."""
    return f"({' '.join(labels)})"


def without(value: Value, gone: Iterable[str]) -> Value:
    """The value less some axes."""
    left = [(n, d) for n, d in zip(value.labels, value.dims, strict=True) if n not in gone]
    return Value(tuple(n for n, _ in left), tuple(d for _, d in left))


def same(a: Dim, b: Dim) -> bool:
    """Whether two sizes are surely equal."""
    return a is not None and a == b


def broadcast(a: Dim, b: Dim) -> Dim:
    """The size that two sizes broadcast to, as far as it is known."""
    if same(a, b) or b == 1:
        return a
    if a == 1:
        return b
    # A size other than 1 wins; two of them are equal or the node fails.
    return next((d for d in (a, b) if isinstance(d, int)), None)


def product(dims: Iterable[Dim]) -> Dim:
    """The number of elements, or None where a size is not known."""
    known = list(dims)
    numbers = [d for d in known if isinstance(d, int)]
    return math.prod(numbers) if len(numbers) == len(known) else None


def sizes(have: Value, wanted: Value) -> tuple[tuple[int, ...] | None, bool]:
    """Constant sizes that reshape one into the other, and whether they do for empty tensors too.

    0 copies a size and -1 takes the rest, which cannot be told when another size is 0. None where
    more than one size would have to be taken from the rest, or where a size surely is 0 then.
    """
    shape: list[int] = []
    for k, (label, dim) in enumerate(zip(wanted.labels, wanted.dims, strict=True)):
        kept = k < len(have.labels) and have.labels[k] == label
        if isinstance(dim, int) and dim > 0:
            shape.append(dim)
        elif kept or (dim == 0 and k < len(have.dims) and have.dims[k] == 0):
            shape.append(0)
        else:
            shape.append(-1)
    if shape.count(-1) > 1:
        return None, False
    safe = -1 not in shape or 0 not in shape
    return (tuple(shape) if safe or 0 not in have.dims else None), safe
