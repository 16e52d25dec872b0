"""ReplaceCol2Im: blocks summed where they overlap."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.contract import Exactness
from onnx_fix.testing import as_proto, assert_same_outputs, ops, run_model, run_pass, skip_reasons
from onnx_fix_passes.replace_col2_im import ReplaceCol2Im

PASS = ReplaceCol2Im()
Shape = tuple[int | str | None, ...]


def model_of(
    x: Shape,
    image: list[int] | None,
    block: list[int] | None,
    *,
    axes: int = 2,
    dtype: str = "float32",
    out: Shape | None = None,
    **attrs: Any,
) -> ModelProto:
    """One Col2Im; what is None is an input."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    values = {"image": image, "block": block}
    given = [helper.make_tensor_value_info("x", kind, x)]
    given += [
        helper.make_tensor_value_info(k, TensorProto.INT64, [axes])
        for k, v in values.items()
        if v is None
    ]
    held = [numpy_helper.from_array(np.asarray(v), k) for k, v in values.items() if v is not None]
    node = helper.make_node("Col2Im", ["x", *values], ["y"], name="image", **attrs)
    result = helper.make_tensor_value_info("y", kind, out or (None,) * (2 + axes))
    graph = helper.make_graph([node], "g", given, [result], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def data(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(8).standard_normal(shape).astype(np.float32)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_as_onnxruntime_does(draw: Any) -> None:
    axes = draw.draw(st.integers(1, 3))
    few = st.lists(st.integers(1, 3), min_size=axes, max_size=axes)
    image = [draw.draw(st.integers(1, 6)) for _ in range(axes)]
    block, strides, dilations = draw.draw(few), draw.draw(few), draw.draw(few)
    pads = draw.draw(st.lists(st.integers(0, 2), min_size=2 * axes, max_size=2 * axes))
    blocks = [
        (n + pads[k] + pads[k + axes] - (b - 1) * dilations[k] - 1) // strides[k] + 1
        for k, (n, b) in enumerate(zip(image, block, strict=True))
    ]
    assume(min(blocks) > 0)
    batch, channels = draw.draw(st.integers(1, 2)), draw.draw(st.integers(1, 2))
    whole = (batch, channels * math.prod(block), math.prod(blocks))
    shape: Shape = draw.draw(st.sampled_from([whole, ("N", *whole[1:]), ("N", "C", "L")]))
    model = model_of(
        shape, image, block, axes=axes, strides=strides, dilations=dilations, pads=pads
    )
    fixed, results = run_pass(PASS, model)
    assert "Col2Im" not in ops(fixed)
    (change,) = (c for r in results for c in r.changes)
    exact, x = change.exactness is Exactness.EXACT, data(*whole)
    if axes == 2 or max(dilations) == 1:
        # onnxruntime mixes up the channels of dilated blocks in volumes.
        assert_same_outputs(model, fixed, {"x": x}, exact=exact, rtol=1e-4, atol=1e-5)
    want = np.zeros((batch, channels, *image), np.float32)
    parts = x.reshape(batch, channels, *block, *blocks)
    for at in np.ndindex(*block, *blocks):
        taps, places = at[:axes], at[axes:]
        to = [
            p * strides[k] + t * dilations[k] - pads[k]
            for k, (t, p) in enumerate(zip(taps, places, strict=True))
        ]
        if all(0 <= t < n for t, n in zip(to, image, strict=True)):
            want[(slice(None), slice(None), *to)] += parts[(slice(None), slice(None), *at)]
    (have,) = run_model(fixed, {"x": x})
    np.testing.assert_allclose(have.astype(np.float64), want.astype(np.float64), 1e-4, 1e-5)


def test_blocks_that_do_not_overlap_are_not_summed() -> None:
    model = model_of(("N", 8, 4), [4, 4], [2, 2], strides=[2, 2])
    fixed, results = run_pass(PASS, model)
    assert not {"ReduceSum", "Pad"} & set(ops(fixed))
    (change,) = (c for r in results for c in r.changes)
    assert change.exactness is Exactness.EXACT
    for batch in (1, 3):
        assert_same_outputs(model, fixed, {"x": data(batch, 8, 4)})


def test_an_empty_batch() -> None:
    model = model_of(("N", 8, 9), [4, 4], [2, 2])
    fixed, _ = run_pass(PASS, model)
    (have,) = run_model(fixed, {"x": data(0, 8, 9)})
    assert have.shape == (0, 2, 4, 4)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "int64"])
def test_other_types(dtype: str) -> None:
    x = np.round(data(2, 8, 9) * 4).astype(dtype)
    fixed, results = run_pass(PASS, model_of((2, 8, 9), [4, 4], [2, 2], dtype=dtype))
    (have,) = run_model(fixed, {"x": x})
    (want,) = run_model(model_of((2, 8, 9), [4, 4], [2, 2]), {"x": x.astype(np.float32)})
    assert have.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(have.astype(np.float64), want.astype(np.float64))
    (change,) = (c for r in results for c in r.changes)
    assert (change.exactness is Exactness.EXACT) == dtype.startswith("int")


def test_a_block_shape_at_run_time() -> None:
    model = model_of((1, 5, 5), [5, 5], None, out=(1, 1, 5, 5))
    fixed, _ = run_pass(PASS, model)
    for block in ([1, 5], [5, 1]):
        feeds = {"x": data(1, 5, 5), "block": np.asarray(block)}
        assert_same_outputs(model, fixed, feeds, exact=False)
    model = model_of((1, 9, 4), None, None, out=(1, 1, 5, 5), strides=[2, 2])
    fixed, _ = run_pass(PASS, model)
    assert "Where" not in ops(fixed)
    feeds = {"x": data(1, 9, 4), "image": np.asarray([5, 5]), "block": np.asarray([3, 3])}
    assert_same_outputs(model, fixed, feeds, exact=False)


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (model_of((1, 4, 9), None, [2, 2]), "image_shape 'image' is computed"),
        (model_of((1, 4, 9), [4, 4], None), "block_shape 'block' is computed"),
        (model_of((1, 4, 9), [4, 1], [2, 2]), "larger than its image"),
        (model_of((1, 4, 9), [4, 4], [2, 2], dtype="bool"), "BOOL is not summed"),
    ],
    ids=["image", "block", "large", "type"],
)
def test_refusals_say_why(model: ModelProto, part: str) -> None:
    (reason,) = skip_reasons(PASS, model)
    assert part in reason


def test_a_parameter_of_a_function_is_not_guessed() -> None:
    text = """<ir_version: 8, opset_import: ["" : 18, "own" : 1]>
    g (float[1,4,9] x, int64[2] i, int64[2] b) => (float[1,1,4,4] y) {
        y = own.fold <by = [1,1]> (x, i, b) }
    <opset_import: ["" : 18], domain: "own">
    fold <by> (v, i, b) => (z) { z = Col2Im <strides: ints = @by> (v, i, b) }"""
    (reason,) = skip_reasons(PASS, text)
    assert "inline it first" in reason


def test_inside_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (bool c, float[N,4,9] x) => (float[N,1,4,4] y)
    <int64[2] i = {4, 4}, int64[2] b = {2, 2}, int64[4] s = {0, 1, 4, 4}> {
        y = If (c) <
            then_branch = then () => (float[N,1,4,4] a) { a = Col2Im (x, i, b) },
            else_branch = other () => (float[N,1,4,4] d) {
                e = Col2Im (x, i, b)
                d = Neg (e)
            }
        >
    }"""
    model = as_proto(text)
    fixed, results = run_pass(PASS, model)
    assert sum(len(r.changes) for r in results) == 2 and "Col2Im" not in str(fixed)
    for c in (True, False):
        feeds = {"c": np.asarray(c), "x": data(2, 4, 9)}
        assert_same_outputs(model, fixed, feeds, exact=False)


def test_every_backend_test_keeps_its_outputs(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or ops(case.model) != ["Col2Im"]:
            continue
        fixed, _ = run_pass(PASS, case.model)
        assert "Col2Im" not in ops(fixed), case.name
        for inputs, outputs in case.data_sets or []:
            names = [i.name for i in case.model.graph.input]
            (have,) = run_model(fixed, dict(zip(names, map(np.asarray, inputs), strict=True)))
            want = np.asarray(outputs[0]).astype(np.float64)
            np.testing.assert_allclose(have.astype(np.float64), want, 1e-5, 1e-6)
        seen += 1
    assert seen == 5
