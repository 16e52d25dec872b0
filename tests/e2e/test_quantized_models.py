"""Networks quantised by onnxruntime.quantization, in each of its formats and types."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from quantized_cases import TARGETS, model, refused_ops

from onnx_fix import fix
from onnx_fix.check import check
from onnx_fix.check.live import available
from onnx_fix.testing import run_model

SHAPES = {"cnn": (2, 3, 12, 12), "block": (2, 5, 16)}
KINDS = {
    "u8s8": ("QUInt8", "QInt8"),
    "u8u8": ("QUInt8", "QUInt8"),
    "s8s8": ("QInt8", "QInt8"),
}
STATIC = [
    (net, fmt, kinds, symmetric)
    for net in SHAPES
    for fmt in ("QOperator", "QDQ")
    for kinds in KINDS
    for symmetric in (False, True)
]
DYNAMIC = [(net, weights) for net in SHAPES for weights in ("QInt8", "QUInt8")]

CNN = """(float[N, 3, 12, 12] x) => (float[N, 5] y)
    <int64[2] flat = {0, -1}, int64[1] from = {1}, int64[1] to = {7}, int64[1] axis = {1}> {
    a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w1, b1) b = Relu(a)
    c = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (b)
    d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (c, w2, b2) e = Add(c, d) f = Relu(e)
    h = Concat <axis = 1> (f, c) s = Slice(h, from, to, axis) g = GlobalAveragePool(s)
    r = Reshape(g, flat) y = Gemm <transB = 1> (r, w3, b3) }"""
BLOCK = """(float[N, S, 16] x) => (float[N, S, 16] y) <float k = {0.25}> {
    q0 = MatMul(x, w1) q = Add(q0, b1) c = MatMul(x, w2) v = MatMul(x, w3)
    t = Transpose <perm = [0, 2, 1]> (c) s = MatMul(q, t) m = Mul(s, k)
    p = Softmax <axis = -1> (m) o = MatMul(p, v) r = Add(o, x) h = MatMul(r, w4) g = Relu(h)
    f = MatMul(g, w5) y = Add(f, r) }"""
WEIGHTS: dict[str, dict[str, tuple[int, ...]]] = {
    "cnn": {"w1": (6, 3, 3, 3), "b1": (6,), "w2": (6, 6, 3, 3), "b2": (6,), "w3": (5, 6),
            "b3": (5,)},
    "block": {"w1": (16, 16), "b1": (16,), "w2": (16, 16), "w3": (16, 16), "w4": (16, 24),
              "w5": (24, 16)},
}  # fmt: skip


@cache
def network(name: str) -> ModelProto:
    random = np.random.default_rng(3)
    proto = model(CNN if name == "cnn" else BLOCK, ir=8)
    for key, shape in WEIGHTS[name].items():
        value = (random.standard_normal(shape) * 0.4).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(value, key))
    return proto


def samples(name: str, count: int) -> Iterator[dict[str, NDArray[Any]]]:
    random = np.random.default_rng(7)
    for _ in range(count):
        yield {"x": random.standard_normal(SHAPES[name]).astype(np.float32)}


@cache
def quantized(net: str, fmt: str, kinds: str, symmetric: bool, columns: bool) -> ModelProto:
    """The network as onnxruntime.quantization writes it; ``fmt`` may be dynamic."""
    from onnxruntime import quantization as tool

    class Samples(tool.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = samples(net, 4)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(self.left, None)

    logging.getLogger().setLevel(logging.ERROR)
    with TemporaryDirectory() as folder:
        source, made = Path(folder, "in.onnx"), Path(folder, "out.onnx")
        onnx.save(network(net), source)
        if fmt == "dynamic":
            tool.quantize_dynamic(source, made, weight_type=tool.QuantType[kinds])
        else:
            activations, weights = (tool.QuantType[kind] for kind in KINDS[kinds])
            tool.quantize_static(
                source,
                made,
                Samples(),
                quant_format=tool.QuantFormat[fmt],
                activation_type=activations,
                weight_type=weights,
                per_channel=columns,
                extra_options={"ActivationSymmetric": symmetric},
            )
        return onnx.load(made)


def judge(before: ModelProto, net: str, target: str) -> ModelProto:
    """Nothing is refused after the fix, and the numbers are the same."""
    result = fix(before, target=target, verify=False)
    assert refused_ops(result.model, target) == []
    for feed in samples(net, 2):
        (want,), (have,) = run_model(before, feed), run_model(result.model, feed)
        # Where a number lies in the middle of two levels, another order of factors decides.
        pair = have.astype(float), want.astype(float)
        assert np.isclose(*pair, rtol=1e-4, atol=1e-4).mean() >= 0.98
    return result.model


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("net", "fmt", "kinds", "symmetric"), STATIC)
def test_static(net: str, fmt: str, kinds: str, symmetric: bool, target: str) -> None:
    before = quantized(net, fmt, kinds, symmetric, symmetric)
    fixed = judge(before, net, target)
    if symmetric and kinds != "u8u8":
        left = sum(node.op_type == "QuantizeLinear" for node in fixed.graph.node)
        assert left >= 3, "the layers of INT8 are gone"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("net", "weights"), DYNAMIC)
def test_dynamic(net: str, weights: str, target: str) -> None:
    judge(quantized(net, "dynamic", weights, False, False), net, target)


@pytest.mark.slow
@pytest.mark.skipif(available("rtx-1.7") is None, reason="needs TensorRT-RTX")
@pytest.mark.parametrize(("net", "fmt", "kinds", "symmetric"), STATIC)
def test_the_live_parser_takes_them(net: str, fmt: str, kinds: str, symmetric: bool) -> None:
    before = quantized(net, fmt, kinds, symmetric, symmetric)
    result = fix(before, target="rtx-1.7", verify=False)
    assert check(result.model, target="rtx-1.7", live="on").verdict == "ready"
