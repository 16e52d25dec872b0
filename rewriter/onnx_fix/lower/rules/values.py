"""Constant and Cast: values and conversions that other attributes spell."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, numpy_helper

from onnx_fix.lower.node import LowNode, Refused, Rule, make_attribute
from onnx_fix.lower.rules._steps import dtype_name, integer
from onnx_fix.lower.rules._types import allowed, type_name, types_fit

_LARGEST_DENSE = 1 << 20


def _constant(low: LowNode) -> list[NodeProto]:
    """A type that came later is refused, whether or not the type of the output is known."""
    types_fit(low)
    value = low.attr("value")
    if isinstance(value, TensorProto):
        _output_type(low, value.data_type)
    return low.result(low.copy())


def _output_type(low: LowNode, dtype: int) -> None:
    if type_name(dtype) not in allowed(low.op, low.opset - 1, True, 0):
        raise Refused(f"{low.op} makes no {dtype_name(dtype)} before opset {low.opset}")


def _constant_12(low: LowNode) -> list[NodeProto]:
    """Numbers and strings as a tensor."""
    for attribute in low.proto.attribute:
        name = attribute.name
        if not name.startswith("value_"):
            continue
        value = low.attr(name)
        output = low.proto.output[0]
        if (name == "value_string" and isinstance(value, str)) or (
            name == "value_strings" and isinstance(value, list)
        ):
            tensor = numpy_helper.from_array(np.asarray(value, object), output)
        else:
            kind = np.int64 if name.startswith("value_int") else np.float32
            tensor = numpy_helper.from_array(np.asarray(value, kind), output)
        return low.result(low.copy(drop=[name], value=tensor))
    return low.result(low.copy())


def _constant_11(low: LowNode) -> list[NodeProto]:
    """A sparse tensor is written out."""
    sparse = low.attr("sparse_value")
    if sparse is None:
        return low.result(low.copy())
    if not isinstance(sparse, onnx.SparseTensorProto):
        raise Refused("sparse_value is no sparse tensor")
    shape = tuple(sparse.dims)
    if int(np.prod(shape)) > _LARGEST_DENSE:
        raise Refused(f"the sparse tensor of shape {shape} is too large to be written out")
    values = np.asarray(numpy_helper.to_array(sparse.values))
    places = np.asarray(numpy_helper.to_array(sparse.indices)).astype(np.int64)
    dense = np.zeros(shape, values.dtype)
    if places.ndim == 1:
        dense.reshape(-1)[places] = values
    else:
        dense[tuple(places.T)] = values
    tensor = numpy_helper.from_array(dense, low.proto.output[0])
    return low.result(low.copy(drop=["sparse_value"], value=tensor))


def _cast(low: LowNode) -> list[NodeProto]:
    types_fit(low)
    if low.op == "Cast":
        _output_type(low, integer(low, "to", 0))
    return low.result(low.copy())


def _cast_to_float8(low: LowNode) -> list[NodeProto]:
    """``saturate`` and ``round_mode`` matter to 8-bit floats only."""
    new = "saturate" if low.opset == 19 else "round_mode"
    types_fit(low)
    if low.op == "Cast":
        _output_type(low, integer(low, "to", 0))
    return low.result(low.copy(drop=[new]))


def _cast_24(low: LowNode) -> list[NodeProto]:
    """Infinities became the largest value in 8-bit floats of which the older text says NaN."""
    fnuz = {TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2FNUZ}
    to = integer(low, "to", 0) if low.op == "Cast" else low.types(low.proto.output[0]).dtype
    if to in fnuz and integer(low, "saturate", 1):
        raise Refused(
            f"an infinity as {dtype_name(to)} is NaN before opset 24, and then its maximum"
        )
    return _cast_to_float8(low)


def _cast_like(low: LowNode) -> list[NodeProto]:
    """CastLike 15 did not exist: Cast to the type of the second input.

    Raises:
        Refused: that type is not known, or an 8-bit float.
    """
    to = low.dtype(1) or low.types(low.proto.output[0]).dtype
    if to is None:
        raise Refused(f"the element type of '{low.input(1)}' is not known")
    if type_name(to) not in allowed("Cast", low.opset - 1, True, 0):
        raise Refused(f"Cast makes no {dtype_name(to)} before opset {low.opset}")
    node = low.copy(op="Cast", inputs=[low.input(0)], drop=["saturate", "round_mode"])
    node.attribute.append(make_attribute("to", to))
    return low.result(node)


RULES: dict[tuple[str, int], Rule] = {
    **{("Constant", version): _constant for version in (13, 19, 21, 23, 24, 25)},
    ("Constant", 12): _constant_12,
    ("Constant", 11): _constant_11,
    **{("Cast", version): _cast for version in (13, 21, 23, 25, 28)},
    ("Cast", 19): _cast_to_float8,
    ("Cast", 24): _cast_24,
    **{("CastLike", version): _cast for version in (21, 23, 25)},
    ("CastLike", 19): _cast_to_float8,
    ("CastLike", 24): _cast_24,
    ("CastLike", 15): _cast_like,
}
