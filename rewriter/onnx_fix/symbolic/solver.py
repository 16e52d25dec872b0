"""Find what unknown sizes must be, from what the nodes of a model demand of them.

An unknown is a number of the exported model (an element of a constant, a dim of a stored tensor)
that may or may not have been computed from a symbolic dim. Nodes give equations: two sizes must be
equal (``Add``), two products must be (``Reshape``). The model is to run at every size, so each
equation must hold for all values of the symbols, and that decides most unknowns. What it leaves
open stays open: the caller asks for a second export, or for a word of the user.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd, prod

from onnx_fix.symbolic.size import Atom, Monomial, Quotient, Size, size

Hints = tuple[int | None, ...]
"""The number that a size was in each export; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Equation:
    """``left`` must equal ``right`` at ``where`` (the label of a node)."""

    left: Size
    right: Size
    where: str

    def __str__(self) -> str:
        return f"{self.left} = {self.right}"


@dataclass
class Solver:
    """Unknowns, what is known of them, and what is still demanded.

    ``hints`` holds the number that each symbol was, per export; unknowns add theirs. A symbol whose
    hints are None is one that the export left dynamic.
    """

    exports: int = 1
    hints: dict[str, Hints] = field(default_factory=dict)
    known: dict[str, Size] = field(default_factory=dict)
    """What unknowns turned out to be, in terms of symbols and of other unknowns."""
    unknown: set[str] = field(default_factory=set)
    open: list[Equation] = field(default_factory=list)
    """Equations between products that no single unknown solves."""
    demands: list[Equation] = field(default_factory=list)
    """Equations in which no unknown is left: the model runs where they hold, and only there."""
    why: dict[str, str] = field(default_factory=dict)
    """The node that decided an unknown."""
    _count: int = 0

    # -- making and reading -----------------------------------------------------------------------

    def fresh(self, hints: Hints | int | None = None) -> Size:
        """A new unknown."""
        if not isinstance(hints, tuple):
            hints = (hints, *(None,) * (self.exports - 1))
        self._count += 1
        name = f"?{self._count}"
        self.unknown.add(name)
        self.hints[name] = hints
        return size(name)

    def hint(self, value: Size, export: int = 0) -> int | None:
        """The number that a size was in an export, or None."""
        if value.number is not None:
            return value.number
        sizes: dict[str, int] = {}
        for name in value.symbols:
            hint = self.hints.get(name, (None,) * self.exports)[export]
            if hint is None:
                return None
            sizes[name] = hint
        try:
            return value.at(sizes)
        except ZeroDivisionError:
            return None

    def all_hints(self, value: Size) -> Hints:
        """The numbers that a size was, per export."""
        return tuple(self.hint(value, k) for k in range(self.exports))

    def now(self, value: Size) -> Size:
        """A size by what is known so far."""
        while True:
            due = {name: self.known[name] for name in value.symbols if name in self.known}
            if not due:
                return value
            value = value.replaced(due)

    def unknowns(self, value: Size) -> list[str]:
        """The unknowns of a size that are not decided, in a fixed order."""
        return sorted(value.symbols & self.unknown, key=lambda name: int(name[1:]))

    def agrees(self, a: Size, b: Size) -> bool:
        """Whether two sizes were the same number in every export, as far as that is known."""
        pairs = zip(self.all_hints(a), self.all_hints(b), strict=True)
        return all(x is None or y is None or x == y for x, y in pairs)

    # -- equations --------------------------------------------------------------------------------

    def same(self, a: Size, b: Size, where: str) -> Size:
        """Demand that two sizes be equal; what they are now."""
        a, b = self.now(a), self.now(b)
        if a == b:
            return a
        if not self._settle(Equation(a, b, where)):
            self.open.append(Equation(a, b, where))
        return self.now(a)

    def decide(self, name: str, value: Size, why: str) -> None:
        """Take an unknown to be ``value``."""
        self.known[name] = value
        self.why.setdefault(name, why)
        # What is known of one export is known of what equals it.
        merged = []
        for mine, theirs in zip(self.hints[name], self.all_hints(value), strict=True):
            merged.append(theirs if mine is None else mine)
        if value.symbol is not None and value.symbol in self.unknown:
            self.hints[value.symbol] = tuple(merged)

    def pin(self, value: Size) -> None:
        """Take an unknown to be the number it was: it does not matter what it is."""
        value = self.now(value)
        if value.symbol is not None and value.symbol in self.unknown:
            number = self.hints[value.symbol][0]
            if number is not None:
                self.decide(value.symbol, size(number), "it makes no difference")

    def _settle(self, equation: Equation) -> bool:
        """Whether the equation is done with: solved, or noted as a demand."""
        left, right = self.now(equation.left), self.now(equation.right)
        if left == right:
            return True
        rest = left - right
        names = self.unknowns(rest)
        if not names:
            self.demands.append(Equation(left, right, equation.where))
            return True
        # The youngest unknown is solved for: what it is put in terms of was there before it.
        for name in reversed(names):
            value = _solved(rest, name)
            if value is not None and self.agrees(value, size(name)):
                self.decide(name, value, _needed(equation))
                return True
        return False

    def solve(self) -> None:
        """Decide what the open equations decide."""
        busy = True
        while busy:
            busy = False
            for step in (self._pass_by_solving, self._pass_by_division):
                if step():
                    busy = True
                    break

    def _pass_by_solving(self) -> bool:
        before = len(self.known) + len(self.demands)
        self.open = [e for e in self.open if not self._settle(e)]
        return len(self.known) + len(self.demands) > before

    def _pass_by_division(self) -> bool:
        """Decide the unknowns of products that have one factor only that they can be."""
        for equation in self.open:
            left, right = self.now(equation.left), self.now(equation.right)
            for one, other in ((left, right), (right, left)):
                left_over = None if self.unknowns(other) else self._divided(other, one)
                if left_over is None:
                    continue
                for name in self.unknowns(one):
                    found = self.divisors(left_over, self.hints[name])
                    if len(found) == 1:
                        self.decide(name, found[0], _needed(equation))
                        return True
        return False

    def options(self, name: str) -> list[Size]:
        """What an unknown may be by the products it stands in; none where it stands in none."""
        found: list[Size] = []
        for equation in self.open:
            left, right = self.now(equation.left), self.now(equation.right)
            for one, other in ((left, right), (right, left)):
                if name not in one.symbols or self.unknowns(other):
                    continue
                left_over = self._divided(other, one)
                if left_over is not None:
                    found += self.divisors(left_over, self.hints[name])
        return list(dict.fromkeys(found))

    def _divided(self, known: Size, product: Size) -> Size | None:
        """What a product of unknowns must be, where it is known with another factor."""
        if len(product.terms) != 1:
            return None
        monomial, coefficient = product.terms[0]
        factor = [a for a in monomial if a not in self.unknown]
        if any(not isinstance(a, str) and Size({(a,): 1}).symbols & self.unknown for a in factor):
            return None
        return known.exact(Size({tuple(factor): coefficient}))

    def divisors(self, product: Size, hints: Hints) -> list[Size]:
        """The sizes that divide a product for all values of its symbols and had these numbers."""
        number, factors = split_factors(product)
        found: list[Size] = []
        for some in _subsets(factors):
            part = prod(some, start=size(1))
            scales = set()
            for hint, there in zip(hints, self.all_hints(part), strict=True):
                if hint is None or there is None:
                    continue
                if there == 0 or hint % there:
                    scales = {0}
                    break
                scales.add(hint // there)
            if len(scales) == 1 and (scale := scales.pop()) and number % scale == 0:
                value = part * scale
                if value not in found:
                    found.append(value)
        return found


def _solved(rest: Size, name: str) -> Size | None:
    """The unknown ``name`` from ``rest = 0``, where it stands in one term, to the first power."""
    holding = [(m, c) for m, c in rest.terms if name in Size({m: c}).symbols]
    if len(holding) != 1:
        return None
    monomial, coefficient = holding[0]
    if monomial.count(name) != 1:
        return None
    others: Monomial = tuple(a for a in monomial if a != name)
    factor = Size({others: coefficient})
    if name in factor.symbols:
        return None
    value = (Size({monomial: coefficient}) - rest).exact(factor)
    return None if value is None or name in value.symbols else value


def _needed(equation: Equation) -> str:
    return f"or '{equation.where}' does not run"


def split_factors(product: Size) -> tuple[int, list[Size]]:
    """A size as a number times factors that do not factor further here.

    A single term gives its atoms; a sum gives what all its terms share, and the rest.
    """
    if not product.terms:
        return 0, []
    shared = list(product.terms[0][0])
    number = 0
    for monomial, coefficient in product.terms:
        shared = _common(shared, monomial)
        number = gcd(number, coefficient)
    factors = [Size({(a,): 1}) for a in shared]
    if len(product.terms) > 1:
        rest = product.exact(prod(factors, start=size(1)) * number)
        if rest is not None:
            factors.append(rest)
    return number, factors


def _common(some: Sequence[Atom], others: Sequence[Atom]) -> list[Atom]:
    left, both = list(others), []
    for atom in some:
        if atom in left:
            left.remove(atom)
            both.append(atom)
    return both


def _subsets(factors: Sequence[Size]) -> Iterator[list[Size]]:
    """All sub-collections; at most ten factors are told apart."""
    for mask in range(1 << min(len(factors), 10)):
        yield [f for k, f in enumerate(factors) if mask >> k & 1]


def vocabulary(values: Iterable[Size]) -> set[Size]:
    """The sizes with a symbol, and the quotients and terms that they are made of."""
    found: set[Size] = set()
    for value in values:
        if value.number is not None:
            continue
        found.add(value)
        for monomial, _ in value.terms:
            for atom in monomial:
                found.add(Size({(atom,): 1}))
                if isinstance(atom, Quotient):
                    found.add(atom.top)
    return {v for v in found if v.number is None}


def holds(equation: Equation, values: Mapping[str, int]) -> bool:
    """Whether an equation without unknowns holds for these sizes."""
    return equation.left.at(values) == equation.right.at(values)
