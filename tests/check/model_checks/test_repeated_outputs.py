"""Outputs listed twice."""

from __future__ import annotations

from collections.abc import Callable

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.repeated_outputs import RepeatedOutputs

Run = Callable[..., list[CheckFinding]]
HEAD = '<ir_version: 8, opset_import: ["" : 13]>\n'


def test_one_warning_for_a_tensor_listed_twice(run: Run) -> None:
    model = HEAD + "g (float[2] x) => (float[2] y, float[2] z, float[2] y) { y, z = my.f(x) }"
    (found,) = run(RepeatedOutputs, model.replace("13]", '13, "my" : 1]'), "rtx-1.7")
    assert found.tensor == "y" and found.severity is Severity.WARNING
    assert "already set as network-level output" in found.message


def test_outputs_of_their_own(run: Run) -> None:
    model = HEAD + "g (float[2] x) => (float[2] y, float[2] z) { y = Neg(x) z = Identity(y) }"
    assert run(RepeatedOutputs, model) == []
