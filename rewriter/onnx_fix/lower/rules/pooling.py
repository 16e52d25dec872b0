"""Pooling: dilations, sizes rounded up, and 8-bit integers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto, helper

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._steps import dims_of, integer, keep, known_dtype
from onnx_fix.lower.rules._types import types_fit, unknown_types_fit
from onnx_fix.lower.rules.axes import cast_back
from onnx_fix.lower.rules.split_slice import dim


def _ints(low: LowNode, name: str, default: Sequence[int]) -> list[int]:
    value = low.attr(name)
    return [int(v) for v in value] if isinstance(value, list | tuple) else list(default)


def _no_dilations(low: LowNode) -> None:
    if any(d != 1 for d in _ints(low, "dilations", ())):
        raise Refused(f"{low.op} has no dilations before opset {low.opset}")


@dataclass(frozen=True)
class _Window:
    """Windows and explicit padding: ``kernel`` counts dilations in, ``pads`` are begins, ends."""

    kernel: list[int]
    strides: list[int]
    pads: list[int]

    def can_pass(self, axis: int) -> bool:
        """Whether the last window of ``ceil_mode`` can start behind the data for some size."""
        end = self.pads[len(self.kernel) + axis]
        return end + self.strides[axis] > self.kernel[axis]


def _window(low: LowNode) -> _Window | None:
    """The windows of a node that rounds up; None where it does not.

    The sizes that SAME_UPPER and SAME_LOWER give do not depend on ``ceil_mode``.
    """
    automatic = low.attr("auto_pad", "NOTSET")
    if not integer(low, "ceil_mode", 0) or automatic in ("SAME_UPPER", "SAME_LOWER"):
        return None
    kernel = _ints(low, "kernel_shape", ())
    count = len(kernel)
    dilations = _ints(low, "dilations", [1] * count)
    pads = _ints(low, "pads", [0] * (2 * count)) if automatic == "NOTSET" else [0] * (2 * count)
    return _Window(
        [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)],
        _ints(low, "strides", [1] * count),
        pads,
    )


def _more_padding(low: LowNode, axis: int, window: _Window) -> int:
    """How much more padding at the end gives the windows of ``ceil_mode`` rounded down.

    ceil(n / s) = floor((n + s - 1) / s), so s - 1 more. A window that starts behind the data and
    the padding before it is not counted; where there can be one the size of the axis decides.
    """
    if not window.can_pass(axis):
        return window.strides[axis] - 1
    whole, _, windows = _count(low, axis, window)
    return max((windows - 1) * window.strides[axis] + window.kernel[axis] - whole, 0)


def _count(low: LowNode, axis: int, window: _Window) -> tuple[int, bool, int]:
    """The padded size, whether a window is not counted, and how many are."""
    size = dim(low, 0, axis + 2)
    if size is None:
        raise Refused(
            f"a window of axis {axis + 2} may start in the padding with ceil_mode, and the size of "
            "the axis is not known"
        )
    stride, begin = window.strides[axis], window.pads[axis]
    whole = size + begin + window.pads[len(window.kernel) + axis]
    rounded_up = -(-(whole - window.kernel[axis]) // stride) + 1
    passes = (rounded_up - 1) * stride >= size + begin
    return whole, passes, rounded_up - 1 if passes else rounded_up


def _padded(low: LowNode, window: _Window, drop: Sequence[str]) -> list[NodeProto]:
    """The node rounding down, with more padding instead.

    The average with ``count_include_pad`` counts the padding that was asked for, and not the one
    that rounds up: it is written out by Pad.
    """
    count = len(window.kernel)
    pads = window.pads
    more = [_more_padding(low, axis, window) for axis in range(count)]
    dropped = [*drop, "ceil_mode", "auto_pad", "count_include_pad"]
    if low.op != "AveragePool" or not integer(low, "count_include_pad", 0) or not any(pads):
        longer = [*pads[:count], *(pads[count + i] + more[i] for i in range(count))]
        return low.result(low.copy(drop=dropped, pads=longer))
    whole = [0, 0, *pads[:count], 0, 0, *pads[count:]]
    if low.opset - 1 < 11:
        data = low.add("Pad", low.input(0), pads=whole)
    else:
        data = low.add("Pad", low.input(0), low.const(whole, TensorProto.INT64))
    return low.result(low.copy(inputs=[data], drop=dropped, pads=[0] * count + more))


def _rounded_down(low: LowNode) -> list[NodeProto]:
    """``ceil_mode`` and ``dilations`` did not exist."""
    types_fit(low)
    _no_dilations(low)
    window = _window(low)
    if window is None:
        return low.result(low.copy(drop=["dilations", "ceil_mode"]))
    return _padded(low, window, ["dilations"])


@dataclass(frozen=True)
class _Sum:
    """Sums over dilated windows by a Conv with a kernel of ones, and how it is to pad."""

    low: LowNode
    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[int]
    more: list[int]
    """The padding at the end that ``ceil_mode`` adds, by axis."""

    def conv(self, data: str, channels: int, dtype: int, padded: bool = False) -> str:
        """The sums for each of some channels; with ``padded`` the data has the explicit pads."""
        kind = helper.tensor_dtype_to_np_dtype(dtype)
        ones = self.low.const(np.ones((channels, 1, *self.kernel), kind))
        count = len(self.kernel)
        begins, ends = self.pads[:count], self.pads[count:]
        if padded:
            begins, ends = [0] * count, [0] * count
        return self.low.add(
            "Conv",
            data,
            ones,
            kernel_shape=self.kernel,
            strides=self.strides,
            dilations=self.dilations,
            group=channels,
            pads=[*begins, *(e + m for e, m in zip(ends, self.more, strict=True))],
        )

    def of(self, data: str, dtype: int) -> str:
        """The sums for all channels; where their number is not known each is a batch entry."""
        low, channels = self.low, dim(self.low, 0, 1)
        if channels is not None and channels > 0:
            return self.conv(data, channels, dtype)
        axes = range(2, 2 + len(self.kernel))
        one = low.const([1], TensorProto.INT64)
        both = low.add("Mul", dims_of(low, data, [0]), dims_of(low, data, [1]))
        apart = low.add("Concat", both, one, dims_of(low, data, axes), axis=0)
        sums = self.conv(low.add("Reshape", data, apart), 1, dtype)
        together = low.add("Concat", dims_of(low, data, [0, 1]), dims_of(low, sums, axes), axis=0)
        return low.add("Reshape", sums, together)

    def counts(self, include: bool, dtype: int) -> str:
        """How many elements each window has: of shape (), or (1, 1, ...) as the windows."""
        low, count = self.low, len(self.kernel)
        if not any(self.more) and (include or not any(self.pads)):
            return low.const(math.prod(self.kernel), dtype)
        sizes = dims_of(low, low.input(0), range(2, 2 + count))
        if include:
            added = [self.pads[i] + self.pads[count + i] for i in range(count)]
            sizes = low.add("Add", sizes, low.const(added, TensorProto.INT64))
        shape = low.add("Concat", low.const([1, 1], TensorProto.INT64), sizes, axis=0)
        one = helper.make_tensor("value", dtype, [1], [1.0])
        ones = low.add("ConstantOfShape", shape, value=one)
        return self.conv(ones, 1, dtype, padded=include)


def _sum(low: LowNode) -> _Sum:
    kernel = _ints(low, "kernel_shape", ())
    count = len(kernel)
    window = _window(low)
    more = [0] * count
    if window is not None:
        more = [_more_padding(low, axis, window) for axis in range(count)]
    return _Sum(
        low,
        kernel,
        _ints(low, "strides", [1] * count),
        _ints(low, "dilations", [1] * count),
        _explicit(low, count),
        more,
    )


@dataclass(frozen=True)
class Windows:
    """Windows whose padding is explicit; that of ``ceil_mode`` is part of ``ends``."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begins: list[int]
    ends: list[int]


def windows_of(low: LowNode) -> Windows:
    """The windows of a pool.

    Raises:
        Refused: its padding is not known, or runtimes do not agree on it.
    """
    found = _sum(low)
    count = len(found.kernel)
    ends = [e + m for e, m in zip(found.pads[count:], found.more, strict=True)]
    return Windows(found.kernel, found.strides, found.dilations, found.pads[:count], ends)


def _explicit(low: LowNode, count: int) -> list[int]:
    """The padding.

    Raises:
        Refused: the node pads by itself: the text counts dilations in, and runtimes leave them out.
    """
    automatic = low.attr("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER") and not _dilated(low):
        return _same_pads(low, count, upper=automatic == "SAME_UPPER")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        raise Refused(
            f"runtimes do not agree on what {low.op} with dilations pads with {automatic}; state "
            "the pads"
        )
    return _ints(low, "pads", [0] * (2 * count)) if automatic == "NOTSET" else [0] * (2 * count)


def _same_pads(low: LowNode, count: int, *, upper: bool) -> list[int]:
    """The padding with which as many windows fit as steps; an odd one more at the end, or at the
    beginning.

    Raises:
        Refused: it depends on a size that is not known.
    """
    strides = _ints(low, "strides", [1] * count)
    begins, ends = [], []
    for axis, kernel in enumerate(_ints(low, "kernel_shape", ())):
        size, stride = dim(low, 0, axis + 2), strides[axis]
        if size is None and stride != 1:
            raise Refused(
                f"the padding of axis {axis + 2} depends on its size, which is not known; state "
                "the pads"
            )
        over = kernel - stride if size is None or size % stride == 0 else kernel - size % stride
        less, more = max(over, 0) // 2, (max(over, 0) + 1) // 2
        begins.append(less if upper else more)
        ends.append(more if upper else less)
    return [*begins, *ends]


def _in_float(low: LowNode) -> tuple[str, int]:
    """The data in a type in which sums do not overflow, and that type."""
    dtype = known_dtype(low, 0)
    if dtype != TensorProto.FLOAT16:
        return low.input(0), dtype
    return low.add("Cast", low.input(0), to=TensorProto.FLOAT), TensorProto.FLOAT


def _out(low: LowNode, name: str, dtype: int) -> list[NodeProto]:
    low.rounds = True
    wanted = known_dtype(low, 0)
    return low.result(name if dtype == wanted else cast_back(low, name, wanted))


def _dilated(low: LowNode) -> bool:
    return any(d != 1 for d in _ints(low, "dilations", ()))


def window_average(low: LowNode) -> list[NodeProto]:
    """AveragePool as the sums of a Conv over how many elements each window has."""
    data, dtype = _in_float(low)
    sums = _sum(low)
    counts = sums.counts(bool(integer(low, "count_include_pad", 0)), dtype)
    return _out(low, low.add("Div", sums.of(data, dtype), counts), dtype)


def window_norm(low: LowNode) -> list[NodeProto]:
    """(sum |x|^p)^(1/p): the padding adds nothing."""
    data, dtype = _in_float(low)
    p = integer(low, "p", 2)
    data = low.add("Mul", data, data) if p == 2 else low.add("Abs", data)
    if p > 2:
        data = low.add("Pow", data, low.const(p, dtype))
    total = _sum(low).of(data, dtype)
    if p == 2:
        total = low.add("Sqrt", total)
    elif p > 2:
        total = low.add("Pow", total, low.const(1 / p, dtype))
    return _out(low, total, dtype)


def _windows_in_padding(low: LowNode) -> list[NodeProto]:
    """MaxPool 22 and AveragePool 22 do not count a window that starts behind the data."""
    window = _window(low)
    passing = window is not None and any(
        window.can_pass(axis) and _count(low, axis, window)[1] for axis in range(len(window.kernel))
    )
    if window is None or not passing:
        unknown_types_fit(low)
        return keep(low, widen=True)
    types_fit(low)
    return _padded(low, window, [])


def _lp_pool_18(low: LowNode) -> list[NodeProto]:
    """``ceil_mode`` and ``dilations`` did not exist; dilated windows are summed by a Conv."""
    types_fit(low)
    return window_norm(low) if _dilated(low) else _rounded_down(low)


def _average_pool_19(low: LowNode) -> list[NodeProto]:
    """``dilations`` did not exist: a Conv sums dilated windows, and the sums are divided by how
    many elements each has."""
    types_fit(low)
    if _dilated(low):
        return window_average(low)
    return low.result(low.copy(drop=["dilations"]))


def _max_pool_12(low: LowNode) -> list[NodeProto]:
    """MaxPool 12 took in 8-bit integers: float32 holds and orders them."""
    dtype = low.dtype(0)
    if dtype not in (TensorProto.INT8, TensorProto.UINT8):
        types_fit(low)
        return low.result(low.copy())
    data = low.add("Cast", low.input(0), to=TensorProto.FLOAT)
    pooled = low.fresh(f"{low.proto.output[0]}/float")
    low.made.append(low.copy(inputs=[data], outputs=[pooled, *low.proto.output[1:]]))
    return low.result(cast_back(low, pooled, dtype))


RULES: dict[tuple[str, int], Rule] = {
    ("MaxPool", 22): _windows_in_padding,
    ("AveragePool", 22): _windows_in_padding,
    ("MaxPool", 12): _max_pool_12,
    ("MaxPool", 10): _rounded_down,
    ("AveragePool", 19): _average_pool_19,
    ("AveragePool", 10): _rounded_down,
    ("LpPool", 18): _lp_pool_18,
}
