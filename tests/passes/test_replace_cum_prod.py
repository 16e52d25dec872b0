"""replace-cum-prod: running products in their order."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from recorded import assert_recorded

from onnx_fix.testing import assert_same_outputs, ops, run_pass, run_reference, skip_reasons
from onnx_fix_passes.replace_cum_prod import ReplaceCumProd

PASS = ReplaceCumProd()
WAYS = list(product([0, 1], [0, 1]))


def cum_prod(
    shape: tuple[int | str, ...],
    axis: int | None,
    ways: tuple[int, int] = (0, 0),
    dtype: int = TensorProto.FLOAT,
) -> ModelProto:
    """CumProd along a constant axis, or one that is an input."""
    inputs = [helper.make_tensor_value_info("x", dtype, shape)]
    weights = []
    if axis is None:
        inputs.append(helper.make_tensor_value_info("axis", TensorProto.INT32, []))
    else:
        weights.append(numpy_helper.from_array(np.array(axis, np.int64), "axis"))
    node = helper.make_node("CumProd", ["x", "axis"], ["y"], exclusive=ways[0], reverse=ways[1])
    outputs = [helper.make_tensor_value_info("y", dtype, shape)]
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 26)], ir_version=12)


def wanted(x: NDArray[np.generic], axis: int, ways: tuple[int, int]) -> NDArray[np.generic]:
    """One after the other, as the text of ONNX says."""
    moved = np.moveaxis(x, axis, 0)
    moved = moved[::-1] if ways[1] else moved
    out, total = [], np.ones(moved.shape[1:], x.dtype)
    for part in moved:
        after = total * part
        out.append(total if ways[0] else after)
        total = after
    stacked = np.stack(out) if out else moved
    stacked = stacked[::-1] if ways[1] else stacked
    return np.moveaxis(stacked, 0, axis)


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("length", [0, 1, 2, 5, 256])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_known_lengths(ways: tuple[int, int], length: int, axis: int) -> None:
    """Also where a product in another order would overflow, or be NaN."""
    shape: list[int | str] = ["N", "N"]
    shape[axis] = length
    random = np.random.default_rng(length)
    fixed, _ = run_pass(PASS, cum_prod(tuple(shape), axis, ways), target="rtx-1.7")
    assert "CumProd" not in ops(fixed)
    for n in (3, 1, 0):
        sizes = [n, n]
        sizes[axis] = length
        x = (random.standard_normal(sizes) * 10.0 ** random.integers(-20, 20, sizes)).astype(
            np.float32
        )
        x[random.random(sizes) < 0.2] = 0
        with np.errstate(all="ignore"):
            (have,) = run_reference(fixed, {"x": x})
            np.testing.assert_array_equal(have, wanted(x, axis, ways))


def test_how_many_nodes() -> None:
    fixed, _ = run_pass(PASS, cum_prod(("N", 4), 1), target="rtx-1.7")
    assert ops(fixed) == ["Split", "Mul", "Mul", "Mul", "Concat"]


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_axes_at_run_time(ways: tuple[int, int], axis: int) -> None:
    x = np.arange(1, 25, dtype=np.int32).reshape(2, 3, 4) - 11
    model = cum_prod((2, 3, 4), None, ways, TensorProto.INT32)
    fixed, _ = run_pass(PASS, model, target="rtx-1.7")
    feed = {"x": x, "axis": np.array(axis, np.int32)}
    (have,) = run_reference(fixed, feed)
    np.testing.assert_array_equal(have, wanted(x, axis, ways))
    assert_same_outputs(model, fixed, feed, reference=True)


def test_integers_wrap_around() -> None:
    x = np.array([2**40, 2**40, 3, -(2**62), 5], np.int64)
    fixed, _ = run_pass(PASS, cum_prod((5,), 0, dtype=TensorProto.INT64), target="rtx-1.7")
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(run_reference(fixed, {"x": x})[0], wanted(x, 0, (0, 0)))


def test_refusals() -> None:
    (reason,) = skip_reasons(PASS, cum_prod((2, "N"), None), target="rtx-1.7")
    assert "fix the axis" in reason
    (reason,) = skip_reasons(PASS, cum_prod((2, 255), None), target="rtx-1.7")
    assert "fix the axis" in reason
    for length in ("N", 257):
        (reason,) = skip_reasons(PASS, cum_prod((2, length), 1), target="rtx-1.7")
        assert "fix the dim" in reason
    (reason,) = skip_reasons(PASS, cum_prod((2, 3), 2), target="rtx-1.7")
    assert "axis 2 does not exist" in reason
    (reason,) = skip_reasons(PASS, cum_prod((2,), 0, dtype=TensorProto.DOUBLE))
    assert "does not take 'x' for its type" in reason
    unknown = """<ir_version: 12, opset_import: ["" : 26]>
    g (float[N] x, int64[K] s, int64 k) => (float y) { r = Reshape (x, s) y = CumProd (r, k) }"""
    assert "rank or the element type" in skip_reasons(PASS, unknown)[0]
    function = """<ir_version: 12, opset_import: ["" : 26, "my" : 1]>
    g (float[3] x, int64 k) => (float[3] y) { y = my.f <e = 1> (x, k) }
    <opset_import: ["" : 26], domain: "my"> f <e> (a, k) => (b) {
      b = CumProd <exclusive: int = @e> (a, k) }"""
    assert "parameter of the function" in skip_reasons(PASS, function)[0]


def test_bodies() -> None:
    text = """<ir_version: 12, opset_import: ["" : 26]>
    g (bool c, int64 k, float[3] x) => (float[3] y) {
      y = If (c) <
        then_branch = one () => (float[3] t) { t = CumProd (x, k) },
        else_branch = two () => (float[3] e) { e = Neg (x) }
      >
    }"""
    fixed, results = run_pass(PASS, text, target="rtx-1.7")
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch"}
    x = np.array([3, -2, 7], np.float32)
    (have,) = run_reference(fixed, {"c": np.array(True), "k": np.array(-1), "x": x})
    assert have.tolist() == [3, -6, -42]


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    changed, left = assert_recorded(PASS, node_cases, "rtx-1.7", "CumProd", reference=True)
    assert len(changed) == 9 and not left
