"""Graphs and functions inside each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from onnx import ModelProto
from onnx.parser import parse_model

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.nesting import Nesting

Run = Callable[..., list[CheckFinding]]


def branches(depth: int) -> ModelProto:
    body = "y0 = Neg(x)"
    for k in range(1, depth + 1):
        body = (
            f"y{k} = If(c) <then_branch = t{k} () => (float[2] y{k - 1}) {{ {body} }}, "
            f"else_branch = e{k} () => (float[2] z{k}) {{ z{k} = Abs(x) }}>"
        )
    head = '<ir_version: 8, opset_import: ["" : 13]>\n'
    return parse_model(head + f"g (bool c, float[2] x) => (float[2] y{depth}) {{ {body} }}")


def functions(depth: int) -> ModelProto:
    head = '<ir_version: 8, opset_import: ["" : 13, "my" : 1]>\n'
    text = head + "g (float[2] x) => (float[2] y) { y = my.f1(x) }\n"
    for k in range(1, depth + 1):
        inner = f"my.f{k + 1}(a)" if k < depth else "Neg(a)"
        text += f'<domain: "my", opset_import: ["" : 13, "my" : 1]> f{k} (a) => (b) '
        text += f"{{ b = {inner} }}\n"
    return parse_model(text)


@pytest.mark.parametrize("build", [branches, functions])
@pytest.mark.parametrize("target", ["trt-11.0", "trt-11.5", "rtx-1.7"])
def test_25_is_too_deep_since_11(run: Run, build: Callable[[int], ModelProto], target: str) -> None:
    (found,) = run(Nesting, build(25), target)
    assert found.severity is Severity.ERROR and "25 deep" in found.why
    assert "exceed the maximum allowed" in found.message
    assert run(Nesting, build(24), target) == []


def test_older_releases_do_not_count(run: Run) -> None:
    assert run(Nesting, branches(30), "trt-10.16") == []
