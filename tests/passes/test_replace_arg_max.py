"""replace-arg-max: integers as floats, digit by digit, and the last of equals by reversal."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import refused
from onnx import ModelProto, TensorProto
from onnx.backend.test.case.test_case import TestCase
from recorded import array

from onnx_fix.registry import default_order
from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.replace_arg_max import ReplaceArgMax

PASS = ReplaceArgMax()
ALWAYS = ReplaceArgMax(everywhere=True)
RNG = np.random.default_rng(3)
DIGITS_32 = ["Div", "Mul", "Sub", "Cast", "Cast", "Less", "Where", "ArgMax"]


def arg(
    op: str = "ArgMax",
    dtype: str = "int32",
    attributes: str = "axis = 1",
    opset: int = 13,
    signature: str = "[N, M]",
    out: str = "[N, 1]",
) -> str:
    return f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g ({dtype}{signature} x) => (int64{out} y) {{ y = {op} <{attributes}> (x) }}"""


@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2", "trt-8.0", "trt-8.5"])
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("attributes", ["axis = 1", "axis = -1"])
def test_int32(op: str, opset: int, attributes: str, target: str) -> None:
    model = arg(op, attributes=attributes, opset=opset)
    low, high = -(2**31), 2**31 - 1
    # Neighbours that float32 does not tell apart, signs, and equals of which the first is meant.
    x = np.array(
        [
            [2**24, 2**24 + 1, 2**24 + 1, 0],
            [-(2**24) - 1, -(2**24), -(2**24), -(2**24) - 1],
            [high - 1, high, high, low],
            [low + 1, low, low, low + 1],
            [-3, -65536, -65537, -65535],
            [5, -5, 5, -5],
        ],
        np.int32,
    )
    feeds = [{"x": x}, {"x": x[:1]}, {"x": x[:, :1]}, {"x": x[:0]}]
    fixed, _ = run_pass(PASS, model, target=target)
    assert refused(fixed, target) == []
    assert_rewrites(PASS, model, after=ops(fixed), feeds=feeds, target=target)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=12), st.booleans())
@settings(max_examples=80, deadline=None)
def test_any_int64(values: list[int], smallest: bool) -> None:
    near = [v // 7 * 7 + k for v in values[:3] for k in (0, 1) if abs(v) < 2**62]
    x = np.array([[*values, *near]], np.int64)
    fixed, _ = run_pass(PASS, arg("ArgMin" if smallest else "ArgMax", "int64"), target="trt-8.0")
    (have,) = run_model(fixed, {"x": x})
    assert have.item() == (np.argmin if smallest else np.argmax)(x)


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_one_dimension_and_keepdims(keepdims: int, dtype: str) -> None:
    out = "[1]" if keepdims else ""
    attributes = f"axis = 0, keepdims = {keepdims}"
    model = arg(dtype=dtype, attributes=attributes, signature="[M]", out=out)
    kind = np.int32 if dtype == "int32" else np.int64
    feeds = [{"x": RNG.integers(-9, 9, n).astype(kind)} for n in (7, 1)]
    fixed, _ = run_pass(PASS, model)
    assert_rewrites(PASS, model, after=ops(fixed), feeds=feeds)


def test_numbers_that_were_narrow_are_cast_once() -> None:
    model = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool[N, M] x) => (int64[N, 1] y) { z = Cast <to = 6> (x) y = ArgMax <axis = 1> (z) }"""
    feeds = [{"x": RNG.random((3, n)) > 0.5} for n in (6, 1)]
    assert_rewrites(PASS, model, after=["Cast", "Cast", "ArgMax"], feeds=feeds)


def test_the_axes_input_of_later_sets_is_mended_by_others() -> None:
    model = onnx.parser.parse_model(arg(opset=18, signature="[N, 4]"))
    fixed, _ = run_pass([c() for c in default_order()], model)
    assert refused(fixed, "trt-7.2") == []
    assert_same_outputs(model, fixed, {"x": RNG.integers(-(2**31), 2**31, (5, 4), np.int32)})


# -- the last of equals ---------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("opset", [12, 13, 17])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1, -2])
@pytest.mark.parametrize("signature", ["[N, M]", "[2, 5]"])
def test_last_index(op: str, opset: int, keepdims: int, axis: int, signature: str) -> None:
    out = "[A, B]" if keepdims else "[A]"
    attributes = f"axis = {axis}, keepdims = {keepdims}, select_last_index = 1"
    model = arg(op, "float", attributes, opset, signature, out)
    sizes = [(2, 5)] if signature == "[2, 5]" else [(2, 5), (1, 1), (4, 1), (1, 6)]
    feeds = [{"x": RNG.integers(0, 3, s).astype(np.float32)} for s in sizes]
    fixed, _ = run_pass(PASS, model)
    assert refused(fixed, "trt-7.2") == []
    assert_rewrites(PASS, model, after=ops(fixed), feeds=feeds)


def test_last_index_of_one_dimension() -> None:
    attributes = "axis = 0, keepdims = 0, select_last_index = 1"
    for signature in ("[M]", "[3]"):
        model = arg("ArgMax", "float", attributes, signature=signature, out="")
        feeds = [{"x": np.array([2, 2, 1], np.float32)}]
        fixed, _ = run_pass(PASS, model)
        assert_rewrites(PASS, model, after=ops(fixed), feeds=feeds)


def test_last_index_of_integers_takes_two_rounds() -> None:
    model = arg(attributes="axis = 1, select_last_index = 1")
    fixed, results = run_pass(PASS, model)
    assert sum(len(r.changes) for r in results) == 2 and refused(fixed, "trt-7.2") == []
    feed = {"x": RNG.integers(-2, 2, (6, 9), np.int32)}
    assert_same_outputs(onnx.parser.parse_model(model), fixed, feed)


def test_half() -> None:
    model = arg("ArgMax", "float16", "axis = 1, select_last_index = 1")
    fixed, _ = run_pass(PASS, model)
    feed = {"x": RNG.integers(0, 3, (4, 5)).astype(np.float16)}
    assert_same_outputs(onnx.parser.parse_model(model), fixed, feed, reference=True)


# -- what is left alone ---------------------------------------------------------------------------


def test_targets_that_take_them() -> None:
    assert skip_reasons(PASS, arg(), target="trt-8.6") == []
    attributes = "axis = 1, select_last_index = 1"
    assert skip_reasons(PASS, arg(dtype="float", attributes=attributes), target="trt-8.0") == []
    assert skip_reasons(PASS, arg(dtype="float")) == []


def test_types_that_the_target_does_not_take() -> None:
    (reason,) = skip_reasons(ALWAYS, arg(dtype="int16"), target="trt-8.6")
    assert "casts no INT16" in reason


def test_functions() -> None:
    head = """<ir_version: 10, opset_import: ["" : 14, "my" : 1]>
    g (float[N, 4] x) => (int64[N, 1] y) { y = my.f <m = 1> (x) }
    <opset_import: ["" : 14], domain: "my"> """
    (reason,) = skip_reasons(
        PASS, head + "f <m> (a) => (b) { b = ArgMax <axis = -1, select_last_index = 1> (a) }"
    )
    assert "its axis is negative, and the rank of its input is not known" in reason
    (reason,) = skip_reasons(
        ALWAYS, head + "f <m> (a) => (b) { b = ArgMax <axis = 1, select_last_index: int = @m> (a) }"
    )
    assert "is a parameter of the function" in reason


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, int32[N, M] x, float[N, M] z) => (int64[N, 1] y) {
      y = If (c) <
        then_branch = one () => (int64[N, 1] t) { t = ArgMax <axis = 1> (x) },
        else_branch = two () => (int64[N, 1] e) {
          e = ArgMin <axis = 1, select_last_index = 1> (z)
        }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    for way in (True, False):
        x = RNG.integers(-3, 3, (4, 6), np.int32)
        feed = {"c": np.array(way), "x": x, "z": x.astype(np.float32)}
        assert_same_outputs(onnx.parser.parse_model(text), fixed, feed)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    """Those of floats with select_last_index, and all of them as integers."""
    seen = 0
    for case in node_cases:
        if case.model is None or case.model.graph.node[0].op_type not in ("ArgMax", "ArgMin"):
            continue
        fixed, results = run_pass(PASS, case.model)
        seen += any(r.changes for r in results)
        whole = ModelProto()
        whole.CopyFrom(case.model)
        whole.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32
        changed, _ = run_pass(PASS, whole)
        assert ops(changed) != ops(whole)
        for given_, wanted in case.data_sets or []:
            x, want = array(given_[0]), array(wanted[0])
            name = case.model.graph.input[0].name
            np.testing.assert_array_equal(run_reference(fixed, {name: x})[0], want)
            integers = {name: (x * 1000).astype(np.int32)}
            assert_same_outputs(whole, changed, integers)
    assert seen >= 8
