"""Arithmetic that took in integers (or floats) later: through a type or ops that compute the same.

Casts between integers keep the low bits, so sums, differences and products of 8 and 16 bit integers
that overflow are the same after int32.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._steps import dtype_name, keep, known_dtype, select
from onnx_fix.lower.rules._types import FLOATS, INTEGERS, SMALL_INTEGERS, takes, types_fit
from onnx_fix.lower.rules.axes import cast_back

_INT32 = TensorProto.INT32
_LARGEST_POWER = 64


def _through_int32(low: LowNode) -> list[NodeProto]:
    """Add, Sub, Mul and Div 14."""
    dtype = low.dtype(0) or low.dtype(1)
    if dtype not in SMALL_INTEGERS:
        types_fit(low)
        return low.result(low.copy())
    inputs = [low.add("Cast", name, to=_INT32) for name in low.proto.input]
    wide = low.fresh(f"{low.proto.output[0]}/int32")
    low.made.append(low.copy(inputs=inputs, outputs=[wide]))
    return low.result(cast_back(low, wide, dtype))


def _relu_14(low: LowNode) -> list[NodeProto]:
    """Of integers: the maximum with zero."""
    dtype = low.dtype(0)
    if dtype not in INTEGERS:
        types_fit(low)
        return low.result(low.copy())
    return low.result(low.copy(op="Max", inputs=[low.input(0), low.const(0, dtype)]))


def _extreme_12(low: LowNode) -> list[NodeProto]:
    """Max and Min of integers: compared and selected in turn."""
    dtype = low.dtype(0)
    if dtype not in INTEGERS:
        types_fit(low)
        return low.result(low.copy())
    comparison = "Greater" if low.op == "Max" else "Less"
    best, *others = low.proto.input
    for other in others:
        best = select(low, low.add(comparison, best, other), best, other, dtype)
    return low.result(best)


def _equal_11(low: LowNode) -> list[NodeProto]:
    """Floats are equal where none is less, none greater, and none NaN."""
    dtype = known_dtype(low, 0)
    if takes(low, dtype):
        return low.result(low.copy())
    a, b = low.input(0), low.input(1)
    wide = {TensorProto.UINT32: TensorProto.INT64, **dict.fromkeys(SMALL_INTEGERS, _INT32)}.get(
        dtype
    )
    if wide is not None:
        return low.result(low.copy(inputs=[low.add("Cast", x, to=wide) for x in (a, b)]))
    differ = low.add("Or", low.add("Less", a, b), low.add("Greater", a, b))
    if dtype in FLOATS:
        nan = low.add("Or", low.add("IsNaN", a), low.add("IsNaN", b))
        differ = low.add("Or", differ, nan)
    elif dtype != TensorProto.UINT64:
        types_fit(low)
    return low.result(low.copy(op="Not", inputs=[differ]))


def _pow_12(low: LowNode) -> list[NodeProto]:
    """Base and exponent had one float type.

    The exponent is written in the type of the base where that holds it, otherwise both are float64.
    An integer to a constant power is multiplied out. Other powers of int32 that int32 holds are
    exact in float64, too.
    """
    base, exponent = known_dtype(low, 0), known_dtype(low, 1)
    x, y = low.input(0), low.input(1)
    if base in FLOATS:
        if base == exponent:
            return low.result(low.copy())
        value = low.value(y)
        if value is not None:
            held = value.astype(helper.tensor_dtype_to_np_dtype(base))
            if (held.astype(np.float64) == value.astype(np.float64)).all():
                return low.result(low.copy(inputs=[x, low.const(held)]))
        if (
            base == TensorProto.DOUBLE
            or exponent in SMALL_INTEGERS - _LONG
            or _fits(base, exponent)
        ):
            return low.result(low.copy(inputs=[x, low.add("Cast", y, to=base)]))
        both = [low.add("Cast", name, to=TensorProto.DOUBLE) for name in (x, y)]
        wide = low.add("Pow", *both)
        return low.result(cast_back(low, wide, base))
    if base not in INTEGERS:
        types_fit(low)
    value = low.value(y)
    power = value.reshape(-1)[0] if value is not None and value.size == 1 else None
    fixed = power is not None and power == int(power) and 1 <= power <= _LARGEST_POWER
    within = value is None or all(0 <= v <= _LARGEST_POWER for v in value.reshape(-1).tolist())
    if not fixed and within and base == _INT32 and exponent in INTEGERS:
        both = [low.add("Cast", name, to=TensorProto.DOUBLE) for name in (x, y)]
        return low.result(cast_back(low, low.add("Pow", *both), base))
    if value is None or power is None or not fixed:
        raise Refused(
            f"Pow takes no {dtype_name(base)} before opset {low.opset}, and the exponent is no "
            f"constant from 1 to {_LARGEST_POWER}"
        )
    if value.ndim and value.ndim > (low.rank(0) or 0):
        raise Refused(f"the exponent of shape {value.shape} adds axes to the base")
    return low.result(_multiplied(low, x, int(power)))


_LONG = frozenset({TensorProto.INT16, TensorProto.UINT16})


def _fits(base: int, exponent: int) -> bool:
    return base == TensorProto.FLOAT and exponent in {*SMALL_INTEGERS, TensorProto.FLOAT16}


def _multiplied(low: LowNode, x: str, power: int) -> str:
    product = ""
    square = x
    while power:
        if power & 1:
            product = low.add("Mul", product, square) if product else square
        power >>= 1
        if power:
            square = low.add("Mul", square, square)
    return product


def _wide_float(low: LowNode) -> list[NodeProto]:
    return keep(low, widen=True)


RULES: dict[tuple[str, int], Rule] = {
    **{(op, 14): _through_int32 for op in ("Add", "Sub", "Mul", "Div")},
    ("Relu", 14): _relu_14,
    ("Max", 12): _extreme_12,
    ("Min", 12): _extreme_12,
    ("Equal", 11): _equal_11,
    ("Pow", 12): _pow_12,
    ("Pow", 15): _wide_float,
}
