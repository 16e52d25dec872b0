"""Find what unknown sizes must be, from what the nodes of a model demand of them.

An unknown is a number of the exported model (an element of a constant, a dim of a stored tensor)
that may or may not have been computed from a symbolic dim. Nodes give equations: two sizes must be
equal (``Add``), two products must be (``Reshape``). The model is to run at every size, so each
equation must hold for all values of the symbols, and that decides most unknowns. What it leaves
open stays open: the caller asks for a second export, or for a word of the user.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import gcd, prod

from onnx_fix.symbolic.size import Atom, Monomial, Quotient, Size, size

Hints = tuple[int | None, ...]
"""The number that a size was in each export; None where that is not known."""


MOST_TERMS = 64
"""Equations of more terms are not solved: what exporters write has a few."""


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
    demands: list[Equation] = field(default_factory=list)
    """Equations in which no unknown is left: the model runs where they hold, and only there."""
    why: dict[str, str] = field(default_factory=dict)
    """The node that decided an unknown."""
    where: dict[str, str] = field(default_factory=dict)
    """The node whose demand decided an unknown, where one did."""
    heard: list[Equation] = field(default_factory=list)
    """Everything that was demanded, as it stood then, for symbols whose hints are None."""
    _count: int = 0
    _kept: int = 0
    _open: dict[int, Equation] = field(default_factory=dict)
    """Equations that no single unknown solves, by number."""
    _late: set[int] = field(default_factory=set)
    """Those of them that wait until one unknown is left."""
    _watched: dict[str, set[int]] = field(default_factory=dict)
    """The open equations by the unknowns in them."""
    _due: set[int] = field(default_factory=set)
    """Those of which more may be known than when they were last looked at."""
    _to_divide: list[int] = field(default_factory=list)
    """The same for those of products: a heap."""

    @property
    def open(self) -> list[Equation]:
        """The equations that no single unknown solves."""
        return list(self._open.values())

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
        if self.known.keys().isdisjoint(value.symbols):
            return value
        return value.replaced({n: self._resolved(n) for n in value.symbols if n in self.known})

    def all_now(self, values: tuple[Size, ...]) -> tuple[Size, ...]:
        """Sizes by what is known so far."""
        known = self.known
        for value in values:
            for name in value.symbols:
                if name in known:
                    return tuple(map(self.now, values))
        return values

    def _resolved(self, name: str) -> Size:
        """What a decided unknown comes to; kept, so that the way there is gone once."""
        value = self.known[name]
        steps = 0
        while True:
            due = {n: self.known[n] for n in value.symbols if n in self.known}
            if not due:
                break
            value = value.replaced(due)
            steps += 1
        if steps:
            self.known[name] = value
        return value

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
        if a.number is None or b.number is None:
            self.heard.append(Equation(a, b, where))
        if not self._settle(Equation(a, b, where)):
            self._keep(Equation(a, b, where))
        return self.now(a)

    def _keep(self, equation: Equation) -> int:
        self._kept += 1
        number = self._kept
        self._open[number] = equation
        self._watch(number)
        self._due.add(number)
        heappush(self._to_divide, number)
        return number

    def _watch(self, number: int) -> None:
        equation = self._open[number]
        for side in (equation.left, equation.right):
            for name in self.unknowns(self.now(side)):
                self._watched.setdefault(name, set()).add(number)

    def later(self, a: Size, b: Size, where: str) -> None:
        """Demand that two sizes be equal, of which no unknown is to be made the rest of others."""
        a, b = self.now(a), self.now(b)
        if len(self.unknowns(a - b)) < 2:
            self.same(a, b, where)
            return
        self.heard.append(Equation(a, b, where))
        self._late.add(self._keep(Equation(a, b, where)))

    def decide(self, name: str, value: Size, why: str) -> None:
        """Take an unknown to be ``value``."""
        self.known[name] = value
        self.why.setdefault(name, why)
        # What is known of one export is known of what equals it.
        merged = []
        for mine, theirs in zip(self.hints[name], self.all_hints(value), strict=True):
            merged.append(theirs if mine is None else mine)
        if value.symbol is not None and value.symbol in self.unknown:
            if self.hints[value.symbol] != tuple(merged):
                self._touch(value.symbol)
            self.hints[value.symbol] = tuple(merged)
        self._touch(name)

    def _touch(self, name: str) -> None:
        """Look at the equations with an unknown again."""
        for number in self._watched.get(name, ()):
            self._due.add(number)
            heappush(self._to_divide, number)

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
        if len(left.terms) == 1 and len(right.terms) == 1:
            return self._settle_products(left, right, equation.where)
        if len(left.terms) + len(right.terms) > MOST_TERMS:
            return False
        rest = left - right
        names = self.unknowns(rest)
        if not names:
            self.demands.append(Equation(left, right, equation.where))
            return True
        # The youngest unknown is solved for: what it is put in terms of was there before it.
        for name in reversed(names):
            value = _solved(rest, name)
            if value is not None and self.agrees(value, size(name)):
                self._by_demand(name, value, equation.where)
                return True
        return False

    def _by_demand(self, name: str, value: Size, where: str) -> None:
        self.where.setdefault(name, where)
        self.decide(name, value, f"or '{where}' does not run")

    def _settle_products(self, left: Size, right: Size, where: str) -> bool:
        """Settle an equation of two products: what is left of one is an unknown alone."""
        one, other = _cancelled(left, right)
        names = {n for n in (one.symbol, other.symbol) if n is not None and n in self.unknown}
        for name in sorted(names, key=lambda n: int(n[1:]), reverse=True):
            value = other if one.symbol == name else one
            if name not in value.symbols and self.agrees(value, size(name)):
                self._by_demand(name, value, where)
                return True
        if self.unknown.isdisjoint(one.symbols) and self.unknown.isdisjoint(other.symbols):
            self.demands.append(Equation(left, right, where))
            return True
        return False

    def solve(self) -> None:
        """Decide what the open equations decide."""
        while True:
            while self._due:
                for number in sorted(self._due):
                    self._due.discard(number)
                    if number in self._open:
                        self._look_at(number)
            if not self._pass_by_division():
                return

    def _look_at(self, number: int) -> None:
        equation = self._open[number]
        if number in self._late:
            rest = self.now(equation.left) - self.now(equation.right)
            if len(self.unknowns(rest)) > 1:
                self._watch(number)
                return
            self._late.discard(number)
        if self._settle(equation):
            del self._open[number]
        else:
            self._watch(number)

    def _pass_by_division(self) -> bool:
        """Decide the unknowns of a product that have one factor only that they can be."""
        last = -1
        while self._to_divide:
            number = heappop(self._to_divide)
            equation = self._open.get(number)
            if equation is None or number in self._late or number == last:
                continue
            last = number
            if self._by_factors(equation):
                heappush(self._to_divide, number)
                return True
        return False

    def _by_factors(self, equation: Equation) -> bool:
        left, right = self.now(equation.left), self.now(equation.right)
        for one, other in ((left, right), (right, left)):
            left_over = None if self.unknowns(other) else self._divided(other, one)
            if left_over is None:
                continue
            for name in self.unknowns(one):
                found = self.divisors(left_over, self.hints[name])
                if len(found) == 1:
                    self._by_demand(name, found[0], equation.where)
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
        """The sizes that divide a product for all values of its symbols and had these numbers.

        None at all where some symbol was a number that is not known: it may hide one more.
        """
        if any(None in self.hints.get(name, (None,)) for name in product.symbols):
            return []
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
    holding = [(m, c) for m, c in rest.terms if _takes_part(name, m)]
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


def _cancelled(left: Size, right: Size) -> tuple[Size, Size]:
    """Two products without the factors that they share."""
    (ours, a), (theirs, b) = left.terms[0], right.terms[0]
    shared = gcd(a, b)
    if ours and theirs:
        kept, rest = [], list(theirs)
        for atom in ours:
            if atom in rest:
                rest.remove(atom)
            else:
                kept.append(atom)
        ours, theirs = tuple(kept), tuple(rest)
    return Size({ours: a // shared}), Size({theirs: b // shared})


def _takes_part(name: str, monomial: Monomial) -> bool:
    return any(
        atom == name if isinstance(atom, str) else name in Size({(atom,): 1}).symbols
        for atom in monomial
    )


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
