"""What a model with declared dynamic dims holds of one size, found without being told any number.

The nodes demand that sizes be equal. Where a constant meets a symbol, the symbol can have had one
number only at the export; with that number the model is followed as an export at fixed sizes is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import onnx_graphsurgeon as gs

from onnx_fix.errors import UsageError
from onnx_fix.model import Model
from onnx_fix.scope import node_label
from onnx_fix.symbolic.propagate import Place, Propagation
from onnx_fix.symbolic.size import Size, parse_size, size
from onnx_fix.symbolic.solver import Equation, Solver
from onnx_fix.symbolic.step import Shape
from onnx_fix.unfreeze.analysis import Analysis, Table, Vector, analyse
from onnx_fix.unfreeze.export_sizes import ExportSizes, held_value, is_plain, numbered
from onnx_fix.unfreeze.recipes import recipes
from onnx_fix.unfreeze.request import Places
from onnx_fix.unfreeze.tables import Recipe, Unknown
from onnx_fix.verify.symbols import fed_inputs, input_dims, symbols

Kind = Literal["number", "table", "attribute", "declared", "equation"]


@dataclass(frozen=True, slots=True)
class Held:
    """A constant that holds sizes to numbers.

    ``kind`` is ``number`` for elements of a vector of sizes, ``table`` for the dims of a stored
    tensor, ``attribute`` for numbers of an attribute, ``declared`` for a dim of an input, and
    ``equation`` where several numbers hold a size together. ``numbers`` pairs places (an element or
    a dim, None for a scalar) with the size that should be there and the number that is.
    """

    kind: Kind
    node: gs.Node | None
    index: int
    tensor: str
    numbers: tuple[tuple[int | None, Size, int], ...]
    reason: str = ""
    """Why it cannot be put right; empty where it can."""
    asked_by: frozenset[str] = frozenset()
    """The nodes that do not run otherwise, by label."""

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols that it holds."""
        return frozenset().union(*(value.symbols for _, value, _ in self.numbers))


@dataclass(frozen=True)
class Frozen:
    """What a model holds of its size.

    ``at`` are the sizes of the export, as far as they follow; ``most`` those among them that are
    only the largest that work.
    """

    where: Places
    at: Mapping[str, int]
    most: frozenset[str]
    analysis: Analysis
    held: tuple[Held, ...]
    recipes: Mapping[tuple[int, int], Recipe | Unknown]
    """How tables are made, by node (identity) and input."""

    @property
    def stuck(self) -> frozenset[str]:
        """The symbols that something holds that cannot be put right."""
        return frozenset().union(*(h.symbols for h in self.held if h.reason))

    @property
    def doubtful(self) -> tuple[str, ...]:
        """Numbers that may derive from these sizes, or may not."""
        stuck = self.stuck
        questions = [
            str(q)
            for q in self.analysis.questions
            if not q.candidates
            or any(not parse_size(c).symbols <= stuck for c in _readable(q.candidates))
        ]
        return (*questions, *dict.fromkeys(self.analysis.puzzles))

    def by_value(self) -> Iterator[tuple[Table, Recipe]]:
        """The tables whose shape is no size and whose numbers are those of a size."""
        for table in self.analysis.tables:
            recipe = self.recipes[id(table.node), table.index]
            if all(d.number is not None for d in table.dims) and isinstance(recipe, Recipe):
                yield table, recipe


def _readable(candidates: Iterable[str]) -> Iterator[str]:
    """Those that read back as sizes; names of unnamed dims do not."""
    for text in candidates:
        with suppress(UsageError):
            parse_size(text)
            yield text


def declared(model: Model) -> Places:
    """The symbols that the inputs declare, by input and axis; unnamed dims have names of ours."""
    names = symbols(model.proto)
    found: Places = {}
    for value in fed_inputs(model.proto):
        for axis, dim in enumerate(input_dims(value) or ()):
            if isinstance(dim, str) and dim in names:
                found[value.name, axis] = dim
    return found


def frozen(
    model: Model,
    *,
    more: Mapping[tuple[str, int], str] | None = None,
    assume: Mapping[str, Size] | None = None,
    constants: bool = False,
) -> Frozen | None:
    """What the model holds of its size; None where every size may work.

    Args:
        model: The model, with symbols in the shapes of its inputs.
        more: Symbols for dims that it declares as numbers.
        assume: What numbers are, by place.
        constants: Whether numbers that nothing ties to a dim are taken for constants.
    """
    where = declared(model)
    if not where:
        return None
    names = dict.fromkeys(where.values())
    first = Propagation(model, where, Solver(1, {name: (None,) for name in names}), tables=False)
    first.follow()
    sizes = ExportSizes(first.solver, names)
    sizes.learn()
    if not sizes.tied:
        return None
    at = {name: number for name, number in sizes.at.items() if number > 1}
    more = {place: symbol for place, symbol in (more or {}).items() if place not in where}
    for (name, axis), symbol in more.items():
        at[symbol] = _number(model, name, axis)
    found = analyse(model, {**where, **more}, [at], assume=assume, constants=constants, free=True)
    made = recipes(found, [at])
    known = {name: number for name, number in sizes.at.items() if name in names}
    return Frozen(where, known, sizes.most, found, tuple(_held(found, made)), made)


def _number(model: Model, name: str, axis: int) -> int:
    """The number that an input declares for a dim."""
    value = next(v for v in fed_inputs(model.proto) if v.name == name)
    dim = (input_dims(value) or ())[axis]
    assert isinstance(dim, int)
    return dim


# -- what holds them -------------------------------------------------------------------------------


def _held(found: Analysis, made: Mapping[tuple[int, int], Recipe | Unknown]) -> Iterator[Held]:
    """What holds sizes: numbers, then what is left of the equations."""
    places = list(_places(found, made))
    yield from places
    nodes = {node_label(n): n for s in found.propagation.model.scopes for n in s.graph.nodes}
    told = {(str(value), number) for held in places for _, value, number in held.numbers}
    solver = found.solver
    for equation in (*solver.demands, *solver.open):
        left, right = solver.now(equation.left), solver.now(equation.right)
        product = held_value(numbered(solver, left, {}) - numbered(solver, right, {}))
        if product is None or (str(product[0]), product[1]) in told:
            continue
        told.add((str(product[0]), product[1]))
        node = nodes.get(equation.where)
        index, tensor = _stored_at(found, node)
        why = _stiff(found, equation, node, index)
        asked = frozenset({equation.where})
        yield Held("equation", node, index, tensor, ((None, *product),), why, asked)


def _asked(found: Analysis, before: Sequence[Size]) -> frozenset[str]:
    names = {s for size_ in before for s in size_.symbols}
    return frozenset(found.solver.where[name] for name in names if name in found.solver.where)


def _stiff(found: Analysis, equation: Equation, node: gs.Node | None, index: int) -> str:
    """Why a size cannot be put into the place of what holds it."""
    solver = found.solver
    left, right = solver.now(equation.left), solver.now(equation.right)
    read = None if node is None else found.propagation.reads.get((id(node), index))
    if read is not None or solver.unknowns(left) or solver.unknowns(right):
        return f"several numbers at '{equation.where}' may hold it, or all of them together"
    if node is not None and index >= 0:
        return f"the numbers of '{node.inputs[index].name}' follow no rule in the sizes"
    return f"nothing at '{equation.where}' could be another size"


def _stored_at(found: Analysis, node: gs.Node | None) -> tuple[int, str]:
    """The constant that a node reads, if it does."""
    for index, tensor in enumerate(node.inputs if node is not None else ()):
        if tensor.name and found.propagation.is_constant(tensor):
            return index, str(tensor.name)
    return -1, ""


def _places(found: Analysis, made: Mapping[tuple[int, int], Recipe | Unknown]) -> Iterator[Held]:
    for vector in found.vectors:
        numbers = tuple(_elements(found, vector))
        if numbers:
            before = found.propagation.reads[id(vector.node), vector.index]
            asked = _asked(found, () if before is None else tuple(before.reshape(-1)))
            yield Held("number", vector.node, vector.index, vector.tensor, numbers, "", asked)
    for table in found.tables:
        dims = _dims(table)
        if dims:
            recipe = made[id(table.node), table.index]
            why = recipe.reason if isinstance(recipe, Unknown) else ""
            asked = _asked(found, found.propagation.dims[id(table.node), table.index])
            yield Held("table", table.node, table.index, table.tensor, dims, why, asked)
    for now, number, place in _others(found):
        numbers = ((place.element, now, number),)
        if place.kind == "attribute":
            why = "it is an attribute; write the model for a newer operator set first (--opset 13)"
            yield Held("attribute", place.node, -1, place.attribute, numbers, why)
        else:
            why = f"make it dynamic as well (--dynamic {place}=SYMBOL)"
            yield Held("declared", None, -1, place.tensor, numbers, why)


def _others(found: Analysis) -> Iterator[tuple[Size, int, Place]]:
    """Attributes and declared dims that would have to be sizes."""
    solver = found.solver
    for name, place in found.propagation.places.items():
        now, number = solver.now(size(name)), solver.hints[name][0]
        if place.kind in ("attribute", "declared") and is_clean(found, now) and number is not None:
            yield now, number, place


def is_clean(found: Analysis, now: Size) -> bool:
    """Whether a size is known in terms of symbols alone, and equal to a number at few of theirs."""
    return now.number is None and not found.solver.unknowns(now) and is_plain(now)


def _elements(found: Analysis, vector: Vector) -> Iterator[tuple[int | None, Size, int]]:
    before = found.propagation.reads[id(vector.node), vector.index]
    if before is None:
        return
    scalar = before.ndim == 0
    flat = zip(before.reshape(-1), vector.values.reshape(-1), strict=True)
    for k, (was, now) in enumerate(flat):
        hints = found.solver.hints.get(was.symbol or "", (None,))
        if is_clean(found, now) and hints[0] is not None:
            yield (None if scalar else k), now, hints[0]


def _dims(table: Table) -> tuple[tuple[int | None, Size, int], ...]:
    shape: Shape = table.dims
    numbers = table.arrays[0].shape
    return tuple(
        (k, d, n)
        for k, (d, n) in enumerate(zip(shape, numbers, strict=True))
        if d.number is None and is_plain(d)
    )


def works(numbers: Iterable[tuple[int | None, Size, int]], most: frozenset[str]) -> str:
    """The sizes that work, in words: ``T = 24``."""
    said: dict[str, None] = {}
    for _, value, number in numbers:
        sign = "<=" if value.symbols <= most else "="
        said[f"{value} {sign} {number}"] = None
    return ", ".join(said)


def told(held: Held) -> str:
    """What a constant holds, in words."""
    values = ", ".join(dict.fromkeys(str(v) for _, v, _ in held.numbers))
    numbers = ", ".join(str(n) for _, _, n in held.numbers)
    places = [str(k) for k, _, _ in held.numbers if k is not None]
    several, is_ = ("s", "are") if len(places) > 1 else ("", "is")
    which = ", ".join(places)
    if held.kind == "number":
        at = f"element{several} {which} of " if places else ""
        return f"{at}'{held.tensor}' {is_} {numbers} and would have to be {values}"
    if held.kind == "table":
        return (
            f"dim{several} {which} of '{held.tensor}' {is_} {numbers} and would have to be {values}"
        )
    if held.kind == "attribute":
        at = f"[{which}]" if places else ""
        return f"attribute {held.tensor}{at} is {numbers} and would have to be {values}"
    if held.kind == "declared":
        return f"input '{held.tensor}' declares {numbers} for dim {which}, which has to be {values}"
    return f"{values} can only be {numbers}"
