"""Round numbers to floats of at most 8 bits, in FLOAT."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnx import TensorProto

from onnx_fix.target import TensorFacts
from onnx_fix_passes._wide_steps import Steps

_FLOAT = int(TensorProto.FLOAT)
_INT = int(TensorProto.INT32)


@dataclass(frozen=True)
class Format:
    """A float type: the bits of its fraction, its least exponent, its largest number.

    ``beyond`` is what larger numbers become where they are not held at the largest one; a type
    without it has no such number.
    """

    fraction: int
    least: int
    largest: float
    beyond: float | None = math.nan


FORMATS: dict[int, Format] = {
    int(TensorProto.FLOAT8E4M3FN): Format(3, -6, 448.0),
    int(TensorProto.FLOAT8E4M3FNUZ): Format(3, -7, 240.0),
    int(TensorProto.FLOAT8E5M2): Format(2, -14, 57344.0, math.inf),
    int(TensorProto.FLOAT8E5M2FNUZ): Format(2, -15, 57344.0),
    int(TensorProto.FLOAT6E2M3): Format(3, 0, 7.5, None),
    int(TensorProto.FLOAT6E3M2): Format(2, -2, 28.0, None),
    int(TensorProto.FLOAT4E2M1): Format(1, 0, 6.0, None),
}
"""The types that can be rounded to, by their number (ONNX, "Float stored in 8 bits")."""


def rounded(steps: Steps, x: str, kind: Format, *, saturate: bool, out: str) -> str:
    """The nearest number of a type, the even one of two, for every element of a FLOAT tensor.

    The exponent is found by halving: where the number is at least 2**8, it is divided by that, and
    so on. Every step is a product with a power of two, so that nothing but the rounding rounds,
    however a compiler contracts the products.
    """
    held = saturate or kind.beyond is None
    most = kind.largest if held else 4 * kind.largest
    size = steps.add("Min", steps.add("Abs", x), steps.const(most, _FLOAT))
    scaled = _times(steps, size, 2.0**-kind.least)
    factor = ""
    one = steps.const(1.0, _FLOAT)
    for power in _halves(math.floor(math.log2(most)) - kind.least):
        small = steps.add("Less", scaled, steps.const(2.0**power, _FLOAT))
        down = steps.add("Where", small, one, steps.const(2.0**-power, _FLOAT))
        up = steps.add("Where", small, one, steps.const(2.0**power, _FLOAT))
        scaled = steps.add("Mul", scaled, down)
        factor = steps.add("Mul", factor, up) if factor else up
    whole = _round(steps, _times(steps, scaled, 2.0**kind.fraction))
    made = steps.add("Mul", whole, factor)
    made = _times(steps, made, 2.0 ** (kind.least - kind.fraction))
    if not held:
        over = steps.add("Greater", made, steps.const(kind.largest, _FLOAT))
        made = steps.add("Where", over, steps.const(kind.beyond, _FLOAT), made)
    negative = steps.add("Less", x, steps.const(0.0, _FLOAT))
    made = steps.add("Where", negative, steps.add("Neg", made), made)
    # What has no NaN has a zero in its place.
    nan = steps.const(0.0, _FLOAT) if kind.beyond is None else x
    return steps.add("Where", steps.add("IsNaN", x), nan, made, out=out)


def _times(steps: Steps, x: str, number: float) -> str:
    return x if number == 1 else steps.add("Mul", x, steps.const(number, _FLOAT))


def _halves(most: int) -> list[int]:
    """Powers of two, the largest first, whose sums reach every number up to ``most``."""
    return [1 << k for k in reversed(range(max(1, most.bit_length())))]


def _round(steps: Steps, x: str) -> str:
    """The nearest integer, the even one of two, of small numbers that are not negative."""
    facts = TensorFacts("x", _FLOAT, (1,))
    if steps.scope.accepts("Round", [facts], {}, [facts]):
        return steps.add("Round", x)
    floor = _floor(steps, x)
    half = _floor(steps, _times(steps, floor, 0.5))
    odd = steps.add("Sub", floor, _times(steps, half, 2.0))
    # One half more goes up from odd numbers alone; these are at least 1, with steps of 2**-23.
    edge = steps.add("Sub", steps.const(0.5, _FLOAT), _times(steps, odd, 2.0**-24))
    up = steps.add("Greater", steps.add("Sub", x, floor), edge)
    return steps.add("Add", floor, steps.cast(up, TensorProto.BOOL, _FLOAT))


def _floor(steps: Steps, x: str) -> str:
    return steps.cast(steps.cast(x, _FLOAT, _INT), _INT, _FLOAT)
