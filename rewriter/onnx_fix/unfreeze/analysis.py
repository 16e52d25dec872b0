"""Find the numbers of an export that derive from dims, and say for each why it does."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnx_fix.model import Model
from onnx_fix.scope import node_label
from onnx_fix.symbolic.propagate import Propagation
from onnx_fix.symbolic.size import Size, size
from onnx_fix.symbolic.solver import Equation, Hints, Solver
from onnx_fix.symbolic.step import Shape, Values
from onnx_fix.unfreeze._decide import Decide, Words
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
    free: bool = False,
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
        free: Whether the model declares these symbols itself: two of them that meet are a
            restriction of it, and so is a size that it holds to a number.
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
    finish = _Finish(propagation, at, constants, free=free)
    finish.run()
    return finish.result()


@dataclass
class _Finish(Decide):
    """Decides what the equations left open, and collects what came out."""

    free: bool = False

    # -- what came out ----------------------------------------------------------------------------

    def result(self) -> Analysis:
        """The analysis as a whole."""
        words = self._words()
        found = Analysis(self.propagation, sizes=tuple(w for same in words.values() for w in same))
        found.fixed = self._fixed()
        self._questions(found, words)
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

    def _questions(self, found: Analysis, words: Words) -> None:
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
            if self.free:
                found.restrictions.append(Equation(left, right, equation.where))
            elif left.number is not None or right.number is not None:
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
        pads = {id(node): node for node in propagation.nodes_of("Pad")}
        for (key, index), values in propagation.reads.items():
            node = pads.get(key)
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
        wanted = {n for hint in numbers for n in hint}
        stored = list(dict.fromkeys(self._weights(where, wanted)))
        if not stored:
            return ""
        shown = ", ".join(stored[:3]) + (", ..." if len(stored) > 3 else "")
        return f"; the numbers of {shown} follow no rule in the sizes"

    def _weights(self, where: str, numbers: Collection[int | None]) -> Iterator[str]:
        """The weights with such a dim: those at the node, or else all."""
        propagation = self.propagation
        nodes = {id(n): n for s in propagation.model.scopes for n in s.graph.nodes}
        found: list[tuple[bool, str]] = []
        for (key, index), dims in propagation.dims.items():
            if any(d.number in numbers for d in dims if d.number is not None):
                node = nodes[key]
                found.append((node_label(node) == where, f"'{node.inputs[index].name}'"))
        here = [name for at_node, name in found if at_node]
        yield from here or (name for _, name in found)

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
