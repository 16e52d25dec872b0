"""Running sums of one repeated value are an arithmetic progression: Range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from onnx_fix.contract import Exactness
from onnx_fix.emit import Emitter
from onnx_fix.scope import SMALL, Scope, attribute, is_standard
from onnx_fix_passes._uniform import length, sizes

EXACT_COUNT = {
    int(TensorProto.BFLOAT16): 2**8,
    int(TensorProto.FLOAT16): 2**11,
    int(TensorProto.FLOAT): 2**24,
    int(TensorProto.DOUBLE): 2**53,
}
"""Up to where a float type holds every integer (its number of significand bits, IEEE 754)."""

_INTEGERS = frozenset(
    int(t) for t in (TensorProto.INT32, TensorProto.INT64, TensorProto.UINT32, TensorProto.UINT64)
)
_CONVERTED = frozenset({int(TensorProto.INT64), *EXACT_COUNT})
"""Types of sums that a Cast behind them is merged with: the others may have wrapped around."""
_LARGEST = 2**20
"""Steps and offsets beyond this are left to the general forms, so that a Range that runs in 32
bits inside TensorRT does not overflow before the original would."""


@dataclass(frozen=True)
class Progression:
    """The sums of one CumSum over equal values, with what follows it as far as it is taken in.

    Element ``i`` of ``n`` along ``axis`` is ``step * (i + 1) + offset``, with ``i`` in the place
    of ``i + 1`` when exclusive, counted from the far end when reverse. ``dtype`` is the type that
    the sums are made in, ``final`` that of the result. ``chain`` holds the nodes that it replaces,
    the last of them first.
    """

    data: gs.Tensor
    axis: int
    step: int
    offset: int
    scale: float | None
    exclusive: bool
    reverse: bool
    dtype: int
    final: int
    chain: tuple[gs.Node, ...]


def progression(
    scope: Scope, node: gs.Node, axis: int, value: np.generic, *, exclusive: bool, reverse: bool
) -> Progression | None:
    """What a CumSum over a tensor filled with ``value`` computes; None where it is no such thing.

    None too where a static length is beyond what the float type counts exactly, or the value is
    not finite (nought times infinity is no sum of nothing).
    """
    data = node.inputs[0]
    dtype, shape = scope.dtype(data), scope.shape(data)
    if dtype is None or shape is None or not np.isfinite(float(value)):
        return None
    number = float(value)
    whole = number.is_integer() and 0 < abs(number) <= _LARGEST
    limit = EXACT_COUNT.get(dtype)
    size = shape[axis]
    if not whole:
        if limit is None or number == 0:
            return None
        return Progression(data, axis, 1, 0, number, exclusive, reverse, dtype, dtype, (node,))
    step = int(number)
    if limit is not None and isinstance(size, int):
        limit -= abs(step) * size
        if limit < 0:
            return None
    chain, offset, final = _absorb(scope, node, dtype, _LARGEST if limit is None else limit // 2)
    return Progression(data, axis, step, offset, None, exclusive, reverse, dtype, final, chain)


def _absorb(
    scope: Scope, node: gs.Node, dtype: int, most: int
) -> tuple[tuple[gs.Node, ...], int, int]:
    """The nodes after a CumSum that only shift its result by at most ``most`` or convert it.

    Returned with them: the shift, and the type of the result.
    """
    chain, offset = [node], 0
    while True:
        out = chain[0].outputs[0]
        readers = scope.consumers(out)
        if scope.is_output(out) or len(readers) != 1 or not is_standard(readers[0]):
            break
        reader = readers[0]
        if scope.model.scope_of(reader) is not scope:
            break
        if reader.op == "Cast":
            to = attribute(reader, "to", int)
            if dtype in _CONVERTED and (to in _INTEGERS or to in EXACT_COUNT):
                # Only as the last step: what is added behind it is added in another type.
                return (reader, *chain), offset, int(to or 0)
            break
        shift = _shift(scope, reader, out)
        if shift is None or abs(offset + shift) > most:
            break
        offset += shift
        chain.insert(0, reader)
    return tuple(chain), offset, dtype


def _shift(scope: Scope, node: gs.Node, data: gs.Tensor) -> int | None:
    """The whole number that an Add or Sub adds to ``data``, or None."""
    if node.op not in ("Add", "Sub"):
        return None
    other = node.inputs[1] if node.inputs[0] is data else node.inputs[0]
    if node.op == "Sub" and node.inputs[0] is not data:
        return None
    value = scope.folded(other)
    if value is None or value.size != 1 or value.ndim > (scope.rank(data) or 0):
        return None
    number = float(value.reshape(-1)[0])
    if not number.is_integer():
        return None
    return int(number) if node.op == "Add" else -int(number)


def emit(scope: Scope, e: Emitter, p: Progression) -> gs.Tensor:
    """The nodes of a progression: an integer Range, then Cast, Mul and Expand where needed.

    The Range is of integers whatever the result is: before 8.4 TensorRT takes no other type when
    the limits are known at run time only.
    """
    shape = scope.shape(p.data) or ()
    size = shape[p.axis]
    if p.reverse:
        start = p.offset - (p.step if p.exclusive else 0)
        delta = -p.step
    else:
        start = p.offset + (0 if p.exclusive else p.step)
        delta = p.step
    if isinstance(size, int) and size <= SMALL:
        first = start + (p.step * size if p.reverse else 0)
        made = first + delta * np.arange(size, dtype=np.int64)
        y = _constant(e, made, p)
    else:
        n = length(scope, e, p.data, p.axis)
        total = n if p.step == 1 else e("Mul", n, np.asarray(p.step, np.int64))
        shifted = e("Add", total, np.asarray(start, np.int64)) if start else total
        fixed = e.const(np.asarray(start, np.int64))
        bounds = (shifted, fixed) if p.reverse else (fixed, shifted)
        y = e("Range", *bounds, np.asarray(delta, np.int64))
        if p.scale is not None:
            y = e("Mul", e.cast(y, p.dtype), e.const(np.asarray(p.scale), p.dtype))
        elif p.final != TensorProto.INT64:
            y = e.cast(y, p.final)
    if len(shape) == 1:
        return y
    tail = len(shape) - 1 - p.axis
    column = e.reshape(y, [-1] + [1] * tail) if tail else y
    return e("Expand", column, sizes(scope, e, p.data))


def _constant(e: Emitter, made: NDArray[np.int64], p: Progression) -> gs.Tensor:
    to = np.dtype(tensor_dtype_to_np_dtype(p.final))
    values = made if p.scale is None else made.astype(np.float64) * p.scale
    return e.const(values.astype(to), p.final)


def exactness(scope: Scope, p: Progression) -> tuple[Exactness, str]:
    """How the progression relates to the sums, and the note for the user."""
    limit = EXACT_COUNT.get(p.dtype)
    size = (scope.shape(p.data) or ())[p.axis]
    if limit is None or (p.scale is None and isinstance(size, int)):
        return Exactness.EXACT, ""
    if p.scale is not None:
        return Exactness.ROUNDING, ""
    most = (limit - abs(p.offset)) // abs(p.step)
    return Exactness.ROUNDING, f"bit for bit the same up to {most:,} elements along the axis"
