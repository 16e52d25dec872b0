"""Single numbers that are made from a size: the size itself, its inverse, root or logarithm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from onnx import TensorProto

from onnx_fix.symbolic import Size
from onnx_fix.unfreeze._study import Study, Unclear
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
    made = []
    for expression in _functions(study, wide, values, dtype):
        if all(_near(s, compute(expression, v)) for s, v in zip(scalars, values, strict=True)):
            made.append(expression)
    if constant and made and not _telling(wide[0]):
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
) -> Iterator[Expression]:
    work = TensorProto.DOUBLE if dtype == TensorProto.DOUBLE else TensorProto.FLOAT
    one = literal(1, work)
    for value in _sizes(study):
        numbers = [value.at(v) for v in values]
        if min(numbers) <= 2:
            continue
        s = np.asarray(numbers, np.float64)
        x = cast(Number(value), work)
        root, logarithm = call("Sqrt", x), call("Log", x)
        for made, expected in (
            (call("Div", one, x), 1 / s),
            (root, np.sqrt(s)),
            (call("Div", one, root), 1 / np.sqrt(s)),
            (logarithm, np.log(s)),
            (call("Neg", logarithm), -np.log(s)),
        ):
            if np.allclose(expected, wide, rtol=1e-2, atol=0):
                yield cast(made, dtype)


def _sizes(study: Study) -> list[Size]:
    found = [*study.known, *(s + d for s in study.known for d in (-1, 1))]
    found += [a + b for a, b in combinations(study.known[:12], 2)]
    return [s for s in dict.fromkeys(found) if s.number is None]


def _near(a: Array, b: Array) -> bool:
    """The same number but for the last bit."""
    if a.dtype != b.dtype:
        return False
    bits = {2: np.int16, 4: np.int32, 8: np.int64}[a.dtype.itemsize]
    return abs(int(a.view(bits)) - int(b.reshape(()).view(bits))) <= 1


def _telling(value: float) -> bool:
    """Whether a number has so many digits that it is none that people write."""
    mantissa, _ = np.frexp(np.float32(value))
    whole = abs(int(mantissa * (1 << 24)))
    return whole != 0 and whole // (whole & -whole) > 1 << 10
