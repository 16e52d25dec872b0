"""replace-scatter-nd: slices around the updates, or a comparison of rows with updates."""

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
from onnx import ModelProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from recorded import array
from sized import Shape, sized

import onnx_fix
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
from onnx_fix_passes.replace_scatter_nd import ReplaceScatterND

PASS = ReplaceScatterND()
ALWAYS = ReplaceScatterND(everywhere=True)
RNG = np.random.default_rng(5)


def scatter_nd(
    shape: Shape,
    of_indices: Shape | NDArray[np.generic],
    reduction: str = "",
    *,
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
    depth = sizes[-1]
    rows = shape[depth:] if isinstance(depth, int) else ("R",)
    inputs.append(helper.make_tensor_value_info("v", kind, (*sizes[:-1], *rows)))
    outputs = [helper.make_tensor_value_info("y", kind, shape)]
    node = helper.make_node("ScatterND", ["x", "i", "v"], ["y"])
    if reduction:
        node.attribute.append(helper.make_attribute("reduction", reduction))
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    opset = opset or (18 if reduction else 11)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def feed(
    shape: Shape,
    of_indices: Shape,
    sizes: dict[str, int],
    dtype: type[np.generic] = np.float32,
    *,
    repeats: bool = False,
    index_type: type[np.generic] = np.int64,
) -> dict[str, NDArray[np.generic]]:
    """Data, indices of either sign that do not repeat unless asked to, and updates."""
    data, where = sized(shape, sizes), sized(of_indices, sizes)
    limits, count = data[: where[-1]], int(np.prod(where[:-1]))
    rows = int(np.prod(limits))
    picks = RNG.integers(0, rows, count) if repeats and rows else RNG.permutation(rows)[:count]
    found = np.stack(np.unravel_index(picks.astype(np.int64), limits), -1)
    turns: NDArray[np.int64] = RNG.integers(0, 2, found.shape)
    places = found - np.array(limits) * turns
    numbers = [RNG.integers(-9, 9, s) for s in (data, (*where[:-1], *data[where[-1] :]))]
    x, v = ((n > 0 if dtype is np.bool_ else n).astype(dtype) for n in numbers)
    return {"x": x, "i": places.reshape(where).astype(index_type), "v": v}


SITES: list[tuple[Shape, Shape]] = [
    (("A",), ("N", 1)),
    (("A",), (1,)),
    (("A", "B"), (1,)),
    (("A", "B"), (2,)),
    (("A", "B"), ("N", 1)),
    (("A", "B"), ("N", 2)),
    (("A", "B", 4), ("N", 2)),
    (("A", "B", "C"), ("N", 1)),
    (("A", "B", "C"), ("N", 3)),
    (("A", "B"), ("N", "M", 2)),
    (("A", "B", "C"), ("N", "M", 2)),
    (("A", "B", 2, 3), ("N", "M", 2)),
    ((4, 5, 2), (3, 2)),
    ((4, 5, 2), (1, 1)),
    ((1, 1), (1, 2)),
]
SIZES = [
    {"A": 4, "B": 3, "C": 5, "N": 3, "M": 2},
    {"A": 1, "B": 1, "C": 1, "N": 1, "M": 1},
    {"A": 6, "B": 2, "C": 2, "N": 0, "M": 3},
    {"A": 0, "B": 3, "C": 2, "N": 0, "M": 0},
]


def fits(shape: Shape, of_indices: Shape, sizes: dict[str, int]) -> bool:
    data, where = sized(shape, sizes), sized(of_indices, sizes)
    return int(np.prod(where[:-1])) <= int(np.prod(data[: where[-1]]))


@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2"])
@pytest.mark.parametrize(("shape", "of_indices"), SITES)
def test_any_indices(shape: Shape, of_indices: Shape, target: str) -> None:
    model = scatter_nd(shape, of_indices)
    fixed, _ = run_pass(PASS, model, target=target)
    assert "ScatterND" not in ops(fixed)
    check_taken(fixed, target)
    feeds = [feed(shape, of_indices, s) for s in SIZES if fits(shape, of_indices, s)]
    assert_rewrites(PASS, model, after=ops(fixed), feeds=feeds, target=target)


@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])
@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6", "trt-9.3", "trt-10.3", "trt-10.9"])
def test_reductions(reduction: str, target: str) -> None:
    for shape, of_indices in SITES:
        if len(of_indices) == 3 and isinstance(shape[-1], str) and len(shape) == 3:
            continue
        model = scatter_nd(shape, of_indices, reduction, opset=17 if reduction in "addmul" else 18)
        fixed, results = run_pass(PASS, model, target=target)
        changed = [c for r in results for c in r.changes]
        rounds = reduction in ("add", "mul")
        assert [c.exactness for c in changed] == [Exactness.ROUNDING if rounds else Exactness.EXACT]
        for sizes in SIZES:
            if fits(shape, of_indices, sizes):
                given_ = feed(shape, of_indices, sizes, repeats=True)
                assert_same_outputs(model, fixed, given_, exact=False)


def test_a_reduction_of_integers_is_exact() -> None:
    model = scatter_nd(("A", "B"), ("N", 1), "add", dtype=np.int64)
    fixed, results = run_pass(PASS, model, target="trt-8.6")
    assert [c.exactness for r in results for c in r.changes] == [Exactness.EXACT]
    given_ = feed(("A", "B"), ("N", 1), SIZES[0], np.int64, repeats=True)
    assert_same_outputs(model, fixed, given_)


def test_infinities_stay_in_their_row() -> None:
    model = scatter_nd(("A", "B"), ("N", 1), "add")
    fixed, _ = run_pass(PASS, model, target="trt-8.6")
    given_ = feed(("A", "B"), ("N", 1), SIZES[0])
    given_["v"][0] = np.inf
    given_["v"][1] = np.nan
    assert_same_outputs(model, fixed, given_, exact=False)


def test_the_last_of_repeated_indices_wins() -> None:
    model = scatter_nd(("A", "B"), ("N", 1))
    fixed, _ = run_pass(PASS, model)
    for _ in range(5):
        given_ = feed(("A", "B"), ("N", 1), {"A": 3, "B": 2, "N": 7}, repeats=True)
        want = given_["x"].copy()
        for place, row in zip(given_["i"][:, 0].tolist(), given_["v"], strict=True):
            want[place] = row
        np.testing.assert_array_equal(run_model(fixed, given_)[0], want)
        constant = scatter_nd((3, 2), given_["i"])
        folded, _ = run_pass(PASS, constant)
        del given_["i"]
        np.testing.assert_array_equal(run_model(folded, given_)[0], want)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), max_size=2),
    st.sampled_from(["", "add", "mul", "max", "min"]),
    st.sampled_from([np.float32, np.float16, np.int32, np.int64, np.float64]),
    st.booleans(),
    st.data(),
)
@settings(max_examples=120, deadline=None, derandomize=True)
def test_any_static_shapes(
    shape: list[int],
    front: list[int],
    reduction: str,
    dtype: type[np.generic],
    constant: bool,
    data: st.DataObject,
) -> None:
    depth = data.draw(st.integers(1, len(shape)))
    where = (*front, depth)
    if not reduction and int(np.prod(front)) > int(np.prod(shape[:depth])):
        return
    given_ = feed(tuple(shape), where, {}, dtype, repeats=bool(reduction))
    indices = given_.pop("i") if constant else where
    model = scatter_nd(tuple(shape), indices, reduction, dtype=dtype)
    fixed, results = run_pass(ALWAYS, model, target="trt-8.2")
    assert any(r.changes for r in results)
    # onnxruntime has no reduction of float16.
    half = dtype is np.float16 and bool(reduction)
    (want,) = (run_reference if half else run_model)(model, given_)
    (have,) = run_model(fixed, given_)
    assert (have.dtype, have.shape) == (want.dtype, want.shape)
    np.testing.assert_allclose(have.astype(np.float64), want.astype(np.float64), rtol=5e-3)


# -- rows that follow each other ------------------------------------------------------------------

HEAD = """<ir_version: 8, opset_import: ["" : 13]>
g (float[A, B] x, float[N, B] v, int64[1] s, int64 k) => (float[A, B] y) {
  zero = Constant <value = int64 {0}> () one = Constant <value = int64 {1}> ()
  z = Constant <value = int64[1] {0}> () two = Constant <value = int64[1] {2}> ()
  last = Constant <value = int64[1] {-1}> () four = Constant <value = int64 {4}> ()
  a = Shape (x) size = Gather (a, zero) n = Shape (v) count = Gather (n, zero)
  ccount = Unsqueeze (count, z) end = Constant <value = int64[1] {9223372036854775807}> ()
"""
TAIL = "i = Unsqueeze (r, last) y = ScatterND (x, i, v) }"


def region_feeds(start: int, count: int, size: int = 7) -> dict[str, NDArray[np.generic]]:
    x = RNG.random((size, 2)).astype(np.float32)
    v = RNG.random((count, 2)).astype(np.float32)
    return {"x": x, "v": v, "s": np.array([start]), "k": np.array(start)}


@pytest.mark.parametrize(
    ("nodes", "cases"),
    [
        ("r = Range (zero, count, one)", [(0, 3), (0, 0), (0, 7), (0, 1)]),
        ("q = Range (zero, size, one) r = Slice (q, z, ccount, z)", [(0, 3), (0, 0), (0, 7)]),
        (
            "q = Range (zero, size, one) t = Add (two, ccount) r = Slice (q, two, t, z)",
            [(2, 3), (2, 0), (2, 5)],
        ),
        (
            "q = Range (zero, size, one) m = Neg (ccount) r = Slice (q, m, end, z)",
            [(4, 3), (6, 1), (0, 7)],
        ),
        ("q = Range (zero, size, one) r = Slice (q, s, end, z)", [(4, 3), (7, 0), (-2, 2)]),
        ("q = Range (zero, count, one) r = Add (two, q)", [(2, 3), (2, 0), (2, 5)]),
        (
            "p = Abs (k) t = Add (p, count) w = Range (p, t, one) "
            "c = Cast <to = 6> (w) r = Cast <to = 7> (c)",
            [(2, 3), (0, 0), (6, 1)],
        ),
        ("r = Reshape (k, last)", [(3, 1), (0, 1), (-1, 1), (-7, 1)]),
        ("r = Identity (s)", [(3, 1), (-4, 1)]),
        ("r = Constant <value = int64[2] {-2, -1}> ()", [(0, 2)]),
        ("r = Constant <value = int64[3] {1, 2, 3}> ()", [(0, 3)]),
    ],
)
def test_regions(nodes: str, cases: list[tuple[int, int]]) -> None:
    model = HEAD + nodes + TAIL
    fixed, _ = run_pass(PASS, model)
    assert "ScatterND" not in ops(fixed) and "Concat" in ops(fixed)
    assert "ReduceMax" not in ops(fixed), ops(fixed)
    for start, count in cases:
        given_ = region_feeds(start, count)
        assert_same_outputs(onnx.parser.parse_model(model), fixed, given_)


@pytest.mark.parametrize(
    "nodes",
    [
        "p = Sub (zero, one) r = Range (p, count, one)",
        "m = Neg (one) r = Range (four, one, m)",
        "q = Range (zero, size, one) r = Slice (q, z, end, z, two)",
        "r = Constant <value = int64[2] {-1, 0}> ()",
        "r = Constant <value = int64[2] {3, 2}> ()",
    ],
)
def test_what_is_no_region(nodes: str) -> None:
    fixed, _ = run_pass(PASS, HEAD + nodes + TAIL)
    assert "ScatterND" not in ops(fixed)
    assert "Concat" not in ops(fixed) or "Gather" in ops(fixed)
    assert "Where" in ops(fixed), ops(fixed)


def test_wrong_regions_are_computed_too() -> None:
    model = HEAD + "p = Sub (zero, one) t = Sub (count, one) r = Range (p, t, one)" + TAIL
    fixed, _ = run_pass(PASS, model)
    assert_same_outputs(onnx.parser.parse_model(model), fixed, region_feeds(0, 3))


def test_a_whole_replacement_keeps_nothing_behind() -> None:
    model = scatter_nd((3, "B"), np.array([[0], [1], [2]]))
    fixed, _ = run_pass(PASS, model)
    assert ops(fixed) in ([], ["Identity"])
    given_ = {k: v for k, v in feed((3, 2), (3, 1), {}).items() if k != "i"}
    assert_same_outputs(model, fixed, given_)


def test_a_region_with_a_reduction() -> None:
    model = scatter_nd(("A", 2), np.array([[1], [2]]), "add")
    fixed, _ = run_pass(PASS, model, target="trt-8.6")
    assert ops(fixed) == ["Slice", "Add", "Slice", "Slice", "Concat"]
    given_ = {k: v for k, v in feed((5, 2), (2, 1), {}).items() if k != "i"}
    assert_same_outputs(model, fixed, given_)


# -- element types --------------------------------------------------------------------------------


def test_booleans() -> None:
    wheres: list[Shape] = [("N", 2), (1,)]
    for where in wheres:
        model = scatter_nd(("A", "B"), where, dtype=np.bool_)
        fixed, _ = run_pass(PASS, model)
        check_taken(fixed, "trt-7.2")
        assert ops(fixed)[-1] == "Cast"
        for sizes in SIZES[:3]:
            assert_same_outputs(model, fixed, feed(("A", "B"), where, sizes, np.bool_))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_small_integers(dtype: type[np.generic]) -> None:
    model = scatter_nd(("A", "B"), ("N", 2), dtype=dtype)
    fixed, _ = run_pass(ALWAYS, model, target="trt-8.6")
    assert_same_outputs(model, fixed, feed(("A", "B"), ("N", 2), SIZES[0], dtype))


# -- the builder ----------------------------------------------------------------------------------


@pytest.mark.rtx
@pytest.mark.skipif(not rtx.available(), reason="tensorrt_rtx (the extra `rtx`) is not installed")
@pytest.mark.parametrize("target", ["trt-7.2", "rtx-1.7"])
def test_the_real_builder_takes_it(target: str, tmp_path: Path) -> None:
    path = tmp_path / "fixed.onnx"
    for model in (
        scatter_nd(("A", "B", 4), ("N", 2), opset=13),
        scatter_nd(("A", "B", 4), ("N", 2), "add"),
        scatter_nd(("A", "B", 4), ("N", 2), "max"),
        scatter_nd(("A", 4), np.array([[1], [2]]), opset=13),
        scatter_nd((3, 4), np.array([[1, 1], [2, 0]]), opset=13),
    ):
        fixed, results = run_pass(ALWAYS, model, target=target)
        assert any(r.changes for r in results)
        onnx.save(fixed, path)
        verdict = rtx.ask(path, build=True, timeout=120)
        assert verdict.parsed and verdict.built, verdict.message


# -- what is left alone ---------------------------------------------------------------------------


def test_targets_that_have_it() -> None:
    assert skip_reasons(PASS, scatter_nd(("A", "B"), ("N", 2)), target="trt-8.2") == []
    model = scatter_nd(("A", "B"), ("N", 2), "none", opset=16)
    for target in ("trt-8.6", "trt-10.3", "trt-10.9"):
        assert skip_reasons(PASS, model, target=target) == []


def test_sizes_that_are_not_known() -> None:
    (reason,) = skip_reasons(PASS, scatter_nd(("A", "B"), ("N", "K")))
    assert "the last size of its indices 'i' is not known" in reason
    (reason,) = skip_reasons(PASS, scatter_nd(("A", "B", "C"), ("N", "M", 1)))
    assert "known at run time only: fix it, or flatten the indices" in reason


def test_the_limit() -> None:
    model = scatter_nd((1000, 8), (200, 1))
    (reason,) = skip_reasons(ReplaceScatterND(limit=199999), model)
    assert reason == "comparing makes 200000 numbers, more than limit = 199999"
    fixed, results = run_pass(ReplaceScatterND(limit=200000), model)
    assert "ScatterND" not in ops(fixed)
    (note,) = [c.note for r in results for c in r.changes]
    assert "memory grows" in note
    model = scatter_nd((1000, 8), (200, 1), "add")
    (reason,) = skip_reasons(ReplaceScatterND(limit=200000), model, target="trt-8.6")
    assert reason == "comparing makes 1600000 numbers, more than limit = 200000"


def test_types_that_are_not_taken() -> None:
    (reason,) = skip_reasons(PASS, scatter_nd(("A", "B"), ("N", 2), dtype=np.float64))
    assert reason == "trt-7.2 takes no DOUBLE in Where either"


def test_functions() -> None:
    head = """<ir_version: 10, opset_import: ["" : 16, "my" : 1]>
    g (float[N, 4] x, int64[M, 1] i, float[M, 4] v) => (float[N, 4] y) {
      y = my.f <m = "add"> (x, i, v)
    }
    <opset_import: ["" : 16], domain: "my"> """
    (reason,) = skip_reasons(PASS, head + "f <m> (a, i, v) => (b) { b = ScatterND (a, i, v) }")
    assert "the element type of its data is not known" in reason
    body = "f <m> (a, i, v) => (b) { b = ScatterND <reduction: string = @m> (a, i, v) }"
    (reason,) = skip_reasons(PASS, head + body)
    assert "an attribute is a parameter of the enclosing function" in reason


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, float[A, B] x, int64[N, 2] i, float[N] v) => (float[A, B] y) {
      y = If (c) <
        then_branch = one () => (float[A, B] t) { t = ScatterND (x, i, v) },
        else_branch = two () => (float[A, B] e) { z = Neg (x) e = ScatterND (z, i, v) }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    for way in (True, False):
        given_ = feed(("A", "B"), ("N", 2), SIZES[0])
        given_["c"] = np.array(way)
        assert_same_outputs(onnx.parser.parse_model(text), fixed, given_)


def test_the_assignment_matrix_of_lightglue(fixtures: Path) -> None:
    result = onnx_fix.fix(fixtures / "lightglue_match.dynamo18.onnx", target="trt-7.2")
    left = set(ops(result.model))
    assert not left & {"ScatterND", "ScatterElements", "Scatter"}
    # They assign to slices, so nothing is compared.
    made = [c for c in result.report.changes if "scatter" in c.pass_name]
    assert len(made) == 6 and not any("Equal" in c.new_ops for c in made)
    assert result.report.verification is not None
    assert result.report.verification.status == "equal"


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or case.model.graph.node[0].op_type != "ScatterND":
            continue
        fixed, results = run_pass(PASS, case.model)
        assert any(r.changes for r in results), case.name
        seen += 1
        names = [v.name for v in case.model.graph.input]
        for given_, wanted in case.data_sets or []:
            feeds = dict(zip(names, map(array, given_), strict=True))
            np.testing.assert_array_equal(run_reference(fixed, feeds)[0], array(wanted[0]))
    assert seen >= 5
