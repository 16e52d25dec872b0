"""expand-dynamic-quantize-linear: scale, zero point and integers by their definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from quantized_cases import TARGETS, exactness, model, refused_ops

from onnx_fix.testing import assert_rewrites, assert_same_outputs, ops, run_model, run_pass
from onnx_fix_passes.expand_dynamic_quantize_linear import ExpandDynamicQuantizeLinear

PASS = ExpandDynamicQuantizeLinear()
TEXT = "(float[N, M] x) => (uint8[N, M] y, float s, uint8 z) { y, s, z = DynamicQuantizeLinear(x) }"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("opset", [11, 13, 18, 21])
def test_numbers(target: str, opset: int) -> None:
    before = model(TEXT, opset)
    fixed, results = run_pass(PASS, before, target=target)
    assert exactness(results) == {"EXACT"} and "DynamicQuantizeLinear" not in ops(fixed)
    assert_rewrites(PASS, before, after=ops(fixed), target=target)
    random = np.random.default_rng(1)
    for shape, low, high in (((3, 4), -1, 1), ((1, 1), 2, 3), ((5, 2), -7, -3), ((2, 2), 0, 1e-30)):
        x = random.uniform(low, high, shape).astype(np.float32)
        assert_same_outputs(before, fixed, {"x": x})
    assert_same_outputs(before, fixed, {"x": np.zeros((2, 3), np.float32)})


@pytest.mark.parametrize("target", ["trt-8.6", "trt-10.3", "rtx-1.7"])
def test_nothing_is_refused(target: str) -> None:
    fixed, _ = run_pass(PASS, model(TEXT), target=target)
    assert refused_ops(fixed, target) == []


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_any_numbers(values: list[float]) -> None:
    before = model(TEXT)
    x = np.array([values], np.float32)
    if 0 < np.ptp([*values, 0.0]) < 1e-30:
        return
    for target in ("trt-7.2", "trt-8.6"):
        assert_same_outputs(before, run_pass(PASS, before, target=target)[0], {"x": x})


def test_outputs_that_nobody_reads() -> None:
    before = model("(float[N] x) => (float s) { y, s, z = DynamicQuantizeLinear(x) }")
    fixed, _ = run_pass(PASS, before, target="trt-8.6")
    assert "DynamicQuantizeLinear" not in ops(fixed)
    assert_same_outputs(before, fixed, {"x": np.array([1, 2, -3], np.float32)})


def test_bodies() -> None:
    before = model(
        """(bool c, float[N] x) => (uint8[N] y) {
        y = If (c) <then_branch = one () => (uint8[N] t) { t, s, z = DynamicQuantizeLinear (x) },
                    else_branch = two () => (uint8[N] e) { e = Cast <to = 2> (x) }> }"""
    )
    fixed, results = run_pass(PASS, before, target="trt-8.6")
    assert [c.scope for r in results for c in r.changes] == ["y/then_branch"]
    feed = {"c": np.array(True), "x": np.array([1, 2, 3], np.float32)}
    assert_same_outputs(before, fixed, feed)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or case.model.graph.node[0].op_type != "DynamicQuantizeLinear":
            continue
        for target in ("trt-7.2", "rtx-1.7"):
            fixed, _ = run_pass(PASS, case.model, target=target)
            for inputs, wanted in case.data_sets or []:
                x = inputs[0]
                x = numpy_helper.to_array(x) if isinstance(x, TensorProto) else x
                have = run_model(fixed, {case.model.graph.input[0].name: np.asarray(x)})
                for one, want in zip(have, wanted, strict=True):
                    value = numpy_helper.to_array(want) if isinstance(want, TensorProto) else want
                    np.testing.assert_allclose(one.astype(float), np.asarray(value, float), 1e-6)
                seen += 1
    assert seen >= 6
