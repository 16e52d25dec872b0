"""Sine and cosine of a position times a falling series of speeds: rotary and sinusoidal tables."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.unfreeze._rules import index
from onnx_fix.unfreeze._study import Block
from onnx_fix.unfreeze.expressions import Expression, call, cast, compute, literal

Floats = NDArray[np.float64]
_LAST_BIT: dict[int, float] = {TensorProto.FLOAT16: 2.0**-11, TensorProto.BFLOAT16: 2.0**-8}


def waves(block: Block, dtype: int) -> Expression | None:
    """``sin`` or ``cos`` of ``i * base**(-k/m)`` with k counting along one fixed axis.

    Every number must be met up to rounding: the speeds are computed anew, and the last bits of a
    sine are not the same everywhere.
    """
    varying = block.varying()
    lines = [k for k in varying if block.dims[k].number is None]
    columns = [k for k in varying if block.dims[k].number is not None]
    if len(lines) != 1 or len(columns) != 1 or block.arrays[0].dtype.kind in "biu":
        return None
    (line,), (column,) = lines, columns
    longest = max(block.arrays, key=lambda a: a.shape[line])
    table = np.moveaxis(longest.astype(np.float64), (line, column), (0, 1))
    table = table.reshape(table.shape[0], table.shape[1])
    # At position 0 a sine is 0 and a cosine is 1.
    if not np.isin(table[0], (0.0, 1.0)).all() or np.abs(table).max() > 1:
        return None
    cosine = table[0] == 1
    speeds = np.where(cosine, np.arccos(table[1]), np.arcsin(table[1]))
    work = TensorProto.DOUBLE if dtype == TensorProto.DOUBLE else TensorProto.FLOAT
    shape = [-1 if k == column else 1 for k in range(block.rank)]
    best: tuple[float, Expression] | None = None
    for series in _series(speeds, work):
        angle = call("Mul", cast(index(block, line), work), literal(series.reshape(shape), work))
        made = cast(_of_angle(angle, cosine.reshape(shape)), dtype)
        off = _off(block, made, dtype)
        if off is not None and (best is None or off < best[0]):
            best = off, made
    return None if best is None else best[1]


def _of_angle(angle: Expression, cosine: NDArray[np.bool_]) -> Expression:
    if cosine.all() or not cosine.any():
        return call("Cos" if cosine.any() else "Sin", angle)
    return call("Where", literal(cosine), call("Cos", angle), call("Sin", angle))


def _series(speeds: Floats, work: int) -> Iterator[NDArray[np.generic]]:
    """Series of speeds that come close, each computed in several ways."""
    count = len(speeds)
    along = np.arange(count)
    orders = [along]
    if count % 2 == 0:
        orders += [along % (count // 2), along // 2]
    for order in orders:
        steps = int(order.max()) + 1
        second = speeds[np.flatnonzero(order == 1)]
        if steps < 2 or not len(second) or not 0 < second[0] < 1:
            continue
        base = float(f"{second[0] ** -steps:.2g}")
        wide = base ** (-order / steps)
        if not np.allclose(wide, speeds, rtol=0.01, atol=1e-3):
            continue
        yield wide
        if work == TensorProto.FLOAT:
            narrow = (order / steps).astype(np.float32)
            yield np.float32(base) ** -narrow
            yield np.float32(1) / np.float32(base) ** narrow
            yield np.exp(narrow * np.float32(-np.log(base)))


def _off(block: Block, made: Expression, dtype: int) -> float | None:
    """How far the numbers are off at most; None where it is more than rounding explains."""
    last = _LAST_BIT.get(dtype, 2.0**-23)
    worst = 0.0
    for array, values in zip(block.arrays, block.values, strict=True):
        got = compute(made, values).astype(np.float64)
        apart = np.abs(got - array.astype(np.float64))
        longest = max(array.shape)
        if float(apart.max()) > 2 * last + longest * 2.0**-24:
            return None
        worst = max(worst, float(apart.max()))
    return worst
