"""The pass ``replace-roi-align``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.lower.node import since
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix.target import Dim

_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_FLOATS = (*_HALVES, TensorProto.FLOAT, TensorProto.DOUBLE)
_SHIFTS_SINCE = 16
"""The operator set that brought coordinate_transformation_mode; before, boxes were not shifted."""


@dataclass(frozen=True)
class ReplaceRoiAlign(Pass):
    """Write RoiAlign as Gathers of the pixels around each sample.

    Before:
        y = RoiAlign <sampling_ratio = 2> (x, rois, batch_indices)
    After:
        table = Flatten <axis = 3> (Transpose <perm = [0, 2, 3, 1]> (x));
        at = start + bin * number of the sample, held inside the image; low = Floor (at);
        r00 ... r11: rows of the table numbered by low and low + 1; w00 ... w11: their weights, 0
        where the sample is more than a pixel outside;
        sum = Gather (table, r00) * w00 + ... + Gather (table, r11) * w11;
        y = ReduceMean (sum) over the samples of a bin
    Exact:
        Rounding only. Mode max is the maximum over the samples of the largest of the four weighted
        pixels, as onnxruntime and the reference implementation of ONNX have it. Half precision is
        computed in float32. Images, boxes and the batch may be of dynamic size. Left alone: a
        sampling_ratio of 0, with which the number of samples goes by the size of each box; unknown
        element types.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends(kind, "RoiAlign", "sampling_ratio is stated")
        for kind in ("needs_plugin", "no_importer")
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("RoiAlign"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    if has_unresolved(node, *node.attrs):
        return Skip(node, "an attribute is a parameter of the enclosing function; inline it first")
    samples = attribute(node, "sampling_ratio", int, 0) or 0
    if samples < 1:
        return Skip(
            node,
            "with sampling_ratio 0 the number of samples goes by the size of each box: export it "
            "with a fixed one, such as 2",
        )
    dtype = scope.dtype(node.inputs[0])
    if dtype is None:
        return Skip(node, "the element type of its input is not known")
    if dtype not in _FLOATS:
        return Skip(node, f"{TensorProto.DataType.Name(dtype)} is not sampled: cast it to FLOAT")
    mode = attribute(node, "mode", str, "avg") or "avg"
    if mode not in ("avg", "max"):
        return Skip(node, f"ONNX has no mode {mode} of RoiAlign")
    shape = scope.shape(node.inputs[0]) or (None,) * 4
    if len(shape) != 4:
        return Skip(node, "RoiAlign is of images, which have rank 4")
    return _Writer(scope, node, shape, dtype, samples).write(mode)


class _Writer:
    """Writes one node."""

    def __init__(
        self, scope: Scope, node: gs.Node, shape: tuple[Dim, ...], dtype: int, samples: int
    ) -> None:
        self._e = Emitter(scope)
        self._node = node
        self._shape = shape
        self._dtype = dtype
        self._work = int(TensorProto.FLOAT) if dtype in _HALVES else dtype
        self._samples = samples
        self._sizes: dict[int, gs.Tensor] = {}
        sizes = [attribute(node, f"output_{n}", int, 1) or 1 for n in ("height", "width")]
        self._bins = sizes
        self._scale = attribute(node, "spatial_scale", float, 1.0)
        shifts = (since("RoiAlign", scope.opset) or 0) >= _SHIFTS_SINCE
        default = "half_pixel" if shifts else "output_half_pixel"
        self._shifted = (
            attribute(node, "coordinate_transformation_mode", str, default) == "half_pixel"
        )

    def write(self, mode: str) -> Rewrite:
        e, samples = self._e, self._samples
        x = self._wide(self._node.inputs[0])
        table = e("Flatten", e.transpose(x, [0, 2, 3, 1]), axis=3)
        rows, heights = self._taps(0)
        columns, widths = self._taps(1)
        batch = self._first_rows()
        size = self._size(3)
        columns, widths = ([e.unsqueeze(t, [1]) for t in ts] for ts in (columns, widths))
        pixels: list[gs.Tensor] = []
        for row, height in zip(rows, heights, strict=True):
            above = row if batch is None else e("Add", row, batch)
            line = e.unsqueeze(e("Mul", above, size), [2])
            tall = e.unsqueeze(height, [2])
            for column, weight in zip(columns, widths, strict=True):
                index = e("Add", line, column)
                both = e("Mul", tall, weight)
                found = e("Gather", table, index, axis=0)
                pixels.append(e("Mul", found, e.unsqueeze(both, [3])))
        joined = "Add" if mode == "avg" else "Max"
        result = pixels[0]
        for more in pixels[1:]:
            result = e(joined, result, more)
        if samples > 1:
            channels = self._shape[1] if isinstance(self._shape[1], int) else -1
            apart = [0, self._bins[0], samples, self._bins[1], samples, channels]
            over = "ReduceMean" if mode == "avg" else "ReduceMax"
            result = e.reduce(over, e.reshape(result, apart), [2, 4])
        result = e.transpose(result, [0, 3, 1, 2])
        if self._work != self._dtype:
            result = e.cast(result, self._dtype)
        return e.rewrite(self._node, result, exactness=Exactness.ROUNDING)

    def _wide(self, x: gs.Tensor) -> gs.Tensor:
        return x if self._work == self._dtype else self._e.cast(x, self._work)

    def _size(self, axis: int) -> gs.Tensor:
        """A size of the images: int64 of shape (1,)."""
        if axis not in self._sizes:
            self._sizes[axis] = self._e.dim(self._node.inputs[0], axis)
        return self._sizes[axis]

    def _number(self, value: float) -> gs.Tensor:
        return self._e.const(value, self._work)

    def _taps(self, k: int) -> tuple[list[gs.Tensor], list[gs.Tensor]]:
        """The two pixels around every sample along an axis, and their weights: (boxes, samples)."""
        e, size = self._e, self._shape[2 + k]
        if isinstance(size, int):
            end, last = self._number(size), self._number(size - 1)
        else:
            end = e.cast(self._size(2 + k), self._work)
            last = e("Sub", end, self._number(1))
        place = self._places(k)
        outside = e("Or", e("Less", place, self._number(-1)), e("Greater", place, end))
        inside = e.cast(e("Not", outside), self._work)
        held = e("Min", e("Max", place, self._number(0)), last)
        low = e("Floor", held)
        part = e("Sub", held, low)
        high = e("Min", e("Add", low, self._number(1)), last)
        near = e("Mul", e("Sub", self._number(1), part), inside)
        far = e("Mul", part, inside)
        return [e.cast(t, TensorProto.INT64) for t in (low, high)], [near, far]

    def _places(self, k: int) -> gs.Tensor:
        """Where the samples are along an axis, in pixels: (boxes, bins * samples)."""
        e, bins, samples = self._e, self._bins[k], self._samples
        rois = self._wide(self._node.inputs[1])
        start, stop = (self._edge(rois, column) for column in (1 - k, 3 - k))
        size = e("Sub", stop, start)
        if not self._shifted:
            size = e("Max", size, self._number(1))
        each = e("Div", size, self._number(bins)) if bins > 1 else size
        numbers = np.repeat(np.arange(bins), samples).reshape(1, -1)
        within = np.tile(np.arange(samples) + 0.5, bins).reshape(1, -1)
        first = e("Add", start, e("Mul", each, e.const(numbers, self._work)))
        step = e("Mul", each, e.const(within, self._work))
        step = e("Div", step, self._number(samples)) if samples > 1 else step
        return e("Add", first, step)

    def _edge(self, rois: gs.Tensor, column: int) -> gs.Tensor:
        """One coordinate of the boxes, in pixels of the image: (boxes, 1)."""
        e = self._e
        edge: gs.Tensor = e("Gather", rois, e.ints([column]), axis=1)
        if self._scale != 1:
            edge = e("Mul", edge, self._number(self._scale or 0.0))
        return e("Sub", edge, self._number(0.5)) if self._shifted else edge

    def _first_rows(self) -> gs.Tensor | None:
        """The number of the first row of pixels of the image of each box: (boxes, 1)."""
        if self._shape[0] == 1:
            return None
        e = self._e
        images = e.cast(self._node.inputs[2], TensorProto.INT64)
        return e.unsqueeze(e("Mul", images, self._size(2)), [1])
