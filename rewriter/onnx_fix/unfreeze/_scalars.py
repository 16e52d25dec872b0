"""Single numbers that are made from a size: the size itself, its inverse, root or logarithm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.symbolic import Size, size
from onnx_fix.unfreeze._study import Study, Unclear
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
    if constant and made and not telling(wide[0], dtype):
        raise Unclear(f"a number is {wide[0]}, which may be a constant or {made[0]}")
    if constant and not made:
        return literal(scalars[0])
    return study.settled(made, exact=False)


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
