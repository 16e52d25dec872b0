"""RNN, GRU and LSTM: before opset 14 the time axis came first (layout 0).

Shapes in layout 0: X (time, batch, input), initial and last states (directions, batch, hidden),
Y (time, directions, batch, hidden); in layout 1 the batch axis is the first of each. Source: the
ONNX operator reference.
"""

from __future__ import annotations

from onnx import NodeProto, helper

from onnx_fix.lower.node import LowNode, Rule
from onnx_fix.lower.rules._steps import integer, keep, same

_STATES = {"RNN": (5,), "GRU": (5,), "LSTM": (5, 6)}
_BATCH_SECOND = [1, 0, 2]


def _time_first(low: LowNode) -> list[NodeProto]:
    """14 to 7: transpose what goes in and out where the layout is 1."""
    if integer(low, "layout", 0) == 0:
        return keep(low, drop=["layout"])
    inputs = list(low.proto.input)
    for index in (0, *_STATES[low.op]):
        if low.input(index):
            inputs[index] = low.add("Transpose", inputs[index], perm=_BATCH_SECOND)
    after = []
    outputs = list(low.proto.output)
    for index, name in enumerate(outputs):
        if name:
            outputs[index] = low.fresh(f"{name}/time_first")
            perm = [2, 0, 1, 3] if index == 0 else _BATCH_SECOND
            after.append(helper.make_node("Transpose", [outputs[index]], [name], perm=perm))
    node = low.copy(inputs=inputs, outputs=outputs, drop=["layout"])
    return [*low.made, node, *after]


RULES: dict[tuple[str, int], Rule] = {
    (op, version): rule
    for op in ("RNN", "GRU", "LSTM")
    for version, rule in ((22, same(widen=True)), (14, _time_first))
}
