"""GatherElements as a plugin node, as plain Gather, and mended where the target takes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.replace_gather_elements import ReplaceGatherElements
from onnx_fix_plugins import gather_elements, reference_functions

PLUGIN = ReplaceGatherElements()
GATHER = ReplaceGatherElements(form="gather")
Dims = Sequence[int | str]


def gather_model(
    data: Dims,
    indices: Dims,
    axis: int,
    *,
    dtype: int = TensorProto.FLOAT,
    index_type: int = TensorProto.INT64,
    opset: int = 13,
    constant: NDArray[np.generic] | None = None,
) -> ModelProto:
    node = helper.make_node("GatherElements", ["x", "i"], ["y"], axis=axis)
    inputs = [helper.make_tensor_value_info("x", dtype, data)]
    weights = []
    if constant is None:
        inputs.append(helper.make_tensor_value_info("i", index_type, indices))
    else:
        weights.append(numpy_helper.from_array(constant, "i"))
    outputs = [helper.make_tensor_value_info("y", dtype, indices)]
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def with_bodies(model: ModelProto) -> ModelProto:
    """The model with its plugin nodes executable, as verification runs it."""
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = max(model.ir_version, 8)
    opset = max(o.version for o in model.opset_import if o.domain == "")
    copy.functions.extend(reference_functions(opset))
    return copy


def random_feeds(
    data: Sequence[int],
    indices: Sequence[int],
    axis: int,
    *,
    dtype: np.dtype[np.generic] | type = np.float32,
    index_type: type = np.int64,
    seed: int = 0,
) -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(seed)
    size = max(data[axis], 1)
    x = rng.integers(-100, 100, data)
    i: NDArray[np.generic] = rng.integers(-size, size, indices).astype(index_type)
    return {"x": x.astype(dtype) if dtype is not bool else x > 0, "i": i}


# -- the plugin --------------------------------------------------------------------------------


def test_plugin_node() -> None:
    fixed, results = run_pass(PLUGIN, gather_model(["B", "N"], ["B", "M"], -1))
    (node,) = fixed.graph.node
    assert (node.op_type, node.domain) == ("GatherElementsPlugin", "trt.plugins")
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    assert attrs == {"axis": 1, "plugin_version": b"1", "plugin_namespace": b""}
    assert [(o.domain, o.version) for o in fixed.opset_import] == [("", 13), ("trt.plugins", 1)]
    assert not fixed.functions
    notes = [c.note for r in results for c in r.changes]
    told = "needs the plugin GatherElementsPlugin: onnx-fix plugins build compiles its library"
    assert notes == [told]


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 5, 7), (0, 3, 2), (2, 3, 0)])
def test_plugin_computes_the_same(opset: int, sizes: tuple[int, int, int]) -> None:
    b, n, m = sizes
    before = gather_model(["B", "N", 3], ["B", "M", 3], -2, opset=opset)
    after = with_bodies(run_pass(PLUGIN, before)[0])
    feeds = random_feeds((b, n, 3), (b, m, 3), 1)
    assert_same_outputs(before, after, feeds)
    assert_same_outputs(before, after, feeds, reference=True)


def test_other_spelling_of_the_default_domain() -> None:
    before = gather_model(["B", "N"], ["B", "M"], 1)
    before.opset_import[0].domain = "ai.onnx"
    fixed, _ = run_pass(PLUGIN, before)
    assert [(o.domain, o.version) for o in fixed.opset_import] == [("", 13), ("trt.plugins", 1)]
    assert before.opset_import[0].domain == "ai.onnx"
    left, _ = run_pass(PLUGIN, before, target="trt-8.6")
    assert left == before
    plain, _ = run_pass(GATHER, before)
    assert plain.opset_import == before.opset_import


def test_domain_is_imported_once_and_for_nodes_in_branches() -> None:
    before = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13, "trt.plugins" : 1]>
        g (bool c, float[B,N] x, int64[B,M] i) => (float[B,M] y) {
            y = If (c) <
                then_branch = t () => (float[B,M] a) { a = GatherElements <axis = 1> (x, i) },
                else_branch = e () => (float[B,M] b) {
                    n = Neg (x)
                    b = GatherElements <axis = 1> (n, i)
                }
            >
        }"""
    )
    fixed, results = run_pass(PLUGIN, before)
    assert sum(len(r.changes) for r in results) == 2
    assert fixed.opset_import == before.opset_import
    del before.opset_import[1]
    fixed, _ = run_pass(PLUGIN, before)
    assert [o.domain for o in fixed.opset_import] == ["", "trt.plugins"]
    for taken in (True, False):
        feeds = {**random_feeds((2, 5), (2, 3), 1), "c": np.array(taken)}
        assert_same_outputs(before, with_bodies(fixed), feeds)


def test_domain_in_a_function() -> None:
    before = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13, "my" : 1]>
        g (float[B,N] x, int64[B,M] i) => (float[B,M] y) { y = my.pick (x, i) }
        <domain: "my", opset_import: ["" : 13]>
        pick (x, i) => (y) { y = GatherElements <axis = 1> (x, i) }"""
    )
    fixed, _ = run_pass(PLUGIN, before)
    assert [o.domain for o in fixed.functions[0].opset_import] == ["", "trt.plugins"]
    assert [o.domain for o in fixed.opset_import] == ["", "my", "trt.plugins"]
    assert_same_outputs(before, with_bodies(fixed), random_feeds((2, 5), (2, 3), 1))


def test_no_plugins_before_7_1() -> None:
    before = gather_model([4, 6], [4, 2], 1)
    fixed, results = run_pass(PLUGIN, before, target="trt-7.0")
    assert "GatherElementsPlugin" not in ops(fixed)
    assert [c.note for r in results for c in r.changes] == [
        "plain Gather, since GatherElementsPlugin is no use on trt-7.0"
    ]
    assert_same_outputs(before, fixed, random_feeds((4, 6), (4, 2), 1))


def test_element_types_that_the_plugin_lacks() -> None:
    before = gather_model([4], [2], 0, dtype=TensorProto.UINT8)
    always = ReplaceGatherElements(everywhere=True)
    assert ops(run_pass(always, before, target="trt-8.6")[0]) == ["Gather"]
    assert skip_reasons(PLUGIN, before) == ["trt-7.2 takes no UINT8 data in Gather"]


# -- plain Gather ------------------------------------------------------------------------------


def test_rank_one() -> None:
    assert_rewrites(
        GATHER,
        gather_model(["N"], ["M"], 0),
        after=["Shape", "Gather", "Add", "Less", "Where", "Gather"],
        feeds=[random_feeds((n,), (m,), 0) for n, m in ((1, 1), (5, 9), (3, 0))],
    )


def test_negative_indices_are_left_to_gather_where_it_counts_them() -> None:
    always = ReplaceGatherElements(form="gather", everywhere=True)
    before = gather_model(["N"], ["M"], 0)
    assert_rewrites(
        always, before, after=["Gather"], target="trt-8.2", feeds=[random_feeds((5,), (9,), 0)]
    )
    # Of data of (2, N) a negative index of one row is no negative position.
    before = gather_model([2, "N"], [1, "M"], 1)
    feeds = [random_feeds((2, 5), (1, 4), 1)]
    assert_rewrites(
        always,
        before,
        after=["Shape", "Gather", "Add", "Less", "Where", "Reshape", "Gather"],
        target="trt-8.2",
        feeds=feeds,
    )


def test_all_other_axes_of_size_one() -> None:
    before = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[1,N] x, float[1,K,M] s) => (float[1,M] y) {
            i = ArgMax <axis = 1, keepdims = 0> (s)
            y = GatherElements <axis = 1> (x, i)
        }"""
    )
    rng = np.random.default_rng(0)
    feeds = [
        {
            "x": rng.standard_normal((1, n)).astype(np.float32),
            "s": rng.standard_normal((1, k, m)).astype(np.float32),
        }
        for n, k, m in ((5, 5, 3), (4, 1, 1), (9, 7, 11))
    ]
    assert_rewrites(GATHER, before, after=["ArgMax", "Reshape", "Gather"], feeds=feeds)


@pytest.mark.parametrize("form", ["gather", "plugin"])
def test_indices_expanded_along_the_other_axes(form: str) -> None:
    """torch.gather(desc, 2, idx[None, None].expand(1, C, -1)), as exporters write it."""
    before = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[1,8,N] x, int64[M] k, int64[3] shape) => (float[1,8,M] y) {
            a = Constant <value = int64[2] {0, 1}> ()
            u = Unsqueeze (k, a)
            m = Shape (k)
            c = Constant <value = int64[2] {1, 8}> ()
            s = Concat <axis = 0> (c, m)
            i = Expand (u, s)
            y = GatherElements <axis = 2> (x, i)
        }"""
    )
    del before.graph.input[2]
    pass_ = GATHER if form == "gather" else PLUGIN
    fixed, _ = run_pass(pass_, before)
    if form == "gather":
        assert "Range" not in ops(fixed) and "Expand" not in ops(fixed)
        assert Counter(ops(fixed))["Gather"] == 2  # one of them is the length of the axis
    for n, m in ((4, 7), (1, 1), (3, 0)):
        feeds: dict[str, NDArray[np.generic]] = {
            "x": np.random.default_rng(1).standard_normal((1, 8, n)).astype(np.float32),
            "k": np.random.default_rng(2).integers(-n, n, m),
        }
        assert_same_outputs(before, with_bodies(fixed), feeds)


def test_expanded_indices_of_another_length_are_not_taken_for_a_row() -> None:
    """Expand may lengthen the axis itself, and GatherElements may read only some of the rows."""
    before = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[1,8,N] x, int64[1,1,K] k, int64[3] s) => (float[A,B,M] y) {
            i = Expand (k, s)
            y = GatherElements <axis = 2> (x, i)
        }"""
    )
    fixed, _ = run_pass(GATHER, before)
    x = np.random.default_rng(1).standard_normal((1, 8, 4)).astype(np.float32)
    for k, shape in (([[[3]]], (1, 8, 5)), ([[[1, -2]]], (1, 2, 2)), ([[[2, 0]]], (1, 8, 1))):
        feeds = {"x": x, "k": np.array(k), "s": np.array(shape)}
        assert_same_outputs(before, fixed, feeds)


def test_an_index_that_expand_repeats_along_the_axis() -> None:
    before = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[1,8,N] x, int64[1,1,K] k, int64[1] m) => (float[1,8,M] y) {
            rows = Constant <value = int64[2] {1, 8}> ()
            s = Concat <axis = 0> (rows, m)
            i = Expand (k, s)
            y = GatherElements <axis = 2> (x, i)
        }"""
    )
    fixed, _ = run_pass(GATHER, before)
    x = np.random.default_rng(1).standard_normal((1, 8, 4)).astype(np.float32)
    for k, m in (([[[3]]], 5), ([[[1, -2]]], 2), ([[[1, -2]]], 1)):
        assert_same_outputs(before, fixed, {"x": x, "k": np.array(k), "m": np.array([m])})


def test_constant_indices() -> None:
    rows = np.array([[1, -1, 0]] * 4)
    before = gather_model([4, 6], [4, 3], 1, constant=rows)
    fixed = assert_rewrites(GATHER, before, after=["Gather"], feeds=[{"x": _ramp((4, 6))}])
    assert numpy_helper.to_array(fixed.graph.initializer[0]).tolist() == [1, 5, 0]
    rows = np.array([[1, -1, 0], [2, 2, 2]])
    before = gather_model([4, 6], [2, 3], 1, constant=rows)
    fixed = assert_rewrites(
        GATHER, before, after=["Reshape", "Gather"], feeds=[{"x": _ramp((4, 6))}]
    )
    positions = numpy_helper.to_array(fixed.graph.initializer[-1])
    assert [[1, 5, 0], [8, 8, 8]] in [
        numpy_helper.to_array(t).tolist() for t in fixed.graph.initializer
    ], positions
    before = gather_model([4, "N"], [2, 3], 1, constant=rows)
    fixed, _ = run_pass(GATHER, before)
    for n in (3, 8):
        assert_same_outputs(before, fixed, {"x": _ramp((4, n))})


def _ramp(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_static_sizes_need_no_shape() -> None:
    fixed, _ = run_pass(GATHER, gather_model([3, 4, 5], [2, 4, 5], 1))
    assert ops(fixed) == ["Add", "Less", "Where", "Mul", "Add", "Reshape", "Gather"]


def test_int32_indices_stay_int32_where_all_is_static() -> None:
    fixed, _ = run_pass(GATHER, gather_model([3, 4], [3, 2], 1, index_type=TensorProto.INT32))
    assert "Cast" not in ops(fixed)
    dynamic = gather_model(["B", 4], ["B", 2], 1, index_type=TensorProto.INT32)
    fixed, _ = run_pass(GATHER, dynamic)
    assert Counter(ops(fixed))["Cast"] == 1


def test_bool_data_goes_through_int32() -> None:
    before = gather_model(["B", "N"], ["B", "M"], 1, dtype=TensorProto.BOOL)
    feeds = random_feeds((2, 5), (2, 7), 1, dtype=bool)
    fixed, _ = run_pass(GATHER, before)
    assert Counter(ops(fixed))["Cast"] == 2
    assert_same_outputs(before, fixed, feeds)
    always = ReplaceGatherElements(form="gather", everywhere=True)
    assert "Cast" not in ops(run_pass(always, before, target="trt-8.6")[0])


def test_in_branches_and_loops() -> None:
    before = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (int64 trips, float[B,N] x, int64[B,M] i) => (float[B,M] last, float[T,B,M] all) {
            go = Constant <value = bool {1}> ()
            zero = Constant <value = float {0}> ()
            f = Cast <to = 1> (i)
            start = Mul (f, zero)
            last, all = Loop (trips, go, start) <body = b
                (int64 k, bool c, float[B,M] acc) => (bool d, float[B,M] next, float[B,M] seen) {
                    d = Identity (c)
                    seen = GatherElements <axis = -1> (x, i)
                    next = Add (acc, seen)
                }
            >
        }"""
    )
    fixed, results = run_pass(GATHER, before)
    assert [c.scope for r in results for c in r.changes] == ["last/body"]
    for trips in (0, 1, 3):
        feeds = {**random_feeds((2, 5), (2, 3), 1), "trips": np.array(trips)}
        assert_same_outputs(before, fixed, feeds)


DTYPES = [np.float32, np.float16, np.float64, np.int32, np.int64, np.bool_, np.uint8]


@st.composite
def gather_cases(draw: st.DrawFn) -> tuple[ModelProto, dict[str, NDArray[np.generic]], int, str]:
    rank = draw(st.integers(1, 5))
    axis = draw(st.integers(-rank, rank - 1))
    data = draw(st.lists(st.integers(0, 4), min_size=rank, max_size=rank))
    indices = [draw(st.integers(0, size)) for size in data]
    data[axis] = max(data[axis], 1)
    indices[axis] = draw(st.integers(0, 5))
    dtype = draw(st.sampled_from(DTYPES))
    index_type = draw(st.sampled_from([np.int32, np.int64]))
    symbolic = draw(st.sets(st.integers(0, rank - 1)))
    opset = draw(st.sampled_from([11, 13, 16, 21]))
    seed = draw(st.integers(0, 99))
    feeds = random_feeds(data, indices, axis, dtype=dtype, index_type=index_type, seed=seed)
    frozen = draw(st.booleans())
    model = gather_model(
        [f"D{k}" if k in symbolic else size for k, size in enumerate(data)],
        [f"I{k}" if k in symbolic and not frozen else size for k, size in enumerate(indices)],
        axis,
        dtype=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)),
        index_type=helper.np_dtype_to_tensor_dtype(np.dtype(index_type)),
        opset=opset,
        constant=feeds.pop("i") if frozen else None,
    )
    target = draw(st.sampled_from(["trt-7.2", "trt-8.0", "trt-8.2", "trt-10.3"]))
    return model, feeds, axis, target


@settings(max_examples=150, deadline=None, derandomize=True)
@given(gather_cases())
def test_against_numpy_and_onnxruntime(
    case: tuple[ModelProto, dict[str, NDArray[np.generic]], int, str],
) -> None:
    before, feeds, axis, target = case
    frozen = {t.name: numpy_helper.to_array(t) for t in before.graph.initializer}
    x, i = feeds["x"], feeds.get("i", frozen.get("i"))
    assert i is not None
    want = gather_elements.reference(x, i, axis) if x.dtype in _PLUGIN_DTYPES else None
    forms: tuple[Literal["gather", "plugin"], ...] = ("gather", "plugin")
    for form in forms:
        pass_ = ReplaceGatherElements(form=form, everywhere=True)
        fixed, results = run_pass(pass_, before, target=target)
        if not any(r.changes for r in results):
            refused = {"trt-7.2": (np.float64, np.uint8)}.get(target, (np.uint8,))
            assert x.dtype in [np.dtype(t) for t in refused], results
            assert [s.reason.split()[:3] for r in results for s in r.skipped] == [
                [target, "takes", "no"]
            ]
            continue
        (have,) = run_model(with_bodies(fixed), feeds)
        (native,) = run_model(before, feeds)
        np.testing.assert_array_equal(have, native, strict=True)
        if want is not None:
            np.testing.assert_array_equal(have, want, strict=True)


_PLUGIN_DTYPES = [np.dtype(t) for t in (np.float32, np.float16, np.int32, np.int64, np.bool_)]


# -- the operator's own tests --------------------------------------------------------------------


@pytest.mark.parametrize("form", ["plugin", "gather"])
def test_backend_node_tests(form: Literal["plugin", "gather"], node_cases: list[TestCase]) -> None:
    pass_ = ReplaceGatherElements(form=form, everywhere=True)
    cases = [c for c in node_cases if c.model is not None and "GatherElements" in ops(c.model)]
    assert len(cases) >= 3
    for case in cases:
        assert case.model is not None and case.data_sets is not None
        fixed, results = run_pass(pass_, case.model)
        assert any(r.changes for r in results), case.name
        names = [v.name for v in case.model.graph.input]
        for inputs, outputs in case.data_sets:
            feeds = dict(zip(names, inputs, strict=True))
            for run in (run_model, run_reference):
                for have, want in zip(run(with_bodies(fixed), feeds), outputs, strict=True):
                    assert (have.dtype, have.shape) == (want.dtype, want.shape)
                    assert np.allclose(have, want, rtol=case.rtol, atol=case.atol)
        untouched, _ = run_pass(GATHER, case.model, target="trt-8.6")
        assert untouched.SerializeToString() == case.model.SerializeToString()
