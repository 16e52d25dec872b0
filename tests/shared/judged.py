"""What a target says of all nodes of a model."""

from __future__ import annotations

from onnx import ModelProto

from onnx_fix.model import Model
from onnx_fix.target import load_target


def refused(model: ModelProto, target: str) -> list[str]:
    """The ops of the nodes that a target refuses, in execution order."""
    view = Model(model, None, load_target(target))
    return [n.op for s in view.scopes for n in s.graph.nodes if s.refused(n)]


def check_taken(model: ModelProto, target: str) -> None:
    """Every node is supported, and none in doubt."""
    view = Model(model, None, load_target(target))
    verdicts = [(n.op, s.judge(n)) for s in view.scopes for n in s.graph.nodes]
    assert not [v for v in verdicts if v[1].status != "supported"]
