"""ReplaceConv: convolutions with weights of run time as products with windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, helper
from onnx.backend.test.case.test_case import TestCase
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from onnx_fix.check import check
from onnx_fix.contract import Exactness
from onnx_fix.testing import as_proto, assert_same_outputs, ops, run_model, run_pass, skip_reasons
from onnx_fix_passes.replace_conv import ReplaceConv

Shape = tuple[int | str | None, ...]
EVERYWHERE = ReplaceConv(everywhere=True)


def model_of(
    op: str,
    x: Shape | None,
    w: Shape,
    *,
    bias: bool = False,
    opset: int = 11,
    dtype: str = "float32",
    **attrs: Any,
) -> ModelProto:
    """One convolution whose weights are an input."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    given = [helper.make_tensor_value_info(n, kind, s) for n, s in (("x", x), ("w", w))]
    if bias:
        given.append(helper.make_tensor_value_info("b", kind, [None]))
    node = helper.make_node(op, [v.name for v in given], ["y"], name="conv", **attrs)
    graph = helper.make_graph(
        [node], "g", given, [helper.make_tensor_value_info("y", kind, (None,) * len(w))]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def data(seed: int, *shape: int, dtype: str = "float32") -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def runs(model: ModelProto, feeds: dict[str, Any]) -> bool:
    try:
        (y,) = run_model(model, feeds)
    except (Fail, InvalidArgument, RuntimeException):
        return False
    return y.size > 0


@st.composite
def cases(draw: Any, op: str) -> tuple[ModelProto, dict[str, Any]]:
    axes = draw(st.integers(1, 3))
    several = st.lists(st.integers(1, 3), min_size=axes, max_size=axes)
    sizes = [draw(st.integers(1, 6)) for _ in range(axes)]
    kernel, group = draw(several), draw(st.sampled_from([1, 1, 2, 3]))
    channels, maps = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    attrs: dict[str, Any] = {"strides": draw(several), "dilations": draw(several)}
    auto = draw(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    pads = draw(st.lists(st.integers(0, 2), min_size=2 * axes, max_size=2 * axes))
    attrs |= {"pads": pads} if auto == "NOTSET" else {"auto_pad": auto}
    if auto.startswith("SAME"):
        attrs["dilations"] = [1] * axes
    if group > 1:
        attrs["group"] = group
    if draw(st.booleans()):
        attrs["kernel_shape"] = kernel
    transposed = op == "ConvTranspose"
    if transposed and draw(st.booleans()):
        strides = attrs["strides"]
        attrs["output_padding"] = [draw(st.integers(0, s - 1)) for s in strides]
    if transposed and draw(st.sampled_from([False, False, True])):
        attrs.pop("pads", None)
        natural = [
            (n - 1) * s + (k - 1) * d + 1
            for n, k, s, d in zip(sizes, kernel, attrs["strides"], attrs["dilations"], strict=True)
        ]
        attrs["output_shape"] = [max(1, n - draw(st.integers(0, 2))) for n in natural]
    dynamic = draw(st.sampled_from(["none", "batch", "all"]))
    whole = (2, group * channels, *sizes)
    shape: Shape = whole
    if dynamic != "none":
        shape = ("N", *whole[1:])
    if dynamic == "all" and not auto.startswith("SAME") and "output_shape" not in attrs:
        shape = ("N", None, *(f"D{k}" for k in range(axes)))
    w = (group * channels, maps, *kernel) if transposed else (group * maps, channels, *kernel)
    bias = draw(st.booleans())
    model = model_of(op, shape, w, bias=bias, **attrs)
    feeds = {"x": data(1, *whole), "w": data(2, *w)}
    if bias:
        feeds["b"] = data(3, group * maps)
    return model, feeds


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@settings(max_examples=120, deadline=None)
@given(st.data())
def test_as_onnxruntime_does(op: str, draw: Any) -> None:
    model, feeds = draw.draw(cases(op))
    assume(runs(model, feeds))
    fixed, results = run_pass(ReplaceConv(), model)
    assume(not any("runtimes differ" in s.reason for r in results for s in r.skipped))
    assert op not in ops(fixed)
    assert [c.exactness for r in results for c in r.changes] == [Exactness.ROUNDING]
    assert_same_outputs(model, fixed, feeds, exact=False, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_sizes_may_differ_from_run_to_run(op: str) -> None:
    attrs: dict[str, Any] = {"strides": [2, 1], "pads": [1, 0, 1, 2], "dilations": [1, 2]}
    model = model_of(op, ("N", 2, "H", "W"), (2, 2, 3, 2), bias=True, **attrs)
    fixed, _ = run_pass(ReplaceConv(), model)
    # The bias declares its length as free, which it is not: a number of maps.
    found = check(fixed, target="trt-7.2").findings
    assert {f.code.name for f in found if f.op} <= {"frozen-dim"}
    assert all("dim 0 of input 'b'" in f.why for f in found if f.op)
    for shape in ((1, 2, 5, 4), (3, 2, 8, 3), (2, 2, 2, 9), (0, 2, 4, 4)):
        feeds = {"x": data(1, *shape), "w": data(2, 2, 2, 3, 2), "b": data(3, 2)}
        if shape[0] or op == "Conv":
            assert_same_outputs(model, fixed, feeds, exact=False, rtol=1e-4, atol=2e-5)


def test_a_kernel_of_one_takes_no_gather() -> None:
    model = model_of("Conv", ("N", 2, "H", "W"), (3, 2, 1, 1))
    fixed, _ = run_pass(ReplaceConv(), model)
    assert "MatMul" in ops(fixed) and "Pad" not in ops(fixed) and "Range" not in ops(fixed)
    feeds = {"x": data(1, 2, 2, 3, 4), "w": data(2, 3, 2, 1, 1)}
    assert_same_outputs(model, fixed, feeds, exact=False, rtol=1e-4, atol=1e-5)


def test_the_number_of_nodes_does_not_grow_with_the_kernel() -> None:
    small = run_pass(ReplaceConv(), model_of("Conv", (1, 2, 9, 9), (2, 2, 2, 2)))[0]
    large = run_pass(ReplaceConv(), model_of("Conv", (1, 2, 9, 9), (2, 2, 7, 7)))[0]
    assert len(ops(small)) == len(ops(large)) <= 7


def test_a_dynamic_axis_below_operator_set_11() -> None:
    (reason,) = skip_reasons(
        ReplaceConv(), model_of("Conv", (1, 2, "H", 9), (2, 2, 3, 3), opset=10)
    )
    assert "since opset 11" in reason
    model = model_of("Conv", (1, 2, 8, 9), (2, 2, 3, 3), opset=9, pads=[1, 1, 1, 1])
    fixed, _ = run_pass(ReplaceConv(), model)
    feeds = {"x": data(1, 1, 2, 8, 9), "w": data(2, 2, 2, 3, 3)}
    assert_same_outputs(model, fixed, feeds, exact=False, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_a_bias_of_run_time_alone_is_added_behind(op: str, opset: int) -> None:
    model = model_of(op, ("N", 2, "H", "W"), (2, 2, 3, 3), bias=True, opset=opset)
    fixed, _ = run_pass(ReplaceConv(), model, target="trt-8.2")
    assert [o for o in ops(fixed) if o != "Constant"] == [op, "Unsqueeze", "Add"]
    feeds = {"x": data(1, 2, 2, 4, 5), "w": data(2, 2, 2, 3, 3), "b": data(3, 2)}
    assert_same_outputs(model, fixed, feeds, exact=False, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_types(dtype: str) -> None:
    model = model_of("Conv", (1, 2, 6, 5), (2, 1, 3, 2), group=2, dtype=dtype)
    fixed, _ = run_pass(EVERYWHERE, model)
    x, w = data(1, 1, 2, 6, 5, dtype=dtype), data(2, 2, 1, 3, 2, dtype=dtype)
    (have,) = run_model(fixed, {"x": x, "w": w})
    wide = model_of("Conv", (1, 2, 6, 5), (2, 1, 3, 2), group=2)
    (want,) = run_model(wide, {"x": x.astype(np.float32), "w": w.astype(np.float32)})
    assert have.dtype == np.dtype(dtype)
    limit = 1e-5 if dtype == "float64" else 1e-2
    np.testing.assert_allclose(have.astype(np.float64), want.astype(np.float64), limit, limit)


def test_infinities_stay_where_they_are() -> None:
    model = model_of("Conv", (1, 1, 5, 5), (1, 1, 2, 2))
    fixed, _ = run_pass(ReplaceConv(), model)
    x, w = np.ones((1, 1, 5, 5), np.float32), np.ones((1, 1, 2, 2), np.float32)
    x[0, 0, 2, 2] = np.inf
    assert_same_outputs(model, fixed, {"x": x, "w": w})


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (model_of("Conv", (1, 2, 8, 8), (2, 2, None, 3)), "the size of its kernel"),
        (model_of("Conv", (1, 2, 8, 8), (None, 2, 3, 3)), "the channels of its weights"),
        (
            model_of("Conv", (1, 2, "H", 8), (2, 2, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
            "SAME_UPPER with strides",
        ),
        (
            model_of("ConvTranspose", (1, 2, "H", 8), (2, 2, 3, 3), output_shape=[9, 10]),
            "go by the size of its output",
        ),
        (
            model_of(
                "ConvTranspose", (1, 2, 8, 8), (2, 2, 1, 3), auto_pad="SAME_LOWER", strides=[2, 2]
            ),
            "runtimes differ",
        ),
        (model_of("Conv", (1, 2, 2, 2, 2, 2), (1, 2, 1, 1, 1, 1)), "rank, 3 to 5"),
        (model_of("Conv", (1, 2, 2, 8), (1, 2, 3, 3)), "larger than its data"),
    ],
    ids=["kernel", "maps", "same", "output_shape", "differ", "rank", "empty"],
)
def test_refusals_say_why(model: ModelProto, part: str) -> None:
    (reason,) = skip_reasons(ReplaceConv(), model)
    assert part in reason


def test_a_parameter_of_a_function_is_not_guessed() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13, "own" : 1]>
    g (float[1,2,4,4] x, float[2,2,3,3] w) => (float[1,2,A,B] y) {
        y = own.wide <by = [2,2]> (x, w) }
    <opset_import: ["" : 13], domain: "own">
    wide <by> (v, k) => (z) {
        z = Conv <strides: ints = @by> (v, k) }"""
    (reason,) = skip_reasons(ReplaceConv(), text)
    assert "inline it first" in reason


def test_quantized_weights_are_left_to_the_target() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1,1,4,4] x, int8[1,1,3,3] q) => (float[1,1,2,2] y) {
        s = Constant <value = float {0.5}> ()
        w = DequantizeLinear (q, s)
        y = Conv (x, w)
    }"""
    (reason,) = skip_reasons(ReplaceConv(), text)
    assert "quantized" in reason


def test_what_the_target_takes_is_left_alone() -> None:
    model = model_of("Conv", (1, 2, 8, 8), (2, 2, 3, 3), opset=13)
    after, results = run_pass(ReplaceConv(), model, target="trt-10.3")
    assert after == model and not any(r.changes or r.skipped for r in results)
    fixed, _ = run_pass(EVERYWHERE, model, target="trt-10.3")
    assert "Conv" not in ops(fixed)


def test_inside_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, float[N,2,H,W] x, float[2,2,3,3] w) => (float[N,2,P,Q] y) {
        y = If (c) <
            then_branch = then () => (float[A,2,P,Q] a) { a = Conv (x, w) },
            else_branch = other () => (float[A,2,P,Q] b) { b = ConvTranspose (x, w) }
        >
    }"""
    model = as_proto(text)
    fixed, results = run_pass(ReplaceConv(), model)
    assert sum(len(r.changes) for r in results) == 2 and "Conv" not in str(fixed)
    for c in (True, False):
        feeds = {"c": np.asarray(c), "x": data(1, 2, 2, 5, 6), "w": data(2, 2, 2, 3, 3)}
        assert_same_outputs(model, fixed, feeds, exact=False, rtol=1e-4, atol=2e-5)


def test_every_backend_test_keeps_its_outputs(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None:
            continue
        if not any(n.op_type in ("Conv", "ConvTranspose") for n in case.model.graph.node):
            continue
        if "causal" in case.name:
            continue
        fixed, _ = run_pass(ReplaceConv(), case.model)
        assert not {"Conv", "ConvTranspose"} & set(ops(fixed)), case.name
        for inputs, outputs in case.data_sets or []:
            names = [i.name for i in case.model.graph.input]
            (have,) = run_model(fixed, dict(zip(names, map(np.asarray, inputs), strict=True)))
            want = np.asarray(outputs[0]).astype(np.float64)
            np.testing.assert_allclose(have.astype(np.float64), want, 1e-4, 1e-5, err_msg=case.name)
        seen += 1
    assert seen >= 17
