"""Operators that make tensors from shapes or numbers."""

from __future__ import annotations

from onnx_fix.symbolic.size import size
from onnx_fix.symbolic.step import Shape, Step


def _filled(step: Step) -> list[Shape | None]:
    return [step.value(0) or step.opaque()] if step.value(0) != () else [()]


def _shape(step: Step) -> list[Shape | None]:
    rank = step.rank()
    if rank is None:
        return [step.opaque()]
    count = len(range(rank)[slice(step.number("start", 0), step.node.attrs.get("end"))])
    return [(size(count),)]


def _size(step: Step) -> list[Shape | None]:
    return [()]


def _range(step: Step) -> list[Shape | None]:
    start, limit, delta = step.value(0), step.value(1), step.numbers(2)
    if start is None or limit is None or delta is None:
        return [step.opaque()]
    if not start or not limit or len(delta) != 1 or delta[0] < 1:
        return [step.opaque()]
    return [(-(-(limit[0] - start[0]) // delta[0]),)]


def _random(step: Step) -> list[Shape | None]:
    shape = step.ints("shape")
    if shape is None:
        return [step.opaque()]
    return [tuple(step.attribute("shape", k, number) for k, number in enumerate(shape))]


SHAPES = {
    "ConstantOfShape": _filled,
    "Shape": _shape,
    "Size": _size,
    "Range": _range,
    "RandomNormal": _random,
    "RandomUniform": _random,
}
