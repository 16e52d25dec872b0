"""Sines and cosines of positions times frequencies, as rotary and sinusoidal positions have them.

The frequencies are ``base ** (-j / k)`` for a whole family of them, so that a column too slow to
show its frequency has that of its place. Every number of every sample is to come out but for its
last bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.unfreeze._rules import index
from onnx_fix.unfreeze._study import Block, Study
from onnx_fix.unfreeze.expressions import Expression, Join, call, cast, compute, literal, spread

Floats = NDArray[np.float64]

_LEAST_ROWS = 8
_BASES = (1e4, 1e2, 1e3, 5e3, 5e4, 1e5, 5e5, 1e6, 5e6, 1e7)
_OFF: Mapping[int, float] = {
    TensorProto.FLOAT: 3e-7,
    TensorProto.DOUBLE: 1e-13,
    TensorProto.FLOAT16: 1.1e-3,
}
"""How far off a number may be: sines and cosines are of the order of 1."""
_VISIBLE = 10
"""How many times that a column is to change at least."""
_SURE = 0.3
"""How steep a wave is to be where its frequency is read."""


def waves(study: Study, block: Block, dtype: int) -> Expression | None:
    """Cosines and sines that count along one symbolic axis, with a frequency for each column."""
    axes = [k for k in block.varying() if block.dims[k].number is None]
    columns = [k for k in block.varying() if block.dims[k].number is not None]
    if len(axes) != 1 or len(columns) != 1 or dtype not in _OFF:
        return None
    (axis,), (column,) = axes, columns
    tables = [_plane(a, axis, column) for a in block.arrays]
    tables = [t for t in tables if len(t)]
    longest = max(tables, key=len)
    if len(longest) < _LEAST_ROWS or np.abs(longest).max() > 1 + 1e-3:
        return None
    cosines = longest[0] == 1
    if not (cosines | (longest[0] == 0)).all() or axis > column:
        return None
    smallest = min((t for t in tables if len(t) >= _LEAST_ROWS), key=len)
    off = _OFF[dtype]
    if (np.abs(longest - longest[0]).max(axis=0) < _VISIBLE * off).any():
        study.unclear("waves too slow to see their frequency; export at a larger size")
        return None
    shape = [longest.shape[1] if k == column else 1 for k in range(block.rank)]
    for frequencies in _families(smallest, cosines):
        made = _expression(block, axis, column, cosines, frequencies.reshape(shape), dtype)
        if _fits(block, made, off):
            return made
    return None


def _plane(array: NDArray[np.generic], axis: int, column: int) -> Floats:
    """Rows and columns alone."""
    plane = np.moveaxis(array.astype(np.float64), (axis, column), (0, 1))
    return plane.reshape(array.shape[axis], array.shape[column])


def _fits(block: Block, made: Expression, off: float) -> bool:
    for array, values in zip(block.arrays, block.values, strict=True):
        got = compute(made, values).astype(np.float64)
        if got.shape != np.broadcast_shapes(got.shape, array.shape):
            return False
        if np.abs(got - array.astype(np.float64)).max() > off:
            return False
    return True


def _expression(
    block: Block,
    axis: int,
    column: int,
    cosines: NDArray[np.bool_],
    frequencies: Floats,
    dtype: int,
) -> Expression:
    work = TensorProto.DOUBLE if dtype == TensorProto.DOUBLE else TensorProto.FLOAT
    position = cast(index(block, axis), work)
    if cosines.all() or not cosines.any():
        angles = call("Mul", position, literal(frequencies, work))
        return cast(call("Cos" if cosines.all() else "Sin", angles), dtype)
    # Runs of columns of one kind, or sines and cosines in turn.
    angles = call("Mul", position, literal(frequencies, work))
    changes = np.flatnonzero(cosines[1:] != cosines[:-1]) + 1
    bounds = [0, *changes.tolist(), len(cosines)]
    if len(bounds) <= 4:
        parts = []
        for low, high in pairwise(bounds):
            some = np.take(frequencies, range(low, high), axis=column)
            angle = call("Mul", position, literal(some, work))
            part = cast(call("Cos" if cosines[low] else "Sin", angle), dtype)
            dims = list(block.dims)
            dims[column] = dims[column] * 0 + (high - low)
            parts.append(spread(part, tuple(dims)))
        return Join(tuple(parts), column)
    chosen = literal(cosines.reshape(frequencies.shape), TensorProto.BOOL)
    return cast(call("Where", chosen, call("Cos", angles), call("Sin", angles)), dtype)


def _families(table: Floats, cosines: NDArray[np.bool_]) -> Iterator[Floats]:
    """Frequencies for all columns, of the families that the clear columns belong to."""
    count = table.shape[1]
    clear = {
        c: f for c in range(count) if (f := _frequency(table[:, c], bool(cosines[c]))) is not None
    }
    if not clear:
        return
    for several in (1, 2, 4):
        if count % several:
            continue
        distinct = count // several
        places = np.arange(count)
        for place in {tuple(places % distinct), tuple(places // several)}:
            yield from _of_family(np.asarray(place), distinct, clear)


def _of_family(
    places: NDArray[np.int64], distinct: int, clear: dict[int, float]
) -> Iterator[Floats]:
    guesses = list(_BASES)
    for c, f in clear.items():
        if places[c] and 0 < f < 1:
            guesses.append(float(f"{f ** (-distinct / int(places[c])):.3g}"))
    for base in dict.fromkeys(guesses):
        wide = base ** (-np.arange(distinct) / distinct)
        if any(abs(wide[places[c]] - f) > 1e-3 * f for c, f in clear.items()):
            continue
        steps = np.arange(distinct, dtype=np.float32) * np.float32(2)
        both = np.float32(2 * distinct)
        scale = np.float32(-np.log(base) / (2 * distinct))
        for made in (
            np.float32(1) / np.float32(base) ** (steps / both),
            np.exp(steps * scale),
            np.float32(base) ** (-steps / both),
            wide,
        ):
            yield np.asarray(made, np.float64)[places]


def _frequency(values: Floats, cosine: bool) -> float | None:
    """The frequency of one column between 0 and half a turn; None where it is too slow to tell."""
    first = float(np.clip(values[1], -1, 1))
    starts = [np.arccos(first)] if cosine else [np.arcsin(first), np.pi - np.arcsin(first)]
    for start in starts:
        f, sure = float(start), False
        for i in range(1, len(values)):
            angle = i * f
            wave, slope = (
                (np.cos(angle), -np.sin(angle)) if cosine else (np.sin(angle), np.cos(angle))
            )
            off = float(values[i] - wave)
            if abs(slope) > _SURE:
                f, sure = f + off / slope / i, True
            elif abs(off) > 0.2:
                sure = False
                break
        rows = np.arange(len(values)) * f
        made = np.cos(rows) if cosine else np.sin(rows)
        if sure and f > 0 and np.abs(made - values).max() < 1e-2:
            return f
    return None
