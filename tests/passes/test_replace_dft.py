"""ReplaceDft: transforms as products with cosines and sines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from recorded import assert_recorded

from onnx_fix.contract import Exactness
from onnx_fix.testing import (
    as_proto,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes.replace_dft import ReplaceDft

HEADER = '<ir_version: 10, opset_import: ["" : 20]> '
Shape = tuple[int | str | None, ...]


def model_of(
    shape: Shape,
    axis: int | None = None,
    *,
    opset: int = 20,
    length: int | None = None,
    dtype: str = "float32",
    out: Shape | None = None,
    inputs: tuple[str, ...] = (),
    **attrs: Any,
) -> ModelProto:
    """One DFT of a graph input; ``inputs`` names what is computed at run time."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    values = {"n": length, "axis": axis if opset >= 20 else None}
    constants = [
        numpy_helper.from_array(np.asarray(v), k) for k, v in values.items() if v is not None
    ]
    if opset < 20 and axis is not None:
        attrs["axis"] = axis
    names = [k if values[k] is not None or k in inputs else "" for k in ("n", "axis")]
    if opset < 20:
        names = names[:1]
    while names and not names[-1]:
        names.pop()
    given = [helper.make_tensor_value_info("x", kind, shape)]
    given += [helper.make_tensor_value_info(n, TensorProto.INT64, []) for n in inputs]
    result = helper.make_tensor_value_info("y", kind, out or (None,) * len(shape))
    node = helper.make_node("DFT", ["x", *names], ["y"], name="dft", **attrs)
    graph = helper.make_graph([node], "g", given, [result], constants)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 20 else 10
    )


def data(*shape: int, dtype: str = "float32") -> NDArray[Any]:
    return np.random.default_rng(5).standard_normal(shape).astype(dtype)


def compare(model: ModelProto, *feeds: dict[str, Any], target: str = "trt-7.2") -> ModelProto:
    fixed, results = run_pass(ReplaceDft(), model, target=target)
    assert "DFT" not in ops(fixed)
    changes = [c for r in results for c in r.changes]
    assert [c.exactness for c in changes] == [Exactness.ROUNDING]
    for feed in feeds:
        tight = feed["x"].dtype == np.float64
        assert_same_outputs(
            model,
            fixed,
            feed,
            exact=False,
            rtol=1e-6 if tight else 1e-4,
            atol=1e-7 if tight else 3e-5,
        )
    return fixed


@settings(max_examples=60, deadline=None)
@given(
    st.data(),
    st.lists(st.integers(1, 7), min_size=1, max_size=3),
    st.sampled_from([17, 19, 20, 22]),
)
def test_as_onnxruntime_does(draw: Any, sizes: list[int], opset: int) -> None:
    parts = draw.draw(st.sampled_from([1, 2]))
    shape = (*sizes, parts) if len(sizes) > 1 else (1, *sizes, parts)
    axis = draw.draw(st.integers(-len(shape), len(shape) - 2).filter(lambda a: a != -1))
    inverse = draw.draw(st.booleans())
    onesided = parts == 1 and not inverse and draw.draw(st.booleans())
    length = draw.draw(st.none() | st.integers(1, 9))
    dtype = draw.draw(st.sampled_from(["float32", "float64"]))
    model = model_of(
        shape,
        axis,
        opset=opset,
        length=length,
        dtype=dtype,
        inverse=int(inverse),
        onesided=int(onesided),
    )
    compare(model, {"x": data(*shape, dtype=dtype)})


def test_the_other_axes_may_be_dynamic() -> None:
    model = model_of(("N", 6, "M", 1), 1, onesided=1)
    feeds = [{"x": data(n, 6, m, 1)} for n, m in ((1, 1), (2, 3), (0, 2), (2, 0))]
    fixed = compare(model, *feeds, target="rtx-1.7")
    assert ops(fixed).count("MatMul") == 2
    compare(model_of(("N", 6, "M", 2), 1), *({"x": data(2, 6, 3, 2)},))


@pytest.mark.parametrize("length", [None, 7, 4])
def test_back_from_half_a_spectrum(length: int | None) -> None:
    half = np.fft.rfft(data(2, 7, 3).astype(np.float64), n=length, axis=1)
    x = np.stack([half.real, half.imag], axis=-1).astype(np.float32)
    model = model_of(x.shape, 1, length=length, inverse=1, onesided=1)
    fixed, _ = run_pass(ReplaceDft(), model)
    (have,) = run_model(fixed, {"x": x})
    want = np.fft.irfft(half, n=length, axis=1)[..., None]
    np.testing.assert_allclose(have.astype(np.float64), want, rtol=1e-4, atol=1e-5)


def test_half_precision_goes_through_float32() -> None:
    model = model_of((2, 6, 1), dtype="float16")
    fixed, _ = run_pass(ReplaceDft(), model)
    x = data(2, 6, 1, dtype="float16")
    (have,) = run_model(fixed, {"x": x})
    want = np.fft.fft(x[..., 0].astype(np.float64), axis=1)
    assert have.dtype == np.float16
    np.testing.assert_allclose(
        have.astype(np.float64), np.stack([want.real, want.imag], -1), rtol=2e-3, atol=2e-3
    )


@pytest.mark.parametrize("axis", [0, 1, 2, -2, -3, -4])
def test_an_axis_at_run_time(axis: int) -> None:
    model = model_of((2, 3, 4, 2), inputs=("axis",))
    fixed = compare(model, {"x": data(2, 3, 4, 2), "axis": np.asarray(axis)})
    assert ops(fixed).count("Where") == 2


def test_an_axis_at_run_time_that_the_shapes_tell() -> None:
    model = model_of((1, 10, 10, 1), inputs=("axis",), out=(1, 6, 10, 2), onesided=1)
    for axis in (1, -3):
        fixed = compare(model, {"x": data(1, 10, 10, 1), "axis": np.asarray(axis)})
        assert "Where" not in ops(fixed)


def test_a_length_at_run_time_that_the_shapes_tell() -> None:
    model = model_of((2, 6, 1), inputs=("n",), out=(2, 4, 2))
    compare(model, {"x": data(2, 6, 1), "n": np.asarray(4)})
    _, results = run_pass(ReplaceDft(), model)
    assert ["dft_length is what" in c.note for r in results for c in r.changes] == [True]


def test_inside_bodies() -> None:
    text = (
        HEADER
        + """g (bool c, float[2,4,1] x) => (float[2,4,2] y) {
        y = If (c) <
            then_branch = then () => (float[2,4,2] a) { a = DFT (x) },
            else_branch = other () => (float[2,4,2] b) { b = DFT <inverse = 1> (x) }
        >
    }"""
    )
    model = as_proto(text)
    fixed, results = run_pass(ReplaceDft(), model)
    assert sum(len(r.changes) for r in results) == 2 and "DFT" not in str(fixed)
    for c in (True, False):
        feeds = {"c": np.asarray(c), "x": data(2, 4, 1)}
        assert_same_outputs(model, fixed, feeds, exact=False, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (model_of(("N", "L", 1)), "the size of axis 1"),
        (model_of(("N", 4, "K")), "real or complex"),
        (model_of((1, 4096, 1)), "too large"),
        (model_of((1, 8, 1), inputs=("n",)), "dft_length 'n' is computed at run time"),
        (model_of((1, 8, 1), inputs=("n",), onesided=1, out=(1, 5, 2)), "dft_length 'n'"),
        (model_of((6, 8, 1), inputs=("axis",), onesided=1), "the axis 'axis'"),
        (model_of((1, 8, 1), 2), "axis 2 of DFT"),
    ],
    ids=["size", "parts", "large", "length", "half", "axis", "no-axis"],
)
def test_refusals_say_why(model: ModelProto, part: str) -> None:
    (reason,) = skip_reasons(ReplaceDft(), model)
    assert part in reason


def test_a_parameter_of_a_function_is_not_guessed() -> None:
    text = """<ir_version: 10, opset_import: ["" : 20, "own" : 1]>
    g (float[1,4,1] x) => (float[1,4,2] y) { y = own.turn <back: int = 1> (x) }
    <opset_import: ["" : 20], domain: "own">
    turn <back> (v) => (z) { z = DFT <inverse: int = @back> (v) }"""
    (reason,) = skip_reasons(ReplaceDft(), text)
    assert "inline" in reason or "not known" in reason


@pytest.mark.parametrize("target", ["trt-7.2", "rtx-1.7"])
def test_every_backend_test_keeps_its_outputs(node_cases: list[TestCase], target: str) -> None:
    changed, left = assert_recorded(ReplaceDft(), node_cases, target, "DFT", tolerance=1e-3)
    assert len(changed) >= 10 and not left
