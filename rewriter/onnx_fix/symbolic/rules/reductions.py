"""Operators that reduce axes."""

from __future__ import annotations

from onnx_fix.op_names import REDUCTIONS
from onnx_fix.symbolic.size import size
from onnx_fix.symbolic.step import Shape, Step, normalized


def _reduce(step: Step) -> list[Shape | None]:
    data = step.shape()
    if data is None:
        return [step.opaque()]
    axes = step.axes(1)
    if axes is None and step.has(1):
        return [step.opaque()]
    if not axes:
        if step.number("noop_with_empty_axes", 0):
            return [data]
        axes = list(range(len(data)))
    return [_without(data, {normalized(a, len(data)) for a in axes}, step.number("keepdims", 1))]


def _arg(step: Step) -> list[Shape | None]:
    data = step.shape()
    if data is None:
        return [step.opaque()]
    return [
        _without(data, {normalized(step.number("axis", 0), len(data))}, step.number("keepdims", 1))
    ]


def _without(data: Shape, gone: set[int], keep: int) -> Shape:
    if keep:
        return tuple(size(1) if k in gone else d for k, d in enumerate(data))
    return tuple(d for k, d in enumerate(data) if k not in gone)


def _det(step: Step) -> list[Shape | None]:
    data = step.shape()
    return [None if data is None else data[:-2]]


SHAPES = {
    **dict.fromkeys(REDUCTIONS, _reduce),
    "ArgMax": _arg,
    "ArgMin": _arg,
    "Det": _det,
}
