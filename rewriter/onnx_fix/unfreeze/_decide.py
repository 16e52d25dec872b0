"""Decide by value what the equations leave open: words of the model, and parts of its dims."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from onnx_fix.symbolic.propagate import Place, Propagation
from onnx_fix.symbolic.size import Size, size
from onnx_fix.symbolic.solver import Hints, Solver, vocabulary
from onnx_fix.unfreeze._study import SMALL
from onnx_fix.unfreeze.learn import learn

Words = Mapping[Hints, list[Size]]
"""The sizes that occur in a model, by the numbers that they were."""


@dataclass
class Decide:
    """Decides what the equations left open, by value."""

    propagation: Propagation
    at: Sequence[Mapping[str, int]]
    constants: bool
    _there: set[Size] = field(default_factory=set)
    """The sizes of tensors."""
    _hasty: set[Hints] = field(default_factory=set)
    """Such numbers where nothing else is left to decide: only what stands in the model counts."""
    _sums: set[Hints] = field(default_factory=set)
    """The numbers of sizes of tensors that come of something that is not decided."""

    @property
    def _solver(self) -> Solver:
        return self.propagation.solver

    def run(self) -> None:
        """Decide number by number until nothing changes."""
        for name, place in self._undecided():
            if place.kind == "declared":
                self._pin(name, "declared as this number")
        self._solver.solve()
        while self._round() or self._round(patient=False):
            pass
        if self.constants:
            for name, _ in self._undecided():
                if len(set(self._solver.hints[name])) == 1:
                    self._pin(name, "taken for a constant, as asked")
            self._solver.solve()

    def _round(self, patient: bool = True) -> bool:
        """Whether something was decided by value.

        One that is ``patient`` leaves numbers that a size may have been that is not decided.
        """
        busy = False
        words = self._words()
        open_ = self._open_numbers(words)
        if not patient:
            self._hasty, self._sums = self._sums, set()
        for name, _ in self._undecided():
            known = name in self._solver.known
            if not known and self._by_value(name, words, open_):
                busy = True
                made = self._solver.now(size(name))
                if not patient or (made.number is None and made not in self._there):
                    # Others are told from what is now a size of the model.
                    break
        self._solver.solve()
        return busy

    def _undecided(self) -> Iterator[tuple[str, Place]]:
        for name, place in self.propagation.places.items():
            if name not in self._solver.known:
                yield name, place

    def _words(self) -> Words:
        """The sizes that occur in the model, by the numbers that they were."""
        solver = self._solver
        seen: set[Size] = set()
        for shape in self.propagation.shapes.values():
            seen.update(solver.now(d) for d in shape or ())
        plain = {d for d in seen if not solver.unknowns(d)}
        plain.update(size(name) for name in self.propagation.dynamic.values())
        self._there = set(plain)
        found: dict[Hints, list[Size]] = {}
        plain.update(_near(self.propagation.dynamic.values()))
        for word in sorted(vocabulary(plain), key=lambda w: (len(str(w)), str(w))):
            numbers = solver.all_hints(word)
            if None not in numbers:
                found.setdefault(numbers, []).append(word)
        return found

    def _open_numbers(self, words: Words) -> frozenset[Hints]:
        """The numbers of sizes that are not decided, and may yet come of a symbol."""
        solver = self._solver
        found: set[Hints] = set()
        self._sums, self._hasty = set(), set()
        for name, _ in self._undecided():
            numbers = solver.hints[name]
            if None not in numbers and len(set(numbers)) == 1 and self._parts(name, numbers):
                found.add(numbers)
        for shape in self.propagation.shapes.values():
            for d in shape or ():
                now = solver.now(d)
                unknown = solver.unknowns(now)
                if unknown and now.symbol is None:
                    self._sums.add(solver.all_hints(now))
                if len(now.symbols) > len(unknown) > 0:
                    found.add(solver.all_hints(now))
        found |= self._multiples(found, words)
        return frozenset(found)

    def _multiples(self, found: set[Hints], words: Words) -> set[Hints]:
        """Numbers in equations with an undecided one that they are a multiple of."""
        solver, more = self._solver, set()
        for equation in solver.open:
            names = solver.unknowns(solver.now(equation.left) - solver.now(equation.right))
            numbers = [solver.hints[name] for name in names]
            for some in numbers:
                if None in some or not (some in words or some in found):
                    continue
                for other in numbers:
                    pairs = list(zip(other, some, strict=True))
                    if other != some and all(a and b and b > 1 and a % b == 0 for a, b in pairs):
                        more.add(other)
        return more

    def _by_value(
        self,
        name: str,
        words: Words,
        open_: frozenset[Hints] = frozenset(),
    ) -> bool:
        """Whether the number of an unknown leaves one explanation."""
        numbers = self._solver.hints[name]
        if None in numbers:
            return False
        fitting = words.get(numbers, [])
        if len(set(numbers)) == 1:
            axis = self.propagation.axes.get(name)
            if numbers in open_ or self._parts(name, numbers) or self._factors(name):
                return False
            if len(numbers) > 1 and fitting and (numbers[0] or 0) > SMALL:
                # Such as n*m where 12*16 became 16*12.
                return False
            if len(numbers) > 1:
                return self._pin(name, f"the same in all {len(numbers)} exports")
            if not fitting:
                return self._pin(name, "no dim was this number")
            if axis is not None and self._solver.now(axis).number is not None:
                return self._pin(name, "a position on an axis of constant size")
            return False
        if numbers in self._sums:
            return False
        values = [n for n in numbers if n is not None]
        # A size that stands in the model goes before other parts of the same dims.
        there = [w for w in fitting if w in self._there]
        parts = self._parts(name, numbers)
        preferred = [
            *fitting,
            *(p for p in parts if not any(p.symbols <= w.symbols for w in there)),
        ]
        if not fitting:
            preferred += learn(values, self.at).candidates
        learned = learn(values, self.at, preferred=preferred)
        if learned.size is None or (numbers in self._hasty and learned.size not in self._there):
            return False
        self._solver.decide(name, learned.size, f"its numbers in {len(numbers)} exports")
        return True

    def _parts(self, name: str, numbers: Hints) -> list[Size]:
        """Parts of dims that were these numbers, where such a part is a likely thing to stand.

        With one export: of the axis that the number counts on. With several, all of which have the
        same number, of every symbol: a third of 13 and of 12 is 4.
        """
        several, number = len(numbers) > 1, max(n or 0 for n in numbers)
        places = [p for k, p in self.propagation.places.items() if self._is(k, name)]
        pads = any(p.node is not None and p.node.op == "Pad" for p in places)
        axes = [d for k, d in self.propagation.axes.items() if self._is(k, name)]
        parts = [d for k, d in self.propagation.parts.items() if self._is(k, name)]
        bases = [self._solver.now(d) for d in (*axes, *parts)]
        if several:
            bases += [size(s) for s in self.propagation.dynamic.values()]
        found = []
        for base in dict.fromkeys(bases):
            if base.number is not None or self._solver.unknowns(base):
                continue
            near = () if several else _near_parts(base, bool(axes))
            made = _parts_of(base) if number > SMALL or not several else ()
            for part in (*made, *near, *(_missing(base) if pads else ())):
                if part.number is None and self._solver.all_hints(part) == numbers:
                    found.append(part)
        return list(dict.fromkeys(found))

    def _factors(self, name: str) -> list[Size]:
        """The sizes with a symbol that an unknown may be as a factor of a known product."""
        return [s for s in self._solver.options(name) if s.number is None]

    def _is(self, unknown: str, name: str) -> bool:
        """Whether what is known makes one unknown another."""
        return self._solver.now(size(unknown)).symbol == name

    def _pin(self, name: str, why: str) -> bool:
        number = self._solver.hints[name][0]
        if number is None:
            return False
        self._solver.decide(name, size(number), why)
        return True


_PARTS = (2, 3, 4, 5, 6, 7, 8)
_SHORT_OF = 4
_ROUND = (2, 4, 7, 8, 14, 16, 32, 64)


def _parts_of(dim: Size) -> Iterator[Size]:
    """A half of a dim, a third, and so on."""
    yield from (dim // divisor for divisor in _PARTS)


def _near_parts(dim: Size, position: bool) -> Iterator[Size]:
    """Other parts of a dim, and where it ends but for a few."""
    yield from ((dim + divisor - 1) // divisor for divisor in _PARTS)
    yield from (dim // divisor for divisor in (10, 12, 16, 32))
    for top, below in ((2, 3), (3, 4), (3, 5), (2, 5), (4, 5), (3, 2), (2, 1), (9, 10)):
        yield dim * top // below
    if position:
        yield from (dim - less for less in range(1, _SHORT_OF + 1))


def _missing(dim: Size) -> Iterator[Size]:
    """What a dim lacks to be round, and halves of that."""
    for divisor in _ROUND:
        added = -(-dim // divisor) * divisor - dim
        yield from (added, added // 2, added - added // 2)


def _near(symbols: Iterable[str]) -> Iterator[Size]:
    """What networks compute of dims and need not show as a dim: one more, one less, pairs."""
    names = sorted(set(symbols))
    for k, name in enumerate(names):
        yield from (size(name) + 1, size(name) - 1)
        for other in names[k + 1 :]:
            yield from (size(name) + other, size(name) * other, size(name) - other)
