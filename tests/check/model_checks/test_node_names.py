"""Nodes that share a name."""

from __future__ import annotations

from collections.abc import Callable

from onnx.parser import parse_model

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.node_names import NodeNames

Run = Callable[..., list[CheckFinding]]
MODEL = (
    '<ir_version: 8, opset_import: ["" : 13]> g (bool c, float[2] x) => (float[2] y)'
    " { a = Neg(x) k = Constant<value=float{1.0}>() y = If(c) <then_branch = t () => (float[2] o)"
    " { o = Neg(a) }, else_branch = e () => (float[2] p) { p = Abs(a) }> }"
)


def test_a_name_used_twice_is_one_warning(run: Run) -> None:
    model = parse_model(MODEL)
    model.graph.node[0].name = "n"
    model.graph.node[2].attribute[0].g.node[0].name = "n"
    model.graph.node[2].attribute[1].g.node[0].name = "n"
    (found,) = run(NodeNames, model)
    assert found.severity is Severity.WARNING and found.node == "n"
    assert "3 nodes are called 'n'" in found.why and found.message == ""
    (found,) = run(NodeNames, model, "rtx-1.7")
    assert "A node named n already exists" in found.message


def test_no_name_names_of_their_own_and_constants(run: Run) -> None:
    model = parse_model(MODEL)
    assert run(NodeNames, model) == []
    model.graph.node[0].name = model.graph.node[1].name = "n"
    assert run(NodeNames, model) == []
