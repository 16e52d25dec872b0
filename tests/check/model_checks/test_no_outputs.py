"""Models without an output."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.no_outputs import NoOutputs

Run = Callable[..., list[CheckFinding]]
HEAD = '<ir_version: 8, opset_import: ["" : 13]>\n'


@pytest.mark.parametrize("target", ["trt-7.2", "trt-11.5", "rtx-1.7"])
def test_the_builder_refuses(run: Run, target: str) -> None:
    (found,) = run(NoOutputs, HEAD + "g (float[2] x) => () { y = Neg(x) }", target)
    assert found.severity is Severity.ERROR
    assert found.message == "Network must have at least one output"


def test_one_output_is_enough(run: Run) -> None:
    assert run(NoOutputs, HEAD + "g (float[2] x) => (float[2] y) { y = Neg(x) }") == []
