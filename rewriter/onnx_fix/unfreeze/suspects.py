"""Stored numbers that a size may have become, though no shape tells of them.

A single export shows nothing of them: ``-log(n + m)`` or the index ``n`` of a last row is a
constant like any other, and the model runs at other sizes and computes something else. So every
number that was a size, or a common function of one, is looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import helper

from onnx_fix.scope import is_standard
from onnx_fix.symbolic.propagate import Propagation
from onnx_fix.symbolic.size import Size, size
from onnx_fix.unfreeze._scalars import logarithm_of
from onnx_fix.unfreeze.expressions import (
    Expression,
    Literal,
    Number,
    cast,
    children,
    spread,
)
from onnx_fix.unfreeze.tables import Recipe, Sample, Unknown, recognise

_MOST = 4096
_DISTINCT = 16
"""Tables of more different numbers are no numbers of sizes."""

_SEVERAL = ("constant or", "may be", "several rules fit", "not certain")
"""What reasons say where there is more than one rule."""

_STEERS: Mapping[str, tuple[int, ...]] = {
    "Pow": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    "Slice": (3, 4),
    "Pad": (3,),
    "CumSum": (1,),
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "Resize": (1, 2),
    "Upsample": (1,),
    "DFT": (2,),
    "Dropout": (1, 2),
    "BatchNormalization": (1, 2, 3, 4),
    "Split": (1,),
    "Range": (2,),
}
"""Inputs that hold axes, steps, scales, exponents and other things that are no size."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A constant as a node reads it, and what it may be: how it is made, or why that is open."""

    node: gs.Node
    index: int
    tensor: str
    array: NDArray[np.generic]
    made: Recipe | Unknown


def suspects(
    propagation: Propagation,
    at: Mapping[str, int],
    words: Iterable[Size],
    fixed: Collection[int] = (),
) -> Iterator[Suspect]:
    """The constants that hold a number that a size was at the export, or a function of it."""
    known = [w for w in words if w.number is None]
    telling, pairs = _numbers(known, at)
    found: dict[str, Recipe | Unknown | None] = {}
    for node, index, tensor in _constants(propagation):
        array = propagation.model.value_if_there(tensor, limit=_MOST)
        if array is None or array.dtype.kind not in "iuf":
            continue
        name = str(tensor.name)
        if name in propagation.assumed:
            said = propagation.said(name, float(array.reshape(-1)[0]) if array.size else 0)
            if said.number is None:
                yield Suspect(node, index, name, array, all_of(said, array))
            continue
        last = _last(propagation, node, index, array)
        if last is not None:
            reason = f"a number is {last[0]}, which may be a constant or {last[1]}"
            yield Suspect(node, index, name, array, Unknown(reason))
            continue
        if name not in found:
            found[name] = _looked_at(array, at, known, (telling, pairs), fixed)
        made = found[name]
        if made is not None:
            yield Suspect(node, index, name, array, made)


def _constants(propagation: Propagation) -> Iterator[tuple[gs.Node, int, gs.Tensor]]:
    """The inputs that read constants which were not followed as sizes."""
    for scope in propagation.model.scopes:
        if scope.kind == "function":
            continue
        for node in scope.nodes():
            steers = _steering(node)
            for index, tensor in enumerate(node.inputs):
                if index in steers or not propagation.is_constant(tensor):
                    continue
                key = (id(node), index)
                if propagation.reads.get(key) is not None or _is_table(propagation, key):
                    continue
                if not _picks_from_fixed(propagation, node, index):
                    yield node, index, tensor


def _is_table(propagation: Propagation, key: tuple[int, int]) -> bool:
    dims = propagation.dims.get(key, ())
    return any(propagation.solver.now(d).number is None for d in dims)


def _steering(node: gs.Node) -> tuple[int, ...]:
    if not is_standard(node):
        return ()
    return (1,) if node.op.startswith("Reduce") else _STEERS.get(node.op, ())


def _picks_from_fixed(propagation: Propagation, node: gs.Node, index: int) -> bool:
    """Whether indices pick from an axis that has the same size always."""
    if node.op != "Gather" or index != 1:
        return False
    shape = propagation.shapes.get(id(node.inputs[0]))
    if shape is None:
        return propagation.is_constant(node.inputs[0])
    axis = node.attrs.get("axis", 0)
    return propagation.solver.now(shape[axis]).number is not None if shape else True


def _last(
    propagation: Propagation, node: gs.Node, index: int, array: NDArray[np.generic]
) -> tuple[int, Size] | None:
    """An index of the last element along an axis, however small, and what it may be."""
    if node.op != "Gather" or index != 1:
        return None
    shape = propagation.shapes.get(id(node.inputs[0]))
    if not shape:
        return None
    dim = propagation.solver.now(shape[node.attrs.get("axis", 0)])
    number = propagation.solver.hint(dim)
    if dim.number is not None or number is None or number < 2 or array.size != 1:
        return None
    return (number - 1, dim - 1) if int(array.reshape(-1)[0]) == number - 1 else None


def _numbers(
    known: Iterable[Size], at: Mapping[str, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What sizes were and common functions of them, and differences of their logarithms."""
    near = {size_at for w in known for size_at in _near(w, at)}
    sizes = np.asarray(sorted(n for n in near if n > 1), np.float64)
    logs = np.log(sizes)
    roots = np.sqrt(sizes)
    parts = (sizes, 1 / sizes, roots, 1 / roots, logs, 2 / sizes, sizes / 2)
    apart = np.unique(np.abs(logs[:, None] - logs[None]))
    return np.unique(np.concatenate(parts)), apart[apart > 0]


def _near(word: Size, at: Mapping[str, int]) -> Iterator[int]:
    try:
        number = word.at(at)
    except (KeyError, ZeroDivisionError):
        return
    yield from (number - 1, number, number + 1, number * 2)


def _looked_at(
    array: NDArray[np.generic],
    at: Mapping[str, int],
    known: list[Size],
    telling: tuple[NDArray[np.float64], NDArray[np.float64]],
    fixed: Collection[int],
) -> Recipe | Unknown | None:
    distinct = np.unique(np.abs(array.astype(np.float64)))
    if distinct.size > _DISTINCT:
        return None
    tight = 1e-5 if array.dtype.itemsize > 2 else 1e-2
    single, pairs = telling
    if any(map(logarithm_of, distinct.tolist())):
        pairs = distinct
    if not (_close(distinct, single, 1e-3) or _close(distinct, pairs, tight)):
        return None
    dims = [size(n) for n in array.shape]
    made = recognise(dims, [Sample(array, dict(at))], known=known, fixed=fixed)
    if isinstance(made, Unknown):
        return made if any(words in made.reason for words in _SEVERAL) else None
    return made if depends(made.expression) else None


def _close(numbers: NDArray[np.float64], telling: NDArray[np.float64], relative: float) -> bool:
    """Whether one of the numbers is about one of the others, which are sorted."""
    if not telling.size:
        return False
    place = np.searchsorted(telling, numbers)
    last = telling.size - 1
    below, above = telling[(place - 1).clip(0, last)], telling[place.clip(0, last)]
    nearest = np.minimum(np.abs(below - numbers), np.abs(above - numbers))
    return bool((nearest <= relative * numbers).any())


def all_of(value: Size, array: NDArray[np.generic]) -> Recipe:
    """A tensor like ``array`` with a size in the place of every element."""
    dtype = int(helper.np_dtype_to_tensor_dtype(array.dtype))
    dims = tuple(size(n) for n in array.shape)
    return Recipe(spread(cast(Number(value), dtype), dims), dims)


def depends(expression: Expression) -> bool:
    """Whether numbers in it are made from sizes, not its shape alone."""
    if isinstance(expression, Number):
        return expression.value.number is None
    return any(depends(child) for child in children(expression))


def odd_numbers(expression: Expression) -> Iterator[float]:
    """The numbers in it that nobody writes down: 0.25 and 12 are plain, 0.3127 is odd."""
    if isinstance(expression, Literal) and expression.array.dtype.kind == "f":
        for number in np.unique(expression.array.astype(np.float64)):
            if np.isfinite(number) and float(f"{number:.3g}") != float(f"{number:.7g}"):
                yield float(number)
    for child in children(expression):
        yield from odd_numbers(child)
