"""ReplaceStft: short transforms as a Conv or as a product of frames."""

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

from onnx_fix.testing import assert_same_outputs, ops, run_model, run_pass, skip_reasons
from onnx_fix_passes.replace_stft import ReplaceStft

NAMES = ("step", "window", "length")
Dim = int | str | None


def model_of(
    signal: tuple[Dim, ...],
    *,
    step: int | None = None,
    window: NDArray[Any] | int | None = None,
    length: int | None = None,
    inputs: tuple[str, ...] = (),
    out: tuple[Dim, ...] = (None,) * 4,
    dtype: str = "float32",
    onesided: int | None = None,
) -> ModelProto:
    """One STFT; ``inputs`` names what is computed at run time (a window then has a size)."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    values = {"step": step, "window": window, "length": length}
    held = {k: np.asarray(v) for k, v in values.items() if v is not None and k not in inputs}
    names = [k if k in held or k in inputs else "" for k in NAMES]
    given = [helper.make_tensor_value_info("x", kind, signal)]
    for name in inputs:
        if name == "window":
            given.append(helper.make_tensor_value_info(name, kind, [int(np.asarray(window))]))
        else:
            given.append(helper.make_tensor_value_info(name, TensorProto.INT64, []))
    attrs: dict[str, Any] = {} if onesided is None else {"onesided": onesided}
    while not names[-1]:
        names.pop()
    node = helper.make_node("STFT", ["x", *names], ["y"], name="stft", **attrs)
    result = helper.make_tensor_value_info("y", kind, out)
    constants = [numpy_helper.from_array(v, k) for k, v in held.items()]
    graph = helper.make_graph([node], "g", given, [result], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def data(*shape: int, dtype: str = "float32") -> NDArray[Any]:
    return np.random.default_rng(6).standard_normal(shape).astype(dtype)


def compare(model: ModelProto, *feeds: dict[str, Any], target: str = "trt-7.2") -> ModelProto:
    fixed, _ = run_pass(ReplaceStft(), model, target=target)
    assert "STFT" not in ops(fixed)
    for feed in feeds:
        assert_same_outputs(model, fixed, feed, exact=False, rtol=1e-4, atol=5e-5)
    return fixed


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([1, 2]), st.integers(2, 8), st.integers(1, 5))
def test_as_onnxruntime_does(draw: Any, parts: int, length: int, step: int) -> None:
    onesided = int(parts == 1 and draw.draw(st.booleans()))
    run_time = draw.draw(st.booleans())
    size = length + draw.draw(st.integers(0, 12))
    fixed = draw.draw(st.booleans())
    dtype = draw.draw(st.sampled_from(["float32", "float64"]))
    window = data(length, dtype=dtype)
    flat = parts == 1 and draw.draw(st.booleans())
    last = () if flat else (parts,)
    model = model_of(
        ("N", size if fixed else "L", *last),
        step=step,
        window=length if run_time else window,
        length=draw.draw(st.sampled_from([None, length])),
        inputs=("window",) if run_time else (),
        onesided=onesided,
        dtype=dtype,
    )
    feed = {"x": data(2, size, *last, dtype=dtype)}
    compare(model, feed | ({"window": window} if run_time else {}))


def test_a_constant_window_takes_a_conv() -> None:
    model = model_of(("N", "L", 1), step=3, window=np.hanning(8).astype(np.float32))
    feeds = [{"x": data(n, size, 1)} for n, size in ((1, 8), (2, 30), (3, 9))]
    fixed = compare(model, *feeds)
    assert [o for o in ops(fixed) if o != "Constant"] == [
        "Transpose",
        "Conv",
        "Reshape",
        "Transpose",
    ]


def test_half_precision_goes_through_float32() -> None:
    model = model_of((2, 20, 1), step=4, length=8, dtype="float16")
    fixed, _ = run_pass(ReplaceStft(), model)
    x = data(2, 20, 1, dtype="float16")
    (have,) = run_model(fixed, {"x": x})
    frames = np.stack([x[:, s : s + 8, 0] for s in range(0, 13, 4)], 1).astype(np.float64)
    want = np.fft.rfft(frames, axis=-1)
    assert have.dtype == np.float16
    np.testing.assert_allclose(
        have.astype(np.float64), np.stack([want.real, want.imag], -1), rtol=4e-3, atol=4e-3
    )


def test_what_the_shapes_tell() -> None:
    model = model_of((1, 128, 1), inputs=("step", "length"), out=(1, 15, 9, 2))
    feeds = {"x": data(1, 128, 1), "step": np.asarray(8), "length": np.asarray(16)}
    compare(model, feeds, target="rtx-1.7")
    _, results = run_pass(ReplaceStft(), model)
    assert ["frames of 16 every 8" in c.note for r in results for c in r.changes] == [True]
    model = model_of((1, 20, 1), inputs=("step",), length=20, out=(1, 1, 11, 2))
    compare(model, {"x": data(1, 20, 1), "step": np.asarray(7)})


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (model_of((1, "L", 1), inputs=("step",), length=8), "frame_step 'step' is computed"),
        (
            model_of((1, 128, 1), inputs=("step",), length=16, out=(1, 4, 9, 2)),
            "frame_step 'step' is computed",
        ),
        (model_of((1, 20, 1), step=2, inputs=("length",)), "frame_length 'length'"),
        (model_of((1, 20, "K"), step=2, length=8), "real or complex"),
        (model_of((1, 20, 1), step=2), "no frame_length"),
        (model_of((20,), step=2, length=8), "has rank 1"),
        (model_of((1, 9000, 1), step=2, length=8192), "too large"),
    ],
    ids=["step", "steps", "length", "parts", "none", "rank", "large"],
)
def test_refusals_say_why(model: ModelProto, part: str) -> None:
    (reason,) = skip_reasons(ReplaceStft(), model)
    assert part in reason


def test_what_the_target_takes_is_left_alone() -> None:
    model = model_of((1, 128, 1), step=8, window=np.hanning(16).astype(np.float32), length=16)
    after, results = run_pass(ReplaceStft(), model, target="rtx-1.7")
    assert after == model and not any(r.changes or r.skipped for r in results)
    fixed, _ = run_pass(ReplaceStft(everywhere=True), model, target="rtx-1.7")
    assert "STFT" not in ops(fixed)


@pytest.mark.parametrize("target", ["trt-7.2", "rtx-1.7"])
def test_every_backend_test_keeps_its_outputs(node_cases: list[TestCase], target: str) -> None:
    changed, left = assert_recorded(ReplaceStft(), node_cases, target, "STFT", tolerance=1e-3)
    assert len(changed) >= 2 and not left
