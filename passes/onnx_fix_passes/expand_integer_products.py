"""The pass ``expand-integer-products``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, TypeAlias

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, has_unresolved
from onnx_fix.target import TensorFacts
from onnx_fix_passes import _quantized as q
from onnx_fix_passes._quantized import FLOAT, Declined, Given

Value: TypeAlias = gs.Tensor | NDArray[Any]

_CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_OPS = ("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")
_MAY_ROUND = (
    "nothing keeps its sums below 2^24, from where on FP32 rounds the integers that ONNX sums "
    "exactly"
)


@dataclass(frozen=True)
class ExpandIntegerProducts(Pass):
    """Write products of quantised tensors as MatMul and Conv of floats.

    TensorRT has no importer for QLinearConv, QLinearMatMul, ConvInteger and MatMulInteger. Rules:

    1. A QLinearConv or QLinearMatMul of which all zero points are those of a symmetric INT8
       (or UINT8 with 128), on a target that quantises so: DequantizeLinear, Conv or MatMul,
       QuantizeLinear, from which TensorRT makes an INT8 layer.
    2. Otherwise Conv or MatMul of the integers in FP32, the zero points taken off. What QLinear
       ops scale and round is scaled and rounded in the same order.

    Before:
        y = QLinearMatMul (a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero)
    After:
        fa = Cast <to = FLOAT> (a); ca = Sub (fa, a_zero)
        s = MatMul (ca, b as FP32 less b_zero)
        t = Mul (s, a_scale * b_scale / y_scale)
        r = Round (t); c = Clip (r, ..); z = Add (c, y_zero)
        y = Cast <to = UINT8> (z)
    Exact:
        The integer ops are, where the sizes and the weights keep every sum within 2^24, up to which
        FP32 holds all integers; where nothing says so, sums may round, and the change says it. The
        QLinear ops are rounding only: ONNX does not say in what order scales are multiplied; rule 2
        multiplies them as onnxruntime does and gives its numbers. Left alone: formats of floats;
        zero points or scales of unknown type or rank.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends(kind, op, "the numbers are integers")
        for kind in ("no_importer", "uint8_io")
        for op in _OPS
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a product of floats for every product of integers that the target refuses."""
        for node in scope.nodes(*_OPS):
            if self.everywhere or scope.refused(node):
                try:
                    yield _site(scope, node)
                except Declined as declined:
                    yield Skip(node, str(declined))


@dataclass(frozen=True)
class _Operand:
    """A quantised tensor: its place among the inputs, its type and its zero point."""

    tensor: gs.Tensor
    dtype: int
    zero: Given | None
    value: NDArray[Any] | None


@dataclass(frozen=True)
class _Scales:
    """What a QLinear op multiplies by, and what its result is."""

    a: Given
    b: Given
    y: Given
    zero: Given


def _site(scope: Scope, node: gs.Node) -> Rewrite:
    if has_unresolved(node, *_CONV):
        raise Declined("an attribute is a parameter of the enclosing function; inline it first")
    linear = node.op.startswith("QLinear")
    conv = node.op.endswith(("Conv", "ConvInteger"))
    places = (0, 2, 3, 5) if linear else (0, 2, 1, 3)
    a = _operand(scope, node, places[0], places[1])
    b = _operand(scope, node, places[2], places[3])
    bias = node.inputs[8] if node.op == "QLinearConv" and len(node.inputs) > 8 else None
    bias = bias if bias is not None and bias.name else None
    e = Emitter(scope)
    if not linear:
        total, exact = _product(e, node, a, b, None, conv)
        out = e.cast(total, TensorProto.INT32)
        if exact:
            return e.rewrite(node, out)
        return e.rewrite(node, out, exactness=Exactness.ROUNDING, note=_MAY_ROUND)
    scales = _Scales(
        _scale(scope, node, 1), _scale(scope, node, 4), _scale(scope, node, 6), _zero(scope, node)
    )
    paired = _paired(scope, node, a, b, scales, bias, conv)
    if paired is not None:
        return paired
    total, exact = _product(e, node, a, b, bias, conv)
    y = scales.zero
    data = e("Mul", total, _factor(e, node, scales, conv))
    point = None if y.uniform is not None else _along(e, node, y, "y")
    levels = q.requantized(e, data, y, point, y.dtype)
    note = "" if exact else _MAY_ROUND
    return e.rewrite(node, e.cast(levels, y.dtype), exactness=Exactness.ROUNDING, note=note)


def _operand(scope: Scope, node: gs.Node, index: int, zero: int) -> _Operand:
    tensor = node.inputs[index]
    point = q.given(scope, node, zero, "zero point")
    value = q.value_of(scope, tensor)
    dtype = scope.dtype(tensor) or (None if point is None else point.dtype)
    if dtype is None:
        raise Declined(f"the element type of '{tensor.name}' is not known")
    if dtype not in q.EIGHT:
        raise Declined(f"'{tensor.name}' is {q.type_name(dtype)}, not INT8 or UINT8")
    return _Operand(tensor, dtype, point, value)


def _scale(scope: Scope, node: gs.Node, index: int) -> Given:
    scale = q.required(scope, node, index, "scale")
    if scale.dtype not in q.FLOATS:
        raise Declined(f"its scale is {q.type_name(scale.dtype)}, for which there is no formula")
    return scale


def _zero(scope: Scope, node: gs.Node) -> Given:
    zero = q.required(scope, node, 7, "zero point")
    if zero.dtype not in q.EIGHT:
        raise Declined(f"it gives {q.type_name(zero.dtype)}, not INT8 or UINT8")
    return zero


# -- rule 2: integers in FP32 ----------------------------------------------------------------------


def _product(
    e: Emitter, node: gs.Node, a: _Operand, b: _Operand, bias: gs.Tensor | None, conv: bool
) -> tuple[gs.Tensor, bool]:
    """The sums of the products less the zero points, in FP32, and whether they are exact."""
    left, right = _centred(e, node, a, "a", conv), _centred(e, node, b, "b", conv)
    most = _largest_sum(e.scope, node, a, b, conv)
    if bias is not None:
        value = q.value_of(e.scope, bias)
        extra = None if value is None else int(np.abs(value.astype(np.int64)).max(initial=0))
        most = None if most is None or extra is None else most + extra
    exact = most is not None and most <= q.EXACT_BELOW
    if not conv:
        return e("MatMul", left, right), exact
    added = None if bias is None else q.floats_of(e, bias)
    kept = {k: v for k, v in node.attrs.items() if k in _CONV}
    return e("Conv", left, right, added, **kept), exact


def _centred(e: Emitter, node: gs.Node, one: _Operand, side: str, conv: bool) -> gs.Tensor:
    """An operand in FP32 less its zero point; a constant where it is one."""
    point: Value | None = None
    if one.zero is not None and not one.zero.is_zero:
        point = _channels(e, one, one.zero) if conv else _along(e, node, one.zero, side)
    if one.value is not None:
        wide = one.value.astype(np.float32)
        if point is None or isinstance(point, np.ndarray):
            return e.const(wide if point is None else (wide - point).astype(np.float32))
        return e("Sub", wide, point)
    x = q.floats_of(e, one.tensor)
    return x if point is None else e("Sub", x, point)


def _channels(e: Emitter, one: _Operand, zero: Given) -> Value:
    """The zero point of a convolution: one number, or one for each output channel of weights."""
    value = q.as_float(e, zero)
    if zero.single:
        return value
    rank = one.value.ndim if one.value is not None else e.scope.rank(one.tensor)
    if rank is None or len(zero.shape) != 1:
        raise Declined(f"the rank of '{one.tensor.name}' or of its zero point is not known")
    return _trailing(e, value, rank - 1)


def _trailing(e: Emitter, value: Value, count: int) -> Value:
    if isinstance(value, np.ndarray):
        return value.reshape(-1, *[1] * count)
    return e.unsqueeze(value, list(range(1, count + 1)))


def _along(e: Emitter, node: gs.Node, one: Given, side: str) -> Value:
    """A scale or zero point of a matrix product: a number, rows of ``a`` and ``y``, columns of
    ``b``, or with as many dims as the matrix."""
    value = q.as_float(e, one)
    if one.single or side == "b" or len(one.shape) > 1:
        return value
    first = e.scope.rank(node.inputs[0])
    if first is None or first < 2:
        raise Declined("a scale or zero point per row stands beside a vector or an unknown rank")
    return _trailing(e, value, 1)


def _largest_sum(scope: Scope, node: gs.Node, a: _Operand, b: _Operand, conv: bool) -> int | None:
    """What no sum exceeds, or None where that is not known."""
    if b.value is not None and (b.zero is None or b.zero.value is not None):
        wide = b.value.astype(np.int64)
        point = np.int64(0) if b.zero is None or b.zero.value is None else b.zero.value
        shifted = point.astype(np.int64)
        if shifted.ndim == 1 and shifted.size > 1 and conv:
            shifted = shifted.reshape(-1, *[1] * (wide.ndim - 1))
        weights = np.abs(wide - (shifted.reshape(()) if shifted.size == 1 else shifted))
        if conv:
            axes: tuple[int, ...] = tuple(range(1, weights.ndim))
        else:
            axes = (max(weights.ndim - 2, 0),)
        return q.largest(a.dtype, a.zero) * int(np.max(weights.sum(axis=axes), initial=0))
    one = q.largest(a.dtype, a.zero) * q.largest(b.dtype, b.zero)
    if conv:
        kernel = scope.shape(b.tensor)
        sizes = None if kernel is None else kernel[1:]
    else:
        sizes = _inner(scope, a, b)
    if sizes is None or not all(isinstance(d, int) for d in sizes):
        return None
    return one * prod(d for d in sizes if isinstance(d, int))


def _inner(scope: Scope, a: _Operand, b: _Operand) -> tuple[Any, ...] | None:
    """The size that a matrix product sums over."""
    left, right = scope.shape(a.tensor), scope.shape(b.tensor)
    if left and isinstance(left[-1], int):
        return (left[-1],)
    if right:
        return (right[-2 if len(right) > 1 else 0],)
    return None


def _factor(e: Emitter, node: gs.Node, scales: _Scales, conv: bool) -> Value:
    """a_scale * b_scale / y_scale, in this order, as it broadcasts to the sums."""
    parts = [_shaped(e, node, one, side, conv) for one, side in _sides(scales)]
    a, b, y = parts
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and isinstance(y, np.ndarray):
        return np.asarray(a * b / y, np.float32)
    return e("Div", e("Mul", a, b), y)


def _sides(scales: _Scales) -> tuple[tuple[Given, str], ...]:
    return (scales.a, "a"), (scales.b, "b"), (scales.y, "y")


def _shaped(e: Emitter, node: gs.Node, one: Given, side: str, conv: bool) -> Value:
    if not conv or one.single:
        return _along(e, node, one, side)
    rank = e.scope.rank(node.inputs[0]) or e.scope.rank(node.inputs[3])
    if rank is None:
        raise Declined(f"the rank of '{node.inputs[0].name}' is not known")
    return _trailing(e, q.as_float(e, one), rank - 2)


# -- rule 1: layers of INT8 ------------------------------------------------------------------------


def _paired(
    scope: Scope,
    node: gs.Node,
    a: _Operand,
    b: _Operand,
    scales: _Scales,
    bias: gs.Tensor | None,
    conv: bool,
) -> Rewrite | None:
    """DequantizeLinear, the product, QuantizeLinear, where the target makes INT8 of them."""
    y = scales.zero
    points = ((a.zero, a.dtype), (b.zero, b.dtype), (y, y.dtype))
    if not all(q.is_symmetric(zero, dtype) for zero, dtype in points):
        return None
    if not (scales.a.single and scales.y.single and len(scales.b.shape) <= 1):
        return None
    types = {scales.a.dtype, scales.b.dtype, scales.y.dtype}
    constant = (scales.a.value, scales.b.value, scales.y.value)
    if types != {FLOAT} or any(value is None for value in constant):
        return None
    if not all(q.takes_int8(scope, op, s) for op, s in _layers(scales)):
        return None
    e = Emitter(scope)
    left = e("DequantizeLinear", a.tensor, *_single(e, scales.a, a.zero, a.dtype))
    right = _weights(e, b, scales, conv)
    if right is None:
        return None
    added = None
    if bias is not None:
        value = q.value_of(scope, bias)
        if value is None or scales.a.value is None or scales.b.value is None:
            return None
        unit = scales.a.value.reshape(-1) * scales.b.value.reshape(-1)
        added = (value.astype(np.float64) * unit).astype(np.float32)
    kept = {k: v for k, v in node.attrs.items() if k in _CONV}
    result = e("Conv", left, right, added, **kept) if conv else e("MatMul", left, right)
    out = e("QuantizeLinear", result, *_single(e, scales.y, y, y.dtype))
    return e.rewrite(node, out, exactness=Exactness.ROUNDING)


def _layers(scales: _Scales) -> tuple[tuple[str, Given], ...]:
    return (
        ("DequantizeLinear", scales.a),
        ("DequantizeLinear", scales.b),
        ("QuantizeLinear", scales.y),
    )


def _single(e: Emitter, scale: Given, zero: Given | None, dtype: int) -> tuple[Value, Value]:
    """Scale and zero point of a whole tensor, both without dims."""
    middle = 0 if zero is None or zero.uniform is None else int(zero.uniform)
    return q.as_float(e, scale), e.const(middle, dtype)


def _weights(e: Emitter, b: _Operand, scales: _Scales, conv: bool) -> gs.Tensor | None:
    """The second operand dequantised from INT8: constant weights, or a tensor of INT8."""
    rank = e.scope.rank(b.tensor) if b.value is None else b.value.ndim
    if rank is None or scales.b.value is None:
        return None
    per_axis = not scales.b.single
    scale = scales.b.value.reshape(-1) if per_axis else scales.b.value.reshape(())
    axis = (0 if conv else rank - 1) if per_axis else None
    if per_axis and e.scope.opset < 13:
        return None
    data: Value
    middle = 0
    if b.value is None:
        if b.dtype != q.INT8:
            middle = 128
        data = b.tensor
    elif b.dtype == q.INT8:
        data = b.value
    else:
        data = (b.value.astype(np.int16) - 128).astype(np.int8)
    stored = b.dtype if b.value is None else q.INT8
    floats = TensorFacts("w", FLOAT, (None,) * rank, "runtime" if b.value is None else "foldable")
    left = TensorFacts("x", FLOAT)
    if not e.scope.accepts("Conv" if conv else "MatMul", [left, floats]):
        if b.value is None or isinstance(data, gs.Tensor):
            return None
        spread = scale.reshape(-1, *[1] * (rank - 1)) if conv and per_axis else scale
        return e.const((data.astype(np.float32) * spread).astype(np.float32))
    zeros = e.const(np.full(scale.shape, middle), stored)
    return e("DequantizeLinear", data, scale.astype(np.float32), zeros, axis=axis)
