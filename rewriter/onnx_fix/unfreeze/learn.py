"""Which expression of the symbols a number is, from its values in exports at several sizes.

The family: ``c*b + e`` with a base ``b`` that is a symbol, a quotient of one (floor or ceiling), a
sum, difference or product of two, or such products summed over the levels of a pyramid. Every
member that gives the numbers of all exports counts, however odd it looks: an answer is sure only
where no other member says something else at any size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from onnx_fix.symbolic import Size, SizeLike, size

Values = Mapping[str, int]
Ints = NDArray[np.int64]
_Make = Callable[[], Size]
_Found = tuple[int, Ints, _Make]
"""A base: how simple it is, its values at all points, and what makes it."""

_DIVISORS = (2, 3, 4, 5, 6, 7, 8, 12, 14, 16, 32, 64)
_LEVELS = (
    (4, 8),
    (8, 16),
    (16, 32),
    (8, 16, 32),
    (4, 8, 16, 32),
    (8, 16, 32, 64),
    (4, 8, 16, 32, 64),
)
_MOST_SHIFT = {(True, True): 4096, (True, False): 1024, (False, True): 16, (False, False): 4}
"""What is added at most: to a symbol or another base, without a factor or with one."""
_MOST = 32
"""How many candidates are named at most."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What fits all exports: the simplest first, no two the same at every size.

    ``apart`` is a size at which another export tells the candidates apart; None where there are
    not several. Where more than a few dozen fit, only the simplest are named.
    """

    candidates: tuple[Size, ...] = ()
    apart: Values | None = None

    @property
    def ambiguous(self) -> bool:
        """Whether several expressions fit that differ at some size."""
        return self.apart is not None

    @property
    def size(self) -> Size | None:
        """The only expression that fits."""
        return self.candidates[0] if self.candidates and self.apart is None else None

    @property
    def reason(self) -> str:
        """Why there is no answer; empty where there is one."""
        if not self.candidates:
            return "no expression of the sizes gives these numbers"
        if self.apart is None:
            return ""
        where = ", ".join(f"{name}={value}" for name, value in self.apart.items())
        first, second, *more = (str(c) for c in self.candidates)
        others = f" or {len(more)} other expressions" if len(more) > 1 else ""
        others = f" or {more[0]}" if len(more) == 1 else others
        return f"it may be {first} or {second}{others}; export again at {where} to tell"


def fits(expression: SizeLike, values: Sequence[int], at: Sequence[Values]) -> bool:
    """Whether an expression has these values at these sizes."""
    expression = size(expression)
    try:
        return all(expression.at(a) == v for a, v in zip(at, values, strict=True))
    except (KeyError, ZeroDivisionError):
        return False


def learn(
    values: Sequence[int],
    at: Sequence[Values],
    *,
    preferred: Sequence[SizeLike] = (),
) -> Learned:
    """The expressions with the value ``values[k]`` where the symbols have the values ``at[k]``.

    Where some of ``preferred`` fit, nothing else is considered. Expressions are compared at sizes
    from 1 to beyond the largest export.
    """
    if not values:
        return Learned()
    family = _family(tuple(tuple(sorted(a.items())) for a in at))
    wanted = dict.fromkeys(s for s in map(size, preferred) if fits(s, values, at))
    if wanted:
        return family.told_apart([_Member(partial(size, s), family.at_probes(s)) for s in wanted])
    return family.told_apart(family.members(np.asarray(values, np.int64)))


@dataclass(frozen=True, slots=True)
class _Member:
    """An expression, made when it is wanted, and its values at the probes."""

    make: _Make
    probes: Ints


class _Family:
    """All bases over the symbols of some exports, computed at the exports and at probes."""

    def __init__(self, at: Sequence[Values]) -> None:
        self.at = at
        self.probes = _probes(at)
        points = {
            s: np.asarray([*(a[s] for a in at), *(p[s] for p in self.probes)], np.int64)
            for s in at[0]
        }
        bases = _bases(points)
        self.levels = [level for level, _, _ in bases]
        self.makers = [make for _, _, make in bases]
        # One row per base, so that a number is compared with all of them at once.
        every = np.stack([v for _, v, _ in bases]) if bases else np.zeros((0, len(at)), np.int64)
        self.values, self.at_all_probes = every[:, : len(at)], every[:, len(at) :]

    def at_probes(self, expression: Size) -> Ints:
        """The values at the probes; where it has none, a number that no size is."""
        found = []
        for probe in self.probes:
            try:
                found.append(expression.at(probe))
            except (KeyError, ZeroDivisionError):
                found.append(np.iinfo(np.int64).min)
        return np.asarray(found, np.int64)

    def members(self, values: Ints) -> list[_Member]:
        """All members with these values, simplest first."""
        found: list[tuple[tuple[int, ...], _Member]] = []
        if (values == values[0]).all():
            constant = int(values[0])
            same = np.full(len(self.probes), constant, np.int64)
            found.append(((0,), _Member(partial(size, constant), same)))
        if not len(self.values):
            return [member for _, member in found]
        rows = np.arange(len(self.values))
        low, high = self.values.argmin(axis=1), self.values.argmax(axis=1)
        least, most = self.values[rows, low], self.values[rows, high]
        # Where the base is the same in all exports, any factor fits; 1 is the one to name, and
        # the one without a shift.
        steps = (values[high] - values[low]) // np.maximum(most - least, 1)
        whole = values[low] // np.where(least == 0, 1, least)
        for c in (np.where(least == most, 1, steps), np.where(least == most, whole, 0)):
            e = values[low] - c * least
            good = (c[:, None] * self.values + e[:, None] == values).all(axis=1) & (c != 0)
            for k in np.flatnonzero(good).tolist():
                by, plus, level = int(c[k]), int(e[k]), self.levels[k]
                order = (level + (by != 1) + (plus != 0), level, abs(by), abs(plus), k)
                if abs(plus) > _MOST_SHIFT[level == 1, by == 1]:
                    continue
                make = partial(_linear, self.makers[k], by, plus)
                found.append((order, _Member(make, by * self.at_all_probes[k] + plus)))
        found.sort(key=lambda item: item[0])
        return [member for _, member in found]

    def told_apart(self, members: Sequence[_Member]) -> Learned:
        """The members that differ somewhere, and a size that tells them apart."""
        kept: dict[bytes, _Member] = {}
        for member in members:
            kept.setdefault(member.probes.tobytes(), member)
            if len(kept) == _MOST:
                break
        sizes = tuple(member.make() for member in kept.values())
        if len(sizes) < 2:
            return Learned(sizes)
        table = np.stack([member.probes for member in kept.values()])
        last = self.at[-1]

        def worth(k: int) -> tuple[int, int]:
            far = sum(abs(value - last[s]) for s, value in self.probes[k].items())
            return len(set(table[:, k].tolist())), -far

        apart = np.flatnonzero(table[0] != table[1]).tolist()
        return Learned(sizes, self.probes[max(apart, key=worth)])


@lru_cache(maxsize=16)
def _family(at: tuple[tuple[tuple[str, int], ...], ...]) -> _Family:
    return _Family([dict(a) for a in at])


def _probes(at: Sequence[Values]) -> list[dict[str, int]]:
    """Sizes at which expressions are compared: every small one, and mixed ones for several."""
    symbols = list(at[0])
    spans = {s: np.arange(1, 2 * max(a[s] for a in at) + 131, dtype=np.int64) for s in symbols}
    random = np.random.default_rng(0)
    found = []
    for s in symbols:
        span = spans[s]
        picked = span if len(span) <= 400 else random.choice(span, 400, replace=False)
        for a in (at[0], at[-1]):
            found += [{**a, s: int(value)} for value in picked]
    if len(symbols) > 1:
        mixed = {s: random.choice(span, 400) for s, span in spans.items()}
        found += [{s: int(mixed[s][k]) for s in symbols} for k in range(400)]
    inside = {s: (int(span[0]), int(span[-1])) for s, span in spans.items()}
    kept = [p for p in found if all(inside[s][0] <= v <= inside[s][1] for s, v in p.items())]
    return kept or [dict(a) for a in at]


def _atoms(name: str, points: Ints) -> list[_Found]:
    """A symbol and its quotients, floor and ceiling in turn."""
    symbol = size(name)
    found: list[_Found] = [(1, points, partial(_quotient, symbol, 1, 0))]
    for d in _DIVISORS:
        for more in (0, d - 1):
            found.append((2, (points + more) // d, partial(_quotient, symbol, d, more)))
    return found


def _quotient(symbol: Size, bottom: int, more: int) -> Size:
    return (symbol + more) // bottom


def _bases(points: Mapping[str, Ints]) -> list[_Found]:
    atoms = {name: _atoms(name, values) for name, values in points.items()}
    found = [atom for some in atoms.values() for atom in some]
    for some in atoms.values():
        for level, values, make in some:
            found.append((2 * level + 1, values * values, partial(_product, make, make)))
        found += _pyramids(some, some)
    for first, second in combinations(atoms.values(), 2):
        for k, (la, va, ma) in enumerate(first):
            for j, (lb, vb, mb) in enumerate(second):
                # Quotients of two symbols are rounded alike.
                if k == j or j * k == 0 or j % 2 == k % 2:
                    found.append((la + lb + 1, va * vb, partial(_product, ma, mb)))
            lb, vb, mb = second[k]
            found.append((la + lb, va + vb, partial(_sum, ma, mb, 1)))
            found.append((la + lb, va - vb, partial(_sum, ma, mb, -1)))
            more = partial(_product, partial(_next, ma), partial(_next, mb))
            found.append((la + lb + 2, (va + 1) * (vb + 1), more))
        found += _pyramids(first, second)
    return found


def _pyramids(first: Sequence[_Found], second: Sequence[_Found]) -> list[_Found]:
    """Products of quotients, summed over levels; all floors or all ceilings."""
    found: list[_Found] = []
    for ceiling in (0, 1):
        for levels in _LEVELS:
            rows = [1 + 2 * _DIVISORS.index(d) + ceiling for d in levels]
            values = np.sum([first[r][1] * second[r][1] for r in rows], axis=0)
            makers = [(first[r][2], second[r][2]) for r in rows]
            found.append((6, values, partial(_total, makers)))
    return found


def _product(a: _Make, b: _Make) -> Size:
    return a() * b()


def _sum(a: _Make, b: _Make, sign: int) -> Size:
    return a() + b() * sign


def _next(a: _Make) -> Size:
    return a() + 1


def _linear(base: _Make, factor: int, shift: int) -> Size:
    return base() * factor + shift


def _total(pairs: Sequence[tuple[_Make, _Make]]) -> Size:
    return sum((a() * b() for a, b in pairs), size(0))
