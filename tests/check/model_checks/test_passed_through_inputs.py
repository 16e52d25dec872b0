"""Inputs that are outputs."""

from __future__ import annotations

from collections.abc import Callable

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.passed_through_inputs import PassedThroughInputs

Run = Callable[..., list[CheckFinding]]
HEAD = '<ir_version: 8, opset_import: ["" : 13]>\n'


def test_the_input_gets_another_name(run: Run) -> None:
    model = HEAD + "g (float[2] x) => (float[2] y, float[2] x) { y = Neg(x) }"
    (found,) = run(PassedThroughInputs, model, "rtx-1.7")
    assert found.severity is Severity.WARNING and found.evidence == "probe"
    assert "'__x'" in found.why
    (found,) = run(PassedThroughInputs, model, "trt-8.6")
    assert found.evidence == "inferred"


def test_an_identity_or_an_initializer_in_between(run: Run) -> None:
    model = HEAD + "g (float[2] x) => (float[2] y) { y = Identity(x) }"
    assert run(PassedThroughInputs, model) == []
    model = HEAD + "g (float[2] x) => (float[2] w) <float[2] w = {1, 2}> { y = Neg(x) }"
    assert run(PassedThroughInputs, model) == []
