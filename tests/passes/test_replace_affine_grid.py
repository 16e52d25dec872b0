"""ReplaceAffineGrid: coordinates times the columns of a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.check import check
from onnx_fix.lower import lower
from onnx_fix.testing import (
    as_proto,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.replace_affine_grid import ReplaceAffineGrid

PASS = ReplaceAffineGrid()
Shape = tuple[int | str | None, ...]


def model_of(
    dims: int | None,
    size: list[int] | None = None,
    *,
    out: Shape | None = None,
    dtype: str = "float32",
    align_corners: int = 0,
) -> ModelProto:
    """One AffineGrid; ``size`` is an input where it is None."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    theta: Shape = ("N", None, None) if dims is None else ("N", dims, dims + 1)
    given = [helper.make_tensor_value_info("theta", kind, theta)]
    held = []
    if size is None:
        count = None if dims is None else dims + 2
        given.append(helper.make_tensor_value_info("size", TensorProto.INT64, [count]))
    else:
        held.append(numpy_helper.from_array(np.asarray(size), "size"))
    node = helper.make_node(
        "AffineGrid", ["theta", "size"], ["y"], name="grid", align_corners=align_corners
    )
    shape = out or ((None,) * (dims + 2) if dims else ("A", "B", "C", "D"))
    result = helper.make_tensor_value_info("y", kind, shape)
    graph = helper.make_graph([node], "g", given, [result], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def theta_of(batch: int, dims: int, dtype: str = "float32") -> NDArray[Any]:
    return np.random.default_rng(9).standard_normal((batch, dims, dims + 1)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("align_corners", [0, 1])
@pytest.mark.parametrize("how", ["constant", "stated", "run time"])
@pytest.mark.parametrize("sizes", [(5, 6), (2, 7), (4, 5, 6)])
def test_as_onnxruntime_does(
    sizes: tuple[int, ...], how: str, align_corners: int, dtype: str
) -> None:
    dims = len(sizes)
    for batch in (1, 3):
        size = [batch, 2, *sizes]
        model = model_of(
            dims,
            size if how == "constant" else None,
            out=(None, *sizes, dims) if how == "stated" else None,
            dtype=dtype,
            align_corners=align_corners,
        )
        fixed, _ = run_pass(PASS, model)
        assert "AffineGrid" not in ops(fixed)
        assert ("Range" in ops(fixed)) == (how == "run time")
        feeds: dict[str, NDArray[Any]] = {"theta": theta_of(batch, dims, dtype)}
        if how != "constant":
            feeds["size"] = np.asarray(size)
        assert_same_outputs(model, fixed, feeds, exact=False, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [(1, 6), (1, 1), (3, 1, 1)])
@pytest.mark.parametrize("constant", [False, True])
def test_an_axis_of_one_element(sizes: tuple[int, ...], constant: bool) -> None:
    dims, size = len(sizes), [2, 1, *sizes]
    model = model_of(dims, size if constant else None)
    fixed, _ = run_pass(PASS, model)
    feeds: dict[str, NDArray[Any]] = {"theta": theta_of(2, dims)}
    if not constant:
        feeds["size"] = np.asarray(size)
    assert_same_outputs(model, fixed, feeds, exact=False, rtol=1e-4, atol=1e-5)


def test_half_precision_is_computed_in_float32() -> None:
    model = model_of(2, [2, 1, 4, 5], dtype="float16")
    fixed, _ = run_pass(PASS, model)
    feeds = {"theta": theta_of(2, 2, "float16")}
    (have,) = run_model(fixed, feeds)
    (want,) = run_reference(model, feeds)
    assert have.dtype == np.float16
    np.testing.assert_allclose(have.astype(np.float64), want.astype(np.float64), 2e-3, 2e-3)


@pytest.mark.parametrize("run_time", [False, True])
def test_old_releases_take_it_in_operator_set_11(run_time: bool) -> None:
    model = model_of(2, None if run_time else [1, 1, 4, 5])
    fixed, _ = run_pass(PASS, model)
    lowered = lower(fixed, 11)
    assert not lowered.refusals
    feeds: dict[str, NDArray[Any]] = {"theta": theta_of(1, 2)}
    if run_time:
        feeds["size"] = np.asarray([1, 1, 4, 5])
    else:
        assert not [f for f in check(lowered.model, target="trt-7.2").findings if f.blocks]
    assert_same_outputs(model, lowered.model, feeds, exact=False, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (model_of(2, [1, 1, 1, 4], align_corners=1), "runtimes differ"),
        (
            '<ir_version: 9, opset_import: ["" : 20]> g (float[K] t, int64[R] s, int64[Q] r)'
            " => (float[A,B,C,D] y) { u = Reshape (t, r) v = AffineGrid (u, s) w = Shape (v)"
            " a = Reshape (v, w) y = Reshape (a, s) }",
            "images or volumes",
        ),
    ],
    ids=["one", "rank"],
)
def test_refusals_say_why(model: ModelProto | str, part: str) -> None:
    (reason,) = skip_reasons(PASS, model)
    assert part in reason


def test_a_parameter_of_a_function_is_not_guessed() -> None:
    text = """<ir_version: 9, opset_import: ["" : 20, "own" : 1]>
    g (float[1,2,3] t, int64[4] s) => (float[1,A,B,2] y) { y = own.grid <by = 1> (t, s) }
    <opset_import: ["" : 20], domain: "own">
    grid <by> (t, s) => (z) { z = AffineGrid <align_corners: int = @by> (t, s) }"""
    (reason,) = skip_reasons(PASS, text)
    assert "inline it first" in reason


def test_inside_bodies() -> None:
    text = """<ir_version: 9, opset_import: ["" : 20]>
    g (bool c, float[N,2,3] t) => (float[N,3,4,2] y) <int64[4] s = {1, 1, 3, 4}> {
        y = If (c) <
            then_branch = then () => (float[N,3,4,2] a) { a = AffineGrid (t, s) },
            else_branch = other () => (float[N,3,4,2] b) {
                b = AffineGrid <align_corners = 1> (t, s) }
        >
    }"""
    model = as_proto(text)
    fixed, results = run_pass(PASS, model)
    assert sum(len(r.changes) for r in results) == 2 and "AffineGrid" not in str(fixed)
    for c in (True, False):
        feeds = {"c": np.asarray(c), "t": theta_of(1, 2)}
        assert_same_outputs(model, fixed, feeds, exact=False, rtol=1e-4, atol=1e-5)


def test_every_backend_test_keeps_its_outputs(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or ops(case.model) != ["AffineGrid"]:
            continue
        fixed, _ = run_pass(PASS, case.model)
        assert "AffineGrid" not in ops(fixed), case.name
        for inputs, outputs in case.data_sets or []:
            names = [i.name for i in case.model.graph.input]
            (have,) = run_model(fixed, dict(zip(names, map(np.asarray, inputs), strict=True)))
            want = np.asarray(outputs[0]).astype(np.float64)
            np.testing.assert_allclose(have.astype(np.float64), want, 1e-4, 1e-5)
        seen += 1
    assert seen == 4
