"""Softmax, LogSoftmax and Hardmax, which took several axes at once before opset 13.

Source of the facts: the ONNX operator reference. Before opset 13 the input is flattened to a matrix
at ``axis`` (default 1) and each row is normalised; from 13 on only ``axis`` (default -1) is.
"""

from __future__ import annotations

from dataclasses import replace

from onnx import NodeProto, TensorProto

from onnx_fix.lower.node import LowNode, Rule
from onnx_fix.lower.rules._steps import integer, keep, known_rank, schema_below


def _single_axis(low: LowNode) -> list[NodeProto]:
    """13 to 12: along the last axis both meanings are one, so another axis is moved there.

    Exact: each row of the matrix is then one vector along the axis.
    """
    axis = integer(low, "axis", -1)
    if axis == -1:
        return keep(low, widen=True, axis=-1)
    rank = known_rank(low, 0)
    schema_below(low)
    if axis % max(rank, 1) == rank - 1:
        return keep(low, widen=True, axis=-1)
    axis %= rank
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    output = low.proto.output[0]
    inside = low.fresh(f"{output}/last")
    moved = low.add("Transpose", low.input(0), perm=order)
    view = replace(low, proto=low.copy(), made=[])
    nodes = keep(view, widen=True, axis=-1)
    for node in nodes:
        node.name = ""
        node.input[:] = [moved if name == low.input(0) else name for name in node.input]
        node.output[:] = [inside if name == output else name for name in node.output]
    low.made.extend(nodes)
    back = low.copy(op="Transpose", inputs=[inside], drop=["axis"], perm=order)
    return low.result(back)


def _positive_axis(low: LowNode) -> list[NodeProto]:
    """11 to 10: the meaning is the same, but the axis could not be negative.

    Along the last axis of a tensor whose rank is not known it goes by way of a matrix.
    """
    axis = integer(low, "axis", 1)
    if axis != -1 or low.rank(0) is not None:
        return keep(low, axis=axis if axis >= 0 else axis + known_rank(low, 0))
    shape = low.add("Shape", low.input(0))
    minus, end = low.const([-1], TensorProto.INT64), low.const([2**31 - 1], TensorProto.INT64)
    last = low.add("Slice", shape, minus, end, low.const([0], TensorProto.INT64))
    matrix = low.add("Reshape", low.input(0), low.add("Concat", minus, last, axis=0))
    rows = low.add(low.op, matrix, axis=1)
    return low.result(low.copy(op="Reshape", inputs=[rows, shape], drop=["axis"]))


RULES: dict[tuple[str, int], Rule] = {
    (op, version): rule
    for op in ("Softmax", "LogSoftmax", "Hardmax")
    for version, rule in ((13, _single_axis), (11, _positive_axis))
}
