"""replace-eye-like: ones on a diagonal."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.test_case import TestCase
from recorded import assert_recorded

from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes.replace_eye_like import ReplaceEyeLike

PASS = ReplaceEyeLike()


def eye(dims: str, attrs: str = "", opset: int = 11, dtype: str = "float", out: str = "") -> str:
    return f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g ({dtype}[{dims}] x) => ({out or dtype}[{dims}] y) {{ y = EyeLike {attrs} (x) }}"""


@pytest.mark.parametrize("k", [0, 1, -2, 9])
@pytest.mark.parametrize("opset", [9, 11, 13, 22])
@pytest.mark.parametrize("dims", ["N, M", "N, 4", "3, 4"])
def test_diagonals(k: int, opset: int, dims: str) -> None:
    model = onnx.parser.parse_model(eye(dims, f"<k = {k}>", opset))
    fixed, _ = run_pass(PASS, model)
    assert "EyeLike" not in ops(fixed)
    for shape in ((3, 4), (1, 4), (5, 1), (0, 4)):
        if ("N" not in dims and shape != (3, 4)) or (dims == "N, 4" and shape[1] != 4):
            continue
        assert_same_outputs(model, fixed, {"x": np.ones(shape, np.float32)})


@pytest.mark.parametrize("number", [1, 6, 7, 11])
def test_types(number: int) -> None:
    out = {1: "float", 6: "int32", 7: "int64", 11: "double"}[number]
    model = onnx.parser.parse_model(eye("N, 4", f"<dtype = {number}>", 13, "int32", out))
    feed = {"x": np.zeros((3, 4), np.int32)}
    assert_same_outputs(model, run_pass(PASS, model)[0], feed)


def test_how_many_nodes() -> None:
    feeds = [{"x": np.zeros((n, 4), np.float32)} for n in (3, 1, 0)]
    after = ["Shape", "Gather", "Squeeze", "Range", "Reshape", "Equal", "Cast"]
    assert_rewrites(PASS, eye("N, 4"), after=after, feeds=feeds)


def test_refusals() -> None:
    assert skip_reasons(PASS, eye("3, 4"), target="trt-8.6") == []
    function = """<ir_version: 10, opset_import: ["" : 14, "my" : 1]>
    g (float[N, N] x) => (float[N, N] y) { y = my.f <k = 1> (x) }
    <opset_import: ["" : 14], domain: "my"> f <k> (a) => (b) { b = EyeLike <k: int = @k> (a) }"""
    assert "parameter of the enclosing function" in skip_reasons(PASS, function)[0]
    untyped = function.replace("<k: int = @k>", "")
    assert "state dtype" in skip_reasons(PASS, untyped)[0]


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, float[N, M] x) => (float[N, M] y) {
      y = If (c) <
        then_branch = one () => (float[N, M] t) { t = EyeLike (x) },
        else_branch = two () => (float[N, M] e) { e = EyeLike <k = -1> (x) }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    for way, k in ((True, 0), (False, -1)):
        feed = {"c": np.array(way), "x": np.zeros((3, 4), np.float32)}
        np.testing.assert_array_equal(run_model(fixed, feed)[0], np.eye(3, 4, k))


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    changed, left = assert_recorded(PASS, node_cases, "trt-7.2", "EyeLike")
    assert len(changed) == 3 and not left
