"""Round half to even, also where the target or the operator set has no Round."""

from __future__ import annotations

import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix.target import TensorFacts

_ROUND_SINCE = 11
_CLIP_BY_INPUTS_SINCE = 11


def has_round(scope: Scope, dtype: int = int(TensorProto.FLOAT)) -> bool:
    """Whether both the operator set and the target have Round."""
    like = TensorFacts("x", dtype)
    return scope.opset >= _ROUND_SINCE and scope.accepts("Round", [like], outputs=[like])


def by_floor(e: Emitter, x: gs.Tensor, dtype: int = int(TensorProto.FLOAT)) -> gs.Tensor:
    """The nearest integers of finite numbers, halves to the even one, by Floor and Ceil.

    ``x - Floor(x)`` is exact but for numbers that are too small to be rounded to anything but 0.
    It is rounded up from one half on, and from above one half on; both differ at a half alone,
    where an odd floor goes up.
    """
    half, two = e.const(0.5, dtype), e.const(2.0, dtype)
    floor = e("Floor", x)
    above = e("Sub", x, floor)
    late = e("Ceil", e("Sub", above, half))
    early = e("Floor", e("Add", above, half))
    tie = e("Sub", early, late)
    odd = e("Sub", floor, e("Mul", e("Floor", e("Mul", floor, half)), two))
    return e("Add", floor, e("Add", late, e("Mul", tie, odd)))


def clip(e: Emitter, x: gs.Tensor, low: float, high: float) -> gs.Tensor:
    """FP32 numbers between constant bounds."""
    if e.opset >= _CLIP_BY_INPUTS_SINCE:
        return e("Clip", x, e.const(float(low)), e.const(float(high)))
    return e("Clip", x, min=float(low), max=float(high))


def rounded(e: Emitter, x: gs.Tensor, low: int, high: int) -> gs.Tensor:
    """FP32 numbers rounded half to even and held between two integers."""
    if has_round(e.scope):
        return clip(e, e("Round", x), low, high)
    return clip(e, by_floor(e, clip(e, x, low, high)), low, high)
