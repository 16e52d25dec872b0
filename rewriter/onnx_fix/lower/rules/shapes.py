"""Shape, Reshape, Gather and DepthToSpace: what an index or a zero in a shape means."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._steps import copies_zeros, integer, known_dtype, known_rank
from onnx_fix.lower.rules._types import types_fit
from onnx_fix.lower.rules.axes import INT64_MAX
from onnx_fix.lower.rules.split_slice import dim

_INT64 = TensorProto.INT64


def _shape_15(low: LowNode) -> list[NodeProto]:
    """``start`` and ``end``: a slice of the whole shape, clamped the same way."""
    types_fit(low)
    start = integer(low, "start", 0)
    end = integer(low, "end", INT64_MAX)
    if start == 0 and end == INT64_MAX:
        return low.result(low.copy(drop=["start", "end"]))
    whole = low.add("Shape", low.input(0))
    bounds = [low.const([b], _INT64) for b in (start, end)]
    axis = low.const([0], _INT64)
    return low.result(low.copy(op="Slice", inputs=[whole, *bounds, axis], drop=["start", "end"]))


def _reshape_14(low: LowNode) -> list[NodeProto]:
    """``allowzero``: a zero in the shape is a size, not a copy of the size of the input.

    A zero arises with an empty input only. Where the input can be empty and a size could copy
    another one than zero, the input first gets the sizes (n, 0, 0, ...) if it is empty and
    (n, 1, 1, ...) if it is not: then a zero copies a zero.
    """
    types_fit(low)
    if not integer(low, "allowzero", 0):
        return low.result(low.copy(drop=["allowzero"]))
    plain = low.copy(drop=["allowzero"])
    constant = low.value(low.input(1))
    value = None if constant is None else constant.reshape(-1).astype(np.int64)
    if value is not None and (value != 0).all():
        return low.result(plain)
    if value is not None and (value > 0).sum() == (value >= 0).sum() - 1 and (value >= 0).all():
        only = np.where(value == 0, -1, value)
        return low.result(low.copy(inputs=[low.input(0), low.const(only)], drop=["allowzero"]))
    before, after = low.types(low.input(0)).shape, low.types(low.proto.output[0]).shape
    if before is not None and all(isinstance(d, int) and d > 0 for d in before):
        return low.result(plain)
    if after is not None and all(
        (isinstance(size, int) and size > 0)
        or (before is not None and i < len(before) and size is not None and size == before[i])
        for i, size in enumerate(after)
    ):
        return low.result(plain)
    length = low.types(low.input(1)).shape
    rank = len(after) if after is not None else length[0] if length and len(length) == 1 else None
    if value is not None:
        rank = int(value.size)
    if not isinstance(rank, int):
        raise Refused(
            "allowzero is set, and neither the sizes of the input nor the rank of the output are "
            "known"
        )
    data = copies_zeros(low, low.input(0), rank)
    return low.result(low.copy(inputs=[data, low.input(1)], drop=["allowzero"]))


def _gather_11(low: LowNode) -> list[NodeProto]:
    """Indices counted from the back were not defined: they are counted from the front."""
    types_fit(low)
    constant = low.value(low.input(1))
    value = None if constant is None else constant.astype(np.int64)
    axis = integer(low, "axis", 0)
    if value is not None and (value >= 0).all():
        return low.result(low.copy())
    size = dim(low, 0, axis)
    kind = known_dtype(low, 1)
    if value is not None and size is not None:
        front = np.where(value < 0, value + size, value)
        return low.result(low.copy(inputs=[low.input(0), low.const(front, kind)]))
    if size is None:
        at = axis if axis >= 0 else axis + known_rank(low, 0)
        length = low.add("Gather", low.add("Shape", low.input(0)), low.const(at, _INT64), axis=0)
        length = length if kind == _INT64 else low.add("Cast", length, to=kind)
    else:
        length = low.const(size, kind)
    negative = low.add("Less", low.input(1), low.const(0, kind))
    turned = low.add("Add", low.input(1), length)
    front_name = low.add("Where", negative, turned, low.input(1))
    return low.result(low.copy(inputs=[low.input(0), front_name]))


def _depth_to_space_11(low: LowNode) -> list[NodeProto]:
    """Mode CRD: the channels in the other order, then as before."""
    types_fit(low)
    if low.attr("mode", "DCR") == "DCR":
        return low.result(low.copy(drop=["mode"]))
    block = integer(low, "blocksize", 1)
    channels = dim(low, 0, 1)
    if channels is None:
        raise Refused("mode CRD reorders the channels, and their number is not known")
    order = np.arange(channels, dtype=np.int64).reshape(-1, block * block).T.reshape(-1)
    data = low.add("Gather", low.input(0), low.const(order), axis=1)
    return low.result(low.copy(inputs=[data], drop=["mode"]))


def _constant_of_shape(low: LowNode) -> list[NodeProto]:
    """ConstantOfShape took in types; the value names the type even where inference does not."""
    types_fit(low)
    value = low.attr("value")
    if isinstance(value, TensorProto) and low.types(low.proto.output[0]).dtype is None:
        kind = helper.tensor_dtype_to_string(value.data_type)
        if value.data_type not in _OLD:
            raise Refused(f"ConstantOfShape makes no {kind} before opset {low.opset}")
    return low.result(low.copy())


_OLD = frozenset(
    {
        *(TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BOOL),
        *(TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64),
        *(TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64),
    }
)

RULES: dict[tuple[str, int], Rule] = {
    ("Shape", 15): _shape_15,
    ("Reshape", 14): _reshape_14,
    ("Gather", 11): _gather_11,
    ("DepthToSpace", 11): _depth_to_space_11,
    **{("ConstantOfShape", version): _constant_of_shape for version in (20, 21, 23, 24, 25)},
}
