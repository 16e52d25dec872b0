"""replace-scatter-elements: slices around the updates, or a comparison with indices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import check_taken
from live_parser import rtx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from recorded import array
from sized import Shape, sized

from onnx_fix.contract import Exactness
from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.replace_scatter_elements import ReplaceScatterElements

PASS = ReplaceScatterElements()
ALWAYS = ReplaceScatterElements(everywhere=True)
RNG = np.random.default_rng(5)


def scatter(
    shape: Shape,
    of_indices: Shape | NDArray[np.generic],
    axis: int,
    reduction: str = "",
    *,
    op: str = "ScatterElements",
    dtype: type[np.generic] = np.float32,
    index_type: type[np.generic] = np.int64,
    opset: int = 0,
) -> ModelProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    weights = []
    if isinstance(of_indices, np.ndarray):
        weights.append(numpy_helper.from_array(of_indices, "i"))
        sizes: Shape = of_indices.shape
    else:
        index = helper.np_dtype_to_tensor_dtype(np.dtype(index_type))
        inputs.append(helper.make_tensor_value_info("i", index, of_indices))
        sizes = of_indices
    inputs.append(helper.make_tensor_value_info("v", kind, sizes))
    outputs = [helper.make_tensor_value_info("y", kind, shape)]
    node = helper.make_node(op, ["x", "i", "v"], ["y"], axis=axis)
    if reduction:
        node.attribute.append(helper.make_attribute("reduction", reduction))
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    opset = opset or (18 if reduction else 11)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def feed(
    shape: Shape,
    of_indices: Shape,
    axis: int,
    sizes: dict[str, int],
    dtype: type[np.generic] = np.float32,
    *,
    index_type: type[np.generic] = np.int64,
) -> dict[str, NDArray[np.generic]]:
    """Data, indices of either sign, repeated ones among them, and updates."""
    data, where = sized(shape, sizes), sized(of_indices, sizes)
    size = data[axis]
    i = RNG.integers(-size, size, where) if size else np.zeros(where)
    numbers = [RNG.integers(-9, 9, s) for s in (data, where)]
    x, v = ((n > 0 if dtype is np.bool_ else n).astype(dtype) for n in numbers)
    return {"x": x, "i": i.astype(index_type), "v": v}


SITES: list[tuple[Shape, Shape, int]] = [
    (("A",), ("M",), 0),
    (("A",), (1,), 0),
    (("B", "A"), ("B", "M"), 1),
    (("B", "A"), ("B", 1), 1),
    (("A", "B"), ("M", "B"), -2),
    (("B", "A"), ("P", "M"), 1),
    (("B", "A", "C"), ("P", "M", "Q"), 1),
    (("B", "A", "C"), ("P", 1, "Q"), 1),
    (("B", "C", "A"), ("P", "C", "M"), -1),
    ((3, 4, 5), (2, 6, 5), 1),
    ((3, 4, 5), (3, 1, 5), 1),
    ((1, 4), (1, 2), 1),
    (("B", "A"), (2, 2), 1),
]
SIZES = [
    {"A": 4, "B": 3, "C": 5, "M": 6, "P": 2, "Q": 4},
    {"A": 1, "B": 2, "C": 1, "M": 1, "P": 1, "Q": 1},
    {"A": 6, "B": 2, "C": 2, "M": 0, "P": 2, "Q": 2},
    {"A": 3, "B": 2, "C": 2, "M": 2, "P": 0, "Q": 0},
]


@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2", "trt-8.0"])
@pytest.mark.parametrize(("shape", "of_indices", "axis"), SITES)
def test_any_indices(shape: Shape, of_indices: Shape, axis: int, target: str) -> None:
    model = scatter(shape, of_indices, axis)
    fixed, _ = run_pass(PASS, model, target=target)
    assert "ScatterElements" not in ops(fixed)
    check_taken(fixed, target)
    feeds = [feed(shape, of_indices, axis, s) for s in SIZES]
    assert_rewrites(PASS, model, after=ops(fixed), feeds=feeds, target=target)


@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])
@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6", "trt-9.3", "rtx-1.7"])
def test_reductions(reduction: str, target: str) -> None:
    for shape, of_indices, axis in SITES:
        model = scatter(shape, of_indices, axis, reduction, opset=16 + 2 * (reduction[0] == "m"))
        fixed, results = run_pass(PASS, model, target=target)
        changed = [c for r in results for c in r.changes]
        rounds = reduction in ("add", "mul")
        assert [c.exactness for c in changed] == [Exactness.ROUNDING if rounds else Exactness.EXACT]
        for sizes in SIZES:
            given_ = feed(shape, of_indices, axis, sizes)
            assert_same_outputs(model, fixed, given_, exact=False)


def test_reductions_by_a_plugin_of_the_target_are_left_to_it() -> None:
    model = scatter(("B", "A"), ("B", "M"), 1, "add")
    assert skip_reasons(PASS, model, target="trt-10.3") == []


def test_infinities_stay_in_their_place() -> None:
    for reduction in ("", "add"):
        model = scatter((2, 4), (2, 3), 1, reduction)
        fixed, _ = run_pass(ALWAYS, model, target="trt-8.6")
        given_ = feed((2, 4), (2, 3), 1, {})
        given_["v"][0] = [np.inf, np.nan, 1]
        assert_same_outputs(model, fixed, given_, exact=False)


@pytest.mark.parametrize("opset", [9, 10])
@pytest.mark.parametrize("values", [[[1, 2], [1, 2]], [[-1, 0], [2, 2]], [[-1, -3], [0, 1]]])
def test_scatter_of_old_operator_sets(opset: int, values: list[list[int]]) -> None:
    model = scatter((2, 4), np.array(values), 1, op="Scatter", opset=opset)
    fixed, _ = run_pass(PASS, model)
    assert "Scatter" not in ops(fixed)
    given_ = {k: v for k, v in feed((2, 4), (2, 2), 1, {}).items() if k != "i"}
    assert_same_outputs(model, fixed, given_)
    model = scatter((3, 4), np.array(values), 1, op="Scatter", opset=opset)
    fixed, _ = run_pass(PASS, model)
    given_ = {k: v for k, v in feed((3, 4), (2, 2), 1, {}).items() if k != "i"}
    assert_same_outputs(model, fixed, given_)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.sampled_from(["", "add", "mul", "max", "min"]),
    st.sampled_from([np.float32, np.float16, np.int32, np.int64, np.float64]),
    st.sampled_from([np.int32, np.int64]),
    st.booleans(),
    st.data(),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_shapes(
    shape: list[int],
    reduction: str,
    dtype: type[np.generic],
    index_type: type[np.generic],
    constant: bool,
    data: st.DataObject,
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    where = [data.draw(st.integers(0, size)) for size in shape]
    where[axis] = data.draw(st.integers(0, 5))
    given_ = feed(tuple(shape), tuple(where), axis, {}, dtype, index_type=index_type)
    symbols = data.draw(st.sets(st.integers(0, len(shape) - 1)))
    named: Shape = tuple(f"D{k}" if k in symbols else d for k, d in enumerate(shape))
    named_where: Shape = tuple(f"I{k}" if k in symbols else d for k, d in enumerate(where))
    indices = given_.pop("i") if constant else named_where
    model = scatter(named, indices, axis, reduction, dtype=dtype, index_type=index_type)
    fixed, results = run_pass(ALWAYS, model, target="trt-8.2")
    assert any(r.changes for r in results)
    # onnxruntime has no reduction of float16 by max and min.
    half = dtype is np.float16 and bool(reduction)
    (want,) = (run_reference if half else run_model)(model, given_)
    (have,) = run_model(fixed, given_)
    assert (have.dtype, have.shape) == (want.dtype, want.shape)
    np.testing.assert_allclose(have.astype(np.float64), want.astype(np.float64), rtol=5e-3)


# -- the same consecutive indices in every row ----------------------------------------------------

HEAD = """<ir_version: 8, opset_import: ["" : 13]>
g (float[B, A, C] x, float[B, M, C] v, int64 k, int64[1] s) => (float[B, A, C] y) {
  n = Shape (v) zero = Constant <value = int64 {0}> () one = Constant <value = int64 {1}> ()
  m = Gather (n, one) lines = Constant <value = int64[3] {1, -1, 1}> ()
"""
TAIL = " y = ScatterElements <axis = 1> (x, i, v) }"


def region_feeds(start: int, count: int, size: int = 6) -> dict[str, NDArray[np.generic]]:
    x = RNG.random((2, size, 3)).astype(np.float32)
    v = RNG.random((2, count, 3)).astype(np.float32)
    return {"x": x, "v": v, "k": np.array(start), "s": np.array([start])}


@pytest.mark.parametrize(
    ("nodes", "cases"),
    [
        ("r = Range (zero, m, one) q = Reshape (r, lines) i = Expand (q, n)", [(0, 3), (0, 0)]),
        (
            "p = Abs (k) e = Add (p, m) r = Range (p, e, one) q = Reshape (r, lines) "
            "i = Expand (q, n)",
            [(2, 3), (0, 6), (5, 1), (6, 0)],
        ),
    ],
)
def test_ranges_in_every_row(nodes: str, cases: list[tuple[int, int]]) -> None:
    # The length of a Range that is expanded is known by its declared shape.
    model = onnx.parser.parse_model(HEAD + nodes + TAIL)
    for name, dims in (("q", (1, "M", 1)), ("i", ("B", "M", "C"))):
        model.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.INT64, dims))
    fixed, _ = run_pass(PASS, model)
    assert "ReduceMax" not in ops(fixed) and "Concat" in ops(fixed), ops(fixed)
    for start, count in cases:
        assert_same_outputs(model, fixed, region_feeds(start, count))


@pytest.mark.parametrize(
    ("index", "starts"),
    [
        ("i = Expand (k, n)", (3, 0, -1, -6)),
        ("i = Expand (s, n)", (5, -2)),
        ("c = Constant <value = int64 {-1}> () i = Expand (c, n)", (0,)),
        ("c = Constant <value = int64[1, 1, 1] {4}> () i = Expand (c, n)", (0,)),
    ],
)
def test_one_index_in_every_row(index: str, starts: tuple[int, ...]) -> None:
    text = (HEAD + index + TAIL).replace("float[B, M, C]", "float[B, 1, C]")
    fixed, _ = run_pass(PASS, text)
    assert "ReduceMax" not in ops(fixed) and "Concat" in ops(fixed)
    assert "Equal" not in ops(fixed)
    for start in starts:
        assert_same_outputs(onnx.parser.parse_model(text), fixed, region_feeds(start, 1))


def test_an_index_that_expand_repeats_is_no_region() -> None:
    text = HEAD + "i = Expand (k, n)" + TAIL
    fixed, _ = run_pass(PASS, text)
    assert "ReduceMax" in ops(fixed)
    for start, count in ((3, 1), (-1, 1), (2, 3), (2, 0)):
        given_ = region_feeds(start, count)
        assert_same_outputs(onnx.parser.parse_model(text), fixed, given_)


COPIED = """<ir_version: 8, opset_import: ["" : 11]>
g (float[B, A, C] x, float[B, 3, C] v, INDEX[3] k) => (float[B, A, C] y) {
  n = Shape (v) lines = Constant <value = int64[3] {1, 3, 1}> ()
  q = Reshape (k, lines) i = Expand (q, n) y = ScatterElements <axis = 1> (x, i, v)
}"""


@pytest.mark.parametrize("index", ["int64", "int32"])
def test_the_same_indices_in_every_row(index: str) -> None:
    text = COPIED.replace("INDEX", index)
    fixed, _ = run_pass(PASS, text)
    # One comparison of the places with a single row, and one Gather of updates.
    assert "Gather" in ops(fixed) and "ReduceSum" not in ops(fixed) and "Expand" in ops(fixed)
    check_taken(fixed, "trt-7.2")
    for places, size in (([0, 3, 1], 4), ([-1, 2, -3], 5), ([0, 0, 0], 1), ([1, -1, 1], 2)):
        given_ = region_feeds(0, 3, size)
        given_ = {"x": given_["x"], "v": given_["v"], "k": np.array(places, index)}
        assert_same_outputs(onnx.parser.parse_model(text), fixed, given_)
    # A part of the data alone.
    text = text.replace("float[B, A, C] x", "float[P, A, Q] x")
    fixed, _ = run_pass(PASS, text)
    given_["x"] = RNG.random((3, 2, 5)).astype(np.float32)
    assert_same_outputs(onnx.parser.parse_model(text), fixed, given_)


def test_rows_that_are_alike_cost_one_comparison() -> None:
    text = COPIED.replace("INDEX", "int64").replace("[B, A, C]", "[7, 9, 5]")
    text = text.replace("[B, 3, C]", "[7, 3, 5]")
    assert "Equal" in ops(run_pass(ReplaceScatterElements(limit=27), text)[0])
    (reason,) = skip_reasons(ReplaceScatterElements(limit=26), text)
    assert reason == "comparing makes 27 numbers, more than limit = 26"


def test_constant_regions() -> None:
    rows = np.array([[1, 2], [1, 2]])
    model = scatter((2, 4), rows, 1)
    given_ = {k: v for k, v in feed((2, 4), (2, 2), 1, {}).items() if k != "i"}
    assert_rewrites(PASS, model, after=["Slice", "Slice", "Concat"], feeds=[given_])
    model = scatter((2, 4), rows - 4, 1, "mul")
    fixed, _ = run_pass(PASS, model, target="trt-8.6")
    assert ops(fixed) == ["Slice", "Mul", "Slice", "Slice", "Concat"]
    assert_same_outputs(model, fixed, given_)
    # Half the rows alone.
    model = scatter((3, 4), rows, 1)
    given_ = {k: v for k, v in feed((3, 4), (2, 2), 1, {}).items() if k != "i"}
    assert_rewrites(
        PASS, model, after=["Slice", "Slice", "Slice", "Concat", "Slice", "Concat"], feeds=[given_]
    )
    for other in ([[1, 2], [1, 3]], [[2, 1], [2, 1]], [[-1, 0], [-1, 0]]):
        model = scatter((2, 4), np.array(other), 1)
        fixed, _ = run_pass(PASS, model)
        assert "Equal" in ops(fixed)
        given_ = {k: v for k, v in feed((2, 4), (2, 2), 1, {}).items() if k != "i"}
        assert_same_outputs(model, fixed, given_)


def test_the_last_of_repeated_indices_wins() -> None:
    model = scatter(("A",), ("M",), 0)
    fixed, _ = run_pass(PASS, model)
    given_ = feed(("A",), ("M",), 0, {"A": 3, "M": 9})
    want = given_["x"].copy()
    for place, value in zip(given_["i"].tolist(), given_["v"].tolist(), strict=True):
        want[place] = value
    np.testing.assert_array_equal(run_model(fixed, given_)[0], want)


# -- element types --------------------------------------------------------------------------------


def test_booleans() -> None:
    dtype = np.bool_
    for where in (("B", "M"), ("B", 1)):
        model = scatter(("B", "A"), where, 1, dtype=dtype)
        fixed, _ = run_pass(PASS, model)
        check_taken(fixed, "trt-7.2")
        for sizes in SIZES[:3]:
            assert_same_outputs(model, fixed, feed(("B", "A"), where, 1, sizes, dtype))
    model = scatter((2, 4), np.array([[1, 2], [1, 2]]), 1, dtype=dtype)
    fixed, _ = run_pass(PASS, model)
    check_taken(fixed, "trt-7.2")


@pytest.mark.parametrize("reduction", ["", "add"])
def test_small_integers(reduction: str) -> None:
    model = scatter(("B", "A"), ("B", "M"), 1, reduction, dtype=np.int8)
    fixed, _ = run_pass(ALWAYS, model, target="trt-8.6")
    given_ = feed(("B", "A"), ("B", "M"), 1, SIZES[0], np.int8)
    given_["v"] = np.full_like(given_["v"], 100)
    assert_same_outputs(model, fixed, given_)


# -- the builder ----------------------------------------------------------------------------------


@pytest.mark.rtx
@pytest.mark.skipif(not rtx.available(), reason="tensorrt_rtx (the extra `rtx`) is not installed")
@pytest.mark.parametrize("target", ["trt-7.2", "rtx-1.7"])
def test_the_real_builder_takes_it(target: str, tmp_path: Path) -> None:
    path = tmp_path / "fixed.onnx"
    for model in (
        scatter(("B", "A"), ("B", "M"), 1, opset=13),
        scatter(("B", "A"), ("P", "M"), 1, opset=13),
        scatter(("B", "A"), ("B", 1), 1, opset=13),
        scatter(("B", "A"), ("B", "M"), 1, "mul"),
        scatter((2, 4), np.array([[1, 2], [1, 2]]), 1, opset=13),
    ):
        fixed, results = run_pass(ALWAYS, model, target=target)
        assert any(r.changes for r in results)
        onnx.save(fixed, path)
        verdict = rtx.ask(path, build=True, timeout=120)
        assert verdict.parsed and verdict.built, verdict.message


# -- what is left alone ---------------------------------------------------------------------------


def test_targets_that_have_it() -> None:
    assert skip_reasons(PASS, scatter(("B", "A"), ("B", "M"), 1), target="trt-8.2") == []
    model = scatter(("B", "A"), ("B", "M"), 1, "none")
    for target in ("trt-8.6", "trt-10.3", "rtx-1.7"):
        assert skip_reasons(PASS, model, target=target) == []


def test_the_limit() -> None:
    model = scatter(("B", 1000), ("B", 200), 1)
    (reason,) = skip_reasons(ReplaceScatterElements(limit=199999), model)
    assert reason == "comparing makes 200000 numbers, more than limit = 199999"
    fixed, results = run_pass(ReplaceScatterElements(limit=200000), model)
    assert "ScatterElements" not in ops(fixed)
    (note,) = [c.note for r in results for c in r.changes]
    assert "memory grows" in note


def test_what_is_not_known() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[N] d, int64[N] k, float[N] u, int64[R] s) => (float[P] y) {
      x = Reshape (d, s) i = Reshape (k, s) v = Reshape (u, s)
      w = ScatterElements (x, i, v)
      flat = Constant <value = int64[1] {-1}> () y = Reshape (w, flat)
    }"""
    assert skip_reasons(PASS, text) == ["the rank of its data is not known"]
    (reason,) = skip_reasons(PASS, scatter(("A", "B"), ("A", "M"), 1, dtype=np.float64))
    assert reason == "trt-7.2 takes no DOUBLE in Where either"
    model = scatter(("A", 4), ("M", 1), 1, op="Scatter", opset=9)
    (reason,) = skip_reasons(PASS, model)
    assert reason == (
        "cutting data at run time needs Slice of operator set 10: export with a newer one"
    )
    model = scatter((2, "A"), (2, 2), 1, op="Scatter", opset=10)
    (reason,) = skip_reasons(PASS, model)
    assert reason == "counting at run time needs Range of operator set 11: export with a newer one"


def test_functions() -> None:
    head = """<ir_version: 10, opset_import: ["" : 16, "my" : 1]>
    g (float[N, 4] x, int64[N, 1] i, float[N, 1] v) => (float[N, 4] y) {
      y = my.f <m = 1> (x, i, v)
    }
    <opset_import: ["" : 16], domain: "my"> """
    (reason,) = skip_reasons(
        PASS, head + "f <m> (a, i, v) => (b) { b = ScatterElements (a, i, v) }"
    )
    assert "the element type of its data is not known" in reason
    body = "f <m> (a, i, v) => (b) { b = ScatterElements <axis: int = @m> (a, i, v) }"
    (reason,) = skip_reasons(PASS, head + body)
    assert "an attribute is a parameter of the enclosing function" in reason


def test_in_loops() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (int64 trips, float[2, A] x, float[2, 1] v) => (float[2, A] y) {
      go = Constant <value = bool {1}> () sizes = Constant <value = int64[2] {2, 1}> ()
      y = Loop (trips, go, x) <body = b
        (int64 k, bool c, float[2, A] old) => (bool d, float[2, A] next) {
          d = Identity (c) i = Expand (k, sizes)
          next = ScatterElements <axis = 1> (old, i, v)
        }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert [c.scope for r in results for c in r.changes] == ["y/body"]
    x, v = (RNG.random(s).astype(np.float32) for s in ((2, 5), (2, 1)))
    for trips in (0, 1, 5):
        given_ = {"x": x, "v": v, "trips": np.array(trips)}
        assert_same_outputs(onnx.parser.parse_model(text), fixed, given_)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or case.model.graph.node[0].op_type not in (
            "Scatter",
            "ScatterElements",
        ):
            continue
        fixed, results = run_pass(PASS, case.model)
        assert any(r.changes for r in results), case.name
        seen += 1
        names = [v.name for v in case.model.graph.input]
        for given_, wanted in case.data_sets or []:
            feeds = dict(zip(names, map(array, given_), strict=True))
            have, want = run_reference(fixed, feeds)[0], array(wanted[0])
            assert (have.dtype, have.shape) == (want.dtype, want.shape)
            np.testing.assert_allclose(have.astype(np.float64), want.astype(np.float64))
    assert seen >= 7
