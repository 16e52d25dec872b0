"""Inputs that nothing reads."""

from __future__ import annotations

from collections.abc import Callable

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.unused_inputs import UnusedInputs

Run = Callable[..., list[CheckFinding]]
HEAD = '<ir_version: 8, opset_import: ["" : 13]>\n'


def test_an_input_without_a_reader(run: Run) -> None:
    model = HEAD + "g (float[2] x, float[2] z) => (float[2] y) { y = Neg(x) }"
    (found,) = run(UnusedInputs, model, "rtx-1.7")
    assert found.tensor == "z" and found.severity is Severity.WARNING
    assert found.message == "Unused Input: z"
    (found,) = run(UnusedInputs, model, "trt-7.2")
    assert found.message == ""


def test_readers_in_branches_and_outputs_count(run: Run) -> None:
    model = HEAD + (
        "g (bool c, float[2] a, float[2] b, float[2] d) => (float[2] y, float[2] d) { y = If(c) <"
        "then_branch = t () => (float[2] o) { o = Neg(a) },"
        "else_branch = e () => (float[2] b) { q = Abs(a) }> }"
    )
    assert run(UnusedInputs, model) == []


def test_unread_initializers_are_no_inputs(run: Run) -> None:
    model = (
        '<ir_version: 3, opset_import: ["" : 9]>\n'
        "g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Neg(x) }"
    )
    assert run(UnusedInputs, model) == []
