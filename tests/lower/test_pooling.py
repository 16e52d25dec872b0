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


@pytest.mark.parametrize(("op", "opset"), [("MaxPool", 9), ("AveragePool", 18), ("LpPool", 17)])
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
