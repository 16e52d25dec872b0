"""What quantised tensors are: their types, scales and zero points, and their numbers as floats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, elem_type
from onnx_fix.target import TensorFacts
from onnx_fix.target.facts import Constness
from onnx_fix_passes._rounding import by_floor, clip, has_round, rounded

FLOAT = int(TensorProto.FLOAT)
INT8, UINT8 = int(TensorProto.INT8), int(TensorProto.UINT8)
FLOATS = frozenset({FLOAT, int(TensorProto.FLOAT16), int(TensorProto.BFLOAT16)})
EIGHT = frozenset({INT8, UINT8})
EXACT_BELOW = 1 << 24
"""Every integer up to this one is a float32."""

LEVELS: dict[int, tuple[int, int]] = {
    UINT8: (0, 255),
    INT8: (-128, 127),
    int(TensorProto.UINT16): (0, 65535),
    int(TensorProto.INT16): (-32768, 32767),
    int(TensorProto.UINT4): (0, 15),
    int(TensorProto.INT4): (-8, 7),
    int(TensorProto.UINT2): (0, 3),
    int(TensorProto.INT2): (-2, 1),
}
"""The lowest and the highest number of the integer types that QuantizeLinear makes."""


class Declined(Exception):
    """A node cannot be written otherwise; the text says why."""


def type_name(dtype: int) -> str:
    """An element type as messages call it."""
    return str(TensorProto.DataType.Name(dtype))


def value_of(scope: Scope, tensor: gs.Tensor) -> NDArray[Any] | None:
    """The value of a constant of any size, or of a small expression of constants."""
    value = scope.constant(tensor, limit=None)
    return scope.folded(tensor) if value is None else value


@dataclass(frozen=True)
class Given:
    """A scale or a zero point: its value where that is constant, and its shape.

    ``shape`` is that of a single number for both () and (1,).
    """

    tensor: gs.Tensor
    value: NDArray[Any] | None
    dtype: int
    shape: tuple[Any, ...]

    @property
    def single(self) -> bool:
        """Whether one number holds for the whole tensor."""
        return self.shape in ((), (1,))

    @property
    def uniform(self) -> float | None:
        """The one value that a constant holds, if there is but one."""
        if self.value is None or not self.value.size:
            return None
        flat = self.value.reshape(-1).astype(np.float64)
        return float(flat[0]) if (flat == flat[0]).all() else None

    @property
    def is_zero(self) -> bool:
        """Whether it is known to be zero throughout."""
        return self.uniform == 0


def given(scope: Scope, node: gs.Node, index: int, what: str) -> Given | None:
    """A scale or zero point of a node, None where it is left out.

    Raises:
        Declined: its type or rank is not known.
    """
    tensor = node.inputs[index] if index < len(node.inputs) else None
    if tensor is None or not tensor.name:
        return None
    value = value_of(scope, tensor)
    if value is not None:
        return Given(tensor, value, elem_type(value.dtype), value.shape)
    dtype, shape = scope.dtype(tensor), scope.shape(tensor)
    if dtype is None:
        raise Declined(f"the element type of its {what} '{tensor.name}' is not known")
    if shape is None:
        raise Declined(f"the rank of its {what} '{tensor.name}' is not known")
    return Given(tensor, None, dtype, shape)


def required(scope: Scope, node: gs.Node, index: int, what: str) -> Given:
    """As `given`, where ONNX asks for it.

    Raises:
        Declined: it is missing, or its type or rank is not known.
    """
    found = given(scope, node, index, what)
    if found is None:
        raise Declined(f"its {what} is missing")
    return found


def as_float(e: Emitter, one: Given) -> gs.Tensor | NDArray[Any]:
    """It in FP32: an array where it is constant. A single number has no dims where known."""
    if one.value is not None:
        array: NDArray[Any] = one.value.astype(np.float32)
        return array.reshape(()) if one.single else array
    tensor = one.tensor if one.dtype == FLOAT else e.cast(one.tensor, FLOAT)
    return e.squeeze(tensor, [0]) if one.shape == (1,) else tensor


def floats_of(e: Emitter, x: gs.Tensor) -> gs.Tensor:
    """A tensor of numbers in FP32: a constant where it is one."""
    value = value_of(e.scope, x)
    if value is not None:
        return e.const(value.astype(np.float32))
    return x if e.scope.dtype(x) == FLOAT else e.cast(x, FLOAT)


def requantized(
    e: Emitter,
    x: gs.Tensor,
    zero: Given | None,
    point: gs.Tensor | NDArray[Any] | None,
    dtype: int,
    *,
    centred: bool = False,
) -> gs.Tensor:
    """FP32 numbers rounded half to even, the zero point added, and held in an integer type.

    ``point`` is the zero point as it broadcasts to ``x``. ``centred``: less the zero point again.
    The result is of FP32.
    """
    low, high = LEVELS[dtype]
    shift = 0.0 if zero is None else zero.uniform
    if shift is not None:
        held = rounded(e, x, int(low - shift), int(high - shift))
        return held if centred or not shift else e("Add", held, e.const(float(shift)))
    whole = e("Round", x) if has_round(e.scope) else by_floor(e, clip(e, x, -(2**22), 2**22))
    assert point is not None
    held = clip(e, e("Add", whole, point), low, high)
    return e("Sub", held, point) if centred else held


def is_symmetric(zero: Given | None, dtype: int) -> bool:
    """Whether zero lies in the middle: INT8 with zero point 0, or UINT8 with 128."""
    if dtype == INT8:
        return zero is None or zero.is_zero
    return dtype == UINT8 and zero is not None and zero.uniform == 128


def takes_int8(scope: Scope, op: str, scale: Given, axis: int | None = None) -> bool:
    """Whether the target quantises to INT8 with such a scale and a zero point of 0."""
    points = np.zeros(scale.value.shape if scale.value is not None else scale.shape, np.int8)
    constness: Constness = "runtime" if scale.value is None else "initializer"
    inputs = [
        TensorFacts("x", FLOAT if op == "QuantizeLinear" else INT8),
        TensorFacts("scale", scale.dtype, scale.shape, constness, lambda: scale.value),
        TensorFacts("zero", INT8, points.shape, "initializer", lambda: points),
    ]
    out = TensorFacts("y", INT8 if op == "QuantizeLinear" else FLOAT)
    attrs = {} if axis is None else {"axis": axis}
    return scope.accepts(op, inputs, attrs, [out])


def largest(dtype: int, zero: Given | None) -> int:
    """The largest absolute value of a number less its zero point."""
    low, high = LEVELS[dtype]
    if zero is None:
        return max(-low, high)
    if zero.value is None:
        return high - low
    points = zero.value.astype(np.int64)
    return int(max(points.max(initial=low) - low, high - points.min(initial=high)))


def shape_of(scope: Scope, tensor: gs.Tensor) -> tuple[int, ...]:
    """The sizes of a constant."""
    value = value_of(scope, tensor)
    return () if value is None else value.shape
