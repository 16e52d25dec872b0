"""Round, IsInf, Mod, Range, running totals and bits in older arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Below = Callable[..., list[str]]
Reason = Callable[[str, int], str]
RNG = np.random.default_rng(1)
SPECIAL = [-0.0, 0.5, 1.5, 2.5, -0.5, -1.5, -0.3, 0.0, -0.0, 3.0, 1e30, -(2.0**23) - 1]
ODD = [np.nan, np.inf, -np.inf]


def unary(op: str, opset: int, dtype: str, out: str = "", attributes: str = "") -> str:
    out = out or dtype
    return f"""<ir_version: 10, opset_import: ["" : {opset}]> agraph
        ({dtype}[N] x) => ({out}[N] y) {{ y = {op}{attributes}(x) }}"""


@pytest.mark.parametrize(("name", "dtype"), [("float", np.float32), ("double", np.float64)])
@pytest.mark.parametrize("opset", [10, 9])
def test_round_half_to_even(name: str, dtype: type[np.generic], opset: int, below: Below) -> None:
    values = np.array([*SPECIAL, *ODD], dtype)
    noise = (RNG.standard_normal(200) * 8).astype(dtype)
    below(unary("Round", 11, name), opset, {"x": values}, {"x": noise}, {"x": values[:0]})


def test_round_of_half_precision(below: Below) -> None:
    values = np.array([0.5, 1.5, -2.5, -0.2, 2047.5, np.nan, np.inf], np.float16)
    below(unary("Round", 11, "float16"), 9, {"x": values}, by_reference=True)


@pytest.mark.parametrize(
    "attributes",
    ["", "<detect_negative=0>", "<detect_positive=0>", "<detect_positive=0, detect_negative=0>"],
)
def test_is_inf(attributes: str, below: Below) -> None:
    values = np.array([*SPECIAL, *ODD, np.finfo(np.float32).max], np.float32)
    below(unary("IsInf", 10, "float", "bool", attributes), 9, {"x": values})
    half = {"x": np.array([1.0, np.inf, -np.inf, np.nan, 65504], np.float16)}
    below(unary("IsInf", 20, "float16", "bool", attributes), 9, half, by_reference=True)


def mod(opset: int, dtype: str, fmod: int) -> str:
    return f"""<ir_version: 10, opset_import: ["" : {opset}]> agraph
        ({dtype}[N] a, {dtype}[N] b) => ({dtype}[N] y) {{ y = Mod<fmod={fmod}>(a, b) }}"""


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8", "uint64"])
@pytest.mark.parametrize("fmod", [0, 1])
def test_mod_of_integers(dtype: str, fmod: int, below: Below) -> None:
    low = 0 if dtype[0] == "u" else -100
    a = RNG.integers(low, 100, 300).astype(dtype)
    b = RNG.integers(low, 100, 300).astype(dtype)
    b[b == 0] = 7
    below(mod(13, dtype, fmod), 9, {"a": a, "b": b})


def test_mod_with_the_sign_of_the_divisor(below: Below) -> None:
    a = np.array([5, -5, 5, -5, 0.0, -0.0, 3, np.nan, np.inf, 2, -2, 5.5], np.float32)
    b = np.array([3, 3, -3, -3, -2, 2, 0.0, 1, 2, np.inf, np.inf, 0.25], np.float32)
    expected = np.array(
        [2, 1, -1, -2, -0.0, 0.0, np.nan, np.nan, np.nan, 2, np.inf, 0.0], np.float32
    )
    below(mod(28, "float", 0), 11, {"a": a, "b": b}, expected=[expected])


def test_mod_of_floats_is_refused_where_it_is_not_exact(refused: Reason) -> None:
    assert "not exact" in refused(mod(13, "float", 1), 9)


def ranges(dtype: str, opset: int = 11) -> str:
    return f"""<ir_version: 10, opset_import: ["" : {opset}]> agraph
        ({dtype} a, {dtype} b, {dtype} c) => ({dtype}[N] y) {{ y = Range(a, b, c) }}"""


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16"])
@pytest.mark.parametrize(
    "ends",
    [
        (0, 5, 1),
        (3, 9, 3),
        (3, 10, 3),
        (10, 4, -2),
        (10, 3, -2),
        (5, 0, 1),
        (0, 0, 1),
        (0, 3, 7),
        (0, 3, -7),
        (-3, 3, 2),
    ],
)
def test_range_of_integers(dtype: str, ends: tuple[int, int, int], below: Below) -> None:
    feed = dict(zip("abc", (np.array(v, dtype) for v in ends), strict=True))
    below(ranges(dtype), 9, feed)


@pytest.mark.parametrize("ends", [(0, 5, 0.5), (1, 0, -0.3), (2, 1, 1), (0, 1e3, 0.7)])
def test_range_of_floats(ends: tuple[float, float, float], below: Below) -> None:
    feed = dict(zip("abc", (np.array(v, np.float32) for v in ends), strict=True))
    below(ranges("float"), 9, feed, rtol=1e-4)


def running(op: str, opset: int, attributes: str, axis: int) -> str:
    return f"""<ir_version: 10, opset_import: ["" : {opset}]> agraph
        (float[N,3,M] x) => (float[N,3,M] y)
        <int64 axis = {{{axis}}}> {{ y = {op}{attributes}(x, axis) }}"""


@pytest.mark.parametrize("op", ["CumSum", "CumProd"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(
    "attributes", ["", "<exclusive=1>", "<reverse=1>", "<exclusive=1, reverse=1>"]
)
def test_running_totals(op: str, axis: int, attributes: str, below: Below) -> None:
    feeds = [{"x": RNG.standard_normal(s, np.float32)} for s in [(2, 3, 4), (1, 3, 1)]]
    if op == "CumSum":
        below(running(op, 11, attributes, axis), 9, *feeds)
    else:
        for feed in feeds:
            wanted = cumulated(feed["x"], axis, "exc" in attributes, "rev" in attributes)
            below(running(op, 26, attributes, axis), 13, feed, expected=[wanted], rtol=1e-6)


def cumulated(x: NDArray[Any], axis: int, exclusive: bool, reverse: bool) -> NDArray[Any]:
    x = np.flip(x, axis) if reverse else x
    y = np.cumprod(x, axis)
    if exclusive:
        y = np.roll(y, 1, axis)
        first: list[Any] = [slice(None)] * x.ndim
        first[axis] = 0
        y[tuple(first)] = 1
    return np.flip(y, axis) if reverse else y


def test_a_running_total_along_a_run_time_axis(refused: Reason) -> None:
    text = """<ir_version: 8, opset_import: ["" : 11]> agraph
        (float[N,3] x, int64 k) => (float[N,3] y) { y = CumSum(x, k) }"""
    assert "computed at run time" in refused(text, 10)


def test_thresholded_relu(below: Below) -> None:
    values = np.array([*SPECIAL, *ODD], np.float32)
    below(unary("ThresholdedRelu", 10, "float", "", "<alpha=0.4>"), 9, {"x": values})


def bits(op: str, opset: int, dtype: str, attributes: str = "") -> str:
    return f"""<ir_version: 10, opset_import: ["" : {opset}]> agraph
        ({dtype}[N] a, {dtype}[N] b) => ({dtype}[N] y) {{ y = {op}{attributes}(a, b) }}"""


def every(dtype: str) -> NDArray[Any]:
    info = np.iinfo(dtype)
    ends = np.array([info.min, info.max, 0, 1], dtype)
    rest = RNG.integers(info.min, info.max, 60, dtype=np.dtype(dtype).type)
    return np.concatenate([ends, rest])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
@pytest.mark.parametrize("op", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
def test_bits_are_combined(op: str, dtype: str, below: Below) -> None:
    below(bits(op, 18, dtype), 17, {"a": every(dtype), "b": every(dtype)[::-1].copy()})


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_bits_are_inverted(dtype: str, below: Below) -> None:
    below(unary("BitwiseNot", 18, dtype), 17, {"x": every(dtype)})


@pytest.mark.parametrize("dtype", ["uint8", "uint32", "uint64"])
@pytest.mark.parametrize("way", ["LEFT", "RIGHT"])
def test_bits_are_shifted(dtype: str, way: str, below: Below) -> None:
    a = every(dtype)
    by = RNG.integers(0, np.iinfo(dtype).bits, a.size).astype(dtype)
    wanted = a << by if way == "LEFT" else a >> by
    text = bits("BitShift", 11, dtype, f'<direction="{way}">')
    below(text, 10, {"a": a, "b": by}, expected=[wanted])


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8"])
@pytest.mark.parametrize("way", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("opset", [27, 13, 10])
def test_shifts_of_opset_28(dtype: str, way: str, opset: int, below: Below) -> None:
    width = np.iinfo(dtype).bits
    a = every(dtype)
    by = np.resize(np.array([0, 1, width - 1, width, width + 3, 5]), a.size).astype(dtype)
    small = np.minimum(by, width - 1).astype(dtype)
    signs = np.where(a < 0, -1, 0) if dtype[0] == "i" else np.zeros(a.size)
    wanted = np.where(by < width, a << small, 0) if way == "LEFT" else a >> small
    if way == "RIGHT":
        wanted = np.where(by < width, wanted, signs)
    text = bits("BitShift", 28, dtype, f'<direction="{way}">')
    below(text, opset, {"a": a, "b": by}, expected=[wanted.astype(dtype)])


def test_what_has_no_equivalent(refused: Reason) -> None:
    det = """<ir_version: 8, opset_import: ["" : 11]> agraph
        (float[N,3,3] x) => (float[N] y) { y = Det(x) }"""
    assert "Det does not exist before opset 11" in refused(det, 10)
    einsum = """<ir_version: 8, opset_import: ["" : 12]> agraph
        (float[N,3] x) => (float[N] y) { y = Einsum<equation="ab->a">(x) }"""
    assert "einsum-to-matmul" in refused(einsum, 11)
