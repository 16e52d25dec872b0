"""replace-quantize-linear: the definition of Q and DQ, and what stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from quantized_cases import TARGETS, assert_same, exactness, feeds_of, halves, model, refused_ops

from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.replace_quantize_linear import ReplaceQuantizeLinear

PASS = ReplaceQuantizeLinear()
ROUNDING = ["Div", "Round", "Clip"]


def pair(
    zero: str, scale: str = "float s = {0.37}", attrs: str = "", opset: int = 13
) -> ModelProto:
    """Q and DQ of a constant zero point."""
    return model(
        f"(float[N, 3] x) => (float[N, 3] y) <{scale}, {zero}> "
        f"{{ q = QuantizeLinear{attrs}(x, s, z) y = DequantizeLinear{attrs}(q, s, z) }}",
        opset,
    )


ZEROS = ["uint8 z = {0}", "uint8 z = {77}", "uint8 z = {255}", "int8 z = {5}", "int8 z = {-128}"]


@pytest.mark.parametrize("zero", ZEROS)
@pytest.mark.parametrize("target", TARGETS)
def test_pairs(zero: str, target: str) -> None:
    before = pair(zero)
    fixed, results = run_pass(PASS, before, target=target)
    assert exactness(results) == {"EXACT"}
    assert refused_ops(fixed, target) == []
    if target != "trt-7.2":
        assert ops(fixed) == [*ROUNDING, "Mul"]
    assert_rewrites(PASS, before, after=ops(fixed), target=target)
    assert_same(before, fixed)
    x = np.resize(halves(before, 0.37), (400, 3))
    assert_same_outputs(before, fixed, {"x": x})
    assert_same_outputs(before, fixed, {"x": np.array([[np.inf, -np.inf, 0]], np.float32)})


@pytest.mark.parametrize("opset", [10, 13, 19, 21, 23, 25])
def test_operator_sets(opset: int) -> None:
    before = pair("uint8 z = {9}", opset=opset)
    fixed, _ = run_pass(PASS, before, target="trt-10.3")
    if opset > 10:
        assert ops(fixed) == [*ROUNDING, "Mul"]
    else:
        assert "Round" not in ops(fixed)
    assert_same(before, fixed, reference=opset > 24)


@pytest.mark.parametrize("target", TARGETS)
def test_pairs_that_the_target_takes_stay(target: str) -> None:
    assert skip_reasons(PASS, pair("int8 z = {0}"), target=target) == []


def test_everywhere() -> None:
    fixed, _ = run_pass(ReplaceQuantizeLinear(everywhere=True), pair("int8 z = {0}"))
    assert "QuantizeLinear" not in ops(fixed)


@pytest.mark.parametrize("attrs", ["<axis = 1>", "<axis = -1>", ""])
@pytest.mark.parametrize("zeros", ["0, 3, 100", "7, 7, 7"])
def test_axes(attrs: str, zeros: str) -> None:
    before = pair(f"uint8[3] z = {{{zeros}}}", "float[3] s = {0.5, 1, 0.37}", attrs)
    fixed, results = run_pass(PASS, before, target="trt-8.6")
    assert exactness(results) == {"EXACT"} and ops(fixed)[:2] == ["Div", "Round"]
    assert_same(before, fixed)


def test_an_axis_in_the_middle_at_run_time() -> None:
    before = model(
        """(float[2, C, 4] x, float[C] s, uint8[C] z) => (float[2, C, 4] y) {
        q = QuantizeLinear <axis = 1> (x, s, z) y = DequantizeLinear <axis = 1> (q, s, z) }"""
    )
    fixed, _ = run_pass(PASS, before, target="rtx-1.7")
    assert "Unsqueeze" in ops(fixed) and "QuantizeLinear" not in ops(fixed)
    assert_same(before, fixed, (3, 1))


def test_scale_and_zero_point_at_run_time() -> None:
    for shape in ("", "[1]"):
        before = model(
            f"""(float[N, 3] x, float{shape} s, uint8{shape} z) => (float[N, 3] y) {{
            q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }}"""
        )
        for target in ("trt-7.2", "rtx-1.7"):
            fixed, results = run_pass(PASS, before, target=target)
            assert exactness(results) == {"EXACT"}
            assert not {"QuantizeLinear", "DequantizeLinear"} & set(ops(fixed))
            assert_same(before, fixed)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6", "rtx-1.7"])
def test_q_alone(dtype: str, target: str) -> None:
    before = model(
        f"(float[N, 3] x) => ({dtype}[N, 3] y) <float s = {{0.37}}, {dtype} z = {{77}}> "
        "{ y = QuantizeLinear(x, s, z) }"
    )
    fixed, results = run_pass(PASS, before, target=target)
    assert ops(fixed)[-2:] == ["Add", "Cast"] and exactness(results) == {"EXACT"}
    assert_same(before, fixed)
    assert_same_outputs(before, fixed, {"x": np.resize(halves(before, 0.37), (400, 3))})


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_dq_alone(dtype: str) -> None:
    before = model(
        f"({dtype}[N, 3] x) => (float[N, 3] y) <float s = {{0.37}}, {dtype} z = {{77}}> "
        "{ y = DequantizeLinear(x, s, z) }"
    )
    fixed = assert_rewrites(PASS, before, after=["Cast", "Sub", "Mul"], target="trt-8.6")
    assert_same(before, fixed)


def test_without_a_zero_point() -> None:
    """Which makes it UINT8: TensorRT quantises to INT8, and ends at 127."""
    before = model(
        """(float[N, 3] x) => (float[N, 3] y) <float s = {0.5}> {
        q = QuantizeLinear(x, s) y = DequantizeLinear(q, s) }"""
    )
    for target in ("trt-8.6", "trt-10.3", "rtx-1.7"):
        fixed = assert_rewrites(PASS, before, after=[*ROUNDING, "Mul"], target=target)
        assert_same(before, fixed)


def test_a_zero_point_is_all_that_is_missing() -> None:
    before = model(
        "(int8[N, 3] x) => (float[N, 3] y) <float s = {0.5}> { y = DequantizeLinear(x, s) }"
    )
    for target in ("trt-7.2", "trt-8.2", "trt-8.6"):
        fixed = assert_rewrites(PASS, before, after=["DequantizeLinear"], target=target)
        assert len(fixed.graph.node[0].input) == 3 and refused_ops(fixed, target) == []
        assert_same(before, fixed)
    assert skip_reasons(PASS, before, target="trt-10.3") == []


def test_biases_of_int32() -> None:
    before = model(
        """(float[N, 3] x, int32[3] b) => (float[N, 3] y, float[3] w)
        <float s = {0.37}, int32[3] k = {70001, -5, 16777217}> {
        d = DequantizeLinear(k, s) y = Add(x, d) w = DequantizeLinear(b, s) }"""
    )
    fixed, results = run_pass(PASS, before, target="trt-8.6")
    assert sorted(ops(fixed)) == ["Add", "Cast", "Mul"] and exactness(results) == {"EXACT"}
    assert_same(before, fixed)


def test_weights_become_constants() -> None:
    before = model(
        """(float[N, 3, 2] x) => (float[N, 3, 2] y)
        <float[2] s = {0.5, 0.37}, uint8[2] z = {128, 7}, uint8[3, 2] w = {1, 2, 3, 250, 5, 6}> {
        d = DequantizeLinear <axis = 1> (w, s, z) y = Mul(x, d) }"""
    )
    fixed = assert_rewrites(PASS, before, after=["Mul"], target="rtx-1.7")
    assert_same(before, fixed)


def test_weights_that_are_taken_and_wanted_as_initializers() -> None:
    text = """(float[1, 1, N, 4] x) => (float[1, 2, N, 4] y)
    <float s = {0.5}, int8 z = {0}, int8[2, 1, 1, 1] w = {1, 2}> {
    d = DequantizeLinear(w, s, z) y = Conv(x, d) }"""
    assert skip_reasons(PASS, model(text), target="trt-8.2") == []
    fixed = assert_rewrites(PASS, model(text), after=["Conv"], target="trt-7.2")
    assert_same(model(text), fixed, (5, 1))


@pytest.mark.parametrize("zero", [True, False])
def test_constants_of_4_bits_in_blocks(zero: bool) -> None:
    before = model(
        f"""(float[N, 4, 4] x) => (float[N, 4, 4] y)
        <float[4, 2] s = {{1, 2, 3, 4, 0.5, 0.25, 8, 16}}> {{
        d = DequantizeLinear <axis = 1, block_size = 2> (w, s{", z" if zero else ""})
        y = Mul(x, d) }}""",
        21,
    )
    weights = helper.make_tensor("w", TensorProto.INT4, [4, 4], np.arange(16) - 8)
    zeros = helper.make_tensor("z", TensorProto.INT4, [4, 2], [1, 2, 3, 4, 5, 6, 7, -8])
    before.graph.initializer.extend([weights, zeros] if zero else [weights])
    fixed = assert_rewrites(PASS, before, after=["Mul"], target="trt-8.6")
    assert_same(before, fixed)
    if not zero:
        assert skip_reasons(PASS, before, target="rtx-1.7") == []


@pytest.mark.parametrize("axis", [0, 1])
def test_blocks(axis: int) -> None:
    shape = "2, 4" if axis == 0 else "4, 2"
    before = model(
        f"""(float[4, 4] x, float[{shape}] s) => (float[4, 4] y, float[4, 4] w)
        <float[{shape}] sc = {{1, 2, 3, 4, 0.5, 0.25, 8, 16}},
         uint8[{shape}] z = {{1, 2, 3, 4, 5, 6, 7, 8}}> {{
        q = QuantizeLinear <axis = {axis}, block_size = 2> (x, sc, z)
        y = DequantizeLinear <axis = {axis}, block_size = 2> (q, sc, z)
        r = QuantizeLinear <axis = {axis}, block_size = 2> (x, s, z)
        w = DequantizeLinear <axis = {axis}, block_size = 2> (r, s, z) }}""",
        21,
    )
    fixed, _ = run_pass(PASS, before, target="trt-8.6")
    assert not {"QuantizeLinear", "DequantizeLinear"} & set(ops(fixed))
    feeds = feeds_of(before, 1)
    for want, have in zip(run_reference(before, feeds), run_reference(fixed, feeds), strict=True):
        np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize(("kind", "opset"), [("float16", 19), ("float16", 21), ("bfloat16", 21)])
def test_halves(kind: str, opset: int) -> None:
    number = 10 if kind == "float16" else 16
    before = model(
        f"""(float[N, 3] x) => (float[N, 3] y) <float one = {{0.37}}, uint8 z = {{77}}> {{
        s = Cast <to = {number}> (one) h = Cast <to = {number}> (x)
        q = QuantizeLinear(h, s, z) d = DequantizeLinear(q, s, z) y = Cast <to = 1> (d) }}""",
        opset,
    )
    fixed, results = run_pass(PASS, before, target="trt-10.3")
    assert exactness(results) == {"ROUNDING"}
    assert not {"QuantizeLinear", "DequantizeLinear"} & set(ops(fixed))
    feed = {"x": np.resize(np.linspace(-40, 40, 999, dtype=np.float32), (333, 3))}
    if kind == "float16":
        assert_same_outputs(before, fixed, feed)
    else:
        have, want = run_reference(fixed, feed)[0], run_reference(before, feed)[0]
        np.testing.assert_allclose(have.astype(float), want.astype(float), atol=0.5)


def test_16_bits() -> None:
    before = model(
        """(float[N, 3] x) => (float[N, 3] y) <float s = {0.01}, uint16 z = {30000}> {
        q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }""",
        21,
    )
    fixed = assert_rewrites(PASS, before, after=[*ROUNDING, "Mul"], target="rtx-1.7")
    assert_same(before, fixed)


def test_onnxruntimes_own_domain() -> None:
    before = model(
        """(float[N, 3] x) => (float[N, 3] y) <float s = {0.01}, uint16 z = {30000}> {
        q = com.microsoft.QuantizeLinear(x, s, z) y = com.microsoft.DequantizeLinear(q, s, z) }""",
        13,
        ', "com.microsoft" : 1',
    )
    fixed = assert_rewrites(PASS, before, after=[*ROUNDING, "Mul"], target="rtx-1.7")
    assert_same(before, fixed)


def test_two_readers_share_the_levels() -> None:
    before = model(
        """(float[N, 3] x) => (float[N, 3] y, float[N, 3] w) <float s = {0.37}, uint8 z = {7}> {
        q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) w = DequantizeLinear(q, s, z) }"""
    )
    fixed = assert_rewrites(PASS, before, after=[*ROUNDING, "Mul", "Mul"], target="trt-8.6")
    assert_same(before, fixed)


def test_readers_of_another_zero_point_read_the_integers() -> None:
    before = model(
        """(float[N, 3] x) => (float[N, 3] y, uint8[N, 3] q)
        <float s = {0.37}, uint8 z = {7}, uint8 o = {8}> {
        q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, o) }"""
    )
    after = ["Div", "Round", "Clip", "Add", "Cast", "Cast", "Sub", "Mul"]
    fixed = assert_rewrites(PASS, before, after=after, target="trt-8.6")
    assert_same(before, fixed)


def test_formats_of_floats_are_left_alone() -> None:
    text = """(float[N, 3] x) => (float8e5m2[N, 3] y) <float s = {0.5}> {
    y = QuantizeLinear <output_dtype = 19> (x, s) }"""
    (reason,) = skip_reasons(PASS, model(text, 21), target="trt-8.6")
    assert "format of floats" in reason


def test_stored_numbers_of_4_bits() -> None:
    before = model(
        """(float[N, 3] x) => (uint4[N, 3] q, float[N, 3] y) <float s = {0.5}, float t = {0.25}> {
        q = QuantizeLinear <output_dtype = 21> (x, s) y = DequantizeLinear (q, t) }""",
        21,
    )
    after = ["Div", "Round", "Clip", "Cast", "Cast", "Mul"]
    fixed = assert_rewrites(PASS, before, after=after, target="trt-8.6")
    feed = feeds_of(before, 5, scale=4)
    for want, have in zip(run_reference(before, feed), run_reference(fixed, feed), strict=True):
        np.testing.assert_array_equal(have, want)
    old = model(
        """(float[N] x) => (uint4[N] q) <float s = {0.5}> {
        q = com.microsoft.QuantizeLinear <output_dtype = 21> (x, s) }""",
        13,
        ', "com.microsoft" : 1',
    )
    (reason,) = skip_reasons(PASS, old, target="trt-8.6")
    assert "Cast takes it since operator set 21" in reason


def test_what_is_not_known() -> None:
    text = """(float[N, M] x, float[K] s) => (uint8[N, M] y) {
    y = QuantizeLinear <axis = 5> (x, s) }"""
    (reason,) = skip_reasons(PASS, model(text), target="trt-8.6")
    assert "axis 5 does not exist" in reason
    text = """(float[N, 4] x, float[K, 4] s, uint8[K, 4] z) => (uint8[N, 4] y) {
    y = QuantizeLinear <axis = 0, block_size = 2> (x, s, z) }"""
    (reason,) = skip_reasons(PASS, model(text, 21), target="trt-8.6")
    assert "fix it" in reason
    function = """<ir_version: 10, opset_import: ["" : 21, "my" : 1]>
    g (float[N] x, float s, uint8 z) => (uint8[N] y) { y = my.f <a = 1> (x, s, z) }
    <opset_import: ["" : 21], domain: "my"> """
    body = "f <a> (x, s, z) => (y) { y = QuantizeLinear <axis: int = @a> (x, s, z) }"
    (reason,) = skip_reasons(PASS, function + body, target="trt-8.6")
    assert "parameter of the enclosing function" in reason
    body = "f <a> (x, s, z) => (y) { y = QuantizeLinear (x, s, z) }"
    (reason,) = skip_reasons(PASS, function + body, target="trt-8.6")
    assert "is not known" in reason


def test_bodies() -> None:
    before = model(
        """(bool c, float[N, 3] x) => (float[N, 3] y) <float s = {0.37}, uint8 z = {7}> {
        q = QuantizeLinear(x, s, z)
        y = If (c) <then_branch = one () => (float[N, 3] t) { t = DequantizeLinear(q, s, z) },
                    else_branch = two () => (float[N, 3] e) { e = Neg (x) }> }"""
    )
    fixed, results = run_pass(PASS, before, target="trt-8.6")
    assert {c.scope for r in results for c in r.changes} == {"", "y/then_branch"}
    for way in (True, False):
        assert_same_outputs(before, fixed, {**feeds_of(before, 4), "c": np.array(way)})


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20),
    st.floats(2.0**-20, 1e4, width=32),
    st.integers(0, 255),
    st.sampled_from(["trt-7.2", "trt-8.6"]),
)
@settings(max_examples=60, deadline=None)
def test_any_scale(values: list[float], scale: float, zero: int, target: str) -> None:
    text = """(float[N] x, float s) => (float[N] y, uint8[N] q) {
    q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }"""
    before = model(text)
    before.graph.initializer.append(numpy_helper.from_array(np.array(zero, np.uint8), "z"))
    fixed, _ = run_pass(PASS, before, target=target)
    feed = {"x": np.array(values, np.float32), "s": np.array(scale, np.float32)}
    assert_same_outputs(before, fixed, feed)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    """Each is arithmetic now, with the recorded outputs, or has a reason."""
    seen = 0
    for case in node_cases:
        names = ("test_quantizelinear", "test_dequantizelinear")
        if case.model is None or not case.name.startswith(names):
            continue
        fixed, results = run_pass(PASS, case.model, target="trt-8.2")
        if not any(r.changes for r in results):
            assert all("floats" in s.reason for s in results[0].skipped), case.name
            continue
        seen += 1
        assert not {"QuantizeLinear", "DequantizeLinear"} & set(ops(fixed)), case.name
        for inputs, wanted in case.data_sets or []:
            feeds: dict[str, Any] = {
                v.name: np.asarray(numpy_helper.to_array(x) if isinstance(x, TensorProto) else x)
                for v, x in zip(case.model.graph.input, inputs, strict=True)
            }
            have = run_reference(fixed, feeds)[0]
            want = wanted[0]
            want = numpy_helper.to_array(want) if isinstance(want, TensorProto) else want
            np.testing.assert_array_equal(have, np.asarray(want), err_msg=case.name)
    assert seen >= 9
