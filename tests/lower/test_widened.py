"""Arithmetic on types that came later."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from onnx_fix.testing import run_model

Check = Callable[..., ModelProto]
Refusal = Callable[[str, int], str]
FLOATS = {"float": "float32", "double": "float64"}


def binary(kind: str, body: str, opset: int, out: str = "", other: str = "") -> str:
    return f"""<ir_version: 8, opset_import: ["": {opset}]> g ({kind}[N] a, {other or kind}[N] b)
        => ({out or kind}[N] y) {{y = {body}}}"""


def extremes(kind: str) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    info = np.iinfo(kind)
    edge = np.array([info.min, info.min + 1, 0, 1, 2, 7, info.max - 1, info.max], kind)
    a, b = np.meshgrid(edge, edge)
    return a.reshape(-1), b.reshape(-1)


@pytest.mark.parametrize("kind", ["int8", "int16", "uint8", "uint16"])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("opset", [13, 9])
def test_small_integers_wrap_as_before(op: str, kind: str, opset: int, check: Check) -> None:
    a, b = extremes(kind)
    if op == "Div":
        # The lowest integer by -1 has no quotient, and nothing has one by 0.
        defined = (b != 0) & ~((a == np.iinfo(kind).min) & (b.astype(np.int64) == -1))
        # onnx.reference rounds quotients down before 14 and towards zero after.
        defined &= (a.astype(np.int64) >= 0) & (b.astype(np.int64) > 0)
        a, b = a[defined], b[defined]
    feeds = [{"a": a, "b": b}, {"a": a[:0], "b": b[:0]}]
    want = ["Cast", "Cast", op, "Cast"]
    check(binary(kind, f"{op}(a, b)", 14), opset, feeds, want=want, runtimes=["reference"])


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "int64"])
def test_relu_of_integers(kind: str, check: Check) -> None:
    text = f"""<ir_version: 8, opset_import: ["": 14]> g ({kind}[N] x) => ({kind}[N] y)
        {{y = Relu(x)}}"""
    x = extremes(kind)[0]
    check(text, 13, [{"x": x}], want=["Max"], runtimes=["reference"])
    where = ["Cast", "Cast", "Where", "Cast"] if kind == "int16" else ["Where"]
    check(text, 9, [{"x": x}], want=["Greater", *where], runtimes=["reference"])


@pytest.mark.parametrize("kind", ["int8", "uint16", "int32", "int64", "uint64"])
@pytest.mark.parametrize("op", ["Max", "Min"])
@pytest.mark.parametrize("arguments", ["a", "a, b", "a, b, a"])
def test_extremes_of_integers(op: str, kind: str, arguments: str, check: Check) -> None:
    a, b = extremes(kind)
    text = binary(kind, f"{op}({arguments})", 13)
    after = check(text, 9, [{"a": a, "b": b}])
    run_model(after, {"a": a, "b": b})  # onnxruntime has no Where of 16-bit integers and of uint64


@pytest.mark.parametrize(
    "kind", ["float", "double", "int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64"]
)
def test_equality(kind: str, check: Check) -> None:
    if kind in FLOATS:
        edge = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5], FLOATS[kind])
        a, b = (v.reshape(-1) for v in np.meshgrid(edge, edge))
    else:
        a, b = extremes(kind)
    text = binary(kind, "Equal(a, b)", 13, out="bool")
    check(text, 9, [{"a": a, "b": b}], runtimes=["reference"])


@pytest.mark.parametrize(
    ("base", "exponent"),
    [
        *(("float", "int32"), ("float", "int64"), ("float", "double"), ("float", "int8")),
        *(("double", "float"), ("double", "int64"), ("float16", "float")),
    ],
)
def test_powers_of_two_types(base: str, exponent: str, check: Check) -> None:
    text = binary(base, "Pow(a, b)", 12, other=exponent)
    a = np.array([0.5, 2, 3, -2, 1.25], FLOATS.get(base, base))
    b = np.array([2, 3, 0, 3, 5], FLOATS.get(exponent, exponent))
    rtol = 2e-3 if base == "float16" else 1e-6
    check(text, 11, [{"a": a, "b": b}], rtol=rtol, runtimes=["reference"])


@pytest.mark.parametrize("kind", ["int64", "int32", "float"])
def test_a_constant_exponent_is_written_in_the_type_of_the_base(kind: str, check: Check) -> None:
    text = f"""<ir_version: 8, opset_import: ["": 13]> g (float[N] x) => (float[N] y)
        <{kind} two = {{2}}> {{y = Pow(x, two)}}"""
    check(text, 9, [{"x": np.array([0.5, -3, 0], np.float32)}], want=["Pow"])


@pytest.mark.parametrize("power", [1, 2, 3, 7, 10])
def test_integers_are_multiplied_out(power: int, check: Check, refusal: Refusal) -> None:
    text = f"""<ir_version: 8, opset_import: ["": 13]> g (int64[N] x) => (int64[N] y)
        <int64 p = {{{power}}}> {{y = Pow(x, p)}}"""
    check(text, 9, [{"x": np.array([0, 1, -3, 9])}])


@pytest.mark.parametrize("other", ["int32", "int64"])
@pytest.mark.parametrize("constant", [False, True])
def test_powers_of_int32(other: str, constant: bool, check: Check) -> None:
    """All that int32 holds; the rest overflows, and is not defined."""
    a, b = np.meshgrid(np.arange(-11, 12), np.arange(0, 32))
    fits = np.abs(a.astype(np.float64)) ** b < 2**31
    x, y = a[fits].astype(np.int32), b[fits].astype(other)
    if constant:
        x, y = x[: x.size // 2], y[: x.size // 2]
        numbers = ", ".join(map(str, y))
        head = f"(int32[{x.size}] a) => (int32[N] y) <{other}[{y.size}] b = {{{numbers}}}>"
    else:
        head = f"(int32[N] a, {other}[N] b) => (int32[N] y)"
    text = f"""<ir_version: 8, opset_import: ["": 13]> g {head} {{y = Pow(a, b)}}"""
    feeds = {"a": x} if constant else {"a": x, "b": y}
    check(text, 9, [feeds], want=["Cast", "Cast", "Pow", "Cast"])


@pytest.mark.parametrize("power", [-1, 65])
def test_other_powers_of_integers_are_refused(power: int, refusal: Refusal) -> None:
    text = f"""<ir_version: 8, opset_import: ["": 13]> g (int32[N] x) => (int32[N] y)
        <int32 p = {{{power}}}> {{y = Pow(x, p)}}"""
    assert "no constant from 1" in refusal(text, 11)
