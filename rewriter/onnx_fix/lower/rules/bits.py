"""Ops on the bits of integers, written as arithmetic. All of it is exact."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from onnx_fix.lower.node import LowNode, Rule
from onnx_fix.lower.rules._steps import keep, known_dtype, missing
from onnx_fix.lower.rules.arithmetic import UNSIGNED, ending

_BITS: dict[int, int] = {
    TensorProto.INT8: 8,
    TensorProto.INT16: 16,
    TensorProto.INT32: 32,
    TensorProto.INT64: 64,
    TensorProto.UINT8: 8,
    TensorProto.UINT16: 16,
    TensorProto.UINT32: 32,
    TensorProto.UINT64: 64,
}


def _amount(low: LowNode, dtype: int) -> tuple[str, str]:
    """By how much is shifted (0 where that is not below the width), and whether it is."""
    by = low.add("Cast", low.input(1), to=TensorProto.INT64)
    zero, most = low.const(0, TensorProto.INT64), low.const(_BITS[dtype] - 1, TensorProto.INT64)
    valid = low.add("Not", low.add("Or", low.add("Less", by, zero), low.add("Greater", by, most)))
    return low.add("Where", valid, by, zero), valid


def _inside(low: LowNode, dtype: int) -> bool:
    """Whether every shift is known to be below the width."""
    value = low.value(low.input(1))
    return value is not None and all(0 <= int(v) < _BITS[dtype] for v in value.reshape(-1))


def _bit_shift(low: LowNode) -> list[NodeProto]:
    """11 to 10: times or over a power of two, which is looked up.

    A shift by the width or more gives 0, as opset 28 says; before, it was not defined.
    """
    dtype = known_dtype(low, 0)
    by, valid = _amount(low, dtype)
    powers = low.const(np.array([1 << i for i in range(_BITS[dtype])], np.uint64))
    factor = low.add("Gather", powers, by, axis=0)
    wide = low.add("Cast", low.input(0), to=TensorProto.UINT64)
    if low.attr("direction") == "RIGHT":
        shifted = low.add("Div", wide, factor)
    else:
        shifted = low.add("Mul", wide, factor)
    if dtype != TensorProto.UINT64:
        span = low.const(np.array(1 << _BITS[dtype], np.uint64))
        over = low.add("Mul", low.add("Div", shifted, span), span)
        shifted = low.add("Sub", shifted, over)
    kept = low.add("Mul", shifted, low.add("Cast", valid, to=TensorProto.UINT64))
    return ending(low, "Cast", kept, to=dtype)


def _bitwise_not(low: LowNode) -> list[NodeProto]:
    """18 to 17: -1 - x for signed integers, the largest number - x for unsigned ones."""
    dtype = known_dtype(low, 0)
    most = (1 << _BITS[dtype]) - 1 if dtype in UNSIGNED else -1
    value = np.array(most, helper.tensor_dtype_to_np_dtype(dtype))
    return ending(low, "Sub", low.const(value), low.input(0))


def _shift_types(low: LowNode) -> list[NodeProto]:
    """28 to 11: signed integers were added, and shifts by the width or more were defined.

    To the left it is a product that wraps around. To the right it is the shift of the unsigned
    number of the same width, and for a negative one of its complement -1 - x, both ways. Numbers of
    8 and 16 bits go through int32.
    """
    dtype, right = known_dtype(low, 0), low.attr("direction") == "RIGHT"
    if dtype in UNSIGNED and _inside(low, dtype):
        return keep(low)
    x, (by, valid) = low.input(0), _amount(low, dtype)
    if dtype in (TensorProto.INT8, TensorProto.INT16):
        wide = low.add("Cast", x, to=TensorProto.INT32)
        shifted = _shift_signed(low, wide, by, valid, TensorProto.INT32, right)
        return ending(low, "Cast", shifted, to=dtype)
    if dtype in UNSIGNED:
        amount = low.add("Cast", by, to=dtype)
        shifted = low.add("BitShift", x, amount, direction="RIGHT" if right else "LEFT")
        return ending(low, "Mul", shifted, low.add("Cast", valid, to=dtype))
    return low.result(_shift_signed(low, x, by, valid, dtype, right))


def _shift_signed(low: LowNode, x: str, by: str, valid: str, dtype: int, right: bool) -> str:
    """A shift of int32 or int64."""
    zero = low.const(0, dtype)
    if not right:
        kind = helper.tensor_dtype_to_np_dtype(dtype)
        powers = np.array([1 << i for i in range(_BITS[dtype])], np.uint64).astype(kind)
        shifted = low.add("Mul", x, low.add("Gather", low.const(powers), by, axis=0))
        return low.add("Where", valid, shifted, zero)
    minus, negative = low.const(-1, dtype), low.add("Less", x, zero)
    unsigned = int(TensorProto.DataType.Value(f"UINT{_BITS[dtype]}"))
    above = low.add("Where", negative, low.add("Sub", minus, x), x)
    wide, amount = low.add("Cast", above, to=unsigned), low.add("Cast", by, to=unsigned)
    moved = low.add("Cast", low.add("BitShift", wide, amount, direction="RIGHT"), to=dtype)
    moved = low.add("Where", valid, moved, zero)
    return low.add("Where", negative, low.add("Sub", minus, moved), moved)


def _bitwise(low: LowNode) -> list[NodeProto]:
    """18 to 17: bit by bit along a new last axis, in two's complement, and summed up again.

    Bit i is the quotient by 2^i modulo 2; the highest bit of a signed number is its sign, and
    counts -2^(n-1).
    """
    dtype = known_dtype(low, 0)
    signed = dtype not in UNSIGNED
    work = int(TensorProto.INT64 if signed else TensorProto.UINT64)
    kind = helper.tensor_dtype_to_np_dtype(work)
    count = _BITS[dtype] - signed
    powers = low.const(np.array([1 << i for i in range(count)], kind))
    two = low.const(2, work)
    bits, signs = [], []
    for name in low.proto.input[:2]:
        x = name if dtype == work else low.add("Cast", name, to=work)
        if signed:
            less = low.add("Less", x, low.const(0, work))
            signs.append(low.add("Cast", less, to=work))
        column = low.add("Unsqueeze", x, low.const([-1], TensorProto.INT64))
        if signed:
            column = low.add("Sub", column, low.add("Mod", column, powers))
        bits.append(low.add("Mod", low.add("Div", column, powers), two))
    total = low.add("MatMul", _of_bits(low, bits, two), powers)
    if signed:
        most = low.const(np.array(-1 << count, kind))
        total = low.add("Add", total, low.add("Mul", _of_bits(low, signs, two), most))
    return low.result(total) if dtype == work else ending(low, "Cast", total, to=dtype)


def _of_bits(low: LowNode, parts: list[str], two: str) -> str:
    a, b = parts
    if low.op == "BitwiseXor":
        return low.add("Mod", low.add("Add", a, b), two)
    both = low.add("Mul", a, b)
    if low.op == "BitwiseAnd":
        return both
    return low.add("Sub", low.add("Add", a, b), both)


RULES: dict[tuple[str, int], Rule] = {
    ("BitCast", 26): missing("no other op reads the bits of a number as another type"),
    ("BitShift", 28): _shift_types,
    ("BitShift", 11): _bit_shift,
    **{(op, 18): _bitwise for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")},
    ("BitwiseNot", 18): _bitwise_not,
}
