"""Recurrent operators."""

from __future__ import annotations

from onnx_fix.symbolic.size import size
from onnx_fix.symbolic.step import Shape, Step

_STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}
"""The inputs that hold initial states."""


def _recurrent(step: Step) -> list[Shape | None]:
    data, weight = step.shape(0), step.shape(1)
    recurrence = step.shape(2)
    if data is None or weight is None or recurrence is None or len(data) != 3:
        return [step.opaque(k) for k in range(len(step.node.outputs))]
    step.same(data[2], weight[2])
    hidden = recurrence[2]
    directions = size(2 if step.text("direction", "forward") == "bidirectional" else 1)
    batch_first = bool(step.number("layout", 0))
    time, batch = (data[1], data[0]) if batch_first else (data[0], data[1])
    if step.has(4):
        lengths = step.shape(4)
        if lengths is not None and len(lengths) == 1:
            step.same(lengths[0], batch)
    state = (batch, directions, hidden) if batch_first else (directions, batch, hidden)
    for k in _STATES[step.node.op]:
        given = step.shape(k) if step.has(k) else None
        for a, b in zip(given or (), state, strict=False):
            step.same(a, b)
    if batch_first:
        out: Shape = (batch, time, directions, hidden)
    else:
        out = (time, directions, batch, hidden)
    return [out, state, state]


SHAPES = dict.fromkeys(_STATES, _recurrent)
