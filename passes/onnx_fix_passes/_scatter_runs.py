"""Indices that are consecutive numbers, as exporters write ``x[a:b] = v`` and ``x[i] = v``."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, is_standard
from onnx_fix.signs import Signs
from onnx_fix.target import Dim

_DEEPEST = 16
_REARRANGED = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""Ops that keep the order of the elements, read row by row."""

_INTEGERS = (TensorProto.INT32, TensorProto.INT64)
END = 2**31 - 1
"""Slice clamps an end to the size."""


@dataclass(frozen=True)
class Term:
    """A number of the model: ``tensor`` of one element, which where it is the start of a Slice of
    ``length_of`` may be negative and is held inside its length."""

    tensor: gs.Tensor | int
    length_of: gs.Tensor | None = None


@dataclass(frozen=True)
class Run:
    """Consecutive numbers from ``fixed`` plus the ``terms``.

    Without terms ``fixed`` may be negative, and then all numbers are, as long as there are any.
    With terms the first number is not negative, but for ``wraps``: then there is one number, which
    counts from the end where it is negative.
    """

    fixed: int = 0
    terms: tuple[Term, ...] = ()
    wraps: bool = False


def run_of(scope: Scope, tensor: gs.Tensor, depth: int = 0) -> Run | None:
    """The elements of a tensor, read row by row, where they are provably consecutive."""
    value = scope.folded(tensor)
    if value is not None:
        return run_of_values(value)
    node = scope.producer(tensor)
    if node is not None and is_standard(node) and depth < _DEEPEST:
        run = _of_node(scope, node, depth + 1)
        if run is not None:
            return run
    shape = scope.shape(tensor)
    if shape is not None and all(d == 1 for d in shape) and scope.dtype(tensor) in _INTEGERS:
        return Run(0, (Term(tensor),), wraps=True)
    return None


def run_of_values(value: NDArray[np.generic]) -> Run | None:
    """Constant indices, read row by row, where they are consecutive."""
    numbers = [int(n) for n in value.reshape(-1)] if value.dtype.kind in "iu" else []
    if not numbers:
        return None
    first, last = numbers[0], numbers[-1]
    if numbers != list(range(first, first + len(numbers))) or first < 0 <= last:
        return None
    return Run(first)


def _of_node(scope: Scope, node: gs.Node, depth: int) -> Run | None:
    if node.op in _REARRANGED:
        if node.op == "Cast" and not _keeps_integers(scope, node):
            return None
        return run_of(scope, node.inputs[0], depth)
    if node.op == "Range":
        return _of_range(scope, node)
    if node.op == "Slice":
        return _of_slice(scope, node, depth)
    if node.op == "Add":
        return _of_sum(scope, node, depth)
    return None


def _keeps_integers(scope: Scope, node: gs.Node) -> bool:
    to = attribute(node, "to", int)
    return to in _INTEGERS and scope.dtype(node.inputs[0]) in _INTEGERS


def _of_range(scope: Scope, node: gs.Node) -> Run | None:
    start, _, delta = node.inputs
    step = scope.folded(delta)
    if scope.dtype(start) not in _INTEGERS or step is None or int(step.reshape(-1)[0]) != 1:
        return None
    first = scope.folded(start)
    if first is not None:
        number = int(first.reshape(-1)[0])
        return Run(number) if number >= 0 else None
    return Run(0, (Term(start),)) if Signs(scope, None).nonnegative(start) else None


def _of_slice(scope: Scope, node: gs.Node, depth: int) -> Run | None:
    inner = run_of(scope, node.inputs[0], depth)
    if inner is None or inner.wraps or inner.fixed < 0 or scope.rank(node.inputs[0]) != 1:
        return None
    if "starts" in node.attrs:
        starts = attribute(node, "starts", list)
        return None if not starts else _cut(inner, int(starts[0]), node.inputs[0])
    steps = node.inputs[4] if len(node.inputs) > 4 and node.inputs[4].name else None
    step = None if steps is None else scope.folded(steps)
    if steps is not None and (step is None or [int(s) for s in step.reshape(-1)] != [1]):
        return None
    start = scope.folded(node.inputs[1])
    if start is not None:
        return _cut(inner, int(start.reshape(-1)[0]), node.inputs[0])
    bounded = Signs(scope, None).nonnegative(node.inputs[1])
    term = Term(node.inputs[1], None if bounded else node.inputs[0])
    return replace(inner, terms=(*inner.terms, term))


def _cut(inner: Run, start: int, cut: gs.Tensor) -> Run:
    if start >= 0:
        return replace(inner, fixed=inner.fixed + start)
    return replace(inner, terms=(*inner.terms, Term(start, cut)))


def _of_sum(scope: Scope, node: gs.Node, depth: int) -> Run | None:
    for moved, offset in (node.inputs, node.inputs[::-1]):
        shape = scope.shape(offset)
        if shape is None or any(d != 1 for d in shape):
            continue
        inner = run_of(scope, moved, depth)
        if inner is None or inner.wraps or inner.fixed < 0:
            continue
        value = scope.folded(offset)
        if value is not None:
            number = int(value.reshape(-1)[0])
            if number >= 0:
                return replace(inner, fixed=inner.fixed + number)
        elif Signs(scope, None).nonnegative(offset):
            return replace(inner, terms=(*inner.terms, Term(offset)))
    return None


def write_start(e: Emitter, run: Run, data: gs.Tensor, axis: int) -> gs.Tensor | int:
    """Where the numbers start along an axis of the data, counted from the front: a number, or an
    INT64 tensor of shape (1,)."""
    shape = e.scope.shape(data)
    size: Dim = None if shape is None else shape[axis]
    if not run.terms:
        if run.fixed >= 0:
            return run.fixed
        if isinstance(size, int):
            return run.fixed + size
        return e("Add", e.dim(data, axis), e.ints([run.fixed]))
    total: gs.Tensor | None = None
    for term in run.terms:
        number = _written(e, term)
        total = number if total is None else e("Add", total, number)
    assert total is not None
    if run.fixed:
        total = e("Add", total, e.ints([run.fixed]))
    if not run.wraps or all(
        isinstance(t.tensor, gs.Tensor) and _surely_counted(e.scope, t.tensor, size)
        for t in run.terms
    ):
        return total
    return e("Where", e("Less", total, e.ints([0])), e("Add", total, e.dim(data, axis)), total)


def _surely_counted(scope: Scope, tensor: gs.Tensor, size: Dim) -> bool:
    return Signs(scope, size if isinstance(size, int) else None).nonnegative(tensor)


def _written(e: Emitter, term: Term) -> gs.Tensor:
    if isinstance(term.tensor, int):
        number: gs.Tensor = e.ints([term.tensor])
    else:
        number = term.tensor
        if e.scope.dtype(number) != TensorProto.INT64:
            number = e.cast(number, TensorProto.INT64)
        if e.scope.shape(term.tensor) != (1,):
            number = e.reshape(number, [1])
    if term.length_of is None:
        return number
    zero = e.ints([0])
    counted = e("Add", number, e.dim(term.length_of, 0))
    behind = e("Where", e("Less", counted, zero), zero, counted)
    return e("Where", e("Less", number, zero), behind, number)


@dataclass
class Region:
    """Consecutive places of the data along an axis: ``start`` to ``start + count``.

    Both are numbers or INT64 tensors of shape (1,); the start counts from the front.
    """

    e: Emitter
    data: gs.Tensor
    axis: int
    start: gs.Tensor | int
    count: gs.Tensor | int
    size: Dim

    def __post_init__(self) -> None:
        if isinstance(self.start, int) and isinstance(self.count, int):
            self._stop: gs.Tensor | list[int] = [self.start + self.count]
            return
        e, start, count = self.e, self.start, self.count
        more = e.ints([count]) if isinstance(count, int) else count
        if isinstance(start, int) and start == 0:
            self._stop = more
        else:
            self._stop = e("Add", e.ints([start]) if isinstance(start, int) else start, more)

    @property
    def _begin(self) -> gs.Tensor | list[int]:
        return [self.start] if isinstance(self.start, int) else self.start

    def inside(self) -> gs.Tensor:
        """The data of the region."""
        return self._slice(self._begin, self._stop)

    def around(self, new: gs.Tensor) -> gs.Tensor:
        """The data with ``new`` in the place of the region."""
        parts = [new]
        if isinstance(self.start, gs.Tensor) or self.start > 0:
            parts.insert(0, self._slice([0], self._begin))
        stop, size = self._stop, self.size
        if isinstance(stop, gs.Tensor) or not isinstance(size, int) or stop[0] < size:
            parts.append(self._slice(self._stop, [END]))
        return self.e.concat(parts, self.axis)

    def _slice(self, start: gs.Tensor | list[int], stop: gs.Tensor | list[int]) -> gs.Tensor:
        if isinstance(start, gs.Tensor) or isinstance(stop, gs.Tensor):
            start = start if isinstance(start, gs.Tensor) else self.e.ints(start)
            stop = stop if isinstance(stop, gs.Tensor) else self.e.ints(stop)
        return self.e.slice(self.data, start, stop, [self.axis])
