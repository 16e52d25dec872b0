"""replace-sign: two comparisons."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.test_case import TestCase
from recorded import assert_recorded

from onnx_fix.testing import assert_rewrites, assert_same_outputs, run_pass, skip_reasons
from onnx_fix_passes.replace_sign import ReplaceSign

PASS = ReplaceSign()
AFTER = ["Less", "Where", "Greater", "Where"]


def sign(dtype: str = "float", opset: int = 9, dims: str = "[N]") -> str:
    return f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g ({dtype}{dims} x) => ({dtype}{dims} y) {{ y = Sign (x) }}"""


@pytest.mark.parametrize(
    ("dtype", "kind"), [("float", np.float32), ("int32", np.int32), ("int64", np.int64)]
)
@pytest.mark.parametrize("opset", [9, 11, 13, 25])
def test_values(dtype: str, kind: type[np.generic], opset: int) -> None:
    values: list[float] = [0, 3, -3, 2**31 - 1, -(2**31)]
    if dtype == "float":
        values += [np.nan, np.inf, -np.inf, -0.0, 1e-45, -1e-45]
    x = np.array(values).astype(kind)
    feeds = [{"x": x[:n]} for n in (len(x), 1, 0)]
    assert_rewrites(PASS, sign(dtype, opset), after=AFTER, feeds=feeds)


def test_scalars_and_half_precision() -> None:
    scalar = onnx.parser.parse_model(sign(dims=""))
    assert_same_outputs(scalar, run_pass(PASS, scalar)[0], {"x": np.array(-3.5, np.float32)})
    half = onnx.parser.parse_model(sign("float16", 13))
    x = np.array([0, 6e-8, -2, np.inf], np.float16)
    assert_same_outputs(half, run_pass(PASS, half)[0], {"x": x})


def test_unsigned() -> None:
    model = onnx.parser.parse_model(sign("uint8", 13))
    always = ReplaceSign(everywhere=True)
    feed = {"x": np.array([0, 1, 255], np.uint8)}
    assert_rewrites(always, model, after=["Greater", "Cast"], feeds=[feed], target="trt-10.3")


def test_refusals() -> None:
    assert skip_reasons(PASS, sign(), target="trt-8.2") == []
    assert "does not take 'x' for its type" in skip_reasons(PASS, sign("double"))[0]
    untyped = """<ir_version: 10, opset_import: ["" : 14, "my" : 1]>
    g (float[N] x) => (float[N] y) { y = my.f (x) }
    <opset_import: ["" : 14], domain: "my"> f (a) => (b) { b = Sign (a) }"""
    assert "element type of its input is not known" in skip_reasons(PASS, untyped)[0]


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, float[N] x) => (float[N] y) {
      y = If (c) <
        then_branch = one () => (float[N] t) { t = Sign (x) },
        else_branch = two () => (float[N] e) { e = Neg (x) }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch"}
    for way in (True, False):
        feed = {"c": np.array(way), "x": np.array([-2, 0, 5], np.float32)}
        assert_same_outputs(onnx.parser.parse_model(text), fixed, feed)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    changed, left = assert_recorded(PASS, node_cases, "trt-7.2", "Sign")
    assert changed == ["test_sign"] and not left
