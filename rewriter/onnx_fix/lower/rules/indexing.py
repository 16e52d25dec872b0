"""Gather, scatter and mask ops that were added or extended, in those that were there before."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._positions import INT64, flat_index, int64, width_of, wrapped
from onnx_fix.lower.rules._steps import (
    counting,
    dims_of,
    integer,
    keep,
    known_dtype,
    known_rank,
    missing,
    same,
    squeeze,
    unsqueeze,
)

_BY_PASS = "the pass {} (option everywhere) writes it in older ops"


def _gather_nd_batches(low: LowNode) -> list[NodeProto]:
    """12 to 11: the batch axes become leading indices, counted."""
    batches = integer(low, "batch_dims", 0)
    if batches == 0:
        return keep(low, drop=["batch_dims"])
    rank = known_rank(low, 1)
    if width_of(low, 1) == 0:
        raise Refused("GatherND with indices of no entries has no batches before opset 12")
    first = low.add("Gather", low.input(1), low.const([0], INT64), axis=rank - 1)
    none = low.add("Mul", first, low.const([0], INT64))
    leading = []
    for axis in range(batches):
        count = counting(low, dims_of(low, low.input(1), [axis]))
        column = unsqueeze(low, count, [i for i in range(rank) if i != axis])
        leading.append(low.add("Add", none, column))
    indices = low.add("Concat", *leading, low.input(1), axis=rank - 1)
    return low.result(low.copy(inputs=[low.input(0), indices], drop=["batch_dims"]))


def _tail(low: LowNode, first: str, width: int) -> str:
    """A shape: ``first`` and the sizes of the axes of data from ``width`` on."""
    rank = known_rank(low, 0)
    if width == rank:
        return first
    return low.add("Concat", first, dims_of(low, low.input(0), range(width, rank)), axis=0)


def _gather_nd(low: LowNode) -> list[NodeProto]:
    """11 to 10: Gather from the data with its indexed axes flattened."""
    width, rank = width_of(low, 1), known_rank(low, 0)
    if width == 0:
        raise Refused("GatherND with indices of no entries has no equivalent before opset 11")
    flat = flat_index(low, low.input(1), width)
    whole = low.const([-1], INT64)
    shape = whole
    if width < rank:
        count = low.const(1, INT64)
        for axis in range(width):
            count = low.add("Mul", count, dims_of(low, low.input(0), [axis]))
        shape = _tail(low, count, width)
    table = low.add("Reshape", low.input(0), shape)
    return low.result(low.copy(op="Gather", inputs=[table, flat], drop=["batch_dims"], axis=0))


def _trilu(low: LowNode) -> list[NodeProto]:
    """14 to 13: a mask from the counted rows and columns, constant where the sizes are known."""
    x, dtype, upper = low.input(0), known_dtype(low, 0), bool(integer(low, "upper", 1))
    shape = low.types(x).shape
    k = low.value(low.input(1)) if low.input(1) else np.array(0)
    sides = shape[-2:] if shape is not None else ()
    zero = low.const(0, dtype)
    if k is not None and len(sides) == 2 and all(isinstance(d, int) for d in sides):
        rows, columns = (int(d) for d in sides if isinstance(d, int))
        ones, offset = np.ones((rows, columns), bool), int(k.reshape(-1)[0])
        mask = low.const(np.triu(ones, offset) if upper else np.tril(ones, offset))
    else:
        rank = known_rank(low, 0)
        row = unsqueeze(low, counting(low, dims_of(low, x, [rank - 2])), [1])
        column = unsqueeze(low, counting(low, dims_of(low, x, [rank - 1])), [0])
        if low.input(1):
            row = low.add("Add", row, low.input(1))
        out = low.add("Less" if upper else "Greater", column, row)
        mask = low.add("Not", out)
    return low.result(low.copy(op="Where", inputs=[mask, x, zero], drop=["upper"]))


def _one_hot(low: LowNode) -> list[NodeProto]:
    """11 to 9: indices and the axis could not be negative."""
    axis = integer(low, "axis", -1)
    if axis < -1:
        axis += known_rank(low, 0) + 1
    indices = int64(low, 0)
    value = low.value(low.input(0))
    if value is None or np.any(value.astype(np.int64) < 0):
        indices = _one_hot_indices(low, indices, int64(low, 1))
    return low.result(low.copy(inputs=[indices, *low.proto.input[1:]], axis=axis))


def _one_hot_indices(low: LowNode, indices: str, depth: str) -> str:
    """The indices counted from the front; those below -depth become depth, which is off."""
    if low.rank(1) != 0:
        depth = squeeze(low, depth, [0])
    zero = low.const(0, INT64)
    front = low.add(
        "Where", low.add("Less", indices, zero), low.add("Add", indices, depth), indices
    )
    return low.add("Where", low.add("Less", front, zero), depth, front)


def _gather_elements(low: LowNode) -> list[NodeProto]:
    """11 to 10: Gather from the flattened data, at the counted place of each index."""
    rank = known_rank(low, 0)
    axis = integer(low, "axis", 0) % rank
    flat, stride = "", low.const([1], INT64)
    for place in reversed(range(rank)):
        size = dims_of(low, low.input(0), [place])
        if place == axis:
            part = wrapped(low, int64(low, 1), size)
        else:
            count = counting(low, dims_of(low, low.input(1), [place]))
            part = unsqueeze(low, count, [i for i in range(rank) if i != place])
        part = low.add("Mul", part, stride)
        flat = low.add("Add", flat, part) if flat else part
        stride = low.add("Mul", stride, size)
    table = low.add("Reshape", low.input(0), low.const([-1], INT64))
    return low.result(low.copy(op="Gather", inputs=[table, flat], axis=0))


def _reverse_sequence(low: LowNode) -> list[NodeProto]:
    """10 to 9: Gather from the data with batch and time flattened."""
    rank = known_rank(low, 0)
    time, batch = integer(low, "time_axis", 0), integer(low, "batch_axis", 1)
    others = [i for i in range(rank) if i not in (time, batch)]
    order = [batch, time, *others]
    data = low.add("Transpose", low.input(0), perm=order)
    sizes = low.add("Shape", data)
    times = dims_of(low, data, [1])
    step = unsqueeze(low, counting(low, times), [0])
    row = unsqueeze(low, counting(low, dims_of(low, data, [0])), [1])
    length = unsqueeze(low, int64(low, 1), [1])
    mirrored = low.add("Sub", low.add("Sub", length, low.const(1, INT64)), step)
    at = low.add("Where", low.add("Less", step, length), mirrored, step)
    flat = low.add("Add", low.add("Mul", row, times), at)
    count = low.add("Mul", dims_of(low, data, [0]), times)
    if others:
        count = low.add("Concat", count, dims_of(low, data, range(2, rank)), axis=0)
    table = low.add("Reshape", data, count)
    taken = low.add("Reshape", low.add("Gather", table, flat, axis=0), sizes)
    back = [order.index(i) for i in range(rank)]
    drop = ["batch_axis", "time_axis"]
    return low.result(low.copy(op="Transpose", inputs=[taken], drop=drop, perm=back))


def _roi_align(low: LowNode) -> list[NodeProto]:
    """16 to 10: boxes were not shifted by half a pixel, and were at least one pixel large."""
    if low.attr("coordinate_transformation_mode", "half_pixel") != "output_half_pixel":
        raise Refused(
            "RoiAlign shifts no boxes by half a pixel before opset 16, and makes small boxes one "
            "pixel large"
        )
    return keep(low, drop=["coordinate_transformation_mode"])


RULES: dict[tuple[str, int], Rule] = {
    ("Col2Im", 18): missing(_BY_PASS.format("replace-col2-im")),
    ("Compress", 28): same(widen=True),
    ("DeformConv", 22): same(widen=True),
    ("DeformConv", 19): missing(_BY_PASS.format("replace-deform-conv")),
    ("EyeLike", 22): same(),
    ("GatherElements", 13): same(widen=True),
    ("GatherElements", 11): _gather_elements,
    ("GatherND", 13): same(widen=True),
    ("GatherND", 12): _gather_nd_batches,
    ("GatherND", 11): _gather_nd,
    ("MaxRoiPool", 22): same(widen=True),
    ("MaxUnpool", 22): same(widen=True),
    ("MaxUnpool", 11): same(),
    ("NonMaxSuppression", 11): same(),
    ("NonMaxSuppression", 10): missing("no other op selects boxes"),
    ("OneHot", 28): same(widen=True),
    ("OneHot", 11): _one_hot,
    ("ReverseSequence", 28): same(widen=True),
    ("ReverseSequence", 10): _reverse_sequence,
    ("RoiAlign", 22): same(widen=True),
    ("RoiAlign", 16): _roi_align,
    ("RoiAlign", 10): missing(_BY_PASS.format("replace-roi-align")),
    ("Trilu", 14): _trilu,
    ("Unique", 28): same(widen=True),
    ("Unique", 11): missing("no other op finds what is there twice"),
    **{
        (op, 22): same(widen=True)
        for op in (
            "Multinomial",
            "RandomNormal",
            "RandomNormalLike",
            "RandomUniform",
            "RandomUniformLike",
        )
    },
}
