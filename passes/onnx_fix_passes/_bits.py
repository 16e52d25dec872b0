"""Bits of integers by arithmetic in INT32 and INT64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix.target import TensorFacts

_INT32, _INT64 = int(TensorProto.INT32), int(TensorProto.INT64)
_WORK: dict[int, tuple[int, int, bool]] = {
    TensorProto.INT8: (_INT32, 8, True),
    TensorProto.INT16: (_INT32, 16, True),
    TensorProto.INT32: (_INT32, 32, True),
    TensorProto.INT64: (_INT64, 64, True),
    TensorProto.UINT8: (_INT32, 8, False),
    TensorProto.UINT16: (_INT32, 16, False),
    TensorProto.UINT32: (_INT64, 32, False),
}
CHUNK = 30
"""A power of two up to this one fits INT32."""


@dataclass(frozen=True)
class Bits:
    """How the bits of an element type are worked on: ``work`` holds every number of it."""

    e: Emitter
    dtype: int
    work: int
    width: int
    signed: bool

    def const(self, value: object) -> gs.Constant:
        """A constant of the working type."""
        return self.e.const(np.asarray(value, tensor_dtype_to_np_dtype(self.work)))

    def take(self, x: gs.Tensor) -> gs.Tensor:
        """A tensor in the working type."""
        return x if self.dtype == self.work else self.e.cast(x, self.work)

    def give(self, x: gs.Tensor) -> gs.Tensor:
        """A result, which is in range, in its own type."""
        return x if self.dtype == self.work else self.e.cast(x, self.dtype)

    def modulo(self, x: gs.Tensor, by: NDArray[np.generic] | int) -> gs.Tensor:
        """What is left of a division that rounds down, by constant positive numbers."""
        e, divisor = self.e, self.const(by)
        like = TensorFacts("proposed", self.work, None)
        if e.scope.accepts("Mod", [like, like], {}, [like]):
            return e("Mod", x, divisor)
        rest = e("Sub", x, e("Mul", e("Div", x, divisor), divisor))
        return e("Where", e("Less", rest, self.const(0)), e("Add", rest, divisor), rest)

    def wrapped(self, x: gs.Tensor) -> gs.Tensor:
        """The number of the type that has the same low bits."""
        if not self.signed:
            return self.modulo(x, 1 << self.width)
        half = self.const(1 << (self.width - 1))
        return self.e("Sub", self.modulo(self.e("Add", x, half), 1 << self.width), half)


def bits_of(e: Emitter, dtype: int) -> Bits | None:
    """How to work on the bits of a type; None where no signed integers hold its numbers."""
    found = _WORK.get(dtype)
    return None if found is None else Bits(e, dtype, *found)


def is_narrow(scope: Scope, bits: Bits) -> bool:
    """Whether the target holds the working type in fewer bits than it has."""
    narrow = scope.target.dtype_names[TensorProto.INT64] == "INT32"
    return bits.work == TensorProto.INT64 and narrow


def runs(mask: int, width: int) -> list[tuple[int, int]]:
    """The runs of ones of a number, lowest first: from bit, to the bit behind."""
    found, start = [], None
    for bit in range(width + 1):
        one = bit < width and bool(mask >> bit & 1)
        if one and start is None:
            start = bit
        if not one and start is not None:
            found.append((start, bit))
            start = None
    return found
