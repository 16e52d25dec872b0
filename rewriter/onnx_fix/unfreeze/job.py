"""Make a model dynamic as asked: analysis, proofs, and the rewritten model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import ModelProto

from onnx_fix.errors import ModelError, UsageError
from onnx_fix.load import load_proto
from onnx_fix.model import Model
from onnx_fix.unfreeze import request
from onnx_fix.unfreeze.align import Mismatch, align
from onnx_fix.unfreeze.analysis import Analysis, analyse
from onnx_fix.unfreeze.repair import Repair
from onnx_fix.unfreeze.suspects import all_of, depends, odd_numbers
from onnx_fix.unfreeze.tables import Recipe, Sample, Unknown, recognise
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


@dataclass(frozen=True)
class Unfrozen:
    """A model with dynamic dims, and a line for each operand that changed."""

    model: ModelProto
    lines: tuple[str, ...]
    analysis: Analysis


def unfreeze(model: Model, wanted: Request) -> Unfrozen | None:
    """The model as wanted; None where it is so already.

    Raises:
        UsageError: the request does not fit the model, or more must be said of it.
        ModelError: the model cannot be made dynamic, and why.
    """
    where = request.places(wanted.dynamic, model.proto)
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
    found = analyse(
        model,
        where,
        at,
        others=arrays,
        assume=request.assumed(wanted.assume),
        constants=request.CONSTANTS in wanted.assume,
    )
    unheard = set(request.assumed(wanted.assume)) - found.propagation.heard
    if unheard:
        raise UsageError(f"--assume: the model has no number at {', '.join(sorted(unheard))}")
    _refuse(found)
    recipes = _recipes(found, at)
    repair = Repair(model, found, recipes)
    proto = repair.run(model.skeleton())
    return Unfrozen(proto, tuple(repair.lines), found)


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


def _refuse(found: Analysis) -> None:
    if found.obstacles:
        raise ModelError(
            "the model cannot be made dynamic as asked, so nothing is written:\n"
            + _listed(found.obstacles)
        )
    if found.questions or found.puzzles:
        raise UsageError(
            "numbers of the export may derive from a dim or may not; nothing is written:\n"
            + _listed([*(str(q) for q in found.questions), *dict.fromkeys(found.puzzles)])
            + "\ngive another export, at sizes that differ from each other and from these (--also "
            "FILE), or say what they are (--assume 'PLACE=SIZE'; --assume constants for all)"
        )


def _listed(lines: Sequence[str]) -> str:
    more = len(lines) - MOST_SHOWN
    shown = [f"  - {line}" for line in lines[:MOST_SHOWN]]
    return "\n".join([*shown, f"  - and {more} more"] if more > 0 else shown)


def _recipes(found: Analysis, at: Sequence[Mapping[str, int]]) -> dict[tuple[int, int], Recipe]:
    recipes: dict[tuple[int, int], Recipe] = {}
    missing: list[str] = []
    known: dict[tuple[str, tuple[str, ...], tuple[bytes, ...]], Recipe | Unknown] = {}
    for table in found.tables:
        # What is one constant here may be two in another export, one for each reader.
        key = (
            table.tensor,
            tuple(str(d) for d in table.dims),
            tuple(a.tobytes() for a in table.arrays),
        )
        said = found.propagation.assumed.get(table.tensor)
        if said is not None:
            known[key] = all_of(said, table.arrays[0])
        elif key not in known:
            samples = [Sample(a, dict(v)) for a, v in zip(table.arrays, at, strict=False)]
            known[key] = recognise(table.dims, samples, known=found.sizes)
            known[key] = _doubted(known[key], len(at))
        recipe = known[key]
        if isinstance(recipe, Unknown):
            wanted = "x".join(key[1]) or "a scalar"
            missing.append(f"'{table.tensor}' would have to be {wanted}: {recipe.reason}")
        else:
            recipes[id(table.node), table.index] = recipe
    if missing:
        raise ModelError(
            "the model cannot be made dynamic as asked, so nothing is written:\n"
            + _listed(list(dict.fromkeys(missing)))
        )
    return recipes


def _doubted(made: Recipe | Unknown, exports: int) -> Recipe | Unknown:
    """With one export, no recipe that mixes numbers made from sizes with odd ones."""
    if isinstance(made, Unknown) or exports > 1 or not depends(made.expression):
        return made
    odd = next(odd_numbers(made.expression), None)
    if odd is None:
        return made
    return Unknown(
        f"it holds numbers made from sizes ({made}), and {odd:.7g}, which may come from one too"
    )
