"""Find the numbers of an export that derive from dims, and say for each why it does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnx_fix.model import Model
from onnx_fix.scope import node_label
from onnx_fix.symbolic.propagate import Place, Propagation
from onnx_fix.symbolic.size import Size, size
from onnx_fix.symbolic.solver import Equation, Hints, Solver, vocabulary
from onnx_fix.symbolic.step import Shape, Values
from onnx_fix.unfreeze._study import SMALL
from onnx_fix.unfreeze.learn import learn
from onnx_fix.unfreeze.suspects import suspects
from onnx_fix.unfreeze.tables import Recipe


@dataclass(frozen=True, slots=True)
class Vector:
    """A constant of shape numbers, as ``node`` reads it at ``index``, with what they are now."""

    node: gs.Node
    index: int
    tensor: str
    values: Values
    why: str


@dataclass(frozen=True, slots=True)
class Table:
    """A stored tensor that ``node`` reads at ``index`` and that depends on sizes.

    ``dims`` are its dims now; ``arrays`` its numbers in each export.
    """

    node: gs.Node
    index: int
    tensor: str
    dims: Shape
    arrays: tuple[NDArray[np.generic], ...]
    why: str


@dataclass(frozen=True, slots=True)
class Question:
    """Numbers with more than one explanation. ``places`` are spelled as ``assume`` takes them."""

    places: tuple[str, ...]
    reader: str
    numbers: Hints
    candidates: tuple[str, ...]

    def __str__(self) -> str:
        shown = ", ".join(self.places[:3]) + (", ..." if len(self.places) > 3 else "")
        number = self.numbers[0]
        if len(set(self.numbers)) > 1:
            number_shown = " and ".join(str(n) for n in self.numbers)
            either = " or ".join(self.candidates[:4]) or "something that no rule gives"
        else:
            number_shown = str(number)
            either = " or ".join((*self.candidates[:4], f"always {number}"))
        return f"{shown} ({number_shown}, read by {self.reader}) may be {either}"


@dataclass
class Analysis:
    """What an export has frozen.

    ``obstacles`` are reasons why it cannot be made dynamic as asked; ``restrictions`` are equations
    that sizes must fulfil, in the original network as well.
    """

    propagation: Propagation
    vectors: list[Vector] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    puzzles: list[str] = field(default_factory=list)
    """Stored numbers that may have been a size, or not."""
    obstacles: list[str] = field(default_factory=list)
    restrictions: list[Equation] = field(default_factory=list)
    sizes: tuple[Size, ...] = ()
    """The sizes that occur in the model, and those near them."""
    fixed: frozenset[int] = frozenset()
    """The sizes that are always these numbers."""

    @property
    def solver(self) -> Solver:
        """What is known of the sizes."""
        return self.propagation.solver

    def shape(self, tensor: gs.Tensor) -> Shape | None:
        """The sizes of a tensor."""
        found = self.propagation.shapes.get(id(tensor))
        return None if found is None else tuple(self.solver.now(d) for d in found)


def analyse(
    model: Model,
    dynamic: Mapping[tuple[str, int], str],
    at: Sequence[Mapping[str, int]],
    *,
    others: Mapping[tuple[int, int | str], Sequence[NDArray[np.generic]]] | None = None,
    assume: Mapping[str, Size] | None = None,
    constants: bool = False,
    allowed: Mapping[str, tuple[int, int]] | None = None,
) -> Analysis:
    """Follow the sizes of a model whose input dims ``dynamic`` become symbols.

    Args:
        model: The first export.
        dynamic: The symbols, by input name and axis.
        at: The numbers that the symbols were in each export, the first one's first.
        others: The constants that differ in the other exports, by the node (identity) and the
            input or attribute that they are here.
        assume: What numbers are, by place (``tensor[element]``).
        constants: Whether a number that nothing ties to a dim is taken for a constant, though a
            dim was the same number.
        allowed: The range of each symbol.
    """
    hints = {name: tuple(a.get(name) for a in at) for name in dict.fromkeys(dynamic.values())}
    propagation = Propagation(
        model,
        dynamic,
        Solver(max(1, len(at)), dict(hints)),
        dict(others or {}),
        assumed=dict(assume or {}),
    )
    propagation.run()
    finish = _Finish(propagation, at, constants, dict(allowed or {}))
    finish.run()
    return finish.result()


@dataclass
class _Finish:
    """Decides what the equations left open, by value, and collects what came out."""

    propagation: Propagation
    at: Sequence[Mapping[str, int]]
    constants: bool
    allowed: Mapping[str, tuple[int, int]]
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
        words, open_ = self._words(), self._open_numbers()
        if not patient:
            self._hasty, self._sums = self._sums, set()
        for name, place in self._undecided():
            known = name in self._solver.known
            if not known and self._by_value(name, place, words, open_):
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

    def _words(self) -> dict[Hints, list[Size]]:
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

    def _open_numbers(self) -> frozenset[Hints]:
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
        found |= self._multiples(found)
        return frozenset(found)

    def _multiples(self, found: set[Hints]) -> set[Hints]:
        """Numbers in equations with an undecided one that they are a multiple of."""
        solver, words, more = self._solver, self._words(), set()
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
        place: Place,
        words: Mapping[Hints, list[Size]],
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
            preferred += learn(values, self.at, allowed=self.allowed).candidates
        learned = learn(values, self.at, preferred=preferred, allowed=self.allowed)
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

    # -- what came out ----------------------------------------------------------------------------

    def result(self) -> Analysis:
        """The analysis as a whole."""
        words = self._words()
        found = Analysis(self.propagation, sizes=tuple(w for same in words.values() for w in same))
        found.fixed = self._fixed()
        self._questions(found)
        self._demands(found)
        self._lengths(found)
        self._places(found)
        if not self.constants:
            self._pads(found)
        if len(self.at) == 1 and not self.constants:
            self._suspects(found)
        return found

    def _fixed(self) -> frozenset[int]:
        """The numbers of all dims that are numbers."""
        propagation = self.propagation
        shapes = [*propagation.shapes.values(), *propagation.dims.values()]
        seen = {d for shape in shapes for d in shape or ()}
        numbers = {self._solver.now(d).number for d in seen}
        return frozenset(n for n in numbers if n is not None)

    def _questions(self, found: Analysis) -> None:
        words = self._words()
        groups: dict[tuple[str, Hints], list[tuple[str, str]]] = {}
        for name, place in self._undecided():
            if place.node is None:
                continue
            key = (node_label(place.node), self._solver.hints[name])
            groups.setdefault(key, []).append((str(place), name))
        for (reader, numbers), found_here in groups.items():
            places = [place for place, _ in found_here]
            known = None not in numbers
            first = found_here[0][1]
            parts = [*self._parts(first, numbers), *self._factors(first)] if known else []
            candidates = tuple(str(w) for w in words.get(numbers, []))
            candidates = tuple(dict.fromkeys((*candidates, *(str(part) for part in parts))))
            if not candidates and None not in numbers and len(set(numbers)) > 1:
                values = [n for n in numbers if n is not None]
                candidates = tuple(str(c) for c in learn(values, self.at).candidates[:4])
            unique = tuple(dict.fromkeys(places))
            found.questions.append(Question(unique, reader, numbers, candidates))

    def _demands(self, found: Analysis) -> None:
        for equation in self._solver.open:
            left, right = self._solver.now(equation.left), self._solver.now(equation.right)
            if not self._solver.agrees(left, right):
                found.obstacles.append(
                    f"node '{equation.where}' needs {left} and {right} to be equal, which they "
                    "were not in every export"
                )
        seen = set()
        for equation in self._solver.demands:
            left, right = self._solver.now(equation.left), self._solver.now(equation.right)
            key = frozenset((left, right))
            if left == right or key in seen:
                continue
            seen.add(key)
            if left.number is not None or right.number is not None:
                number, free = (left, right) if left.number is not None else (right, left)
                found.obstacles.append(
                    f"node '{equation.where}' works for {free} = {number} only"
                    + self._culprit(equation.where, free)
                )
            elif left.symbol is not None and right.symbol is not None:
                found.obstacles.append(
                    f"node '{equation.where}' needs {left} and {right} to be equal; give them one "
                    "name, or export with two different sizes"
                )
            else:
                found.restrictions.append(Equation(left, right, equation.where))

    def _lengths(self, found: Analysis) -> None:
        """Refuse lengths that would be less than 0, and ask of those that are not decided."""
        far = {
            symbol: max(10 * n for at in self.at if (n := at.get(symbol)) is not None)
            for symbol in self.propagation.dynamic.values()
            if any(symbol in at for at in self.at)
        }
        for name, place in self.propagation.places.items():
            value = self._solver.now(size(name))
            open_ = set(self._solver.unknowns(value))
            if open_ and value.symbols - open_ and place.node is not None:
                given = ", ".join(sorted(value.symbols - open_))
                found.puzzles.append(
                    f"{place}, read by {node_label(place.node)}: a number that was "
                    f"{self._solver.hint(value)} and may be made of {given}"
                )
            if value.number is not None or not value.symbols <= far.keys():
                continue
            if place.node is not None and place.node.op != "Slice" and value.at(far) < 0:
                found.obstacles.append(
                    f"{place}, read by {node_label(place.node)}, would have to be {value}, which "
                    "is less than 0 at large sizes; export at sizes that are further apart"
                )

    def _pads(self, found: Analysis) -> None:
        """Ask of a Pad that adds nothing: who writes one, unless it makes some sizes round?"""
        propagation = self.propagation
        for (key, index), values in propagation.reads.items():
            node = next((n for n in propagation.nodes_of("Pad") if id(n) == key), None)
            if node is None or index != 1 or values is None or any(v != 0 for v in values):
                continue
            tensor = str(node.inputs[index].name)
            if any(place.startswith(f"{tensor}[") for place in propagation.heard):
                continue
            data = propagation.shapes.get(id(node.inputs[0]))
            open_ = [k for k, d in enumerate(data or ()) if self._solver.now(d).number is None]
            if open_ and data is not None:
                dim = self._solver.now(data[open_[0]])
                found.puzzles.append(
                    f"{tensor}[{open_[0]}], read by {node_label(node)}: a number is 0, which may "
                    f"be a constant or what {dim} lacks to be round"
                )

    def _culprit(self, where: str, free: Size) -> str:
        """What may hold a size to its number: an input dim, or a stored tensor at the node."""
        numbers = {self._solver.hints[s] for s in free.symbols if s in self._solver.hints}
        inputs = [
            str(place)
            for name, place in self.propagation.places.items()
            if place.kind == "declared" and self._solver.hints[name] in numbers
        ]
        if inputs:
            return f"; should {', '.join(inputs)} be dynamic too (--dynamic)?"
        stored = [
            f"'{t.name}'"
            for s in self.propagation.model.scopes
            for n in s.graph.nodes
            if node_label(n) == where
            for t in n.inputs
            if self.propagation.is_constant(t)
        ]
        if stored:
            return f": it reads {', '.join(stored)}, whose numbers follow no rule in the sizes"
        return ""

    def _places(self, found: Analysis) -> None:
        self._declared(found)
        self._attributes(found)
        nodes = {id(n): n for s in self.propagation.model.scopes for n in s.graph.nodes}
        for (key, index), values in self.propagation.reads.items():
            if values is None:
                continue
            now = [self._solver.now(v) for v in values.reshape(-1)]
            if all(v.number is not None or self._solver.unknowns(v) for v in now):
                continue
            node = nodes[key]
            array = np.empty(len(now), dtype=object)
            array[:] = now
            why = self._why(list(values.reshape(-1)), now)
            tensor = str(node.inputs[index].name)
            found.vectors.append(Vector(node, index, tensor, array.reshape(values.shape), why))
        self._tables(found, nodes)
        self._unused(found, nodes)

    def _unused(self, found: Analysis, nodes: Mapping[int, gs.Node]) -> None:
        """Name what differs between the exports and is nowhere followed."""
        propagation = self.propagation
        attributes = {(key, name) for key, name, _ in propagation.attributes}
        for place in propagation.others:
            key, where = place
            if isinstance(where, str):
                met = (key, where) in attributes
            else:
                met = (key, where) in propagation.reads or (key, where) in propagation.dims
            if not met:
                node = nodes[key]
                what = f"attribute {where}" if isinstance(where, str) else f"input {where}"
                found.obstacles.append(
                    f"{what} of {node.op} '{node_label(node)}' differs between the exports, and "
                    "nothing shows how it derives from the dims"
                )

    def _why(self, before: Sequence[Size], now: Sequence[Size]) -> str:
        """What decided the numbers, in a few words."""
        reasons = []
        for was, value in zip(before, now, strict=True):
            if value.number is None and was.symbol in self._solver.why:
                reasons.append(self._solver.why[was.symbol])
        return ", ".join(dict.fromkeys(reasons))

    def _tables(self, found: Analysis, nodes: Mapping[int, gs.Node]) -> None:
        propagation = self.propagation
        for (key, index), dims in propagation.dims.items():
            node = nodes[key]
            if (key, index) in propagation.reads and propagation.reads[key, index] is not None:
                continue
            tensor = node.inputs[index]
            now = tuple(self._solver.now(d) for d in dims)
            others = propagation.others.get((key, index), ())
            dynamic = any(d.number is None and not self._solver.unknowns(d) for d in now)
            if not dynamic and not others:
                continue
            mine = propagation.model.value(tensor, limit=None)
            if mine is None:
                found.obstacles.append(f"the numbers of '{tensor.name}' cannot be read")
                continue
            kept = tuple(
                d if d.number is None and not self._solver.unknowns(d) else size(n)
                for d, n in zip(now, mine.shape, strict=True)
            )
            why = self._why(dims, now)
            name = str(tensor.name)
            found.tables.append(Table(node, index, name, kept, (mine, *others), why))

    def _suspects(self, found: Analysis) -> None:
        """With one export, ask of every stored number that was a size."""
        for each in suspects(self.propagation, self.at[0], found.sizes, found.fixed):
            if isinstance(each.made, Recipe):
                dims = tuple(size(n) for n in each.array.shape)
                why = "its value"
                table = Table(each.node, each.index, each.tensor, dims, (each.array,), why)
                found.tables.append(table)
            else:
                reader = node_label(each.node)
                found.puzzles.append(f"{each.tensor}, read by {reader}: {each.made.reason}")

    def _attributes(self, found: Analysis) -> None:
        for (_, name, element), value in self.propagation.attributes.items():
            now = self._solver.now(value)
            place = self.propagation.places.get(value.symbol or "")
            if now.number is None and not self._solver.unknowns(now) and place is not None:
                where = "" if element is None else f"[{element}]"
                label = node_label(place.node) if place.node is not None else ""
                found.obstacles.append(
                    f"attribute {name}{where} of '{label}' would have to be {now}, which an "
                    "attribute cannot; write the model for a newer operator set first (--opset 13)"
                )

    def _declared(self, found: Analysis) -> None:
        for name, place in self.propagation.places.items():
            if place.kind == "declared":
                now = self._solver.now(size(name))
                if now.number is None and not self._solver.unknowns(now):
                    found.obstacles.append(
                        f"dim {place.element} of input '{place.tensor}' has to be {now}: add "
                        f"--dynamic {place.tensor}:{place.element}={now}"
                    )


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
