"""Which wider element type carries the values of one that a target lacks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.target import Target, TensorFacts
from onnx_fix.target.dtypes import NAMES
from onnx_fix.target.facts import NodeFacts


@dataclass(frozen=True, slots=True)
class Carrier:
    """How the values of the element type ``was`` are carried in the type ``to``.

    ``low`` and ``high`` are the ends of an integer type; both are 0 for floats. With ``bits`` the
    carrier holds the same bits, not the same number, where the number does not fit.
    """

    was: int
    to: int
    low: int = 0
    high: int = 0
    bits: bool = False

    @property
    def is_float(self) -> bool:
        """Whether the values are floating-point numbers."""
        return self.low == self.high

    @property
    def width(self) -> int:
        """How many bits a number of the integer type has."""
        return self.span.bit_length() - 1

    @property
    def span(self) -> int:
        """How many numbers the integer type has."""
        return self.high - self.low + 1

    def of(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Values of the lacking type in the carrier."""
        kind = onnx.helper.tensor_dtype_to_np_dtype(self.to)
        return np.asarray(values).astype(kind)


def _integers() -> dict[int, Carrier]:
    t = TensorProto
    found = {}
    for was, width in ((t.INT2, 2), (t.INT4, 4), (t.INT8, 8), (t.INT16, 16)):
        found[int(was)] = Carrier(was, t.INT32, -(1 << width - 1), (1 << width - 1) - 1)
    for was, width in ((t.UINT2, 2), (t.UINT4, 4), (t.UINT8, 8), (t.UINT16, 16)):
        found[int(was)] = Carrier(was, t.INT32, 0, (1 << width) - 1)
    found[int(t.UINT32)] = Carrier(t.UINT32, t.INT64, 0, (1 << 32) - 1)
    found[int(t.UINT64)] = Carrier(t.UINT64, t.INT64, 0, (1 << 64) - 1, bits=True)
    return found


INTEGERS = _integers()
"""The integer types that a target may lack."""

_FLOATS = (
    TensorProto.BFLOAT16,
    TensorProto.DOUBLE,
    TensorProto.FLOAT8E4M3FN,
    TensorProto.FLOAT8E4M3FNUZ,
    TensorProto.FLOAT8E5M2,
    TensorProto.FLOAT8E5M2FNUZ,
    TensorProto.FLOAT8E8M0,
    TensorProto.FLOAT6E2M3,
    TensorProto.FLOAT6E3M2,
    TensorProto.FLOAT4E2M1,
)

CARRIERS = {**INTEGERS, **{int(t): Carrier(t, TensorProto.FLOAT) for t in _FLOATS}}
"""The carrier of every element type that has one."""

NARROW = frozenset(int(t) for t in _FLOATS if t not in (TensorProto.BFLOAT16, TensorProto.DOUBLE))
"""Floats of at most 8 bits: nothing computes with them."""

RANGES: dict[int, tuple[int, int]] = {
    int(TensorProto.BOOL): (0, 1),
    int(TensorProto.INT32): (-(1 << 31), (1 << 31) - 1),
    int(TensorProto.INT64): (-(1 << 63), (1 << 63) - 1),
    **{was: (c.low, c.high) for was, c in INTEGERS.items()},
}
"""The smallest and the largest number of each integer type."""


def name_of(dtype: int) -> str:
    """An element type as users write it, for example ``UINT8``."""
    return NAMES.get(dtype, str(dtype))


def has_int64(target: Target) -> bool:
    """Whether INT64 is a type of its own inside the target."""
    return target.dtype_names[int(TensorProto.INT64)] == "INT64"


_HALF = Carrier(TensorProto.UINT32, TensorProto.INT32, 0, (1 << 32) - 1, bits=True)


def carrier_of(dtype: int, target: Target) -> Carrier:
    """The carrier at a target: UINT32 goes by its bits where INT64 is INT32."""
    narrow = dtype == TensorProto.UINT32 and not has_int64(target)
    return _HALF if narrow else CARRIERS[dtype]


def _takes(
    target: Target, opset: int, op: str, x: TensorFacts, y: TensorFacts, to: int | None
) -> bool:
    attrs: dict[str, object] = {} if to is None else {"to": to}
    node = NodeFacts(op, "", "proposed", "", opset, (x,), (y,), attrs)
    return target.judge(node).status != "refused"


def lacks(target: Target, opset: int, dtype: int, *, bound: bool) -> bool:
    """Whether the target refuses a tensor of a type; ``bound``: as an input or output too."""
    x = TensorFacts("x", dtype, (1,), bound=bound)
    y = TensorFacts("y", dtype, (1,), bound=bound)
    return not _takes(target, opset, "Identity", x, y, None)


def casts(target: Target, opset: int, carrier: Carrier, *, at_input: bool) -> bool:
    """Whether the target converts between an input or output of the network and its carrier."""
    inner = TensorFacts("v", carrier.to, (1,), bound=False)
    outer = TensorFacts("w", carrier.was, (1,), bound=True)
    if at_input:
        return _takes(target, opset, "Cast", outer, inner, carrier.to)
    return _takes(target, opset, "Cast", inner, outer, carrier.was)
