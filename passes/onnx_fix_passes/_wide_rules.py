"""What is in the way of carrying the values around a node in another element type."""

from __future__ import annotations

from collections.abc import Container

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.scope import Scope, attribute, has_unresolved, is_standard
from onnx_fix_passes._wide_bounds import bounds
from onnx_fix_passes._wide_floats import FORMATS
from onnx_fix_passes._wide_types import NARROW, RANGES, Carrier, name_of

BODIES = frozenset({"If", "Loop", "Scan"})
"""Ops with graphs inside, whose inputs and outputs have the types of the node's."""

MOVES = frozenset(
    {
        "CenterCropPad",
        "Compress",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "DepthToSpace",
        "Expand",
        "EyeLike",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "NonZero",
        "Pad",
        "Reshape",
        "ReverseSequence",
        "Scatter",
        "Shape",
        "Size",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "TensorScatter",
        "Tile",
        "Transpose",
        "Trilu",
        "Unsqueeze",
        "Where",
        *BODIES,
    }
)
"""Ops that make no numbers of their own."""

SCATTERS = frozenset({"ScatterElements", "ScatterND"})

ORDER = frozenset(
    {
        "ArgMax",
        "ArgMin",
        "Clip",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "Max",
        "Min",
        "ReduceMax",
        "ReduceMin",
        "TopK",
    }
)
"""Ops that compare, and give one of the numbers or a place."""

WRAPS = frozenset(
    {
        "Abs",
        "Add",
        "CumSum",
        "Div",
        "Mul",
        "Neg",
        "ReduceL1",
        "ReduceSum",
        "ReduceSumSquare",
        "Sub",
    }
)
"""Ops whose result may leave the range of its type, and then starts again at the other end."""

STAYS = frozenset(
    {"BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Mod", "OneHot", "Pow", "Range", "Relu"}
    | {"Sign"}
)
"""Ops whose result stays in the range of its type, or is of another type."""

THROUGH_FLOAT = frozenset({"MaxPool", "Resize"})
"""Ops that ONNX does not define for the carrier, or that hardly any release computes in it."""

OF_BITS = frozenset(
    MOVES
    | SCATTERS
    | (ORDER - {"Clip"})
    | {"Add", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "CumSum", "Equal"}
    | {"Div", "Mod", "Mul", "Sub"}
)
"""Ops on which the bits of an unsigned number in a signed one give the right bits. Reductions are
none: onnxruntime does not let sums of INT32 start again at the other end."""

FLOAT_MOVES = frozenset({"Abs", "Ceil", "Equal", "Floor", "IsNaN", "Neg", "Relu", "Round", "Sign"})

HOLDERS = frozenset(MOVES | ORDER | FLOAT_MOVES)
"""Ops that give the same numbers in a wider or narrower float type that holds their inputs."""

CASTS = frozenset({"BitCast", "Cast", "CastLike"})
"""Conversions; BitCast between integers of the same width is one that keeps all bits."""

_NO_FLOAT_RULE = frozenset(
    {
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
        "Range",
    }
)
"""Ops on quantized numbers or bits, and one that makes more or fewer numbers where it rounds."""

_EXACT_THROUGH_FLOAT = 1 << 24

_HELD: dict[int, frozenset[int]] = {}


def held_by(dtype: int) -> frozenset[int]:
    """The types all of whose numbers a float type holds."""
    if not _HELD:
        t = TensorProto
        small = {int(x) for x in (t.BOOL, t.INT8, t.UINT8, t.INT4, t.UINT4, t.INT2, t.UINT2)}
        small |= NARROW
        _HELD[int(t.BFLOAT16)] = frozenset(small | {int(t.BFLOAT16)})
        more = {int(x) for x in (t.FLOAT, t.FLOAT16, t.BFLOAT16, t.INT16, t.UINT16, t.DOUBLE)}
        _HELD[int(t.DOUBLE)] = frozenset(small | more)
    return _HELD.get(dtype, frozenset({dtype}))


def converts(scope: Scope, node: gs.Node, carrier: Carrier, members: Container[int]) -> bool:
    """Whether a node is a Cast out of the type, or one into it that rounds nothing."""
    if node.op not in CASTS:
        return False
    if id(node.outputs[0]) not in members:
        return True
    return scope.dtype(node.inputs[0]) in held_by(carrier.was)


def holds(scope: Scope, tensor: gs.Tensor) -> bool:
    """Whether FLOAT holds every number of a constant; False where that takes reading much."""
    value = scope.constant(tensor)
    if value is None:
        return False
    wide = value.astype(np.float64)
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32).astype(np.float64)
    return bool(np.array_equal(narrow, wide, equal_nan=True))


def obstacle(scope: Scope, node: gs.Node, carrier: Carrier, members: Container[int]) -> str:
    """Why the values of a group cannot be carried at a node, or nothing."""
    if not is_standard(node):
        return f"what {node.domain}::{node.op} does with another element type is not known"
    if has_unresolved(node, *node.attrs):
        return "an attribute is a parameter of the enclosing function; inline it first"
    was = name_of(carrier.was)
    if node.op not in BODIES | CASTS:
        unknown = next(
            (t for t in (*node.inputs, *node.outputs) if t.name and scope.dtype(t) is None), None
        )
        if unknown is not None:
            return f"the element type of '{unknown.name}' is not known"
    if node.op in CASTS:
        return _cast_obstacle(scope, node, carrier, members)
    if carrier.is_float:
        moved = node.op in MOVES
        fits = moved if carrier.was in NARROW else node.op not in _NO_FLOAT_RULE
        return "" if fits else f"{node.op} is not written for {was} in {name_of(carrier.to)}"
    if carrier.bits:
        reduced = node.op in SCATTERS and attribute(node, "reduction", str) in ("min", "max")
        fits = node.op in OF_BITS and not reduced
        to = name_of(carrier.to)
        return "" if fits else f"{node.op} of {was} is not exact on its bits in {to}"
    if node.op in THROUGH_FLOAT:
        return _float_obstacle(node, carrier)
    if node.op in MOVES | ORDER | WRAPS | STAYS | SCATTERS | {"BitShift", "BitwiseNot"}:
        return ""
    return f"{node.op} is not written for {was} in {name_of(carrier.to)}"


def _float_obstacle(node: gs.Node, carrier: Carrier) -> str:
    if carrier.span > _EXACT_THROUGH_FLOAT:
        return f"FLOAT, which {node.op} needs, does not hold the values of {name_of(carrier.was)}"
    if node.op == "Resize" and attribute(node, "mode", str, "nearest") != "nearest":
        return "what a Resize between integers rounds to is not defined; cast to FLOAT before it"
    return ""


def _cast_obstacle(scope: Scope, node: gs.Node, carrier: Carrier, members: Container[int]) -> str:
    given, made = scope.dtype(node.inputs[0]), scope.dtype(node.outputs[0])
    if given is None or made is None:
        return "the element types of the conversion are not known"
    was = name_of(carrier.was)
    string = int(TensorProto.STRING)
    if string in (given, made):
        return f"no release converts between {was} and STRING"
    into, out_of = id(node.outputs[0]) in members, id(node.inputs[0]) in members
    if into and out_of:
        return ""
    if node.op == "BitCast" and not {given, made} <= RANGES.keys():
        return "BitCast of floats needs bits that no op gives"
    if carrier.was in NARROW and into and given not in held_by(carrier.was):
        narrow = held_by(TensorProto.DOUBLE) - {int(TensorProto.DOUBLE)}
        if carrier.was not in FORMATS or given not in narrow:
            return f"rounding from {name_of(given)} to {was} is not written in other ops"
    if carrier.bits:
        other = given if into else made
        if other in RANGES and (into or _fits_bits(other, carrier)):
            return ""
        known = bounds(scope, node.inputs[0])
        if known is None or known[0] < 0 or known[1] >= carrier.span // 2:
            return f"a conversion between {was} and {name_of(other)} is not exact on the bits"
    return ""


def _fits_bits(other: int, carrier: Carrier) -> bool:
    """Whether an integer type is as narrow as the bits, so that a conversion only drops some."""
    low, high = RANGES[other]
    return high - low < carrier.span
