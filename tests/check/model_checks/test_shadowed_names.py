"""Names of subgraphs that hide names outside."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.shadowed_names import ShadowedNames

Run = Callable[..., list[CheckFinding]]
HEAD = '<ir_version: 8, opset_import: ["" : 13]>\n'


def branches(then_name: str, else_name: str) -> str:
    return (
        HEAD + "g (bool c, float[2] x) => (float[2] y) { a = Relu(x) r = If(c) <then_branch = t () "
        f"=> (float[2] o) {{ {then_name} = Neg(x) o = Abs({then_name}) }}, else_branch = e () => "
        f"(float[2] p) {{ {else_name} = Exp(x) p = Abs({else_name}) }}> y = Add(r, a) }}"
    )


@pytest.mark.parametrize("target", ["trt-7.2", "trt-10.3"])
def test_a_name_of_the_graph_around(run: Run, target: str) -> None:
    (found,) = run(ShadowedNames, branches("a", "b"), target)
    assert found.severity is Severity.UNKNOWN
    assert (found.scope, found.tensor, found.op) == ("r/then_branch", "a", "Neg")


def test_both_branches_may_share_a_name(run: Run) -> None:
    assert run(ShadowedNames, branches("b", "b")) == []


def test_rtx_keeps_them_apart(run: Run) -> None:
    assert run(ShadowedNames, branches("a", "a"), "rtx-1.7") == []


def test_an_input_of_a_loop_body(run: Run) -> None:
    model = (
        HEAD + "g (int64 n, bool c, float[2] x) => (float[2] y) { y = Loop(n, c, x) <body = b "
        "(int64 i, bool k, float[2] STATE) => (bool l, float[2] s) "
        "{ l = Identity(k) s = Neg(STATE) }> }"
    )
    (found,) = run(ShadowedNames, model.replace("STATE", "x"))
    assert found.tensor == "x" and found.scope == "y/body"
    assert run(ShadowedNames, model.replace("STATE", "z")) == []
