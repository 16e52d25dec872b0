"""Opsets outside the documented range."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.model_checks.opset_range import BELOW_RANGE, OpsetRange

Run = Callable[..., list[CheckFinding]]


def model(body: str, opset: int) -> str:
    head = f'<ir_version: 8, opset_import: ["" : {opset}]>\n'
    return head + f"g (float[2,3] x) => (float[a,b] y) {{ {body} }}"


AXES = "k = Constant<value=int64[1]{1}>() y = ReduceMax(x, k)"


@pytest.mark.parametrize(
    ("body", "opset", "target", "op"),
    [
        (AXES, 18, "trt-8.6", "ReduceMax"),
        ("y = Softmax(x)", 13, "trt-7.2", "Softmax"),
        ("s = Shape<start=1>(x) y = Expand(x, s)", 15, "trt-8.2", "Shape"),
        ("y = Softmax<axis=0>(x)", 13, "trt-7.2", "Softmax"),
    ],
)
def test_a_node_that_is_newer(run: Run, body: str, opset: int, target: str, op: str) -> None:
    (found,) = run(OpsetRange, model(body, opset), target)
    assert found.code is OpsetRange.code and found.severity is Severity.WARNING
    assert f"'{op}'" in found.why and f"opset {opset}" in found.why


@pytest.mark.parametrize(
    ("body", "opset", "target"),
    [
        (AXES, 18, "trt-9.0"),
        ("y = Add(x, x)", 18, "trt-7.2"),
        ("y = Softmax<axis=-1>(x)", 13, "trt-7.2"),
        ("y = ReduceMax<axes=[1]>(x)", 17, "trt-8.6"),
        ("s = Shape<start=0>(x) y = Expand(x, s)", 15, "trt-8.2"),
        ("y = Softmax(x)", 11, "trt-7.2"),
    ],
)
def test_a_higher_number_alone_is_no_finding(run: Run, body: str, opset: int, target: str) -> None:
    assert run(OpsetRange, model(body, opset), target) == []


def test_releases_without_a_documented_maximum(run: Run) -> None:
    assert run(OpsetRange, model(AXES, 18), "trt-11.0") == []
    assert run(OpsetRange, model(AXES, 18), "rtx-1.7") == []


def test_older_than_the_range(run: Run) -> None:
    (found,) = run(OpsetRange, model("y = Neg(x)", 6), "trt-7.2")
    assert found.code is BELOW_RANGE and "at least opset 7" in found.message
    (found,) = run(OpsetRange, model("y = Neg(x)", 8), "trt-10.3")
    assert found.code is BELOW_RANGE and found.message == ""
    assert run(OpsetRange, model("y = Neg(x)", 7), "trt-9.3") == []


def test_inside_a_branch(run: Run) -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 13]>\n'
        "g (bool c, float[2] x) => (float[2] y) { y = If(c) <then_branch = t () => (float[2] o)"
        " { o = Softmax<axis=0>(x) }, else_branch = e () => (float[2] p) { p = Neg(x) }> }"
    )
    (found,) = run(OpsetRange, text, "trt-7.2")
    assert "'Softmax'" in found.why
