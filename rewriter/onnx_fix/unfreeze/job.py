"""Make a model dynamic as asked: analysis, proofs, and the rewritten model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import ModelProto

from onnx_fix.contract import PassResult, Skipped
from onnx_fix.errors import ModelError, UsageError
from onnx_fix.load import load_proto
from onnx_fix.model import Model
from onnx_fix.scope import node_label
from onnx_fix.symbolic.size import size
from onnx_fix.unfreeze import request
from onnx_fix.unfreeze.align import Mismatch, align
from onnx_fix.unfreeze.analysis import Analysis, analyse
from onnx_fix.unfreeze.declared import Frozen, frozen, is_clean, told
from onnx_fix.unfreeze.expressions import symbols_of
from onnx_fix.unfreeze.recipes import recipes as recipes_of
from onnx_fix.unfreeze.recipes import wanted as shape_wanted
from onnx_fix.unfreeze.repair import Repair
from onnx_fix.unfreeze.tables import Recipe, Unknown
from onnx_fix.weights import read_tensor

MOST_SHOWN = 12
"""Questions and obstacles that a message lists."""


@dataclass(frozen=True)
class Request:
    """What the options of the pass say.

    ``dynamic`` gives symbols to dims by ``INPUT:AXIS``; ``also`` are files with exports of the same
    network at other sizes; ``assume`` says what numbers are, by place, or that all that is open are
    ``constants``.
    """

    dynamic: Mapping[str, str]
    also: Sequence[str | Path] = ()
    assume: Mapping[str, str | int] = field(default_factory=dict)
    declared: bool = False


@dataclass(frozen=True)
class Unfrozen:
    """A model with dynamic dims, and a line for each operand that changed."""

    model: ModelProto
    lines: tuple[str, ...]
    analysis: Analysis
    skipped: tuple[Skipped, ...] = ()
    """What holds a size and could not be put right."""


def unfreeze(model: Model, wanted: Request) -> Unfrozen | None:
    """The model as wanted; None where it is so already.

    Raises:
        UsageError: the request does not fit the model, or more must be said of it.
        ModelError: the model cannot be made dynamic, and why.
    """
    where = request.places(wanted.dynamic, model.proto)
    if wanted.declared and not wanted.also:
        made = _thawed(model, where, wanted)
        if made is not None:
            return made
    if not due(where, model.proto):
        return None
    others = [load_proto(Path(path)) for path in wanted.also]
    at = [request.numbers(where, model.proto, "the model")]
    at += [
        request.numbers(where, other, str(path))
        for other, path in zip(others, wanted.also, strict=True)
    ]
    _telling(at, wanted.also)
    arrays = _differing(model, others, wanted.also) if others else {}
    assume = request.assumed(wanted.assume)
    found = analyse(
        model,
        where,
        at,
        others=arrays,
        assume=assume,
        constants=request.CONSTANTS in wanted.assume,
    )
    _check_heard(assume, found)
    _refuse(found)
    return _repaired(model, found, _recipes(found, at))


def _thawed(model: Model, more: request.Places, wanted: Request) -> Unfrozen | None:
    """The model with the symbols that it declares free; None where nothing holds them.

    Raises:
        UsageError: more must be said of it.
        ModelError: nothing that holds them can be put right.
    """
    assume = request.assumed(wanted.assume)
    found = frozen(model, more=more, assume=assume, constants=request.CONSTANTS in wanted.assume)
    if found is None:
        return None
    _check_heard(assume, found.analysis)
    left = [h for h in found.held if h.reason]
    analysis, recipes = _mendable(found)
    if found.stuck & set(more.values()):
        raise _refusal(_HELD, (f"{told(h)}: {h.reason}" for h in left))
    skipped = tuple(
        Skipped("", node_label(h.node) if h.node else h.tensor, h.node.op if h.node else "", text)
        for h in left
        for text in (f"{told(h)}: {h.reason}",)
    )
    if not (analysis.vectors or analysis.tables):
        return Unfrozen(model.skeleton(), (), found.analysis, skipped) if skipped else None
    if found.doubtful:
        raise UsageError(_open_questions(found.doubtful))
    return replace(_repaired(model, analysis, recipes), analysis=found.analysis, skipped=skipped)


def _repaired(
    model: Model, analysis: Analysis, recipes: Mapping[tuple[int, int], Recipe]
) -> Unfrozen:
    repair = Repair(model, analysis, recipes)
    proto = repair.run(model.skeleton())
    return Unfrozen(proto, tuple(repair.lines), analysis)


def _check_heard(assume: Iterable[str], found: Analysis) -> None:
    """Raise where something is said of a number that was not met."""
    unheard = set(assume) - found.propagation.heard
    if unheard:
        raise UsageError(f"--assume: the model has no number at {', '.join(sorted(unheard))}")


def check_freed(results: Iterable[PassResult]) -> None:
    """Look at what the pass did that was to free the declared symbols.

    Raises:
        ModelError: sizes are held, and none was freed.
    """
    done = list(results)
    reasons = [s.reason for r in done for s in r.skipped]
    if reasons and not any(r.changes for r in done):
        raise _refusal(_HELD, reasons)


def _mendable(found: Frozen) -> tuple[Analysis, dict[tuple[int, int], Recipe]]:
    """The analysis with numbers where a size stays held, and how its tables are made."""
    stuck, analysis = found.stuck, found.analysis
    vectors = []
    for vector in analysis.vectors:
        array = analysis.propagation.array(vector.node.inputs[vector.index])
        if array is None:
            continue
        values = vector.values.copy()
        flat = values.reshape(-1)
        for k, (value, number) in enumerate(zip(flat, array.reshape(-1), strict=True)):
            freed = is_clean(analysis, value) and not value.symbols & stuck
            flat[k] = value if freed else size(int(number))
        if any(v.number is None for v in flat):
            vectors.append(replace(vector, values=flat.reshape(values.shape)))
    tables, recipes = [], {}
    for table in analysis.tables:
        recipe = found.recipes[id(table.node), table.index]
        if isinstance(recipe, Recipe) and not symbols_of(recipe.expression) & stuck:
            tables.append(table)
            recipes[id(table.node), table.index] = recipe
    return replace(analysis, vectors=vectors, tables=tables), recipes


def _differing(
    model: Model, others: Sequence[ModelProto], also: Sequence[str | Path]
) -> dict[tuple[int, int | str], tuple[NDArray[np.generic], ...]]:
    """The constants that differ between the exports, by node (identity) and input or attribute.

    Raises:
        ModelError: the exports are built otherwise.
    """
    folders = [model.base_dir, *(Path(path).parent for path in also)]
    readers = [partial(read_tensor, base_dir=folder) for folder in folders]
    aligned = align(model.proto, others, read=readers)
    if isinstance(aligned, Mismatch):
        files = ", ".join(str(path) for path in also)
        raise ModelError(f"the exports ({files}) have another structure: {aligned.reason}")
    made: dict[str, list[gs.Node]] = {}
    for scope in model.scopes:
        for node in scope.graph.nodes:
            for tensor in node.outputs:
                made.setdefault(str(tensor.name), []).append(node)
    found: dict[tuple[int, int | str], tuple[NDArray[np.generic], ...]] = {}
    for difference in aligned.differences:
        place = difference.place
        nodes = made.get(place.output, [])
        if not place.op or len(nodes) != 1:
            raise ModelError(f"{place} differs between the exports, and cannot be followed")
        where = place.attribute if place.input is None else place.input
        found[id(nodes[0]), where] = difference.values[1:]
    return found


def due(where: request.Places, model: ModelProto) -> bool:
    """Whether some dim is not the symbol that is wanted."""
    inputs = {value.name: value for value in model.graph.input}
    return any(
        inputs[name].type.tensor_type.shape.dim[axis].dim_param != symbol
        for (name, axis), symbol in where.items()
    )


def _telling(at: Sequence[Mapping[str, int]], also: Sequence[str | Path]) -> None:
    """Raise where the sizes of the exports cannot tell anything."""
    for symbol, number in at[0].items():
        seen = {number, *(a[symbol] for a in at[1:] if symbol in a)}
        if also and len(seen) == 1:
            raise UsageError(
                f"{symbol} is {number} in every export, which shows nothing of what derives from "
                "it; give an export at another size"
            )
        if seen <= {0, 1}:
            raise UsageError(
                f"{symbol} was {number} at the export, which cannot be told from a size that "
                "broadcasts; export at 2 or more, or give such an export with --also"
            )


_ASKED = "the model cannot be made dynamic as asked"
_HELD = "the sizes that the model holds cannot be made dynamic"


def _refusal(what: str, reasons: Iterable[str]) -> ModelError:
    """That something cannot be made dynamic, and why; no reason twice."""
    return ModelError(f"{what}, so nothing is written:\n" + listed(list(dict.fromkeys(reasons))))


def _refuse(found: Analysis) -> None:
    if found.obstacles:
        raise _refusal(_ASKED, found.obstacles)
    if found.questions or found.puzzles:
        lines = [*(str(q) for q in found.questions), *dict.fromkeys(found.puzzles)]
        raise UsageError(_open_questions(lines))


def _open_questions(lines: Sequence[str]) -> str:
    return (
        "numbers of the export may derive from a dim or may not; nothing is written:\n"
        + listed(lines)
        + "\ngive another export, at sizes that differ from each other and from these (--also "
        "FILE), or say what they are (--assume 'PLACE=SIZE' or 'PLACE=constant'; --assume "
        "constants for all)"
    )


def listed(lines: Sequence[str]) -> str:
    """Lines as a list, if they are not too many."""
    more = len(lines) - MOST_SHOWN
    shown = [f"  - {line}" for line in lines[:MOST_SHOWN]]
    return "\n".join([*shown, f"  - and {more} more"] if more > 0 else shown)


def _recipes(found: Analysis, at: Sequence[Mapping[str, int]]) -> dict[tuple[int, int], Recipe]:
    made = recipes_of(found, at)
    missing = [
        f"'{table.tensor}' would have to be {shape_wanted(table)}: {recipe.reason}"
        for table in found.tables
        if isinstance(recipe := made[id(table.node), table.index], Unknown)
    ]
    if missing:
        raise _refusal(_ASKED, missing)
    return {key: recipe for key, recipe in made.items() if isinstance(recipe, Recipe)}
