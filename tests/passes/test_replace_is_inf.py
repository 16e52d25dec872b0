"""replace-is-inf: what equals infinity."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.test_case import TestCase
from recorded import array

from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.replace_is_inf import ReplaceIsInf

PASS = ReplaceIsInf()
MOST = np.finfo(np.float32).max
VALUES = np.array([0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, MOST, -MOST, 1], np.float32)


def is_inf(dtype: str = "float", attributes: str = "", opset: int = 13, shape: str = "[N]") -> str:
    return f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g ({dtype}{shape} x) => (bool{shape} y) {{ y = IsInf {attributes} (x) }}"""


@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2", "trt-8.0", "trt-8.5"])
@pytest.mark.parametrize("opset", [10, 11, 20])
@pytest.mark.parametrize(
    ("attributes", "after"),
    [
        ("", ["Abs", "Equal"]),
        ("<detect_negative = 0>", ["Equal"]),
        ("<detect_positive = 0>", ["Equal"]),
        ("<detect_negative = 0, detect_positive = 0>", ["Less"]),
    ],
)
def test_float(attributes: str, after: list[str], opset: int, target: str) -> None:
    if opset < 11:
        other = "Less" if attributes == "<detect_positive = 0>" else "Greater"
        after = [other if op == "Equal" else op for op in after]
    fixed = assert_rewrites(
        PASS,
        is_inf(attributes=attributes, opset=opset),
        after=after,
        feeds=[{"x": VALUES[:n]} for n in (len(VALUES), 1, 0)],
        target=target,
    )
    view = Model(fixed, None, load_target(target))
    assert not any(s.refused(n) for s in view.scopes for n in s.graph.nodes)


def test_scalars() -> None:
    feeds = [{"x": v} for v in (np.array(1, np.float32), np.array(-np.inf, np.float32))]
    assert_rewrites(PASS, is_inf(shape=""), after=["Abs", "Equal"], feeds=feeds)


@pytest.mark.parametrize("attributes", ["", "<detect_negative = 0>", "<detect_positive = 0>"])
def test_half(attributes: str) -> None:
    text = is_inf("float16", attributes, 20)
    x = np.array([65504, -65504, np.inf, -np.inf, np.nan], np.float16)
    fixed, _ = run_pass(PASS, text)
    assert "IsInf" not in ops(fixed)
    assert_same_outputs(onnx.parser.parse_model(text), fixed, {"x": x}, reference=True)


def test_types_that_the_target_does_not_take() -> None:
    (reason,) = skip_reasons(PASS, is_inf("double"))
    assert "takes no Equal of DOUBLE either" in reason


def test_unknown_types_and_parameters() -> None:
    text = """<ir_version: 10, opset_import: ["" : 14, "my" : 1]>
    g (float[N] x) => (bool[N] y) { y = my.f <m = 1> (x) }
    <opset_import: ["" : 14], domain: "my"> """
    (reason,) = skip_reasons(PASS, text + "f <m> (a) => (b) { b = IsInf (a) }")
    assert "the element type is not known" in reason
    body = "f <m> (a) => (b) { b = IsInf <detect_negative: int = @m> (a) }"
    (reason,) = skip_reasons(PASS, text + body)
    assert "is a parameter of the enclosing function" in reason


def test_targets_that_have_it() -> None:
    assert skip_reasons(PASS, is_inf(), target="trt-8.6") == []


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, float[N] x) => (bool[N] y) {
      y = If (c) <
        then_branch = one () => (bool[N] t) { t = IsInf (x) },
        else_branch = two () => (bool[N] e) { e = IsInf <detect_negative = 0> (x) }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    for way in (True, False):
        feed = {"c": np.array(way), "x": VALUES}
        assert_same_outputs(onnx.parser.parse_model(text), fixed, feed)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or case.model.graph.node[0].op_type != "IsInf":
            continue
        fixed, _ = run_pass(PASS, case.model, target="trt-7.2")
        seen += "IsInf" not in ops(fixed)
        for given, wanted in case.data_sets or []:
            feeds = {"x": array(given[0])}
            np.testing.assert_array_equal(run_reference(fixed, feeds)[0], array(wanted[0]))
    assert seen >= 3
