"""Rules over two axes: what depends on a distance, and masks of two values.

Each takes a block all of whose symbolic varying axes are long enough to show a rule, and returns
an expression that gives all samples bit for bit, or None.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.symbolic import Size
from onnx_fix.unfreeze._rules import Ints, index, integers, is_float, tight, works
from onnx_fix.unfreeze._study import Block, Study, same
from onnx_fix.unfreeze.expressions import (
    Expression,
    Index,
    Number,
    call,
    cast,
    compute,
    literal,
)


def distance(study: Study, block: Block, dtype: int) -> Expression | None:
    """A multiple of ``|i - j|`` or ``i - j`` over two symbolic axes, with tables of factors.

    Or ``i - j`` itself, cut at a smallest and a largest number.
    """
    axes = [k for k in block.varying() if block.dims[k].number is None]
    if len(axes) != 2 or block.arrays[0].dtype == np.bool_:
        return None
    apart = call("Sub", index(block, axes[1]), index(block, axes[0]))
    array = next((a for a in block.arrays if min(a.shape[k] for k in axes) > 1), None)
    if array is None:
        return None
    start, step = array, array
    for k in axes:
        start = start[(*[slice(None)] * k, slice(0, 1))]
    for k, place in zip(axes, (0, 1), strict=True):
        step = step[(*[slice(None)] * k, slice(place, place + 1))]
    factor = step.astype(np.float64) - start.astype(np.float64)
    numbers = integers(block)
    whole = numbers is not None and not is_float(block)
    if numbers is not None:
        cut = _cut_distance(study, block, numbers, axes, dtype)
        if cut is not None:
            return cut
    for base in (call("Abs", apart), apart):
        for work in [int(TensorProto.INT64)] if whole else works(dtype):
            scaled = call("Mul", cast(base, work), tight(factor, work))
            made = call("Add", scaled, tight(start, work)) if np.any(start != 0) else scaled
            if block.is_made_by(cast(made, dtype)):
                study.doubt(factor.reshape(-1), block.values, inverse=True)
                study.doubt(start.astype(np.float64).reshape(-1), block.values)
                return cast(made, dtype)
    return None


def _cut_distance(
    study: Study, block: Block, numbers: Sequence[Ints], axes: Sequence[int], dtype: int
) -> Expression | None:
    """``min(max(start + j - i, low), high)``, and the same with ``i - j``."""
    lows, highs = ([int(f(n)) for n in numbers] for f in (np.min, np.max))
    starts = [int(n[(0,) * block.rank]) for n in numbers]
    for first, second in (axes, axes[::-1]):
        apart = call("Sub", index(block, second), index(block, first))
        for array, values, *ends in zip(numbers, block.values, lows, highs, starts, strict=True):
            low, high, start = ends
            if not same(array, np.clip(compute(apart, values) + start, low, high)):
                break
        else:
            found = []
            names = ("the smallest number", "the largest number", "the first number")
            for several, what in zip((lows, highs, starts), names, strict=True):
                number = study.number(several, block.values, what)
                if number is None:
                    return None
                found.append(Number(number))
            below, above, begin = found
            moved = call("Add", apart, begin) if begin.value != 0 else apart
            least = call("Where", call("Less", moved, below), below, moved)
            most = call("Where", call("Less", above, least), above, least)
            return cast(most, dtype)
    return None


def mask(study: Study, block: Block, dtype: int) -> Expression | None:
    """Two values over two symbolic axes: below or above a diagonal, along it, or in blocks."""
    axes = block.varying()
    if len(axes) != 2 or any(block.dims[k].number is not None for k in axes):
        return None
    pair = np.unique(np.concatenate([np.unique(a) for a in block.arrays]))
    if len(pair) != 2:
        return None
    first, second = axes
    i, j = index(block, first), index(block, second)
    chosen = [a.reshape(a.shape[first], a.shape[second]) == pair[1] for a in block.arrays]
    found = []
    for true in (1, 0):
        sets = chosen if true else [~c for c in chosen]
        condition = _diagonals(study, block, sets, i, j) or _blocks(study, block, sets, i, j)
        if condition is None:
            continue
        if dtype == TensorProto.BOOL:
            made: Expression = condition if true else call("Not", condition)
        else:
            yes, no = (literal(pair[k], dtype) for k in (true, 1 - true))
            made = call("Where", condition, yes, no)
        if block.is_made_by(made):
            found.append(made)
    if found:
        study.doubt(pair.astype(np.float64), block.values)
    return study.settled(found)


def _diagonals(
    study: Study, block: Block, sets: Sequence[NDArray[np.bool_]], i: Index, j: Index
) -> Expression | None:
    """Where ``j - i`` lies between two numbers, or beyond one."""
    lows, highs, ends = [], [], []
    for chosen in sets:
        apart = np.arange(chosen.shape[1])[None] - np.arange(chosen.shape[0])[:, None]
        inside = apart[chosen]
        if not inside.size:
            return None
        low, high = int(inside.min()), int(inside.max())
        if not np.array_equal(chosen, (apart >= low) & (apart <= high)):
            return None
        lows.append(low)
        highs.append(high)
        ends.append((low == apart.min(), high == apart.max()))
    distance = i.length - j.length
    more = [-distance] if distance.number is None else []
    apart_expression = call("Sub", j, i)
    conditions: list[Expression] = []
    low_size: Size | None = None
    if not all(low for low, _ in ends):
        low_size = study.number(lows, block.values, "the diagonal", more)
        if low_size is None:
            return None
        conditions.append(call("Less", Number(low_size - 1), apart_expression))
    if not all(high for _, high in ends):
        high_size = study.number(highs, block.values, "the diagonal", more)
        if high_size is None:
            return None
        conditions.append(call("Less", apart_expression, Number(high_size + 1)))
    if low_size is not None and len(conditions) == 2 and lows == highs:
        return call("Equal", apart_expression, Number(low_size))
    if not conditions:
        return None
    return conditions[0] if len(conditions) == 1 else call("And", *conditions)


def _blocks(
    study: Study, block: Block, sets: Sequence[NDArray[np.bool_]], i: Index, j: Index
) -> Expression | None:
    """Where both positions lie in the same block of some length."""
    lengths = []
    for chosen in sets:
        row = np.flatnonzero(~chosen[0])
        width = int(row[0]) if len(row) else chosen.shape[1]
        rows, columns = (np.arange(n) // max(width, 1) for n in chosen.shape)
        if not width or not same(chosen, rows[:, None] == columns[None]):
            return None
        lengths.append(width)
    width_size = study.number(lengths, block.values, "the length of a block")
    if width_size is None:
        return None
    by = Number(width_size)
    return call("Equal", call("Div", i, by), call("Div", j, by))
