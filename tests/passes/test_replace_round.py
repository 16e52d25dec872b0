"""replace-round: halves to the even neighbour."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.backend.test.case.test_case import TestCase
from recorded import assert_recorded

from onnx_fix.testing import assert_same_outputs, ops, run_model, run_pass, skip_reasons
from onnx_fix_passes.replace_round import ReplaceRound

PASS = ReplaceRound()
VALUES = [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -1.5, -2.5, 0.49, -0.51, 1e30, -1e30, 8388607.5]
VALUES += [np.inf, -np.inf, np.nan, 4194303.5, 0.49999997]


def rounded(dtype: str = "float", opset: int = 11, dims: str = "[N]") -> str:
    return f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g ({dtype}{dims} x) => ({dtype}{dims} y) {{ y = Round (x) }}"""


@pytest.mark.parametrize("opset", [11, 13, 22, 25])
def test_values(opset: int) -> None:
    model = onnx.parser.parse_model(rounded(opset=opset))
    fixed, _ = run_pass(PASS, model)
    assert "Round" not in ops(fixed) and "Floor" in ops(fixed)
    x = np.array(VALUES, np.float32)
    (want,), (have,) = run_model(model, {"x": x}), run_model(fixed, {"x": x})
    np.testing.assert_array_equal(have, want)
    np.testing.assert_array_equal(np.signbit(have), np.signbit(want))
    for n in (1, 0):
        assert_same_outputs(model, fixed, {"x": x[:n]})


@given(st.lists(st.floats(width=32) | st.integers(-40, 40).map(lambda k: k / 4), max_size=20))
@settings(max_examples=60, deadline=None)
def test_any_floats(values: list[float]) -> None:
    x = np.array(values, np.float32)
    (have,) = run_model(run_pass(PASS, rounded())[0], {"x": x})
    np.testing.assert_array_equal(have, np.round(x))


def test_half_precision_and_scalars() -> None:
    x = np.array([0.5, 1.5, -2.5, 3.25, 2047.5, 65504, -0.5], np.float16)
    (have,) = run_model(run_pass(PASS, rounded("float16"))[0], {"x": x})
    np.testing.assert_array_equal(have, np.round(x))
    scalar = onnx.parser.parse_model(rounded(dims=""))
    assert_same_outputs(scalar, run_pass(PASS, scalar)[0], {"x": np.array(-3.5, np.float32)})


def test_refusals() -> None:
    assert skip_reasons(PASS, rounded(), target="trt-8.2") == []
    assert "does not take 'x' for its type" in skip_reasons(PASS, rounded("double"))[0]
    untyped = """<ir_version: 10, opset_import: ["" : 14, "my" : 1]>
    g (float[N] x) => (float[N] y) { y = my.f (x) }
    <opset_import: ["" : 14], domain: "my"> f (a) => (b) { b = Round (a) }"""
    assert "element type of input 'a' is not known" in skip_reasons(PASS, untyped)[0]


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, float[N] x) => (float[N] y) {
      y = If (c) <
        then_branch = one () => (float[N] t) { t = Round (x) },
        else_branch = two () => (float[N] e) { e = Neg (x) }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch"}
    for way in (True, False):
        feed = {"c": np.array(way), "x": np.array(VALUES, np.float32)}
        assert_same_outputs(onnx.parser.parse_model(text), fixed, feed)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    changed, left = assert_recorded(PASS, node_cases, "trt-7.2", "Round")
    assert "test_round" in changed and not left
