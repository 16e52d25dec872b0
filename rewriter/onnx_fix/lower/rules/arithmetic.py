"""Mod, Round, IsInf, Range, BitShift and other arithmetic that did not exist, in older arithmetic.

All of it is exact, also for NaN, infinities and signed zeros, where not said otherwise.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._steps import (
    counting,
    integer,
    keep,
    known_dtype,
    missing,
    same,
    squeeze,
)

_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
UNSIGNED = {TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64}


def ending(low: LowNode, op: str, *inputs: str, to: int | None = None) -> list[NodeProto]:
    """The last node, of another op: it gives the output."""
    drop = [a.name for a in low.proto.attribute]
    return low.result(low.copy(op=op, inputs=inputs, drop=drop, to=to))


def _signs(low: LowNode, negative: str, dtype: int) -> str:
    """-1 where a condition holds, otherwise 1.

    A product with it keeps the sign of a zero, which Where of onnxruntime loses.
    """
    two = low.add("Mul", low.add("Cast", negative, to=dtype), low.const(2.0, dtype))
    return low.add("Sub", low.const(1.0, dtype), two)


def round_even(low: LowNode, x: str, dtype: int) -> str:
    """The nearest integer, halves to the even neighbour, also before opset 11.

    x - Floor(x) is exact. The result has the sign of x, also where it or x is a zero.
    """
    if low.opset - 1 >= 11:
        return low.add("Round", x)
    half, one, two, zero = (low.const(v, dtype) for v in (0.5, 1.0, 2.0, 0.0))
    floor = low.add("Floor", x)
    above = low.add("Sub", x, floor)
    pairs = low.add("Mul", low.add("Floor", low.add("Div", floor, two)), two)
    odd = low.add("Greater", low.add("Sub", floor, pairs), half)
    tie = low.add("Not", low.add("Less", above, half))
    up = low.add("Or", low.add("Greater", above, half), low.add("And", tie, odd))
    size = low.add("Abs", low.add("Add", floor, low.add("Cast", up, to=dtype)))
    below = low.add("Less", low.add("Div", one, x), zero)
    negative = low.add("Or", low.add("Less", x, zero), below)
    return low.add("Mul", size, _signs(low, negative, dtype))


def round_below_11(low: LowNode) -> list[NodeProto]:
    """11 to 10."""
    return low.result(round_even(low, low.input(0), known_dtype(low, 0)))


def _is_inf(low: LowNode) -> list[NodeProto]:
    """10 to 9: beyond the largest finite number."""
    dtype = known_dtype(low, 0)
    most = np.finfo(helper.tensor_dtype_to_np_dtype(dtype)).max
    positive = low.add("Greater", low.input(0), low.const(most, dtype))
    negative = low.add("Less", low.input(0), low.const(-most, dtype))
    which = bool(low.attr("detect_positive", 1)), bool(low.attr("detect_negative", 1))
    first = positive if which[0] else negative
    return ending(low, "Or" if all(which) else "And", first, _second(which, positive, negative))


def _second(which: tuple[bool, bool], positive: str, negative: str) -> str:
    """A number is never beyond both ends, so neither is the And of the two."""
    if which == (True, False):
        return positive
    return negative if which != (False, False) else positive


def _is_inf_types(low: LowNode) -> list[NodeProto]:
    """20 to 10: half precision was added."""
    if low.dtype(0) in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        wide = low.add("Cast", low.input(0), to=TensorProto.FLOAT)
        return low.result(low.copy(inputs=[wide]))
    return keep(low)


def _mod_sign(low: LowNode) -> list[NodeProto]:
    """28 to 13: floating point with the sign of the divisor was added.

    The C remainder is exact; one addition moves it to the other sign, and zeros get the sign of
    the divisor.
    """
    if low.dtype(0) not in _FLOATS or integer(low, "fmod", 0) == 1:
        if low.dtype(0) is None and integer(low, "fmod", 0) == 0:
            known_dtype(low, 0)
        return keep(low, widen=True)
    dtype = known_dtype(low, 0)
    a, b = low.input(0), low.input(1)
    zero = low.const(0.0, dtype)
    rest = low.add("Mod", a, b, fmod=1)
    apart = low.add("Xor", low.add("Less", rest, zero), low.add("Less", b, zero))
    wrong = low.add("And", apart, low.add("Not", low.add("Equal", rest, zero)))
    moved = low.add("Where", wrong, low.add("Add", rest, b), rest)
    return ending(low, "Mul", low.add("Abs", moved), _signs(low, low.add("Less", b, zero), dtype))


def _mod(low: LowNode) -> list[NodeProto]:
    """10 to 9: from the quotient, for integers; in int64 where Div lacks the type."""
    dtype = known_dtype(low, 0)
    if dtype in _FLOATS:
        raise Refused("Mod does not exist before opset 10, and a - trunc(a / b) * b is not exact")
    work = dtype if dtype == TensorProto.UINT64 else int(TensorProto.INT64)
    a, b = (n if dtype == work else low.add("Cast", n, to=work) for n in low.proto.input[:2])
    rest = low.add("Sub", a, low.add("Mul", low.add("Div", a, b), b))
    if dtype not in UNSIGNED and integer(low, "fmod", 0) == 0:
        zero = low.const(0, work)
        apart = low.add("Xor", low.add("Less", rest, zero), low.add("Less", b, zero))
        wrong = low.add("And", apart, low.add("Not", low.add("Equal", rest, zero)))
        rest = low.add("Add", rest, low.add("Mul", b, low.add("Cast", wrong, to=work)))
    return low.result(rest) if dtype == work else ending(low, "Cast", rest, to=dtype)


def _range_types(low: LowNode) -> list[NodeProto]:
    """27 to 11: half precision was added, worked out in float32 with the stash type 1."""
    dtype = low.dtype(0)
    if dtype not in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        return keep(low, drop=["stash_type"])
    if integer(low, "stash_type", 1) != 1:
        raise Refused("Range of half precision is worked out in float32 alone before opset 27")
    ends = [low.add("Cast", name, to=TensorProto.FLOAT) for name in low.proto.input]
    return ending(low, "Cast", low.add("Range", *ends), to=dtype)


def _range(low: LowNode) -> list[NodeProto]:
    """11 to 10: start + i * delta over the positions of as many ones.

    The count of integers is worked out in int64, that of floats by Ceil, and is never negative.
    """
    dtype = known_dtype(low, 0)
    work = dtype if dtype in _FLOATS else int(TensorProto.INT64)
    start, limit, delta = (
        n if work == dtype else low.add("Cast", n, to=work) for n in low.proto.input
    )
    span = low.add("Sub", limit, start)
    if dtype in _FLOATS:
        count = low.add("Cast", low.add("Ceil", low.add("Div", span, delta)), to=TensorProto.INT64)
    else:
        one_less = low.add("Sub", delta, low.add("Sign", delta))
        count = low.add("Div", low.add("Add", span, one_less), delta)
    zero = low.const(0, TensorProto.INT64)
    positive = low.add("Cast", low.add("Greater", count, zero), to=TensorProto.INT64)
    size = low.add("Reshape", low.add("Mul", count, positive), low.const([1], TensorProto.INT64))
    index = counting(low, size)
    if work != TensorProto.INT64:
        index = low.add("Cast", index, to=work)
    values = low.add("Mul", index, delta)
    if work == dtype:
        return ending(low, "Add", values, start)
    return ending(low, "Cast", low.add("Add", values, start), to=dtype)


def _thresholded_relu(low: LowNode) -> list[NodeProto]:
    """10 to 9: x where it is greater than alpha, otherwise 0."""
    dtype = known_dtype(low, 0)
    alpha = low.const(low.attr("alpha", 1.0), dtype)  # type: ignore[arg-type]
    above = low.add("Greater", low.input(0), alpha)
    return ending(low, "Where", above, low.input(0), low.const(0.0, dtype))


def _running(low: LowNode) -> list[NodeProto]:
    """CumSum 11 to 10 and CumProd 26 to 25: a Scan that carries the total, in the same order."""
    dtype = known_dtype(low, 0)
    shape = low.types(low.input(0)).shape
    if shape is None:
        raise Refused(f"the rank of input '{low.input(0)}' is not known")
    rank = len(shape)
    axis = int(low.constant(1, "axis").reshape(-1)[0]) % max(rank, 1)
    others = [i for i in range(rank) if i != axis]
    total = low.op == "CumProd"
    start = helper.make_tensor("value", dtype, [1], [1 if total else 0])
    if others:
        sizes = low.add(
            "Gather", low.add("Shape", low.input(0)), low.const(others, TensorProto.INT64), axis=0
        )
        initial = low.add("ConstantOfShape", sizes, value=start)
    else:
        initial = squeeze(low, low.const([1 if total else 0], dtype), [0])
    names = {n: low.fresh(f"{low.proto.output[0]}/{n}") for n in ("state", "item", "next", "given")}
    nodes = [
        helper.make_node(
            "Mul" if total else "Add", [names["state"], names["item"]], [names["next"]]
        ),
        helper.make_node(
            "Identity",
            [names["state"] if integer(low, "exclusive", 0) else names["next"]],
            [names["given"]],
        ),
    ]
    body = helper.make_graph(
        nodes,
        names["next"],
        [
            helper.make_tensor_value_info(names[n], dtype, [None] * len(others))
            for n in ("state", "item")
        ],
        [
            helper.make_tensor_value_info(names[n], dtype, [None] * len(others))
            for n in ("next", "given")
        ],
    )
    direction = [integer(low, "reverse", 0)]
    return low.result(
        low.copy(
            op="Scan",
            inputs=[initial, low.input(0)],
            drop=["exclusive", "reverse"],
            outputs=[low.fresh(f"{low.proto.output[0]}/total"), low.proto.output[0]],
            body=body,
            num_scan_inputs=1,
            scan_input_axes=[axis],
            scan_output_axes=[axis],
            scan_input_directions=direction,
            scan_output_directions=direction,
        )
    )


RULES: dict[tuple[str, int], Rule] = {
    ("CumProd", 26): _running,
    ("CumSum", 14): same(widen=True),
    ("CumSum", 11): _running,
    ("Det", 22): same(widen=True),
    ("Det", 11): missing("no pass writes it in older ops yet"),
    ("Einsum", 28): same(widen=True),
    ("Einsum", 12): missing("the pass einsum-to-matmul writes it in older ops"),
    ("IsInf", 20): _is_inf_types,
    ("IsInf", 10): _is_inf,
    ("IsNaN", 20): same(),
    ("Mod", 28): _mod_sign,
    ("Mod", 13): same(widen=True),
    ("Mod", 10): _mod,
    ("Range", 27): _range_types,
    ("Range", 11): _range,
    ("Round", 22): same(widen=True),
    ("Round", 11): round_below_11,
    ("ThresholdedRelu", 22): same(widen=True),
    ("ThresholdedRelu", 10): _thresholded_relu,
}
