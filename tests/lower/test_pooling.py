"""Pooling that rounds up, dilates, or takes 8-bit integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import ModelProto
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from onnx_fix.lower import lower
from onnx_fix.testing import run_model

Check = Callable[..., ModelProto]
Refusal = Callable[[str, int], str]


def pool(op: str, attributes: str, size: str = "9", opset: int = 22, kind: str = "float") -> str:
    return f"""<ir_version: 10, opset_import: ["": {opset}]> g ({kind}[N,2,{size}] x)
        => ({kind}[A,B,C] y) {{y = {op}<{attributes}>(x)}}"""


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["MaxPool", "AveragePool", "LpPool"]),
    st.integers(1, 4),
    st.integers(1, 4),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.integers(4, 9),
    st.integers(0, 1),
    st.booleans(),
)
def test_rounding_up(
    op: str, kernel: int, stride: int, pads: tuple[int, int], size: int, include: int, known: bool
) -> None:
    assume(max(pads) < kernel)
    attributes = f"kernel_shape = [{kernel}], strides = [{stride}], ceil_mode = 1"
    attributes += f", pads = [{pads[0]}, {pads[1]}]"
    if op == "AveragePool":
        attributes += f", count_include_pad = {include}"
    model = onnx.parser.parse_model(pool(op, attributes, str(size) if known else "L"))
    x = np.random.default_rng(size).standard_normal((2, 2, size)).astype(np.float32)
    try:
        before = run_model(model, {"x": x})[0]
    except Fail:
        return
    for opset in (21, 18, 9):
        done = lower(model, opset)
        if done.refusals:
            assert not known and "size of the axis is not known" in done.refusals[0].reason
            continue
        onnx.checker.check_model(done.model, full_check=True)
        have = run_model(done.model, {"x": x})[0]
        np.testing.assert_allclose(have.astype(float), before.astype(float), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_a_window_in_the_padding(op: str, check: Check, refusal: Refusal) -> None:
    """The schema of 12 and 19 counts the window that the one of 22 does not."""
    attributes = "kernel_shape = [1], strides = [2], ceil_mode = 1"
    x = np.arange(16, dtype=np.float32).reshape(1, 2, 8)
    after = check(pool(op, attributes, "8"), 21, [{"x": x}], want=[op])
    assert not any(a.name == "ceil_mode" and a.i for a in after.graph.node[0].attribute)
    assert "not known" in refusal(pool(op, attributes, "L"), 21)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
def test_sizes_that_pad_by_themselves(op: str, check: Check) -> None:
    attributes = 'kernel_shape = [3], strides = [2], auto_pad = "SAME_UPPER", ceil_mode = 1'
    x = np.random.default_rng(2).standard_normal((1, 2, 8)).astype(np.float32)
    check(pool(op, attributes, "L"), 9, [{"x": x}], want=[op], rtol=1e-6, runtimes=["onnxruntime"])


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["AveragePool", "LpPool"]),
    st.integers(1, 3).flatmap(
        lambda n: st.lists(
            st.tuples(
                st.integers(1, 3),  # kernel
                st.integers(1, 3),  # stride
                st.integers(1, 3),  # dilation
                st.integers(0, 2),  # pads
                st.integers(0, 2),
                st.integers(5, 9),  # size
            ),
            min_size=n,
            max_size=n,
        )
    ),
    st.sampled_from(["", "", "VALID"]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 3),
    st.sampled_from(["N,2", "N,C", "0,2"]),
    st.booleans(),
)
def test_dilated_windows(
    op: str,
    axes: list[tuple[int, int, int, int, int, int]],
    automatic: str,
    ceil: bool,
    include: bool,
    p: int,
    front: str,
    known: bool,
) -> None:
    axes = [(k, s, d, b % k, e % k, max(n, (k - 1) * max(d, 2) + 1)) for k, s, d, b, e, n in axes]
    axes[0] = (*axes[0][:2], 2, *axes[0][3:])  # some axis is dilated
    kernel, strides, dilations, begins, ends, sizes = (list(v) for v in zip(*axes, strict=True))
    attributes = f"kernel_shape = {kernel}, strides = {strides}, dilations = {dilations}"
    attributes += f', auto_pad = "{automatic}"' if automatic else f", pads = {begins + ends}"
    attributes += f", ceil_mode = {int(ceil)}"
    attributes += f", count_include_pad = {int(include)}" if op == "AveragePool" else f", p = {p}"
    spatial = ",".join(map(str, sizes)) if known else ",".join("XYZ"[: len(sizes)])
    out = ",".join("RSTUV"[: 2 + len(sizes)])
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["": 19]> g (float[{front},{spatial}] x)
        => (float[{out}] y) {{y = {op}<{attributes}>(x)}}"""
    )
    shape = (0 if front == "0,2" else 2, 2, *sizes)
    x = np.random.default_rng(len(sizes)).standard_normal(shape).astype(np.float32)
    before = run_model(model, {"x": x})[0]
    for opset in (17, 11, 9):
        done = lower(model, opset)
        if done.refusals:
            assert ceil and not known
            assert "size of the axis is not known" in done.refusals[0].reason
            continue
        assert done.rounds
        onnx.checker.check_model(done.model, full_check=True)
        assert "Conv" in [n.op_type for n in done.model.graph.node]
        have = run_model(done.model, {"x": x})[0]
        np.testing.assert_allclose(have.astype(float), before.astype(float), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", ["AveragePool", "LpPool"])
def test_dilated_windows_of_half_precision(op: str) -> None:
    """Sums of float16 would overflow where the average does not."""
    text = pool(op, "kernel_shape = [3], dilations = [2], pads = [2, 2]", "L", 19, "float16")
    done = lower(onnx.parser.parse_model(text), 11)
    assert not done.refusals
    x = np.full((1, 2, 9), 30000 if op == "AveragePool" else 200, np.float16)
    have = run_model(done.model, {"x": x})[0]
    want = x if op == "AveragePool" else 200 * np.sqrt([2, 2, 3, 3, 3, 3, 3, 2, 2])
    np.testing.assert_allclose(have.astype(float), np.broadcast_to(want, x.shape), rtol=1e-3)
    assert have.dtype == np.float16


@pytest.mark.parametrize("op", ["AveragePool", "LpPool"])
def test_dilated_windows_that_pad_by_themselves(op: str, refusal: Refusal) -> None:
    text = pool(op, 'kernel_shape = [3], dilations = [2], auto_pad = "SAME_UPPER"', "9", 19)
    assert "state the pads" in refusal(text, 17)


@pytest.mark.parametrize(("op", "opset"), [("MaxPool", 9)])
def test_dilations(op: str, opset: int, check: Check, refusal: Refusal) -> None:
    x = np.random.default_rng(2).standard_normal((1, 2, 8)).astype(np.float32)
    one = pool(op, "kernel_shape = [2], dilations = [1]", "L")
    check(one, opset, [{"x": x}], want=[op], rtol=1e-6, runtimes=["onnxruntime"])
    assert "dilations" in refusal(pool(op, "kernel_shape = [2], dilations = [2]", "L"), opset)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_small_integers(kind: str, check: Check) -> None:
    text = pool("MaxPool", "kernel_shape = [2], pads = [1, 0]", "L", 12, kind)
    x = np.random.default_rng(0).integers(-128, 127, (1, 2, 9)).astype(kind)
    check(text, 9, [{"x": x}], want=["Cast", "MaxPool", "Cast"], runtimes=["onnxruntime"])


def test_places_of_the_maxima(check: Check) -> None:
    text = """<ir_version: 8, opset_import: ["": 12]> g (float[1,1,7] x) => (float[1,1,C] y,
        int64[1,1,D] i) {y, i = MaxPool<kernel_shape = [3], strides = [2], ceil_mode = 1>(x)}"""
    x = np.random.default_rng(0).standard_normal((1, 1, 7)).astype(np.float32)
    check(text, 9, [{"x": x}], want=["MaxPool"], runtimes=["onnxruntime"])
