"""Operators that work element by element, with broadcasting or without."""

from __future__ import annotations

from onnx_fix.op_names import BROADCASTING
from onnx_fix.symbolic.size import size
from onnx_fix.symbolic.step import Shape, Step, normalized

_BROADCAST = (*BROADCASTING, "BitShift")

_SAME = (
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BatchNormalization",
    "Bernoulli",
    "BitwiseNot",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "CumSum",
    "DequantizeLinear",
    "Dropout",
    "Elu",
    "Erf",
    "Exp",
    "EyeLike",
    "Floor",
    "Gelu",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LRN",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MeanVarianceNormalization",
    "Mish",
    "Neg",
    "Not",
    "QuantizeLinear",
    "RMSNormalization",
    "RandomNormalLike",
    "RandomUniformLike",
    "Reciprocal",
    "Relu",
    "ReverseSequence",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Trilu",
    "ScatterElements",
    "ScatterND",
    "Scatter",
    "TensorScatter",
    "RotaryEmbedding",
    "ZerosLike",
)

_PER_CHANNEL = {
    "BatchNormalization": (1, 2, 3, 4),
    "InstanceNormalization": (1, 2),
    "GroupNormalization": (),
}
"""Inputs of one number per channel."""


def _broadcast(step: Step) -> list[Shape | None]:
    return [step.broadcast(*(step.shape(k) for k in range(len(step.node.inputs))))]


def _same(step: Step) -> list[Shape | None]:
    data = step.shape()
    for k in _PER_CHANNEL.get(step.node.op, ()):
        other = step.shape(k)
        if data is not None and other is not None and len(data) > 1 and len(other) == 1:
            step.same(data[1], other[0])
    return [data] * len(step.node.outputs)


def _layer_normalization(step: Step) -> list[Shape | None]:
    data = step.shape()
    if data is None:
        return []
    axis = normalized(step.number("axis", -1), len(data))
    for k in (1, 2):
        step.broadcast(data[axis:], step.shape(k))
    reduced = data[:axis] + (size(1),) * (len(data) - axis)
    return [data, reduced, reduced]


def _scatter(step: Step) -> list[Shape | None]:
    data, index, updates = step.shape(0), step.shape(1), step.shape(2)
    if step.node.op == "ScatterElements" and index is not None and updates is not None:
        for a, b in zip(index, updates, strict=False):
            step.same(a, b)
    elif step.node.op == "ScatterND" and data is not None and index and updates is not None:
        depth = step.hint(index[-1])
        if depth is not None:
            expected = (*index[:-1], *data[depth:])
            for a, b in zip(expected, updates, strict=False):
                step.same(a, b)
    return [data]


SHAPES = {
    **dict.fromkeys(_BROADCAST, _broadcast),
    **dict.fromkeys(_SAME, _same),
    "LayerNormalization": _layer_normalization,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
}
