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

DOMAIN = "com.microsoft"

_POOLING = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")
_QUANTIZES_SINCE = 10
_SOFTMAX_ALONG_ONE_AXIS_SINCE = 13


@dataclass(frozen=True)
class ExpandContribQuantized(Pass):
    """Write the quantised ops of onnxruntime's own domain in ops of ONNX.

    onnxruntime.quantization writes them in the format QOperator, beside those of ONNX. Rules:

    1. QLinearAdd, QLinearMul, QLinearConcat, QLinearSigmoid, QLinearLeakyRelu, QLinearSoftmax,
       QLinearAveragePool, QLinearGlobalAveragePool, QLinearReduceMean, QLinearWhere:
       DequantizeLinear, the op of floats, QuantizeLinear.
    2. QGemm: the same where its zero points are those of a symmetric INT8 that the target takes;
       otherwise MatMulInteger, Add, Mul and QuantizeLinear, in the order of onnxruntime.

    Before:
        y = com.microsoft.QLinearAdd (a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero)
    After:
        fa = DequantizeLinear (a, a_scale, a_zero)
        fb = DequantizeLinear (b, b_scale, b_zero)
        s = Add (fa, fb)
        y = QuantizeLinear (s, y_scale, y_zero)
    Exact:
        Rounding only: onnxruntime scales in another order, so that a number in the middle between
        two levels may go to the other one. Left alone: pooling and softmax with the channels last,
        operator sets below 10, other ops of the domain.
    Since: 0.2
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


def _two(op: str) -> Callable[[Emitter, gs.Node], gs.Tensor]:
    def form(e: Emitter, node: gs.Node) -> gs.Tensor:
        return _quantized(e, node, e(op, _floats(e, node, 0), _floats(e, node, 3)), 6)

    return form


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


def _mean(e: Emitter, node: gs.Node) -> gs.Tensor:
    axes = node.attrs.get("axes")
    keep = attribute(node, "keepdims", int, 1)
    x = _floats(e, node, 0)
    if isinstance(axes, list):
        mean = e.reduce("ReduceMean", x, axes, keepdims=bool(keep))
    else:
        mean = e("ReduceMean", x, keepdims=keep)
    return _quantized(e, node, mean, 3)


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
    "QLinearAdd": _two("Add"),
    "QLinearAveragePool": _one("AveragePool", *_POOLING),
    "QLinearConcat": _concat,
    "QLinearGlobalAveragePool": _one("GlobalAveragePool"),
    "QLinearLeakyRelu": _one("LeakyRelu", "alpha"),
    "QLinearMul": _two("Mul"),
    "QLinearReduceMean": _mean,
    "QLinearSigmoid": _one("Sigmoid"),
    "QLinearSoftmax": _softmax,
    "QLinearWhere": _where,
}
