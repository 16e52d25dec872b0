"""replace-mod: what a division leaves, for integers and for floats where that is exact."""

from __future__ import annotations

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
    skip_reasons,
)
from onnx_fix_passes.replace_mod import ReplaceMod

PASS = ReplaceMod()
Arrays = dict[str, NDArray[np.generic]]
LOWEST = -(2**63)


def mod(
    dtype: type[np.generic],
    fmod: int = 0,
    divisor: object = None,
    *,
    opset: int = 13,
    shape: tuple[int | str, ...] = ("N",),
) -> ModelProto:
    """Mod by a constant, or by an input where none is given."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    inputs = [helper.make_tensor_value_info("a", kind, shape)]
    weights = []
    if divisor is None:
        inputs.append(helper.make_tensor_value_info("b", kind, shape))
    else:
        weights.append(numpy_helper.from_array(np.asarray(divisor, dtype), "b"))
    outputs = [helper.make_tensor_value_info("y", kind, shape)]
    node = helper.make_node("Mod", ["a", "b"], ["y"], fmod=fmod)
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2", "trt-8.0", "trt-8.4"])
@pytest.mark.parametrize("fmod", [0, 1])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("opset", [10, 13, 25])
def test_integers(dtype: type[np.generic], fmod: int, target: str, opset: int) -> None:
    info = np.iinfo(dtype)  # type: ignore[type-var]
    a = np.array([7, -7, 7, -7, 6, -6, 0, info.min, info.max, info.min, info.max], dtype)
    b = np.array([3, 3, -3, -3, 3, -3, 5, 7, -7, info.max, info.min], dtype)
    feeds = [{"a": a[:n], "b": b[:n]} for n in (len(a), 1, 0)]
    fixed, _ = run_pass(PASS, mod(dtype, fmod, opset=opset), target=target)
    tail = ["Less", "Greater", "Greater", "And", "Less", "And", "Or", "Add", "Where"]
    assert ops(fixed)[-3:] == ["Div", "Mul", "Sub"] if fmod else set(tail) <= set(ops(fixed))
    assert_rewrites(
        PASS, mod(dtype, fmod, opset=opset), after=ops(fixed), feeds=feeds, target=target
    )
    view = Model(fixed, None, load_target(target))
    assert not any(s.refused(n) for s in view.scopes for n in s.graph.nodes)


@pytest.mark.parametrize("fmod", [0, 1])
def test_the_lowest_integer_by_minus_one(fmod: int) -> None:
    """The quotient is out of range; the runtimes' own Mod may end the process there."""
    fixed, _ = run_pass(PASS, mod(np.int64, fmod))
    feeds = {"a": np.array([LOWEST, LOWEST, 5]), "b": np.array([-1, 1, -1])}
    (have,) = run_model(fixed, feeds)
    assert have.tolist() == [0, 0, 0]


@given(st.lists(st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 2), max_size=20), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_integers(pairs: list[tuple[int, int]], fmod: bool) -> None:
    kept = [(a, b) for a, b in pairs if b != 0 and (a, b) != (-(2**31), -1)]
    feeds: Arrays = {
        "a": np.array([a for a, _ in kept], np.int32),
        "b": np.array([b for _, b in kept], np.int32),
    }
    (have,) = run_model(run_pass(PASS, mod(np.int32, int(fmod)))[0], feeds)
    want = (np.fmod if fmod else np.mod)(feeds["a"], feeds["b"])
    np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize(
    ("divisor", "wanted"),
    [
        (3, ["Div", "Mul", "Sub", "Less", "Add", "Where"]),
        ([3], ["Div", "Mul", "Sub", "Less", "Add", "Where"]),
        (-3, ["Div", "Mul", "Sub", "Greater", "Add", "Where"]),
    ],
)
def test_constant_divisors(divisor: object, wanted: list[str]) -> None:
    model = mod(np.int64, 0, divisor)
    feeds = [{"a": np.arange(-n, n)} for n in (7, 1, 0)]
    fixed, _ = run_pass(PASS, model)
    assert sorted(ops(fixed)) == sorted(wanted)
    assert_rewrites(PASS, model, after=ops(fixed), feeds=feeds)
    short = run_pass(PASS, mod(np.int64, 1, divisor))[0]
    assert ops(short) == ["Div", "Mul", "Sub"]


def test_scalars_and_broadcast() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (int64 a, int64[N, 1] b) => (int64[N, 1] y) { y = Mod (a, b) }"""
    )
    fixed, _ = run_pass(PASS, model)
    for n in (3, 1, 0):
        feed = {"a": np.array(-7), "b": np.arange(1, n + 1).reshape(n, 1) * np.int64(-1)}
        assert_same_outputs(model, fixed, feed)
    scalar = mod(np.int64, 0, -3, shape=())
    assert_same_outputs(scalar, run_pass(PASS, scalar)[0], {"a": np.array(7)})


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("divisor", [1.0, -2.0, 8.0])
def test_floats_by_a_power_of_two(dtype: type[np.generic], divisor: float) -> None:
    most, tiny = (65504.0, 2.0**-14) if dtype is np.float16 else (3.4028235e38, 2.0**-126)
    values = [0.0, 0.75, -0.75, 1.5, -2.5, 7.999, -8.0, most, -most, tiny, -tiny, 2049.5, np.nan]
    a = np.array([*values, np.inf, -np.inf], dtype)
    model = mod(dtype, 1, divisor)
    fixed, _ = run_pass(PASS, model, target="trt-8.4")
    assert sorted(ops(fixed)) == sorted(["Div", "Floor", "Ceil", "Less", "Where", "Mul", "Sub"])
    with np.errstate(all="ignore"):
        want = np.fmod(a, np.asarray(divisor, dtype))
    (have,) = run_model(fixed, {"a": a})
    np.testing.assert_array_equal(have, want)
    assert_rewrites(PASS, model, after=ops(fixed), feeds=[{"a": a[:13]}, {"a": a[:0]}])


@given(st.lists(st.floats(width=32), max_size=20), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_any_floats_by_a_power_of_two(values: list[float], power: int) -> None:
    a = np.array(values, np.float32)
    fixed, _ = run_pass(PASS, mod(np.float32, 1, 2.0**power))
    with np.errstate(all="ignore"):
        want = np.fmod(a, np.float32(2.0**power))
    np.testing.assert_array_equal(run_model(fixed, {"a": a})[0], want)


@pytest.mark.parametrize("divisor", [None, 3.0, 0.5, 0.0, np.inf, [1.0, 3.0]])
def test_other_floats_are_left_alone(divisor: object) -> None:
    (reason,) = skip_reasons(PASS, mod(np.float32, 1, divisor))
    assert "constant power of two of at least 1" in reason


@given(st.lists(st.floats(width=32), max_size=20), st.integers(0, 100), st.booleans())
@settings(max_examples=60, deadline=None)
def test_floats_that_follow_the_divisor(values: list[float], power: int, minus: bool) -> None:
    """Which onnxruntime has not: the wanted values are numpy's."""
    a, b = np.array(values, np.float32), np.float32((-1) ** minus * 2.0**power)
    fixed, _ = run_pass(PASS, mod(np.float32, 0, b))
    assert ops(fixed)[-3:] == [("Less", "Greater")[minus], "Add", "Where"]
    with np.errstate(all="ignore"):
        want = np.mod(a, b)
    np.testing.assert_array_equal(run_model(fixed, {"a": a})[0], want)


@given(st.lists(st.tuples(*[st.floats(width=32)] * 2), max_size=20))
@settings(max_examples=60, deadline=None)
def test_floats_by_the_other_kind(pairs: list[tuple[float, float]]) -> None:
    """The sign of the divisor where the target has that of the dividend; numpy's values."""
    a, b = (np.array([p[k] for p in pairs], np.float32) for k in range(2))
    fixed, _ = run_pass(PASS, mod(np.float32, 0, opset=28), target="rtx-1.7")
    tail = ["Less", "Greater", "And", "Greater", "Less", "And", "Or", "Add", "Where"]
    assert sorted(ops(fixed)) == sorted(["Mod", *tail])
    again, results = run_pass(PASS, fixed, target="rtx-1.7")
    assert again == fixed and not any(r.changes for r in results)
    with np.errstate(all="ignore"):
        want = np.mod(a, b)
    fixed.opset_import[0].version = 13
    np.testing.assert_array_equal(run_model(fixed, {"a": a, "b": b})[0], want)


def test_types_that_the_target_does_not_take() -> None:
    (reason,) = skip_reasons(PASS, mod(np.int16))
    assert "takes no Div of INT16 either" in reason
    assert skip_reasons(PASS, mod(np.int32), target="trt-8.5") == []


def test_types_that_onnx_does_not_divide_in_an_older_operator_set() -> None:
    (reason,) = skip_reasons(PASS, mod(np.int8))
    assert reason == "ONNX has no Div of INT8 in operator set 13"


def test_unsigned_integers_where_they_are_wanted() -> None:
    always = ReplaceMod(everywhere=True)
    (reason,) = skip_reasons(always, mod(np.uint64), target="trt-10.0")
    assert "takes no Div of UINT64 either" in reason


def test_a_divisor_of_zero() -> None:
    (reason,) = skip_reasons(PASS, mod(np.int32, 0, 0))
    assert "its divisor is 0" in reason


def test_unknown_types_and_parameters() -> None:
    text = """<ir_version: 10, opset_import: ["" : 14, "my" : 1]>
    g (int64[N] x) => (int64[N] y) { y = my.f <m = 1> (x) }
    <opset_import: ["" : 14], domain: "my"> """
    (reason,) = skip_reasons(PASS, text + "f <m> (a) => (b) { b = Mod <fmod: int = @m> (a, a) }")
    assert "is a parameter of the enclosing function" in reason
    (reason,) = skip_reasons(PASS, text + "f <m> (a) => (b) { b = Mod (a, a) }")
    assert "the element type is not known" in reason


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, int32[N] x, int32[N] z) => (int32[N] y) {
      y = If (c) <
        then_branch = one () => (int32[N] t) { t = Mod (x, z) },
        else_branch = two () => (int32[N] e) { e = Mod <fmod = 1> (x, z) }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    for way in (True, False):
        x = np.array([-7, 7, 5], np.int32)
        feed = {"c": np.array(way), "x": x, "z": np.array([3, -3, 5], np.int32)}
        assert_same_outputs(onnx.parser.parse_model(text), fixed, feed)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    """On a target that takes no Mod but knows the types; those it does not know have a reason."""
    seen = 0
    for case in node_cases:
        if case.model is None or case.model.graph.node[0].op_type != "Mod":
            continue
        fixed, results = run_pass(PASS, case.model, target="trt-8.4")
        if not any(r.changes for r in results):
            reasons = [s.reason for r in results for s in r.skipped]
            assert reasons and any("either" in r or "power of two" in r for r in reasons), case.name
            continue
        seen += 1
        for given_, wanted in case.data_sets or []:
            feeds = {
                v.name: np.asarray(numpy_helper.to_array(x) if isinstance(x, TensorProto) else x)
                for v, x in zip(case.model.graph.input, given_, strict=True)
            }
            np.testing.assert_array_equal(run_model(fixed, feeds)[0], np.asarray(wanted[0]))
    assert seen >= 4
