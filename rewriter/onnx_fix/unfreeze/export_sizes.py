"""The numbers that declared symbols were at the export, from what nodes demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import gcd

from onnx_fix.symbolic.size import Extreme, Monomial, Quotient, Size, size
from onnx_fix.symbolic.solver import Equation, Solver

MOST_HELD = 8
"""Terms of an equation that is taken to hold a size."""

MOST_STEPS = 16
"""Decisions that are followed from an unknown to what it comes to."""


@dataclass
class ExportSizes:
    """Finds the numbers that symbols were at the export, from what nodes demand."""

    solver: Solver
    names: Mapping[str, None]
    at: dict[str, int] = field(default_factory=dict)
    most: frozenset[str] = frozenset()
    within: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Between which numbers a symbol was, by its quotients."""
    tied: bool = False
    """Whether anything holds a symbol or a product of some."""

    def learn(self) -> None:
        """Go through the equations until none says more."""
        left = [e for e in self.solver.heard if self._with_symbols(e)]
        weak: dict[str, int] = {}
        busy = True
        while busy:
            busy = False
            kept = []
            for equation in left:
                rest = self._numbers(equation.left) - self._numbers(equation.right)
                if not rest.symbols & set(self.names):
                    continue
                found = _only(rest)
                if found is not None:
                    self.tied = True
                    name, low, high = found
                    if low == high:
                        self.at.setdefault(name, low)
                        busy = True
                        continue
                    least, largest = self.within.get(name, (low, high))
                    self.within[name] = max(least, low), min(largest, high)
                bound = _most(rest)
                if bound is not None:
                    weak.setdefault(*bound)
                if held_value(rest) is not None:
                    self.tied = True
                kept.append(equation)
            left = kept
            for name in sorted(self.within.keys() - self.at.keys()) if not busy else ():
                self.at[name] = self._likely(*self.within[name])
                busy = True
            if not busy:
                for name in weak.keys() - self.at.keys():
                    self.at[name] = weak[name]
                    self.most |= {name}
                    self.tied = busy = True

    def _likely(self, low: int, high: int) -> int:
        """A number in a range, if there is one that the model has elsewhere."""
        seen = {hints[0] for hints in self.solver.hints.values()}
        return next((n for n in range(low, min(high, low + 4096) + 1) if n in seen), low)

    def _with_symbols(self, equation: Equation) -> bool:
        now = self.solver.now(equation.left), self.solver.now(equation.right)
        return any(not d.symbols.isdisjoint(self.names) for d in now)

    def _numbers(self, value: Size) -> Size:
        return numbered(self.solver, value, self.at)


def numbered(solver: Solver, value: Size, at: Mapping[str, int]) -> Size:
    """A size with the numbers of unknowns in their place, and those in ``at`` of symbols.

    An unknown without a number is what it was decided to be.
    """
    for _ in range(MOST_STEPS):
        known: dict[str, Size] = {}
        for name in value.symbols:
            hint = solver.hints[name][0] if name in solver.unknown else at.get(name)
            if hint is not None:
                known[name] = size(hint)
            elif name in solver.known:
                known[name] = solver.known[name]
        if not known:
            break
        try:
            value = value.replaced(known)
        except ZeroDivisionError:
            break
    return value


def _only(rest: Size) -> tuple[str, int, int] | None:
    """The symbol that ``rest = 0`` gives a number, and the least and the largest that it may be."""
    found = held_value(rest)
    if found is None:
        return None
    product, number = found
    (monomial, _), *more = product.terms
    if more or len(monomial) != 1:
        return None
    atom = monomial[0]
    if isinstance(atom, str):
        return None if atom.startswith("?") else (atom, number, number)
    below = atom.bottom.number if isinstance(atom, Quotient) else None
    if not isinstance(atom, Quotient) or below is None:
        return None
    low, high = _only(atom.top - number * below), _only(atom.top - (number * below + below - 1))
    if low is None or high is None:
        return None
    return low[0], min(low[1], high[2]), max(low[1], high[2])


def held_value(rest: Size) -> tuple[Size, int] | None:
    """A sum or product of symbols and quotients, and the number that ``rest = 0`` makes it.

    A difference of symbols is none: ``T = U + 5`` holds at many sizes.
    """
    if not 2 <= len(rest.terms) <= MOST_HELD:
        return None
    shared = rest.terms[0][0]
    for monomial, _ in rest.terms[1:]:
        shared = _shared(shared, monomial)
    terms = {_less(monomial, shared): c for monomial, c in rest.terms}
    number = -terms.pop((), 0)
    common = gcd(*terms.values())
    if number < 0:
        number, common = -number, -common
    value = Size({monomial: c // common for monomial, c in terms.items()})
    unknown = any(name.startswith("?") for name in value.symbols)
    if number < 1 or number % common or unknown or not is_plain(value):
        return None
    if any(c < 0 for _, c in value.terms):
        return None
    return value, number // abs(common)


def is_plain(value: Size) -> bool:
    """Whether a size has no maxima and minima, and divides by numbers alone.

    ``min(T, 5) = 5`` holds at many sizes.
    """
    atoms = [atom for monomial, _ in value.terms for atom in monomial]
    return not any(isinstance(a, Extreme) for a in atoms) and all(
        a.bottom.number is not None and is_plain(a.top) for a in atoms if isinstance(a, Quotient)
    )


def _most(rest: Size) -> tuple[str, int] | None:
    """The symbol that ``min(symbol, number) = symbol`` bounds, and that number."""
    if len(rest.terms) != 2:
        return None
    atoms = [m[0] for m, c in rest.terms if len(m) == 1 and abs(c) == 1]
    extremes = [a for a in atoms if isinstance(a, Extreme) and a.kind == "min"]
    names = [a for a in atoms if isinstance(a, str)]
    if len(extremes) != 1 or len(names) != 1 or names[0].startswith("?"):
        return None
    first, second = extremes[0].args
    if second.symbol == names[0]:
        first, second = second, first
    number = second.number
    return (names[0], number) if first.symbol == names[0] and number and number > 1 else None


def _shared(first: Monomial, second: Monomial) -> Monomial:
    left, both = list(second), []
    for atom in first:
        if atom in left:
            left.remove(atom)
            both.append(atom)
    return tuple(both)


def _less(monomial: Monomial, taken: Monomial) -> Monomial:
    left = list(monomial)
    for atom in taken:
        left.remove(atom)
    return tuple(left)
