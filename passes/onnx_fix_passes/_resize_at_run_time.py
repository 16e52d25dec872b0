"""A Resize whose lengths or sizes are known at run time only: samples and weights are computed."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import ArrayLike
from onnx import TensorProto

from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute
from onnx_fix.target import Dim, TensorFacts
from onnx_fix_passes._resize_taps import Floats, Manner

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
_FLOAT, _INT64 = int(TensorProto.FLOAT), int(TensorProto.INT64)
_COORDINATES = frozenset({"align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel"})


def at_run_time(scope: Scope, e: Emitter, node: gs.Node, manner: Manner) -> gs.Tensor | str:
    """The resized tensor, or why it cannot be written.

    Along each axis that may change, the coordinates of the new elements are counted by a Range and
    computed in FP32 as onnxruntime does (ONNX, Resize: ``coordinate_transformation_mode``,
    ``cubic_coeff_a``); their neighbours are gathered, weighted and summed.
    """
    x = node.inputs[0]
    shape, dtype = scope.shape(x), scope.dtype(x)
    if shape is None or dtype not in _FLOATS:
        return "the rank is not known, or the elements are no floats"
    if manner.mode not in ("linear", "cubic") or manner.coordinates not in _COORDINATES:
        return f"{manner.mode} with {manner.coordinates} needs lengths that are known"
    if manner.antialias or manner.exclude_outside:
        return "antialias and exclude_outside need lengths that are known"
    if attribute(node, "keep_aspect_ratio_policy", str, "stretch") not in (None, "stretch"):
        return "keep_aspect_ratio_policy needs lengths that are known"
    if not _takes(scope, dtype):
        return f"{scope.target.name} takes no Range, Gather or Floor for it"
    counts = _counts(scope, e, node, shape)
    if isinstance(counts, str):
        return counts
    result: gs.Tensor = x
    for axis, count in counts.items():
        at = _Axis(e, manner, e.dim(x, axis), count)
        result = _along(e, result, axis, len(shape), at, dtype)
    return result


def _takes(scope: Scope, dtype: int) -> bool:
    number = TensorFacts("n", _INT64, ())
    row = TensorFacts("r", _FLOAT, (None,))
    data = TensorFacts("x", dtype, (None, None))
    return (
        scope.accepts("Range", [number, number, number])
        and scope.accepts("Floor", [row])
        and scope.accepts("Gather", [data, TensorFacts("i", _INT64, (None,))], {"axis": 1})
    )


def _counts(
    scope: Scope, e: Emitter, node: gs.Node, shape: tuple[Dim, ...]
) -> dict[int, gs.Tensor] | str:
    """The new length of each axis that may change, int64 of shape (1,)."""
    named = attribute(node, "axes", list) or list(range(len(shape)))
    axes = [int(a) % len(shape) for a in named]
    sizes = node.inputs[3] if len(node.inputs) > 3 and node.inputs[3].name else None
    if sizes is not None and scope.opset >= 11:
        known = scope.model.shape_values(scope).value(sizes) or (None,) * len(axes)
        return {
            axis: e.slice(sizes, [k], [k + 1], [0])
            for k, axis in enumerate(axes)
            if known[k] is None or known[k] != shape[axis]
        }
    scales = None if len(node.inputs) < 3 else scope.folded(node.inputs[2])
    if scales is None or scales.size != len(axes):
        return "the scales are known at run time only: give sizes, or make them constant"
    if any(s != int(s) for s in scales.reshape(-1)):
        return "the scales are no whole numbers, and a length is not known: give sizes"
    return {
        axis: e("Mul", e.dim(node.inputs[0], axis), e.ints([int(scale)]))
        for axis, scale in zip(axes, scales.reshape(-1), strict=True)
        if scale != 1
    }


class _Axis:
    """Coordinates along one axis; ``length`` and ``count`` are int64 of shape (1,)."""

    def __init__(self, e: Emitter, manner: Manner, length: gs.Tensor, count: gs.Tensor) -> None:
        self.manner = manner
        one, half = e.const(1.0), e.const(0.5)
        many, before = e.cast(count, _FLOAT), e.cast(length, _FLOAT)
        self.last = e("Sub", before, one)
        ramp = e("Range", e.const(0), e.squeeze(count, [0]), e.const(1))
        at: gs.Tensor = e.cast(ramp, _FLOAT)
        if manner.coordinates == "align_corners":
            steps = e("Max", e("Sub", many, one), one)
            self.place = e("Div", e("Mul", at, self.last), steps)
            return
        scale = e("Div", many, before)
        if manner.coordinates == "asymmetric":
            self.place = e("Div", at, scale)
            return
        self.place = e("Sub", e("Div", e("Add", at, half), scale), half)
        if manner.coordinates == "pytorch_half_pixel":
            # A single new element is the first one.
            self.place = e("Mul", self.place, e("Min", e("Sub", many, one), one))


def _along(e: Emitter, x: gs.Tensor, axis: int, rank: int, at: _Axis, dtype: int) -> gs.Tensor:
    around, powers = _weights(at.manner)
    place = e.unsqueeze(at.place, [1])
    low = e("Floor", place)
    part = e("Sub", place, low)
    weights: gs.Tensor = e.const(powers[-1])
    for row in reversed(powers[:-1]):
        weights = e("Add", e("Mul", weights, part), e.const(row))
    places = e("Add", low, e.const(around))
    places = e("Min", e("Max", places, e.const(0.0)), at.last)
    taken = e("Gather", x, e.cast(places, _INT64), axis=axis)
    share = e.unsqueeze(weights, list(range(2, rank + 1 - axis)))
    share = share if dtype == _FLOAT else e.cast(share, dtype)
    return e.reduce("ReduceSum", e("Mul", taken, share), [axis + 1])


def _weights(manner: Manner) -> tuple[Floats, Floats]:
    """The neighbours by their distance from the one before a place; their weights as polynomials
    of what the place is beyond it: a row for each power."""
    if manner.mode == "linear":
        return _floats([0, 1]), _floats([[1, 0], [-1, 1]])
    a = manner.cubic_a
    powers: list[list[float]] = [
        [0, 1, 0, 0],
        [a, 0, -a, 0],
        [-2 * a, -(a + 3), 2 * a + 3, a],
        [a, a + 2, -(a + 2), -a],
    ]
    return _floats([-1, 0, 1, 2]), _floats(powers)


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, np.float32)
