"""Floats as a target compares them."""

from __future__ import annotations

import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix.target.facts import TensorFacts

FLOATS = frozenset(
    {TensorProto.BFLOAT16, TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.FLOAT16}
)
_HALVES = frozenset({TensorProto.BFLOAT16, TensorProto.FLOAT16})
_EQUAL_OF_FLOATS_SINCE = 11
"""Before, ONNX compares floats by Less and Greater only (operator changelog)."""


def has_equal(scope: Scope) -> bool:
    """Whether ONNX lets Equal compare floats at the operator set of the model."""
    return scope.opset >= _EQUAL_OF_FLOATS_SINCE


def comparable(scope: Scope, e: Emitter, x: gs.Tensor, op: str) -> tuple[gs.Tensor, int] | str:
    """A tensor of the same values that the target compares, and its type; or why there is none.

    Halves are compared as they are where the target does that, else as float32, which holds each of
    them.
    """
    dtype = scope.dtype(x)
    if dtype is None:
        return "the element type is not known"
    if dtype not in FLOATS:
        return f"ONNX has none of {TensorProto.DataType.Name(dtype)}"
    if _takes(scope, op, dtype, scope.shape(x)):
        return x, dtype
    wide = int(TensorProto.FLOAT)
    both = [TensorFacts("x", t, scope.shape(x)) for t in (dtype, wide)]
    cast = scope.accepts("Cast", both[:1], {"to": wide}, both[1:])
    if dtype in _HALVES and cast and _takes(scope, op, wide, scope.shape(x)):
        return e.cast(x, wide), wide
    name = TensorProto.DataType.Name(dtype)
    return f"{scope.target.name} takes no {op} of {name} either; cast it to FLOAT in the network"


def _takes(scope: Scope, op: str, dtype: int, shape: object) -> bool:
    like = TensorFacts("x", dtype, shape if isinstance(shape, tuple) else None)
    outputs = [TensorFacts("y", TensorProto.BOOL, like.shape)]
    return scope.accepts(op, [like, like], outputs=outputs)
