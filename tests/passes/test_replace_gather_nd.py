"""replace-gather-nd: one Gather from data whose indexed dims are one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from recorded import array
from sized import Shape, sized

from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.replace_gather_nd import ReplaceGatherND

PASS = ReplaceGatherND()
ALWAYS = ReplaceGatherND(everywhere=True)
RNG = np.random.default_rng(11)


def gather_nd(
    shape: Shape,
    of_indices: Shape | NDArray[np.int64],
    batch: int = 0,
    *,
    dtype: type[np.generic] = np.float32,
    opset: int = 13,
) -> ModelProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    weights = []
    if isinstance(of_indices, np.ndarray):
        weights.append(numpy_helper.from_array(of_indices, "i"))
        sizes: Shape = of_indices.shape
    else:
        inputs.append(helper.make_tensor_value_info("i", TensorProto.INT64, of_indices))
        sizes = of_indices
    depth = sizes[-1]
    rank = len(sizes) - 1 + len(shape) - batch - (depth if isinstance(depth, int) else 1)
    outputs = [helper.make_tensor_value_info("y", kind, [f"o{k}" for k in range(rank)])]
    node = helper.make_node("GatherND", ["x", "i"], ["y"])
    if batch:
        node.attribute.append(helper.make_attribute("batch_dims", batch))
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def feed(
    shape: Shape, of_indices: Shape, batch: int, sizes: dict[str, int], dtype: type[np.generic]
) -> dict[str, NDArray[np.generic]]:
    data, where = sized(shape, sizes), sized(of_indices, sizes)
    limits = data[batch : batch + where[-1]]
    columns = [RNG.integers(-n, n, where[:-1]) if n else np.zeros(where[:-1]) for n in limits]
    x = (RNG.random(data) * 9).astype(dtype)
    return {"x": x, "i": np.stack(columns, -1).astype(np.int64)}


SITES: list[tuple[Shape, Shape, int]] = [
    (("A", "B"), ("N", 2), 0),
    (("A", "B"), ("N", 1), 0),
    (("A", "B", 4), ("N", 2), 0),
    (("A", "B", "C"), ("N", "M", 2), 0),
    ((2, 3, 4), ("N", 1), 0),
    (("A", "B", "C", 4), ("N", 2), 0),
    (("A", 3, 2, 4), ("N", "M", 2), 0),
    (("A", "B", "C"), (3,), 0),
    (("A", "B", "C"), (2,), 0),
    (("A", 3, 2, 2), (2,), 0),
    (("A", "B", "C"), ("A", "N", 1), 1),
    (("A", "B", "C"), ("A", 2), 1),
    (("A", 3, "C", 2), ("A", 3, "N", 1), 2),
    ((2, 3, 4), (2, 5, 2), 1),
]


@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2", "trt-8.0"])
@pytest.mark.parametrize(("shape", "of_indices", "batch"), SITES)
def test_sites(shape: Shape, of_indices: Shape, batch: int, target: str) -> None:
    model = gather_nd(shape, of_indices, batch, opset=13 if batch else 11)
    sizes = [
        {"A": 2, "B": 3, "C": 5, "N": 4, "M": 2},
        {"A": 1, "B": 1, "C": 1, "N": 1, "M": 1},
        {"A": 2, "B": 2, "C": 2, "N": 0, "M": 3},
    ]
    fixed, _ = run_pass(PASS, model, target=target)
    assert "GatherND" not in ops(fixed)
    view = Model(fixed, None, load_target(target))
    assert not any(s.refused(n) for s in view.scopes for n in s.graph.nodes)
    assert_rewrites(
        PASS,
        model,
        after=ops(fixed),
        feeds=[feed(shape, of_indices, batch, s, np.float32) for s in sizes],
        target=target,
    )


def test_data_without_elements() -> None:
    for shape in (("A", "B"), ("A", "B", 4), ("A", "B", "C", 4)):
        model = gather_nd(shape, ("N", 2))
        fixed, _ = run_pass(PASS, model)
        for sizes in ({"A": 0, "B": 3, "C": 2, "N": 0}, {"A": 2, "B": 3, "C": 0, "N": 2}):
            given_ = feed(shape, ("N", 2), 0, sizes, np.float32)
            assert_same_outputs(model, fixed, given_)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), max_size=2),
    st.integers(0, 2),
    st.data(),
)
@settings(max_examples=80, deadline=None)
def test_any_static_shapes(
    shape: list[int], front: list[int], batch: int, data: st.DataObject
) -> None:
    batch = min(batch, len(shape) - 1)
    depth = data.draw(st.integers(1, len(shape) - batch))
    where = (*shape[:batch], *front, depth)
    model = gather_nd(tuple(shape), where, batch)
    fixed, results = run_pass(PASS, model)
    assert any(r.changes for r in results)
    assert_same_outputs(model, fixed, feed(tuple(shape), where, batch, {}, np.float32))


def test_constant_indices() -> None:
    indices = np.array([[0, -1], [1, 2], [-2, 0]])
    feeds = [{"x": RNG.random((2, 3, 4)).astype(np.float32)}]
    model = gather_nd((2, 3, 4), indices)
    assert_rewrites(PASS, model, after=["Flatten", "Gather"], feeds=feeds)
    model = gather_nd(("A", 3, 4), indices % np.array([2, 3]))
    assert_rewrites(PASS, model, after=["Flatten", "Gather"], feeds=feeds)
    model = gather_nd(("A", "B", 4), indices)
    fixed, _ = run_pass(PASS, model)
    assert_rewrites(PASS, model, after=ops(fixed), feeds=feeds)


def test_indices_that_cannot_be_negative_are_not_wrapped() -> None:
    model = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[A, B] x, bool[N, M] m) => (float[K] y) {
      n = NonZero (m) i = Transpose <perm = [1, 0]> (n) y = GatherND (x, i)
    }"""
    fixed, _ = run_pass(PASS, model)
    assert "Where" not in ops(fixed) and "GatherND" not in ops(fixed)
    x = RNG.random((3, 4)).astype(np.float32)
    assert_same_outputs(onnx.parser.parse_model(model), fixed, {"x": x, "m": x > 0.5})


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.2", "trt-8.4"])
def test_booleans(target: str) -> None:
    model = gather_nd(("A", "B"), ("N", 2), dtype=np.bool_)
    fixed, _ = run_pass(PASS, model, target=target)
    assert ops(fixed)[0] == "Cast" and ops(fixed)[-1] == "Cast"
    feeds = [feed(("A", "B"), ("N", 2), 0, {"A": 3, "B": 4, "N": n}, np.bool_) for n in (5, 1, 0)]
    assert_rewrites(PASS, model, after=ops(fixed), feeds=feeds, target=target)


@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.int64])
def test_other_types(dtype: type[np.generic]) -> None:
    model = gather_nd(("A", "B", 2), ("N", 2), dtype=dtype)
    fixed, _ = run_pass(PASS, model)
    sizes = {"A": 3, "B": 4, "N": 5}
    assert_same_outputs(model, fixed, feed(("A", "B", 2), ("N", 2), 0, sizes, dtype))


# -- what is left alone ---------------------------------------------------------------------------


def test_targets_that_have_it() -> None:
    assert skip_reasons(PASS, gather_nd(("A", "B"), ("N", 2)), target="trt-8.2") == []


def test_sizes_that_are_not_known() -> None:
    (reason,) = skip_reasons(PASS, gather_nd(("A", "B"), ("N", "K")))
    assert "the last size of its indices 'i' is not known" in reason
    (reason,) = skip_reasons(PASS, gather_nd(("A", "B", "C", "D"), ("N", 2)))
    assert "known at run time only: fix the size" in reason


def test_data_that_is_too_large() -> None:
    (reason,) = skip_reasons(PASS, gather_nd((2**16, 2**15), ("N", 2)))
    assert "more elements than the integers of the target count" in reason


def test_types_that_the_target_does_not_take() -> None:
    (reason,) = skip_reasons(PASS, gather_nd(("A", "B"), ("N", 2), dtype=np.float64))
    assert "takes no Gather of DOUBLE either" in reason


def test_functions() -> None:
    head = """<ir_version: 10, opset_import: ["" : 14, "my" : 1]>
    g (float[N, 4] x, int64[M, 1] i) => (float[M, 4] y) { y = my.f <m = 0> (x, i) }
    <opset_import: ["" : 14], domain: "my"> """
    (reason,) = skip_reasons(PASS, head + "f <m> (a, i) => (b) { b = GatherND (a, i) }")
    assert "the rank of its data or of its indices is not known" in reason
    body = "f <m> (a, i) => (b) { b = GatherND <batch_dims: int = @m> (a, i) }"
    (reason,) = skip_reasons(PASS, head + body)
    assert "batch_dims is a parameter of the enclosing function" in reason


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, float[A, B] x, int64[N, 2] i) => (float[N] y) {
      y = If (c) <
        then_branch = one () => (float[N] t) { t = GatherND (x, i) },
        else_branch = two () => (float[N] e) { z = Neg (x) e = GatherND (z, i) }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    for way in (True, False):
        given_ = feed(("A", "B"), ("N", 2), 0, {"A": 3, "B": 4, "N": 5}, np.float32)
        given_["c"] = np.array(way)
        assert_same_outputs(onnx.parser.parse_model(text), fixed, given_)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or case.model.graph.node[0].op_type != "GatherND":
            continue
        fixed, results = run_pass(PASS, case.model)
        assert any(r.changes for r in results), case.name
        seen += 1
        names = [v.name for v in case.model.graph.input]
        for given_, wanted in case.data_sets or []:
            feeds = dict(zip(names, map(array, given_), strict=True))
            np.testing.assert_array_equal(run_reference(fixed, feeds)[0], array(wanted[0]))
    assert seen >= 3
