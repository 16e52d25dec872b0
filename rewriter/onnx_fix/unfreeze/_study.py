"""What the recognisers of tables share: blocks of samples, and numbers learned from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnx_fix.symbolic import Size, size
from onnx_fix.unfreeze.emit_sizes import factors
from onnx_fix.unfreeze.expressions import Array, Dims, Expression, Values, compute
from onnx_fix.unfreeze.learn import learn

SMALL = 2
"""Numbers up to this one are not taken for a size that happens to have the same value."""


_FEW = 16
"""So many numbers of a rule are compared with the sizes; in a series, some are like one anyway."""


class Unclear(Exception):
    """Several rules fit that differ at other sizes; the message says which."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A baked tensor, and the values that the symbols had in that export."""

    array: Array
    values: Values


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the samples of a table, all of one shape in sizes."""

    dims: Dims
    arrays: tuple[Array, ...]
    values: tuple[Values, ...]

    @property
    def rank(self) -> int:
        return len(self.dims)

    def varies(self, axis: int) -> bool:
        """Whether some sample has two different slices along an axis."""
        return any(a.shape[axis] > 1 and not same(a, a[first(axis)]) for a in self.arrays)

    def varying(self) -> tuple[int, ...]:
        """The axes along which the values are not all the same."""
        return tuple(k for k in range(self.rank) if self.varies(k))

    def symbolic(self) -> tuple[int, ...]:
        """The axes whose size has symbols."""
        return tuple(k for k, d in enumerate(self.dims) if d.number is None)

    def evident(self, value: Size, least: int) -> bool:
        """Whether some sample is long enough along every part of a size to show a rule."""
        atoms = [Size({(a,): 1}) for m, _ in value.terms for a in m]
        return all(max(s.at(v) for v in self.values) >= least for s in (value, *atoms))

    def taken(self, axis: int, start: Size | int, length: Size | int) -> Block:
        """A segment along an axis."""
        start, length = size(start), size(length)
        arrays = []
        for array, values in zip(self.arrays, self.values, strict=True):
            low = start.at(values)
            cut = [slice(None)] * self.rank
            cut[axis] = slice(low, low + length.at(values))
            arrays.append(array[tuple(cut)])
        dims = (*self.dims[:axis], length, *self.dims[axis + 1 :])
        return Block(dims, tuple(arrays), self.values).inhabited()

    def split(self, axis: int, left: Size, right: Size) -> Block:
        """An axis as two, the second counting fastest."""
        arrays = []
        for array, values in zip(self.arrays, self.values, strict=True):
            pair = left.at(values), right.at(values)
            arrays.append(array.reshape(*array.shape[:axis], *pair, *array.shape[axis + 1 :]))
        dims = (*self.dims[:axis], left, right, *self.dims[axis + 1 :])
        return Block(dims, tuple(arrays), self.values)

    def inhabited(self) -> Block:
        """The samples that have elements."""
        kept = [k for k, a in enumerate(self.arrays) if a.size]
        if len(kept) == len(self.arrays):
            return self
        return replace(
            self,
            arrays=tuple(self.arrays[k] for k in kept),
            values=tuple(self.values[k] for k in kept),
        )

    def is_made_by(self, expression: Expression) -> bool:
        """Whether an expression gives every sample bit for bit (zeros of either sign)."""
        for array, values in zip(self.arrays, self.values, strict=True):
            try:
                if not same(array, compute(expression, values)):
                    return False
            except ValueError:
                return False
        return True


def first(axis: int) -> tuple[slice, ...]:
    """The index that keeps the first element along an axis."""
    return (*[slice(None)] * axis, slice(0, 1))


def same(a: Array, b: Array) -> bool:
    """Whether all elements are the same after broadcasting; NaN is NaN."""
    with np.errstate(invalid="ignore"):
        equal = a == b
        return bool(np.all(equal | ((a != a) & (b != b))))


class Study:
    """What is known of the sizes of a table, and what is learned on the way."""

    def __init__(self, dims: Dims, values: Sequence[Values], known: Iterable[Size]) -> None:
        self.values = tuple(values)
        given = [*dims, *known]
        symbols = {s for d in given for s in d.symbols} or {s for v in values for s in v}
        given = [*map(size, sorted(symbols)), *given, *(f for d in dims for f in factors(d))]
        self.symbols = symbols
        self.known = tuple(s for s in dict.fromkeys(given) if s.number is None)
        self.reason = ""
        self.hint = ""
        self.tried = 0

    def unclear(self, reason: str) -> None:
        """Keep the first reason why nothing was found."""
        self.reason = self.reason or reason

    def number(
        self, found: Sequence[int], values: Sequence[Values], what: str, more: Sequence[Size] = ()
    ) -> Size | None:
        """The size that a number in the samples is: a constant, or an expression that is known.

        Raises:
            Unclear: it may be several.
        """
        candidates = [s for s in (*self.known, *more) if _fits(s, found, values)]
        candidates += [-s for s in self.known if _fits(-s, found, values)]
        if not candidates:
            near = (s + d for s in (*self.known, *more) for d in (-1, 1))
            candidates = [s for s in near if _fits(s, found, values)]
        if len(set(found)) == 1:
            constant = found[0]
            several = [s for s in candidates if s in more or abs(constant) > SMALL]
            if several:
                raise Unclear(f"{what} is {constant}, which may be a constant or {several[0]}")
            return size(constant)
        if not candidates and len(found) < 2:
            return None
        own = [{s: v[s] for s in self.symbols} for v in values]
        learned = learn(found, own, preferred=candidates)
        if learned.ambiguous:
            raise Unclear(f"{what} is not certain: {learned.reason}")
        return learned.size

    def doubt(
        self,
        numbers: NDArray[np.float64],
        values: Sequence[Values],
        *,
        off: float = 0,
        inverse: bool = False,
    ) -> None:
        """Refuse numbers of a rule that are a size in all samples, or one over a size.

        ``off`` is how far off they may be in proportion; ``inverse``: whether they may be one over
        a size.

        Raises:
            Unclear: one is.
        """
        few = np.abs(numbers[np.isfinite(numbers)])
        if few.size > _FEW:
            return
        for known in self.known:
            sizes = np.abs(np.asarray([known.at(v) for v in values], np.float64))
            if sizes.min() <= SMALL:
                continue
            for number in few.tolist():
                ways = [number / sizes]
                if inverse:
                    ways += [number * sizes / c for c in (1, 2, np.pi, 2 * np.pi)]
                if any(np.allclose(w, 1, rtol=off + 1e-6, atol=0) for w in ways):
                    raise Unclear(
                        f"a number in it is {number:.7g}, which may be a constant or made from "
                        f"{known}; another export at another size would tell"
                    )

    def settled(self, found: Sequence[Expression], exact: bool = True) -> Expression | None:
        """The one expression that several amount to, of those that give all samples.

        Raises:
            Unclear: they differ at other sizes.
        """
        if len(found) < 2:
            return found[0] if found else None
        for values in self.others():
            made = []
            for expression in found:
                try:
                    made.append(compute(expression, values))
                except (ValueError, ZeroDivisionError):
                    continue
            for other in made[1:]:
                if made[0].shape != other.shape or not _close(made[0], other, exact):
                    shown = ", ".join(f"{k}={v}" for k, v in values.items())
                    raise Unclear(
                        f"several rules fit, such as {found[0]} and {found[1]}; export again at "
                        f"{shown} to tell them apart"
                    )
        return found[0]

    def others(self) -> list[dict[str, int]]:
        """Sizes that no export has, at which rules are compared."""
        base = self.values[-1]
        steps = ((3, 1), (5, 2), (16, 3), (32, 5))
        return [
            {s: v + add + k * (factor * 2 + 1) for k, (s, v) in enumerate(base.items())}
            for add, factor in steps
        ]


def _fits(expression: Size, found: Sequence[int], values: Sequence[Values]) -> bool:
    try:
        return all(expression.at(v) == f for f, v in zip(found, values, strict=True))
    except (KeyError, ZeroDivisionError):
        return False


def _close(a: Array, b: Array, exact: bool) -> bool:
    if exact or a.dtype.kind not in "fV":
        return same(a, b)
    first, second = a.astype(np.float64), b.astype(np.float64)
    return bool(np.allclose(first, second, rtol=1e-5, atol=1e-6, equal_nan=True))
