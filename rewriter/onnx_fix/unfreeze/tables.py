"""What a baked tensor is as a function of its sizes: a recipe that gives it, or why there is none.

A recipe gives every sample bit for bit. Where the samples allow two rules that differ at other
sizes, there is none, and the reason says what to export. Nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np
from onnx import helper

from onnx_fix.contract import Exactness
from onnx_fix.symbolic import Size, SizeLike, size
from onnx_fix.unfreeze._masks import distance, mask
from onnx_fix.unfreeze._rules import affine, ramp
from onnx_fix.unfreeze._scalars import assumed, is_exact, number_in, of_size
from onnx_fix.unfreeze._study import Block, Sample, Study, Unclear, first, same
from onnx_fix.unfreeze._waves import waves
from onnx_fix.unfreeze.emit_sizes import factors
from onnx_fix.unfreeze.expressions import (
    Expression,
    Join,
    Literal,
    Recipe,
    Reshaped,
    Unknown,
    dims_of,
    literal,
    spread,
)

__all__ = ["Recipe", "Sample", "Unknown", "recognise"]

_FEW = 8
"""Of this many numbers each may be made from a size."""
_CHANNELS = 16
"""Along fixed axes with this many elements each slice may follow a rule of its own."""
_EDGE = 32
"""How many slices at the ends of an axis may differ from those in the middle."""
_DEEP = 7
_TERMS = 6
"""Of how many terms a size may be that is taken apart without being told how."""
_TRIES = 1000
"""How many parts of one table are looked at."""


def recognise(
    dims: Sequence[SizeLike], samples: Sequence[Sample], *, known: Sequence[SizeLike] = ()
) -> Recipe | Unknown:
    """How a tensor with these sizes is made, from its value in one or more exports.

    ``known`` are sizes that occur in the model. A number of the table that equals one of them may
    come from it, and an axis may be made of several.
    """
    shape = tuple(map(size, dims))
    wrong = _mismatch(shape, samples)
    if wrong:
        return Unknown(wrong)
    block = Block(shape, tuple(s.array for s in samples), tuple(s.values for s in samples))
    study = Study(shape, block.values, map(size, known))
    dtype = int(helper.np_dtype_to_tensor_dtype(samples[0].array.dtype))
    try:
        found = _fit(study, block, dtype, 0)
    except Unclear as unclear:
        return Unknown(f"{_named(samples[0])}: {unclear}")
    if found is None:
        why = study.reason or study.hint or "was it computed from weights?"
        return Unknown(f"{_named(samples[0])} that follow no rule in the sizes; {why}")
    result = spread(found, shape)
    taken = assumed(result) if len({str(v) for v in study.values}) == 1 else ()
    if taken and of_size(result):
        return Unknown(
            f"{_named(samples[0])}, some of which are made from sizes; {taken[0]} may be a "
            "constant or made from sizes too, which another export at another size would tell"
        )
    exact = is_exact(result) and block.is_made_by(result)
    return Recipe(result, shape, Exactness.EXACT if exact else Exactness.ROUNDING, taken)


def _named(sample: Sample) -> str:
    shape = "x".join(map(str, sample.array.shape))
    return f"a table of {shape} numbers" if shape else "a number"


def _mismatch(dims: Sequence[Size], samples: Sequence[Sample]) -> str:
    """What is wrong with the samples; empty if nothing is."""
    if not samples:
        return "there is no sample of the table"
    kind = samples[0].array.dtype
    if kind.kind in "cOSUT":
        return f"{_named(samples[0])} of type {kind}, which no rule is for"
    for sample in samples:
        wanted = tuple(d.at(sample.values) for d in dims)
        if sample.array.shape != wanted:
            return f"{_named(sample)}, where the sizes say {'x'.join(map(str, wanted))}"
        if sample.array.dtype != kind:
            return f"{_named(sample)} of type {sample.array.dtype} in one export, {kind} in another"
    if not any(sample.array.size for sample in samples):
        return f"{_named(samples[0])}, of which no export has any"
    return ""


def _fit(study: Study, block: Block, dtype: int, depth: int) -> Expression | None:
    """An expression that broadcasts to the block.

    Raises:
        Unclear: the samples show too little, or several rules.
    """
    study.tried += 1
    if study.tried > _TRIES:
        raise Unclear("its axes can be taken apart in too many ways")
    block = _collapsed(block.inhabited())
    varying = block.varying()
    if not varying:
        return number_in(study, [a[(0,) * block.rank] for a in block.arrays], block.values, dtype)
    symbolic = [k for k in varying if block.dims[k].number is None]
    if not symbolic:
        return _fixed(study, block, dtype)
    if depth > _DEEP:
        return None
    for k in symbolic:
        _check(block, k, 3)
    for rule in (affine, ramp, mask, distance):
        found = rule(study, block, dtype)
        if found is not None and block.is_made_by(found):
            return found
    wave = waves(block, dtype)
    if wave is not None:
        return wave
    return (
        _with_edges(study, block, dtype, depth, symbolic)
        or _channels(study, block, dtype, depth, varying)
        or _taken_apart(study, block, dtype, depth, symbolic)
    )


def _check(block: Block, axis: int, least: int) -> None:
    dim = block.dims[axis]
    if not block.evident(dim, least):
        most = max(dim.at(v) for v in block.values)
        raise Unclear(
            f"an axis of {dim} elements has {most} in the export, or a part of it has fewer than "
            f"{least}, which is too few to see a rule; export at a larger size"
        )


def _collapsed(block: Block) -> Block:
    """The block with one slice for every axis along which nothing changes."""
    for k in range(block.rank):
        if block.dims[k] == 1 or block.varies(k):
            continue
        if block.dims[k].number is None:
            _check(block, k, 2)
        arrays = tuple(a[first(k)] for a in block.arrays)
        block = Block((*block.dims[:k], size(1), *block.dims[k + 1 :]), arrays, block.values)
    return block


def _fixed(study: Study, block: Block, dtype: int) -> Expression | None:
    """A table of fixed shape: a constant, or few numbers each of which is one or a size."""
    count = block.arrays[0].size
    equal = all(same(block.arrays[0], a) for a in block.arrays)
    if count <= _FEW:
        (axis, *others) = block.varying()
        if not others:
            parts = []
            for k in range(count):
                here = block.taken(axis, k, 1)
                part = number_in(study, here.arrays, block.values, dtype)
                if part is None:
                    return None
                parts.append(part)
            if not all(isinstance(p, Literal) for p in parts):
                return _joined([spread(p, (size(1),) * block.rank) for p in parts], axis)
    return literal(block.arrays[0]) if equal else None


def _joined(parts: Sequence[Expression], axis: int) -> Expression:
    flat: list[Expression] = []
    for part in parts:
        flat += part.parts if isinstance(part, Join) and part.axis == axis else [part]
    return flat[0] if len(flat) == 1 else Join(tuple(flat), axis)


def _channels(
    study: Study, block: Block, dtype: int, depth: int, varying: Sequence[int]
) -> Expression | None:
    """Each slice along a short fixed axis by a rule of its own."""
    lengths = {k: block.dims[k].number for k in varying}
    if prod(n for n in lengths.values() if n is not None) > _CHANNELS:
        return None
    short = [k for k, n in lengths.items() if n is not None]
    for axis in sorted(short, key=lambda k: block.arrays[0].shape[k]):
        parts = []
        one = (*block.dims[:axis], size(1), *block.dims[axis + 1 :])
        for k in range(block.arrays[0].shape[axis]):
            part = _fit(study, block.taken(axis, k, 1), dtype, depth + 1)
            if part is None:
                break
            parts.append(spread(part, one))
        else:
            return _joined(parts, axis)
    return None


def _taken_apart(
    study: Study, block: Block, dtype: int, depth: int, symbolic: Sequence[int]
) -> Expression | None:
    """An axis as a flattened grid, or as segments one after the other."""
    for axis in symbolic:
        dim = block.dims[axis]
        terms = [Size({m: c}) for m, c in dim.terms]
        products = [k for k in study.known if len(k.terms) > 1 and len(factors(k)) > 1]
        # What needs no segments is none by accident; nor are segments that are known sizes.
        for way in (
            _grids(study, block, axis),
            _segments(block, axis, products),
            _segments(block, axis, terms if 1 < len(terms) <= _TERMS else []),
        ):
            found = []
            for candidate in way:
                made = _made(study, block, axis, candidate, dtype, depth)
                if made is not None and block.is_made_by(made):
                    found.append(made)
            if found:
                return study.settled(found)
    return None


def _made(
    study: Study, block: Block, axis: int, parts: Sequence[Block], dtype: int, depth: int
) -> Expression | None:
    """One block reshaped, or several joined; None where one follows no rule."""
    full = []
    for part in parts:
        try:
            found = _fit(study, part, dtype, depth + 1)
        except Unclear as unclear:
            study.unclear(str(unclear))
            return None
        if found is None:
            return None
        full.append(spread(found, part.dims))
    made = Reshaped(full[0], block.dims, axis) if len(full) == 1 else _joined(full, axis)
    return made if dims_of(made) == block.dims else None


def _grids(study: Study, block: Block, axis: int) -> Iterator[tuple[Block, ...]]:
    """The axis as two whose product it is."""
    dim = block.dims[axis]
    for left in dict.fromkeys((*factors(dim), *study.known)):
        right = dim.exact(left)
        if right is None or left in (dim, 1) or right in (dim, 1):
            continue
        yield (block.split(axis, left, right),)


def _segments(block: Block, axis: int, lefts: Sequence[Size]) -> Iterator[tuple[Block, ...]]:
    """The axis as two whose sum it is."""
    dim = block.dims[axis]
    for left in lefts:
        right = dim - left
        if left == dim or not left.symbols <= dim.symbols:
            continue
        if min(*(c for _, c in left.terms), *(c for _, c in right.terms)) <= 0:
            continue
        yield block.taken(axis, 0, left), block.taken(axis, left, right)


def _with_edges(
    study: Study, block: Block, dtype: int, depth: int, symbolic: Sequence[int]
) -> Expression | None:
    """Slices that are all the same along an axis, but for a few at its ends."""
    for axis in symbolic:
        runs = {_longest_run(np.moveaxis(a, axis, 0)) for a in block.arrays if a.shape[axis] > 2}
        if len(runs) != 1:
            continue
        ((head, tail),) = runs
        dim = block.dims[axis]
        lengths = {dim.at(v) for v in block.values}
        middle = dim - head - tail
        if head + tail > _EDGE or max(lengths) - head - tail < 3:
            continue
        if len(lengths) == 1 and (max(head, tail) > 1 or max(lengths) < 5):
            study.hint = study.hint or (
                f"the first {head} and the last {tail} of {dim} slices differ from the others; "
                "another export at another size would show whether that is always so"
            )
            continue
        parts = []
        for start, length in (
            (size(0), size(head)),
            (size(head), middle),
            (dim - tail, size(tail)),
        ):
            if length == 0:
                continue
            piece = block.taken(axis, start, length)
            part = _fit(study, piece, dtype, depth + 1)
            if part is None:
                break
            parts.append(spread(part, piece.dims))
        else:
            return _joined(parts, axis)
    return None


def _longest_run(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> tuple[int, int]:
    """How many slices stand before and after the longest run of equal ones."""
    rows = array.reshape(array.shape[0], -1)
    equal = [same(rows[k], rows[k + 1]) for k in range(len(rows) - 1)]
    best, start, at = 0, 0, 0
    for k, more in enumerate(equal):
        at = at if more else k + 1
        if more and k + 1 - at > best:
            best, start = k + 1 - at, at
    return start, len(rows) - start - best - 1
