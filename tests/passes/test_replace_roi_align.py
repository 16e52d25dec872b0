"""ReplaceRoiAlign: boxes sampled by Gathers of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.check import check
from onnx_fix.contract import Exactness
from onnx_fix.lower import lower
from onnx_fix.testing import as_proto, assert_same_outputs, ops, run_model, run_pass, skip_reasons
from onnx_fix_passes.replace_roi_align import ReplaceRoiAlign

PASS = ReplaceRoiAlign()
Shape = tuple[int | str | None, ...]


def model_of(
    x: Shape = ("N", "C", "H", "W"),
    rois: Shape = ("R", 4),
    *,
    dtype: str = "float32",
    opset: int = 16,
    **attrs: Any,
) -> ModelProto:
    """One RoiAlign, of two samples where nothing else is said."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    given = [helper.make_tensor_value_info(n, kind, s) for n, s in (("x", x), ("rois", rois))]
    given.append(helper.make_tensor_value_info("of", TensorProto.INT64, [rois[0]]))
    attrs = {"sampling_ratio": 2, **attrs}
    node = helper.make_node("RoiAlign", ["x", "rois", "of"], ["y"], name="boxes", **attrs)
    result = helper.make_tensor_value_info("y", kind, (None,) * 4)
    graph = helper.make_graph([node], "g", given, [result])
    ir_version = 8 if opset < 20 else 10
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
    )


def feeds_of(
    seed: int, boxes: int, *shape: int, dtype: str = "float32", scale: float = 1.0
) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    high, wide = shape[2] / scale, shape[3] / scale
    corners = rng.uniform(-0.4, 1.4, (boxes, 4)) * np.asarray([wide, high, wide, high])
    return {
        "x": rng.standard_normal(shape).astype(dtype),
        "rois": corners.astype(dtype),
        "of": rng.integers(0, shape[0], boxes),
    }


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 1000))
def test_as_onnxruntime_does(draw: Any, seed: int) -> None:
    shape = tuple(draw.draw(st.integers(1, n)) for n in (2, 3, 6, 6))
    boxes, scale = draw.draw(st.integers(1, 4)), draw.draw(st.sampled_from([1.0, 0.5, 0.25]))
    x: Shape = draw.draw(st.sampled_from([shape, ("N", *shape[1:]), ("N", "C", "H", "W")]))
    attrs: dict[str, Any] = {
        "mode": draw.draw(st.sampled_from(["avg", "max"])),
        "output_height": draw.draw(st.integers(1, 3)),
        "output_width": draw.draw(st.integers(1, 3)),
        "sampling_ratio": draw.draw(st.integers(1, 3)),
        "spatial_scale": scale,
    }
    opset = draw.draw(st.sampled_from([10, 11, 16]))
    if opset >= 16:
        how = st.sampled_from(["half_pixel", "output_half_pixel", None])
        mode = draw.draw(how)
        attrs |= {} if mode is None else {"coordinate_transformation_mode": mode}
    dtype = draw.draw(st.sampled_from(["float32", "float64"]))
    model = model_of(x, ("R", 4), dtype=dtype, opset=opset, **attrs)
    fixed, results = run_pass(PASS, model)
    assert "RoiAlign" not in ops(fixed)
    assert [c.exactness for r in results for c in r.changes] == [Exactness.ROUNDING]
    feeds = feeds_of(seed, boxes, *shape, dtype=dtype, scale=scale)
    assert_same_outputs(model, fixed, feeds, exact=False, rtol=1e-3, atol=1e-4)


def test_boxes_of_whole_pixels() -> None:
    """Places at the very rim, where a sample counts and one further out does not."""
    rois = np.asarray([[0, 0, 4, 4], [-2, -2, 2, 2], [2, 2, 8, 6], [4, 4, 4, 4]], np.float32)
    feeds = feeds_of(1, 4, 2, 3, 5, 5) | {"rois": rois}
    for mode in ("half_pixel", "output_half_pixel"):
        model = model_of(
            output_height=2, output_width=2, sampling_ratio=1, coordinate_transformation_mode=mode
        )
        fixed, _ = run_pass(PASS, model)
        assert_same_outputs(model, fixed, feeds, exact=False)


def test_no_boxes() -> None:
    model = model_of(("N", 3, "H", "W"), output_height=2, output_width=2)
    fixed, _ = run_pass(PASS, model)
    (have,) = run_model(fixed, feeds_of(1, 0, 1, 3, 5, 5))
    assert have.shape == (0, 3, 2, 2)


def test_half_precision_is_computed_in_float32() -> None:
    model = model_of((2, 3, 5, 6), (4, 4), dtype="float16", output_height=2)
    fixed, _ = run_pass(PASS, model)
    feeds = feeds_of(2, 4, 2, 3, 5, 6, dtype="float16")
    (have,) = run_model(fixed, feeds)
    wide = {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in feeds.items()}
    (want,) = run_model(model_of((2, 3, 5, 6), (4, 4), output_height=2), wide)
    assert have.dtype == np.float16
    np.testing.assert_allclose(have.astype(np.float64), want.astype(np.float64), 2e-3, 2e-3)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_old_releases_take_it_in_operator_set_11(mode: str, static: bool) -> None:
    x: Shape = (2, 3, 5, 6) if static else ("N", 3, "H", "W")
    model = model_of(x, mode=mode, output_height=2, output_width=3)
    fixed, _ = run_pass(PASS, model)
    lowered = lower(fixed, 11)
    assert not lowered.refusals
    assert not [f for f in check(lowered.model, target="trt-7.2").findings if f.blocks]
    feeds = feeds_of(3, 4, 2, 3, 5, 6)
    assert_same_outputs(model, lowered.model, feeds, exact=False, rtol=1e-3, atol=1e-4)


def test_one_image_needs_no_offset() -> None:
    fixed, _ = run_pass(PASS, model_of((1, 3, 5, 6)))
    assert "of" not in {name for n in fixed.graph.node for name in n.input}


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (model_of(sampling_ratio=0), "export it with a fixed one"),
        (model_of(("N", "C", "W")), "rank 4"),
        (model_of(mode="sum"), "no mode sum"),
    ],
    ids=["samples", "rank", "mode"],
)
def test_refusals_say_why(model: ModelProto, part: str) -> None:
    (reason,) = skip_reasons(PASS, model)
    assert part in reason


def test_a_parameter_of_a_function_is_not_guessed() -> None:
    text = """<ir_version: 8, opset_import: ["" : 16, "own" : 1]>
    g (float[1,2,4,4] x, float[R,4] b, int64[R] i) => (float[R,2,2,2] y) {
        y = own.boxes <by = 2> (x, b, i) }
    <opset_import: ["" : 16], domain: "own">
    boxes <by> (v, k, o) => (z) { z = RoiAlign <sampling_ratio: int = @by> (v, k, o) }"""
    (reason,) = skip_reasons(PASS, text)
    assert "inline it first" in reason


def test_what_the_target_takes_is_left_alone() -> None:
    model = model_of()
    after, results = run_pass(PASS, model, target="trt-10.3")
    assert after == model and not any(r.changes or r.skipped for r in results)
    fixed, _ = run_pass(ReplaceRoiAlign(everywhere=True), model, target="trt-10.3")
    assert "RoiAlign" not in ops(fixed)


def test_inside_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 16]>
    g (bool c, float[N,2,4,4] x, float[R,4] rois, int64[R] of) => (float[R,2,1,1] y) {
        y = If (c) <
            then_branch = then () => (float[R,2,1,1] a) {
                a = RoiAlign <sampling_ratio = 2> (x, rois, of) },
            else_branch = other () => (float[R,2,1,1] b) {
                d = RoiAlign <sampling_ratio = 1, mode = "max"> (x, rois, of)
                b = Neg (d) }
        >
    }"""
    model = as_proto(text)
    fixed, results = run_pass(PASS, model)
    assert sum(len(r.changes) for r in results) == 2 and "RoiAlign" not in str(fixed)
    for c in (True, False):
        feeds = feeds_of(4, 3, 2, 2, 4, 4) | {"c": np.asarray(c)}
        assert_same_outputs(model, fixed, feeds, exact=False, rtol=1e-3, atol=1e-4)


def test_every_backend_test_keeps_its_outputs(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or ops(case.model) != ["RoiAlign"]:
            continue
        fixed, _ = run_pass(PASS, case.model)
        assert "RoiAlign" not in ops(fixed), case.name
        for inputs, outputs in case.data_sets or []:
            names = [i.name for i in case.model.graph.input]
            (have,) = run_model(fixed, dict(zip(names, map(np.asarray, inputs), strict=True)))
            # The recorded numbers have four decimals.
            want = np.asarray(outputs[0]).astype(np.float64)
            np.testing.assert_allclose(have.astype(np.float64), want, 1e-3, 1e-4)
        seen += 1
    assert seen == 3
