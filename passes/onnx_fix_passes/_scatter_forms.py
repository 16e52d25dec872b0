"""What the two scatters share: how a value meets another, and element types that stand in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.contract import Exactness, Skip
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix.target import Dim, TensorFacts

Reduction: TypeAlias = Literal["none", "add", "mul", "max", "min"]

_REDUCTIONS: dict[str, Reduction] = {
    "none": "none",
    "add": "add",
    "mul": "mul",
    "max": "max",
    "min": "min",
}
_PAIR = {"add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}
_MANY = {"add": "ReduceSum", "mul": "ReduceProd", "max": "ReduceMax", "min": "ReduceMin"}

_THROUGH_INT32 = frozenset(
    {
        int(TensorProto.BOOL),
        int(TensorProto.INT8),
        int(TensorProto.INT16),
        int(TensorProto.UINT8),
        int(TensorProto.UINT16),
    }
)
_FLOATS = frozenset(
    {
        int(TensorProto.BFLOAT16),
        int(TensorProto.DOUBLE),
        int(TensorProto.FLOAT),
        int(TensorProto.FLOAT16),
    }
)
_MOST_FILLED = 1 << 12
"""A tensor of one value of at most this many elements is written as an initializer."""

_NUMBERS = _FLOATS | {int(TensorProto.INT32), int(TensorProto.INT64)}


@dataclass(frozen=True, slots=True)
class Kind:
    """How a scatter joins values, and the element types: its own, and that of the new nodes."""

    reduction: Reduction
    dtype: int
    carrier: int

    @property
    def exactness(self) -> Exactness:
        """Sums and products of floats are ordered otherwise."""
        if self.reduction in ("add", "mul") and self.dtype in _FLOATS:
            return Exactness.ROUNDING
        return Exactness.EXACT


def kind_of(scope: Scope, node: gs.Node) -> Kind | Skip:
    """The kind of a scatter, or why it cannot be written in other ops."""
    if has_unresolved(node, "reduction", "axis"):
        return Skip(node, "an attribute is a parameter of the enclosing function; inline it first")
    spelled = attribute(node, "reduction", str, "none") or "none"
    if spelled not in _REDUCTIONS:
        return Skip(node, f"ONNX has no reduction '{spelled}'")
    dtype = scope.dtype(node.inputs[0]) or scope.dtype(node.inputs[2])
    if dtype is None:
        return Skip(node, "the element type of its data is not known")
    if dtype == TensorProto.BOOL and spelled != "none":
        return Skip(node, f"ONNX does not say what reduction '{spelled}' is for BOOL")
    carrier = int(TensorProto.INT32) if dtype in _THROUGH_INT32 else dtype
    moved = TensorFacts("x", carrier, (2,))
    condition = TensorFacts("c", TensorProto.BOOL, (2,))
    known = carrier in _NUMBERS and scope.accepts("Where", [condition, moved, moved])
    if not known or (
        carrier != dtype
        and not scope.accepts("Cast", [TensorFacts("x", dtype, (2,))], {"to": carrier}, [moved])
    ):
        name = TensorProto.DataType.Name(dtype)
        return Skip(node, f"{scope.target.name} takes no {name} in Where either")
    return Kind(_REDUCTIONS[spelled], dtype, carrier)


def carried(e: Emitter, kind: Kind, x: gs.Tensor) -> gs.Tensor:
    """The tensor in the type that the new nodes compute in."""
    return x if kind.carrier == kind.dtype else e.cast(x, kind.carrier)


def returned(e: Emitter, kind: Kind, x: gs.Tensor) -> gs.Tensor:
    """The tensor in the type of the scatter."""
    return x if kind.carrier == kind.dtype else e.cast(x, kind.dtype)


def joined(e: Emitter, kind: Kind, old: gs.Tensor, new: gs.Tensor) -> gs.Tensor:
    """One old value and one new one for each element."""
    if kind.reduction == "none":
        return new
    return e(_PAIR[kind.reduction], old, new)


def reduced(
    e: Emitter, kind: Kind, hit: gs.Tensor, new: gs.Tensor, old: gs.Tensor, axis: int
) -> gs.Tensor:
    """Each old value with all new ones that hit it.

    ``hit`` and ``new`` count the new values along an axis, and the first of them hits nothing;
    ``old`` does not have this axis.
    """
    if kind.reduction in ("add", "mul"):
        neutral = e.const(0 if kind.reduction == "add" else 1, kind.carrier)
        shown = e("Where", hit, new, neutral)
        return e(_PAIR[kind.reduction], old, e.reduce(_MANY[kind.reduction], shown, [axis]))
    # What hits nothing is the old value, which counts anyway.
    shown = e("Where", hit, new, e.unsqueeze(old, [axis]))
    return e.reduce(_MANY[kind.reduction], shown, [axis])


def ramp(e: Emitter, size: gs.Tensor | int, trailing: int) -> gs.Tensor:
    """0, 1 and so on, ``size`` numbers along the axis before ``trailing`` dims of size 1.

    ``size`` is a number or an INT64 tensor of shape (1,).
    """
    if isinstance(size, int):
        return e.const(np.arange(size, dtype=np.int64).reshape(size, *[1] * trailing))
    numbers = e("Range", e.const(0), e.squeeze(size, [0]), e.const(1))
    return e.reshape(numbers, [-1] + [1] * trailing) if trailing else numbers


def one_more(e: Emitter, size: gs.Tensor | int) -> gs.Tensor | int:
    """A size and one."""
    return size + 1 if isinstance(size, int) else e("Add", size, e.ints([1]))


def size_of(e: Emitter, x: gs.Tensor, axis: int) -> gs.Tensor | int:
    """A size of a tensor of the model: a number, or an INT64 tensor of shape (1,)."""
    shape = e.scope.shape(x)
    size: Dim = None if shape is None else shape[axis]
    return size if isinstance(size, int) else e.dim(x, axis)


def filled(e: Emitter, value: int, dtype: int, sizes: Sequence[gs.Tensor | int]) -> gs.Tensor:
    """A tensor of one value."""
    known = [s for s in sizes if isinstance(s, int)]
    if len(known) == len(sizes) and math.prod(known) <= _MOST_FILLED:
        return e.const(np.full(known, value), dtype)
    shape = e.concat([e.ints([s]) if isinstance(s, int) else s for s in sizes], 0)
    return e("Expand", e.const(np.full([1] * len(sizes), value), dtype), shape)


def from_front(
    e: Emitter, numbers: gs.Tensor | NDArray[np.generic], data: gs.Tensor, axis: int, sure: bool
) -> gs.Tensor:
    """INT64 indices of an axis of the data, of which none is negative any more.

    ``sure`` says that a tensor holds no negative ones as it is.
    """
    shape = e.scope.shape(data)
    size: Dim = None if shape is None else shape[axis]
    if isinstance(numbers, np.ndarray):
        numbers = numbers.astype(np.int64)
        negative = np.less(numbers, 0)
        sure = not negative.any()
        if not sure and isinstance(size, int):
            return e.const(np.where(negative, np.add(numbers, size), numbers))
        numbers = e.const(numbers)
    if sure:
        return numbers
    length = e.dim(data, axis)
    return e("Where", e("Less", numbers, e.const(0)), e("Add", numbers, length), numbers)


def too_large(sizes: Sequence[Dim], limit: int) -> int | None:
    """The product of the sizes that are known, where it exceeds the limit."""
    product = math.prod(size for size in sizes if isinstance(size, int))
    return product if product > limit else None
