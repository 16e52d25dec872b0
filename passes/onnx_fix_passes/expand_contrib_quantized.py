"""The pass ``expand-contrib-quantized``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix_passes import _quantized as q
from onnx_fix_passes._quantized import FLOAT, Declined
from onnx_fix_passes._rounding import rounded

DOMAIN = "com.microsoft"

_POOLING = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")
_PAIR = ("DequantizeLinear", "QuantizeLinear")
_QUANTIZES_SINCE = 10
_SOFTMAX_ALONG_ONE_AXIS_SINCE = 13


@dataclass(frozen=True)
class ExpandContribQuantized(Pass):
    """Write the quantised ops of onnxruntime's own domain in ops of ONNX.

    onnxruntime.quantization writes them in the format QOperator, beside those of ONNX. Rules:

    1. QLinearConcat, QLinearSigmoid, QLinearLeakyRelu, QLinearSoftmax, QLinearAveragePool,
       QLinearGlobalAveragePool, QLinearWhere: DequantizeLinear, the op of floats, QuantizeLinear.
    2. QLinearAdd, QLinearMul and QGemm: the same where the zero points are those of a symmetric
       INT8 that the target takes. Otherwise the steps of onnxruntime in its order; the first two
       add the zero point before they round.

    Before:
        y = com.microsoft.QLinearAdd (a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero)
    After:
        fa = DequantizeLinear (a, a_scale, a_zero)
        fb = DequantizeLinear (b, b_scale, b_zero)
        s = Add (fa, fb)
        y = QuantizeLinear (s, y_scale, y_zero)
    Exact:
        Rounding only: onnxruntime fuses multiplications and additions, and takes Softmax from a
        table, so that a number in the middle between two levels may go to the other one. Left
        alone: pooling with the channels last, a Softmax of another operator set along an inner
        axis, operator sets below 10, other ops of the domain.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = ()

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose ops of ONNX for every node of the domain that has such a form."""
        for node in scope.nodes(*_FORMS, domain=DOMAIN):
            if not (self.everywhere or scope.judge(node).status != "supported"):
                continue
            try:
                yield _site(scope, node)
            except Declined as declined:
                yield Skip(node, str(declined))


def _site(scope: Scope, node: gs.Node) -> Rewrite:
    if has_unresolved(node, *node.attrs):
        raise Declined("an attribute is a parameter of the enclosing function; inline it first")
    if scope.opset < _QUANTIZES_SINCE:
        raise Declined("QuantizeLinear exists since operator set 10: export with a newer one")
    if attribute(node, "channels_last", int, 0):
        raise Declined("its channels stand last, for which ONNX has no op; export them first")
    e = Emitter(scope)
    return e.rewrite(node, _FORMS[node.op](e, node), exactness=Exactness.ROUNDING)


def _input(node: gs.Node, index: int) -> gs.Tensor | None:
    tensor = node.inputs[index] if index < len(node.inputs) else None
    return tensor if tensor is not None and tensor.name else None


def _floats(e: Emitter, node: gs.Node, index: int) -> gs.Tensor:
    """The tensor at a place, which its scale and zero point follow, in floats."""
    x, scale, zero = (_input(node, index + k) for k in range(3))
    if x is None or scale is None:
        raise Declined(f"its input {index} or the scale of it is missing")
    scaled = q.required(e.scope, node, index + 1, "scale")
    if not scaled.single:
        raise Declined("its scale is not one number")
    return e("DequantizeLinear", x, *_numbers(e, scale, zero))


def _numbers(
    e: Emitter, scale: gs.Tensor, zero: gs.Tensor | None
) -> tuple[gs.Tensor | Any, gs.Tensor | Any]:
    """A scale and a zero point, both without dims where their values are known."""
    made: list[gs.Tensor | Any] = []
    for tensor in (scale, zero):
        value = None if tensor is None else q.value_of(e.scope, tensor)
        single = value is not None and value.size == 1
        made.append(value.reshape(()) if value is not None and single else tensor)
    return made[0], made[1]


def _quantized(e: Emitter, node: gs.Node, x: gs.Tensor, index: int) -> gs.Tensor:
    """Floats quantised by the scale and zero point at a place."""
    scale, zero = _input(node, index), _input(node, index + 1)
    if scale is None:
        raise Declined("the scale of its result is missing")
    if zero is None:
        return e("QuantizeLinear", x, *_numbers(e, scale, None)[:1])
    return e("QuantizeLinear", x, *_numbers(e, scale, zero))


def _scalars(e: Emitter, node: gs.Node, *places: int) -> list[np.float32] | None:
    """Constant single numbers in FP32, those of an empty place 0; None where one is no constant."""
    found = []
    for place in places:
        tensor = _input(node, place)
        value = np.zeros(1) if tensor is None else q.value_of(e.scope, tensor)
        if value is None or value.size != 1:
            return None
        found.append(np.float32(value.reshape(-1)[0]))
    return found


def _makes_int8(e: Emitter, node: gs.Node, pairs: tuple[tuple[int, int], ...]) -> bool:
    """Whether all scales and zero points (at the given places) are those of a symmetric INT8."""
    for scale, zero in pairs:
        step, point = (q.given(e.scope, node, k, "scale or zero point") for k in (scale, zero))
        if step is None or step.value is None or point is None:
            return False
        if not q.is_symmetric(point, point.dtype):
            return False
        if not all(q.takes_int8(e.scope, op, step) for op in _PAIR):
            return False
    return True


def _stored(e: Emitter, node: gs.Node, x: gs.Tensor, zero: int) -> gs.Tensor:
    """FP32 numbers, the zero point among them, rounded and held in the type of the result."""
    tensor = _input(node, zero)
    dtype = q.UINT8 if tensor is None else e.scope.dtype(tensor)
    if dtype not in q.EIGHT or dtype is None:
        raise Declined("the type of its zero point is not known, or not of 8 bits")
    return e.cast(rounded(e, x, *q.LEVELS[dtype]), dtype)


def _add(e: Emitter, node: gs.Node) -> gs.Tensor:
    values = _scalars(e, node, 1, 2, 4, 5, 6, 7)
    if values is None or _makes_int8(e, node, ((1, 2), (4, 5), (6, 7))):
        return _two(e, node, "Add")
    a_scale, a_zero, b_scale, b_zero, y_scale, y_zero = values
    a_unit, b_unit = a_scale / y_scale, b_scale / y_scale
    fixed = y_zero - (a_unit * a_zero + b_unit * b_zero)
    b = e("Add", e("Mul", q.floats_of(e, node.inputs[3]), b_unit), fixed)
    return _stored(e, node, e("Add", e("Mul", q.floats_of(e, node.inputs[0]), a_unit), b), 7)


def _mul(e: Emitter, node: gs.Node) -> gs.Tensor:
    values = _scalars(e, node, 1, 2, 4, 5, 6, 7)
    if values is None or _makes_int8(e, node, ((1, 2), (4, 5), (6, 7))):
        return _two(e, node, "Mul")
    a_scale, a_zero, b_scale, b_zero, y_scale, y_zero = values
    a, b = (
        q.floats_of(e, node.inputs[k])
        if not zero
        else e("Sub", q.floats_of(e, node.inputs[k]), zero)
        for k, zero in ((0, a_zero), (3, b_zero))
    )
    scaled = e("Mul", e("Mul", a, b), a_scale * b_scale / y_scale)
    return _stored(e, node, e("Add", scaled, y_zero) if y_zero else scaled, 7)


def _two(e: Emitter, node: gs.Node, op: str) -> gs.Tensor:
    return _quantized(e, node, e(op, _floats(e, node, 0), _floats(e, node, 3)), 6)


def _one(op: str, *kept: str) -> Callable[[Emitter, gs.Node], gs.Tensor]:
    def form(e: Emitter, node: gs.Node) -> gs.Tensor:
        attrs = {k: v for k, v in node.attrs.items() if k in kept}
        return _quantized(e, node, e(op, _floats(e, node, 0), **attrs), 3)

    return form


def _softmax(e: Emitter, node: gs.Node) -> gs.Tensor:
    meant = attribute(node, "opset", int, e.opset) or e.opset
    rank = e.scope.rank(node.inputs[0])
    new = meant >= _SOFTMAX_ALONG_ONE_AXIS_SINCE
    axis = attribute(node, "axis", int, -1)
    last = rank is not None and axis in (-1, rank - 1)
    if new != (e.opset >= _SOFTMAX_ALONG_ONE_AXIS_SINCE) and not last:
        raise Declined(f"its Softmax is that of operator set {meant}, and not along the last axis")
    if last and rank is not None:
        axis = -1 if new and e.opset >= _SOFTMAX_ALONG_ONE_AXIS_SINCE else rank - 1
    return _quantized(e, node, e("Softmax", _floats(e, node, 0), axis=axis), 3)


def _concat(e: Emitter, node: gs.Node) -> gs.Tensor:
    parts = [_floats(e, node, k) for k in range(2, len(node.inputs), 3)]
    return _quantized(e, node, e("Concat", *parts, axis=attribute(node, "axis", int, 0)), 0)


def _where(e: Emitter, node: gs.Node) -> gs.Tensor:
    chosen = e("Where", node.inputs[0], _floats(e, node, 1), _floats(e, node, 4))
    return _quantized(e, node, chosen, 7)


# -- QGemm -----------------------------------------------------------------------------------------


def _gemm(e: Emitter, node: gs.Node) -> gs.Tensor:
    scope = e.scope
    a_scale = q.required(scope, node, 1, "scale")
    b_scale = q.required(scope, node, 4, "scale")
    zeros = [q.given(scope, node, k, "zero point") for k in (2, 5)]
    if not a_scale.single or len(b_scale.shape) > 1 or a_scale.value is None:
        raise Declined("the scale of its first input is not one constant number")
    if b_scale.value is None:
        raise Declined("the scale of its second input is computed at run time")
    alpha = np.float32(attribute(node, "alpha", float, 1.0) or 0.0)
    flip_a, flip_b = (bool(attribute(node, k, int, 0)) for k in ("transA", "transB"))
    b_value = q.value_of(scope, node.inputs[3])
    b_type = scope.dtype(node.inputs[3])
    y_scale = q.given(scope, node, 7, "scale")
    unit = (alpha * a_scale.value.reshape(-1) * b_scale.value.reshape(-1)).astype(np.float32)
    unit = unit.reshape(()) if unit.size == 1 else unit
    a = e.transpose(node.inputs[0], [1, 0]) if flip_a else node.inputs[0]
    if b_value is not None:
        b: gs.Tensor = e.const(b_value.T.copy() if flip_b else b_value)
    else:
        b = e.transpose(node.inputs[3], [1, 0]) if flip_b else node.inputs[3]
    bias = _input(node, 6)
    points = [None if z is None else z.tensor for z in zeros]
    y_zero = q.given(scope, node, 8, "zero point")
    if y_scale is not None and y_scale.single and _symmetric(scope, node, zeros, b_type):
        per_column = not b_scale.single
        known = y_zero is not None and q.is_symmetric(y_zero, y_zero.dtype)
        takes = q.takes_int8(scope, "DequantizeLinear", a_scale)
        if known and takes and (not per_column or e.opset >= _SOFTMAX_ALONG_ONE_AXIS_SINCE):
            left = e("DequantizeLinear", a, *_numbers(e, a_scale.tensor, points[0]))
            scale = b_scale.value.reshape(-1) if per_column else b_scale.value.reshape(())
            right = e(
                "DequantizeLinear",
                b,
                scale,
                np.zeros(scale.shape, np.int8),
                axis=1 if per_column else None,
            )
            product = e("MatMul", left, right)
            if alpha != 1:
                product = e("Mul", product, e.const(alpha))
            added = product if bias is None else e("Add", product, _bias(e, bias, unit))
            return _quantized(e, node, added, 7)
    if points[1] is not None and points[0] is None:
        points[0] = e.const(0, scope.dtype(node.inputs[0]) or q.UINT8)
    sums: gs.Tensor = e("MatMulInteger", a, b, *points)
    if bias is not None:
        sums = e("Add", sums, bias)
    numbers = e.cast(sums, FLOAT)
    if y_scale is None:
        return e("Mul", numbers, unit)
    if y_scale.value is None or not y_scale.single:
        raise Declined("the scale of its result is not one constant number")
    levels = e("Mul", numbers, (unit / y_scale.value.reshape(())).astype(np.float32))
    if y_zero is None:
        return e("QuantizeLinear", levels, np.float32(1.0))
    return e(
        "QuantizeLinear", levels, np.float32(1.0), _numbers(e, y_scale.tensor, y_zero.tensor)[1]
    )


def _symmetric(scope: Scope, node: gs.Node, zeros: list[Any], b_type: int | None) -> bool:
    a_type = scope.dtype(node.inputs[0])
    if a_type is None or b_type != q.INT8:
        return False
    return q.is_symmetric(zeros[0], a_type) and q.is_symmetric(zeros[1], b_type)


def _bias(e: Emitter, bias: gs.Tensor, unit: Any) -> gs.Tensor:
    value = q.value_of(e.scope, bias)
    if value is not None:
        return e.const((value.astype(np.float64) * unit).astype(np.float32))
    return e("Mul", e.cast(bias, FLOAT), unit)


_FORMS: Mapping[str, Callable[[Emitter, gs.Node], gs.Tensor]] = {
    "QGemm": _gemm,
    "QLinearAdd": _add,
    "QLinearAveragePool": _one("AveragePool", *_POOLING),
    "QLinearConcat": _concat,
    "QLinearGlobalAveragePool": _one("GlobalAveragePool"),
    "QLinearLeakyRelu": _one("LeakyRelu", "alpha"),
    "QLinearMul": _mul,
    "QLinearSigmoid": _one("Sigmoid"),
    "QLinearSoftmax": _softmax,
    "QLinearWhere": _where,
}
