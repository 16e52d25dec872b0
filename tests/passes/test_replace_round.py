"""replace-round: half to even by Floor and Ceil."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from quantized_cases import model, refused_ops

from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes.replace_round import ReplaceRound

PASS = ReplaceRound()
TEXT = "(float[N] x) => (float[N] y) { y = Round(x) }"
EDGES = [0.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, -0.49999997, 0.50000006, -0.50000006]
EDGES += [1.4999999, 8388607.5, -8388607.5, 8388609.0, 4194304.5, 1e30, -1e30, 1e-40, -1e-40]
EDGES += [np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2", "trt-8.0"])
@pytest.mark.parametrize("opset", [11, 13, 22])
def test_floats(target: str, opset: int) -> None:
    before = model(TEXT, opset)
    x = np.array(EDGES, np.float32)
    fixed, results = run_pass(PASS, before, target=target)
    assert {c.exactness.name for r in results for c in r.changes} == {"EXACT"}
    for n in (len(x), 1, 0):
        assert_same_outputs(before, fixed, {"x": x[:n]})
    assert_rewrites(PASS, before, after=ops(fixed), feeds=[{"x": x}], target=target)
    assert "Round" not in ops(fixed) and refused_ops(fixed, target) == []


@given(st.lists(st.floats(width=32), max_size=30))
@settings(max_examples=150, deadline=None)
def test_any_floats(values: list[float]) -> None:
    x = np.array(values, np.float32)
    (have,) = run_model(run_pass(PASS, model(TEXT))[0], {"x": x})
    np.testing.assert_array_equal(have, np.rint(x))


def test_every_half() -> None:
    """All float16 numbers: the largest that is no integer is a half."""
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    before = model(TEXT.replace("float", "float16"))
    fixed, _ = run_pass(PASS, before)
    (have,) = run_model(fixed, {"x": x})
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(have, np.rint(x))


def test_targets_that_round_are_left_alone() -> None:
    assert skip_reasons(PASS, model(TEXT), target="trt-8.2") == []
    assert skip_reasons(PASS, model(TEXT), target="rtx-1.7") == []


def test_everywhere() -> None:
    fixed, _ = run_pass(ReplaceRound(everywhere=True), model(TEXT), target="trt-8.2")
    assert "Round" not in ops(fixed)


def test_other_types() -> None:
    (reason,) = skip_reasons(PASS, model(TEXT.replace("float", "double")))
    assert "Round of DOUBLE" in reason
    text = """<ir_version: 10, opset_import: ["" : 13, "my" : 1]>
    g (float[N] x) => (float[N] y) { y = my.f (x) }
    <opset_import: ["" : 13], domain: "my"> f (a) => (b) { b = Round (a) }"""
    (reason,) = skip_reasons(PASS, text)
    assert "element type is not known" in reason


def test_bodies() -> None:
    before = model(
        """(bool c, float[N] x) => (float[N] y) {
        y = If (c) <then_branch = one () => (float[N] t) { t = Round (x) },
                    else_branch = two () => (float[N] e) { e = Neg (x) }> }"""
    )
    fixed, results = run_pass(PASS, before)
    assert [c.scope for r in results for c in r.changes] == ["y/then_branch"]
    for way in (True, False):
        assert_same_outputs(before, fixed, {"c": np.array(way), "x": np.array(EDGES, np.float32)})


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or case.model.graph.node[0].op_type != "Round":
            continue
        fixed, _ = run_pass(PASS, case.model)
        for inputs, wanted in case.data_sets or []:
            x = inputs[0]
            x = numpy_helper.to_array(x) if isinstance(x, TensorProto) else x
            seen += 1
            have = run_model(fixed, {case.model.graph.input[0].name: np.asarray(x)})
            np.testing.assert_array_equal(have[0], np.asarray(wanted[0]))
    assert seen
