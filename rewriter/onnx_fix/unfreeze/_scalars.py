"""Single numbers that are made from sizes.

The size itself, its inverse, root or logarithm, the quotient of two, or the logarithm of that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from fractions import Fraction
from itertools import combinations

import numpy as np
from onnx import TensorProto

from onnx_fix.symbolic import Size, size
from onnx_fix.unfreeze._study import SMALL, Study, Unclear, same
from onnx_fix.unfreeze.expressions import (
    Array,
    Call,
    Expression,
    Number,
    Values,
    call,
    cast,
    children,
    compute,
    literal,
)

_INEXACT = ("Log", "Exp", "Sin", "Cos")
_MOST_SIZES = 80
"""Of how many sizes the quotients are looked at."""
_PLAIN = 64
"""Quotients ``p/q`` of two sizes with ``p*q`` up to this one are such as people write."""
_LOGARITHMS = (2.8, 8.3)
"""Between which numbers the logarithm of a whole one is telling."""
_SAME = 2.0**-23
_CLOSE = 0.1
"""Logarithms of quotients nearer to 0 than this may be any weight of one export."""
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
_ULPS = 4
"""By how many last bits of its terms a difference of logarithms may be off."""


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
        if known is not None and known.number is not None and constant:
            _plain(study, wide, values, dtype)
        if known is not None and known.number is None and dtype in _FLOATS:
            for double in study.known:
                there = zip(values, wide, strict=True)
                if double != known * 2 and all(double.at(v) == 2 * w for v, w in there):
                    raise Unclear(f"a number may be half of {double}, or that without the rest")
        if known is not None:
            return literal(scalars[0]) if known.number is not None else cast(Number(known), dtype)
    if scalars[0].dtype.kind in "iu":
        return None
    fitting: list[tuple[int, Expression]] = []
    for expression, slack in _functions(study, wide, values, dtype):
        pairs = [(x, compute(expression, v)) for x, v in zip(scalars, values, strict=True)]
        if all(_near(x, y, slack) for x, y in pairs):
            fitting.append((sum(not same(x, y) for x, y in pairs), expression))
    made = [expression for _, expression in sorted(fitting, key=lambda pair: pair[0])]
    if constant and made and not _certain(made, wide[0], study.fixed, values[0]):
        raise Unclear(f"a number is {wide[0]:.9g}, which may be a constant or {made[0]}")
    if constant and not made and len(values) == 1 and (whole := logarithm_of(wide[0])):
        raise Unclear(f"a number is {wide[0]:.9g}, which may be a constant or the log of {whole}")
    if constant and not made:
        return literal(scalars[0])
    return study.settled(made, exact=False)


def _plain(study: Study, wide: Sequence[float], values: Sequence[Values], dtype: int) -> None:
    """Raise where a whole number may be half of a size, or the root of one."""
    if dtype not in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16):
        return
    (value,) = set(wide)
    sizes = map(size, sorted(study.symbols)) if abs(value) <= SMALL else study.known
    for known in sizes if abs(value) > 1 else ():
        numbers = [known.at(v) for v in values]
        for what, fits in (("half of", abs(value) * 2), ("the root of", value**2)):
            if min(numbers) > 1 and all(fits == n for n in numbers):
                raise Unclear(f"a number is {value:g}, which may be a constant or {what} {known}")


def is_exact(expression: Expression) -> bool:
    """Whether every runtime computes it to the last bit."""
    if isinstance(expression, Call) and expression.op in _INEXACT:
        return False
    return all(map(is_exact, children(expression)))


def _functions(
    study: Study, wide: Sequence[float], values: Sequence[Values], dtype: int
) -> Iterator[tuple[Expression, float]]:
    """What gives about these numbers, and how far off it may be."""
    work = TensorProto.DOUBLE if dtype == TensorProto.DOUBLE else TensorProto.FLOAT
    one = literal(1, work)
    usable = [s for s in _sizes(study) if min(s.at(v) for v in values) > 2]
    for value in usable:
        s = np.asarray([value.at(v) for v in values], np.float64)
        x = cast(Number(value), work)
        root, logarithm = call("Sqrt", x), call("Log", x)
        for made, expected in (
            (call("Div", one, x), 1 / s),
            (root, np.sqrt(s)),
            (call("Div", one, root), 1 / np.sqrt(s)),
            (logarithm, np.log(s)),
            (call("Neg", logarithm), -np.log(s)),
            (call("Div", literal(2, work), x), 2 / s),
            (call("Div", x, literal(2, work)), s / 2),
        ):
            if np.allclose(expected, wide, rtol=1e-2, atol=0):
                yield cast(made, dtype), 0.0
    yield from _of_two(usable[:_MOST_SIZES], wide, values, dtype, work)


def _of_two(
    usable: Sequence[Size],
    wide: Sequence[float],
    values: Sequence[Values],
    dtype: int,
    work: int,
) -> Iterator[tuple[Expression, float]]:
    """Differences of logarithms, where the sizes are not in a fixed ratio."""
    if not usable or (len(values) == 1 and abs(wide[0]) < _CLOSE):
        return
    numbers = np.asarray([[s.at(v) for v in values] for s in usable], np.float64)
    logs = np.log(numbers)
    apart = logs[:, None] - logs[None]
    off = np.abs(apart - np.asarray(wide)).max(axis=2)
    bits = 52 if work == TensorProto.DOUBLE else 23
    coarse = {int(TensorProto.FLOAT16): 2.0**-9, int(TensorProto.BFLOAT16): 2.0**-6}.get(dtype, 0.0)
    bound = max(2.0 ** (3 - bits) * float(logs.max()), coarse * max(map(abs, wide)))
    for i, j in np.argwhere(off <= bound).tolist():
        top, below = usable[i], usable[j]
        if i == j or in_ratio(top, below):
            continue
        largest = max(float(np.max(logs[i])), float(np.max(logs[j])))
        slack = _ULPS * 2.0**-bits * largest
        x, y = (cast(Number(s), work) for s in (top, below))
        yield cast(call("Sub", call("Log", x), call("Log", y)), dtype), slack
        yield cast(call("Log", call("Div", x, y)), dtype), slack


def in_ratio(top: Size, below: Size) -> bool:
    """Whether one size is a fixed multiple of the other."""
    (_, coefficient), *_ = top.terms
    (_, factor), *_ = below.terms
    return top * factor == below * coefficient


def _certain(
    made: Sequence[Expression], value: float, fixed: Collection[int], values: Values
) -> bool:
    """Whether a number of one export was made so, and is none that a constant would be as well."""
    if not _telling(value):
        return False
    for expression in made:
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


def _sizes(study: Study) -> list[Size]:
    found = [*study.known, *(s + d for s in study.known for d in (-1, 1))]
    found += [s * 2 for s in study.known[:12]]
    found += [a + b for a, b in combinations(study.known[:12], 2)]
    return [s for s in dict.fromkeys(found) if s.number is None]


def _near(a: Array, b: Array, slack: float = 0.0) -> bool:
    """The same number but for the last bit, or for what an operand may be off."""
    if a.dtype != b.dtype:
        return False
    bits = {2: np.int16, 4: np.int32, 8: np.int64}[a.dtype.itemsize]
    if abs(int(a.view(bits)) - int(b.reshape(()).view(bits))) <= 1:
        return True
    return bool(abs(float(a) - float(b)) <= slack)


def _telling(value: float) -> bool:
    """Whether a number has so many digits that it is none that people write."""
    mantissa, _ = np.frexp(np.float32(value))
    whole = abs(int(mantissa * (1 << 24)))
    return whole != 0 and whole // (whole & -whole) > 1 << 10
