"""replace-pad: one Gather for each padded axis, and a Where for the value."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import refused
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from recorded import array

from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.replace_pad import ReplacePad

PASS = ReplacePad()
ALWAYS = ReplacePad(everywhere=True)
RNG = np.random.default_rng(2)
Shape = tuple[int | str, ...]


def pad(
    shape: Shape,
    pads: list[int] | None,
    mode: str = "constant",
    *,
    value: float | str | None = None,
    axes: list[int] | None = None,
    dtype: type[np.generic] = np.float32,
    opset: int = 11,
) -> ModelProto:
    """Pad; pads that are None are an input."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    weights = []
    if pads is None:
        count = 2 * len(shape if axes is None else axes)
        inputs.append(helper.make_tensor_value_info("p", TensorProto.INT64, [count]))
    else:
        weights.append(numpy_helper.from_array(np.array(pads), "p"))
    names = ["x", "p"]
    if value is not None or axes is not None:
        names.append("v" if value is not None else "")
    if isinstance(value, str):
        inputs.append(helper.make_tensor_value_info("v", kind, []))
    elif value is not None:
        weights.append(numpy_helper.from_array(np.array(value, dtype), "v"))
    if axes is not None:
        names.append("a")
        weights.append(numpy_helper.from_array(np.array(axes), "a"))
    outputs = [helper.make_tensor_value_info("y", kind, [f"o{k}" for k in range(len(shape))])]
    node = helper.make_node("Pad", names, ["y"], mode=mode)
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def floats(*shape: int) -> NDArray[np.generic]:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2", "trt-8.0"])
@pytest.mark.parametrize("mode", ["edge", "reflect"])
@pytest.mark.parametrize("shape", [(1, 2, 5, 4), ("N", 2, "H", "W")])
@pytest.mark.parametrize("opset", [11, 13])
def test_modes(mode: str, shape: Shape, opset: int, target: str) -> None:
    model = pad(shape, [0, 0, 1, 2, 0, 0, 3, 1], mode, opset=opset)
    fixed, _ = run_pass(PASS, model, target=target)
    assert ops(fixed).count("Gather") >= 2 and refused(fixed, target) == []
    sizes = [(1, 2, 5, 4)] if shape[0] == 1 else [(1, 2, 5, 4), (3, 2, 4, 3), (0, 2, 4, 4)]
    feeds = [{"x": floats(*s)} for s in sizes]
    assert_rewrites(PASS, model, after=ops(fixed), feeds=feeds, target=target)


@pytest.mark.parametrize("value", [None, 1.5, -np.inf, "input"])
@pytest.mark.parametrize("shape", [(3,), ("N",), (2, 3), ("A", "B")])
def test_pads_of_run_time(shape: Shape, value: float | str | None) -> None:
    model = pad(shape, None, value=value)
    fixed, results = run_pass(PASS, model)
    assert refused(fixed, "trt-7.2") == []
    (change,) = [c for r in results for c in r.changes]
    assert bool(change.note) == isinstance(shape[0], str)
    rank = len(shape)
    for sizes, pads in (((3, 3), [1, 0, 2, 3]), ((3, 3), [-1, 2, 1, -2]), ((3, 3), [0] * 4)):
        size = tuple(d if isinstance(d, int) else n for d, n in zip(shape, sizes, strict=False))
        feed = {"x": floats(*size), "p": np.array([*pads[:rank], *pads[2 : 2 + rank]])}
        if value == "input":
            feed["v"] = np.array(7, np.float32)
        assert_same_outputs(model, fixed, feed)


@given(
    st.lists(
        st.tuples(*[st.integers(1, 4)] * 1, *[st.integers(-1, 3)] * 2), min_size=1, max_size=3
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_constant_pads(sites: list[tuple[int, int, int]], dynamic: bool) -> None:
    kept = [(n, max(b, 0), a if n + a + max(b, 0) > 0 else 0) for n, b, a in sites]
    sizes = tuple(n for n, _, _ in kept)
    pads = [b for _, b, _ in kept] + [a for _, _, a in kept]
    shape: Shape = tuple(f"d{k}" for k in range(len(sizes))) if dynamic else sizes
    model = pad(shape, pads, value=2.5)
    fixed, _ = run_pass(ALWAYS, model)
    assert "Pad" not in ops(fixed)
    assert_same_outputs(model, fixed, {"x": floats(*sizes)})


def test_pads_that_are_known_in_part() -> None:
    """As exporters assemble them: the list of a framework, last axis first, filled with zeros."""
    model = """<ir_version: 8, opset_import: ["" : 11]>
    g (float[N, 3, H, W] x, int64[4] q) => (float[A, B, C, D] y) {
      z = Constant <value = int64[4] {0, 0, 0, 0}> ()
      all = Concat <axis = 0> (q, z)
      s = Constant <value = int64[2] {-1, 2}> ()
      pairs = Reshape (all, s)
      b = Constant <value = int64[1] {-1}> ()
      e = Constant <value = int64[1] {-9223372036854775807}> ()
      a = Constant <value = int64[1] {0}> ()
      back = Slice (pairs, b, e, a, b)
      t = Transpose <perm = [1, 0]> (back)
      f = Constant <value = int64[1] {-1}> ()
      p = Reshape (t, f)
      y = Pad (x, p)
    }"""
    fixed, _ = run_pass(PASS, model)
    assert ops(fixed).count("Range") == 2 and "Pad" not in ops(fixed)
    for q in ([1, 2, 0, 3], [-1, 1, 2, -2], [0, 0, 0, 0]):
        feed = {"x": floats(2, 3, 4, 5), "q": np.array(q)}
        assert_same_outputs(onnx.parser.parse_model(model), fixed, feed)


@pytest.mark.parametrize("target", ["trt-8.5", "trt-8.6", "trt-9.3"])
@pytest.mark.parametrize("axes", [[-1], [3, 1]])
def test_axes(axes: list[int], target: str) -> None:
    model = pad(("N", 2, "H", 4), [1] * 2 * len(axes), axes=axes, opset=18)
    fixed, _ = run_pass(PASS, model, target=target)
    assert refused(fixed, target) == []
    feeds = [{"x": floats(n, 2, 3, 4)} for n in (2, 1, 0)]
    assert_rewrites(PASS, model, after=ops(fixed), feeds=feeds, target=target)


def test_attributes_of_old_operator_sets() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 6, opset_import: ["" : 10]>
        g (float[N, 3] x) => (float[N, 6] y) {
          y = Pad <mode = "constant", pads = [0, 1, 0, 2], value = 1.5> (x)
        }"""
    )
    feeds = [{"x": floats(n, 3)} for n in (2, 1, 0)]
    assert_rewrites(PASS, model, after=["Gather", "Where"], feeds=feeds)


@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.int64])
def test_other_types(dtype: type[np.generic]) -> None:
    model = pad((2, 3), [1, 1, 1, 1], value=5, dtype=dtype, opset=13)
    fixed, _ = run_pass(ALWAYS, model)
    x = RNG.integers(0, 9, (2, 3)).astype(dtype)
    assert_same_outputs(model, fixed, {"x": x}, reference=True)


def test_nothing_to_pad() -> None:
    model = pad((2, 3), [0, 0, 0, 0])
    fixed, _ = run_pass(ALWAYS, model)
    assert "Pad" not in ops(fixed)
    assert_same_outputs(model, fixed, {"x": floats(2, 3)})


# -- what is left alone ---------------------------------------------------------------------------


def test_targets_that_take_it() -> None:
    assert skip_reasons(PASS, pad(("N", 2, "H", "W"), [0, 0, 1, 1, 0, 0, 1, 1])) == []
    assert skip_reasons(PASS, pad((2, 3), [0, 1, 0, 1], "reflect"), target="trt-8.2") == []


def test_reasons() -> None:
    (reason,) = skip_reasons(PASS, pad((2, 3), [0, 1, 0, 1], "wrap", opset=19))
    assert "of mode wrap" in reason
    (reason,) = skip_reasons(PASS, pad((2, 3), [0, 3, 0, 1], "reflect"))
    assert "reflects further than axis 1 is long" in reason
    (reason,) = skip_reasons(PASS, pad((2, 0), [0, 3, 0, 1], "constant", value=1.0))
    assert "axis 1 has no elements" in reason
    (reason,) = skip_reasons(PASS, pad((2, 3), None, dtype=np.float64))
    assert "takes no Gather of DOUBLE either" in reason
    text = """<ir_version: 6, opset_import: ["" : 10]>
    g (float[N, M] x) => (float[A, B] y) { y = Pad <mode = "edge", pads = [0, 1, 0, 2]> (x) }"""
    (reason,) = skip_reasons(PASS, text)
    assert "opset 10 has no Range" in reason
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[N, M] x, int64[K] p) => (float[A, B] y) { y = Pad (x, p) }"""
    (reason,) = skip_reasons(PASS, text)
    assert "how many pads it has is not known" in reason
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (float[N, M] x, int64[2] p, int64[1] a, float v) => (float[A, B] y) {
      y = Pad (x, p, v, a)
    }"""
    (reason,) = skip_reasons(PASS, text, target="trt-8.6")
    assert "its axes are computed at run time" in reason


def test_functions() -> None:
    head = """<ir_version: 10, opset_import: ["" : 14, "my" : 1]>
    g (float[N, 4] x, int64[4] p) => (float[A, B] y) { y = my.f <m = "edge"> (x, p) }
    <opset_import: ["" : 14], domain: "my"> """
    (reason,) = skip_reasons(ALWAYS, head + "f <m> (a, p) => (b) { b = Pad (a, p) }")
    assert "the rank or the type of its input is not known" in reason
    body = "f <m> (a, p) => (b) { b = Pad <mode: string = @m> (a, p) }"
    (reason,) = skip_reasons(ALWAYS, head + body)
    assert "is a parameter of the enclosing function" in reason


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, float[2, 3] x, int64[4] p) => (float[A, B] y) {
      y = If (c) <
        then_branch = one () => (float[A, B] t) { t = Pad (x, p) },
        else_branch = two () => (float[A, B] e) { e = Pad <mode = "edge"> (x, p) }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    for way in (True, False):
        feed = {"c": np.array(way), "x": floats(2, 3), "p": np.array([1, 0, 0, 2])}
        assert_same_outputs(onnx.parser.parse_model(text), fixed, feed)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or case.model.graph.node[0].op_type != "Pad":
            continue
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        for given_, wanted in case.data_sets or []:
            values = dict(zip([v.name for v in model.graph.input], map(array, given_), strict=True))
            # Axes are read as initializers only.
            if len(model.graph.node[0].input) > 3:
                name = model.graph.node[0].input[3]
                model.graph.initializer.append(numpy_helper.from_array(values.pop(name), name))
                model.graph.input.remove(next(v for v in model.graph.input if v.name == name))
            fixed, results = run_pass(ALWAYS, model, target="trt-10.3")
            if not any(r.changes for r in results):
                assert "wrap" in case.name
                continue
            seen += 1
            np.testing.assert_array_equal(run_reference(fixed, values)[0], array(wanted[0]))
    assert seen >= 5
