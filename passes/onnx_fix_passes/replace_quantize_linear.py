"""The pass ``replace-quantize-linear``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved, is_standard
from onnx_fix_passes import _quantized as q
from onnx_fix_passes._quantized import FLOAT, Declined, Given

_WHERE = "the numbers are integers and the scale is FP32, FP16 or BF16"
_KINDS = (
    "dtype_refused",
    "input_must_be_constant",
    "input_must_be_present",
    "uint8_io",
    "zero_point_must_be_zero",
)
_AXIS = 1
_CONTRIB = "com.microsoft"
_INT32 = int(TensorProto.INT32)
_CAST_SINCE = {"INT4": 21, "UINT4": 21, "INT2": 25, "UINT2": 25}
"""The operator set from which Cast takes a type; those of 8 and 16 bits it always took."""


@dataclass(frozen=True)
class ReplaceQuantizeLinear(Pass):
    """Write QuantizeLinear and DequantizeLinear as arithmetic, where the target refuses them.

    TensorRT quantises to INT8 with a zero point of 0 alone. Rules:

    1. A QuantizeLinear that is read by DequantizeLinear of the same zero point alone is rewritten
       together with its readers: the integers are never stored, and the zero point cancels.
    2. A QuantizeLinear by itself: the integers in FP32, and a Cast to their type.
    3. A DequantizeLinear by itself: a Cast to FP32, Sub and Mul. Of a constant, it is a constant;
       also where the target takes it, and wants it as an initializer behind.
    4. A node that lacks nothing but a zero point gets one.

    Scales and zero points may be computed at run time, stand for slices along ``axis``, or for
    blocks (``block_size``) of a size known at build time. Pairs that the target takes stay, and
    with them its INT8.

    Before:
        q = QuantizeLinear (x, scale, zero_point)
        y = DequantizeLinear (q, scale, zero_point)
    After:
        d = Div (x, scale)
        r = Round (d)
        c = Clip (r, lowest, highest)
        y = Mul (c, scale)
    Exact:
        Yes with FP32 scales: the steps are those of the definition, and integers of up to 16 bits
        are exact in FP32. With FP16 or BF16 rounding only: the division is done in FP32, as by
        onnxruntime. Left alone: formats of floats (FP8, FP4); blocks along an axis of unknown size.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends(kind, op, _WHERE) for op in ("QuantizeLinear", "DequantizeLinear") for kind in _KINDS
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose arithmetic for what the target does not quantise."""
        done: set[int] = set()
        for node in _both(scope, "QuantizeLinear"):
            readers = _readers(scope, node)
            concerned = (node, *readers)
            if any(self.everywhere or _against(scope, n) for n in concerned):
                done.update(id(n) for n in readers)
                yield _declinable(node, lambda n=node, r=readers: _quantize(scope, n, r))
        for node in _both(scope, "DequantizeLinear"):
            wanted = self.everywhere or _against(scope, node) or _wanted(scope, node)
            if wanted and id(node) not in done:
                yield _declinable(node, lambda n=node: _dequantize(scope, n))


def _both(scope: Scope, op: str) -> Iterator[gs.Node]:
    """The nodes of an op, those of onnxruntime's own domain too, which has it for more types."""
    yield from scope.nodes(op)
    yield from scope.nodes(op, domain=_CONTRIB)


def _declinable(node: gs.Node, make: Any) -> Rewrite | Skip:
    try:
        made: Rewrite = make()
    except Declined as declined:
        return Skip(node, str(declined))
    return made


def _against(scope: Scope, node: gs.Node) -> bool:
    """Whether the target refuses the node, or may. Blocks of 4 bits are what it has blocks for."""
    against = [f for f in scope.judge(node).findings if f.refuses or f.in_doubt]
    stored = scope.dtype(node.outputs[0] if node.op == "QuantizeLinear" else node.inputs[0])
    if stored not in q.EIGHT and all(f.in_doubt and f.kind == "ignored_attribute" for f in against):
        return False
    return bool(against)


def _wanted(scope: Scope, node: gs.Node) -> bool:
    """Whether the target wants what a DequantizeLinear of constants gives as an initializer."""
    out = node.outputs[0]
    return scope.constness(out) == "foldable" and any(
        finding.foldable and finding.tensor == out.name
        for reader in scope.consumers(out)
        for finding in scope.judge(reader).findings
    )


def _readers(scope: Scope, node: gs.Node) -> list[gs.Node]:
    """The DequantizeLinear nodes that read a QuantizeLinear, if nobody else does."""
    out = node.outputs[0]
    readers = scope.consumers(out)
    if scope.is_output(out) or not readers:
        return []
    for reader in readers:
        fits = reader.op == "DequantizeLinear" and (
            is_standard(reader) or reader.domain == _CONTRIB
        )
        if not fits or reader.inputs[0] is not out or scope.model.scope_of(reader) is not scope:
            return []
        if not _same_zero(scope, node, reader):
            return []
    return readers


def _same_zero(scope: Scope, one: gs.Node, other: gs.Node) -> bool:
    zeros = [n.inputs[2] if len(n.inputs) > 2 and n.inputs[2].name else None for n in (one, other)]
    if zeros[0] is zeros[1]:
        return _slices(scope, one) == _slices(scope, other)
    values = [np.zeros(1) if z is None else q.value_of(scope, z) for z in zeros]
    if values[0] is None or values[1] is None:
        return False
    flat = [np.unique(v.astype(np.int64)) for v in values if v is not None]
    return all(v.size == 1 for v in flat) and flat[0][0] == flat[1][0]


def _slices(scope: Scope, node: gs.Node) -> tuple[int | None, int | None]:
    """What axis and blocks say of a zero point that is not one number."""
    shape = scope.shape(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2].name else ()
    if shape in ((), (1,)):
        return None, None
    return attribute(node, "axis", int, _AXIS), attribute(node, "block_size", int, 0)


# -- QuantizeLinear --------------------------------------------------------------------------------


def _quantize(scope: Scope, node: gs.Node, readers: Sequence[gs.Node]) -> Rewrite:
    for each in (node, *readers):
        _resolved(each)
    e = Emitter(scope)
    x = node.inputs[0]
    scale = _scale(scope, node)
    zero = q.given(scope, node, 2, "zero point")
    dtype = _quantized_type(node, zero)
    x_type = scope.dtype(x)
    if x_type is None:
        raise Declined(f"the element type of '{x.name}' is not known")
    if not readers:
        bare = _with_zero(scope, node, dtype, scale)
        if bare is not None:
            return bare
        _castable(scope, dtype)
    data = q.floats_of(e, x)
    ratio = e("Div", data, _spread(e, node, scale))
    point = None
    if zero is not None and zero.uniform is None:
        point = _spread(e, node, zero)
    exact = x_type in (FLOAT, _INT32) and scale.dtype == FLOAT
    if not readers:
        levels = q.requantized(e, ratio, zero, point, dtype)
        rounds = Exactness.EXACT if exact else Exactness.ROUNDING
        return e.rewrite(node, e.cast(levels, dtype), exactness=rounds)
    levels = q.requantized(e, ratio, zero, point, dtype, centred=True)
    results = []
    for reader in readers:
        out, same = _scaled(e, reader, levels, _scale(scope, reader), dtype)
        results.append((reader.outputs[0], out))
        exact = exact and same
    rounds = Exactness.EXACT if exact else Exactness.ROUNDING
    return e.rewrite((node, *readers), results, exactness=rounds)


def _castable(scope: Scope, dtype: int) -> None:
    """Check that Cast takes a type.

    Raises:
        Declined: it does not, in the operator set of the model.
    """
    name = q.type_name(dtype)
    if scope.opset < _CAST_SINCE.get(name, 0):
        raise Declined(
            f"{name} is stored, and Cast takes it since operator set {_CAST_SINCE[name]}: export "
            "with that or a newer one"
        )


def _quantized_type(node: gs.Node, zero: Given | None) -> int:
    """The element type that QuantizeLinear gives."""
    stated = attribute(node, "output_dtype", int, 0) or q.UINT8
    dtype = stated if zero is None else zero.dtype
    if dtype not in q.LEVELS:
        raise Declined(f"{q.type_name(dtype)} is a format of floats, for which there is no formula")
    return dtype


# -- DequantizeLinear ------------------------------------------------------------------------------


def _dequantize(scope: Scope, node: gs.Node) -> Rewrite:
    _resolved(node)
    e = Emitter(scope)
    x = node.inputs[0]
    dtype, scale = scope.dtype(x), _scale(scope, node)
    zero = q.given(scope, node, 2, "zero point")
    if dtype is None and zero is not None:
        dtype = zero.dtype
    if dtype is None:
        raise Declined(f"the element type of '{x.name}' is not known")
    if dtype not in q.LEVELS and dtype != _INT32:
        raise Declined(f"{q.type_name(dtype)} is a format of floats, for which there is no formula")
    bare = _with_zero(scope, node, dtype, scale)
    if bare is not None:
        return bare
    point = None if zero is None or zero.is_zero else _spread(e, node, zero, dtype == _INT32)
    value = q.value_of(scope, x)
    data: gs.Tensor
    if value is not None:
        wide = value.astype(np.int64 if dtype == _INT32 else np.float32)
        if point is not None and not isinstance(point, gs.Tensor):
            wide, point = wide - point, None
        data = e.const(wide.astype(np.float32))
        folded = _folded(e, node, data, scale) if point is None else None
        if folded is not None:
            return e.rewrite(node, folded)
        point = None if point is None else _float_point(e, point)
    elif dtype == _INT32:
        data = e.cast(x if point is None else e("Sub", x, point), FLOAT)
        point = None
    else:
        _castable(scope, dtype)
        data = e.cast(x, FLOAT)
    if point is not None:
        data = e("Sub", data, point)
    out, exact = _scaled(e, node, data, scale, dtype)
    return e.rewrite(node, out, exactness=Exactness.EXACT if exact else Exactness.ROUNDING)


def _float_point(e: Emitter, point: gs.Tensor | NDArray[Any]) -> gs.Tensor | NDArray[Any]:
    return e.cast(point, FLOAT) if isinstance(point, gs.Tensor) else point


def _folded(e: Emitter, node: gs.Node, data: gs.Tensor, scale: Given) -> gs.Tensor | None:
    """The constant that a DequantizeLinear of constants is."""
    value = e.scope.constant(data, limit=None)
    spread = _spread(e, node, scale)
    if value is None or isinstance(spread, gs.Tensor):
        return None
    product = np.asarray(value.astype(np.float32) * spread, np.float32)
    out = attribute(node, "output_dtype", int, 0) or scale.dtype
    return e.const(product) if out == FLOAT else e.const(product, out)


def _scaled(
    e: Emitter, node: gs.Node, data: gs.Tensor, scale: Given, dtype: int
) -> tuple[gs.Tensor, bool]:
    """Numbers times their scale in the type of the result, and whether that is exact."""
    product = e("Mul", data, _spread(e, node, scale))
    out = attribute(node, "output_dtype", int, 0) or scale.dtype
    if out not in q.FLOATS:
        raise Declined(f"it gives {q.type_name(out)}, for which there is no formula")
    # Halves: the product of a small integer and a scale is exact in FP32, and rounded once.
    if out == FLOAT:
        return product, scale.dtype == FLOAT
    return e.cast(product, out), dtype in q.EIGHT and scale.dtype == out


# -- scales and zero points ------------------------------------------------------------------------


def _resolved(node: gs.Node) -> None:
    if has_unresolved(node, "axis", "block_size", "output_dtype", "precision"):
        raise Declined("an attribute is a parameter of the enclosing function; inline it first")


def _scale(scope: Scope, node: gs.Node) -> Given:
    scale = q.required(scope, node, 1, "scale")
    if scale.dtype not in q.FLOATS:
        raise Declined(f"its scale is {q.type_name(scale.dtype)}, for which there is no formula")
    return scale


def _with_zero(scope: Scope, node: gs.Node, dtype: int, scale: Given) -> Rewrite | None:
    """The node with a zero point, where that is all that it lacks."""
    lacking = len(node.inputs) < 3 or not node.inputs[2].name
    findings = [f for f in scope.judge(node).findings if f.refuses or f.in_doubt]
    if (
        not lacking
        or not findings
        or not is_standard(node)
        or any(f.kind != "input_must_be_present" for f in findings)
    ):
        return None
    if dtype != q.INT8 or any(not isinstance(d, int) for d in scale.shape):
        return None
    e = Emitter(scope)
    zeros = e.const(np.zeros(scale.shape, np.int8))
    return e.rewrite(node, e(node.op, *node.inputs[:2], zeros, **dict(node.attrs)))


def _spread(
    e: Emitter, node: gs.Node, one: Given, integers: bool = False
) -> gs.Tensor | NDArray[Any]:
    """A scale or zero point as it broadcasts to the data: in FP32, or in the type it has.

    Raises:
        Declined: the rank or a size of the data matters and is not known.
    """
    stored = one.tensor if one.value is None else one.value
    value = stored if integers else q.as_float(e, one)
    if one.single:
        return value.reshape(()) if isinstance(value, np.ndarray) else value
    shape = e.scope.shape(node.inputs[0])
    if shape is None:
        raise Declined(f"the rank of '{node.inputs[0].name}' is not known")
    axis = attribute(node, "axis", int, _AXIS) or 0
    if not -len(shape) <= axis < len(shape):
        raise Declined(f"its axis {axis} does not exist in a tensor of rank {len(shape)}")
    axis %= len(shape)
    block = attribute(node, "block_size", int, 0) or 0
    if not block:
        if len(one.shape) != 1:
            raise Declined("a scale or zero point along an axis has one dimension")
        if isinstance(value, np.ndarray):
            return value.reshape(-1, *[1] * (len(shape) - axis - 1))
        return e.unsqueeze(value, list(range(1, len(shape) - axis)))
    size = shape[axis]
    if not isinstance(size, int):
        raise Declined(
            f"dim {axis} of '{node.inputs[0].name}', which is quantised in blocks, is not known: "
            "fix it"
        )
    places = np.arange(size, dtype=np.int64) // block
    if isinstance(value, np.ndarray):
        return np.take(value, places, axis=axis)
    return e("Gather", value, e.const(places), axis=axis)
