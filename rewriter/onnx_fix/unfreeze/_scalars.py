"""Single numbers that are made from a size: the size itself, its inverse, root or logarithm."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from fractions import Fraction
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.symbolic import Size, size
from onnx_fix.symbolic.size import Quotient
from onnx_fix.unfreeze._study import SMALL, Study, Unclear
from onnx_fix.unfreeze.expressions import (
    Array,
    Call,
    Expression,
    Literal,
    Number,
    Values,
    call,
    cast,
    children,
    compute,
    literal,
)

_PLAIN_BITS: dict[int, int] = {TensorProto.FLOAT16: 6, TensorProto.BFLOAT16: 4}
"""How many binary digits a number may have that people write, in types with few."""
_PLAIN = 64
"""Quotients ``p/q`` of two sizes with ``p*q`` up to this one are such as people write."""
_LOGARITHMS = (2.8, 8.3)
"""Between which numbers the logarithm of a whole one is telling."""
_SAME = 2.0**-23
_INEXACT = ("Log", "Exp", "Sin", "Cos")


def number_in(
    study: Study, found: Sequence[Array], values: Sequence[Values], dtype: int
) -> Expression | None:
    """What makes one number, of rank 0, in all samples.

    Raises:
        Unclear: it may be a constant or a size, or several of them.
    """
    scalars = [f.reshape(()) for f in found]
    constant = all(s.tobytes() == scalars[0].tobytes() for s in scalars)
    if dtype == TensorProto.BOOL:
        return literal(scalars[0]) if constant else None
    wide = [float(s) for s in scalars]
    if not np.isfinite(wide).all():
        return literal(scalars[0]) if constant else None
    if all(w == np.rint(w) and abs(w) < 1 << 53 for w in wide):
        known = study.number([int(w) for w in wide], values, "a number")
        alone = len(values) == 1 and scalars[0].dtype.kind == "f"
        half = _half_of(study, wide[0], values) if alone else None
        if half is not None and (known is None or known.number is not None):
            raise Unclear(f"a number is {wide[0]:g}, which may be a constant or half of {half}")
        if known is not None and scalars[0].dtype.kind == "f" and _divides_out(known, values):
            raise Unclear(f"a number may be {known}, rounded down or not; export at another size")
        if known is not None:
            return literal(scalars[0]) if known.number is not None else cast(Number(known), dtype)
    if scalars[0].dtype.kind in "iu":
        return None
    made = [
        expression
        for expression, slack in _functions(study, wide, values, dtype)
        if all(
            _near(s, compute(expression, v), slack) for s, v in zip(scalars, values, strict=True)
        )
    ]
    if constant and made and not _certain(made, wide[0], dtype, study.fixed, values[0]):
        raise Unclear(f"a number is {wide[0]:.9g}, which may be a constant or {made[0]}")
    if constant and not made and len(values) == 1 and (whole := logarithm_of(wide[0])):
        raise Unclear(f"a number is {wide[0]:.9g}, which may be a constant or the log of {whole}")
    if constant and not made:
        return literal(scalars[0])
    return study.settled(made, exact=False)


def _half_of(study: Study, value: float, values: Sequence[Values]) -> Size | None:
    """The size that a number of one export may be half of."""
    if abs(value) <= SMALL:
        return None
    return next((s for s in study.known if s.at(values[0]) == 2 * abs(value)), None)


def _divides_out(value: Size, values: Sequence[Values]) -> bool:
    """Whether nothing shows that a quotient in it is rounded."""
    quotients = [a for m, _ in value.terms for a in m if isinstance(a, Quotient)]
    return any(all(q.top.at(v) % q.bottom.at(v) == 0 for v in values) for q in quotients)


def is_exact(expression: Expression) -> bool:
    """Whether every runtime computes it to the last bit."""
    if isinstance(expression, Call) and expression.op in _INEXACT:
        return False
    return all(map(is_exact, children(expression)))


def _functions(
    study: Study, wide: Sequence[float], values: Sequence[Values], dtype: int
) -> Iterator[tuple[Expression, float]]:
    """Expressions that come close, each with how far off its computation may be."""
    work = TensorProto.DOUBLE if dtype == TensorProto.DOUBLE else TensorProto.FLOAT
    one = literal(1, work)
    # A logarithm has many digits.
    is_odd = any(telling(w, dtype) for w in wide)
    logarithms: list[tuple[Expression, NDArray[np.float64]]] = []
    for value in _sizes(study, values):
        numbers = [value.at(v) for v in values]
        if min(numbers) <= 2:
            continue
        s = np.asarray(numbers, np.float64)
        x = cast(Number(value), work)
        root, logarithm = call("Sqrt", x), call("Log", x)
        logarithms.append((logarithm, np.log(s)))
        plain = [
            (call("Div", one, x), 1 / s),
            (root, np.sqrt(s)),
            (call("Div", one, root), 1 / np.sqrt(s)),
            (call("Div", literal(2, work), x), 2 / s),
            (call("Div", x, literal(2, work)), s / 2),
        ]
        odd = [(logarithm, np.log(s)), (call("Neg", logarithm), -np.log(s))]
        for made, expected in (*plain, *(odd if is_odd else [])):
            if np.allclose(expected, wide, rtol=1e-2, atol=0):
                yield cast(made, dtype), 0.0
    if not is_odd or dtype in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        return
    target = np.asarray(wide)
    for first, a in logarithms:
        for second, b in logarithms:
            if first is not second and np.allclose(a - b, target, rtol=0, atol=1e-2):
                # The sum of two rounded logarithms is off by their last bits.
                slack = 2.0**-22 * float(np.max(np.maximum(a, b)))
                yield cast(call("Sub", first, second), dtype), slack


def _certain(
    made: Sequence[Expression], value: float, dtype: int, fixed: Collection[int], values: Values
) -> bool:
    """Whether a number of one export was made so, and is none that a constant would be as well."""
    if not telling(value, dtype):
        return False
    first, *others = made
    # Elsewhere, another way to write the first is what the first is.
    elsewhere = {name: 2 * number + 5 for name, number in values.items()}
    there = float(compute(first, elsewhere))
    differ = [e for e in others if abs(float(compute(e, elsewhere)) - there) > 1e-4 * abs(there)]
    for expression in (first, *differ):
        numbers = sorted({n.at(values) for n in _numbers(expression)})
        if not _has_log(expression) or any(n in fixed for n in numbers):
            return False
        if len(numbers) == 1 and (
            numbers[0] <= _PLAIN // 4 or numbers[0] % 10 == 0 or numbers[0].bit_count() == 1
        ):
            return False
        if len(numbers) == 2:
            ratio = Fraction(*numbers)
            plain = any(_short(r) for r in (ratio, 1 / ratio))
            if plain or ratio.numerator * ratio.denominator <= _PLAIN:
                return False
    return True


def _numbers(expression: Expression) -> Iterator[Size]:
    if isinstance(expression, Number):
        yield expression.value
    for child in children(expression):
        yield from _numbers(child)


def logarithm_of(value: float) -> int:
    """The whole number that a number is the logarithm of but for the sign; 0 where it is none."""
    if not _LOGARITHMS[0] < abs(value) < _LOGARITHMS[1]:
        return 0
    whole = round(np.exp(abs(value)))
    return whole if abs(np.log(whole) - abs(value)) < _SAME * abs(value) else 0


def _has_log(expression: Expression) -> bool:
    if isinstance(expression, Call) and expression.op == "Log":
        return True
    return any(map(_has_log, children(expression)))


def _short(ratio: Fraction) -> bool:
    return Fraction(f"{float(ratio):.3g}") == ratio


def _sizes(study: Study, values: Sequence[Values]) -> list[Size]:
    symbols = [size(s) for s in sorted({s for v in values for s in v})]
    base = list(dict.fromkeys((*symbols, *study.known)))[:16]
    found = [*study.known, *symbols, *(s + d for s in base for d in (-1, 1))]
    for a, b in combinations(base, 2):
        found += [a + b, a * b]
    return [s for s in dict.fromkeys(found) if s.number is None]


def _near(a: Array, b: Array, slack: float) -> bool:
    """The same number but for the last bit, or for as much as the computation is off."""
    if a.dtype != b.dtype:
        return False
    bits = {2: np.int16, 4: np.int32, 8: np.int64}[a.dtype.itemsize]
    last = abs(int(a.view(bits)) - int(b.reshape(()).view(bits))) <= 1
    return last or abs(float(a) - float(b)) <= slack


def of_size(expression: Expression) -> bool:
    """Whether a number in it is a function of a size."""
    if isinstance(expression, Call) and expression.op in ("Log", "Sqrt"):
        return True
    return any(map(of_size, children(expression)))


def assumed(expression: Expression) -> tuple[float, ...]:
    """The numbers in it that have many digits: parameters, or unknown functions of a size."""
    if isinstance(expression, Literal):
        array = expression.array
        one = array.size == 1 and array.dtype.kind not in "biu"
        odd = one and telling(float(array.item()), expression.dtype)
        return (float(array.item()),) if odd else ()
    return tuple(dict.fromkeys(n for part in children(expression) for n in assumed(part)))


def telling(value: float, dtype: int) -> bool:
    """Whether a number has so many digits that it is none that people write."""
    if not np.isfinite(value):
        return False
    mantissa, _ = np.frexp(np.float32(value))
    whole = abs(int(mantissa * (1 << 24)))
    return whole != 0 and whole // (whole & -whole) > 1 << _PLAIN_BITS.get(dtype, 10)
