"""Running sums written with ops that every TensorRT release has."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, elem_type, is_standard
from onnx_fix.target.facts import TensorFacts
from onnx_fix_passes._uniform import length

_MASK_ELEMENTS = 2**18
"""Triangular masks of up to this many elements are stored, larger ones computed."""


@dataclass(frozen=True)
class Sum:
    """One CumSum: what is summed, along which axis (counted from the front), and how."""

    data: gs.Tensor
    axis: int
    rank: int
    exclusive: bool
    reverse: bool
    dtype: int


def log_step(scope: Scope, e: Emitter, s: Sum, count: int) -> gs.Tensor:
    """Add the tensor to itself shifted by 1, 2, 4 and so on: five nodes per doubling of ``count``.

    W. D. Hillis and G. L. Steele, "Data parallel algorithms", Communications of the ACM 29 (1986).
    Nothing but sums of elements that belong to the result is computed, so that infinities and NaNs
    stay where they are, and integers wrap around as they did.
    """
    y = s.data
    if count and s.exclusive:
        y = _cut(e, y, s.axis, (1, count) if s.reverse else (0, count - 1)) if count > 1 else y
        count -= 1
    step = 1
    while step < count:
        early = _cut(e, y, s.axis, (0, count - step))
        late = _cut(e, y, s.axis, (step, count))
        if s.reverse:
            kept = _cut(e, y, s.axis, (count - step, count))
            y = e.concat([e("Add", early, late), kept], s.axis)
        else:
            kept = _cut(e, y, s.axis, (0, step))
            y = e.concat([kept, e("Add", late, early)], s.axis)
        step *= 2
    if s.exclusive and scope.shape(s.data) is not None:
        edge = _zeros(scope, e, s)
        if edge is not None:
            parts = [y, edge] if s.reverse else [edge, y]
            y = e.concat(parts, s.axis) if count else edge
    return y


def _cut(e: Emitter, x: gs.Tensor, axis: int, span: tuple[int, int]) -> gs.Tensor:
    return e.slice(x, [span[0]], [span[1]], [axis])


def _zeros(scope: Scope, e: Emitter, s: Sum) -> gs.Tensor | None:
    """Zeros in the shape of the data, but of length 1 along the axis; None for an empty axis."""
    shape = list(scope.shape(s.data) or ())
    if shape[s.axis] == 0:
        return None
    shape[s.axis] = 1
    zero = e.const(np.zeros([1] * s.rank), s.dtype)
    if all(d == 1 for d in shape):
        return zero
    known = [d for d in shape if isinstance(d, int)]
    if len(known) == s.rank:
        return e("Expand", zero, e.ints(known))
    return e("Expand", zero, e.shape(_cut(e, s.data, s.axis, (0, 1))))


def masked_sum(
    scope: Scope, e: Emitter, s: Sum, values: gs.Tensor | None = None
) -> gs.Tensor | None:
    """Every prefix beside the others in a new dimension, what is beyond it zeroed, and summed.

    Selection instead of multiplication, so that infinities and NaNs beyond a prefix do not reach
    its sum. Needs memory for the square of the length. None where the target lacks a sum over one
    axis for this type. ``values`` are summed in the place of ``s.data``, whose shape they have.
    """
    x, axis, perm = s.data if values is None else values, s.axis, list(range(s.rank))
    axes = TensorFacts("axes", elem_type(np.int64), (1,), "initializer", lambda: np.asarray([1]))
    data = TensorFacts("x", s.dtype, (None,) * (s.rank + 1))
    by_attribute = e.opset < 13
    reduces = by_attribute or scope.accepts("ReduceSum", [data, axes], {"keepdims": 0})
    if not reduces:
        if not is_float(s.dtype):
            return None
        perm[axis], perm[-1] = perm[-1], perm[axis]
        x, axis = e.transpose(x, perm), s.rank - 1
    n = length(scope, e, s.data, s.axis)
    places = e("Range", np.asarray(0, np.int64), n, np.asarray(1, np.int64))
    if by_attribute or scope.accepts("Unsqueeze", [data, axes]):
        rows = e.unsqueeze(x, [axis])
    else:
        rows = e("Gather", x, e.reshape(places, [1, -1]), axis=axis)
    zero = e.const(np.zeros(()), s.dtype)
    inside, swap = _inside(e, places, s, s.rank - 1 - axis)
    kept = e("Where", inside, zero, rows) if swap else e("Where", inside, rows, zero)
    if reduces:
        return e.reduce("ReduceSum", kept, [axis + 1])
    one = e.const(np.ones((1, 1)), s.dtype)
    ones = e("Expand", one, e.concat([e.reshape(n, [1]), e.ints([1])], 0))
    total = e("Gather", e("MatMul", kept, ones), np.asarray(0, np.int64), axis=s.rank)
    return e.transpose(total, perm)


def truth_sum(scope: Scope, e: Emitter, s: Sum) -> gs.Tensor | None:
    """The masked sum of booleans that were cast to integers, made in float32.

    For targets that sum nothing else over one axis. Exact up to 2**24 elements along the axis.
    None where the data is no such thing.
    """
    node = scope.producer(s.data)
    if node is None or not is_standard(node) or node.op != "Cast":
        return None
    if scope.dtype(node.inputs[0]) != TensorProto.BOOL:
        return None
    values = e.cast(node.inputs[0], TensorProto.FLOAT)
    total = masked_sum(scope, e, replace(s, dtype=int(TensorProto.FLOAT)), values)
    return None if total is None else e.cast(total, s.dtype)


def _inside(e: Emitter, places: gs.Tensor, s: Sum, tail: int) -> tuple[gs.Tensor, bool]:
    """Whether element [i, j] (and ``tail`` dims of 1) counts in sum i; True where it is negated.

    TensorRT 7 has Less and Greater, but no LessOrEqual and GreaterOrEqual.
    """
    column = e.reshape(places, [-1] + [1] * tail) if tail else places
    row = e.reshape(places, [-1] + [1] * (tail + 1))
    if s.exclusive:
        return e("Greater" if s.reverse else "Less", column, row), False
    return e("Less" if s.reverse else "Greater", column, row), True


def matmul(scope: Scope, e: Emitter, s: Sum) -> gs.Tensor:
    """One product with a triangle of ones. NaN and infinity times zero is NaN: they spread."""
    perm = list(range(s.rank))
    perm[s.axis], perm[-1] = perm[-1], perm[s.axis]
    x = e.transpose(s.data, perm) if s.rank > 1 else e.reshape(s.data, [1, -1])
    y = e("MatMul", x, _triangle(scope, e, s))
    return e.transpose(y, perm) if s.rank > 1 else e.reshape(y, [-1])


def _triangle(scope: Scope, e: Emitter, s: Sum) -> gs.Tensor:
    """Element [j, i] is 1 where element j counts in sum i, else 0."""
    size = (scope.shape(s.data) or ())[s.axis]
    if isinstance(size, int) and size * size <= _MASK_ELEMENTS:
        ones = np.ones((size, size), tensor_dtype_to_np_dtype(s.dtype))
        shift = int(s.exclusive)
        return e.const(np.tril(ones, -shift) if s.reverse else np.triu(ones, shift), s.dtype)
    n = length(scope, e, s.data, s.axis)
    places = e("Range", np.asarray(0, np.int64), n, np.asarray(1, np.int64))
    # Here the summed index runs down the rows: the comparison of the masked sum, turned round.
    turned = replace(s, reverse=not s.reverse)
    inside, swap = _inside(e, places, turned, 0)
    zero, one = (e.const(np.asarray(v), s.dtype) for v in (0.0, 1.0))
    return e("Where", inside, zero, one) if swap else e("Where", inside, one, zero)


def is_float(dtype: int) -> bool:
    """Whether sums of this type round."""
    return np.dtype(tensor_dtype_to_np_dtype(dtype)).kind in "fV"
