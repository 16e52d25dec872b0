"""Split, Slice and Pad: sizes, ranges and pads that were attributes."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._steps import integer, known_dtype, known_rank
from onnx_fix.lower.rules._types import FLOATS, WIDER_FLOAT, types_fit
from onnx_fix.lower.rules.axes import axes_input, cast_back, from_front

_INT64 = TensorProto.INT64


def dim(low: LowNode, index: int, axis: int) -> int | None:
    """The size of an axis of an input where it is known."""
    shape = low.types(low.input(index)).shape
    if shape is None or not -len(shape) <= axis < len(shape):
        return None
    size = shape[axis]
    return size if isinstance(size, int) else None


def _split_18(low: LowNode) -> list[NodeProto]:
    """``num_outputs``: parts of equal size, the last one smaller where it does not divide.

    Where even that leaves the last one less than nothing, the branch that holds the node is not
    taken; the sizes stop at 0 there, as runtimes look at them before they run anything.
    """
    types_fit(low)
    parts = integer(low, "num_outputs", 0)
    if not parts or low.input(1):
        return low.result(low.copy(drop=["num_outputs"]))
    if parts != len(low.proto.output):
        raise Refused(f"num_outputs is {parts}, and there are {len(low.proto.output)} outputs")
    axis = integer(low, "axis", 0)
    size = dim(low, 0, axis)
    if size is not None and size % parts == 0:
        return low.result(low.copy(drop=["num_outputs"]))
    if size is not None:
        chunk = -(-size // parts)
        sizes = low.const([max(0, min(chunk, size - i * chunk)) for i in range(parts)], _INT64)
        return low.result(low.copy(inputs=[low.input(0), sizes], drop=["num_outputs"]))
    total = low.add("Gather", low.add("Shape", low.input(0)), low.const([axis], _INT64), axis=0)
    rounded = low.add("Add", total, low.const([parts - 1], _INT64))
    each = low.add("Div", rounded, low.const([parts], _INT64))
    left = low.add("Sub", total, low.add("Mul", each, low.const([parts - 1], _INT64)))
    sizes = low.add("Concat", *[each] * (parts - 1), left, axis=0)
    return low.result(low.copy(inputs=[low.input(0), sizes], drop=["num_outputs"]))


def _split_13(low: LowNode) -> list[NodeProto]:
    """Sizes as an attribute; sizes computed at run time are cut out by Slice."""
    types_fit(low)
    if not low.input(1):
        return low.result(low.copy())
    value = low.value(low.input(1))
    if value is not None:
        sizes = [int(s) for s in value.reshape(-1)]
        return low.result(low.copy(inputs=[low.input(0)], split=sizes))
    axis = low.const([integer(low, "axis", 0)], _INT64)
    start = low.const([0], _INT64)
    for position, output in enumerate(low.proto.output):
        size = low.add("Gather", low.input(1), low.const([position], _INT64), axis=0)
        end = low.add("Add", start, size)
        if output:
            piece = low.copy(op="Slice", inputs=[low.input(0), start, end, axis], outputs=[output])
            del piece.attribute[:]
            piece.name = output
            low.made.append(piece)
        start = end
    return low.made


def _slice_11(low: LowNode) -> list[NodeProto]:
    """Axes counted from the back were not defined."""
    types_fit(low)
    if not low.input(3):
        return low.result(low.copy())
    axes = axes_input(low, 3) or []
    front = from_front(low, axes)
    if front == axes:
        return low.result(low.copy())
    inputs = list(low.proto.input)
    kept = known_dtype(low, 3)
    inputs[3] = low.const(front, kept)
    return low.result(low.copy(inputs=inputs))


def _slice_10(low: LowNode) -> list[NodeProto]:
    """Ranges as attributes; a step other than 1 gathers along an axis of known size."""
    types_fit(low)
    starts, ends = axes_input(low, 1) or [], axes_input(low, 2) or []
    axes = axes_input(low, 3)
    axes = list(range(len(starts))) if axes is None else from_front(low, axes)
    steps = axes_input(low, 4) or [1] * len(starts)
    plain = [i for i, step in enumerate(steps) if step == 1]
    data = low.input(0)
    for i, step in enumerate(steps):
        if step == 1:
            continue
        size = dim(low, 0, axes[i])
        if size is None:
            raise Refused(
                f"Slice has no steps before opset 10, and the size of axis {axes[i]} is not known"
            )
        index = np.arange(size, dtype=np.int64)[starts[i] : ends[i] : step]
        data = low.add("Gather", data, low.const(index), axis=axes[i])
    if not plain:
        return low.result(data)
    node = low.copy(
        inputs=[data],
        starts=[starts[i] for i in plain],
        ends=[ends[i] for i in plain],
        axes=[axes[i] for i in plain],
    )
    return low.result(node)


def _pad_19(low: LowNode) -> list[NodeProto]:
    """Mode ``wrap``: gather along each padded axis, the index modulo the size."""
    types_fit(low)
    if low.attr("mode", "constant") != "wrap":
        return low.result(low.copy())
    pads = axes_input(low, 1) or []
    count = len(pads) // 2
    axes = axes_input(low, 3)
    axes = list(range(count)) if axes is None else axes
    data = low.input(0)
    for i, axis in enumerate(axes):
        begin, end = pads[i], pads[count + i]
        if begin == end == 0:
            continue
        if begin * end < 0:
            raise Refused(f"mode wrap cuts one side of axis {axis} and pads the other")
        size = low.add("Gather", low.add("Shape", data), low.const(axis, _INT64), axis=0)
        stop = low.add("Add", size, low.const(end, _INT64))
        places = low.add("Range", low.const(-begin, _INT64), stop, low.const(1, _INT64))
        data = low.add("Gather", data, low.add("Mod", places, size), axis=axis)
    return low.result(data)


def _pad_18(low: LowNode) -> list[NodeProto]:
    """``axes``: the pads of the axes that it does not name are zero."""
    types_fit(low)
    axes = axes_input(low, 3)
    if axes is None:
        return low.result(low.copy())
    rank = known_rank(low, 0)
    count = len(axes)
    place = [2 * count] * (2 * rank)
    for i, axis in enumerate(from_front(low, axes)):
        place[axis], place[rank + axis] = i, count + i
    pads = low.value(low.input(1))
    if pads is not None:
        known = [*(int(p) for p in pads.reshape(-1)), 0]
        full = low.const([known[p] for p in place], _INT64)
    else:
        longer = low.add("Concat", low.input(1), low.const([0], _INT64), axis=0)
        full = low.add("Gather", longer, low.const(place, _INT64), axis=0)
    return low.result(low.copy(inputs=[low.input(0), full, low.input(2)]))


def _pad_13(low: LowNode) -> list[NodeProto]:
    """Booleans are padded as int32."""
    if low.dtype(0) != TensorProto.BOOL:
        types_fit(low)
        return low.result(low.copy())
    data = low.add("Cast", low.input(0), to=TensorProto.INT32)
    value = low.input(2) and low.add("Cast", low.input(2), to=TensorProto.INT32)
    padded = low.fresh(f"{low.proto.output[0]}/int32")
    low.made.append(low.copy(inputs=[data, low.input(1), value], outputs=[padded]))
    return low.result(cast_back(low, padded, TensorProto.BOOL))


def _pad_11(low: LowNode) -> list[NodeProto]:
    """Pads and the value as attributes; integers through a float type that holds them.

    A value that is computed at run time, or that a float32 attribute does not hold, is selected
    where padded ones are zero.
    """
    pads = [int(p) for p in low.constant(1, "input").reshape(-1)]
    dtype = known_dtype(low, 0)
    kind = dtype if dtype in FLOATS else WIDER_FLOAT.get(dtype)
    if kind is None:
        raise Refused(f"Pad takes floats only before opset {low.opset}, and none holds every int64")
    data = low.input(0) if kind == dtype else low.add("Cast", low.input(0), to=kind)
    mode = low.attr("mode", "constant")
    value, selected = _pad_value(low) if mode == "constant" else (0.0, False)
    padded = low.add("Pad", data, mode=mode, pads=pads, value=value)
    back = padded if kind == dtype else low.add("Cast", padded, to=dtype)
    if not selected:
        return low.result(back)
    shape = low.add("Shape", low.input(0))
    one = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
    ones = low.add("ConstantOfShape", shape, value=one)
    inside = low.add("Cast", low.add("Pad", ones, pads=pads), to=TensorProto.BOOL)
    return low.result(low.copy(op="Where", inputs=[inside, back, low.input(2)], drop=["mode"]))


def _pad_value(low: LowNode) -> tuple[float, bool]:
    """The value attribute, and whether the value has to be selected instead."""
    if not low.input(2):
        return 0.0, False
    constant = low.value(low.input(2))
    if constant is None:
        return 0.0, True
    exact = constant.reshape(-1)[0].item()
    held = float(np.float32(exact))
    return (held, False) if held == exact else (0.0, True)


RULES: dict[tuple[str, int], Rule] = {
    ("Split", 18): _split_18,
    ("Split", 13): _split_13,
    ("Slice", 11): _slice_11,
    ("Slice", 10): _slice_10,
    ("Pad", 19): _pad_19,
    ("Pad", 18): _pad_18,
    ("Pad", 13): _pad_13,
    ("Pad", 11): _pad_11,
}
