"""QuantizeLinear and DequantizeLinear: before opset 21 without blocks, before 13 without an axis,
before 10 not at all.

Where the older op lacks what is asked, it is written as its formula (ONNX operator reference):
``saturate(round(x / scale) + zero point)`` and ``(x - zero point) * scale``, in the types and the
order that the reference states. Exact up to the rounding of kernels that divide in another type.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._steps import (
    counting,
    dims_of,
    dtype_name,
    integer,
    keep,
    known_dtype,
    known_rank,
    same,
    squeeze,
    unsqueeze,
)
from onnx_fix.lower.rules.arithmetic import round_even

_FLOAT = int(TensorProto.FLOAT)
_EIGHT = {TensorProto.UINT8, TensorProto.INT8}
_SIXTEEN = {TensorProto.UINT16, TensorProto.INT16}
_HALF = {TensorProto.FLOAT16, TensorProto.BFLOAT16}


def cast(low: LowNode, x: str, have: int, want: int) -> str:
    """The tensor in another element type, itself where it has that."""
    return x if have == want else low.add("Cast", x, to=want)


def saturated(low: LowNode, x: str, dtype: int) -> str:
    """A float32 tensor of integers clipped to what an integer type holds, and cast to it."""
    info = np.iinfo(helper.tensor_dtype_to_np_dtype(dtype))
    if low.opset - 1 >= 11:
        ends = (low.const(end, _FLOAT) for end in (info.min, info.max))
        return low.add("Cast", low.add("Clip", x, *ends), to=dtype)
    return low.add("Cast", low.add("Clip", x, min=float(info.min), max=float(info.max)), to=dtype)


def _blocked(low: LowNode) -> bool:
    return integer(low, "block_size", 0) != 0


def _per_tensor(low: LowNode) -> bool:
    shape = low.types(low.input(1)).shape
    if shape is None:
        raise Refused(f"the rank of the scale '{low.input(1)}' is not known")
    return shape in ((), (1,))


def _spread(low: LowNode, scale: str) -> str:
    """A scale or zero point in a shape that broadcasts to the data."""
    if _per_tensor(low):
        return squeeze(low, scale, [0]) if low.rank(1) == 1 else scale
    rank = known_rank(low, 0)
    axis = integer(low, "axis", 1) % rank
    if not _blocked(low):
        trailing = list(range(1, rank - axis))
        return unsqueeze(low, scale, trailing) if trailing else scale
    size, block = (low.types(low.input(0)).shape or ())[axis], integer(low, "block_size", 0)
    if isinstance(size, int):
        places = low.const([k // block for k in range(size)], TensorProto.INT64)
    else:
        run_time = counting(low, dims_of(low, low.input(0), [axis]))
        places = low.add("Div", run_time, low.const(block, TensorProto.INT64))
    return low.add("Gather", scale, places, axis=axis)


def _target(low: LowNode) -> int:
    """The element type that QuantizeLinear gives."""
    if low.input(2):
        return known_dtype(low, 2)
    return integer(low, "output_dtype", 0) or int(TensorProto.UINT8)


def _quantized(low: LowNode) -> list[NodeProto]:
    """saturate(round(x / scale) + zero point); the division in the type of the scale."""
    target, scale_type = _target(low), known_dtype(low, 1)
    if target not in _EIGHT | _SIXTEEN:
        raise Refused(
            f"QuantizeLinear to {dtype_name(target)} has no equivalent before opset {low.opset}"
        )
    work = integer(low, "precision", 0) or scale_type
    if work not in {_FLOAT, *_HALF} or (work == TensorProto.BFLOAT16 and low.opset <= 13):
        raise Refused(
            f"QuantizeLinear that divides in {dtype_name(work)} has no equivalent before "
            f"opset {low.opset}"
        )
    x = cast(low, low.input(0), known_dtype(low, 0), work)
    scale = _spread(low, cast(low, low.input(1), scale_type, work))
    ratio = cast(low, low.add("Div", x, scale), work, _FLOAT)
    value = round_even(low, ratio, _FLOAT)
    if low.input(2):
        zero = _spread(low, low.add("Cast", low.input(2), to=_FLOAT))
        value = low.add("Add", value, zero)
    return low.result(saturated(low, value, target))


def _dequantized(low: LowNode) -> list[NodeProto]:
    """(x - zero point) * scale; the difference is exact, the product in the output type."""
    source, scale_type = known_dtype(low, 0), known_dtype(low, 1)
    if source not in _EIGHT | _SIXTEEN | {TensorProto.INT32}:
        raise Refused(
            f"DequantizeLinear of {dtype_name(source)} has no equivalent before opset {low.opset}"
        )
    work = integer(low, "output_dtype", 0) or scale_type
    if work not in {_FLOAT, *_HALF} or (work == TensorProto.BFLOAT16 and low.opset <= 13):
        raise Refused(
            f"DequantizeLinear to {dtype_name(work)} has no equivalent before opset {low.opset}"
        )
    data = low.input(0)
    if low.input(2) and source == TensorProto.INT32:
        known = low.value(low.input(2))
        if known is None or known.any():  # ought to be zero, and runtimes subtract it
            data = low.add("Sub", data, _spread(low, low.input(2)))
    value = low.add("Cast", data, to=_FLOAT)
    if low.input(2) and source != TensorProto.INT32:
        zero = _spread(low, low.add("Cast", low.input(2), to=_FLOAT))
        value = low.add("Sub", value, zero)
    scale = _spread(low, cast(low, low.input(1), scale_type, work))
    node = low.copy(
        op="Mul",
        inputs=[cast(low, value, _FLOAT, work), scale],
        drop=[a.name for a in low.proto.attribute],
    )
    return low.result(node)


def _formula(low: LowNode) -> list[NodeProto]:
    return _quantized(low) if low.op == "QuantizeLinear" else _dequantized(low)


def _one_type(low: LowNode) -> list[NodeProto]:
    """23 to 21: the types of data, scale and product could not differ."""
    scale = known_dtype(low, 1)
    stated = integer(low, "precision" if low.op == "QuantizeLinear" else "output_dtype", 0)
    if stated not in (0, scale):
        return _formula(low)
    if low.op == "DequantizeLinear":
        return keep(low, drop=["output_dtype"])
    if known_dtype(low, 0) not in (scale, TensorProto.INT32):
        return _formula(low)
    return keep(low, drop=["precision"])


def _no_blocks(low: LowNode) -> list[NodeProto]:
    """21 to 19: blocks, 16 bits and the attribute for the output type were added."""
    dtype = _target(low) if low.op == "QuantizeLinear" else known_dtype(low, 0)
    unsaid = low.op == "QuantizeLinear" and not low.input(2) and dtype != TensorProto.UINT8
    if _blocked(low) or dtype in _SIXTEEN or (unsaid and dtype in _EIGHT):
        return _formula(low)
    if unsaid:
        raise Refused(f"QuantizeLinear to {dtype_name(dtype)} needs a zero point before opset 21")
    return keep(low, drop=["block_size", "output_dtype"])


def _float32_scale(low: LowNode) -> list[NodeProto]:
    """19 to 13: half precision and 8-bit floats were added."""
    if known_dtype(low, 1) in _HALF or low.dtype(0) in _HALF:
        return _formula(low)
    return keep(low, drop=["saturate"])


def _one_scale(low: LowNode) -> list[NodeProto]:
    """13 to 10: one scale for the whole tensor."""
    if not _per_tensor(low):
        return _formula(low)
    if low.rank(1) == 0:
        return keep(low, drop=["axis"])
    inputs = [low.input(0), squeeze(low, low.input(1), [0])]
    if low.input(2):
        inputs.append(squeeze(low, low.input(2), [0]))
    return low.result(low.copy(inputs=inputs, drop=["axis"]))


_STEPS = {
    28: same(),
    25: same(),
    24: same(),
    23: _one_type,
    21: _no_blocks,
    19: _float32_scale,
    13: _one_scale,
    10: _formula,
}

RULES: dict[tuple[str, int], Rule] = {
    (op, version): rule
    for op in ("QuantizeLinear", "DequantizeLinear")
    for version, rule in _STEPS.items()
}
