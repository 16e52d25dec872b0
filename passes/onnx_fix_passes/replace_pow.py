"""The pass ``replace-pow``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix_passes._by_rule import is_taken

_SIGNED = frozenset({TensorProto.INT32, TensorProto.INT64})
_UNSIGNED = frozenset({TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32})
_NARROW = frozenset({TensorProto.INT8, TensorProto.INT16})
_HALVES = frozenset({TensorProto.BFLOAT16, TensorProto.FLOAT16})
_FLOATS = frozenset({TensorProto.DOUBLE, TensorProto.FLOAT, *_HALVES})
_EXACT = 1 << 24
_BITS = 6
"""A power of a whole number but -1, 0 and 1 is out of range where the exponent has more bits."""


@dataclass(frozen=True)
class ReplacePow(Pass):
    """Write Pow with integers as TensorRT takes it: integer powers of floats by an exponent of
    floats, and those of integers by products.

    Rules:

    1. A base of floats: the exponent is cast to their type, that of a
       half-precision base to FLOAT, as the base.
    2. A base of INT32 or INT64, and a constant exponent that is one whole number of at least 0:
       squares and products, as many as the number has bits and ones.
    3. The same base, and another exponent of integers: six squares, each taken where the exponent
       has the bit. Greater exponents leave the range of the type unless the base is -1, 0 or 1;
       for these, odd and even are kept apart. Negative exponents give 0 but for -1 and 1.

    It runs before the lowering, which would go through DOUBLE.

    Before:
        y = Pow (x, 3) of INT64
    After:
        y = Mul (x, Mul (x, x))
    Exact:
        Integers are, as far as the power is in range. Floats: rounding only; an exponent computed
        at run time is rounded beyond 2**24, and the rewrite says so. Left alone: a base of integers
        with an exponent of floats, whose power a float gives too small by one at times.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("dtype", "Pow", "the exponent is whole: integers, or constant"),
    )

    everywhere: bool = False
    """Also rewrite nodes with integers that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose an exponent of floats, or products, for every Pow refused for its integers."""
        for node in scope.nodes("Pow"):
            types = [scope.dtype(t) for t in node.inputs]
            whole = any(t in _SIGNED | _UNSIGNED | _NARROW for t in types)
            if whole and (self.everywhere or scope.refused(node)):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    x, y = node.inputs
    base, power = scope.dtype(x), scope.dtype(y)
    if base is None or power is None:
        return Skip(node, "the element type of an input is not known")
    given = scope.folded(y)
    for tensor in (x, y) if given is None else (x,):
        if not is_taken(scope, tensor):
            return Skip(node, f"{scope.target.name} does not take '{tensor.name}' for its type")
    if base in _FLOATS:
        return _of_floats(scope, node, base, given)
    if base not in _SIGNED:
        kind = TensorProto.DataType.Name(base)
        return Skip(node, f"powers of {kind} are left alone; use INT32 or INT64 in the network")
    number = None if given is None else _one_number(given)
    if number is not None and given is not None and given.ndim <= (scope.rank(x) or 0):
        return _by_squares(scope, node, base, number)
    if power not in _SIGNED:
        return Skip(
            node,
            "a power of integers by floats may be too small by one in floats; use an exponent of "
            "integers, or a base of floats",
        )
    return _by_bits(scope, node, base, power)


def _one_number(given: NDArray[Any]) -> int | None:
    """The whole number of at least 0 that all elements are."""
    if given.size != 1:
        return None
    value = float(given.reshape(-1)[0])
    return int(value) if value.is_integer() and 0 <= value < 1 << _BITS else None


def _of_floats(scope: Scope, node: gs.Node, base: int, given: NDArray[Any] | None) -> Rewrite:
    e = Emitter(scope)
    x, y = node.inputs
    work = int(TensorProto.FLOAT if base in _HALVES else base)
    note = ""
    if given is None:
        power: gs.Tensor = e.cast(y, work)
        note = f"exponents beyond {_EXACT:,} are rounded"
    else:
        power = e.const(given.astype(tensor_dtype_to_np_dtype(work)))
        if (np.abs(given.astype(np.float64)) > _EXACT).any():
            note = f"exponents beyond {_EXACT:,} are rounded"
    if work == base:
        result: gs.Tensor = e("Pow", x, power)
    else:
        result = e.cast(e("Pow", e.cast(x, work), power), base)
    return e.rewrite(node, result, exactness=Exactness.ROUNDING, note=note)


def _by_squares(scope: Scope, node: gs.Node, base: int, number: int) -> Rewrite:
    e = Emitter(scope)
    square = node.inputs[0]
    if not number:
        one, zero = e.const(1, base), e.const(0, base)
        return e.rewrite(node, e("Add", e("Mul", square, zero), one))
    total: gs.Tensor | None = None
    while number:
        if number & 1:
            total = square if total is None else e("Mul", square, total)
        number >>= 1
        if number:
            square = e("Mul", square, square)
    return e.rewrite(node, node.inputs[0] if total is None else total)


def _by_bits(scope: Scope, node: gs.Node, base: int, power: int) -> Rewrite:
    e = Emitter(scope)
    x, y = node.inputs
    zero, two, one = e.const(0, power), e.const(2, power), e.const(1, base)
    negative = e("Less", y, zero)
    # The lowest integer has no counterpart; -1 - y has the other parity.
    size = e("Where", negative, e("Sub", e.const(-1, power), y), y)
    odd = e("Sub", size, e("Mul", e("Div", size, two), two))
    most = e.const((1 << _BITS) - 2, power)
    rest = e("Where", e("Greater", size, most), e("Add", most, odd), size)
    total: gs.Tensor | None = None
    square: gs.Tensor = x
    for bit in range(_BITS):
        half = e("Div", rest, two)
        has = e("Greater", e("Sub", rest, e("Mul", half, two)), zero)
        factor = e("Where", has, square, one)
        total = factor if total is None else e("Mul", total, factor)
        rest = half
        if bit + 1 < _BITS:
            square = e("Mul", square, square)
    assert total is not None
    # x ** y = 1 / x ** -y, where -y is one more than what was taken.
    unit = e("Or", e("Equal", x, one), e("Equal", x, e.const(-1, base)))
    inverse = e("Where", unit, e("Mul", total, x), e.const(0, base))
    return e.rewrite(node, e("Where", negative, inverse, total))
