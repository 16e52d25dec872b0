"""ReplaceCumSum: counts become Range, other running sums become sums that every release has."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.contract import Change, Exactness
from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import (
    as_proto,
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.replace_cum_sum import ReplaceCumSum

EVERYWHERE = ReplaceCumSum(everywhere=True)
MASKED = ReplaceCumSum(everywhere=True, method="masked_sum")
FLOATS = ("float16", "float32", "float64")


def header(opset: int) -> str:
    return f'<ir_version: 8, opset_import: ["" : {opset}]>'


def model_of(
    shape: tuple[int | str | None, ...],
    dtype: str = "float32",
    axis: int = 0,
    *,
    opset: int = 14,
    axis_type: str = "int64",
    **attrs: Any,
) -> ModelProto:
    """One CumSum over a graph input."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        [helper.make_node("CumSum", ["x", "axis"], ["y"], name="sums", **attrs)],
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
        [numpy_helper.from_array(np.asarray(axis, axis_type), "axis")],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 20 else 10
    )


def expected(
    x: NDArray[Any], axis: int, *, exclusive: bool = False, reverse: bool = False
) -> NDArray[Any]:
    """Running sums by numpy, in the type of ``x``."""
    x = np.flip(x, axis) if reverse else x
    y = np.cumsum(x, axis, dtype=x.dtype)
    if exclusive:
        y = np.roll(y, 1, axis)
        y[(slice(None),) * (axis % x.ndim) + (slice(0, 1),)] = 0
    return np.flip(y, axis) if reverse else y


def refused(model: ModelProto, target: str) -> set[str]:
    """The ops of a model that a target refuses."""
    work = Model(model, None, load_target(target))
    return {n.op for s in work.scopes for n in s.nodes() if s.refused(n)}


def changes(model: ModelProto | str, target: str = "trt-7.2", **options: Any) -> list[Change]:
    _, results = run_pass(ReplaceCumSum(**options), model, target=target)
    return [c for r in results for c in r.changes]


# -- counting ones --------------------------------------------------------------------------------

LEGACY = (
    header(13)
    + """ g (float[A,N] x) => (int64[M] y) {
    s = Shape (x)
    one = Constant <value = int64 {1}> ()
    n = Gather <axis = 0> (s, one)
    zeros = Constant <value = int64[1] {0}> ()
    u = Unsqueeze (n, zeros)
    c = Concat <axis = 0> (u)
    ones = ConstantOfShape <value = int64[1] {1}> (c)
    axis = Constant <value = int32 {0}> ()
    sums = CumSum (ones, axis)
    k = Constant <value = int64 {1}> ()
    y = Sub (sums, k)
}"""
)
"""``x.new_ones(x.shape[1]).cumsum(0) - 1`` as torch.onnx.export(dynamo=False) writes it."""

DYNAMO = (
    header(18)
    + """ g (float[A,N] x) => (int64[M] y)
  <float filled = {1.0}, int64 axis = {0}, int64 k = {1}> {
    n = Shape <start = 1, end = 2> (x)
    wide = Expand (filled, n)
    ones = Cast <to = 7> (wide)
    sums = CumSum <reverse = 0, exclusive = 0> (ones, axis)
    y = Sub (sums, k)
}"""
)
"""The same with dynamo=True, the ones being integers made of a float that the model holds."""


def arange_feeds(*lengths: int) -> list[dict[str, NDArray[Any]]]:
    return [{"x": np.zeros((2, n), np.float32)} for n in lengths]


def test_the_idiom_of_the_legacy_exporter() -> None:
    after = ["Shape", "Constant", "Gather", "Range"]
    fixed = assert_rewrites(ReplaceCumSum(), LEGACY, after=after, feeds=arange_feeds(0, 1, 7, 300))
    assert not refused(fixed, "trt-7.2")
    (change,) = changes(LEGACY)
    assert change.exactness is Exactness.EXACT
    assert change.old_ops == ("Sub", "CumSum")


def test_the_idiom_of_the_dynamo_exporter() -> None:
    after = ["Shape", "Gather", "Range"]
    assert_rewrites(ReplaceCumSum(), DYNAMO, after=after, feeds=arange_feeds(0, 1, 7, 300))


COUNT = (
    "{header} g (float[A,N] x) => ({type}[{dims}] y) {{\n"
    "  s = Shape (x)\n  ones = ConstantOfShape <value = {ones}> (s)\n"
    "  axis = Constant <value = int64 {{{axis}}}> ()\n"
    "  {out} = CumSum <exclusive = {exclusive}, reverse = {reverse}> (ones, axis)\n  {tail}}}"
)


def counting(
    ones: str = "int64[1] {1}",
    axis: int = 1,
    *,
    exclusive: int = 0,
    reverse: int = 0,
    tail: str = "",
    type_: str = "int64",
    opset: int = 13,
) -> str:
    return COUNT.format(
        header=header(opset),
        type=type_,
        dims="A,N",
        ones=ones,
        axis=axis,
        exclusive=exclusive,
        reverse=reverse,
        out="c" if tail else "y",
        tail=tail,
    )


@pytest.mark.parametrize("ones", ["int64[1] {1}", "int64[1] {3}", "int64[1] {-2}"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(("exclusive", "reverse"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_counts_along_one_axis_of_many(ones: str, axis: int, exclusive: int, reverse: int) -> None:
    model = as_proto(counting(ones, axis, exclusive=exclusive, reverse=reverse))
    fixed, _ = run_pass(ReplaceCumSum(), model)
    assert {"Range", "Expand"} <= set(ops(fixed)) and "CumSum" not in ops(fixed)
    assert not refused(fixed, "trt-7.2")
    for shape in ((2, 5), (5, 2), (1, 1), (0, 3), (3, 0)):
        assert_same_outputs(model, fixed, {"x": np.zeros(shape, np.float32)})


@pytest.mark.parametrize(
    ("value", "kind", "exactness"),
    [
        ("float[1] {1.0}", "float", Exactness.ROUNDING),
        ("double[1] {1.0}", "double", Exactness.ROUNDING),
        ("float16[1] {15360}", "float16", Exactness.ROUNDING),
        ("int32[1] {7}", "int32", Exactness.EXACT),
    ],
)
def test_counts_in_other_types(value: str, kind: str, exactness: Exactness) -> None:
    model = as_proto(counting(value, type_=kind, opset=14))
    fixed, _ = run_pass(ReplaceCumSum(), model)
    assert "Range" in ops(fixed) and "Cast" in ops(fixed)
    assert {c.exactness for c in changes(model)} == {exactness}
    assert_same_outputs(model, fixed, {"x": np.zeros((2, 40), np.float32)})


def test_a_value_that_is_no_whole_number_multiplies_the_range() -> None:
    model = as_proto(counting("float[1] {0.3}", type_="float"))
    fixed, _ = run_pass(ReplaceCumSum(), model)
    assert ops(fixed).count("Mul") == 1 and "Range" in ops(fixed)
    assert_same_outputs(model, fixed, {"x": np.zeros((2, 40), np.float32)}, exact=False)


def test_zeros_are_their_own_sums() -> None:
    model = counting("float[1] {0.0}", type_="float")
    fixed = assert_rewrites(
        ReplaceCumSum(),
        model,
        after=["Shape", "ConstantOfShape", "Identity"],
        feeds=[{"x": np.zeros((2, 3), np.float32)}],
    )
    assert not refused(fixed, "trt-7.2")


def test_what_follows_is_taken_in() -> None:
    tail = (
        "k = Constant <value = int64 {5}> ()\n m = Constant <value = int64 {2}> ()\n"
        "  d = Add (k, c)\n  e = Sub (d, m)\n  y = Cast <to = 1> (e)\n"
    )
    model = as_proto(counting(tail=tail, type_="float"))
    fixed, _ = run_pass(ReplaceCumSum(), model)
    assert not {"Sub", "CumSum"} & set(ops(fixed)) and ops(fixed).count("Add") == 1
    assert [c.old_ops for c in changes(model)] == [("Cast", "Sub", "Add", "CumSum")]
    assert_same_outputs(model, fixed, {"x": np.zeros((2, 9), np.float32)})


def test_what_is_read_elsewhere_is_not_taken_in() -> None:
    text = (
        header(13)
        + """ g (float[N] x) => (int64[M] y, int64[L] c) {
        s = Shape (x)
        ones = ConstantOfShape <value = int64[1] {1}> (s)
        axis = Constant <value = int64 {0}> ()
        c = CumSum (ones, axis)
        y = Sub (c, axis)
    }"""
    )
    feeds = [{"x": np.zeros(n, np.float32)} for n in (0, 1, 6)]
    after = ["Shape", "Constant", "Gather", "Add", "Range", "Sub"]
    assert_rewrites(ReplaceCumSum(), text, after=after, feeds=feeds)


def test_two_readers_are_not_taken_in() -> None:
    tail = "k = Constant <value = int64 {5}> () d = Sub (c, k) e = Mul (c, k) y = Add (d, e)"
    model = as_proto(counting(tail=tail))
    fixed, _ = run_pass(ReplaceCumSum(), model)
    assert "Sub" in ops(fixed) and "CumSum" not in ops(fixed)
    assert_same_outputs(model, fixed, {"x": np.zeros((2, 9), np.float32)})


def test_only_shifts_that_no_type_rounds_are_taken_in() -> None:
    for kind, value, shift in (
        ("int64", "int64[1] {1}", "int64 {1099511627776}"),
        ("float", "float[1] {1.0}", "float {16000000.0}"),
        ("float", "float[1] {1.0}", "float {0.5}"),
    ):
        tail = f"k = Constant <value = {shift}> () y = Add (c, k)"
        model = as_proto(counting(value, tail=tail, type_=kind))
        fixed, _ = run_pass(ReplaceCumSum(), model)
        assert "CumSum" not in ops(fixed) and ops(fixed)[-1] == "Add"
        assert_same_outputs(model, fixed, {"x": np.zeros((2, 9), np.float32)})


def test_sums_that_may_have_wrapped_are_not_converted_at_once() -> None:
    model = as_proto(counting("int32[1] {1}", tail="y = Cast <to = 7> (c)"))
    fixed, _ = run_pass(ReplaceCumSum(), model)
    assert ops(fixed).count("Cast") == 2
    assert_same_outputs(model, fixed, {"x": np.zeros((2, 9), np.float32)})


@pytest.mark.parametrize("join", ["Concat <axis = 1> (a, b)", "Where (which, a, b)"])
@pytest.mark.parametrize(("other", "counts"), [(1, True), (2, False)])
def test_joined_values_count_only_where_they_agree(join: str, other: int, counts: bool) -> None:
    text = (
        header(12)
        + f""" g (float[A,N] x, bool[A,N] which) => (int64[P,Q] y) {{
        s = Shape (x)
        a = ConstantOfShape <value = int64[1] {{1}}> (s)
        b = ConstantOfShape <value = int64[1] {{{other}}}> (s)
        j = {join}
        axis = Constant <value = int64 {{1}}> ()
        y = CumSum (j, axis)
    }}"""
    )
    model = as_proto(text)
    fixed, _ = run_pass(ReplaceCumSum(), model)
    assert ("ReduceSum" in ops(fixed)) is not counts
    which = np.asarray([[True, False, True], [False, False, True]])
    assert_same_outputs(model, fixed, {"x": np.zeros((2, 3), np.float32), "which": which})


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_length_is_taken_from_what_the_shape_was_joined_of(axis: int) -> None:
    text = (
        header(13)
        + f""" g (float[A,B] x, float[C] z) => (int64[P,Q,R] y) {{
        s = Shape (x)
        t = Shape (z)
        i = Constant <value = int64 {{1}}> ()
        b = Gather <axis = 0> (s, i)
        nil = Constant <value = int64[1] {{0}}> ()
        b1 = Unsqueeze (b, nil)
        j = Constant <value = int64[1] {{0}}> ()
        a1 = Gather <axis = 0> (s, j)
        c = Concat <axis = 0> (t, b1, a1)
        ones = ConstantOfShape <value = int64[1] {{1}}> (c)
        axis = Constant <value = int64 {{{axis}}}> ()
        y = CumSum (ones, axis)
    }}"""
    )
    model = as_proto(text)
    fixed, _ = run_pass(ReplaceCumSum(), model)
    assert "Range" in ops(fixed) and "ConstantOfShape" not in ops(fixed)
    feeds = {"x": np.zeros((2, 5), np.float32), "z": np.zeros(3, np.float32)}
    assert_same_outputs(model, fixed, feeds)


def test_subtraction_from_a_constant_is_not_a_shift() -> None:
    tail = "k = Constant <value = int64 {5}> ()\n  y = Sub (k, c)\n"
    model = as_proto(counting(tail=tail))
    fixed, _ = run_pass(ReplaceCumSum(), model)
    assert "Sub" in ops(fixed)
    assert_same_outputs(model, fixed, {"x": np.zeros((2, 9), np.float32)})


def test_float16_counts_no_further_than_it_can() -> None:
    """ONNX text writes float16 by its bits: 15360 is 1.0."""
    text = (
        header(14)
        + """ g (float16[N] one) => (float16[M] y) {{
        n = Constant <value = int64[1] {{{0}}}> ()
        filled = Constant <value = float16 {{15360}}> ()
        wide = Expand (filled, n)
        ones = Reshape (wide, n)
        axis = Constant <value = int64 {{0}}> ()
        s = CumSum (ones, axis)
        y = Add (s, one)
    }}"""
    )
    short, long = (as_proto(text.format(n)) for n in (2048, 70000))
    assert "Slice" not in ops(run_pass(EVERYWHERE, short)[0])
    fixed, results = run_pass(EVERYWHERE, long)
    assert "Slice" in ops(fixed) and "Range" not in ops(fixed)
    assert [c.exactness for r in results for c in r.changes] == [Exactness.ROUNDING]


def test_ones_of_an_infinite_value_are_summed() -> None:
    value = onnx.numpy_helper.from_array(np.asarray([np.inf], np.float32))
    model = as_proto(counting("float[1] {1.0}", type_="float", exclusive=1))
    next(n for n in model.graph.node if n.op_type == "ConstantOfShape").attribute[0].t.CopyFrom(
        value
    )
    fixed, _ = run_pass(ReplaceCumSum(), model)
    assert "Where" in ops(fixed)
    assert_same_outputs(model, fixed, {"x": np.zeros((2, 3), np.float32)})


# -- sums in general ------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "count"), [(1, 0), (2, 5), (3, 10), (8, 15), (9, 20)])
def test_static_lengths_take_five_nodes_per_doubling(n: int, count: int) -> None:
    fixed, _ = run_pass(ReplaceCumSum(), model_of(("B", n), axis=1))
    # With no doubling the input is the result, and an Identity keeps the name of the output.
    assert len(ops(fixed)) == (count or 1)
    assert set(ops(fixed)) <= {"Slice", "Add", "Concat", "Identity"}
    assert not refused(fixed, "trt-7.2")


@pytest.mark.parametrize("opset", [11, 12, 13, 18, 21])
@pytest.mark.parametrize("reverse", [0, 1])
def test_dynamic_lengths_on_every_operator_set(opset: int, reverse: int) -> None:
    model = model_of(("A", "N", 3), axis=1, opset=opset, reverse=reverse)
    fixed, results = run_pass(ReplaceCumSum(), model)
    assert ("MatMul" if opset >= 13 else "ReduceSum") in ops(fixed)
    assert not refused(fixed, "trt-7.2")
    (change,) = (c for r in results for c in r.changes)
    assert "(A x N x 3)" in change.note and change.exactness is Exactness.ROUNDING
    for shape in ((2, 9, 3), (1, 1, 3), (2, 0, 3), (0, 4, 3)):
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        assert_same_outputs(model, fixed, {"x": x}, exact=False)


def test_float16_of_a_dynamic_length() -> None:
    model = model_of(("A", "N"), "float16", 1)
    fixed, _ = run_pass(ReplaceCumSum(), model)
    x = np.arange(24, dtype=np.float16).reshape(2, 12)
    assert_same_outputs(model, fixed, {"x": x}, reference=True)


def test_dynamic_sums_stay_clean_of_what_comes_later() -> None:
    model = model_of(("A", "N"), axis=1)
    fixed, _ = run_pass(ReplaceCumSum(), model)
    x = np.asarray([[1, np.inf, 2, -np.inf, 3], [1, 2, np.nan, 4, 5]], np.float32)
    assert_same_outputs(model, fixed, {"x": x})
    assert np.isfinite(run_model(fixed, {"x": x})[0][:, 0]).all()


def test_integers_of_a_dynamic_length() -> None:
    model = model_of(("A", "N"), "int64", 1, opset=12)
    fixed, _ = run_pass(ReplaceCumSum(), model)
    assert "ReduceSum" in ops(fixed) and not refused(fixed, "trt-7.2")
    x = np.asarray([[2**52, -(2**51), 2**50, -5], [1, 2, 3, 4]])
    assert_same_outputs(model, fixed, {"x": x})
    # onnxruntime sums integers in double precision; the specification's own evaluator wraps.
    x = np.asarray([[2**62, 2**62, 2**62, -5], [2**53, 1, 1, 1]])
    np.testing.assert_array_equal(run_reference(fixed, {"x": x})[0], np.cumsum(x, 1))
    (reason,) = set(skip_reasons(ReplaceCumSum(), model_of(("A", "N"), "int64", 1, opset=13)))
    assert "operator set 12" in reason


def test_truths_of_a_dynamic_length_are_summed_as_floats() -> None:
    text = (
        header(13)
        + """ g (bool[A,N] m) => (int64[A,N] y) {
        axis = Constant <value = int64 {1}> ()
        x = Cast <to = 7> (m)
        y = CumSum (x, axis)
    }"""
    )
    model = as_proto(text)
    fixed, results = run_pass(ReplaceCumSum(), model)
    assert "MatMul" in ops(fixed) and not refused(fixed, "trt-7.2")
    assert "16,777,216" in next(c.note for r in results for c in r.changes)
    m = np.random.default_rng(1).random((3, 50)) > 0.4
    assert_same_outputs(model, fixed, {"m": m})


@pytest.mark.parametrize("n", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integers_wrap_around_as_they_did(n: int, dtype: str) -> None:
    top = np.iinfo(dtype).max
    x = np.random.default_rng(2).integers(top // 2, top, (2, n)).astype(dtype)
    model = model_of((2, n), dtype, 1, exclusive=1)
    fixed, _ = run_pass(ReplaceCumSum(), model)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(run_model(fixed, {"x": x})[0], expected(x, 1, exclusive=True))


cases = st.fixed_dictionaries(
    {
        "shape": st.lists(st.integers(0, 6), min_size=1, max_size=4),
        "axis": st.integers(0, 3),
        "negative": st.booleans(),
        "exclusive": st.booleans(),
        "reverse": st.booleans(),
        "dtype": st.sampled_from(["int32", "int64", *FLOATS]),
        "dynamic": st.sampled_from(["none", "length", "others", "all"]),
        "opset": st.sampled_from([12, 14, 21]),
        "special": st.booleans(),
        "seed": st.integers(0, 2**16),
        "method": st.sampled_from(["auto", "masked_sum"]),
        "target": st.sampled_from(["trt-7.2", "trt-8.6", "rtx-1.7"]),
    }
)


@settings(max_examples=120, deadline=None)
@given(cases)
def test_any_setting_gives_the_sums_of_numpy(case: dict[str, Any]) -> None:
    shape = case["shape"]
    axis = case["axis"] % len(shape)
    dtype = case["dtype"] if case["opset"] >= 14 or case["dtype"] != "float16" else "float32"
    dims: list[int | str] = [
        f"d{k}" if case["dynamic"] == "all" or (case["dynamic"] == "length") == (k == axis) else d
        for k, d in enumerate(shape)
    ]
    given_axis = axis - len(shape) if case["negative"] else axis
    model = model_of(
        tuple(shape) if case["dynamic"] == "none" else tuple(dims),
        dtype,
        given_axis,
        opset=case["opset"],
        exclusive=int(case["exclusive"]),
        reverse=int(case["reverse"]),
    )
    rng = np.random.default_rng(case["seed"])
    x = rng.integers(-50, 50, shape).astype(dtype)
    if case["special"] and dtype in FLOATS:
        x = np.where(rng.random(shape) < 0.2, rng.choice([np.inf, -np.inf, np.nan], shape), x)
        x = x.astype(dtype)
    pass_ = EVERYWHERE if case["method"] == "auto" else MASKED
    fixed, results = run_pass(pass_, model, target=case["target"])
    skipped = [s.reason for r in results for s in r.skipped]
    if skipped:
        # TensorRT 7 misreads the axes of ReduceSum from operator set 13 on.
        assert case["target"] == "trt-7.2" and dtype.startswith("int") and case["opset"] >= 13
        assert "operator set 12" in skipped[0]
        return
    assert "CumSum" not in ops(fixed)
    if dtype != "float64":
        # TensorRT 7 takes DOUBLE nowhere; the sums are right all the same.
        assert not refused(fixed, case["target"])
    with np.errstate(all="ignore"):
        want = expected(x, axis, exclusive=case["exclusive"], reverse=case["reverse"])
    # Whole numbers below 2**11 add without rounding in every type, so the results are the same.
    have = run_model(fixed, {"x": x})[0]
    assert have.dtype == want.dtype and have.shape == want.shape
    np.testing.assert_array_equal(have, want)
    np.testing.assert_array_equal(run_model(model, {"x": x})[0], want)


# -- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 9), ("A", "N"), ("A", 600), (9,), ("N",), ("A", "N", 4)])
@pytest.mark.parametrize(("exclusive", "reverse"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_product_where_it_is_asked_for(
    shape: tuple[int | str, ...], exclusive: int, reverse: int
) -> None:
    axis = min(1, len(shape) - 1)
    model = model_of(shape, axis=axis, exclusive=exclusive, reverse=reverse)
    fixed, results = run_pass(ReplaceCumSum(method="matmul"), model)
    assert ops(fixed).count("MatMul") == 1
    (change,) = (c for r in results for c in r.changes)
    assert change.exactness is Exactness.CONTRACT
    size = [{"A": 2, "N": 9}.get(str(d), d) for d in shape]
    x = np.random.default_rng(0).standard_normal([int(d) for d in size]).astype(np.float32)
    assert_same_outputs(model, fixed, {"x": x}, exact=False, rtol=1e-4, atol=1e-4)


def test_a_product_is_for_floats() -> None:
    fixed, _ = run_pass(ReplaceCumSum(method="matmul"), model_of((2, 4), "int32", 1))
    assert "MatMul" not in ops(fixed)


def test_a_product_is_never_the_default() -> None:
    for shape in ((2, 9), ("A", "N"), ("A", "N", 4)):
        found = changes(model_of(shape, axis=1))
        assert found and all(c.exactness is Exactness.ROUNDING for c in found)


def test_log_step_needs_a_static_length() -> None:
    (reason,) = set(skip_reasons(ReplaceCumSum(method="log_step"), model_of(("A", "N"), axis=1)))
    assert "known at build time" in reason


# -- axes, constants, refusals --------------------------------------------------------------------


FOLDABLE = (
    header(14)
    + """ g (float[A,4] x) => (float[A,4] y) {
    a = Constant <value = int64 {3}> ()
    b = Constant <value = int64 {2}> ()
    axis = Sub (a, b)
    y = CumSum <reverse = 1> (x, axis)
}"""
)


@pytest.mark.parametrize("target", ["trt-8.0", "trt-8.6", "trt-10.3", "trt-10.9"])
def test_a_foldable_axis_becomes_an_initializer(target: str) -> None:
    feeds = [{"x": np.arange(8, dtype=np.float32).reshape(2, 4)}]
    assert_rewrites(ReplaceCumSum(), FOLDABLE, after=["CumSum"], feeds=feeds, target=target)


def test_a_foldable_axis_where_there_is_no_cum_sum() -> None:
    fixed, _ = run_pass(ReplaceCumSum(), FOLDABLE)
    assert "CumSum" not in ops(fixed) and "Sub" not in ops(fixed)
    assert_same_outputs(
        as_proto(FOLDABLE), fixed, {"x": np.arange(8, dtype=np.float32).reshape(2, 4)}
    )


@pytest.mark.parametrize("target", ["trt-8.0", "trt-8.6", "trt-10.3", "rtx-1.7"])
@pytest.mark.parametrize(
    "model", [model_of((2, 3)), model_of(("A", "N"), axis=1), as_proto(LEGACY)]
)
def test_what_the_target_takes_is_left_alone(model: ModelProto, target: str) -> None:
    after, results = run_pass(ReplaceCumSum(), model, target=target)
    assert after.SerializeToString(deterministic=True) == model.SerializeToString(
        deterministic=True
    )
    assert not any(r.changes or r.skipped for r in results)


def test_constant_sums_are_a_constant() -> None:
    text = (
        header(13)
        + """ g (float[3] x) => (float[3] y) <float[3] c = {1, 2, 3.5}> {
        axis = Constant <value = int64 {0}> ()
        s = CumSum (c, axis)
        y = Add (s, x)
    }"""
    )
    feeds = [{"x": np.zeros(3, np.float32)}]
    assert_rewrites(ReplaceCumSum(), text, after=["Add"], feeds=feeds)


def test_a_vector_of_one_axis_is_taken_as_onnxruntime_takes_it() -> None:
    model = model_of((2, 3), axis=1)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.asarray([1]), "axis"))
    fixed, _ = run_pass(ReplaceCumSum(), model)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(run_model(fixed, {"x": x})[0], np.cumsum(x, 1))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("ways", ["", "<exclusive = 1>", "<reverse = 1, exclusive = 1>"])
def test_an_axis_at_run_time(axis: int, ways: str) -> None:
    dims = {"trt-7.2": "2, 3, 4", "trt-8.6": "2, N, 4"}
    for target, sizes in dims.items():
        text = f"g (int32[{sizes}] x, int32 k) => (int32[{sizes}] y) {{ y = CumSum {ways} (x, k) }}"
        model = onnx.parser.parse_model(header(14) + text)
        fixed, _ = run_pass(ReplaceCumSum(), model, target=target)
        made = ops(fixed)
        assert made.count("CumSum") == (0 if target == "trt-7.2" else 3) and "Where" in made
        for n in (3,) if target == "trt-7.2" else (3, 1, 0):
            x = np.arange(8 * n, dtype=np.int32).reshape(2, n, 4) - 7
            assert_same_outputs(model, fixed, {"x": x, "k": np.array(axis, np.int32)})


def test_the_axis_of_a_vector_needs_no_choice() -> None:
    text = "g (float[N] x, int64 k) => (float[N] y) { y = CumSum (x, k) }"
    fixed, _ = run_pass(ReplaceCumSum(), header(13) + text, target="trt-8.6")
    assert ops(fixed) == ["CumSum"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (
            "g (float[N] x, int64[R] s, int64 k) => (float[A,B] y) {"
            " w = Reshape (x, s) y = CumSum (w, k) }",
            "run time only, and the rank",
        ),
        (
            "g (float[N] x, int64[R] s) => (float[A,B] y) <int64 k = {0}> {"
            " w = Reshape (x, s) y = CumSum (w, k) }",
            "rank",
        ),
        ("g (float[N,2] x) => (float[N,2] y) <int64 k = {2}> { y = CumSum (x, k) }", "axis 2"),
    ],
)
def test_refusals_say_why(text: str, part: str) -> None:
    reasons = skip_reasons(ReplaceCumSum(), header(13) + text)
    assert len(reasons) == 1 and part in reasons[0]


def test_sums_of_booleans_are_left_with_a_hint() -> None:
    model = model_of((2, 3), "bool", 1)
    _, results = run_pass_unchecked(model)
    assert "INT64" in results[0]


def run_pass_unchecked(model: ModelProto) -> tuple[ModelProto, list[str]]:
    """An older exporter writes CumSum of BOOL, which the checker refuses before and after."""
    from onnx_fix.engine import Engine, Step

    work = Model(model, None, load_target("trt-7.2"))
    results = Engine(work).run([Step(ReplaceCumSum())])
    return work.to_proto(), [s.reason for r in results for s in r.skipped]


def test_inside_bodies() -> None:
    text = (
        header(13)
        + """ g (bool c, float[N] x, int64 trips) => (float[M] y, float[2,4] z)
      <int64 axis = {0}, float[2,4] start = {1,2,3,4,5,6,7,8}> {
        y = If (c) <
            then_branch = then () => (float[M] a) {
                s = Shape (x)
                ones = ConstantOfShape <value = float[1] {1.0}> (s)
                a = CumSum (ones, axis)
            },
            else_branch = other () => (float[M] b) { b = CumSum <reverse = 1> (x, axis) }
        >
        cond = Constant <value = bool {1}> ()
        z = Loop (trips, cond, start) <
            body = each (int64 i, bool go, float[2,4] v) => (bool on, float[2,4] w) {
                on = Identity (go)
                one = Constant <value = int64 {1}> ()
                w = CumSum (v, one)
            }
        >
    }"""
    )
    model = as_proto(text)
    fixed, results = run_pass(ReplaceCumSum(), model)
    assert sum(len(r.changes) for r in results) == 3
    x = np.arange(5, dtype=np.float32)
    for c in (True, False):
        for trips in (0, 2):
            feeds = {"c": np.asarray(c), "x": x, "trips": np.asarray(trips)}
            assert_same_outputs(model, fixed, feeds)


def test_a_parameter_of_a_function_is_not_guessed() -> None:
    text = """<ir_version: 9, opset_import: ["" : 14, "own" : 1]>
    g (float[2,3] x) => (float[2,3] y) { y = own.sums <how: int = 1> (x) }
    <opset_import: ["" : 14], domain: "own">
    sums <how> (v) => (w) {
        axis = Constant <value = int64 {1}> ()
        w = CumSum <reverse: int = @how> (v, axis)
    }"""
    reasons = skip_reasons(ReplaceCumSum(), text)
    assert len(reasons) == 1 and "parameter" in reasons[0]


# -- the ONNX backend node tests ------------------------------------------------------------------


@pytest.mark.parametrize("freeze", [False, True])
def test_every_backend_test_keeps_its_outputs(node_cases: list[TestCase], freeze: bool) -> None:
    """As they come (the axis is an input), and with the axis as an initializer."""
    seen = 0
    for case in node_cases:
        if case.model is None or not any(n.op_type == "CumSum" for n in case.model.graph.node):
            continue
        for inputs, outputs in case.data_sets or []:
            model = ModelProto()
            model.CopyFrom(case.model)
            names = [i.name for i in model.graph.input]
            feeds = dict(zip(names, (np.asarray(i) for i in inputs), strict=True))
            if freeze:
                axis = model.graph.node[0].input[1]
                array = numpy_helper.from_array(feeds.pop(axis), axis)
                model.graph.initializer.append(array)
                del model.graph.input[names.index(axis)]
            fixed, _ = run_pass(EVERYWHERE, model)
            assert "CumSum" not in ops(fixed), case.name
            for want, have in zip(outputs, run_reference(fixed, feeds), strict=True):
                np.testing.assert_allclose(
                    have.astype(np.float64), np.asarray(want), rtol=1e-7, err_msg=case.name
                )
            seen += 1
    assert seen >= 9


SEVERAL = [
    ("a = CumSum (x, i) b = CumSum (x, k)", "trt-10.11", 1),
    ("a = CumSum (x, k) b = CumSum <reverse = 1> (x, k)", "trt-10.8", 1),
    ("a = CumSum (x, k) b = CumSum <exclusive = 1> (x, k)", "trt-10.9", 1),
    ("a = CumSum (x, k) b = CumSum (x, m)", "trt-10.9", 2),
    ("a = CumSum (x, k) b = CumSum <reverse = 0> (a, k)", "trt-10.9", 2),
    ("a = CumSum (x, i) b = CumSum (x, k)", "trt-10.12", 2),
    ("a = CumSum (x, i) b = CumSum (x, k)", "trt-10.7", 2),
]


@pytest.mark.parametrize(("nodes", "target", "left"), SEVERAL)
def test_sums_that_are_computed_as_one(nodes: str, target: str, left: int) -> None:
    """Those that differ from the first are written in other ops, also where the length varies."""
    constants = "".join(
        f"{name} = Constant <value = int64 {{{axis}}}> () "
        for name, axis in (("i", 0), ("k", 1), ("m", -1))
    )
    for dims in ("3, 4", "N, M"):
        model = (
            '<ir_version: 8, opset_import: ["" : 14]> '
            f"g (float[{dims}] x) => (float[{dims}] a, float[{dims}] b) {{ {constants} {nodes} }}"
        )
        before = onnx.parser.parse_model(model)
        after, _ = run_pass(ReplaceCumSum(), before, target=target)
        assert [n.op_type for n in after.graph.node].count("CumSum") == left
        feed = {"x": np.random.default_rng(3).standard_normal((3, 4)).astype(np.float32)}
        assert_same_outputs(before, after, feed, exact=False)
        again, results = run_pass(ReplaceCumSum(), after, target=target)
        assert not any(r.changes for r in results) and again == after


def test_a_sum_in_a_body_is_computed_as_the_one_outside() -> None:
    body = onnx.parser.parse_graph(
        "body (int64 i, bool c, float[3, 4] s) => (bool d, float[3, 4] t) "
        "{ d = Identity (c) t = CumSum (s, k) }"
    )
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [3, 4])
    y, z = (
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [3, 4]) for n in ("y", "z")
    )
    n = onnx.numpy_helper.from_array(np.asarray(2), "n")
    i, k = (onnx.numpy_helper.from_array(np.asarray(v), m) for m, v in (("i", 0), ("k", 1)))
    nodes = [
        onnx.helper.make_node("CumSum", ["x", "i"], ["z"]),
        onnx.helper.make_node("Loop", ["n", "", "x"], ["y"], body=body),
    ]
    graph = onnx.helper.make_graph(nodes, "g", [x], [y, z], [n, i, k])
    imports = [onnx.helper.make_opsetid("", 14)]
    before = onnx.helper.make_model(graph, opset_imports=imports, ir_version=8)
    after, results = run_pass(ReplaceCumSum(), before, target="trt-10.10")
    assert [c.old_ops for r in results for c in r.changes] == [("CumSum",)]
    feed = {"x": np.random.default_rng(3).standard_normal((3, 4)).astype(np.float32)}
    assert_same_outputs(before, after, feed, exact=False)


def test_an_axis_that_is_not_known_may_differ() -> None:
    model = (
        '<ir_version: 8, opset_import: ["" : 14]> '
        "g (float[3, 4] x, int64 k, int64 i) => (float[3, 4] a, float[3, 4] b, float[3, 4] c) "
        "{ a = CumSum (x, k) b = CumSum (x, k) c = CumSum (x, i) }"
    )
    view = Model(onnx.parser.parse_model(model), None, load_target("trt-10.10"))
    kinds = [
        [f.kind for f in view.main.judge(n).findings if f.kind == "differs_from_first"]
        for n in view.main.nodes("CumSum")
    ]
    assert kinds == [[], [], ["differs_from_first"]]


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6", "trt-10.3"])
@pytest.mark.parametrize("flags", ["", "<exclusive = 1>", "<reverse = 1>"])
@pytest.mark.parametrize(
    ("dims", "sizes"),
    [("3", [(3,)]), ("N", [(4,), (1,)]), ("2, 3", [(2, 3)]), ("A, B, 4", [(2, 3, 4), (1, 1, 4)])],
)
@pytest.mark.parametrize("kind", ["int64", "int32"])
def test_an_axis_of_run_time(
    dims: str, sizes: list[tuple[int, ...]], flags: str, target: str, kind: str
) -> None:
    """The sum along each axis is made, and that one taken."""
    dtype = "int32" if kind == "int32" and target != "trt-7.2" else "float"
    text = f"g ({dtype}[{dims}] x, {kind} k) => ({dtype}[{dims}] y) {{ y = CumSum {flags} (x, k) }}"
    before = onnx.parser.parse_model(header(11) + text)
    after, results = run_pass(ReplaceCumSum(), before, target=target)
    rank = len(sizes[0])
    counts = [n.op_type for n in after.graph.node].count("CumSum")
    assert counts == (0 if target == "trt-7.2" else rank)
    exact = dtype == "int32" or bool(counts)
    assert {c.exactness for r in results for c in r.changes} == {
        Exactness.EXACT if exact else Exactness.ROUNDING
    }
    for shape in sizes:
        x = (
            np.random.default_rng(1)
            .integers(-5, 6, shape)
            .astype(np.dtype(dtype + "32") if dtype == "float" else dtype)
        )
        for axis in range(-rank, rank):
            feed = {"x": x, "k": np.asarray(axis, kind)}
            assert_same_outputs(before, after, feed, exact=exact)


def test_an_axis_of_run_time_that_may_be_taken() -> None:
    text = "g (float[A,N] x, int64 k) => (float[A,N] y) { y = CumSum (x, k) }"
    (reason,) = skip_reasons(ReplaceCumSum(), header(14) + text, target="trt-10.12")
    assert "which the target may take" in reason
