"""Steps at which an op kept its meaning and only took in more element types.

The list is written by hand, from what the texts of both versions say; a test compares the schemas.
Texts that differ, and why the meaning is the same:

- ConvTranspose 11: which side gets the odd pad with SAME_UPPER. The older text had a slip of the
  sign; it contradicted its own description of the attribute.
- Conv 11, LpPool 11, MaxPool 11, MaxUnpool 11: strides and dilations of 1 by default, which the
  older texts left out.
- Dropout 22: without ``ratio`` it is 0.5, as the older text said further down.
- Clip 13: ``max`` wins where ``min`` is greater, as min(max(...)) always did.
- Gather 13, Slice 13: the same in more words.
- Shape 19, Size 19 and later: any type in, int64 out.
- Upsample 10: the op was withdrawn.
"""

from __future__ import annotations

from onnx import NodeProto

from onnx_fix.lower.node import LowNode, Rule
from onnx_fix.lower.rules._steps import keep
from onnx_fix.lower.rules._types import unknown_types_fit

_ADDED_BFLOAT16 = {
    13: (
        *("Abs", "Add", "ArgMax", "ArgMin", "Ceil", "Clip", "Concat", "DepthToSpace", "Div"),
        *("Dropout", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather", "Gemm"),
        *("Greater", "Identity", "IsNaN", "LRN", "Less", "Log", "MatMul", "Max", "Mean", "Min"),
        *("Mul", "Neg", "NonZero", "Pow", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum"),
        *("ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"),
        *("ReduceSumSquare", "Relu", "Reshape", "Shape", "Sigmoid", "Sign", "Size", "Slice"),
        *("SpaceToDepth", "Sqrt", "Sub", "Sum", "Tanh", "Tile", "Transpose"),
    ),
    16: ("LeakyRelu", "PRelu", "Where"),
    22: (
        *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Conv"),
        *("ConvTranspose", "Cos", "Cosh", "Dropout", "Elu", "GlobalAveragePool", "GlobalLpPool"),
        *("GlobalMaxPool", "HardSigmoid", "InstanceNormalization", "LpNormalization", "LpPool"),
        *("Selu", "Sin", "Sinh", "Softplus", "Softsign", "Tan"),
    ),
    24: ("TopK",),
}

_ADDED_NARROW_TYPES = {
    "Equal": (19,),
    "Flatten": (21, 23, 24, 25),
    "Identity": (14, 16, 19, 21, 23, 24, 25),
    "Pad": (21, 23, 24, 25),
    "Reshape": (19, 21, 23, 24, 25),
    "Shape": (19, 21, 23, 24, 25),
    "Size": (19, 21, 23, 24, 25),
    "Squeeze": (21, 23, 24, 25),
    "Transpose": (21, 23, 24, 25),
    "Unsqueeze": (21, 23, 24, 25),
}
"""8-bit floats and integers below 8 bits; strings in Equal, sequences and optionals in Identity."""

_SAME_TYPES = {
    11: ("AveragePool", "Conv", "ConvTranspose", "LpPool", "MaxPool"),
    10: ("Upsample",),
}


def _same(low: LowNode) -> list[NodeProto]:
    unknown_types_fit(low)
    return keep(low, widen=True)


RULES: dict[tuple[str, int], Rule] = {
    **{(op, version): _same for version, ops in _ADDED_BFLOAT16.items() for op in ops},
    **{
        (op, version): _same for op, versions in _ADDED_NARROW_TYPES.items() for version in versions
    },
    **{(op, version): _same for version, ops in _SAME_TYPES.items() for op in ops},
}
