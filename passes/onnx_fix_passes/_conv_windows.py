"""The windows of a convolution, by one Gather along every spatial axis.

Along an axis, tap k of the window of output o reads element ``o * stride + k * dilation`` of the
padded data. A transposed convolution reads, for output o and tap k, the element that a tap of its
window is added to o from: ``(o + begin - k * dilation) / stride`` where that is whole and inside,
and otherwise a zero that is put behind the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.contract import Skip
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix.target import Dim

_RANGE_SINCE = 11
_ATTRIBUTES = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_MORE = ("output_padding", "output_shape")


@dataclass(frozen=True, slots=True)
class Axis:
    """What a convolution does along one spatial axis; ``size`` is that of the data.

    ``count`` is the size of the output, None where it is known at run time only.
    """

    size: int | None
    taps: int
    stride: int
    dilation: int
    begin: int
    end: int
    count: int | None

    @property
    def reach(self) -> int:
        """The extent of a window."""
        return (self.taps - 1) * self.dilation + 1

    @property
    def is_whole(self) -> bool:
        """Whether every output reads the one element at its own place."""
        return self.taps == self.stride == 1 and self.begin == self.end == 0


@dataclass(frozen=True, slots=True)
class Site:
    """One convolution: ``maps`` and ``channels`` are those of a group, on its far and near side."""

    node: gs.Node
    axes: tuple[Axis, ...]
    group: int
    channels: int
    maps: int

    @property
    def taps(self) -> int:
        """The number of elements of a window, of one channel."""
        return math.prod(a.taps for a in self.axes)


def site_of(scope: Scope, node: gs.Node, *, transposed: bool) -> Site | Skip:
    """What a Conv or ConvTranspose does, or why it cannot be told."""
    if has_unresolved(node, *_ATTRIBUTES, *_MORE):
        return Skip(node, "an attribute is a parameter of the enclosing function; inline it first")
    x, w = node.inputs[:2]
    weights, data = scope.shape(w), scope.shape(x)
    kernel = attribute(node, "kernel_shape", list)
    if weights is None and kernel is None and data is None:
        return Skip(
            node, "the ranks of its inputs are not known: give the inputs of the model shapes"
        )
    rank = len(kernel) + 2 if kernel else len(weights if weights is not None else data or ())
    weights = weights if weights is not None else (None,) * rank
    data = data if data is not None else (None,) * rank
    if len(weights) != rank or len(data) != rank or not 3 <= rank <= 5:
        return Skip(node, "its data and weights have to be of one rank, 3 to 5")
    group = attribute(node, "group", int, 1) or 1
    sizes = [kernel[k] if kernel else weights[k + 2] for k in range(rank - 2)]
    known = [int(s) for s in sizes if isinstance(s, int)]
    if len(known) < len(sizes):
        return Skip(
            node, f"the size of its kernel '{w.name}' is not known; give the input its shape"
        )
    near, far = (weights[1], weights[0]) if not transposed else (weights[0], weights[1])
    if transposed:
        channels, maps = _known(near, data[1]), _known(far)
        channels = None if channels is None else channels // group
    else:
        channels, maps = _known(near), _known(far)
        given = _known(data[1])
        channels = given // group if channels is None and given is not None else channels
        maps = None if maps is None else maps // group
    if channels is None or maps is None:
        return Skip(node, f"the channels of its weights '{w.name}' are not known")
    axes: list[Axis] = []
    for k, taps in enumerate(known):
        axis = _axis(node, k, rank - 2, data[k + 2], taps, transposed=transposed)
        if isinstance(axis, str):
            return Skip(node, axis)
        if axis.count is None and not axis.is_whole and scope.opset < _RANGE_SINCE:
            return Skip(node, "sizes that are dynamic take Range, which is there since opset 11")
        axes.append(axis)
    return Site(node, tuple(axes), group, channels, maps)


def _known(*dims: Dim) -> int | None:
    return next((d for d in dims if isinstance(d, int)), None)


def _at(node: gs.Node, name: str, k: int, default: int) -> int:
    values = attribute(node, name, list)
    return int(values[k]) if values else default


def _axis(node: gs.Node, k: int, axes: int, dim: Dim, taps: int, *, transposed: bool) -> Axis | str:
    size = dim if isinstance(dim, int) else None
    stride, dilation = _at(node, "strides", k, 1), _at(node, "dilations", k, 1)
    pads = attribute(node, "pads", list) or []
    half = len(pads) // 2
    begin, end = (int(pads[k]), int(pads[k + half])) if pads else (0, 0)
    auto = attribute(node, "auto_pad", str, "NOTSET") or "NOTSET"
    reach = (taps - 1) * dilation + 1
    same = auto in ("SAME_UPPER", "SAME_LOWER")
    if auto == "VALID":
        begin = end = 0
    if transposed:
        return _transposed(node, k, axes, size, taps, stride, dilation, (begin, end), auto)
    if same:
        if stride > 1 and size is None:
            return f"pads of {auto} with strides go by sizes that are not known; fix them"
        total = (
            reach - 1 if size is None else max(0, (-(-size // stride) - 1) * stride + reach - size)
        )
        begin = total // 2 if auto == "SAME_UPPER" else total - total // 2
        end = total - begin
    count = None if size is None else (size + begin + end - reach) // stride + 1
    if count is not None and count < 1:
        return "its windows are larger than its data"
    return Axis(size, taps, stride, dilation, begin, end, count)


def _transposed(
    node: gs.Node,
    k: int,
    axes: int,
    size: int | None,
    taps: int,
    stride: int,
    dilation: int,
    pads: tuple[int, int],
    auto: str,
) -> Axis | str:
    begin, end = pads
    more = _at(node, "output_padding", k, 0)
    reach = (taps - 1) * dilation + 1
    stated = attribute(node, "output_shape", list) or []
    # Runtimes take one with the batch and the channels, too.
    wanted = int(stated[len(stated) - axes + k]) if len(stated) >= axes else -1
    if wanted >= 0 or auto.startswith("SAME"):
        if size is None:
            return "pads that go by the size of its output need data of known sizes; fix them"
        natural = (size - 1) * stride + more + reach
        if wanted < 0 and natural < size * stride:
            return f"runtimes differ in {auto} where windows are smaller than strides; state pads"
        wanted = wanted if wanted >= 0 else size * stride
        total = max(0, natural - wanted)
        begin = total // 2 if auto == "SAME_UPPER" else total - total // 2
        end = total - begin
        return Axis(size, taps, stride, dilation, begin, end, wanted)
    count = None if size is None else (size - 1) * stride + more + reach - begin - end
    if count is not None and count < 1:
        return "its output has no elements"
    return Axis(size, taps, stride, dilation, begin, end - more, count)


class Writer:
    """Writes one convolution."""

    def __init__(self, e: Emitter, site: Site, *, transposed: bool) -> None:
        self._e = e
        self._site = site
        self._transposed = transposed
        self._rank = len(site.axes) + 2
        self._counts: list[gs.Tensor | int] = []
        self._dims: dict[int, gs.Tensor] = {}

    def write(self) -> gs.Tensor:
        """The output of the node."""
        e, site = self._e, self._site
        x, w, *bias = site.node.inputs
        columns = self._columns(self._padded(x))
        weights = self._weights(w)
        product = e("MatMul", weights, columns)
        result = e.reshape(product, self._shape([site.group * site.maps, *self._counts]))
        if bias and bias[0].name:
            result = e("Add", result, add_axes(e, bias[0], len(site.axes)))
        return result

    def _weights(self, w: gs.Tensor) -> gs.Tensor:
        """The weights as (1, group, maps, channels * taps)."""
        e, site = self._e, self._site
        if not self._transposed:
            return e.reshape(w, [1, site.group, site.maps, site.channels * site.taps])
        apart = e.reshape(w, [site.group, site.channels, site.maps, site.taps])
        turned = e.transpose(apart, [0, 2, 1, 3])
        return e.reshape(turned, [1, site.group, site.maps, site.channels * site.taps])

    def _padded(self, x: gs.Tensor) -> gs.Tensor:
        """The data with zeros around them; for a transposed convolution one behind each axis."""
        sides = [(0, 1) if self._transposed else (a.begin, a.end) for a in self._site.axes]
        if self._transposed:
            sides = [
                (0, 0) if a.is_whole else s for a, s in zip(self._site.axes, sides, strict=True)
            ]
        if not any(any(s) for s in sides):
            return x
        pads = [0, 0, *(s[0] for s in sides), 0, 0, *(s[1] for s in sides)]
        if self._e.opset < _RANGE_SINCE:
            return self._e("Pad", x, pads=pads)
        return self._e("Pad", x, self._e.ints(pads))

    def _columns(self, x: gs.Tensor) -> gs.Tensor:
        """The windows as (batch, group, channels * taps, places)."""
        e, site = self._e, self._site
        lined = x
        for k, axis in enumerate(site.axes):
            at = 2 + 2 * k
            if axis.is_whole:
                lined = e.unsqueeze(lined, [at])
                self._counts.append(axis.size if axis.size is not None else self._dim(2 + k))
                continue
            index, count = self._index(axis, k)
            lined = e("Gather", lined, index, axis=at)
            self._counts.append(count)
        taps = range(2, 2 * self._rank - 2, 2)
        lined = e.transpose(lined, [0, 1, *taps, *(t + 1 for t in taps)])
        places = self._product()
        return e.reshape(lined, self._shape([site.group, site.channels * site.taps, places]))

    def _product(self) -> gs.Tensor | int:
        known = math.prod(c for c in self._counts if isinstance(c, int))
        result: gs.Tensor | int = known
        for count in self._counts:
            if not isinstance(count, int):
                result = (
                    count
                    if isinstance(result, int) and result == 1
                    else self._e("Mul", self._tensor(result), count)
                )
        return result

    def _tensor(self, value: gs.Tensor | int) -> gs.Tensor:
        return self._e.ints([value]) if isinstance(value, int) else value

    def _shape(self, sizes: Sequence[gs.Tensor | int]) -> gs.Tensor | list[int]:
        """Sizes behind the batch, which is that of the input."""
        known = [s for s in sizes if isinstance(s, int)]
        batch = (self._e.scope.shape(self._site.node.inputs[0]) or (None,))[0]
        first = batch if isinstance(batch, int) and batch > 0 else 0
        if len(known) == len(sizes) and all(known):
            return [first, *known]
        # A zero would copy a size of the input.
        return self._e.concat([self._dim(0), *map(self._tensor, sizes)], 0)

    def _dim(self, axis: int) -> gs.Tensor:
        """A size of the data: int64 of shape (1,)."""
        if axis not in self._dims:
            self._dims[axis] = self._e.dim(self._site.node.inputs[0], axis)
        return self._dims[axis]

    def _index(self, axis: Axis, k: int) -> tuple[NDArray[np.int64] | gs.Tensor, gs.Tensor | int]:
        """Which element each tap (row) of each window (column) reads, and the number of windows."""
        e = self._e
        if self._transposed:
            steps = axis.begin - axis.dilation * np.arange(axis.taps, dtype=np.int64)[:, None]
        else:
            steps = axis.dilation * np.arange(axis.taps, dtype=np.int64)[:, None]
        if axis.count is not None and axis.size is not None:
            places = np.arange(axis.count, dtype=np.int64)
            if not self._transposed:
                return steps + places * axis.stride, axis.count
            found = steps + places
            whole = (found % axis.stride == 0) & (found >= 0)
            inside = whole & (found // axis.stride < axis.size)
            return np.where(inside, found // axis.stride, axis.size), axis.count
        size = self._dim(2 + k)
        count = self._count(axis, size)
        zero, one = e.const(0), e.const(1)
        places_ = e("Range", zero, e.squeeze(count, [0]), one)
        if not self._transposed:
            if axis.stride > 1:
                places_ = e("Mul", places_, e.const(axis.stride))
            return e("Add", places_, e.const(steps)), count
        return self._sources(axis, e("Add", places_, e.const(steps)), size), count

    def _count(self, axis: Axis, size: gs.Tensor) -> gs.Tensor:
        """The size of the output along an axis of run-time size."""
        e = self._e
        if self._transposed:
            long = size if axis.stride == 1 else e("Mul", size, e.ints([axis.stride]))
            shift = axis.reach - axis.stride - axis.begin - axis.end
            return e("Add", long, e.ints([shift])) if shift else long
        shift = axis.begin + axis.end - axis.reach + axis.stride
        long = e("Add", size, e.ints([shift])) if shift else size
        return e("Div", long, e.ints([axis.stride])) if axis.stride > 1 else long

    def _sources(self, axis: Axis, found: gs.Tensor, size: gs.Tensor) -> gs.Tensor:
        """``found`` over the stride where that is whole and inside, else the size."""
        e = self._e
        place = found if axis.stride == 1 else e("Div", found, e.const(axis.stride))
        inside = e("Less", place, size)
        if axis.stride > 1:
            back = e("Mul", place, e.const(axis.stride))
            inside = e("And", inside, e("Equal", back, found))
        floored = e("Where", e("Less", place, e.const(0)), size, place)
        return e("Where", inside, floored, size)


def add_axes(e: Emitter, bias: gs.Tensor, count: int) -> gs.Tensor:
    """One value per channel, as it is added to a tensor with ``count`` axes behind the channels."""
    return e.unsqueeze(bias, [0, *range(2, 2 + count)])


def types_fit(scope: Scope, node: gs.Node) -> str:
    """Why the element types do not do; empty where they do."""
    dtype = scope.dtype(node.inputs[0])
    if dtype is None:
        return "the element type of its input is not known"
    if dtype not in _FLOATS:
        return f"{TensorProto.DataType.Name(dtype)} is not convolved here: cast it to FLOAT first"
    return ""


_FLOATS = frozenset(
    {
        int(TensorProto.BFLOAT16),
        int(TensorProto.DOUBLE),
        int(TensorProto.FLOAT),
        int(TensorProto.FLOAT16),
    }
)
