"""ReduceAxesInput: reductions whose axes input the target ignores."""

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
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.reduce_axes_input import ReduceAxesInput

SUM = "ReduceSum"
FORMS = {
    "ReduceL1": ["Abs", SUM],
    "ReduceL2": ["Mul", SUM, "Sqrt"],
    "ReduceLogSum": [SUM, "Log"],
    "ReduceLogSumExp": ["TopK", "Max", "Min", "Sub", "Exp", SUM, "Log", "Add"],
    "ReduceMax": ["TopK"],
    "ReduceMean": [SUM, "Div"],
    "ReduceMin": ["TopK"],
    "ReduceSumSquare": ["Mul", SUM],
}
"""The form of each op along one axis of a known length, on a target that reads ReduceSum's axes."""


def close(have: Any, want: Any, *, rtol: float = 1e-6, atol: float = 0.0) -> None:
    """Numbers, shapes, NaNs and infinities agree."""
    np.testing.assert_allclose(have, want, rtol=rtol, atol=atol)


def model_of(
    op: str,
    shape: tuple[int | str, ...] | None,
    axes: list[int] | None,
    *,
    opset: int = 18,
    dtype: int = TensorProto.FLOAT,
    **attrs: Any,
) -> ModelProto:
    """One reduction with its axes as an initializer; ``shape`` None leaves the rank unknown."""
    inputs = [helper.make_tensor_value_info("x", dtype, shape or ["n"])]
    nodes = [helper.make_node(op, ["x"] if axes is None else ["x", "axes"], ["y"], **attrs)]
    if shape is None:
        inputs.append(helper.make_tensor_value_info("to", TensorProto.INT64, ["k"]))
        nodes = [
            helper.make_node("Reshape", ["x", "to"], ["r"]),
            helper.make_node(op, ["r", "axes"], ["z"], **attrs),
            helper.make_node("Reshape", ["z", "flat"], ["y"]),
        ]
        rank = 1
    else:
        gone = len({a % len(shape) for a in axes or range(len(shape))})
        if attrs.get("noop_with_empty_axes") or attrs.get("keepdims", 1):
            gone = 0
        rank = len(shape) - gone
    outputs = [helper.make_tensor_value_info("y", dtype, [f"o{k}" for k in range(rank)])]
    held = [numpy_helper.from_array(np.array([-1], np.int64), "flat")] if shape is None else []
    if axes is not None:
        held.append(numpy_helper.from_array(np.array(axes, np.int64), "axes"))
    graph = helper.make_graph(nodes, "g", inputs, outputs, held)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8 if opset < 19 else 10)


def data(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """Positive and negative numbers, the same every time."""
    x = np.random.default_rng(3).standard_normal(shape) * 3
    return np.asarray(x, dtype)


def assert_same(before: ModelProto, after: ModelProto, x: np.ndarray, op: str) -> None:
    fed = np.abs(x) if op == "ReduceLogSum" else x
    exact = op in ("ReduceMax", "ReduceMin")
    assert_same_outputs(before, after, {"x": fed}, exact=exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("op", sorted(FORMS))
def test_forms(op: str, keepdims: int) -> None:
    before = model_of(op, ("a", 5, "b"), [1], keepdims=keepdims)
    fixed, results = run_pass(ReduceAxesInput(), before, target="trt-8.6")
    squeezed = keepdims == 0 and "TopK" in FORMS[op]
    assert ops(fixed) == FORMS[op] + ["Squeeze"] * squeezed
    assert [len(r.changes) for r in results] == [1, 0]
    onnx.checker.check_model(fixed, full_check=True)
    for shape in ((2, 5, 3), (1, 5, 1), (3, 5, 0)):
        assert_same(before, fixed, data(shape), op)
        reference = run_reference(fixed, {"x": np.abs(data(shape))})[0]
        want = run_model(before, {"x": np.abs(data(shape))})[0]
        close(reference, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op", sorted(FORMS))
@pytest.mark.parametrize("axes", [[0], [-1], [0, 2], [2, 0, -2], [-3, 1]])
def test_axes(op: str, axes: list[int]) -> None:
    if len(axes) == 3:
        shape: tuple[int | str, ...] = ("a", "b", "c", 2)
        sizes: list[tuple[int, ...]] = [(2, 3, 4, 2), (1, 1, 1, 2), (5, 1, 3, 2)]
    else:
        shape, sizes = ("a", "b", "c"), [(2, 3, 4), (1, 1, 1), (5, 1, 3)]
    before = model_of(op, shape, axes, keepdims=0)
    fixed, _ = run_pass(ReduceAxesInput(), before, target="trt-8.6")
    assert op not in ops(fixed)
    for size in sizes:
        assert_same(before, fixed, data(size), op)


@pytest.mark.parametrize("op", sorted(FORMS))
def test_unknown_rank(op: str) -> None:
    before = model_of(op, None, [1], opset=18, keepdims=1)
    fixed, _ = run_pass(ReduceAxesInput(), before, target="trt-8.6")
    assert op not in ops(fixed)
    for shape in ((2, 3), (2, 3, 4, 1)):
        x = np.abs(data(shape)).reshape(-1)
        case = {"x": x, "to": np.array(shape)}
        assert_same_outputs(before, fixed, case, exact=False, rtol=1e-5, atol=1e-5)


def test_infinities_of_log_sum_exp() -> None:
    before = model_of("ReduceLogSumExp", ("a", "b"), [1])
    fixed, _ = run_pass(ReduceAxesInput(), before, target="trt-8.6")
    inf, nan = np.inf, np.nan
    rows = [
        [-inf, -inf],
        [inf, 1],
        [inf, -inf],
        [nan, 1],
        [1, nan],
        [nan, inf],
        [-inf, 3],
        [900, 901],
    ]
    x = np.array(rows, np.float32)
    with np.errstate(all="ignore"):
        want = np.logaddexp(x[:, 0], x[:, 1]).reshape(-1, 1)
    close(run_model(fixed, {"x": x})[0], want, rtol=1e-6)
    close(run_reference(fixed, {"x": x})[0], want, rtol=1e-6)


@pytest.mark.parametrize("op", sorted(FORMS))
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_floating_point_types(op: str, dtype: Any) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    before = model_of(op, ("a", "b"), [1], dtype=kind)
    fixed, _ = run_pass(ReduceAxesInput(), before, target="trt-8.6")
    wide = dtype == np.float16 and op not in ("ReduceMax", "ReduceMin")
    assert ops(fixed).count("Cast") == (2 if wide else 0) + (op == "ReduceMean")
    x = np.abs(data((3, 40), dtype)) * np.asarray(30, dtype)
    tolerance = 2e-3 if dtype == np.float16 else 1e-12
    have, want = (
        run_reference(fixed, {"x": x})[0],
        run_reference(before, {"x": x.astype(np.float64)})[0],
    )
    assert have.dtype == dtype
    close(have, want.astype(dtype), rtol=tolerance)


@pytest.mark.parametrize("op", ["ReduceL1", "ReduceMax", "ReduceMin", "ReduceSumSquare"])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers(op: str, dtype: Any) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    before = model_of(op, ("a", "b"), [0], dtype=kind)
    fixed, _ = run_pass(ReduceAxesInput(), before, target="trt-8.6")
    assert op not in ops(fixed)
    x = np.array([[1, -2, 2**30], [7, 5, -(2**30)]], dtype) if "M" in op else data((4, 3), dtype)
    have, want = run_reference(fixed, {"x": x})[0], run_reference(before, {"x": x})[0]
    assert have.dtype == dtype
    np.testing.assert_array_equal(have, want)


def test_integers_that_topk_does_not_take() -> None:
    before = model_of("ReduceMax", ("a", "b"), [0], dtype=TensorProto.INT64)
    (said,) = skip_reasons(ReduceAxesInput(), before, target="trt-8.4")
    assert "no op that would do" in said


def test_smallest_by_negation_where_topk_takes_the_largest_only() -> None:
    before = model_of("ReduceMin", ("a", "b"), [0])
    fixed, results = run_pass(ReduceAxesInput(), before, target="trt-8.4")
    assert ops(fixed) == ["Neg", "TopK", "Neg"]
    assert "taken not to be empty" in results[0].changes[0].note
    assert_same(before, fixed, data((4, 3)), "ReduceMin")


@pytest.mark.parametrize("op", sorted({*FORMS, "ReduceProd", "ReduceSum"}))
@pytest.mark.parametrize("given_", [True, False])
def test_no_axes_and_nothing_to_reduce(op: str, given_: bool) -> None:
    axes: list[int] | None = [] if given_ else None
    before = model_of(op, ("a", "b"), axes, noop_with_empty_axes=1)
    fixed, results = run_pass(ReduceAxesInput(), before, target="trt-8.6")
    if op == "ReduceSum" and not results[0].changes:
        assert fixed == before
        return
    assert len(results[0].changes) == 1
    assert op not in ops(fixed)
    assert_same_outputs(before, fixed, {"x": np.abs(data((2, 3)))}, exact=False)


@pytest.mark.parametrize("op", sorted({*FORMS, "ReduceProd", "ReduceSum"}))
def test_axes_that_cover_everything_are_left_alone(op: str) -> None:
    for axes in ([0, 1], [-1, 0], [], None):
        assert skip_reasons(ReduceAxesInput(), model_of(op, ("a", "b"), axes)) == []


@pytest.mark.parametrize("op", sorted({*FORMS, "ReduceProd"}))
def test_targets_that_read_the_input(op: str) -> None:
    for target in ("trt-10.0", "rtx-1.7"):
        assert skip_reasons(ReduceAxesInput(), model_of(op, ("a", "b"), [1]), target=target) == []


def test_attributes_of_older_opsets_are_left_alone() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[A,B] x) => (float[A,1] y)
    { y = ReduceL2 <axes = [1]> (x) }"""
    assert skip_reasons(ReduceAxesInput(), text) == []


# -- ReduceSum on 7.x ----------------------------------------------------------------------------


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("opset", [13, 17])
def test_sum_by_absolute_values(opset: int, keepdims: int) -> None:
    before = model_of("ReduceSum", ("a", "b", "c"), [1, -1], opset=opset, keepdims=keepdims)
    fixed, _ = run_pass(ReduceAxesInput(), before, target="trt-7.2")
    assert ops(fixed) == ["Max", "ReduceL1", "Min", "ReduceL1", "Sub"]
    for shape in ((2, 3, 4), (1, 1, 1), (2, 0, 3), (0, 2, 2)):
        assert_same(before, fixed, data(shape), "ReduceSum")
    whole = np.arange(-12, 12, dtype=np.float32).reshape(2, 3, 4) * 65536
    assert_same_outputs(before, fixed, {"x": whole})
    odd = np.array([np.inf, -np.inf, 1, np.nan], np.float32)[
        [[[0, 2]], [[1, 0]], [[1, 2]], [[3, 2]]]
    ]
    assert_same_outputs(before, fixed, {"x": odd})


@pytest.mark.parametrize(
    "maker", ["Abs (x)", "Exp (x)", "Mul (x, x)", "Cast <to = 1> (m)", "Pow (x, two)"]
)
def test_sum_of_what_is_never_negative(maker: str) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 13]>
    g (float[A,B] x) => (float[A] y) <int64[1] axes = {{1}}, float two = {{2}}> {{
      m = Greater (x, two)
      p = {maker}
      y = ReduceSum <keepdims = 0> (p, axes)
    }}"""
    fixed, _ = run_pass(ReduceAxesInput(), text)
    assert ops(fixed) == ["Greater", maker.split()[0], "ReduceL1"]
    for shape in ((3, 4), (1, 1), (2, 0)):
        assert_same(as_proto(text), fixed, data(shape), "ReduceSum")


def test_sum_of_half_precision() -> None:
    before = model_of("ReduceSum", ("a", "b"), [1], opset=13, dtype=TensorProto.FLOAT16)
    fixed, _ = run_pass(ReduceAxesInput(), before)
    assert ops(fixed) == ["Cast", "Max", "ReduceL1", "Min", "ReduceL1", "Sub", "Cast"]
    x = np.array([[60000, 60000, -60000, -59000]], np.float16)
    assert run_model(fixed, {"x": x})[0].tolist() == [[992.0]]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (model_of("ReduceSum", ("a", "b"), [1], opset=13, dtype=TensorProto.INT64), "no op"),
        (model_of("ReduceSum", ("a", "b"), [1], opset=18), "opset 17 or lower"),
        (model_of("ReduceL2", ("a", "b"), [1]), "opset 17 or lower"),
        (model_of("ReduceProd", ("a", "b"), [1]), "no other op multiplies"),
        (model_of("ReduceMean", ("a", "b"), [1], dtype=TensorProto.INT32), "of integers"),
        (model_of("ReduceMax", ("a", 0), [1]), "is empty along"),
    ],
)
def test_skipped_with_a_reason(model: ModelProto, reason: str) -> None:
    (said,) = skip_reasons(ReduceAxesInput(), model)
    assert reason in said


def test_axes_of_run_time() -> None:
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (float[A,B] x, int64[1] axes) => (float[C,D] y)
    { y = ReduceMax (x, axes) }"""
    (said,) = skip_reasons(ReduceAxesInput(), text, target="trt-8.6")
    assert "'axes' are computed at run time" in said


def test_in_branches_and_loops() -> None:
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (int64 n, bool c, float[2,4] x) => (float[2,1] y, float[2,4] z)
    <bool go = {1}, int64[1] axes = {1}> {
      y = If (c) <
        then_branch = t () => (float[2,1] p) { p = ReduceMean (x, axes) },
        else_branch = f () => (float[2,1] q) { q = ReduceMax (x, axes) }
      >
      z = Loop (n, go, x) <
        body = b (int64 i, bool k, float[2,4] s) => (bool k2, float[2,4] r) {
          k2 = Identity (k)
          t = ReduceL2 (s, axes)
          r = Add (t, s)
        }
      >
    }"""
    fixed, results = run_pass(ReduceAxesInput(), text, target="trt-9.3")
    scopes = sorted(c.scope for r in results for c in r.changes)
    assert scopes == ["y/else_branch", "y/then_branch", "z/body"]
    for choice in (True, False):
        case = {"n": np.array(3), "c": np.array(choice), "x": data((2, 4))}
        assert_same_outputs(as_proto(text), fixed, case, exact=False)


@settings(max_examples=40, deadline=None)
@given(
    op=st.sampled_from(sorted(FORMS)),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    keepdims=st.integers(0, 1),
    target=st.sampled_from(["trt-8.0", "trt-8.6", "trt-9.3"]),
    draw=st.data(),
)
def test_any_axes(
    op: str, shape: list[int], keepdims: int, target: str, draw: st.DataObject
) -> None:
    rank = len(shape)
    axes = draw.draw(
        st.lists(
            st.integers(-rank, rank - 1), min_size=1, max_size=rank, unique_by=lambda a: a % rank
        )
    )
    free = draw.draw(st.lists(st.booleans(), min_size=rank, max_size=rank))
    symbols = tuple(f"d{k}" if free[k] else size for k, size in enumerate(shape))
    before = model_of(op, symbols, axes, keepdims=keepdims)
    fixed, _ = run_pass(ReduceAxesInput(), before, target=target)
    assert (op in ops(fixed)) == (len(axes) == rank)
    assert_same(before, fixed, data(tuple(shape)), op)


def test_backend_node_tests(node_cases: list[TestCase]) -> None:
    """Axes frozen to the recorded ones; whatever is rewritten gives the recorded outputs."""
    names = {*FORMS, "ReduceProd", "ReduceSum"}
    done = 0
    for case in node_cases:
        model = case.model
        if model is None or len(model.graph.node) != 1 or model.graph.node[0].op_type not in names:
            continue
        for inputs, outputs in case.data_sets or ():
            frozen = ModelProto()
            frozen.CopyFrom(model)
            if len(inputs) > 1:
                del frozen.graph.input[1]
                frozen.graph.initializer.append(
                    numpy_helper.from_array(inputs[1], model.graph.node[0].input[1])
                )
            for target in ("trt-7.2", "trt-8.6"):
                fixed, results = run_pass(ReduceAxesInput(everywhere=True), frozen, target=target)
                if not results[0].changes:
                    assert fixed == frozen
                    continue
                have = run_reference(fixed, {model.graph.input[0].name: inputs[0]})
                close(have[0], outputs[0], rtol=case.rtol, atol=case.atol)
                done += 1
    assert done > 80
