"""ReplaceDeformConv: sampled at moved places, times the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.check import check
from onnx_fix.contract import Exactness
from onnx_fix.lower import lower
from onnx_fix.testing import as_proto, assert_same_outputs, ops, run_model, run_pass, skip_reasons
from onnx_fix_passes.replace_deform_conv import ReplaceDeformConv
from onnx_fix_passes.replace_grid_sample import ReplaceGridSample

PASS = ReplaceDeformConv()
Shape = tuple[int | str | None, ...]


def model_of(
    x: Shape,
    w: Shape,
    *,
    offset: Shape = (None,) * 4,
    bias: bool = False,
    mask: bool = False,
    dtype: str = "float32",
    opset: int = 19,
    **attrs: Any,
) -> ModelProto:
    """One DeformConv."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    shapes: dict[str, Shape] = {"x": x, "w": w, "offset": offset}
    names = ["x", "w", "offset", "b" if bias else "", "mask" if mask else ""]
    shapes |= {"b": (w[0],)} if bias else {}
    shapes |= {"mask": (None,) * 4} if mask else {}
    given = [helper.make_tensor_value_info(k, kind, v) for k, v in shapes.items()]
    while not names[-1]:
        names.pop()
    node = helper.make_node("DeformConv", names, ["y"], name="conv", **attrs)
    result = helper.make_tensor_value_info("y", kind, (None,) * 4)
    graph = helper.make_graph([node], "g", given, [result])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def data(seed: int, *shape: int, scale: float = 1, dtype: str = "float32") -> NDArray[Any]:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(dtype)


@st.composite
def cases(draw: Any) -> tuple[ModelProto, dict[str, Any]]:
    two = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, strides, dilations = list(draw(two)), list(draw(two)), list(draw(two))
    pads = draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
    group, parts = draw(st.sampled_from([(1, 1), (1, 2), (2, 1), (2, 2), (2, 4)]))
    channels = 4 // group
    sizes = [draw(st.integers((k - 1) * d + 1, 8)) for k, d in zip(kernel, dilations, strict=True)]
    places = [
        (n + pads[k] + pads[k + 2] - (kernel[k] - 1) * dilations[k] - 1) // strides[k] + 1
        for k, n in enumerate(sizes)
    ]
    batch, mask, bias = draw(st.integers(1, 2)), draw(st.booleans()), draw(st.booleans())
    taps = kernel[0] * kernel[1]
    x, offset = (batch, 4, *sizes), (batch, parts * taps * 2, *places)
    dynamic = draw(st.sampled_from(["none", "batch", "all"]))
    named: tuple[Shape, Shape] = x, offset
    if dynamic != "none":
        named = ("N", *x[1:]), ("N", *offset[1:])
    if dynamic == "all":
        named = ("N", 4, "H", "W"), ("N", offset[1], "P", "Q")
    w = (2 * group, channels, *kernel)
    attrs: dict[str, Any] = {"strides": strides, "dilations": dilations, "pads": pads}
    attrs |= {"kernel_shape": kernel} if draw(st.booleans()) else {}
    attrs |= {"group": group} if group > 1 else {}
    attrs |= {"offset_group": parts} if parts > 1 else {}
    opset = draw(st.sampled_from([19, 22]))
    model = model_of(named[0], w, offset=named[1], bias=bias, mask=mask, opset=opset, **attrs)
    feeds = {"x": data(1, *x), "w": data(2, *w), "offset": data(3, *offset, scale=2)}
    feeds |= {"b": data(4, 2 * group)} if bias else {}
    feeds |= {"mask": data(5, batch, parts * taps, *places)} if mask else {}
    return model, feeds


@settings(max_examples=60, deadline=None)
@given(cases())
def test_as_onnxruntime_does(case: tuple[ModelProto, dict[str, Any]]) -> None:
    model, feeds = case
    fixed, results = run_pass(PASS, model)
    assert "DeformConv" not in ops(fixed)
    assert [c.exactness for r in results for c in r.changes] == [Exactness.ROUNDING]
    assert_same_outputs(model, fixed, feeds, exact=False, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("named", [False, True])
def test_old_releases_take_it_with_the_pass_for_grid_sample(named: bool) -> None:
    x: Shape = ("N", 4, "H", "W") if named else (2, 4, 5, 6)
    offset: Shape = ("N", 16, "P", "Q") if named else (2, 16, 4, 5)
    model = model_of(x, (2, 2, 2, 2), offset=offset, mask=True, group=2, offset_group=2)
    fixed, _ = run_pass([PASS, ReplaceGridSample()], model)
    lowered = lower(fixed, 11)
    assert not lowered.refusals
    assert not [f for f in check(lowered.model, target="trt-7.2").findings if f.blocks]
    feeds = {"x": data(1, 2, 4, 5, 6), "w": data(2, 2, 2, 2, 2), "offset": data(3, 2, 16, 4, 5)}
    feeds["mask"] = data(4, 2, 8, 4, 5)
    assert_same_outputs(model, lowered.model, feeds, exact=False, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_types(dtype: str) -> None:
    model = model_of((1, 2, 5, 5), (2, 2, 2, 2), offset=(1, 8, 4, 4), dtype=dtype)
    # onnxruntime has no GridSample of float64.
    fixed, _ = run_pass([PASS, ReplaceGridSample()], model)
    feeds = {
        "x": data(1, 1, 2, 5, 5, dtype=dtype),
        "w": data(2, 2, 2, 2, 2, dtype=dtype),
        "offset": data(3, 1, 8, 4, 4, dtype=dtype),
    }
    (have,) = run_model(fixed, feeds)
    wide = {k: v.astype(np.float32) for k, v in feeds.items()}
    (want,) = run_model(model_of((1, 2, 5, 5), (2, 2, 2, 2), offset=(1, 8, 4, 4)), wide)
    assert have.dtype == np.dtype(dtype)
    limit = 5e-3 if dtype == "float16" else 1e-4
    np.testing.assert_allclose(have.astype(np.float64), want.astype(np.float64), limit, limit)


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (model_of((1, 2, 5, 5), (2, 2, None, 2)), "the shape of its weights"),
        (model_of((1, 2, 5), (2, 2, 2)), "rank 4"),
    ],
    ids=["weights", "rank"],
)
def test_refusals_say_why(model: ModelProto, part: str) -> None:
    (reason,) = skip_reasons(PASS, model)
    assert part in reason


def test_a_parameter_of_a_function_is_not_guessed() -> None:
    text = """<ir_version: 9, opset_import: ["" : 19, "own" : 1]>
    g (float[1,2,4,4] x, float[2,2,1,1] w, float[1,2,4,4] o) => (float[1,2,4,4] y) {
        y = own.wide <by = [1,1]> (x, w, o) }
    <opset_import: ["" : 19], domain: "own">
    wide <by> (v, k, o) => (z) { z = DeformConv <strides: ints = @by> (v, k, o) }"""
    (reason,) = skip_reasons(PASS, text)
    assert "inline it first" in reason


def test_what_the_target_takes_is_left_alone() -> None:
    model = model_of((1, 2, 5, 5), (2, 2, 2, 2), offset=(1, 8, 4, 4))
    after, results = run_pass(PASS, model, target="trt-10.3")
    assert after == model and not any(r.changes or r.skipped for r in results)
    fixed, _ = run_pass(ReplaceDeformConv(everywhere=True), model, target="trt-10.3")
    assert "DeformConv" not in ops(fixed)


def test_inside_bodies() -> None:
    text = """<ir_version: 9, opset_import: ["" : 19]>
    g (bool c, float[N,2,4,4] x, float[2,2,1,1] w, float[N,2,4,4] o) => (float[N,2,4,4] y) {
        y = If (c) <
            then_branch = then () => (float[N,2,4,4] a) { a = DeformConv (x, w, o) },
            else_branch = other () => (float[N,2,4,4] b) { b = Neg (x) }
        >
    }"""
    model = as_proto(text)
    fixed, results = run_pass(PASS, model)
    assert sum(len(r.changes) for r in results) == 1 and "DeformConv" not in str(fixed)
    for c in (True, False):
        feeds = {"c": np.asarray(c), "x": data(1, 2, 2, 4, 4), "w": data(2, 2, 2, 1, 1)}
        feeds["o"] = data(3, 2, 2, 4, 4)
        assert_same_outputs(model, fixed, feeds, exact=False, rtol=1e-3, atol=1e-4)


def test_every_backend_test_keeps_its_outputs(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or ops(case.model) != ["DeformConv"]:
            continue
        fixed, _ = run_pass(PASS, case.model)
        assert "DeformConv" not in ops(fixed), case.name
        for inputs, outputs in case.data_sets or []:
            names = [i.name for i in case.model.graph.input]
            (have,) = run_model(fixed, dict(zip(names, map(np.asarray, inputs), strict=True)))
            want = np.asarray(outputs[0]).astype(np.float64)
            np.testing.assert_allclose(have.astype(np.float64), want, 1e-4, 1e-5)
        seen += 1
    assert seen == 4
