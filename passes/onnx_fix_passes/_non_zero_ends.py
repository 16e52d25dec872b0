"""What the coordinates of a NonZero are for in the end: scattering, summing, counting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from onnx_fix.contract import Exactness, Rewrite, Skip
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved, is_standard
from onnx_fix.target.facts import TensorFacts
from onnx_fix_passes._cum_sum_ones import EXACT_COUNT
from onnx_fix_passes._non_zero_dense import (
    Dense,
    Selection,
    as_bool,
    bare,
    dense,
    proven,
    same_shape,
    write,
)
from onnx_fix_passes._non_zero_points import (
    KEEPS_SHAPE,
    axes_of,
    points,
    rows_of,
)

LATER = "bound-non-zero gives it a bounded size (--max-count NAME=K)"
_REARRANGES = KEEPS_SHAPE | {"Expand", "GatherND", "Gather", "Reshape", "Slice"}
_TOTALS = frozenset(
    {
        "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
        "ReduceSumSquare",
    }
)  # fmt: skip
_MEANS = frozenset({int(TensorProto.FLOAT), int(TensorProto.DOUBLE)})
"""The mean of integers is cut off, and a sum of halfs may overflow where their mean does not."""
_ORDERLESS = frozenset({"ReduceMax", "ReduceMin"})
_REDUCTIONS = {"none": "", "add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}


@dataclass(frozen=True)
class Put:
    """``data[mask] = values``, in place of a ScatterND."""

    mask: gs.Tensor
    trailing: int
    data: gs.Tensor
    values: Dense
    reduction: str
    assumed: bool


@dataclass(frozen=True)
class Total:
    """The sum, mean or extreme of ``values`` at the selected elements, in place of a reduction."""

    mask: gs.Tensor
    values: Dense
    keepdims: bool


@dataclass(frozen=True)
class Uses:
    """All uses of one NonZero, or the first one that needs the coordinates themselves."""

    puts: tuple[tuple[gs.Node, Put], ...] = ()
    totals: tuple[tuple[gs.Node, Total], ...] = ()
    counts: tuple[gs.Node, ...] = ()
    obstacle: str = ""


def sites(scope: Scope, node: gs.Node) -> Iterator[Rewrite | Skip]:
    """The rewrites that together make a NonZero superfluous, or why there are none.

    Counts wait until scattering and sums are done, which often needed them.
    """
    uses = _uses(scope, node)
    if uses.obstacle:
        yield Skip(node, f"its length depends on the data, and {uses.obstacle}")
        return
    for root, put in uses.puts:
        yield _put(scope, root, put)
    for root, total in uses.totals:
        yield _total(scope, root, total)
    if uses.puts or uses.totals:
        return
    for root in uses.counts:
        yield _count(scope, root, node.inputs[0])


def needs_coordinates(scope: Scope, node: gs.Node) -> bool:
    """Whether something reads the coordinates of a NonZero that has no exact form without them."""
    return bool(_uses(scope, node).obstacle)


def _uses(scope: Scope, node: gs.Node) -> Uses:
    puts: list[tuple[gs.Node, Put]] = []
    totals: list[tuple[gs.Node, Total]] = []
    counts: list[gs.Node] = []
    doubts: list[tuple[gs.Node, str]] = []
    seen: set[int] = set()
    stack = [node.outputs[0]]
    while stack:
        tensor = stack.pop()
        if scope.is_output(tensor):
            return Uses(obstacle=f"'{tensor.name}' is an output; {LATER}")
        for reader in scope.consumers(tensor):
            needs = f"{reader.op} '{scope.label(reader)}' needs what it selects; {LATER}"
            if scope.model.scope_of(reader) is not scope or not is_standard(reader):
                return Uses(obstacle=needs)
            if id(reader) in seen:
                continue
            seen.add(id(reader))
            if reader.op in ("Shape", "Size") and _counts(scope, reader, node.inputs[0]):
                counts.append(reader)
            elif reader.op == "ScatterND" and (put := _as_put(scope, reader)) is not None:
                puts.append((reader, put))
            elif reader.op in _TOTALS and (total := _as_total(scope, reader)) is not None:
                totals.append((reader, total))
            elif reader.op in _REARRANGES or any(points(scope, t) for t in reader.outputs):
                stack.extend(t for t in reader.outputs if t.name)
            elif reader.op == "ScatterND":
                return Uses(
                    obstacle=f"{reader.op} '{scope.label(reader)}' writes values that are not "
                    "known to have the shape of what they are written over"
                )
            else:
                doubts.append((reader, needs))
    roots = {id(root) for root, _ in (*puts, *totals)}
    for reader, needs in doubts:
        if not _vanishes(scope, reader, roots):
            return Uses(obstacle=needs)
    return Uses(tuple(puts), tuple(totals), tuple(counts))


def _vanishes(scope: Scope, node: gs.Node, roots: set[int]) -> bool:
    """Whether everything that a node is for ends in nodes that are replaced."""
    stack, seen = [node], {id(node)}
    while stack:
        top = stack.pop()
        if any(scope.is_output(t) for t in top.outputs):
            return False
        for tensor in top.outputs:
            for reader in scope.consumers(tensor):
                if id(reader) not in roots and id(reader) not in seen:
                    seen.add(id(reader))
                    stack.append(reader)
    return True


# -- x[mask] = v ----------------------------------------------------------------------------------


def _as_put(scope: Scope, node: gs.Node) -> Put | None:
    """A ScatterND at all coordinates of a mask, whose values can be written for all elements."""
    data, indices, updates = node.inputs
    shape, found = scope.shape(data), points(scope, indices)
    if shape is None or found is None or found.layout != "points":
        return None
    rank = scope.rank(found.mask) or 0
    if found.columns != tuple(range(rank)) or rank > len(shape):
        return None
    if has_unresolved(node, "reduction"):
        return None
    reduction = _REDUCTIONS.get(str(attribute(node, "reduction", str, "none")))
    if reduction is None:
        return None
    selector = _mask_of(scope, found.mask, data)
    if selector is None:
        return None
    mask, trailing, assumed = selector
    values = dense(scope, updates, Selection(bare(scope, found.mask), rank, shape, data, True))
    if values is None and rank == len(shape):
        values = _by_rows(scope, mask, updates, data, assumed=assumed)
    if values is None:
        return None
    return Put(mask, trailing, data, values, reduction, assumed)


def _mask_of(scope: Scope, mask: gs.Tensor, data: gs.Tensor) -> tuple[gs.Tensor, int, bool] | None:
    """A mask to select with, how many dims of 1 it lacks at its end, and what is taken on trust.

    An Expand to the shape of ``data`` is left to the broadcasting of Where; that the mask does not
    stretch ``data`` instead is taken on trust unless the dims show it.
    """
    inner = bare(scope, mask)
    shape = scope.shape(data) or ()
    rank = scope.rank(inner) or 0
    same = rank == len(shape) and same_shape(scope, inner, data)
    node = scope.producer(inner)
    if node is not None and is_standard(node) and node.op == "Expand":
        size = scope.producer(node.inputs[1])
        if same:
            return bare(scope, node.inputs[0]), 0, False
        if size is None or size.op != "Shape" or not is_standard(size) or _given(size):
            return None
        fits = same_shape(scope, size.inputs[0], data)
        return (bare(scope, node.inputs[0]), 0, True) if fits else None
    if same or proven(scope.shape(inner), shape[:rank]):
        return inner, len(shape) - rank, False
    return None


def _given(node: gs.Node) -> set[str]:
    """The bounds of a Shape that cut something off."""
    return {k for k in ("start", "end") if node.attrs.get(k, 0 if k == "start" else None)}


def _by_rows(
    scope: Scope, mask: gs.Tensor, updates: gs.Tensor, data: gs.Tensor, *, assumed: bool
) -> Dense | None:
    """Values for whole rows, flattened as the elements of an expanded mask of rows are."""
    flat, added, shape = scope.producer(updates), scope.producer(mask), scope.shape(data) or ()
    if flat is None or flat.op != "Reshape" or added is None or added.op != "Unsqueeze":
        return None
    to, axes = scope.folded(flat.inputs[1]), axes_of(scope, added)
    inner, rows = bare(scope, added.inputs[0]), flat.inputs[0]
    rank = scope.rank(inner)
    if to is None or to.reshape(-1).tolist() != [-1] or axes is None or not rank:
        return None
    last = sorted(a % len(shape) for a in axes) == list(range(rank, len(shape)))
    if not last or not (assumed or proven(scope.shape(inner), shape[:rank])):
        return None
    have = scope.shape(rows)
    if have is None or not proven(have[1:], shape[rank:]):
        return None
    return dense(scope, rows, Selection(inner, rank, shape, data, True))


def _put(scope: Scope, node: gs.Node, put: Put) -> Rewrite:
    e = Emitter(scope)
    mask = as_bool(scope, e, put.mask)
    if put.trailing:
        mask = _with_trailing(scope, e, mask, scope.rank(put.mask) or 0, put.trailing)
    values = write(e, put.values)
    if put.reduction:
        values = e(put.reduction, put.data, values)
    if scope.dtype(put.data) == TensorProto.BOOL:
        # Where takes no BOOL before TensorRT 8.5, nor in onnxruntime.
        result = e("Or", e("And", mask, values), e("And", e("Not", mask), put.data))
    else:
        result = e("Where", mask, values, put.data)
    note = "the mask broadcasts to the tensor that it indexes" if put.assumed else ""
    return e.rewrite(node, result, note=note)


def _with_trailing(scope: Scope, e: Emitter, mask: gs.Tensor, rank: int, count: int) -> gs.Tensor:
    axes = TensorFacts("axes", int(TensorProto.INT64), (count,), "initializer")
    data = TensorFacts("mask", int(TensorProto.BOOL), (None,) * rank)
    if e.opset < 13 or scope.accepts("Unsqueeze", [data, axes]):
        return e.unsqueeze(mask, list(range(rank, rank + count)))
    return e.reshape(mask, [0] * rank + [1] * count)


# -- y[mask].sum() --------------------------------------------------------------------------------


def _as_total(scope: Scope, node: gs.Node) -> Total | None:
    """A reduction over all of a 1-D tensor of selected values."""
    data = node.inputs[0]
    if node.op == "ReduceMean" and scope.dtype(data) not in _MEANS:
        return None
    mask = rows_of(scope, data)
    if mask is None or scope.rank(data) != 1 or has_unresolved(node, "keepdims", "axes"):
        return None
    axes = axes_of(scope, node)
    given = "axes" in node.attrs or (len(node.inputs) > 1 and bool(node.inputs[1].name))
    if axes is None and (given or attribute(node, "noop_with_empty_axes", int, 0) != 0):
        return None
    if axes is not None and len(axes) != 1:
        return None
    inner = bare(scope, mask)
    shape = scope.shape(inner)
    if shape is None:
        return None
    values = dense(scope, data, Selection(inner, len(shape), shape, inner, False), top=False)
    keepdims: int | None = attribute(node, "keepdims", int, 1)
    return None if values is None else Total(inner, values, keepdims != 0)


def _total(scope: Scope, node: gs.Node, total: Total) -> Rewrite | Skip:
    dtype = scope.dtype(node.inputs[0])
    if dtype is None:
        return Skip(node, "its element type is not known")
    e = Emitter(scope)
    mask = as_bool(scope, e, total.mask)
    neutral = e.const(_neutral(node.op, dtype), dtype)
    kept = e("Where", mask, write(e, total.values), neutral)
    if node.op == "ReduceMean":
        # onnxruntime has 0 for the mean of nothing, which ONNX leaves open.
        number = e("ReduceSum", e.cast(mask, dtype), keepdims=0)
        number = e("Max", number, e.const(np.ones(()), dtype))
        result = e("Div", e("ReduceSum", kept, keepdims=0), number)
    else:
        result = e(node.op, kept, keepdims=0)
    if total.keepdims:
        result = e.reshape(result, [1])
    rounds = dtype in EXACT_COUNT and node.op not in _ORDERLESS
    exactness = Exactness.ROUNDING if rounds else Exactness.EXACT
    return e.rewrite(node, result, exactness=exactness)


def _neutral(op: str, dtype: int) -> NDArray[np.generic]:
    """What a reduction gives for nothing at all, so that it changes no other result."""
    if op in _ORDERLESS:
        if dtype in EXACT_COUNT:
            return np.asarray(-np.inf if op == "ReduceMax" else np.inf)
        limits = np.iinfo(np.dtype(tensor_dtype_to_np_dtype(dtype)))
        return np.asarray(limits.min if op == "ReduceMax" else limits.max)
    return np.asarray(1 if op == "ReduceProd" else 0)


# -- how many -------------------------------------------------------------------------------------


def _counts(scope: Scope, node: gs.Node, mask: gs.Tensor) -> bool:
    """Whether a Shape or Size reads nothing but the number of selected elements."""
    data = node.inputs[0]
    shape, found = scope.shape(data), points(scope, data)
    if has_unresolved(node, "start", "end"):
        return False
    if found is not None:
        return found.mask is mask
    tail = None if shape is None else shape[1:]
    known = tail is not None and all(isinstance(d, int) for d in tail)
    return known and rows_of(scope, data) is mask


def _count(scope: Scope, node: gs.Node, mask: gs.Tensor) -> Rewrite | Skip:
    e = Emitter(scope)
    dims = _dims(scope, node.inputs[0])
    old: tuple[gs.Node, ...] = (node,)
    if node.op == "Shape":
        dims = dims[slice(attribute(node, "start", int, 0), attribute(node, "end", int))]
        picked = _picked(scope, node, dims)
        if picked is not None:
            old, dims = (picked[0], node), [picked[1]]
        if None not in dims:
            known = np.asarray([d for d in dims if d is not None], np.int64)
            return e.rewrite(old, e.const(known.reshape(()) if picked is not None else known))
    count = _number(scope, e, mask)
    if count is None:
        return Skip(node, f"{scope.target.name} has no sum that counts a mask of this size exactly")
    if node.op == "Size":
        factor = np.prod([d for d in dims if d is not None], dtype=np.int64)
        return e.rewrite(old, count if factor == 1 else e("Mul", count, np.asarray(factor)))
    if len(old) == 2:
        return e.rewrite(old, count)
    parts = [e.reshape(count, [1]) if d is None else e.ints([d]) for d in dims]
    return e.rewrite(old, e.concat(parts, 0))


def _dims(scope: Scope, tensor: gs.Tensor) -> list[int | None]:
    """The sizes of a tensor of coordinates or of selected values; None stands for the count."""
    found = points(scope, tensor)
    if found is None:
        rest = [d for d in (scope.shape(tensor) or ())[1:] if isinstance(d, int)]
        return [None, *rest]
    if found.layout == "flat":
        return [None]
    both = [None, len(found.columns)]
    return both[::-1] if found.layout == "rows" else both


def _picked(
    scope: Scope, node: gs.Node, dims: list[int | None]
) -> tuple[gs.Node, int | None] | None:
    """The Gather or Squeeze that takes one size out of the shape, where nothing else reads it."""
    out = node.outputs[0]
    readers = scope.consumers(out)
    if len(readers) != 1 or scope.is_output(out) or scope.model.scope_of(readers[0]) is not scope:
        return None
    reader = readers[0]
    if not is_standard(reader) or reader.inputs[0] is not out:
        return None
    if reader.op == "Squeeze":
        return (reader, dims[0]) if len(dims) == 1 else None
    if reader.op != "Gather":
        return None
    index = scope.folded(reader.inputs[1])
    if index is None or index.ndim or not -len(dims) <= int(index) < len(dims):
        return None
    return reader, dims[int(index)]


def _number(scope: Scope, e: Emitter, mask: gs.Tensor) -> gs.Tensor | None:
    """How many elements of a mask are not zero: an int64 scalar."""
    truth = as_bool(scope, e, mask)
    shape = scope.shape(mask)
    if _sums(scope, TensorProto.INT64, shape):
        return e("ReduceSum", e.cast(truth, TensorProto.INT64), keepdims=0)
    known = [d for d in shape or () if isinstance(d, int)]
    few = shape is not None and len(known) == len(shape)
    if not few or np.prod(known) > EXACT_COUNT[int(TensorProto.FLOAT)]:
        return None
    total = e("ReduceSum", e.cast(truth, TensorProto.FLOAT), keepdims=0)
    return e.cast(total, TensorProto.INT64)


def _sums(scope: Scope, dtype: int, shape: tuple[int | str | None, ...] | None) -> bool:
    return scope.accepts("ReduceSum", [TensorFacts("mask", int(dtype), shape)], {"keepdims": 0})
