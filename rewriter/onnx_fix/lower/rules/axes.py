"""Axes that become attributes, and axes that were counted from the front only."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import NodeProto, TensorProto, helper

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._steps import copies_zeros, integer, keep, known_rank, squeeze
from onnx_fix.lower.rules._types import types_fit
from onnx_fix.op_names import REDUCTIONS

INT64_MAX = 2**63 - 1


def axes_input(low: LowNode, index: int) -> list[int] | None:
    """The axes that a constant input gives; None where it is omitted.

    Raises:
        Refused: they are computed at run time.
    """
    if not low.input(index):
        return None
    return [int(a) for a in low.constant(index, "input").reshape(-1)]


def axes_attribute(low: LowNode, name: str = "axes") -> list[int] | None:
    """The axes that an attribute gives; None where it is absent."""
    value = low.attr(name)
    return [int(a) for a in value] if isinstance(value, list | tuple) else None


def from_front(
    low: LowNode, axes: Sequence[int], rank: int | None = None, extra: int = 0
) -> list[int]:
    """Axes counted from the front.

    Args:
        rank: That of the first input where it is not given.
        extra: How many more axes the counted tensor has.

    Raises:
        Refused: the rank is needed and not known.
    """
    if all(a >= 0 for a in axes):
        return list(axes)
    rank = (known_rank(low, 0) if rank is None else rank) + extra
    return [a + rank if a < 0 else a for a in axes]


def _at_run_time(low: LowNode) -> int | None:
    """How many axes an input gives at run time; None where it is omitted or constant.

    Raises:
        Refused: how many it gives is not known.
    """
    if not low.input(1) or low.value(low.input(1)) is not None:
        return None
    shape = low.types(low.input(1)).shape
    if shape is None or len(shape) != 1 or not isinstance(shape[0], int):
        raise Refused(
            f"the axes '{low.input(1)}' are computed at run time, and how many is not known"
        )
    return shape[0]


def _axes_of(low: LowNode, rank: str) -> str:
    """The axes of the second input counted from the front; ``rank`` is a tensor of shape (1,)."""
    axes = low.input(1)
    negative = low.add("Less", axes, low.const(0, TensorProto.INT64))
    return low.add("Where", negative, low.add("Add", axes, rank), axes)


def _int64s(low: LowNode, size: str, value: int) -> str:
    tensor = helper.make_tensor("value", TensorProto.INT64, [1], [value])
    return low.add("ConstantOfShape", size, value=tensor)


def _others(low: LowNode, rank: str, axes: str, count: int) -> str:
    """The axes of a tensor of some rank that are not among ``count`` axes."""
    scatter = "ScatterElements" if low.opset - 1 >= 11 else "Scatter"
    ones = low.const([1] * count, TensorProto.INT64)
    marked = low.add(scatter, _int64s(low, rank, 0), axes, ones, axis=0)
    rest = low.add("Equal", marked, low.const(0, TensorProto.INT64))
    return squeeze(low, low.add("NonZero", rest), [0])


def _reshaped(low: LowNode, data: str, shape: str, rank: int, full: bool) -> str:
    """Reshape to a shape computed at run time; with ``full`` the data has an element."""
    return low.add("Reshape", data if full else copies_zeros(low, data, rank), shape)


def _is_full(low: LowNode) -> bool:
    shape = low.types(low.input(0)).shape
    return shape is not None and all(isinstance(d, int) and d > 0 for d in shape)


def _by_reshape(low: LowNode, count: int) -> list[NodeProto]:
    """Squeeze and Unsqueeze along axes computed at run time: only the shape changes."""
    data, rank = low.input(0), known_rank(low, 0)
    shape = low.add("Shape", data)
    if low.op == "Squeeze":
        whole, made = low.const([rank], TensorProto.INT64), rank - count
        others = _others(low, whole, _axes_of(low, whole), count)
        new = low.add("Gather", shape, others, axis=0)
    else:
        whole, made = low.const([rank + count], TensorProto.INT64), rank + count
        others = _others(low, whole, _axes_of(low, whole), count)
        scatter = "ScatterElements" if low.opset - 1 >= 11 else "Scatter"
        new = low.add(scatter, _int64s(low, whole, 1), others, shape, axis=0)
    return low.result(_reshaped(low, data, new, made, _is_full(low)))


def _axes_to_attribute(low: LowNode) -> list[NodeProto]:
    """Squeeze 13 and Unsqueeze 13."""
    types_fit(low)
    count = _at_run_time(low)
    if count is not None and low.dtype(1) == TensorProto.INT64:
        return _by_reshape(low, count)
    return low.result(low.copy(inputs=[low.input(0)], axes=axes_input(low, 1)))


def _positive_axes(low: LowNode) -> list[NodeProto]:
    """Squeeze 11, Unsqueeze 11 and Reduce 11; sorted, as older readers take them in turn."""
    types_fit(low)
    axes = axes_attribute(low)
    if axes is None:
        return low.result(low.copy())
    extra = len(axes) if low.op == "Unsqueeze" else 0
    return low.result(low.copy(axes=sorted(from_front(low, axes, extra=extra))))


def _positive_axis(low: LowNode) -> list[NodeProto]:
    """The one axis of ArgMax 11, Concat 11, Split 11 and others."""
    types_fit(low)
    if not low.has("axis"):
        return low.result(low.copy())
    return low.result(low.copy(axis=from_front(low, [integer(low, "axis", 0)])[0]))


def _reduce(low: LowNode) -> list[NodeProto]:
    """ReduceSum 13 and Reduce 18: the input ``axes`` becomes an attribute.

    Without axes ``noop_with_empty_axes`` says whether all are reduced or none; then what is left
    of the op is done for each element. Axes computed at run time are none, all, or one: then the
    axes before and after it are each made one.
    """
    types_fit(low)
    count = _at_run_time(low)
    if count == 1:
        return _reduce_one(low)
    if count and count == low.rank(0):
        return low.result(low.copy(inputs=[low.input(0)], drop=["noop_with_empty_axes"]))
    axes = [] if count == 0 else axes_input(low, 1)
    if axes or not integer(low, "noop_with_empty_axes", 0):
        plain = low.copy(inputs=[low.input(0)], drop=["noop_with_empty_axes"], axes=axes or None)
        return low.result(plain)
    return _each_element(low)


def _reduce_one(low: LowNode) -> list[NodeProto]:
    """Along one axis computed at run time."""
    data, rank, full = low.input(0), known_rank(low, 0), _is_full(low)
    shape, whole = low.add("Shape", data), low.const([rank], TensorProto.INT64)
    axis, ones = _axes_of(low, whole), low.const([1] * rank, TensorProto.INT64)
    places = low.const(list(range(rank)), TensorProto.INT64)
    merged = []
    for comparison in ("Less", "Greater"):
        kept = low.add("Where", low.add(comparison, places, axis), shape, ones)
        merged.append(low.add("ReduceProd", kept, axes=[0], keepdims=1))
    size = low.add("Gather", shape, axis, axis=0)
    three = low.add("Concat", merged[0], size, merged[1], axis=0)
    reduced = low.fresh(f"{low.proto.output[0]}/reduced")
    inputs, drop = [_reshaped(low, data, three, 3, full)], ["noop_with_empty_axes"]
    low.made.append(low.copy(inputs=inputs, outputs=[reduced], drop=drop, axes=[1], keepdims=0))
    if integer(low, "keepdims", 1):
        new = low.add("Where", low.add("Equal", places, axis), ones, shape)
    else:
        new = low.add("Gather", shape, _others(low, whole, axis, 1), axis=0)
    kept_rank = rank if integer(low, "keepdims", 1) else rank - 1
    return low.result(_reshaped(low, reduced, new, kept_rank, full))


def _each_element(low: LowNode) -> list[NodeProto]:
    data = low.input(0)
    if low.op in ("ReduceL1", "ReduceL2"):
        return low.result(low.copy(op="Abs", inputs=[data], drop=_all_attributes(low)))
    if low.op == "ReduceSumSquare":
        return low.result(low.copy(op="Mul", inputs=[data, data], drop=_all_attributes(low)))
    if low.op in ("ReduceLogSum", "ReduceLogSumExp") and low.dtype(0) not in (
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.DOUBLE,
    ):
        raise Refused("the logarithm of each element exists for floats only")
    op = "Log" if low.op == "ReduceLogSum" else "Identity"
    return low.result(low.copy(op=op, inputs=[data], drop=_all_attributes(low)))


def _all_attributes(low: LowNode) -> list[str]:
    return [a.name for a in low.proto.attribute]


def _reduce_bool(low: LowNode) -> list[NodeProto]:
    """ReduceMax 20 and ReduceMin 20 took in booleans: uint8 orders them the same way.

    An empty reduction gives 0 or 255, so false or true as for booleans.
    """
    if low.dtype(0) != TensorProto.BOOL:
        types_fit(low)
        return low.result(low.copy())
    data = low.add("Cast", low.input(0), to=TensorProto.UINT8)
    reduced = low.fresh(f"{low.proto.output[0]}/uint8")
    low.made.append(low.copy(inputs=[data, low.input(1)], outputs=[reduced]))
    return low.result(cast_back(low, reduced, TensorProto.BOOL))


def cast_back(low: LowNode, name: str, dtype: int) -> NodeProto:
    """The Cast that makes the first output of the node."""
    return low.copy(
        op="Cast",
        inputs=[name],
        outputs=[low.proto.output[0]],
        drop=_all_attributes(low),
        to=dtype,
    )


def _reduce_int8(low: LowNode) -> list[NodeProto]:
    """ReduceMax 12 and ReduceMin 12 took in 8-bit integers: int32 holds them.

    What an empty reduction gives is not defined at operator set 12.
    """
    dtype = low.dtype(0)
    if dtype not in (TensorProto.INT8, TensorProto.UINT8):
        types_fit(low)
        return low.result(low.copy())
    data = low.add("Cast", low.input(0), to=TensorProto.INT32)
    reduced = low.fresh(f"{low.proto.output[0]}/int32")
    low.made.append(low.copy(inputs=[data], outputs=[reduced]))
    return low.result(cast_back(low, reduced, dtype))


def _last_index(low: LowNode) -> list[NodeProto]:
    """ArgMax 12 and ArgMin 12: the last of several extremes is the first of the reversed axis."""
    types_fit(low)
    if not integer(low, "select_last_index", 0):
        return low.result(low.copy(drop=["select_last_index"]))
    axis = integer(low, "axis", 0)
    minus_one = low.const([-1], TensorProto.INT64)
    first = low.const([-INT64_MAX], TensorProto.INT64)
    at = low.const([axis], TensorProto.INT64)
    turned = low.add("Slice", low.input(0), minus_one, first, at, minus_one)
    index = low.fresh(f"{low.proto.output[0]}/turned")
    low.made.append(low.copy(inputs=[turned], outputs=[index], drop=["select_last_index"]))
    size = low.add("Gather", low.add("Shape", low.input(0)), low.const(axis, TensorProto.INT64))
    last = low.add("Sub", size, low.const(1, TensorProto.INT64))
    return low.result(low.copy(op="Sub", inputs=[last, index], drop=_all_attributes(low)))


def _removed_types(low: LowNode) -> list[NodeProto]:
    """ReduceLogSum 28 and ReduceLogSumExp 28 only lost integer types."""
    return keep(low)


_POSITIVE_AXIS = ("ArgMax", "ArgMin", "Compress", "Concat", "Flatten", "Split")

RULES: dict[tuple[str, int], Rule] = {
    ("Squeeze", 13): _axes_to_attribute,
    ("Unsqueeze", 13): _axes_to_attribute,
    ("Squeeze", 11): _positive_axes,
    ("Unsqueeze", 11): _positive_axes,
    ("ReduceSum", 13): _reduce,
    **{(op, 18): _reduce for op in REDUCTIONS if op != "ReduceSum"},
    **{(op, 11): _positive_axes for op in REDUCTIONS},
    **{(op, 11): _positive_axis for op in _POSITIVE_AXIS},
    ("ReduceMax", 20): _reduce_bool,
    ("ReduceMin", 20): _reduce_bool,
    ("ReduceMax", 12): _reduce_int8,
    ("ReduceMin", 12): _reduce_int8,
    ("ReduceLogSum", 28): _removed_types,
    ("ReduceLogSumExp", 28): _removed_types,
    ("ArgMax", 12): _last_index,
    ("ArgMin", 12): _last_index,
}
