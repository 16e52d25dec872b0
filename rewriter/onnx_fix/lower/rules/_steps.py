"""What many rules share: the check that a node may stand as it is, and small idioms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import onnx
from onnx import NodeProto, TensorProto, helper
from onnx.defs import OpSchema

from onnx_fix.lower.node import LowNode, Refused, Rule

_WIDER = {TensorProto.BFLOAT16: TensorProto.FLOAT, TensorProto.FLOAT16: TensorProto.FLOAT}


def dtype_name(dtype: int) -> str:
    """An element type as messages call it, for example ``float16``."""
    return TensorProto.DataType.Name(dtype).lower()


def schema_below(low: LowNode) -> OpSchema:
    """The schema that the op has at the lower operator set.

    Raises:
        Refused: the op did not exist.
    """
    try:
        return onnx.defs.get_schema(low.op, low.opset - 1, "")
    except onnx.defs.SchemaError:
        raise Refused(f"{low.op} does not exist before opset {low.opset}") from None


def same(*neutral: str, widen: bool = False, **defaults: object) -> Rule:
    """A rule for a step that only added types, attributes or inputs.

    The element types that are known are checked against the lower schema. An attribute that the
    lower schema lacks is dropped where it has its default, the value in ``defaults``, or is named
    in ``neutral`` (its value never matters); anything else is refused.

    Args:
        widen: Half-precision tensors that the lower schema lacks go through float32: exact where
            data is only moved, otherwise the rounding that half-precision kernels do anyway.
    """

    def rule(low: LowNode) -> list[NodeProto]:
        return keep(low, neutral, defaults, widen=widen)

    return rule


def keep(
    low: LowNode,
    neutral: Sequence[str] = (),
    defaults: Mapping[str, object] | None = None,
    *,
    widen: bool = False,
    drop: Sequence[str] = (),
    **attributes: Any,
) -> list[NodeProto]:
    """The node as it is, checked as ``same`` says; ``attributes`` are changed, ``drop`` dropped."""
    lower = schema_below(low)
    node = low.copy(
        drop=[*drop, *_droppable(low, lower, neutral, defaults or {}, drop)], **attributes
    )
    del node.input[_used(node.input) :]
    if len(node.input) > lower.max_input:
        extra = low.input(lower.max_input)
        raise Refused(f"input '{extra}' does not exist before opset {low.opset}")
    used = [i for i, name in enumerate(node.output) if name]
    if used and used[-1] >= lower.max_output:
        raise Refused(f"output '{node.output[used[-1]]}' does not exist before opset {low.opset}")
    wrong = {d for d, allowed in _typed(low, node, lower) if d not in allowed}
    if not wrong:
        return low.result(node)
    names = ", ".join(sorted(dtype_name(d) for d in wrong))
    reason = f"{low.op} takes no {names} before opset {low.opset}"
    if not widen or not wrong <= set(_WIDER):
        raise Refused(reason)
    return _through_float(low, node, lower, wrong, reason)


def _used(names: Sequence[str]) -> int:
    return max((i + 1 for i, name in enumerate(names) if name), default=0)


def _droppable(
    low: LowNode,
    lower: OpSchema,
    neutral: Sequence[str],
    defaults: Mapping[str, object],
    already: Sequence[str],
) -> list[str]:
    upper = onnx.defs.get_schema(low.op, low.opset, "")
    found = []
    for attribute in low.proto.attribute:
        name = attribute.name
        if name in lower.attributes or name in already:
            continue
        if name not in neutral:
            stated = upper.attributes[name].default_value if name in upper.attributes else None
            known = stated is not None and bool(stated.name)
            default = helper.get_attribute_value(stated) if stated is not None and known else None
            default = default.decode() if isinstance(default, bytes) else default
            value = low.attr(name)
            if value != defaults.get(name, default):
                raise Refused(f"attribute {name}={value} does not exist before opset {low.opset}")
        found.append(name)
    return found


def _formal(formals: Sequence[OpSchema.FormalParameter], index: int) -> OpSchema.FormalParameter:
    return formals[min(index, len(formals) - 1)]


def _allowed(formal: OpSchema.FormalParameter) -> frozenset[int]:
    return frozenset().union(*map(_element_type, formal.types))


@cache
def _element_type(name: str) -> frozenset[int]:
    """The element type of a tensor type as schemas write it; nothing for sequences and the like."""
    kind = name.removeprefix("tensor(").removesuffix(")").upper()
    known = name.startswith("tensor(") and kind in TensorProto.DataType.keys()  # noqa: SIM118
    return frozenset({int(TensorProto.DataType.Value(kind))} if known else ())


def _typed(low: LowNode, node: NodeProto, lower: OpSchema) -> list[tuple[int, frozenset[int]]]:
    found = []
    for names, formals in ((node.input, lower.inputs), (node.output, lower.outputs)):
        for index, name in enumerate(names):
            dtype = low.types(name).dtype if name else None
            if dtype is not None and formals:
                found.append((dtype, _allowed(_formal(formals, index))))
    return found


def _through_float(
    low: LowNode, node: NodeProto, lower: OpSchema, wrong: set[int], reason: str
) -> list[NodeProto]:
    if TensorProto.BFLOAT16 in wrong and low.opset <= 13:
        raise Refused(reason)
    after = []
    for index, name in enumerate(list(node.input)):
        dtype = low.types(name).dtype if name else None
        if dtype in wrong and name:
            if TensorProto.FLOAT not in _allowed(_formal(lower.inputs, index)):
                raise Refused(reason)
            node.input[index] = low.add("Cast", name, to=TensorProto.FLOAT)
    for index, name in enumerate(list(node.output)):
        dtype = low.types(name).dtype if name else None
        if dtype in wrong and name:
            if TensorProto.FLOAT not in _allowed(_formal(lower.outputs, index)):
                raise Refused(reason)
            node.output[index] = low.fresh(f"{name}/float")
            after.append(
                helper.make_node("Cast", [node.output[index]], [name], name=name, to=dtype)
            )
    if any(a.name == "dtype" and a.i in wrong for a in node.attribute):
        raise Refused(reason)
    return [*low.made, node, *after]


def missing(reason: str) -> Rule:
    """A rule for an op that did not exist and has no equivalent."""

    def rule(low: LowNode) -> list[NodeProto]:
        raise Refused(f"{low.op} does not exist before opset {low.opset}: {reason}")

    return rule


def known_dtype(low: LowNode, index: int) -> int:
    """The element type of an input.

    Raises:
        Refused: it is not known.
    """
    dtype = low.dtype(index)
    if dtype is None:
        raise Refused(f"the element type of input '{low.input(index)}' is not known")
    return dtype


def known_rank(low: LowNode, index: int) -> int:
    """The rank of an input.

    Raises:
        Refused: it is not known.
    """
    rank = low.rank(index)
    if rank is None:
        raise Refused(f"the rank of input '{low.input(index)}' is not known")
    return rank


def integer(low: LowNode, name: str, default: int) -> int:
    """An integer attribute."""
    value = low.attr(name, default)
    if not isinstance(value, int):
        raise Refused(f"attribute {name} is no integer")
    return value


def select(low: LowNode, condition: str, yes: str, no: str, dtype: int) -> str:
    """Where, spelled so that onnxruntime has kernels for it.

    It has none for 16-bit integers, which go through int32, and for uint64, where one of both
    summands is zero.
    """
    if dtype in (TensorProto.INT16, TensorProto.UINT16):
        wide = [low.add("Cast", x, to=TensorProto.INT32) for x in (yes, no)]
        return low.add("Cast", low.add("Where", condition, *wide), to=dtype)
    if dtype != TensorProto.UINT64:
        return low.add("Where", condition, yes, no)
    masks = condition, low.add("Not", condition)
    a, b = (low.add("Cast", mask, to=dtype) for mask in masks)
    return low.add("Add", low.add("Mul", yes, a), low.add("Mul", no, b))


def unsqueeze(low: LowNode, x: str, axes: Sequence[int]) -> str:
    """Unsqueeze as the lower operator set spells it."""
    if low.opset - 1 >= 13:
        return low.add("Unsqueeze", x, low.const(list(axes), TensorProto.INT64))
    return low.add("Unsqueeze", x, axes=list(axes))


def squeeze(low: LowNode, x: str, axes: Sequence[int]) -> str:
    """Squeeze as the lower operator set spells it."""
    if low.opset - 1 >= 13:
        return low.add("Squeeze", x, low.const(list(axes), TensorProto.INT64))
    return low.add("Squeeze", x, axes=list(axes))


def reduce_mean(low: LowNode, x: str, axes: Sequence[int], keepdims: int = 1) -> str:
    """ReduceMean, as the lower operator set spells it."""
    if low.opset - 1 >= 18:
        chosen = low.const(list(axes), TensorProto.INT64)
        return low.add("ReduceMean", x, chosen, keepdims=keepdims)
    return low.add("ReduceMean", x, axes=list(axes), keepdims=keepdims)


def cut(low: LowNode, x: str, start: int, end: int, axis: int) -> str:
    """Slice along one axis as the lower operator set spells it."""
    if low.opset - 1 >= 10:
        return low.add("Slice", x, *(low.const([v], TensorProto.INT64) for v in (start, end, axis)))
    return low.add("Slice", x, starts=[start], ends=[end], axes=[axis])


def dims_of(low: LowNode, x: str, which: Sequence[int]) -> str:
    """The run-time sizes of some axes (counted from the front) as a 1-D int64 tensor."""
    return low.add("Gather", low.add("Shape", x), low.const(list(which), TensorProto.INT64), axis=0)


def counting(low: LowNode, size: str) -> str:
    """0, 1, ... size - 1 as a 1-D int64 tensor; ``size`` is an int64 tensor of shape (1,)."""
    if low.opset - 1 >= 11:
        zero, one = low.const(0, TensorProto.INT64), low.const(1, TensorProto.INT64)
        return low.add("Range", zero, squeeze(low, size, [0]), one)
    ones = low.add(
        "ConstantOfShape", size, value=helper.make_tensor("value", TensorProto.INT64, [1], [1])
    )
    return squeeze(low, low.add("NonZero", ones), [0])


def copies_zeros(low: LowNode, data: str, rank: int) -> str:
    """A tensor that Reshape gives sizes of zero, though a zero copies a size of the input.

    It gets the sizes (n, 0, 0, ...) if it is empty and (n, 1, 1, ...) if it is not.
    """
    if rank < 1:
        return data
    if rank == 1:
        return low.add("Reshape", data, low.const([-1], TensorProto.INT64))
    lined = low.add("Reshape", data, low.const([-1] + [1] * (rank - 1), TensorProto.INT64))
    count = low.add("Reshape", low.add("Size", data), low.const([1], TensorProto.INT64))
    ends = low.add("Concat", *[count] * (rank - 1), axis=0)
    starts = low.const([0] * (rank - 1), TensorProto.INT64)
    axes = low.const(list(range(1, rank)), TensorProto.INT64)
    return low.add("Slice", lined, starts, ends, axes)
