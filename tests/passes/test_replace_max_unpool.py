"""replace-max-unpool: back to where the greatest elements were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from recorded import assert_recorded

from onnx_fix.testing import assert_same_outputs, ops, run_model, run_pass, skip_reasons
from onnx_fix_passes.replace_max_unpool import ReplaceMaxUnpool

PASS = ReplaceMaxUnpool()


def unpool(
    shape: tuple[int | str, ...],
    *,
    opset: int = 11,
    output: list[int] | None = None,
    dtype: int = TensorProto.FLOAT,
    **attrs: Any,
) -> ModelProto:
    inputs = [
        helper.make_tensor_value_info("x", dtype, shape),
        helper.make_tensor_value_info("i", TensorProto.INT64, shape),
    ]
    y = helper.make_tensor_value_info("y", dtype, [f"o{k}" for k in range(len(shape))])
    names = ["x", "i"] + ["s"] * (output is not None)
    weights = [numpy_helper.from_array(np.array(output), "s")] if output is not None else []
    node = helper.make_node("MaxUnpool", names, ["y"], **attrs)
    graph = helper.make_graph([node], "g", inputs, [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def pooled(shape: tuple[int, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    """What MaxPool gives, and where it was."""
    x = np.random.default_rng(3).permutation(int(np.prod(shape))).reshape(shape)
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(shape))]
    made.append(helper.make_tensor_value_info("i", TensorProto.INT64, [None] * len(shape)))
    node = helper.make_node("MaxPool", ["x"], ["y", "i"], **attrs)
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    graph = helper.make_graph([node], "g", given, made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    y, i = run_model(model, {"x": x.astype(np.float32)})
    return {"x": y, "i": i}


KINDS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 8), {"kernel_shape": [2], "strides": [2]}),
    ((1, 2, 6, 8), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ((2, 1, 5, 7), {"kernel_shape": [3, 3], "strides": [2, 2]}),
    ((2, 2, 4, 6), {"kernel_shape": [2, 4], "strides": [2, 2], "pads": [0, 1, 0, 1]}),
    ((1, 2, 4, 4, 4), {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]}),
]


@pytest.mark.parametrize(("shape", "attrs"), KINDS)
@pytest.mark.parametrize("static", [True, False])
def test_back(shape: tuple[int, ...], attrs: dict[str, Any], static: bool) -> None:
    feed = pooled(shape, attrs)
    sizes: tuple[int | str, ...] = feed["x"].shape
    if not static:
        sizes = tuple(f"d{k}" for k in range(len(sizes)))
    model = unpool(sizes, **attrs)
    fixed, _ = run_pass(PASS, model)
    assert "ScatterElements" in ops(fixed) and "MaxUnpool" not in ops(fixed)
    assert_same_outputs(model, fixed, feed)


@pytest.mark.parametrize("opset", [9, 11, 22])
def test_spellings(opset: int) -> None:
    shape, attrs = KINDS[1]
    feed = pooled(shape, attrs)
    model = unpool(feed["x"].shape, opset=opset, **attrs)
    fixed, _ = run_pass(PASS, model)
    scatter = "ScatterElements" if opset >= 11 else "Scatter"
    assert ops(fixed) == ["ConstantOfShape", "Reshape", "Reshape", scatter, "Reshape"]
    if opset < 22:
        assert_same_outputs(model, fixed, feed)


def test_sizes_that_are_given() -> None:
    shape, attrs = KINDS[1]
    feed = pooled(shape, attrs)
    same = unpool(feed["x"].shape, output=list(shape), **attrs)
    fixed, _ = run_pass(PASS, same)
    assert "Pad" not in ops(fixed)
    assert_same_outputs(same, fixed, feed)
    larger = unpool(feed["x"].shape, output=[1, 2, 7, 9], **attrs)
    fixed, results = run_pass(PASS, larger)
    assert "smaller tensor" in next(c.note for r in results for c in r.changes)
    (whole,) = run_model(run_pass(PASS, unpool(feed["x"].shape, **attrs))[0], feed)
    (have,) = run_model(fixed, feed)
    np.testing.assert_array_equal(have, np.pad(whole, [(0, 0), (0, 0), (0, 1), (0, 1)]))


def test_refusals() -> None:
    attrs: dict[str, Any] = {"kernel_shape": [2, 2]}
    assert "rank 3" in skip_reasons(PASS, unpool((1, 2, 3), **attrs))[0]
    model = unpool((1, 1, 2, 2), dtype=TensorProto.DOUBLE, **attrs)
    assert "does not take 'x' for its type" in skip_reasons(PASS, model)[0]
    model = unpool((1, 1, 2, 2), opset=9, output=[1, 1, 3, 3], **attrs)
    assert "pads computed at run time" in skip_reasons(PASS, model)[0]
    unknown = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[N] x, int64[N] i, int64[K] s) => (float y) {
      r = Reshape (x, s) j = Reshape (i, s) y = MaxUnpool <kernel_shape = [2]> (r, j) }"""
    assert "rank or the element type" in skip_reasons(PASS, unknown)[0]
    function = """<ir_version: 10, opset_import: ["" : 14, "my" : 1]>
    g (float[1, 1, 3] x, int64[1, 1, 3] i) => (float[1, 1, n] y) { y = my.f <k = [2]> (x, i) }
    <opset_import: ["" : 14], domain: "my"> f <k> (a, i) => (b) {
      b = MaxUnpool <kernel_shape: ints = @k> (a, i) }"""
    assert "parameter of the enclosing function" in skip_reasons(PASS, function)[0]


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, float[1, 1, 2] x, int64[1, 1, 2] i) => (float[1, 1, n] y) {
      y = If (c) <
        then_branch = one () => (float[1, 1, n] t) {
          t = MaxUnpool <kernel_shape = [2], strides = [2]> (x, i) },
        else_branch = two () => (float[1, 1, n] e) { e = Identity (x) }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch"}
    feed = {
        "c": np.array(True),
        "x": np.array([[[5, 7]]], np.float32),
        "i": np.array([[[1, 2]]]),
    }
    assert run_model(fixed, feed)[0].tolist() == [[[0, 5, 7, 0]]]


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    changed, left = assert_recorded(PASS, node_cases, "rtx-1.7", "MaxUnpool")
    assert len(changed) == 2 and not left
