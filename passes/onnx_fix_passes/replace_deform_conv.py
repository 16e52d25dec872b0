"""The pass ``replace-deform-conv``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto, helper

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix.target import Dim

_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_FLOATS = (*_HALVES, TensorProto.FLOAT, TensorProto.DOUBLE)


@dataclass(frozen=True)
class ReplaceDeformConv(Pass):
    """Write DeformConv as GridSample and a product with the weights.

    Before:
        y = DeformConv (x, w, offset, b, mask)
    After:
        grid = (offset + place of each tap), as GridSample counts places, for all taps at once;
        taps = Mul (GridSample (x, grid), mask);
        y = Add (Reshape (MatMul (Reshape (w), Reshape (taps))), b)
    Exact:
        Rounding only: places are scaled to the range of GridSample and back, and products are
        summed in another order. Half precision goes through float32. Groups of offsets become
        part of the batch; batch and spatial sizes may be dynamic. Where the target lacks
        GridSample, the pass that replaces it goes on from here. Left alone: weights of unknown
        shape; unknown element types.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "DeformConv", "the shape of the weights is known"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("DeformConv"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


@dataclass(frozen=True, slots=True)
class _Axis:
    """One of the two spatial axes."""

    axis: int
    size: Dim
    count: Dim
    taps: int
    stride: int
    dilation: int
    begin: int


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    if has_unresolved(node, *node.attrs):
        return Skip(node, "an attribute is a parameter of the enclosing function; inline it first")
    x, w, offset = node.inputs[:3]
    dtype, weights = scope.dtype(x), scope.shape(w)
    if dtype is None:
        return Skip(node, "the element type of its input is not known")
    if dtype not in _FLOATS:
        return Skip(node, f"{TensorProto.DataType.Name(dtype)} is not sampled: cast it to FLOAT")
    sizes = [d for d in weights or () if isinstance(d, int)]
    if weights is None or len(sizes) < len(weights):
        return Skip(node, f"the shape of its weights '{w.name}' is not known; state it")
    if len(sizes) != 4:
        return Skip(node, "ONNX's DeformConv is of images alone, whose weights have rank 4")
    return _Writer(scope, node, sizes, dtype).write(offset)


class _Writer:
    """Writes one node."""

    def __init__(self, scope: Scope, node: gs.Node, weights: list[int], dtype: int) -> None:
        self._e = Emitter(scope)
        self._node = node
        self._dtype = dtype
        self._places: dict[int, gs.Tensor] = {}
        self._work = int(TensorProto.FLOAT) if dtype in _HALVES else dtype
        self._maps, self._channels, *kernel = weights
        self._taps = kernel[0] * kernel[1]
        self._group = attribute(node, "group", int, 1) or 1
        self._parts = attribute(node, "offset_group", int, 1) or 1
        data = scope.shape(node.inputs[0]) or (None,) * 4
        places = scope.shape(node.inputs[2]) or (None,) * 4
        strides = attribute(node, "strides", list) or [1, 1]
        dilations = attribute(node, "dilations", list) or [1, 1]
        pads = attribute(node, "pads", list) or [0] * 4
        self._axes = [
            _Axis(2 + k, data[2 + k], places[2 + k], kernel[k], strides[k], dilations[k], pads[k])
            for k in range(2)
        ]

    def write(self, offset: gs.Tensor) -> Rewrite:
        e, node = self._e, self._node
        x, w = (self._wide(t) for t in node.inputs[:2])
        bias = node.inputs[3] if len(node.inputs) > 3 and node.inputs[3].name else None
        mask = node.inputs[4] if len(node.inputs) > 4 and node.inputs[4].name else None
        if self._parts > 1:
            each = self._channels * self._group // self._parts
            # A 0 copies a size at its own place.
            x = e.reshape(x, [-1, each, 0, 0])
        sampled: gs.Tensor = e("GridSample", x, self._grid(offset))
        if mask is not None:
            sampled = e("Mul", sampled, e.unsqueeze(self._lined(mask, self._taps), [1]))
        depth = self._channels * self._taps
        columns = e.reshape(sampled, [-1, self._group, depth, 0])
        each = self._maps // self._group
        product = e("MatMul", e.reshape(w, [1, self._group, each, depth]), columns)
        result: gs.Tensor = e.reshape(product, self._shape())
        if bias is not None:
            result = e("Add", result, e.unsqueeze(self._wide(bias), [0, 2, 3]))
        if self._work != self._dtype:
            result = e.cast(result, self._dtype)
        return e.rewrite(node, result, exactness=Exactness.ROUNDING)

    def _place(self, axis: int) -> gs.Tensor:
        """A size of the result: int64 of shape (1,)."""
        if axis not in self._places:
            self._places[axis] = self._e.dim(self._node.inputs[2], axis)
        return self._places[axis]

    def _wide(self, x: gs.Tensor) -> gs.Tensor:
        return x if self._work == self._dtype else self._e.cast(x, self._work)

    def _lined(self, x: gs.Tensor, rows: int) -> gs.Tensor:
        """Offsets or masks as (batch * groups of offsets, rows, places)."""
        e = self._e
        wide = self._wide(x)
        apart = wide if self._parts == 1 else e.reshape(wide, [-1, rows, 0, 0])
        return e.reshape(apart, [0, 0, -1])

    def _grid(self, offset: gs.Tensor) -> gs.Tensor:
        """The places as GridSample counts them: (batch * groups, taps, places, 2), x first."""
        e = self._e
        lined = self._lined(offset, 2 * self._taps)
        columns = []
        for k in (1, 0):
            rows = np.arange(k == 1, 2 * self._taps, 2, dtype=np.int64)
            columns.append(e.unsqueeze(self._scaled(e("Gather", lined, rows, axis=1), k), [3]))
        return e.concat(columns, 3)

    def _scaled(self, moved: gs.Tensor, k: int) -> gs.Tensor:
        """``(2 * (moved + base) + 1) / size - 1`` along an axis."""
        e, axis, work = self._e, self._axes[k], self._work
        base = self._base(k)
        if isinstance(axis.size, int) and isinstance(base, np.ndarray):
            scaled = e("Mul", moved, e.const(2 / axis.size, work))
            return e("Add", scaled, e.const((2 * base + 1) / axis.size - 1, work))
        size = e.cast(e.dim(self._node.inputs[0], axis.axis), work)
        at = e("Add", moved, e.const(base, work) if isinstance(base, np.ndarray) else base)
        twice = e("Add", e("Mul", at, e.const(2, work)), e.const(1, work))
        return e("Sub", e("Div", twice, size), e.const(1, work))

    def _base(self, k: int) -> NDArray[np.float64] | gs.Tensor:
        """Where each tap is without its offset, along an axis: (taps, places)."""
        e, axis = self._e, self._axes[k]
        numbers = np.arange(axis.taps) * axis.dilation - axis.begin
        others = self._axes[1 - k].taps
        taps = np.repeat(numbers, others) if k == 0 else np.tile(numbers, others)
        counts = [a.count for a in self._axes if isinstance(a.count, int)]
        if len(counts) == 2:
            places = np.indices(counts)[k].reshape(-1) * axis.stride
            return np.asarray(taps[:, None] + places, dtype=np.float64)
        lengths = [self._place(a.axis) for a in self._axes]
        steps: gs.Tensor = e("Range", e.const(0), e.squeeze(lengths[k], [0]), e.const(1))
        steps = e.unsqueeze(e("Mul", steps, e.const(axis.stride)), [1 - k])
        whole = e("Expand", steps, e.concat(lengths, 0))
        line = e.cast(e.reshape(whole, [-1]), self._work)
        kind = helper.tensor_dtype_to_np_dtype(self._work)
        return e("Add", line, e.const(taps[:, None].astype(kind)))

    def _shape(self) -> gs.Tensor | list[int]:
        """The sizes of the result."""
        e, counts = self._e, [a.count for a in self._axes]
        known = [c for c in counts if isinstance(c, int)]
        if len(known) == 2:
            return [0, self._maps, *known]
        lengths = [self._place(a.axis) for a in self._axes]
        return e.concat([self._place(0), e.ints([self._maps]), *lengths], 0)
