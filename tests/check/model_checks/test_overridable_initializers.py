"""Inputs with a default value."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.overridable_initializers import OverridableInitializers

Run = Callable[..., list[CheckFinding]]


def model(ir_version: int, inputs: str) -> str:
    head = f'<ir_version: {ir_version}, opset_import: ["" : 9]>\n'
    return head + f"g ({inputs}) => (float[2] y) <float[2] w = {{1, 2}}> {{ y = Add(x, w) }}"


@pytest.mark.parametrize("target", ["trt-7.2", "rtx-1.7"])
def test_the_default_is_fixed(run: Run, target: str) -> None:
    (found,) = run(OverridableInitializers, model(4, "float[2] x, float[2] w"), target)
    assert found.severity is Severity.WARNING and found.tensor == "w" and "'w'" in found.why


def test_before_ir_4_it_is_the_only_way_to_write_it(run: Run) -> None:
    assert run(OverridableInitializers, model(3, "float[2] x, float[2] w")) == []


def test_an_initializer_that_is_no_input(run: Run) -> None:
    assert run(OverridableInitializers, model(8, "float[2] x")) == []
