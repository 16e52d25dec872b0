"""replace-pow: powers with integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from recorded import assert_recorded

from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import assert_rewrites, ops, run_model, run_pass, skip_reasons
from onnx_fix_passes.replace_pow import ReplacePow

PASS = ReplacePow()


def power(
    base: Any,
    kind: Any,
    given: Any = None,
    *,
    opset: int = 15,
    shape: tuple[int | str, ...] = ("N",),
) -> ModelProto:
    """A power by a constant, or by an input where none is given."""
    number, other = (helper.np_dtype_to_tensor_dtype(np.dtype(k)) for k in (base, kind))
    inputs = [helper.make_tensor_value_info("x", number, shape)]
    weights = []
    if given is None:
        inputs.append(helper.make_tensor_value_info("k", other, shape))
    else:
        weights.append(numpy_helper.from_array(np.asarray(given, kind), "k"))
    node = helper.make_node("Pow", ["x", "k"], ["y"])
    outputs = [helper.make_tensor_value_info("y", number, shape)]
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def whole(base: int, exponent: int) -> int:
    """The power of an integer, towards zero where it is a fraction."""
    if exponent >= 0:
        return int(base**exponent)
    return base ** (-exponent % 2 + 2) if base in (1, -1) else 0


@pytest.mark.parametrize("base", [np.int32, np.int64])
@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("target", ["trt-7.2", "trt-10.3"])
def test_integers(base: Any, kind: Any, target: str) -> None:
    most = np.iinfo(base).max
    least = int(np.iinfo(kind).min)
    exponents = [0, 1, 2, 3, 5, 13, 30, 31, 62, 63, 64, 65, -1, -2, -3, -64, least, least + 1]
    pairs = [
        (x, k)
        for x in (0, 1, -1, 2, -2, 3, -7, 46341, -46340)
        for k in exponents
        if (x or k >= 0) and (abs(x) <= 1 or k < 64) and abs(whole(x, k)) <= most
    ]
    pairs = [(x, k) for x, k in pairs if abs(x) != 2 or k < 31 or base is np.int64]
    x, k = np.array([p[0] for p in pairs], base), np.array([p[1] for p in pairs], kind)
    fixed, _ = run_pass(PASS, power(base, kind), target=target)
    assert "Pow" not in ops(fixed)
    for n in (len(pairs), 1, 0):
        (have,) = run_model(fixed, {"x": x[:n], "k": k[:n]})
        assert have.dtype == base
        assert have.tolist() == [whole(int(a), int(b)) for a, b in zip(x[:n], k[:n], strict=True)]
    fixed.opset_import[0].version = 12
    view = Model(fixed, None, load_target(target))
    assert not any(s.refused(n) for s in view.scopes for n in s.graph.nodes)


@pytest.mark.parametrize("kind", [np.int64, np.float32])
@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (0, ["Mul", "Add"]),
        (1, ["Identity"]),
        (2, ["Mul"]),
        (3, ["Mul", "Mul"]),
        (10, ["Mul"] * 4),
    ],
)
def test_constant_exponents(number: int, wanted: list[str], kind: Any) -> None:
    feeds = [{"x": np.arange(-n, n)} for n in (5, 1, 0)]
    model = power(np.int64, kind, number)
    fixed, _ = run_pass(PASS, model)
    assert ops(fixed) == wanted
    for feed in feeds:
        np.testing.assert_array_equal(run_model(fixed, feed)[0], feed["x"] ** number)


@given(
    st.lists(st.tuples(st.floats(-9, 9, width=32), st.integers(-20, 20)), max_size=12),
    st.sampled_from([np.int32, np.int64]),
)
@settings(max_examples=40, deadline=None)
def test_floats(pairs: list[tuple[float, int]], kind: Any) -> None:
    x, k = np.array([p[0] for p in pairs], np.float32), np.array([p[1] for p in pairs], kind)
    model = power(np.float32, kind)
    fixed, results = run_pass(PASS, model)
    assert ops(fixed) == ["Cast", "Pow"]
    assert "are rounded" in results[0].changes[0].note
    with np.errstate(all="ignore"):
        want, have = (run_model(m, {"x": x, "k": k})[0].astype(np.float64) for m in (model, fixed))
    np.testing.assert_allclose(have, want, 1e-5)


def test_floats_by_constants() -> None:
    feeds = [{"x": np.linspace(-3, 3, n, dtype=np.float32)} for n in (7, 1, 0)]
    for number in (3, [-2], 0):
        model = power(np.float32, np.int64, number)
        fixed = assert_rewrites(PASS, model, after=["Pow"], feeds=feeds, exact=False)
        assert fixed.graph.initializer[0].data_type == TensorProto.FLOAT
    _, results = run_pass(PASS, power(np.float32, np.int64, 2**25 + 1))
    assert "are rounded" in results[0].changes[0].note


def test_half_precision() -> None:
    model = power(np.float16, np.int32)
    feed: Any = {
        "x": np.array([1.5, -2, 0.5, 3], np.float16),
        "k": np.array([3, 5, -4, 0], np.int32),
    }
    fixed, _ = run_pass(PASS, model)
    assert sorted(ops(fixed)) == ["Cast", "Cast", "Cast", "Pow"]
    np.testing.assert_array_equal(run_model(fixed, feed)[0], run_model(model, feed)[0])


def test_scalars_and_vectors_of_exponents() -> None:
    model = power(np.int64, np.int64, [2, 3], shape=("N", 2))
    x = np.array([[3, -2], [0, 5]])
    (have,) = run_model(run_pass(PASS, model)[0], {"x": x})
    np.testing.assert_array_equal(have, [[9, -8], [0, 125]])
    scalar = power(np.int32, np.int32, shape=())
    feed = {"x": np.array(-3, np.int32), "k": np.array(3, np.int32)}
    (have,) = run_model(run_pass(PASS, scalar)[0], feed)
    assert have.shape == () and have == -27


def test_refusals() -> None:
    assert skip_reasons(PASS, power(np.int64, np.int64), target="rtx-1.7") == []
    assert skip_reasons(PASS, power(np.float32, np.float32)) == []
    (reason,) = skip_reasons(PASS, power(np.int64, np.float32))
    assert "too small by one" in reason
    (reason,) = skip_reasons(PASS, power(np.int64, np.float32, 0.5))
    assert "too small by one" in reason
    (reason,) = skip_reasons(PASS, power(np.float32, np.uint32))
    assert "does not take 'k' for its type" in reason
    (reason,) = skip_reasons(PASS, power(np.float64, np.int32))
    assert "does not take 'x' for its type" in reason
    untyped = """<ir_version: 10, opset_import: ["" : 15, "my" : 1]>
    g (int64[N] x) => (int64[N] y) {
      k = Constant <value = int64 {2}> () a = my.f (x) y = Pow (a, k) }"""
    (reason,) = skip_reasons(ReplacePow(everywhere=True), untyped)
    assert "element type of an input is not known" in reason


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, int64[N] x, int64[N] k) => (int64[N] y) {
      y = If (c) <
        then_branch = one () => (int64[N] t) { t = Pow (x, k) },
        else_branch = two () => (int64[N] e) { e = Neg (x) }
      >
    }"""
    fixed, results = run_pass(PASS, onnx.parser.parse_model(text))
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch"}
    feed = {"c": np.array(True), "x": np.array([3, -2]), "k": np.array([4, 3])}
    assert run_model(fixed, feed)[0].tolist() == [81, -8]


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    changed, left = assert_recorded(PASS, node_cases, "trt-10.3", "Pow", tolerance=1e-5)
    assert {c for c in changed if "types" in c} == {
        f"test_pow_types_{pair}"
        for pair in ("float32_int64", "float32_int32", "int64_int64", "int32_int32")
    }
    assert {r for reasons in left.values() for r in reasons if "type" not in r} <= {
        "a power of integers by floats may be too small by one in floats; use an exponent of "
        "integers, or a base of floats"
    }
