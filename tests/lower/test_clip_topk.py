"""Clip, TopK, Dropout, Gemm and BatchNormalization in their older spelling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

Check = Callable[..., ModelProto]
Refusal = Callable[[str, int], str]


def floats(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def unary(kind: str, body: str, opset: int, constants: str = "", more: str = "") -> str:
    return f"""<ir_version: 8, opset_import: ["": {opset}]>
        g ({kind}[N,3] x{more}) => ({kind}[N,3] y) {constants} {{y = {body}}}"""


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "int64", "uint64"])
@pytest.mark.parametrize("body", ["Clip(x, a, b)", "Clip(x, a)", "Clip(x, , b)", "Clip(x)"])
def test_integers_are_clipped(kind: str, body: str, check: Check) -> None:
    constants = f"<{kind} a = {{2}}, {kind} b = {{5}}>"
    x = np.array([[0, 2, 3], [5, 6, 100]], kind)
    check(unary(kind, body, 13, constants), 9, [{"x": x}])


@pytest.mark.parametrize(
    ("body", "want"),
    [("Clip(x, a, b)", ["Clip"]), ("Clip(x, a)", ["Clip"]), ("Clip(x, b, a)", None)],
)
def test_bounds_become_attributes(body: str, want: list[str] | None, check: Check) -> None:
    text = unary("float", body, 13, "<float a = {-0.5}, float b = {0.75}>")
    x = np.array([[-1, 0, 1], [0.75, 9, 0.1]], np.float32)
    check(text, 10, [{"x": x}], want=want or ["Less", "Where", "Greater", "Where"])


def test_bounds_computed_at_run_time_are_selected(check: Check) -> None:
    text = unary("float", "Clip(x, a, b)", 13, more=", float a, float b")
    x = np.array([[-1, 0, 1], [0.75, np.inf, 0.1]], np.float32)
    feeds = {"x": x, "a": np.array(-0.5, np.float32), "b": np.array(0.5, np.float32)}
    check(text, 9, [feeds], want=["Less", "Where", "Greater", "Where"])


def test_a_bound_that_float32_does_not_hold(check: Check) -> None:
    text = unary("double", "Clip(x, a)", 13, "<double a = {0.1}>")
    x = np.array([[0.0, 0.1, 1e300], [np.nan, np.inf, -np.inf]])
    want = ["Less", "Where", "Greater", "Where"]
    check(text, 9, [{"x": x}], want=want, runtimes=["onnxruntime"])


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("bound", ["a, ", ", a"])
def test_an_absent_bound_is_the_largest_finite_value(kind: str, bound: str, check: Check) -> None:
    name = {"float32": "float", "float64": "double"}.get(kind, kind)
    value = "11878" if kind == "float16" else "0.1"
    text = unary(name, f"Clip(x, {bound})", 13, f"<{name} a = {{{value}}}>")
    # onnx.reference leaves infinities, against the text of the op.
    x = np.array([[np.inf, -np.inf, 0]], kind)
    check(text, 9, [{"x": x}], runtimes=["onnxruntime"])


def topk(kind: str, attributes: str, opset: int = 11) -> str:
    return f"""<ir_version: 8, opset_import: ["": {opset}]>
        g ({kind}[N,5] x) => ({kind}[A,B] v, int64[C,D] i)
        <int64[1] k = {{3}}> {{v, i = TopK{attributes}(x, k)}}"""


@pytest.mark.parametrize("kind", ["float", "int8", "uint8", "int32", "uint32"])
@pytest.mark.parametrize("attributes", ["", "<largest = 0>", "<axis = -2, largest = 0>"])
@pytest.mark.parametrize("opset", [10, 9])
def test_the_smallest_and_integers(kind: str, attributes: str, opset: int, check: Check) -> None:
    dtype = {"float": "float32"}.get(kind, kind)
    x = np.array([[3, 1, 2, 2, 9], [7, 7, 7, 0, 1], [5, 6, 4, 8, 0]]).astype(dtype)
    if kind == "int8":
        x[0, 0] = -128
    if kind == "uint32":
        x[0, 0] = 2**32 - 1
    # onnxruntime has TopK 11 for some types only; the reference has all.
    check(topk(kind, attributes), opset, [{"x": x}], runtimes=["reference"])


def test_unsorted_and_sorted_is_the_same_set(check: Check) -> None:
    check(topk("float", "<sorted = 1>", 24), 9, [{"x": floats(2, 5)}], want=["TopK"])


def test_int64_and_k_at_run_time_are_refused(refusal: Refusal) -> None:
    assert "int64" in refusal(topk("int64", ""), 10)
    text = """<ir_version: 8, opset_import: ["": 11]> g (float[5] x, int64[1] k)
        => (float[A] v, int64[B] i) {v, i = TopK(x, k)}"""
    assert "K 'k' is computed at run time" in refusal(text, 9)


@pytest.mark.parametrize("opset", [21, 12, 11, 9])
@pytest.mark.parametrize(
    "body", ["Dropout(x)", "Dropout(x, r)", "Dropout(x, r, t)", "Dropout(x, z, u)"]
)
def test_dropout_without_training(body: str, opset: int, check: Check) -> None:
    text = f"""<ir_version: 10, opset_import: ["": 22]>
        g (float[N,3] x) => (float[N,3] y, bool[N,3] m)
        <float r = {{0.5}}, bool t = {{0}}, float z = {{0.0}}, bool u = {{1}}>
        {{y, m = {body}}}"""
    check(text, opset, [{"x": floats(2, 3)}, {"x": floats(0, 3)}], runtimes=["reference"])


@pytest.mark.parametrize(
    ("body", "reason"), [("Dropout(x, r, t)", "random"), ("Dropout(x, r, u)", "run time")]
)
def test_dropout_in_training_is_refused(body: str, reason: str, refusal: Refusal) -> None:
    constants = "<float r = {0.5}, bool t = {1}>"
    assert reason in refusal(unary("float", body, 13, constants, ", bool u"), 11)


@pytest.mark.parametrize("kind", ["float", "double", "float16"])
def test_gemm_without_c(kind: str, check: Check) -> None:
    text = f"""<ir_version: 8, opset_import: ["": 13]> g ({kind}[N,3] x, {kind}[4,3] w)
        => ({kind}[N,4] y) {{y = Gemm<transB = 1, alpha = 0.5>(x, w)}}"""
    dtype = {"float": "float32", "double": "float64"}.get(kind, kind)
    feeds = {"x": floats(2, 3).astype(dtype), "w": floats(4, 3).astype(dtype)}
    check(text, 9, [feeds], want=["Gemm"], rtol=1e-2 if kind == "float16" else 1e-6)


def batch_norm(kinds: str, body: str, outputs: str, opset: int = 15) -> str:
    x, p, s = kinds.split()
    return f"""<ir_version: 8, opset_import: ["": {opset}]>
        g ({x}[N,3,H] x, {p}[3] a, {p}[3] b, {s}[3] m, {s}[3] v) => ({outputs}) {{{body}}}"""


def batch(kinds: str) -> dict[str, NDArray[np.generic]]:
    x, p, s = (np.dtype({"float": "float32"}.get(k, k)) for k in kinds.split())
    rng = np.random.default_rng(0)
    return {
        "x": rng.standard_normal((4, 3, 5)).astype(x),
        "a": rng.uniform(0.5, 2, 3).astype(p),
        "b": rng.standard_normal(3).astype(p),
        "m": rng.standard_normal(3).astype(s),
        "v": rng.uniform(0.5, 2, 3).astype(s),
    }


@pytest.mark.parametrize(
    "kinds", ["float float float", "float16 float float", "float16 float16 float"]
)
@pytest.mark.parametrize("opset", [14, 13, 9])
def test_batch_normalization(kinds: str, opset: int, check: Check) -> None:
    text = batch_norm(
        kinds, "y = BatchNormalization(x, a, b, m, v)", f"{kinds.split()[0]}[A,B,C] y"
    )
    rtol = 2e-2 if "16" in kinds else 1e-6
    # onnx.reference takes BatchNormalization 9 for training always.
    runtimes = ["onnxruntime"] if opset < 14 else ["onnxruntime", "reference"]
    check(text, opset, [batch(kinds)], rtol=rtol, runtimes=runtimes)


def test_batch_normalization_in_training(check: Check) -> None:
    kinds = "float float float"
    body = "y, rm, rv = BatchNormalization<training_mode = 1, momentum = 0.75>(x, a, b, m, v)"
    text = batch_norm(kinds, body, "float[A,B,C] y, float[3] rm, float[3] rv")
    check(text, 13, [batch(kinds)], rtol=1e-5, runtimes=["onnxruntime"])
