"""Matrix products and convolutions of 8-bit integers, which opset 10 brought.

The sums are exact: in int32, or for a convolution in float32 where the weights bound every sum
below 2^24. What QLinearMatMul and QLinearConv then scale by a_scale * b_scale / y_scale is rounded
once in float32.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._steps import dtype_name, keep, known_dtype, unsqueeze
from onnx_fix.lower.rules.arithmetic import round_even
from onnx_fix.lower.rules.quantize import saturated

_INT32, _FLOAT = int(TensorProto.INT32), int(TensorProto.FLOAT)
_EXACT = 2**24


def _centred(low: LowNode, index: int, zero: int, dtype: int, *, rows: bool = False) -> str:
    """An input less its zero point in a wider type."""
    x = low.add("Cast", low.input(index), to=dtype)
    if not low.input(zero):
        return x
    point = low.add("Cast", low.input(zero), to=dtype)
    rank = low.rank(zero)
    if rank is None:
        raise Refused(f"the rank of the zero point '{low.input(zero)}' is not known")
    if rows and rank == 1 and low.types(low.input(zero)).shape != (1,):
        point = unsqueeze(low, point, [1])
    return low.add("Sub", x, point)


def _mat_mul_integer(low: LowNode) -> list[NodeProto]:
    a, b = _centred(low, 0, 2, _INT32, rows=True), _centred(low, 1, 3, _INT32)
    return low.result(low.copy(op="MatMul", inputs=[a, b]))


def _q_linear_mat_mul(low: LowNode) -> list[NodeProto]:
    a, b = _centred(low, 0, 2, _INT32, rows=True), _centred(low, 3, 5, _INT32)
    total = low.add("Cast", low.add("MatMul", a, b), to=_FLOAT)
    if any(low.types(low.input(i)).shape not in ((), (1,)) for i in (1, 4, 6)):
        raise Refused(
            "QLinearMatMul with a scale per row or column has no equivalent before opset 10"
        )
    return _requantized(low, total, (1, 4, 6, 7))


def _requantized(low: LowNode, total: str, places: tuple[int, int, int, int]) -> list[NodeProto]:
    """Scale sums and round them; ``places`` are the inputs scale, scale, scale and zero point."""
    first, second, third, zero = (low.input(i) for i in places)
    factor = low.add("Div", low.add("Mul", first, second), third)
    value = round_even(low, low.add("Mul", total, factor), _FLOAT)
    value = low.add("Add", value, low.add("Cast", zero, to=_FLOAT))
    return low.result(saturated(low, value, known_dtype(low, places[3])))


def _exact_sums(low: LowNode, weights: int, zero: int, bias: int | None = None) -> None:
    """Check that float32 holds every sum."""
    value = low.value(low.input(weights))
    point = low.value(low.input(zero)) if low.input(zero) else np.array(0)
    shape = low.types(low.input(weights)).shape
    if value is not None and point is not None and point.size == 1:
        weight = np.abs(value.astype(np.int64) - int(point.reshape(-1)[0]))
        most = 255 * int(weight.reshape(len(weight), -1).sum(axis=1).max(initial=0))
    elif shape is not None and all(isinstance(d, int) for d in shape):
        most = 255 * 255 * int(np.prod([d for d in shape[1:] if isinstance(d, int)]))
    else:
        raise Refused(f"{low.op} with weights of unknown size has no equivalent before opset 10")
    if bias is not None and low.input(bias):
        added = low.value(low.input(bias))
        most += _EXACT if added is None else int(np.abs(added.astype(np.int64)).max(initial=0))
    if most >= _EXACT:
        raise Refused(f"the sums of {low.op} may exceed 2^24, where float32 is not exact")


def _one_zero(low: LowNode, zero: int) -> None:
    if low.input(zero) and low.types(low.input(zero)).shape not in ((), (1,)):
        raise Refused(f"{low.op} with a zero point per channel has no equivalent before opset 10")


def _convolved(low: LowNode, x: str, w: str) -> str:
    output = low.fresh(f"{low.proto.output[0]}/Conv")
    node = low.copy(op="Conv", inputs=[x, w], outputs=[output])
    node.name = output
    low.made.append(node)
    return output


def _conv_integer(low: LowNode) -> list[NodeProto]:
    _exact_sums(low, 1, 3)
    _one_zero(low, 3)
    x, w = _centred(low, 0, 2, _FLOAT), _centred(low, 1, 3, _FLOAT)
    drop = [a.name for a in low.proto.attribute]
    total = _convolved(low, x, w)
    return low.result(low.copy(op="Cast", inputs=[total], drop=drop, to=_INT32))


def _q_linear_conv(low: LowNode) -> list[NodeProto]:
    _exact_sums(low, 3, 5, 8)
    if low.types(low.input(4)).shape not in ((), (1,)):
        raise Refused("QLinearConv with a scale per channel has no equivalent before opset 10")
    _one_zero(low, 5)
    total = _convolved(low, _centred(low, 0, 2, _FLOAT), _centred(low, 3, 5, _FLOAT))
    if low.input(8):
        rank = low.rank(0)
        if rank is None:
            raise Refused(f"the rank of input '{low.input(0)}' is not known")
        bias = low.add("Cast", low.input(8), to=_FLOAT)
        total = low.add("Add", total, unsqueeze(low, bias, list(range(1, rank - 1))))
    return _requantized(low, total, (1, 4, 6, 7))


def _float32_scales(low: LowNode) -> list[NodeProto]:
    """21 to 10: scales of half precision and 8-bit floats were added."""
    inputs = list(low.proto.input)
    for index in (0, 3):
        dtype = known_dtype(low, index)
        if dtype not in (TensorProto.UINT8, TensorProto.INT8):
            raise Refused(f"QLinearMatMul takes no {dtype_name(dtype)} before opset 21")
    halves = [i for i in (1, 4, 6) if known_dtype(low, i) != _FLOAT]
    if not halves:
        return keep(low)
    for index in halves:
        inputs[index] = low.add("Cast", inputs[index], to=_FLOAT)
    return low.result(low.copy(inputs=inputs))


RULES: dict[tuple[str, int], Rule] = {
    ("ConvInteger", 10): _conv_integer,
    ("MatMulInteger", 10): _mat_mul_integer,
    ("QLinearConv", 10): _q_linear_conv,
    ("QLinearMatMul", 21): _float32_scales,
    ("QLinearMatMul", 10): _q_linear_mat_mul,
}
