"""QuantizeLinear, DequantizeLinear and integer products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Below = Callable[..., list[str]]
Reason = Callable[[str, int], str]
RNG = np.random.default_rng(3)


def text(opset: int, inputs: str, outputs: str, body: str) -> str:
    head = f'<ir_version: 10, opset_import: ["" : {opset}]> agraph'
    return f"{head} ({inputs}) => ({outputs}) {{ {body} }}"


def floats(*shape: int) -> Any:
    return (RNG.standard_normal(shape) * 4).astype(np.float32)


SCALES = {
    "tensor": ("", "axis=1", ()),
    "one": ("1", "axis=1", (1,)),
    "axis": ("3", "axis=1", (3,)),
    "block": ("N,2,4", "axis=1, block_size=2", (2, 2, 4)),
}


@pytest.mark.parametrize("kind", SCALES)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16"])
@pytest.mark.parametrize("opset", [20, 18, 12, 9])
def test_quantize_and_dequantize(kind: str, dtype: str, opset: int, below: Below) -> None:
    shape, attributes, sizes = SCALES[kind]
    scale = f"float[{shape}] s, {dtype}[{shape}] z" if shape else f"float s, {dtype} z"
    model = text(
        21,
        f"float[N,3,4] x, {scale}",
        f"{dtype}[N,3,4] q, float[N,3,4] y",
        f"q = QuantizeLinear<{attributes}>(x, s, z) y = DequantizeLinear<{attributes}>(q, s, z)",
    )
    low = 0 if dtype[0] == "u" else -5
    feed = {
        "x": floats(2, 3, 4),
        "s": np.asarray(RNG.random(sizes) + 0.01, np.float32),
        "z": np.asarray(RNG.integers(low, 5, sizes), dtype),
    }
    feed["x"][0, 0, 0] = 1e9
    below(model, opset, feed)


def test_halves_are_rounded_to_even(below: Below) -> None:
    model = text(
        13, "float[M,2] x, float[2] s, uint8[2] z", "uint8[M,2] y", "y = QuantizeLinear(x, s, z)"
    )
    x = np.array([[0.5, 1.5], [2.5, -0.5], [3.5, 300]], np.float32)
    feed = {"x": x, "s": np.ones(2, np.float32), "z": np.array([3, 200], np.uint8)}
    for opset in (12, 10, 9):
        below(model, opset, feed)


def test_a_stated_output_type(below: Below) -> None:
    model = text(21, "float[N] x, float s", "int8[N] y", "y = QuantizeLinear<output_dtype=3>(x, s)")
    for opset in (20, 9):
        below(model, opset, {"x": floats(9), "s": np.array(0.1, np.float32)})


def test_types_that_no_older_opset_has(refused: Reason) -> None:
    model = text(21, "float[N] x, float s, int4 z", "int4[N] y", "y = QuantizeLinear(x, s, z)")
    assert "int4" in refused(model, 20)
    model = text(19, "float8e4m3fn[N] x, float s", "float[N] y", "y = DequantizeLinear(x, s)")
    assert "float8e4m3fn" in refused(model, 18)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_integer_matrix_product(dtype: str, below: Below) -> None:
    model = text(
        10,
        f"{dtype}[N,5] a, {dtype}[5,4] b, {dtype} p, {dtype} q",
        "int32[N,4] y",
        "y = MatMulInteger(a, b, p, q)",
    )
    info = np.iinfo(dtype)
    feed = {
        n: RNG.integers(info.min, info.max, s).astype(dtype)
        for n, s in [("a", (3, 5)), ("b", (5, 4)), ("p", ()), ("q", ())]
    }
    below(model, 9, feed, original_by_reference=dtype == "int8")


def test_quantised_matrix_product(below: Below) -> None:
    model = text(
        21,
        "uint8[N,5] a, float s, uint8 p, uint8[5,4] b, float t, uint8 q, float u, uint8 r",
        "uint8[N,4] y",
        "y = QLinearMatMul(a, s, p, b, t, q, u, r)",
    )
    feed: dict[str, Any] = {
        n: RNG.integers(0, 255, s).astype(np.uint8)
        for n, s in [("a", (3, 5)), ("b", (5, 4)), ("p", ()), ("q", ()), ("r", ())]
    }
    feed |= {n: np.array(v, np.float32) for n, v in [("s", 0.02), ("t", 0.03), ("u", 0.9)]}
    for opset in (20, 9):
        below(model, opset, feed)


def test_integer_convolution(below: Below, refused: Reason) -> None:
    model = text(
        10,
        "uint8[N,2,5,5] x, uint8[3,2,3,3] w, uint8 p, uint8 q",
        "int32[N,3,5,5] y",
        "y = ConvInteger<pads=[1,1,1,1]>(x, w, p, q)",
    )
    feed: dict[str, Any] = {
        n: RNG.integers(0, 255, s).astype(np.uint8)
        for n, s in [("x", (2, 2, 5, 5)), ("w", (3, 2, 3, 3)), ("p", ()), ("q", ())]
    }
    below(model, 9, feed)
    large = model.replace("N,2,5,5", "N,64,5,5").replace("3,2,3,3", "3,64,3,3")
    assert "2^24" in refused(large, 9)
