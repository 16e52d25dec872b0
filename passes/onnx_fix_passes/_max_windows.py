"""The greatest elements of windows, and where they are, out of slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from onnx_fix.emit import Emitter
from onnx_fix.lower.rules.pooling import Windows
from onnx_fix.target.facts import Dim

_END = 2**31 - 1
_STEPS_SINCE = 10
_PADS_ARE_INPUT_SINCE = 11


@dataclass(frozen=True)
class Positions:
    """Where elements stand in the flat tensor: within their plane, and where that begins.

    ``plane`` has the shape (1, 1, spatial sizes) and ``base`` (batch, channels, 1, 1, ...).
    """

    plane: gs.Tensor
    base: gs.Tensor


def positions(e: Emitter, x: gs.Tensor, rank: int, *, column_major: bool) -> Positions:
    """The positions of all elements; ``column_major`` is storage order 1."""
    shape = e.scope.shape(x) or ()
    spatial = list(range(2, rank))
    order = [0, 1, *reversed(spatial)] if column_major else [0, 1, *spatial]
    sizes = [d for d in shape if isinstance(d, int)]
    if len(sizes) == rank:
        plane = np.arange(np.prod(sizes[2:], dtype=np.int64)).reshape(
            [1, 1, *(sizes[a] for a in order[2:])]
        )
        starts = np.arange(sizes[0] * sizes[1]) * plane.size
        return Positions(
            e.const(plane.transpose(order), np.int64),
            e.const(starts.reshape(sizes[0], sizes[1], *[1] * (rank - 2)), np.int64),
        )
    dims = [e.dim(x, axis) for axis in range(rank)]
    area = dims[2]
    for dim in dims[3:]:
        area = e("Mul", area, dim)
    one = e.ints([1])
    ordered = e("Concat", one, one, *(dims[a] for a in order[2:]), axis=0)
    flat = e("Range", e.const(0), e.squeeze(area, [0]), e.const(1))
    count = e.squeeze(e("Mul", dims[0], dims[1]), [0])
    starts = e("Mul", e("Range", e.const(0), count, e.const(1)), area)
    apart = e("Concat", dims[0], dims[1], *[one] * (rank - 2), axis=0)
    return Positions(
        e.transpose(e.reshape(flat, ordered), order),
        e.reshape(starts, apart),
    )


def greatest(
    e: Emitter,
    x: gs.Tensor,
    dtype: int,
    shape: Sequence[Dim],
    windows: Windows,
    where: Positions | None,
) -> tuple[gs.Tensor, gs.Tensor | None]:
    """The greatest element of each window, and its position.

    The last axis goes first: of equal elements the one that stands first in the plane is kept.
    """
    least = e.const(-np.inf, dtype)
    short = short_axes(shape, windows)
    padded = _longer(windows, short)
    best = _padded(e, x, padded, least)
    place = None if where is None else _padded(e, where.plane, padded, e.const(0))
    for axis in reversed(range(len(windows.kernel))):
        parts = _slices(e, best, axis, windows)
        if place is None:
            best = e("Max", *parts) if len(parts) > 1 else parts[0]
            continue
        places = _slices(e, place, axis, windows)
        best, place = parts[0], places[0]
        for part, there in zip(parts[1:], places[1:], strict=True):
            more = e("Greater", part, best)
            best, place = e("Where", more, part, best), e("Where", more, there, place)
    for axis in short:
        # onnxruntime counts (padded - reach) / stride + 1 windows, rounding towards zero.
        fixed = windows.begins[axis] + windows.ends[axis] - _reach(windows, axis)
        over = e("Add", e.dim(x, axis + 2), e.ints([fixed]))
        count = e("Add", e("Div", over, e.ints([windows.strides[axis]])), e.ints([1]))
        best = e("Slice", best, e.ints([0]), count, e.ints([axis + 2]))
        place = None if place is None else e("Slice", place, e.ints([0]), count, e.ints([axis + 2]))
    return best, None if place is None or where is None else e("Add", place, where.base)


def _reach(windows: Windows, axis: int) -> int:
    """How far a window reaches along an axis."""
    return (windows.kernel[axis] - 1) * windows.dilations[axis] + 1


def short_axes(shape: Sequence[Dim], windows: Windows) -> list[int]:
    """The axes, of unknown size, that may be so short that no window fits and one is counted."""
    return [
        axis
        for axis in range(len(windows.kernel))
        if not isinstance(shape[axis + 2], int)
        and windows.strides[axis] > 1
        and _reach(windows, axis) > windows.begins[axis] + windows.ends[axis] + 1
    ]


def _longer(windows: Windows, short: list[int]) -> Windows:
    """The windows with so much padding behind short axes that one always fits."""
    ends = list(windows.ends)
    for axis in short:
        ends[axis] = _reach(windows, axis) - windows.begins[axis] - 1
    return replace(windows, ends=ends)


def _padded(e: Emitter, x: gs.Tensor, windows: Windows, value: gs.Constant) -> gs.Tensor:
    pads = [0, 0, *windows.begins, 0, 0, *windows.ends]
    if not any(pads):
        return x
    if isinstance(x, gs.Constant):
        half = len(pads) // 2
        array = np.asarray(x.values)
        return e.const(np.pad(array, list(zip(pads[:half], pads[half:], strict=True))))
    if e.opset < _PADS_ARE_INPUT_SINCE:
        return e("Pad", x, pads=pads, value=float(value.values))
    return e("Pad", x, e.ints(pads), value)


def _slices(e: Emitter, x: gs.Tensor, axis: int, windows: Windows) -> list[gs.Tensor]:
    """What the windows have at each of their places along one axis."""
    count, step, apart = windows.kernel[axis], windows.strides[axis], windows.dilations[axis]
    if count == 1 and step == 1:
        return [x]
    parts: list[gs.Tensor] = []
    for k in range(count):
        start, end = k * apart, (k + 1 - count) * apart or _END
        if e.opset < _STEPS_SINCE:
            parts.append(e("Slice", x, starts=[start], ends=[end], axes=[axis + 2]))
            continue
        steps = e.ints([step]) if step != 1 else None
        parts.append(e("Slice", x, e.ints([start]), e.ints([end]), e.ints([axis + 2]), steps))
    return parts
