"""Ops that did not exist, written as the function body of their schema or by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from onnx_fix.lower import lower
from onnx_fix.testing import as_proto

Below = Callable[..., list[str]]
Reason = Callable[[str, int], str]
RNG = np.random.default_rng(2)


def text(opset: int, inputs: str, outputs: str, body: str) -> str:
    head = f'<ir_version: 10, opset_import: ["" : {opset}]> agraph'
    return f"{head} ({inputs}) => ({outputs}) {{ {body} }}"


def floats(*shape: int, dtype: type[np.generic] = np.float32) -> Any:
    return RNG.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("opset", [16, 13, 11, 9])
@pytest.mark.parametrize("axis", [-1, 1, -2])
@pytest.mark.parametrize("bias", ["", ", b"])
def test_layer_normalization(opset: int, axis: int, bias: str, below: Below) -> None:
    shape = "4" if axis == -1 else "3,4"
    model = text(
        17,
        f"float[N,3,4] x, float[{shape}] s, float[{shape}] b",
        "float[N,3,4] y",
        f"y = LayerNormalization<axis={axis}, epsilon=0.001>(x, s{bias})",
    )
    sizes = (4,) if axis == -1 else (3, 4)
    feeds = [{"x": floats(n, 3, 4), "s": floats(*sizes), "b": floats(*sizes)} for n in (1, 5)]
    ops = below(model, opset, *feeds, rtol=1e-4, atol=1e-5)
    assert "Shape" not in ops and "Reshape" not in ops


def test_layer_normalization_of_half_precision(below: Below) -> None:
    model = text(
        17, "float16[N,4] x, float16[4] s", "float16[N,4] y", "y = LayerNormalization(x, s)"
    )
    feed = {"x": floats(3, 4, dtype=np.float16), "s": floats(4, dtype=np.float16)}
    below(model, 11, feed, rtol=2e-3, atol=1e-3, by_reference=True)


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("opset", [17, 11, 9])
def test_rms_normalization(axis: int, opset: int, below: Below) -> None:
    sizes = (4,) if axis == -1 else (3, 4)
    shape = ",".join(map(str, sizes))
    model = text(
        23,
        f"float[N,3,4] x, float[{shape}] s",
        "float[N,3,4] y",
        f"y = RMSNormalization<axis={axis}>(x, s)",
    )
    below(
        model,
        opset,
        {"x": floats(2, 3, 4), "s": floats(*sizes)},
        rtol=1e-5,
        atol=1e-6,
        original_by_reference=True,
    )


@pytest.mark.parametrize("opset", [20, 17, 13, 11])
def test_group_normalization_per_channel(opset: int, below: Below) -> None:
    model = text(
        21,
        "float[N,4,H] x, float[4] s, float[4] b",
        "float[N,4,H] y",
        "y = GroupNormalization<num_groups=2>(x, s, b)",
    )
    feeds = [{"x": floats(n, 4, h), "s": floats(4), "b": floats(4)} for n, h in [(1, 3), (2, 5)]]
    below(model, opset, *feeds, rtol=1e-4, atol=1e-5)


def test_group_normalization_per_group(below: Below) -> None:
    model = text(
        18,
        "float[N,4,H] x, float[2] s, float[2] b",
        "float[N,4,H] y",
        "y = GroupNormalization<num_groups=2>(x, s, b)",
    )
    x, s, b = floats(2, 4, 3), floats(2), floats(2)
    grouped = x.reshape(2, 2, 6)
    normal = (grouped - grouped.mean(2, keepdims=True)) / np.sqrt(
        grouped.var(2, keepdims=True) + 1e-5
    )
    wanted = (normal * s[:, None] + b[:, None]).reshape(x.shape)
    below(model, 11, {"x": x, "s": s, "b": b}, expected=[wanted], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("op", "since"),
    [
        ("Gelu", 20),
        ('Gelu<approximate="tanh">', 20),
        ("Mish", 18),
        ("HardSwish", 14),
        ("Celu<alpha=0.7>", 12),
        ("Swish<alpha=0.5>", 24),
    ],
)
@pytest.mark.parametrize("opset", [11, 9])
def test_activations(op: str, since: int, opset: int, below: Below) -> None:
    model = text(since, "float[N,3] x", "float[N,3] y", f"y = {op}(x)")
    feeds = [{"x": floats(4, 3)}, {"x": floats(1, 3)}, {"x": floats(0, 3)}]
    below(model, opset, *feeds, rtol=1e-5, atol=1e-6, original_by_reference=since == 24)


def test_swiglu(below: Below) -> None:
    model = text(28, "float[N,3] a, float[N,3] b", "float[N,3] y", "y = SwiGLU(a, b)")
    a, b = floats(4, 3), floats(4, 3)
    wanted = a / (1 + np.exp(-a)) * b
    below(model, 11, {"a": a, "b": b}, expected=[wanted], rtol=1e-5)


@pytest.mark.parametrize("op", ["GreaterOrEqual", "LessOrEqual"])
@pytest.mark.parametrize(("dtype", "opset"), [("float", 11), ("float", 9), ("int64", 9)])
def test_comparisons_with_nan(op: str, dtype: str, opset: int, below: Below) -> None:
    model = text(16, f"{dtype}[N] a, {dtype}[N] b", "bool[N] y", f"y = {op}(a, b)")
    if dtype == "float":
        a = np.array([1, 2, np.nan, np.nan, np.inf, -0.0], np.float32)
        b = np.array([1, 3, 1, np.nan, np.inf, 0.0], np.float32)
    else:
        a, b = np.array([1, 2, 3]), np.array([1, 3, 2])
    below(model, opset, {"a": a, "b": b})


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("opset", [22, 17, 13, 11])
def test_attention(causal: int, opset: int, below: Below) -> None:
    model = text(
        23,
        "float[B,2,S,8] q, float[B,2,T,8] k, float[B,2,T,4] v",
        "float[B,2,S,4] y",
        f"y = Attention<is_causal={causal}>(q, k, v)",
    )
    feeds = [
        {"q": floats(b, 2, s, 8), "k": floats(b, 2, t, 8), "v": floats(b, 2, t, 4)}
        for b, s, t in [(1, 3, 3), (2, 1, 5)]
    ]
    below(model, opset, *feeds, rtol=1e-4, atol=1e-5, original_by_reference=True)


def test_windows_of_attention_are_dropped_where_open() -> None:
    model = text(
        25, "float[B,2,S,8] q", "float[B,2,S,8] y", "y = Attention<left_window_size=-1>(q, q, q)"
    )
    lowered = lower(as_proto(model), 24).model
    assert [(n.op_type, len(n.attribute)) for n in lowered.graph.node] == [("Attention", 0)]


def test_mean_and_deviation(below: Below) -> None:
    model = text(
        17,
        "float[N,4] x, float[4] s",
        "float[N,4] y, float[N,1] m, float[N,1] d",
        "y, m, d = LayerNormalization(x, s)",
    )
    below(model, 11, {"x": floats(3, 4), "s": floats(4)}, rtol=1e-4, atol=1e-6)


def test_an_omitted_output_needs_no_nodes(below: Below) -> None:
    model = text(17, "float[N,4] x, float[4] s", "float[N,4] y", "y = LayerNormalization(x, s)")
    assert below(model, 16).count("Identity") == 0


@pytest.mark.parametrize("window", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_windows(window: str, below: Below) -> None:
    model = text(17, "int64 n", "float[N] y", f"y = {window}(n)")
    below(model, 11, {"n": np.array(9)}, rtol=1e-5, atol=1e-6)


def test_a_body_inside_a_branch(below: Below) -> None:
    model = text(
        20,
        "bool c, float[N,3] x",
        "float[N,3] y",
        """y = If(c) <
            then_branch = t () => (float[N,3] a) { a = Gelu(x) },
            else_branch = e () => (float[N,3] b) { g = Gelu(x) b = Gelu(g) }
        >""",
    )
    x = floats(2, 3)
    below(
        model,
        11,
        {"c": np.array(True), "x": x},
        {"c": np.array(False), "x": x},
        rtol=1e-5,
        atol=1e-6,
    )


def test_labels_that_are_ignored(below: Below) -> None:
    model = text(
        13,
        "float[N,C] x, int64[N] l",
        "float y",
        "y = SoftmaxCrossEntropyLoss<ignore_index=1>(x, l)",
    )
    below(model, 11, {"x": floats(4, 3), "l": np.array([0, 1, 2, 1])}, rtol=1e-5)


def test_dynamic_quantisation(below: Below) -> None:
    model = text(
        11, "float[N] x", "uint8[N] y, float s, uint8 z", "y, s, z = DynamicQuantizeLinear(x)"
    )
    below(model, 9, {"x": floats(50)}, {"x": np.array([0.5, 1.0], np.float32)})


def test_a_type_that_is_not_known(refused: Reason) -> None:
    model = text(20, "seq(float[N]) s, int64 i", "float[N] y", "x = SequenceAt(s, i) y = Gelu(x)")
    assert "before opset" in refused(model, 10)
