"""Rules along axes: what counts, and what is divided by a length.

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
from onnx_fix.unfreeze._study import SMALL, Block, Study, Unclear
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
_FEW = 16
"""Each of so many numbers is compared with the sizes."""


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
    short = is_float(block) and max(max(a.shape) for a in arrays) == 3
    if short and all(np.abs(a).max() <= 1 for a in arrays):
        raise Unclear("-1, 0, 1 may be counted, or three positions from -1 to 1")
    begin = _table(study, starts, block.values, "the first number", [])
    if begin is None:
        return None
    found: Expression | None = None if _is(begin, 0) else begin
    ups, downs = [], []
    for k in axes:
        after = prod(block.dims[k + 1 :], start=size(1))
        values = [block.values[number] for _, number in steps[k]]
        more = [after] if after.number is None else []
        step_expression = _table(study, [s for s, _ in steps[k]], values, "the step", more)
        if step_expression is None:
            return None
        if _is(step_expression, -1):
            downs.append(index(block, k))
        else:
            ups.append(_times(index(block, k), step_expression))
    for up in ups:
        found = up if found is None else call("Add", up, found)
    for down in downs:
        found = call("Sub", literal(np.int64(0)) if found is None else found, down)
    return None if found is None else cast(found, dtype)


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
    if not all(np.array_equal(found[0], f) for f in found):
        return None
    if found[0].size <= _FEW:
        for one in found[0].reshape(-1).tolist():
            study.number([int(one)] * len(found), values, f"one of those for {what}")
    return literal(found[0])


def _is(term: Expression, value: int) -> bool:
    return term == literal(np.int64(value))


def _times(term: Expression, factor: Expression) -> Expression:
    return term if _is(factor, 1) else call("Mul", term, factor)


# -- floats ----------------------------------------------------------------------------------------


def ramp(study: Study, block: Block, dtype: int) -> Expression | None:
    """Floats that grow evenly along one symbolic axis, with tables of starts and steps."""
    axes = [k for k in block.varying() if block.dims[k].number is None]
    if len(axes) != 1 or not is_float(block):
        return None
    (k,) = axes
    position = index(block, k)
    fixed = _evenly(block, position, k, dtype)
    made = [e for e in fixed if block.is_made_by(e)][:1]
    ways = _normalised(position, _divisors(study, block, k), dtype)
    divided = [e for e in ways if block.is_made_by(e)]
    lengths = {position.length.at(v) for v in block.values}
    if (divided and len(lengths) == 1) or (made and _may_be_normalised(block, k)):
        raise Unclear(
            f"its numbers may be divided by {position.length}, or by a constant of the same value; "
            "another export at another size would tell"
        )
    if made:
        step, starts, off = _evenly_from(block, k)
        study.doubt(step, block.values, off=off, inverse=True)
        study.doubt(starts, block.values, off=off)
    return study.settled([*made, *divided], exact=False)


def _evenly_from(block: Block, axis: int) -> tuple[Floats, Floats, float]:
    """The steps and starts along an axis, and how far off they may be in proportion."""
    array = max(block.arrays, key=lambda a: a.shape[axis])
    wide = np.moveaxis(array.astype(np.float64), axis, 0)
    step = (wide[-1] - wide[0]) / (len(wide) - 1)
    # A start may have been moved by a half or a whole step.
    starts = [wide[0] - moved * step for moved in (0, 0.5, 1)]
    last_bit = 2.0 ** -(10 if array.dtype.itemsize == 2 else 23)
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.nanmax(np.abs(wide).max() * last_bit / np.abs(wide[-1] - wide[0]))
    moved_starts = np.concatenate([s.reshape(-1) for s in starts])
    return step.reshape(-1), moved_starts, 4 * min(float(off), 1e-2)


def is_float(block: Block) -> bool:
    return block.arrays[0].dtype.kind not in "biu"


def works(dtype: int) -> list[int]:
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
    return [e for work in works(dtype) for e in _lines(base, start, steps, work, dtype)]


def _lines(
    base: Expression, start: Floats, steps: Sequence[Floats], work: int, dtype: int
) -> Iterator[Expression]:
    i = cast(base, work)
    for step in steps:
        scaled = i if (step == 1).all() else call("Mul", i, tight(step, work))
        yield cast(scaled if (start == 0).all() else call("Add", scaled, tight(start, work)), dtype)
    for offset in (0.5, -0.5, 1.0):
        shifted = call("Add", i, literal(offset, work))
        for step in steps:
            yield cast(call("Mul", shifted, tight(step, work)), dtype)
    with np.errstate(divide="ignore"):
        below = np.rint(1 / steps[-1])
    if np.isfinite(below).all():
        for top in (i, call("Add", i, literal(0.5, work)), call("Add", i, literal(1, work))):
            yield cast(call("Div", top, tight(below, work)), dtype)


def tight(value: Array, work: int) -> Expression:
    """A constant: a scalar where it has one element."""
    return literal(value.reshape(()) if value.size == 1 else value, work)


def _divisors(study: Study, block: Block, axis: int) -> list[Size]:
    """Other sizes than the length by which positions may be divided."""
    length = block.dims[axis]
    found = []
    # Half a length is none that one export suggests, but several of odd lengths leave it open.
    several = len({length.at(v) for v in block.values}) > 1
    halves = (length // 2, length - length // 2) if several else ()
    for known in dict.fromkeys((*study.known, *halves)):
        if known in (length, length - 1):
            continue
        if min(known.at(v) for v in block.values) <= SMALL:
            continue
        parts = []
        for array, values in zip(block.arrays, block.values, strict=True):
            wide = np.moveaxis(array.astype(np.float64), axis, 0).reshape(array.shape[axis], -1)
            if len(wide) > 1:
                step = (wide[-1, 0] - wide[0, 0]) / (len(wide) - 1)
                parts.append(abs(step) * known.at(values))
        if any(np.allclose(parts, abs(scale), rtol=1e-3, atol=0) for scale in _SCALES):
            found.append(known)
    return found


def _normalised(position: Index, others: Sequence[Size], dtype: int) -> Iterator[Expression]:
    """Positions divided by the length of the axis, or by another size."""
    length = position.length
    for work in works(dtype):
        i = cast(position, work)
        one = literal(1, work)
        for below in (length, length - 1, *others):
            d = cast(Number(below), work)
            # What is divided by one less than the length counts from 0 to its end.
            bases = [call("Div", i, d), call("Mul", i, call("Div", one, d))]
            if below != length - 1:
                bases.insert(1, call("Div", call("Add", i, literal(0.5, work)), d))
                bases.append(call("Div", call("Add", i, one), d))
            for scale in _SCALES:
                for base in bases:
                    scaled = base if scale == 1 else call("Mul", base, literal(scale, work))
                    yield cast(scaled, dtype)
                    if scale in (1, 2):
                        yield cast(call("Sub", scaled, one), dtype)
            twice = call("Mul", i, literal(2, work))
            yield cast(call("Sub", call("Div", twice, d), one), dtype)
            if below != length - 1:
                yield cast(call("Sub", call("Div", call("Add", twice, one), d), one), dtype)
            for base in bases[:2]:
                centred = call("Sub", base, literal(0.5, work))
                yield cast(call("Mul", centred, literal(2, work)), dtype)
        for start, end in ((-1, 1), (0, 1), (1, 0), (1, -1)):
            yield cast(_linspace(position, start, end, work), dtype)


def _linspace(position: Index, start: float, end: float, work: int) -> Expression:
    """From both ends towards the middle, so that both ends are met."""
    last = Number(position.length - 1)
    step = call("Div", literal(end - start, work), cast(last, work))
    up = call("Add", literal(start, work), call("Mul", step, cast(position, work)))
    back = cast(call("Sub", last, position), work)
    down = call("Sub", literal(end, work), call("Mul", step, back))
    return call("Where", call("Less", position, Number(position.length // 2)), up, down)


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
            if np.abs(wide).max() <= abs(scale) * 1.001
        ]
        if not any(close):
            return False
    return True
