"""What keeps a model from running at some sizes of a range, found by running it at others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from onnx_fix.profiles.asked import Range
from onnx_fix.profiles.trial import Point, Trial

_RADIUS = 16
_STEPS = (20, 24, 28, 32, 40, 48, 56, 64, 96, 128, 192, 256)
"""Moduli that are tried where the windows show one working size alone."""

_GRANULES = (2, 4, 8, 16, 32, 64, 12, 24, 48, 96, 10, 20, 14, 28)
"""What all sizes are rounded to where none was found to work."""

_FEW = 6
"""Working sizes up to which such a modulus is looked for."""

_MOST_STEPS = 512
_SLOW = 2.0
"""Seconds of one run from which fewer sizes are tried."""

RuleKind = Literal["multiple", "most", "least", "gap", "equal", "only", "together", "unclear"]


@dataclass(frozen=True, slots=True)
class Rule:
    """Which sizes of a symbol work, as far as runs have shown.

    ``multiple``: those that leave ``rest`` when divided by ``number``. ``most`` and ``least``: up
    to, or from ``number`` on. ``gap``: all but those between ``number`` and ``rest``. ``equal``:
    that of the symbol ``other``. ``only``: those in ``sizes``, of which the model was made for
    ``number``. ``together``: no symbol alone is guilty. ``unclear``: nothing of the kind.
    """

    symbol: str
    kind: RuleKind
    number: int = 0
    rest: int = 0
    other: str = ""
    tried: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()

    def __str__(self) -> str:
        name = self.symbol
        seen = f" ({_told(self.tried)})" if self.tried else ""
        if self.kind == "multiple":
            what = f"{name} must be a multiple of {self.number}"
            if self.rest:
                what = f"{name} must leave {self.rest} when divided by {self.number}"
        elif self.kind == "equal":
            what = f"{name} and {self.other} must be equal"
        elif self.kind == "gap":
            what = f"{name} may not lie between {self.number} and {self.rest}"
        elif self.kind == "only":
            listed = " and ".join(map(str, self.sizes))
            what = (
                f"of {name} only {listed} {'was' if len(self.sizes) == 1 else 'were'} found to work"
            )
        elif self.kind == "together":
            what = "each dim alone may have its size there, not all of them together"
        elif self.kind == "unclear":
            what = f"the sizes of {name} that work follow no simple rule"
        else:
            way = "at most" if self.kind == "most" else "at least"
            what = f"{name} must be {way} {self.number}"
        return what + seen


def _told(tried: Iterable[int]) -> str:
    sizes = sorted(tried)
    return f"run at {len(sizes)} sizes from {sizes[0]} to {sizes[-1]}"


def find_rules(trial: Trial, ranges: Mapping[str, Range], works: Point, fails: Point) -> list[Rule]:
    """What is wrong with a point that fails, given one that works.

    The guilty symbols are those that make the working point fail by themselves; for each of them
    sizes around both points are run.
    """
    good, bad = dict(works.sizes), dict(fails.sizes)
    moved = [s for s in bad if good[s] != bad[s]]
    guilty = [s for s in moved if trial.run(works.at({s: bad[s]})).fails]
    if not guilty:
        return [] if trial.out_of_time else [Rule("", "together")]
    found = [_Search(trial, ranges[s], s, works, bad[s]).rule() for s in guilty]
    # Of two symbols that must be equal each is guilty; one sentence will do.
    pairs: set[frozenset[str]] = set()
    kept = []
    for rule in found:
        pair = frozenset((rule.symbol, rule.other))
        if rule.kind != "equal" or pair not in pairs:
            kept.append(rule)
        pairs.add(pair)
    return kept


def find_working(trial: Trial, ranges: Mapping[str, Range], near: Point) -> Point | None:
    """A point at which the model runs, where it does not at the ends and between."""
    start = dict(near.sizes)
    for sizes in _guesses(ranges, start):
        if trial.out_of_time:
            break
        point = near.at(sizes)
        if trial.run(point).ok:
            return point
    return None


def _guesses(ranges: Mapping[str, Range], start: Mapping[str, int]) -> Iterator[dict[str, int]]:
    free = {name: r for name, r in ranges.items() if r[0] < r[2]}
    for number in _GRANULES:
        rounded = {}
        for name, (low, _, high) in free.items():
            size = max(start[name] // number * number, -(-low // number) * number)
            rounded[name] = size if size <= high else start[name]
        yield rounded
    for size in dict.fromkeys(start[name] for name in free):
        yield {name: size for name, (low, _, high) in free.items() if low <= size <= high}
    for name, (low, _, high) in free.items():
        for away in range(1, _RADIUS + 1):
            for size in (start[name] - away, start[name] + away):
                if low <= size <= high:
                    yield {name: size}


class _Search:
    """Sizes of one symbol, the others held."""

    def __init__(self, trial: Trial, limits: Range, symbol: str, works: Point, bad: int) -> None:
        self._trial = trial
        self._low, self._usual, self._high = limits
        self._symbol = symbol
        self._works = works
        self._good = dict(works.sizes)[symbol]
        self._bad = bad
        self._tried: dict[int, bool] = {self._good: True}

    def rule(self) -> Rule:
        """The simplest rule that all runs keep to."""
        slow = self._trial.run(self._works).seconds > _SLOW
        radius = 4 if slow else _RADIUS
        for centre in (self._bad, self._good):
            for size in range(centre - radius, centre + radius + 1):
                self._run(size)
        for size in (self._low, self._usual, self._high):
            self._run(size)
        return (
            self._multiple()
            or self._bound()
            or self._gap()
            or self._steps()
            or self._equal()
            or self._only()
            or Rule(self._symbol, "unclear", tried=tuple(self._tried))
        )

    def _run(self, size: int) -> bool | None:
        """Whether it runs at a size; None outside the range and where that cannot be found out."""
        if size not in self._tried and self._low <= size <= self._high:
            ran = self._trial.run(self._works.at({self._symbol: size}))
            if ran.ok or ran.fails:
                self._tried[size] = ran.ok
        return self._tried.get(size)

    def _split(self) -> tuple[list[int], list[int]]:
        works = sorted(size for size, ok in self._tried.items() if ok)
        return works, sorted(size for size, ok in self._tried.items() if not ok)

    def _multiple(self) -> Rule | None:
        works, fails = self._split()
        if len(works) < 2:
            return None
        for number in range(2, 2 * _RADIUS + 1):
            rests = {size % number for size in works}
            if len(rests) == 1 and not any(size % number in rests for size in fails):
                return self._made("multiple", number, rests.pop())
        return None

    def _bound(self) -> Rule | None:
        works, fails = self._split()
        if self._alone():
            return None
        if works and fails and works[-1] < fails[0]:
            inside, outside = works[-1], fails[0]
        elif works and fails and fails[-1] < works[0]:
            inside, outside = works[0], fails[-1]
        else:
            return None
        border = self._border(inside, outside)
        if border is None:
            return None
        return self._made("most" if inside < outside else "least", border)

    def _border(self, inside: int, outside: int) -> int | None:
        """The last size that works on the way from one that does to one that does not."""
        while abs(outside - inside) > 1:
            middle = (inside + outside) // 2
            ok = self._run(middle)
            if ok is None:
                return None
            inside, outside = (middle, outside) if ok else (inside, middle)
        return inside

    def _gap(self) -> Rule | None:
        """One stretch that fails between two that work."""
        works, fails = self._split()
        if not works or not fails or not works[0] < fails[0] <= fails[-1] < works[-1]:
            return None
        if any(fails[0] < size < fails[-1] for size in works):
            return None
        below = self._border(max(s for s in works if s < fails[0]), fails[0])
        above = self._border(min(s for s in works if s > fails[-1]), fails[-1])
        return None if below is None or above is None else self._made("gap", below, above)

    def _alone(self) -> bool:
        """Whether nothing works but the size of the point that does, and 1, which broadcasts."""
        works, fails = self._split()
        return {*works} <= {1, self._good} and len(fails) > 1

    def _steps(self) -> Rule | None:
        """A modulus that is too large for two multiples of it in a window."""
        works, fails = self._split()
        if len(works) > _FEW:
            return None
        apart = math.gcd(*(size - works[0] for size in works))
        numbers: tuple[int, ...] = _STEPS
        if apart:
            divisors = [n for n in range(2, min(apart, _MOST_STEPS) + 1) if apart % n == 0]
            numbers = tuple(dict.fromkeys((*divisors, apart)))
        for number in numbers:
            rest = self._good % number
            near = [self._good + k * number for k in (-2, -1, 1, 2)]
            inside = [size for size in near if self._low <= size <= self._high]
            if (
                len(inside) >= 2
                and all(size % number != rest for size in fails)
                and all(self._run(size) for size in inside)
            ):
                return self._made("multiple", number, rest)
        return None

    def _equal(self) -> Rule | None:
        if not self._alone():
            return None
        for other, size in self._works.sizes:
            if other != self._symbol and size == self._good:
                both = self._works.at({self._symbol: self._bad, other: self._bad})
                if self._trial.run(both).ok:
                    return Rule(self._symbol, "equal", other=other)
        return None

    def _only(self) -> Rule | None:
        if not self._alone():
            return None
        sizes = tuple(self._split()[0])
        return Rule(self._symbol, "only", self._good, tried=tuple(self._tried), sizes=sizes)

    def _made(self, kind: RuleKind, number: int, rest: int = 0) -> Rule:
        return Rule(self._symbol, kind, number, rest, tried=tuple(sorted(self._tried)))
