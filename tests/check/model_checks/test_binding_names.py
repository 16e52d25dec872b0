"""Names that the command line cannot take."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from onnx.parser import parse_model

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.binding_names import BindingNames

Run = Callable[..., list[CheckFinding]]


def named(run: Run, name: str, size: str = "N", target: str = "trt-8.6") -> list[CheckFinding]:
    head = '<ir_version: 8, opset_import: ["" : 13]>\n'
    model = parse_model(head + f"g (float[{size}] x) => (float[{size}] y) {{ y = Neg(x) }}")
    model.graph.input[0].name = model.graph.node[0].input[0] = name
    return run(BindingNames, model, target)


@pytest.mark.parametrize(("name", "what"), [("a,b", "a comma"), ("it's", "a quote")])
def test_separators_in_a_name(run: Run, name: str, what: str) -> None:
    (found,) = named(run, name)
    assert found.severity is Severity.WARNING and found.tensor == name and what in found.why
    (found,) = named(run, name, target="rtx-1.7")
    assert "tensorrt_rtx" in found.why


@pytest.mark.parametrize("name", ["input:0", "a/b.c", "x1x2", "with space"])
def test_what_the_option_parser_takes(run: Run, name: str) -> None:
    assert named(run, name) == []


def test_a_static_input_needs_no_option(run: Run) -> None:
    assert named(run, "a,b", size="2") == []
