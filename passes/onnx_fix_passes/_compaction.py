"""The first K elements of a mask that are not zero, by ops of fixed size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix.target.facts import TensorFacts
from onnx_fix_passes._cum_sum_ones import EXACT_COUNT
from onnx_fix_passes._non_zero_dense import as_bool

Padding = Literal["repeat-last", "minus-one", "zero"]

_STORED = 2**12
"""Keys of up to this many elements are stored, more are computed."""
_COMPARED = 2**26
"""Up to this many comparisons are made where the target's TopK is too small."""
_OLD = "numbering its elements needs Range and CumSum: export with operator set 11"
FLOAT = int(TensorProto.FLOAT)
LONGEST = EXACT_COUNT[FLOAT]
"""Positions are found in float32, which TopK and sums of every release take."""


@dataclass(frozen=True)
class Compact:
    """What stands in the place of a NonZero: ``found`` is (rank, K), ``valid`` (K,) of BOOL."""

    found: gs.Tensor
    valid: gs.Tensor
    count: gs.Tensor


def form(scope: Scope, most: int, length: int | None) -> Literal["keys", "compare"] | str:
    """How to select; a sentence in place of it where there is no way."""
    if length == 0:
        return "its input has no elements, so that there is nothing to pad with"
    if length is not None and length > LONGEST:
        return f"its input has {length} elements, and float32 tells {LONGEST} positions apart"
    k = TensorFacts("k", int(TensorProto.INT64), (1,), "initializer", lambda: np.asarray([most]))
    keys = TensorFacts("keys", FLOAT, (1, None if length is None else max(length, most)))
    if scope.accepts("TopK", [keys, k], {"axis": 1}):
        ranged = length is None or length > _STORED
        return _OLD if ranged and scope.opset < 11 else "keys"
    if length is not None and length * most <= _COMPARED:
        if scope.opset < 11:
            return _OLD
        return "compare"
    return (
        f"{scope.target.name} has no TopK of {most}, and comparing as many with every element "
        "takes too much memory: ask for less"
    )


def compact(
    scope: Scope,
    e: Emitter,
    mask: gs.Tensor,
    dims: Sequence[int | str | None],
    most: int,
    padding: Padding,
    rows: tuple[gs.Tensor, int] | None,
) -> Compact:
    """Emit it. ``rows``: which elements of the mask are none themselves, along an axis."""
    truth = as_bool(scope, e, mask)
    if rows is not None:
        valid, axis = rows
        tail = len(dims) - 1 - axis
        truth = e("And", truth, e.reshape(valid, [-1] + [1] * tail) if tail else valid)
    known = [d for d in dims if isinstance(d, int)]
    length = math.prod(known) if len(known) == len(dims) else None
    flat = e.reshape(e.cast(truth, FLOAT), [1, -1])
    place, ok = first_places(scope, e, flat, length, most)
    kept = e("Where", ok, place, e.const(np.float32(0)))
    if padding == "repeat-last":
        kept = e("Where", ok, place, e("ReduceMax", kept, keepdims=0))
    found = _coordinates(scope, e, mask, dims, e.cast(kept, TensorProto.INT64))
    if padding == "minus-one":
        found = e("Where", ok, found, e.const(np.asarray(-1, np.int64)))
    number = e("ReduceSum", e.cast(ok, FLOAT), keepdims=0)
    return Compact(found, e.reshape(ok, [-1]), e.cast(number, TensorProto.INT64))


def first_places(
    scope: Scope, e: Emitter, flat: gs.Tensor, length: int | None, most: int
) -> tuple[gs.Tensor, gs.Tensor]:
    """The positions of the first ones in a float tensor (1, length) of zeros and ones, and which
    of the K columns hold one."""
    if form(scope, most, length) == "compare":
        assert length is not None
        place = _compared(e, flat, most)
        return place, e("Less", place, e.const(np.float32(length)))
    keys, whole = _keys(e, flat, length, most)
    best = _top(e, keys, most)
    # The keys of two elements differ, so that ties are among zeros alone.
    return e("Sub", whole, best), e("Greater", best, e.const(np.float32(0)))


def _keys(
    e: Emitter, flat: gs.Tensor, length: int | None, most: int
) -> tuple[gs.Tensor, gs.Tensor]:
    """Numbers that fall from the length to 1, zero for what is not selected; and the length."""
    ramp: gs.Tensor
    whole: gs.Tensor
    if length is not None and length <= _STORED:
        ramp = e.const(np.arange(length, 0, -1, dtype=np.float32)[None])
        whole = e.const(np.float32(length))
    else:
        zero, one = np.asarray(0, np.int64), np.asarray(1, np.int64)
        size: gs.Tensor
        if length is None:
            size = e("Gather", e.shape(flat), one, axis=0)
            whole = e.cast(size, FLOAT)
        else:
            size, whole = e.const(np.asarray(length, np.int64)), e.const(np.float32(length))
        ramp = e.reshape(e("Sub", whole, e.cast(e("Range", zero, size, one), FLOAT)), [1, -1])
    keys: gs.Tensor = e("Mul", flat, ramp)
    lacking = most if length is None else most - length
    if lacking > 0:
        keys = e.concat([keys, e.const(np.zeros((1, lacking), np.float32))], 1)
    return keys, whole


def _top(e: Emitter, keys: gs.Tensor, most: int) -> gs.Tensor:
    if e.opset < 10:
        return e.many("TopK", 2, keys, axis=1, k=most)[0]
    flag = 1 if e.opset >= 11 else None
    return e.many("TopK", 2, keys, e.ints([most]), axis=1, largest=flag, sorted=flag)[0]


def _compared(e: Emitter, flat: gs.Tensor, most: int) -> gs.Tensor:
    """The position of the k-th selected element: how many elements have fewer up to them."""
    sums = e("CumSum", flat, e.const(np.asarray(1, np.int64)))
    wanted = e.const(np.arange(1, most + 1, dtype=np.float32)[:, None])
    fewer = e.cast(e("Less", sums, wanted), FLOAT)
    return e.reshape(e.reduce("ReduceSum", fewer, [1], keepdims=True), [1, -1])


def _coordinates(
    scope: Scope, e: Emitter, mask: gs.Tensor, dims: Sequence[int | str | None], place: gs.Tensor
) -> gs.Tensor:
    """Positions in row-major order, of shape (1, K), taken apart to (rank, K)."""
    lines: list[gs.Tensor] = []
    rest: gs.Tensor = place
    for axis in range(len(dims) - 1, 0, -1):
        known = dims[axis]
        size: gs.Tensor
        if isinstance(known, int):
            if known == 1:
                lines.append(e("Sub", rest, rest))
                continue
            size = e.ints([known])
        else:
            size = e.dim(mask, axis)
            # An empty mask is not divided by.
            few = e("Less", size, e.ints([1]))
            size = e("Where", few, e.ints([1]), size)
        whole = e("Div", rest, size)
        lines.append(e("Sub", rest, e("Mul", whole, size)))
        rest = whole
    found = e.concat([rest, *reversed(lines)], 0)
    # None is negative, and Relu shows it: releases before 8.2 wrap no index that may be.
    return e.cast(e("Relu", e.cast(found, FLOAT)), TensorProto.INT64)


def within(
    e: Emitter,
    index: gs.Tensor,
    dtype: int,
    sizes: gs.Tensor | None,
    *,
    low: bool,
    forward: bool,
) -> gs.Tensor:
    """An index with 0 in place of what is out of range.

    Beyond ``sizes`` where they are given; with ``low`` also below 0, or, where indices may count
    from the end (not ``forward``), below minus the size.
    """
    zero = e.const(np.zeros(1), dtype)
    if sizes is not None:
        if dtype != TensorProto.INT64:
            sizes = e.cast(sizes, dtype)
        index = e("Where", e("Less", index, sizes), index, zero)
    if low:
        least = zero if forward or sizes is None else e("Sub", zero, sizes)
        index = e("Where", e("Less", index, least), zero, index)
    return index
