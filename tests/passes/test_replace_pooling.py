"""replace-pooling: windows out of slices and sums, for pools that the target refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper
from onnx.backend.test.case.test_case import TestCase
from recorded import assert_recorded

from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes.replace_pooling import ReplacePooling

PASS = ReplacePooling()
ALWAYS = ReplacePooling(everywhere=True)


def pool(
    op: str,
    rank: int,
    attrs: dict[str, Any],
    *,
    shape: tuple[int | str, ...] | None = None,
    dtype: int = TensorProto.FLOAT,
    opset: int = 19,
    indices: bool = False,
) -> ModelProto:
    """A pool of an input of any sizes, or of those given."""
    sizes = [f"d{k}" for k in range(rank)]
    x = helper.make_tensor_value_info("x", dtype, sizes if shape is None else shape)
    outputs = [helper.make_tensor_value_info("y", dtype, [f"o{k}" for k in range(rank)])]
    if indices:
        more = [f"o{k}" for k in range(rank)]
        outputs.append(helper.make_tensor_value_info("i", TensorProto.INT64, more))
    node = helper.make_node(op, ["x"], [v.name for v in outputs], **attrs)
    graph = helper.make_graph([node], "g", [x], outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def numbers(shape: tuple[int, ...], dtype: Any = np.float32, kinds: int = 9) -> Any:
    """Few different numbers, so that the greatest is there more than once."""
    random = np.random.default_rng(sum(shape))
    return random.integers(0 if dtype == np.uint8 else -4, kinds, shape).astype(dtype)


@st.composite
def configurations(draw: st.DrawFn, *, dilated: bool = True) -> tuple[int, dict[str, Any], Any]:
    """Rank, attributes and a shape that fits."""
    spatial = draw(st.integers(1, 3))

    def each(low: int, high: int) -> list[int]:
        return [draw(st.integers(low, high)) for _ in range(spatial)]

    kernel = each(1, 3)
    attrs: dict[str, Any] = {"kernel_shape": kernel, "strides": each(1, 3)}
    dilations = each(1, 2) if dilated else [1] * spatial
    if dilated:
        attrs["dilations"] = dilations
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    attrs["pads"] = [draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
    sizes = [r + draw(st.integers(0, 4)) for r in reach]
    return spatial + 2, attrs, (draw(st.integers(0, 2)), draw(st.integers(1, 3)), *sizes)


@given(configurations(), st.booleans(), st.booleans())
@settings(max_examples=50, deadline=None)
def test_any_max(
    configuration: tuple[int, dict[str, Any], Any], static: bool, round_up: bool
) -> None:
    rank, attrs, shape = configuration
    model = pool(
        "MaxPool", rank, {**attrs, "ceil_mode": int(round_up)}, shape=shape if static else None
    )
    fixed, results = run_pass(PASS, model, target="rtx-1.7")
    reasons = [s.reason for r in results for s in r.skipped]
    if reasons:
        assert not static and round_up and "may start in the padding" in reasons[0]
    elif any(d != 1 for d in attrs["dilations"]):
        assert "MaxPool" not in ops(fixed)
    assert_same_outputs(model, fixed, {"x": numbers(shape)})


@given(configurations(), st.booleans(), st.integers(0, 1))
@settings(max_examples=50, deadline=None)
def test_any_indices(
    configuration: tuple[int, dict[str, Any], Any], static: bool, order: int
) -> None:
    rank, attrs, shape = configuration
    model = pool(
        "MaxPool",
        rank,
        {**attrs, "storage_order": order},
        shape=shape if static else None,
        indices=True,
    )
    fixed, _ = run_pass(PASS, model, target="rtx-1.7")
    assert "MaxPool" not in ops(fixed)
    assert_same_outputs(model, fixed, {"x": numbers(shape)})


@given(configurations(), st.booleans(), st.booleans(), st.sampled_from([None, 1, 2, 3]))
@settings(max_examples=50, deadline=None)
def test_any_sum(
    configuration: tuple[int, dict[str, Any], Any], static: bool, padded: bool, p: int | None
) -> None:
    """Averages and norms."""
    rank, attrs, shape = configuration
    op = "AveragePool" if p is None else "LpPool"
    more = {"count_include_pad": int(padded)} if p is None else {"p": p}
    model = pool(op, rank, {**attrs, **more}, shape=shape if static else None)
    fixed, results = run_pass(ALWAYS, model, target="rtx-1.7")
    reasons = [s.reason for r in results for s in r.skipped]
    if reasons:
        assert not static and max(attrs["strides"]) > 1 and "may not fit" in reasons[0]
    else:
        assert op not in ops(fixed)
    assert_same_outputs(model, fixed, {"x": numbers(shape)}, exact=False)


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("size", [6, 7, 8, 9])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_norms_with_same_padding(upper: bool, size: int, stride: int) -> None:
    attrs = {
        "kernel_shape": [3, 2],
        "strides": [stride] * 2,
        "auto_pad": "SAME_UPPER" if upper else "SAME_LOWER",
        "p": 3,
    }
    model = pool("LpPool", 4, attrs, shape=("N", 2, size, size))
    fixed, _ = run_pass(PASS, model, target="rtx-1.7")
    assert ops(fixed) == ["Abs", "Pow", "Conv", "Pow"]
    for n in (2, 1, 0):
        feed = {"x": numbers((n, 2, size, size))}
        assert_same_outputs(model, fixed, feed, exact=False, rtol=1e-4)


@pytest.mark.parametrize(
    "attrs",
    [
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        {"kernel_shape": [3, 3], "strides": [3, 2], "pads": [0, 1, 0, 0]},
        {"kernel_shape": [2, 2], "strides": [3, 3], "dilations": [3, 2]},
    ],
)
def test_axes_shorter_than_a_window(attrs: dict[str, Any]) -> None:
    """onnxruntime counts one window where less than a step is missing."""
    for indices in (True, False):
        model = pool("MaxPool", 4, attrs, indices=indices)
        fixed, _ = run_pass(PASS, model, target="rtx-1.7")
        for shape in ((1, 2, 2, 1), (1, 2, 3, 5), (2, 1, 6, 7), (2, 1, 9, 4)):
            try:
                run_model(model, {"x": numbers(shape)})
            except Exception as error:
                assert "Invalid input shape" in str(error) or "negative" in str(error), error
                continue
            assert_same_outputs(model, fixed, {"x": numbers(shape)})
    for op, more in (("LpPool", {"p": 3}), ("AveragePool", {"dilations": [3, 3]})):
        (reason,) = skip_reasons(PASS, pool(op, 4, {**attrs, **more}), target="rtx-1.7")
        assert "may not fit along axis 2, 3" in reason
        fits = pool(op, 4, {**attrs, **more}, shape=("N", 1, 9, 9))
        assert not run_pass(PASS, fits, target="rtx-1.7")[1][0].skipped


def test_how_many_nodes() -> None:
    attrs = {"kernel_shape": [2, 2], "dilations": [2, 2]}
    feeds = [{"x": numbers((n, 2, 5, 6))} for n in (2, 1, 0)]
    wanted = ["Slice", "Slice", "Max", "Slice", "Slice", "Max"]
    assert_rewrites(PASS, pool("MaxPool", 4, attrs), after=wanted, feeds=feeds, target="rtx-1.7")
    model = pool("AveragePool", 4, attrs, shape=("N", 2, "H", "W"))
    assert_rewrites(PASS, model, after=["Conv", "Div"], feeds=feeds, target="rtx-1.7", exact=False)


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.2", "trt-10.3", "rtx-1.7"])
def test_what_the_target_takes_stays(target: str) -> None:
    attrs = {"kernel_shape": [2, 2]}
    for op in ("MaxPool", "AveragePool"):
        assert skip_reasons(PASS, pool(op, 4, attrs, opset=11), target=target) == []


def test_indices_that_nobody_reads() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[N, 2, 5, 5] x) => (float[N, 2, a, b] y) {
          y, i = MaxPool <kernel_shape = [3, 3], storage_order = 1> (x)
        }"""
    )
    feeds = [{"x": numbers((n, 2, 5, 5))} for n in (2, 1, 0)]
    assert_rewrites(PASS, model, after=["MaxPool"], feeds=feeds)


@pytest.mark.parametrize("opset", [9, 10, 11, 13, 22, 25])
def test_indices_in_every_spelling(opset: int) -> None:
    attrs = {"kernel_shape": [2, 3], "pads": [1, 0, 0, 2]}
    model = pool("MaxPool", 4, attrs, shape=(2, 3, 5, 6), opset=opset, indices=True)
    assert_same_outputs(model, run_pass(PASS, model)[0], {"x": numbers((2, 3, 5, 6))})


@pytest.mark.parametrize(("dtype", "kind"), [(np.uint8, "UINT8"), (np.int8, "INT8")])
def test_small_integers(dtype: Any, kind: str) -> None:
    attrs = {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]}
    number = TensorProto.DataType.Value(kind)
    model = pool("MaxPool", 4, attrs, dtype=number, opset=13)
    feeds = [{"x": numbers((n, 1, 5, 5), dtype, 100)} for n in (2, 1)]
    fixed, _ = run_pass(ALWAYS, model, target="rtx-1.7")
    assert ops(fixed)[0] == "Cast" and ops(fixed)[-1] == "Cast" and "Max" in ops(fixed)
    for feed in feeds:
        assert_same_outputs(model, fixed, feed)
    if kind == "UINT8":
        after = ["Cast", "MaxPool", "Cast"]
        assert_rewrites(PASS, model, after=after, feeds=feeds, target="rtx-1.7")
        (reason,) = skip_reasons(PASS, model, target="trt-8.2")
        assert "does not take 'x' for its type" in reason


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats(dtype: Any) -> None:
    number = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    attrs = {"kernel_shape": [2, 2], "dilations": [2, 1]}
    model = pool("MaxPool", 4, attrs, dtype=number)
    feed = {"x": numbers((2, 2, 5, 5), dtype)}
    assert_same_outputs(model, run_pass(PASS, model, target="rtx-1.7")[0], feed)
    if dtype == np.float64:
        return
    model = pool("AveragePool", 4, attrs, dtype=number)
    fixed = run_pass(PASS, model, target="rtx-1.7")[0]
    assert_same_outputs(model, fixed, feed, exact=False, rtol=1e-3)


def test_infinities() -> None:
    x = numbers((1, 1, 5, 5))
    x[0, 0, 0] = -np.inf
    x[0, 0, 3, 3] = np.inf
    attrs = {"kernel_shape": [2, 2], "dilations": [2, 2], "pads": [1, 1, 1, 1]}
    model = pool("MaxPool", 4, attrs)
    want = run_model(model, {"x": x})[0]
    (have,) = run_model(run_pass(PASS, model, target="rtx-1.7")[0], {"x": x})
    lowest = np.finfo(np.float32).min  # what onnxruntime gives where there is no number
    np.testing.assert_array_equal(np.maximum(have, lowest), want)


def test_refusals() -> None:
    attrs = {"kernel_shape": [2, 2], "dilations": [2, 2]}
    (reason,) = skip_reasons(PASS, pool("MaxPool", 4, attrs, dtype=TensorProto.DOUBLE))
    assert "does not take 'x' for its type" in reason
    model = pool("MaxPool", 4, {**attrs, "auto_pad": "SAME_UPPER"})
    assert "state the pads" in skip_reasons(PASS, model, target="rtx-1.7")[0]
    norm = {"kernel_shape": [2, 2], "p": 3, "strides": [2, 2], "auto_pad": "SAME_LOWER"}
    (reason,) = skip_reasons(PASS, pool("LpPool", 4, norm), target="rtx-1.7")
    assert "depends on its size" in reason
    ceil = {**attrs, "ceil_mode": 1, "strides": [3, 3], "pads": [1, 1, 1, 1]}
    (reason,) = skip_reasons(PASS, pool("MaxPool", 4, ceil), target="rtx-1.7")
    assert "may start in the padding" in reason
    flat = pool("MaxPool", 4, {"kernel_shape": [2, 2], "strides": [2, 2]}, opset=9, indices=True)
    assert "its slices need opset 11" in skip_reasons(PASS, flat)[0]
    unknown = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]> g (float[N] x, int64[K] s) => (float y) {
          r = Reshape (x, s) y = MaxPool <kernel_shape = [2], dilations = [2]> (r) }"""
    )
    assert "rank of its input is not known" in skip_reasons(PASS, unknown)[0]


def test_parameters_of_functions() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18, "my" : 1]>
    g (float[N, 2, 5, 5] x) => (float[N, 2, a, b] y) { y = my.f <k = [2, 2]> (x) }
    <opset_import: ["" : 18], domain: "my"> f <k> (a) => (b) {
      b = LpPool <kernel_shape: ints = @k, p = 3> (a) }"""
    (reason,) = skip_reasons(PASS, text)
    assert "parameter" in reason or "rank" in reason


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, float[N, 2, 5, 5] x) => (float[N, 2, a, b] y) {
      y = If (c) <
        then_branch = one () => (float[N, 2, e, f] t) {
          t = MaxPool <kernel_shape = [2, 2], dilations = [2, 2]> (x) },
        else_branch = two () => (float[N, 2, e, f] e) {
          e = LpPool <kernel_shape = [3, 3], p = 4> (x) }
      >
    }"""
    fixed, results = run_pass(PASS, text, target="rtx-1.7")
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    for way in (True, False):
        feed = {"c": np.array(way), "x": numbers((2, 2, 5, 5))}
        assert_same_outputs(onnx.parser.parse_model(text), fixed, feed, exact=False)


@pytest.mark.parametrize("target", ["trt-7.2", "rtx-1.7"])
def test_onnx_node_tests(node_cases: list[TestCase], target: str) -> None:
    names = "AveragePool", "LpPool", "MaxPool"
    changed, left = assert_recorded(PASS, node_cases, target, *names, tolerance=1e-4)
    assert len(changed) >= 18
    assert all("for its type" in r for reasons in left.values() for r in reasons), left
