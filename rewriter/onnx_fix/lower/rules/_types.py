"""Which element types an op takes at the lower operator set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import onnx
from onnx import TensorProto, TypeProto
from onnx.defs import OpSchema

from onnx_fix.lower.node import LowNode, Refused
from onnx_fix.lower.rules._steps import dtype_name, schema_below

EXOTIC = (
    "bfloat16",
    "float8e4m3fn",
    "float8e4m3fnuz",
    "float8e5m2",
    "float8e5m2fnuz",
    "float8e8m0",
    "float6e2m3",
    "float6e3m2",
    "float4e2m1",
    "int4",
    "uint4",
    "int2",
    "uint2",
)
"""Element types that a tensor of unknown type is taken not to have."""


@cache
def allowed(op: str, opset: int, output: bool, index: int) -> frozenset[str]:
    """The types, spelled as in the schema, that an input or output of an op takes at ``opset``."""
    schema = onnx.defs.get_schema(op, opset, "")
    formals = schema.outputs if output else schema.inputs
    return frozenset(formals[min(index, len(formals) - 1)].types) if formals else frozenset()


def type_name(dtype: int) -> str:
    """An element type as schemas spell it, for example ``tensor(float16)``."""
    return f"tensor({dtype_name(dtype)})"


def takes(low: LowNode, dtype: int, index: int = 0) -> bool:
    """Whether the op takes an element type at an input at the lower operator set."""
    return type_name(dtype) in allowed(low.op, low.opset - 1, False, index)


def types_fit(low: LowNode) -> None:
    """Check that the lower schema takes the element types of the node.

    An unknown type passes where the lower schema lacks exotic types only: bfloat16, and floats and
    integers of at most 8 bits that no computation uses.

    Raises:
        Refused: it does not take a type, or may not.
    """
    below = schema_below(low)
    bound: dict[str, int] = {}
    for output, index, name, formal in _parameters(low, below):
        dtype = low.types(name).dtype
        variable = formal.type_str
        if dtype is None:
            if variable not in bound:
                _unknown_fits(low, output, index, name, formal)
            continue
        if type_name(dtype) not in formal.types:
            raise Refused(f"{low.op} takes no {dtype_name(dtype)} before opset {low.opset}")
        if "(" in variable or (_is_variadic(formal) and not formal.is_homogeneous):
            continue
        if bound.setdefault(variable, dtype) != dtype:
            raise Refused(
                f"{low.op} takes one element type {variable} before opset {low.opset}, not both "
                f"{dtype_name(bound[variable])} and {dtype_name(dtype)}"
            )


def unknown_types_fit(low: LowNode) -> None:
    """As ``types_fit``, of the tensors of unknown type alone.

    Raises:
        Refused: the lower schema may not take one.
    """
    below = schema_below(low)
    parameters = list(_parameters(low, below))
    known = {f.type_str for _, _, name, f in parameters if low.types(name).dtype is not None}
    for output, index, name, formal in parameters:
        if low.types(name).dtype is None and formal.type_str not in known:
            _unknown_fits(low, output, index, name, formal)


def _is_variadic(formal: OpSchema.FormalParameter) -> bool:
    return formal.option == OpSchema.FormalParameterOption.Variadic


def _parameters(
    low: LowNode, below: OpSchema
) -> Iterator[tuple[bool, int, str, OpSchema.FormalParameter]]:
    sides: tuple[tuple[bool, Sequence[str], Sequence[OpSchema.FormalParameter]], ...] = (
        (False, low.proto.input, below.inputs),
        (True, low.proto.output, below.outputs),
    )
    for output, names, formals in sides:
        for index, name in enumerate(names):
            if name and formals and (index < len(formals) or _is_variadic(formals[-1])):
                yield output, index, name, formals[min(index, len(formals) - 1)]


def _unknown_fits(
    low: LowNode, output: bool, index: int, name: str, formal: OpSchema.FormalParameter
) -> None:
    full = low.full(name)
    if full is not None and full.WhichOneof("value") in ("sequence_type", "optional_type"):
        spelled = _spelled(full)
        if spelled not in formal.types:
            raise Refused(f"{low.op} takes no {spelled} before opset {low.opset}")
        return
    gone = allowed(low.op, low.opset, output, index) - set(formal.types)
    strange = sorted(t for t in gone if not _is_exotic(t))
    if strange:
        raise Refused(
            f"the type of '{name}' is not known, and {low.op} takes no {', '.join(strange[:4])} "
            f"before opset {low.opset}"
        )


def _spelled(full: TypeProto) -> str:
    if full.WhichOneof("value") == "sequence_type":
        return f"seq({_spelled(full.sequence_type.elem_type)})"
    if full.WhichOneof("value") == "optional_type":
        return f"optional({_spelled(full.optional_type.elem_type)})"
    return type_name(full.tensor_type.elem_type)


def _is_exotic(name: str) -> bool:
    return any(f"({kind})" in name for kind in EXOTIC)


FLOATS: frozenset[int] = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE})
SMALL_INTEGERS: frozenset[int] = frozenset(
    {TensorProto.INT8, TensorProto.INT16, TensorProto.UINT8, TensorProto.UINT16}
)
INTEGERS: frozenset[int] = SMALL_INTEGERS | {
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.UINT32,
    TensorProto.UINT64,
}
WIDER_FLOAT: dict[int, int] = {
    **dict.fromkeys(SMALL_INTEGERS, TensorProto.FLOAT),
    TensorProto.INT32: TensorProto.DOUBLE,
    TensorProto.UINT32: TensorProto.DOUBLE,
}
"""The float type that holds every value of an integer type; int64 and uint64 have none."""
