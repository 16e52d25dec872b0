"""replace-hardmax: the place of the greatest element."""

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
    run_pass,
    skip_reasons,
)
from onnx_fix_passes.replace_hardmax import ReplaceHardmax

PASS = ReplaceHardmax()


def hardmax(opset: int, axis: str, dims: str = "a, b, c", dtype: str = "float") -> str:
    return f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g ({dtype}[{dims}] x) => ({dtype}[{dims}] y) {{ y = Hardmax {axis} (x) }}"""


def numbers(*shape: int, dtype: type[np.generic] = np.float32) -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(-3, 3, shape).astype(dtype)


@pytest.mark.parametrize("opset", [9, 11, 12, 13, 25])
@pytest.mark.parametrize("axis", ["", "<axis = 0>", "<axis = 1>", "<axis = 2>", "<axis = -1>"])
@pytest.mark.parametrize("dims", ["a, b, c", "2, 3, 4"])
def test_axes(opset: int, axis: str, dims: str) -> None:
    if opset < 11 and "-" in axis:
        return
    model = onnx.parser.parse_model(hardmax(opset, axis, dims))
    fixed, _ = run_pass(PASS, model, target="trt-8.6")
    assert "Hardmax" not in ops(fixed) and "ArgMax" in ops(fixed)
    for shape in ((2, 3, 4), (1, 1, 1)):
        if dims == "2, 3, 4" and shape != (2, 3, 4):
            continue
        assert_same_outputs(model, fixed, {"x": numbers(*shape)})


def test_how_many_nodes() -> None:
    text = hardmax(13, "", "N, 4")
    feeds = [{"x": numbers(n, 4)} for n in (3, 1, 0)]
    assert_rewrites(PASS, text, after=["ArgMax", "Equal", "Cast"], feeds=feeds)


def test_refusals() -> None:
    assert skip_reasons(PASS, hardmax(13, "", "2, 3"), target="trt-10.3") == []
    (reason,) = skip_reasons(PASS, hardmax(13, "", dtype="double"))
    assert "does not take 'x' for its type" in reason
    unknown = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[N] x, int64[K] s) => (float y) { r = Reshape (x, s) y = Hardmax (r) }"""
    assert "rank or the element type" in skip_reasons(PASS, unknown)[0]
    function = """<ir_version: 10, opset_import: ["" : 14, "my" : 1]>
    g (float[N] x) => (float[N] y) { y = my.f <k = 0> (x) }
    <opset_import: ["" : 14], domain: "my"> f <k> (a) => (b) { b = Hardmax <axis: int = @k> (a) }"""
    assert "parameter of the enclosing function" in skip_reasons(PASS, function)[0]


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, float[N, 3] x) => (float[N, 3] y) {
      y = If (c) <
        then_branch = one () => (float[N, 3] t) { t = Hardmax (x) },
        else_branch = two () => (float[N, 3] e) { e = Hardmax <axis = 0> (x) }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    for way in (True, False):
        feed = {"c": np.array(way), "x": numbers(4, 3)}
        assert_same_outputs(onnx.parser.parse_model(text), fixed, feed)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    changed, left = assert_recorded(PASS, node_cases, "trt-7.2", "Hardmax")
    assert len(changed) == 7 and not left
