"""Clip whose bounds or element types a release refuses."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.clip_to_min_max import ClipToMinMax

PASS = ClipToMinMax()
ALWAYS = ClipToMinMax(everywhere=True)
Arrays = dict[str, NDArray[np.generic]]


def clip_model(
    dtype: np.dtype[np.generic] | type,
    low: NDArray[np.generic] | str | None = None,
    high: NDArray[np.generic] | str | None = None,
    *,
    opset: int = 13,
    shape: tuple[int | str, ...] = ("N",),
    bound: tuple[int, ...] = (),
) -> ModelProto:
    """Clip; a bound is an array (an initializer), the name of an input, or left out."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    weights, names = [], ["x"]
    for name, value in (("low", low), ("high", high)):
        if value is None:
            names.append("")
            continue
        names.append(name)
        if isinstance(value, str):
            inputs.append(helper.make_tensor_value_info(name, kind, bound))
        else:
            weights.append(numpy_helper.from_array(value.astype(dtype), name))
    while not names[-1]:
        names.pop()
    outputs = [helper.make_tensor_value_info("y", kind, shape)]
    node = helper.make_node("Clip", names, ["y"])
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def feeds_of(x: object, dtype: type, **bounds: float) -> Arrays:
    return {
        "x": np.asarray(x, dtype),
        **{name: np.asarray(value, dtype) for name, value in bounds.items()},
    }


# -- bounds known at run time ---------------------------------------------------------------------


@pytest.mark.parametrize("opset", [11, 12, 13, 21])
@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2", "trt-8.0"])
def test_bounds_known_at_run_time(opset: int, target: str) -> None:
    assert_rewrites(
        PASS,
        clip_model(np.float32, "low", "high", opset=opset),
        after=["Max", "Min"],
        target=target,
        feeds=[
            feeds_of([-9, -1, 0, 2, 9], np.float32, low=-1, high=2),
            feeds_of([-9, 9], np.float32, low=3, high=1),
            feeds_of([], np.float32, low=-1, high=2),
        ],
    )


def test_one_bound() -> None:
    feeds = feeds_of([-9, 0, 9], np.float32, low=-1)
    assert_rewrites(PASS, clip_model(np.float32, "low"), after=["Max"], feeds=[feeds])
    feeds = feeds_of([-9, 0, 9], np.float32, high=-1)
    assert_rewrites(PASS, clip_model(np.float32, None, "high"), after=["Min"], feeds=[feeds])
    before = clip_model(np.float32, "low", np.array(4.0))
    feeds = feeds_of([-9, 0, 9], np.float32, low=5)
    assert_rewrites(PASS, before, after=["Max", "Min"], feeds=[feeds])


def test_infinity_on_the_side_without_a_bound() -> None:
    """There onnxruntime gives the largest finite number, and ONNX's definition the infinity."""
    before = clip_model(np.float32, "low")
    fixed, results = run_pass(PASS, before)
    feeds = feeds_of([np.inf, -np.inf], np.float32, low=-1)
    (have,) = run_model(fixed, feeds)
    assert have.tolist() == [np.inf, -1] == run_reference(before, feeds)[0].tolist()
    assert run_model(before, feeds)[0].tolist() == [np.finfo(np.float32).max, -1]
    assert [c.note for r in results for c in r.changes] == [
        "an infinite x stays infinite on the side without a bound"
    ]
    notes = run_pass(PASS, clip_model(np.float32, "low", "high"))[1]
    assert [c.note for r in notes for c in r.changes] == [""]


def test_nan() -> None:
    before = clip_model(np.float32, "low", "high")
    fixed, _ = run_pass(PASS, before)
    x = [np.nan, -np.inf, -3, 0, 3, np.inf]
    assert_same_outputs(before, fixed, feeds_of(x, np.float32, low=-1, high=1))
    # A NaN bound: onnxruntime ignores it, the definition Min(max, Max(x, min)) does not.
    for low, high in ((np.nan, 1), (-1, np.nan)):
        feeds = feeds_of(x, np.float32, low=low, high=high)
        assert_same_outputs(before, fixed, feeds, reference=True)
        assert np.isnan(run_model(fixed, feeds)[0]).all()


@pytest.mark.parametrize(
    ("shape", "bound", "after"),
    [
        (("N",), (1,), ["Max", "Min"]),
        ((), (), ["Max", "Min"]),
        ((), (1,), ["Reshape", "Max", "Reshape", "Min"]),
        (("N", 1), (1,), ["Max", "Min"]),
    ],
)
def test_bounds_of_shape_one(
    shape: tuple[int | str, ...], bound: tuple[int, ...], after: list[str]
) -> None:
    before = clip_model(np.float32, "low", "high", shape=shape, bound=bound)
    size = tuple(3 if d == "N" else int(d) for d in shape)
    feeds: Arrays = {
        "x": np.random.default_rng(0).normal(size=size).astype(np.float32),
        "low": np.full(bound, -0.5, np.float32),
        "high": np.full(bound, 0.5, np.float32),
    }
    assert_rewrites(PASS, before, after=after, feeds=[feeds])


def test_constant_bound_of_shape_one_and_a_scalar() -> None:
    before = clip_model(np.float32, "low", np.array([2.0]), shape=())
    fixed = assert_rewrites(
        PASS, before, after=["Max", "Min"], feeds=[feeds_of(v, np.float32, low=1) for v in (0, 9)]
    )
    assert [list(t.dims) for t in fixed.graph.initializer] == [[]]


def test_more_than_one_element_in_a_bound_is_left_alone() -> None:
    before = clip_model(np.float32, "low", shape=(3,), bound=(3,))
    assert skip_reasons(PASS, before) == [
        "a bound has more than one element; ONNX asks for a scalar"
    ]


# -- Clip stays -----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.0"])
def test_bounds_computed_from_constants(target: str) -> None:
    before = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[N] x) => (float[N] y) {
            one = Constant <value = float {1}> ()
            two = Add (one, one)
            low = Neg (two)
            high = Mul (two, two)
            y = Clip (x, low, high)
        }"""
    )
    fixed = assert_rewrites(
        PASS,
        before,
        after=["Clip"],
        target=target,
        feeds=[feeds_of([-9, 0, 9], np.float32)],
    )
    assert [numpy_helper.to_array(t).tolist() for t in fixed.graph.initializer] == [-2.0, 4.0]


def test_one_bound_computed_from_constants_and_one_known_at_run_time() -> None:
    before = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[N] x, float high) => (float[N] y) {
            one = Constant <value = float {1}> ()
            low = Neg (one)
            y = Clip (x, low, high)
        }"""
    )
    feeds = [feeds_of([-9, 0, 9], np.float32, high=5)]
    assert_rewrites(PASS, before, after=["Max", "Min"], feeds=feeds)


def test_an_empty_max_is_left_off() -> None:
    before = clip_model(np.float32, np.array(-1.0))
    before.graph.node[0].input.append("")
    feeds = [feeds_of([-9, 0, 9], np.float32)]
    fixed = assert_rewrites(PASS, before, after=["Clip"], feeds=feeds)
    assert list(fixed.graph.node[0].input) == ["x", "low"]
    assert run_pass(PASS, before, target="trt-8.0")[0] == before


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.2", "trt-8.6", "trt-10.3", "rtx-1.7"])
@pytest.mark.parametrize("high", [None, np.array(1.0)])
def test_constant_bounds_are_left_alone(target: str, high: NDArray[np.generic] | None) -> None:
    for low in (None, np.array(-1.0)):
        before = clip_model(np.float32, low, high)
        fixed, results = run_pass(PASS, before, target=target)
        assert fixed.SerializeToString() == before.SerializeToString()
        assert not any(r.skipped for r in results)


@pytest.mark.parametrize("target", ["trt-8.2", "trt-8.6", "trt-10.3", "rtx-1.7"])
def test_run_time_bounds_are_left_alone_where_they_are_taken(target: str) -> None:
    before = clip_model(np.float32, "low", "high")
    assert run_pass(PASS, before, target=target)[0] == before


# -- element types --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers(dtype: type) -> None:
    before = clip_model(dtype, np.array(-2), np.array(3))
    feeds = [feeds_of([-9, -2, 0, 3, 9], dtype)]
    for target in ("trt-7.2", "trt-8.0"):
        assert_rewrites(PASS, before, after=["Max", "Min"], target=target, feeds=feeds)
    for target in ("trt-8.2", "trt-10.3"):
        assert run_pass(PASS, before, target=target)[0] == before
    run_time = clip_model(dtype, "low", "high", opset=12)
    feeds = [feeds_of([-9, 0, 9], dtype, low=-1, high=4)]
    assert_rewrites(PASS, run_time, after=["Max", "Min"], feeds=feeds)


def test_integers_without_bounds() -> None:
    before = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (int64[N] x) => (int64[N] y) { c = Clip (x) y = Add (c, c) }"""
    )
    assert_rewrites(PASS, before, after=["Add"], feeds=[feeds_of([-9, 0, 9], np.int64)])


def test_fp16() -> None:
    """FP16 bounds that are weights are read with the wrong size before 8.5, and run-time bounds
    are refused beside FP16 data at 8.2 to 8.4."""
    constant = clip_model(np.float16, np.array(-1.0), np.array(1.0))
    run_time = clip_model(np.float16, "low", "high")
    feeds = feeds_of([-9, 0, 9, np.nan], np.float16)
    bounds = feeds_of([], np.float16, low=-1, high=1)
    for target in ("trt-7.2", "trt-8.0", "trt-8.2", "trt-8.4"):
        assert_rewrites(PASS, constant, after=["Max", "Min"], target=target, feeds=[feeds])
        assert_rewrites(
            PASS, run_time, after=["Max", "Min"], target=target, feeds=[{**bounds, **feeds}]
        )
    for target in ("trt-8.5", "trt-8.6", "trt-10.3"):
        assert run_pass(PASS, constant, target=target)[0] == constant
        assert run_pass(PASS, run_time, target=target)[0] == run_time


def test_types_that_max_and_min_lack_too() -> None:
    before = clip_model(np.float64, "low", "high")
    assert skip_reasons(PASS, before) == ["trt-7.2 does not take Max of this element type either"]
    assert ops(run_pass(PASS, before, target="trt-8.0")[0]) == ["Max", "Min"]


def test_max_and_min_know_every_type_of_clip() -> None:
    """So that a rewrite never makes an invalid model, whatever the opset."""
    for opset in range(11, onnx.defs.onnx_opset_version() + 1):
        clip, *others = (
            set(onnx.defs.get_schema(op, opset).type_constraints[0].allowed_type_strs)
            for op in ("Clip", "Max", "Min")
        )
        assert all(clip <= other for other in others), opset


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data())
def test_families_against_onnxruntime_and_the_definition(draw: st.DataObject) -> None:
    dtype = draw.draw(st.sampled_from([np.float32, np.float16, np.int32, np.int64, np.float64]))
    # The Clip of opset 11 knows no integers in ONNX, and FP32 alone in onnxruntime.
    opset = draw.draw(st.sampled_from([11, 12, 13, 18] if dtype is np.float32 else [12, 13, 18]))
    forms = [draw.draw(st.sampled_from(["left out", "constant", "run time"])) for _ in range(2)]
    values = [np.asarray(draw.draw(st.integers(-5, 5)), dtype) for _ in range(2)]
    shape = draw.draw(st.sampled_from([(), (0,), (1,), (7,), (2, 3)]))
    bounds = [
        {"left out": None, "constant": value, "run time": name}[form]
        for form, value, name in zip(forms, values, ("low", "high"), strict=True)
    ]
    x = np.random.default_rng(draw.draw(st.integers(0, 99))).integers(-9, 9, shape).astype(dtype)
    feeds: Arrays = {"x": x}
    want: NDArray[np.generic] = x
    for pick, form, value, name in zip(
        (np.maximum, np.minimum), forms, values, ("low", "high"), strict=True
    ):
        if form != "left out":
            want = np.asarray(pick(want, value))
        if form == "run time":
            feeds[name] = value
    dims = tuple(f"D{k}" for k in range(len(shape)))
    before = clip_model(dtype, bounds[0], bounds[1], opset=opset, shape=dims)
    target = draw.draw(st.sampled_from(["trt-7.2", "trt-8.0", "trt-8.2", "trt-8.6", "trt-10.3"]))
    for pass_ in (PASS, ALWAYS):
        fixed, results = run_pass(pass_, before, target=target)
        if pass_ is ALWAYS and not any(r.skipped for r in results):
            assert "Clip" not in ops(fixed)
        np.testing.assert_array_equal(run_model(fixed, feeds)[0], want, strict=True)
        assert_same_outputs(before, fixed, feeds)


# -- where it stands ------------------------------------------------------------------------------


def test_attributes_of_opset_6_to_10() -> None:
    text = """<ir_version: 4, opset_import: ["" : {opset}]>
        g (float[N] x) => (float[N] y) {{ y = Clip <min = -1.0, max = 2.0> (x) }}"""
    for opset in (6, 9, 10):
        before = onnx.parser.parse_model(text.format(opset=opset))
        for target in ("trt-7.2", "trt-10.3"):
            assert run_pass(PASS, before, target=target)[0] == before
    before = onnx.parser.parse_model(text.format(opset=9))
    assert_rewrites(ALWAYS, before, after=["Max", "Min"], feeds=[feeds_of([-9, 0, 9], np.float32)])
    (reason,) = skip_reasons(ALWAYS, onnx.parser.parse_model(text.format(opset=7)))
    assert reason == "Max and Min of opset 7 do not broadcast a bound"


def test_everywhere() -> None:
    before = clip_model(np.float32, np.array(-1.0), np.array(1.0))
    feeds = [feeds_of([-9, 0, 9], np.float32)]
    assert_rewrites(ALWAYS, before, after=["Max", "Min"], target="trt-10.3", feeds=feeds)


def test_in_branches_and_loops() -> None:
    before = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (bool c, int64 trips, float[N] x, float low) => (float[N] y, float[N] z) {
            go = Constant <value = bool {1}> ()
            y = If (c) <
                then_branch = t () => (float[N] a) { a = Clip (x, low) },
                else_branch = e () => (float[N] b) { h = Neg (low) b = Clip (x, low, h) }
            >
            z = Loop (trips, go, x) <body = b
                (int64 k, bool going, float[N] acc) => (bool on, float[N] next) {
                    on = Identity (going)
                    d = Add (acc, x)
                    next = Clip (d, , low)
                }
            >
        }"""
    )
    fixed, results = run_pass(PASS, before)
    assert [(c.scope, c.new_ops) for r in results for c in r.changes] == [
        ("y/then_branch", ("Max",)),
        ("y/else_branch", ("Max", "Min")),
        ("z/body", ("Min",)),
    ]
    for taken in (True, False):
        feeds = {
            **feeds_of([-9, 0, 0.5, 9], np.float32, low=-1),
            "c": np.array(taken),
            "trips": np.array(3),
        }
        assert_same_outputs(before, fixed, feeds)


def test_the_bounds_tell_the_type_of_x() -> None:
    """Behind a node of an unknown domain the type of x is not known, and that of its bound is."""
    text = """<ir_version: 8, opset_import: ["" : 13, "my" : 1]>
        g (float[N] x) => (float[N] y) {{
            u = my.op (x)
            low = Constant <value = {constant}> ()
            c = Clip (u, low)
            y = my.op (c)
        }}"""
    for constant, after in (("float {1}", "Clip"), ("int64 {1}", "Max")):
        before = onnx.parser.parse_model(text.format(constant=constant))
        assert ops(run_pass(PASS, before)[0]) == ["op", "Constant", after, "op"]


def test_bfloat16() -> None:
    before = clip_model(ml_dtypes.bfloat16, "low", "high")
    assert run_pass(PASS, before, target="trt-10.3")[0] == before
    assert "does not take Max" in skip_reasons(PASS, before)[0]
    assert before.graph.input[0].type.tensor_type.elem_type == TensorProto.BFLOAT16


@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2", "trt-8.0", "trt-8.2", "trt-8.4"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.int64])
def test_new_nodes_are_taken(target: str, dtype: type) -> None:
    bounds: tuple[str | NDArray[np.generic] | None, ...] = (None, "at run time", np.array(1))
    for low in bounds:
        for high in bounds:
            before = clip_model(dtype, low, high)
            fixed, _ = run_pass(PASS, before, target=target)
            main = Model(fixed, None, load_target(target)).main
            for node in main.graph.nodes:
                assert main.judge(node).status == "supported", (node.op, main.judge(node))


def test_backend_node_tests(node_cases: list[TestCase]) -> None:
    cases = [c for c in node_cases if c.model is not None and "Clip" in ops(c.model)]
    assert len(cases) >= 12
    changed = 0
    for case in cases:
        assert case.model is not None and case.data_sets is not None
        names = [v.name for v in case.model.graph.input]
        for pass_ in (PASS, ALWAYS):
            fixed, results = run_pass(pass_, case.model)
            changed += any(r.changes for r in results)
            if pass_ is ALWAYS:
                assert "Clip" not in ops(fixed) or any(r.skipped for r in results), case.name
            for inputs, outputs in case.data_sets:
                feeds = dict(zip(names, inputs, strict=True))
                for have, want in zip(run_reference(fixed, feeds), outputs, strict=True):
                    assert (have.dtype, have.shape) == (want.dtype, want.shape), case.name
                    assert np.allclose(have, want, rtol=case.rtol, atol=case.atol), case.name
        untouched, _ = run_pass(PASS, case.model, target="trt-10.3")
        if all(v.type.tensor_type.elem_type == TensorProto.FLOAT for v in case.model.graph.input):
            assert untouched.SerializeToString() == case.model.SerializeToString()
    assert changed >= len(cases)
