"""LayerNormalization and RMSNormalization in means, products and a square root.

Both are worked out in the type ``stash_type`` (float32 unless stated) and rounded once, before the
scale, as the ONNX operator reference writes them. Rounding only: the function bodies of the schema
take the variance as E[x^2] - E[x]^2 over a flattened tensor; here it is the mean of (x - mean)^2,
which loses less.
"""

from __future__ import annotations

from onnx import NodeProto, TensorProto

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._steps import integer, known_dtype, known_rank, reduce_mean


def _axes(low: LowNode) -> list[int]:
    axis = integer(low, "axis", -1)
    if axis >= 0:
        axis -= known_rank(low, 0)
        if axis >= 0:
            raise Refused("axis is not below the rank")
    return list(range(axis, 0))


def _scaled(low: LowNode, normal: str, stash: int, bias: str) -> list[NodeProto]:
    """Round, then scale and shift."""
    dtype = known_dtype(low, 0)
    if dtype != stash:
        normal = low.add("Cast", normal, to=dtype)
    if bias:
        normal = low.add("Mul", normal, low.input(1))
        return _ending(low, "Add", normal, bias)
    return _ending(low, "Mul", normal, low.input(1))


def _ending(low: LowNode, op: str, *inputs: str) -> list[NodeProto]:
    drop = [a.name for a in low.proto.attribute]
    return low.result(low.copy(op=op, inputs=inputs, outputs=low.proto.output[:1], drop=drop))


def _inverse_root(low: LowNode, square: str, axes: list[int], stash: int) -> str:
    epsilon = low.const(low.attr("epsilon", 1e-5), stash)  # type: ignore[arg-type]
    mean = reduce_mean(low, square, axes)
    return low.add("Reciprocal", low.add("Sqrt", low.add("Add", mean, epsilon)))


def _layer_normalization(low: LowNode) -> list[NodeProto]:
    """Y = (X - mean) / sqrt(variance + epsilon) * Scale + B, over the last axes."""
    stash, axes = integer(low, "stash_type", TensorProto.FLOAT), _axes(low)
    x = low.input(0) if known_dtype(low, 0) == stash else low.add("Cast", low.input(0), to=stash)
    mean = reduce_mean(low, x, axes)
    centred = low.add("Sub", x, mean)
    inverse = _inverse_root(low, low.add("Mul", centred, centred), axes, stash)
    for index, name in ((1, mean), (2, inverse)):
        wanted = low.proto.output[index] if index < len(low.proto.output) else ""
        if wanted:
            low.made.append(
                low.copy(
                    op="Identity",
                    inputs=[name],
                    outputs=[wanted],
                    drop=[a.name for a in low.proto.attribute],
                )
            )
            low.made[-1].name = ""
    return _scaled(low, low.add("Mul", centred, inverse), stash, low.input(2))


def _rms_normalization(low: LowNode) -> list[NodeProto]:
    """Y = X / sqrt(mean(X * X) + epsilon) * scale, over the last axes."""
    stash, axes = integer(low, "stash_type", TensorProto.FLOAT), _axes(low)
    x = low.input(0) if known_dtype(low, 0) == stash else low.add("Cast", low.input(0), to=stash)
    inverse = _inverse_root(low, low.add("Mul", x, x), axes, stash)
    return _scaled(low, low.add("Mul", x, inverse), stash, "")


RULES: dict[tuple[str, int], Rule] = {
    ("LayerNormalization", 17): _layer_normalization,
    ("RMSNormalization", 23): _rms_normalization,
}
