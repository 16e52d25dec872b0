"""Rules along axes: what counts, what is normalised, what depends on a distance, two-valued masks.

Each takes a block all of whose symbolic varying axes are long enough to show a rule, and returns
an expression that gives all samples bit for bit, or None.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import pi, prod

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.symbolic import Size, size
from onnx_fix.symbolic.size import largest
from onnx_fix.unfreeze._study import Block, Study, Unclear, same
from onnx_fix.unfreeze.expressions import (
    Array,
    Expression,
    Index,
    Number,
    Values,
    call,
    cast,
    literal,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_SCALES = (1.0, -1.0, 2.0, -2.0, pi, 2 * pi, -pi, -2 * pi)
_LARGEST_INTEGER = 1 << 24


def index(block: Block, axis: int) -> Index:
    """The position along an axis of a block."""
    return Index(block.dims[axis], block.rank - 1 - axis)


def integers(block: Block) -> list[Ints] | None:
    """The samples as integers; None where some number is none."""
    found = []
    for array in block.arrays:
        if array.dtype.kind in "iu":
            found.append(array.astype(np.int64))
        elif array.dtype == np.bool_:
            return None
        else:
            wide = array.astype(np.float64)
            if not np.all(np.abs(wide) < _LARGEST_INTEGER) or np.any(wide != np.rint(wide)):
                return None
            found.append(wide.astype(np.int64))
    return found


def affine(study: Study, block: Block, dtype: int) -> Expression | None:
    """Integers that grow evenly along every symbolic axis; a table of starts along the others."""
    arrays = integers(block)
    if arrays is None:
        return None
    axes = [k for k in block.varying() if block.dims[k].number is None]
    starts: list[Ints] = []
    steps: dict[int, list[tuple[Ints, int]]] = {k: [] for k in axes}
    for number, array in enumerate(arrays):
        start = _corner(array, axes)
        total = start
        for k in axes:
            if array.shape[k] < 2:
                continue
            step = _corner(array, axes, k) - start
            steps[k].append((step, number))
            shape = [-1 if j == k else 1 for j in range(block.rank)]
            total = total + step * np.arange(array.shape[k]).reshape(shape)
        if not np.array_equal(np.broadcast_to(total, array.shape), array):
            return None
        starts.append(start)
    lasts = [block.dims[k] - 1 for k in axes if block.dims[k].number is None]
    terms = [_table(study, starts, block.values, "the first number", lasts)]
    for k in axes:
        after = prod(block.dims[k + 1 :], start=size(1))
        values = [block.values[number] for _, number in steps[k]]
        more = [after] if after.number is None else []
        step_expression = _table(study, [s for s, _ in steps[k]], values, "the step", more)
        if step_expression is None:
            return None
        terms.append(_times(index(block, k), step_expression))
    if terms[0] is None:
        return None
    total_expression: Expression | None = None
    for term in (*terms[1:], terms[0]):
        if term is None or (total_expression is not None and _is(term, 0)):
            continue
        total_expression = term if total_expression is None else call("Add", total_expression, term)
    if total_expression is None:
        return None
    if _is_float(block) and len(axes) == 1:
        # -1, 0, 1 may be from -1 to 1 in three steps.
        k = axes[0]
        lengths = {block.dims[k].at(v) for v in block.values}
        if len(lengths) == 1 and any(
            map(block.is_made_by, _normalised(block, index(block, k), dtype))
        ):
            raise Unclear(
                f"its numbers may be divided by {block.dims[k]}, or not; another export at another "
                "size would tell"
            )
    return cast(total_expression, dtype)


def _corner(array: Ints, axes: Sequence[int], next_along: int | None = None) -> Ints:
    """The elements at 0 along the axes, and at 1 along one of them."""
    cut = [slice(None)] * array.ndim
    for k in axes:
        cut[k] = slice(1, 2) if k == next_along else slice(0, 1)
    return array[tuple(cut)]


def _table(
    study: Study,
    found: Sequence[Ints],
    values: Sequence[Values],
    what: str,
    more: Sequence[Size],
) -> Expression | None:
    if found[0].size == 1:
        number = study.number([int(f.item()) for f in found], values, what, more)
        if number is None:
            return None
        return Number(number) if number.number is None else literal(np.int64(number.number))
    return literal(found[0]) if all(np.array_equal(found[0], f) for f in found) else None


def _is(term: Expression, value: int) -> bool:
    return term == literal(np.int64(value))


def _times(term: Expression, factor: Expression) -> Expression:
    if _is(factor, 1):
        return term
    return call("Neg", term) if _is(factor, -1) else call("Mul", term, factor)


# -- floats ----------------------------------------------------------------------------------------


def ramp(study: Study, block: Block, dtype: int) -> Expression | None:
    """Floats that grow evenly along one symbolic axis, with tables of starts and steps."""
    axes = [k for k in block.varying() if block.dims[k].number is None]
    if len(axes) != 1 or not _is_float(block):
        return None
    (k,) = axes
    position = index(block, k)
    fixed = _evenly(block, position, k, dtype)
    made = [e for e in fixed if block.is_made_by(e)][:1]
    divided = [e for e in _normalised(block, position, dtype) if block.is_made_by(e)]
    lengths = {position.length.at(v) for v in block.values}
    if (divided and len(lengths) == 1) or (made and _may_be_normalised(block, k)):
        raise Unclear(
            f"its numbers may be divided by {position.length}, or by a constant of the same value; "
            "another export at another size would tell"
        )
    return study.settled([*made, *divided], exact=False)


def _is_float(block: Block) -> bool:
    return block.arrays[0].dtype.kind not in "biu"


def _works(dtype: int) -> list[int]:
    """The types in which the numbers may have been computed."""
    if dtype in _HALVES:
        return [TensorProto.FLOAT]
    return [dtype, TensorProto.DOUBLE] if dtype == TensorProto.FLOAT else [dtype]


def _evenly(block: Block, base: Expression, axis: int, dtype: int) -> list[Expression]:
    """A constant step and start, in the orders in which they are computed."""
    array = next(a for a in block.arrays if a.shape[axis] > 1).astype(np.float64)
    lines = np.moveaxis(array, axis, 0)[:, None]
    start, count = np.moveaxis(lines[0], 0, axis), array.shape[axis]
    ends = [np.moveaxis(lines[k], 0, axis) for k in (1, count - 1)]
    steps = [ends[0] - start, (ends[1] - start) / (count - 1)]
    with np.errstate(divide="ignore", invalid="ignore"):
        steps.append(1 / np.rint(1 / steps[1]))
    steps = [s for s in steps if np.isfinite(s).all()]
    return [e for work in _works(dtype) for e in _lines(base, start, steps, work, dtype)]


def _lines(
    base: Expression, start: Floats, steps: Sequence[Floats], work: int, dtype: int
) -> Iterator[Expression]:
    i = cast(base, work)
    for step in steps:
        scaled = i if (step == 1).all() else call("Mul", i, _tight(step, work))
        yield cast(
            scaled if (start == 0).all() else call("Add", scaled, _tight(start, work)), dtype
        )
    for offset in (0.5, -0.5, 1.0):
        shifted = call("Add", i, literal(offset, work))
        for step in steps:
            yield cast(call("Mul", shifted, _tight(step, work)), dtype)
    with np.errstate(divide="ignore"):
        below = np.rint(1 / steps[-1])
    if np.isfinite(below).all():
        for top in (i, call("Add", i, literal(0.5, work)), call("Add", i, literal(1, work))):
            yield cast(call("Div", top, _tight(below, work)), dtype)


def _tight(value: Array, work: int) -> Expression:
    """A constant: a scalar where it has one element."""
    return literal(value.reshape(()) if value.size == 1 else value, work)


def _normalised(block: Block, position: Index, dtype: int) -> Iterator[Expression]:
    """Positions divided by the length of the axis."""
    length = position.length
    for work in _works(dtype):
        i = cast(position, work)
        one = literal(1, work)
        for below in (length, length - 1):
            d = cast(Number(largest(below, 1)), work)
            bases = [
                call("Div", i, d),
                call("Div", call("Add", i, literal(0.5, work)), d),
                call("Div", call("Add", i, one), d),
                call("Mul", i, call("Div", one, d)),
            ]
            for scale in _SCALES:
                for base in bases:
                    scaled = base if scale == 1 else call("Mul", base, literal(scale, work))
                    yield cast(scaled, dtype)
                    if scale == 2:
                        yield cast(call("Sub", scaled, one), dtype)
            twice = call("Mul", i, literal(2, work))
            yield cast(call("Sub", call("Div", twice, d), one), dtype)
            yield cast(call("Sub", call("Div", call("Add", twice, one), d), one), dtype)
            for base in bases[:2]:
                centred = call("Sub", base, literal(0.5, work))
                yield cast(call("Mul", centred, literal(2, work)), dtype)
        for start, end in ((-1, 1), (0, 1), (1, 0), (1, -1)):
            yield cast(_linspace(position, start, end, work), dtype)


def _linspace(position: Index, start: float, end: float, work: int) -> Expression:
    """From both ends towards the middle, so that both ends are met."""
    # An axis of one element has the start, as in frameworks.
    last = Number(largest(position.length - 1, 1))
    step = call("Div", literal(end - start, work), cast(last, work))
    up = call("Add", literal(start, work), call("Mul", step, cast(position, work)))
    back = cast(call("Sub", last, position), work)
    down = call("Sub", literal(end, work), call("Mul", step, back))
    return call("Where", call("Less", position, Number(largest(position.length // 2, 1))), up, down)


def _may_be_normalised(block: Block, axis: int) -> bool:
    """Whether a step that is the same in all samples may yet be one over the length."""
    for array, values in zip(block.arrays, block.values, strict=True):
        count = block.dims[axis].at(values)
        if count < 3:
            continue
        wide = np.moveaxis(array.astype(np.float64), axis, 0)
        step = (wide[-1] - wide[0]) / (count - 1)
        close = [
            np.isclose(step, scale / below, rtol=1e-4, atol=0).any()
            for below in (count, count - 1)
            for scale in _SCALES
        ]
        if not any(close):
            return False
    return True


# -- distances and masks ---------------------------------------------------------------------------


def distance(study: Study, block: Block, dtype: int) -> Expression | None:
    """A multiple of ``|i - j|`` or ``i - j`` over two symbolic axes, with tables of factors."""
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
    whole = integers(block) is not None
    for base in (call("Abs", apart), apart):
        for work in [int(TensorProto.INT64)] if whole else _works(dtype):
            scaled = call("Mul", cast(base, work), _tight(factor, work))
            made = call("Add", scaled, _tight(start, work)) if np.any(start != 0) else scaled
            if block.is_made_by(cast(made, dtype)):
                return cast(made, dtype)
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
