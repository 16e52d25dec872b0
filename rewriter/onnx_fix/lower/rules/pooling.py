"""Pooling: dilations, sizes rounded up, and 8-bit integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import NodeProto, TensorProto

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._steps import integer, keep
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
    types_fit(low)
    return _rounded_down(low)


def _average_pool_19(low: LowNode) -> list[NodeProto]:
    types_fit(low)
    _no_dilations(low)
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
