"""Normalize: LpNormalization and the chain of F.normalize."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.testing import (
    as_proto,
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes.normalize import Normalize

LEGACY = """<ir_version: 7, opset_import: ["" : {opset}]>
g (float[B,C,H,W] x) => (float[B,C,H,W] y) {{
  n = ReduceL2 <axes = [1], keepdims = 1> (x)
  eps = Constant <value = float {{1e-12}}> ()
  c = Clip (n, eps, "")
  s = Shape (x)
  d = Expand (c, s)
  y = Div (x, d)
}}"""

DYNAMO = """<ir_version: 10, opset_import: ["" : 18]>
g (float[B,C,H,W] x) => (float[B,C,H,W] y) <int64[1] axes = {1}, float eps = {1e-12}> {
  n = ReduceL2 <keepdims = 1, noop_with_empty_axes = 0> (x, axes)
  c = Clip (n, eps)
  s = Shape (x)
  d = Expand (c, s)
  y = Div (x, d)
}"""


def close(have: Any, want: Any, *, rtol: float = 1e-6, atol: float = 0.0) -> None:
    """Numbers, shapes, NaNs and infinities agree."""
    np.testing.assert_allclose(have, want, rtol=rtol, atol=atol)


def feeds(*shapes: tuple[int, ...], dtype: Any = np.float32) -> list[dict[str, np.ndarray]]:
    """Normal numbers, with a vector of zeros and one of tiny numbers along axis 1."""
    made: list[dict[str, np.ndarray]] = []
    for shape in shapes:
        x = np.random.default_rng(len(made)).standard_normal(shape).astype(dtype)
        if x.ndim > 1 and x.shape[-1] > 1:
            x[..., 0] = 0
            x[..., 1] *= np.asarray(1e-13 if dtype != np.float16 else 1e-7, dtype)
        made.append({"x": x})
    return made


SIZES = feeds((1, 64, 3, 4), (2, 3, 1, 5), (2, 1, 1, 1), (1, 4, 0, 3))


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_legacy_chain_keeps_the_norm_that_the_target_takes(opset: int) -> None:
    fixed = assert_rewrites(
        Normalize(),
        LEGACY.format(opset=opset),
        after=["ReduceL2", "Constant", "Max", "Div"],
        feeds=SIZES,
    )
    assert fixed.graph.node[2].input[1] == "eps"


def test_dynamo_chain_reduces_through_reducesum() -> None:
    fixed = assert_rewrites(
        Normalize(),
        DYNAMO,
        target="trt-8.6",
        after=["Mul", "ReduceSum", "Sqrt", "Max", "Div"],
        feeds=SIZES,
        exact=False,
    )
    assert "n" not in {name for node in fixed.graph.node for name in node.output}


def test_clip_with_attributes() -> None:
    text = """<ir_version: 6, opset_import: ["" : 10]> g (float[B,C] x) => (float[B,C] y) {
      n = ReduceL1 <axes = [-1]> (x)
      c = Clip <min = 0.5> (n)
      s = Shape (x)
      d = Expand (c, s)
      y = Div (x, d)
    }"""
    assert ops(run_pass(Normalize(), text)[0]) == ["ReduceL1", "Clip", "Shape", "Expand", "Div"]
    assert_rewrites(
        Normalize(everywhere=True),
        text,
        after=["ReduceL1", "Clip", "Div"],
        feeds=feeds((2, 3), (1, 1), (0, 4)),
    )


@pytest.mark.parametrize(
    "norm",
    [
        "q = Mul (x, x) r = ReduceSum (q, axes) n = Sqrt (r)",
        "q = Pow (x, two) r = ReduceSum (q, axes) n = Sqrt (r)",
        "q = Abs (x) n = ReduceSum (q, axes)",
    ],
)
def test_reducesum_that_ignores_its_axes(norm: str) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 13]>
    g (float[B,C,N] x) => (float[B,C,N] y)
    <int64[1] axes = {{1}}, float two = {{2}}, float eps = {{0.001}}> {{
      {norm}
      c = Max (eps, n)
      y = Div (x, c)
    }}"""
    op = "ReduceL1" if "Abs" in norm else "ReduceL2"
    cases = feeds((2, 5, 3), (1, 1, 1), (3, 2, 0))
    assert_rewrites(Normalize(), text, after=[op, "Max", "Div"], feeds=cases, exact=False)
    before = as_proto(text)
    assert run_pass(Normalize(), before, target="trt-8.6")[0] == before


def test_sum_of_squares_reduction() -> None:
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (float[B,C,N] x, float least) => (float[B,C,N] y) <int64[1] axes = {1}> {
      q = ReduceSumSquare (x, axes)
      n = Sqrt (q)
      c = Clip (n, least)
      y = Div (x, c)
    }"""
    cases = [{**f, "least": np.array(0.25, np.float32)} for f in feeds((2, 5, 3), (1, 1, 1))]
    after = ["Mul", "ReduceSum", "Sqrt", "Max", "Div"]
    assert_rewrites(Normalize(), text, target="trt-9.1", after=after, feeds=cases, exact=False)


def test_half_precision_is_summed_in_float() -> None:
    text = DYNAMO.replace("float[", "float16[").replace("float eps", "float16 eps")
    text = text.replace("1e-12", str(np.float16(1e-4).view(np.uint16)))
    fixed, _ = run_pass(Normalize(), text, target="trt-8.6")
    assert ops(fixed) == ["Cast", "Mul", "ReduceSum", "Sqrt", "Cast", "Max", "Div"]
    for feed in (*feeds((2, 5, 3, 2), dtype=np.float16), {"x": np.full((1, 9, 1, 1), 900, "f2")}):
        (have,) = run_model(fixed, feed)
        x = feed["x"].astype(np.float64)
        want = x / np.maximum(np.sqrt((x * x).sum(1, keepdims=True)), np.float16(1e-4))
        close(have.astype(np.float64), want, rtol=4e-3, atol=1e-4)


def test_expand_to_another_shape_stays() -> None:
    text = LEGACY.format(opset=13).replace("float[B,C,H,W] x", "float[B,C,H,W] x, int64[R] s")
    text = text.replace("s = Shape (x)", "").replace("(float[B,C,H,W] y)", "(float[D,E,F,G] y)")
    case = {**SIZES[1], "s": np.array([2, 2, 3, 1, 5])}
    before = as_proto(text.replace("[D,E,F,G]", "[A,D,E,F,G]").replace("int64[R]", "int64[5]"))
    assert_rewrites(
        Normalize(), before, after=["ReduceL2", "Constant", "Max", "Expand", "Div"], feeds=[case]
    )


def test_shape_written_dim_by_dim() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18]>
    g (float[1,64,N] x, float[1,N,2] k) => (float[1,64,N] y)
    <int64[1] axes = {1}, float eps = {1e-12}, int64[1] one = {1}, int64[1] c64 = {64}> {
      s = Shape <start = 1, end = 2> (k)
      n = ReduceL2 (x, axes)
      c = Clip (n, eps)
      w = Concat <axis = 0> (one, c64, s)
      d = Expand (c, w)
      y = Div (x, d)
    }"""
    x = np.random.default_rng(0).standard_normal((1, 64, 7)).astype(np.float32)
    fixed = assert_rewrites(
        Normalize(),
        text,
        target="trt-8.6",
        after=["Mul", "ReduceSum", "Sqrt", "Max", "Div"],
        feeds=[{"x": x, "k": np.zeros((1, 7, 2), np.float32)}],
        exact=False,
    )
    assert len(fixed.graph.input) == 2


def test_norm_with_another_reader_survives() -> None:
    text = LEGACY.format(opset=13).replace(
        "=> (float[B,C,H,W] y)", "=> (float[B,C,H,W] y, float[B,1,H,W] n)"
    )
    assert_rewrites(
        Normalize(), text, after=["ReduceL2", "Constant", "Max", "Div"], feeds=SIZES[:2]
    )


@pytest.mark.parametrize("target", ["trt-8.6", "trt-10.3", "rtx-1.7"])
def test_chain_that_the_target_takes_is_left_alone(target: str) -> None:
    text = LEGACY.format(opset=13) if target == "trt-8.6" else DYNAMO
    assert skip_reasons(Normalize(), text, target=target) == []


@pytest.mark.parametrize(
    "old_new",
    [
        ('Clip (n, eps, "")', 'Clip (n, "", eps)'),
        ('Clip (n, eps, "")', "Clip (n, eps, eps)"),
        ("y = Div (x, d)", "m = Neg (x) y = Div (m, d)"),
        ("keepdims = 1> (x)", "keepdims = 0> (x)"),
        ("Div (x, d)", "Div (d, x)"),
    ],
)
def test_other_chains_are_left_alone(old_new: tuple[str, str]) -> None:
    text = LEGACY.format(opset=13).replace(*old_new)
    if "keepdims = 0" in text:
        text = text.replace("[B,C,H,W]", "[C,C,C,C]")
    assert skip_reasons(Normalize(), text) == []


def test_no_reduction_reads_its_axes() -> None:
    (said,) = skip_reasons(Normalize(), DYNAMO)
    assert "opset 17 or lower" in said


# -- LpNormalization ---------------------------------------------------------------------------


def op_model(opset: int, dtype: int = TensorProto.FLOAT, rank: int = 3, **attrs: Any) -> ModelProto:
    dims = [f"d{k}" for k in range(rank)]
    graph = helper.make_graph(
        [helper.make_node("LpNormalization", ["x"], ["y"], **attrs)],
        "g",
        [helper.make_tensor_value_info("x", dtype, dims)],
        [helper.make_tensor_value_info("y", dtype, dims)],
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=7 if opset < 19 else 10)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, -2])
@pytest.mark.parametrize(
    ("opset", "target", "reads"),
    [
        (9, "trt-7.2", "attribute"),
        (13, "trt-7.2", "attribute"),
        (18, "trt-8.6", "sum"),
        (22, "trt-8.6", "sum"),
        (22, "trt-10.3", "input"),
    ],
)
def test_lp_normalization(opset: int, target: str, reads: str, axis: int | None, p: int) -> None:
    attrs = {"p": p, **({} if axis is None else {"axis": axis})}
    norm = [f"ReduceL{p}"]
    if reads == "sum":
        norm = ["Mul", "ReduceSum", "Sqrt"] if p == 2 else ["Abs", "ReduceSum"]
    choose = ["Equal", "Where"] if opset >= 11 else ["Greater", "Mul", "Where"]
    fixed, _ = run_pass(Normalize(everywhere=True), op_model(opset, **attrs), target=target)
    assert ops(fixed) == [*norm, "Div", *choose]
    cases = feeds((2, 3, 4), (1, 1, 1), (1, 3, 2))
    cases.append({"x": np.zeros((2, 2, 2), np.float32)})
    odd = np.ones((2, 3, 4), np.float32)
    odd[0, 0, 0], odd[1, 1, 1] = np.nan, np.inf
    cases.append({"x": odd})
    for case in cases:
        assert_same_outputs(op_model(opset, **attrs), fixed, case, exact=False)


def test_default_is_the_last_axis_and_the_two_norm() -> None:
    fixed, _ = run_pass(Normalize(), op_model(13))
    x = np.array([[[3, 4], [0, 0]]], np.float32)
    close(run_model(fixed, {"x": x})[0], [[[0.6, 0.8], [0, 0]]], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_element_types(dtype: Any) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    model = op_model(22, kind)
    fixed, _ = run_pass(Normalize(everywhere=True), model, target="trt-8.6")
    casts = ["Cast"] if dtype == np.float16 else []
    assert ops(fixed) == [*casts, "Mul", "ReduceSum", "Sqrt", "Div", "Equal", "Where", *casts]
    tolerance = 2e-3 if dtype == np.float16 else 1e-12
    for case in (*feeds((2, 3, 4), dtype=dtype), {"x": np.full((1, 2, 3), 500, dtype)}):
        assert_same_outputs(model, fixed, case, exact=False, rtol=tolerance, atol=tolerance)


def test_left_alone_where_the_target_has_it() -> None:
    assert skip_reasons(Normalize(), op_model(22), target="trt-8.6") == []


def test_opset_22_on_7_2_is_skipped() -> None:
    (said,) = skip_reasons(Normalize(), op_model(22))
    assert "opset 17 or lower" in said


@settings(max_examples=30, deadline=None)
@given(
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    p=st.sampled_from([1, 2]),
    data=st.data(),
)
def test_lp_normalization_of_any_shape(shape: list[int], p: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    model = op_model(17, rank=len(shape), axis=axis, p=p)
    values = st.sampled_from([0.0, 0.0, 1.0, -2.5, 1e-20, 3e18])
    size = int(np.prod(shape))
    flat = data.draw(st.lists(values, min_size=size, max_size=size))
    fixed, _ = run_pass(Normalize(), model)
    x = np.array(flat, np.float32).reshape(shape)
    (have,) = run_model(fixed, {"x": x})
    wide = x.astype(np.float64)
    norm = (
        np.sqrt((wide**2).sum(axis, keepdims=True))
        if p == 2
        else np.abs(wide).sum(axis, keepdims=True)
    )
    want = np.divide(wide, norm, out=np.zeros_like(wide), where=norm != 0)
    # Squares of numbers below 1e-19 leave the normal range of float32.
    checked = np.broadcast_to((norm == 0) | (norm > 1e-18), x.shape)
    close(have[checked], want[checked], rtol=1e-5, atol=1e-6)


BODY = """<ir_version: 8, opset_import: ["" : 13]>
g (int64 n, bool c, float[2,4] x) => (float[2,4] y, float[2,4] z) <bool go = {1}> {
  y = If (c) <
    then_branch = t () => (float[2,4] p) { p = LpNormalization <axis = 1> (x) },
    else_branch = f () => (float[2,4] q) { q = LpNormalization <axis = 0, p = 1> (x) }
  >
  z = Loop (n, go, x) <
    body = b (int64 i, bool k, float[2,4] s) => (bool k2, float[2,4] r) {
      k2 = Identity (k)
      t = LpNormalization <axis = 1> (s)
      r = Add (t, s)
    }
  >
}"""


def test_in_branches_and_loops() -> None:
    fixed, results = run_pass(Normalize(), BODY)
    scopes = sorted(c.scope for r in results for c in r.changes)
    assert scopes == ["y/else_branch", "y/then_branch", "z/body"]
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    for choice in (True, False):
        case = {"n": np.array(3), "c": np.array(choice), "x": x}
        assert_same_outputs(as_proto(BODY), fixed, case, exact=False)


def test_function_bodies_are_skipped() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13, "my" : 1]>
    g (float[2,3] x) => (float[2,3] y) { y = my.norm (x) }
    <domain: "my", opset_import: ["" : 13]> norm (x) => (y) { y = LpNormalization (x) }"""
    (said,) = skip_reasons(Normalize(), text)
    assert "the element type of 'x' is not known" in said


def test_backend_node_tests(node_cases: list[TestCase]) -> None:
    done = 0
    for case in node_cases:
        model = case.model
        if model is None or all(n.op_type != "LpNormalization" for n in model.graph.node):
            continue
        assert run_pass(Normalize(), model, target="trt-8.6")[0] == model
        for target in ("trt-8.6", "trt-10.3"):
            fixed, _ = run_pass(Normalize(everywhere=True), model, target=target)
            assert "LpNormalization" not in ops(fixed)
            for inputs, outputs in case.data_sets or ():
                fed = [
                    numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v
                    for v in inputs
                ]
                (have,) = run_model(fixed, {model.graph.input[0].name: fed[0]})
                close(have, outputs[0], rtol=case.rtol, atol=case.atol)
                done += 1
    assert done >= 8
