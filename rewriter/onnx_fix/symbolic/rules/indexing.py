"""Operators that pick elements."""

from __future__ import annotations

from onnx_fix.symbolic.size import Size, size, smallest
from onnx_fix.symbolic.step import ENDLESS, Shape, Step, normalized


def _slice(step: Step) -> list[Shape | None]:
    data = step.shape()
    if data is None:
        return [None]
    by_attribute = step.ints("starts")
    starts: Shape | None
    ends: Shape | None
    if by_attribute is not None:
        given = step.ints("ends") or []
        starts = tuple(step.attribute("starts", k, n) for k, n in enumerate(by_attribute))
        ends = tuple(step.attribute("ends", k, n) for k, n in enumerate(given))
        axes = step.ints("axes")
        steps: list[int] | None = None
    else:
        starts, ends = step.value(1), step.value(2)
        axes = step.numbers(3) if step.has(3) else None
        steps = step.numbers(4) if step.has(4) else None
        if (step.has(3) and axes is None) or (step.has(4) and steps is None):
            return [step.opaque()]
    if starts is None or ends is None or len(starts) != len(ends):
        return [step.opaque()]
    axes = list(range(len(starts))) if axes is None else axes
    out = list(data)
    for k, axis in enumerate(axes):
        place = normalized(axis, len(data))
        stride = 1 if steps is None else steps[k]
        step.note_axis(starts[k], data[place])
        step.note_axis(ends[k], data[place])
        found = _length(step, data[place], starts[k], ends[k], stride)
        out[place] = step.fresh(0, place) if found is None else found
    return [tuple(out)]


def _length(step: Step, dim: Size, start: Size, end: Size, stride: int) -> Size | None:
    """How many elements a slice has; starts and ends are as they were in the export."""
    whole = step.hint(dim)
    if stride == -1 and end.number is not None and end.number <= -ENDLESS:
        begin = step.hint(start)
        if start.number is not None and (start.number >= ENDLESS or start.number == -1):
            return dim
        return None if begin is None or begin < 0 else start + 1
    if stride < 1:
        return None
    first, last = _position(step, dim, start, whole), _position(step, dim, end, whole)
    if first is None or last is None:
        return None
    return -(-(last - first) // stride)


def _position(step: Step, dim: Size, at: Size, whole: int | None) -> Size | None:
    """A start or an end counted from the front, clamped as it was in the export."""
    number = step.hint(at)
    if number is None:
        return None
    if at.number is not None:
        if number >= ENDLESS:
            return dim
        if number == 0:
            return size(0)
        if number < 0:
            return size(0) if whole is not None and -number > whole else dim + number
    if whole is None:
        return smallest(dim, at) if dim.number is None else at
    return dim if number > whole else at


def _gather(step: Step) -> list[Shape | None]:
    data, index = step.shape(0), step.shape(1)
    if data is None or index is None:
        return [step.opaque()]
    axis = normalized(step.number("axis", 0), len(data))
    return [(*data[:axis], *index, *data[axis + 1 :])]


def _gather_elements(step: Step) -> list[Shape | None]:
    return [step.shape(1)]


def _gather_nd(step: Step) -> list[Shape | None]:
    data, index = step.shape(0), step.shape(1)
    if data is None or not index:
        return [step.opaque()]
    batch, depth = step.number("batch_dims", 0), step.hint(index[-1])
    if depth is None:
        return [step.opaque()]
    for a, b in zip(data[:batch], index[:batch], strict=True):
        step.same(a, b)
    return [(*index[:-1], *data[batch + depth :])]


def _one_hot(step: Step) -> list[Shape | None]:
    index, depth = step.shape(0), step.value(1)
    if index is None:
        return [step.opaque()]
    axis = normalized(step.number("axis", -1), len(index) + 1)
    count = depth[0] if depth else step.fresh(0, axis)
    return [(*index[:axis], count, *index[axis:])]


def _top_k(step: Step) -> list[Shape | None]:
    data = step.shape()
    if data is None:
        return [step.opaque(0), step.opaque(1)]
    axis = normalized(step.number("axis", -1), len(data))
    by_attribute = step.opset < 10
    count = (step.attribute("k", None, step.number("k", 1)),) if by_attribute else step.value(1)
    k = count[0] if count else step.fresh(0, axis)
    step.note_part(k, data[axis])
    return [(*data[:axis], k, *data[axis + 1 :])] * 2


def _non_zero(step: Step) -> list[Shape | None]:
    rank = step.rank()
    return [step.opaque() if rank is None else (size(rank), step.fresh(0, 1))]


def _opaque(step: Step) -> list[Shape | None]:
    return [step.opaque(k) for k in range(len(step.node.outputs))]


SHAPES = {
    "Slice": _slice,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "OneHot": _one_hot,
    "TopK": _top_k,
    "NonZero": _non_zero,
    "Compress": _opaque,
    "Unique": _opaque,
    "NonMaxSuppression": _opaque,
}
