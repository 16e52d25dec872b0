"""Softmax, LogSoftmax and Hardmax to opsets that flatten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

HEAD = '<ir_version: 8, opset_import: ["" : 13]> agraph'
Below = Callable[..., list[str]]
RNG = np.random.default_rng(0)


def model(op: str, shape: str, axis: str, dtype: str = "float") -> str:
    return f"{HEAD} ({dtype}[{shape}] x) => ({dtype}[{shape}] y) {{ y = {op}{axis}(x) }}"


def feeds(dtype: type[np.generic] = np.float32) -> list[dict[str, Any]]:
    sizes = [(2, 3, 4), (1, 3, 1), (5, 3, 2), (0, 3, 2)]
    return [{"x": RNG.standard_normal(s).astype(dtype)} for s in sizes]


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("opset", [12, 11, 10, 9])
@pytest.mark.parametrize("axis", ["", "<axis=2>", "<axis=-1>"])
def test_the_last_axis_needs_nothing_else(op: str, opset: int, axis: str, below: Below) -> None:
    assert below(model(op, "N,3,M", axis), opset, *feeds(), rtol=1e-6) == [op]


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", ["<axis=1>", "<axis=0>", "<axis=-2>"])
def test_another_axis_is_moved_to_the_end(op: str, axis: str, below: Below) -> None:
    nonempty = [f for f in feeds() if f["x"].size]
    ops = below(model(op, "N,3,M", axis), 11, *nonempty, rtol=1e-6)
    assert ops == ["Transpose", op, "Transpose"]
    assert below(model(op, "N,3,M", axis), 9, *nonempty, rtol=1e-6) == ops


def test_half_precision(below: Below) -> None:
    below(model("Softmax", "N,3,M", "<axis=1>", "float16"), 11, *feeds(np.float16)[:3], rtol=1e-3)


def test_the_last_axis_without_a_rank(below: Below) -> None:
    text = f"""{HEAD} (float[N,3,M] x, int64[r] s) => (float[A,B] y)
        {{ z = Reshape(x, s) w = Softmax(z) t = Identity(s) y = Reshape(w, t) }}"""
    feed = {"x": RNG.standard_normal((2, 3, 4), np.float32), "s": np.array([4, 6])}
    assert below(text, 11, feed, rtol=1e-6) == ["Reshape", "Softmax", "Identity", "Reshape"]
    below(text, 10, feed, rtol=1e-6)
    below(text, 9, feed, rtol=1e-6)


def test_another_axis_without_a_rank(refused: Callable[[str, int], str]) -> None:
    text = f"""{HEAD} (float[N,3,M] x, int64[r] s) => (float[A,B] y)
        {{ z = Reshape(x, s) w = Softmax<axis=1>(z) y = Reshape(w, s) }}"""
    assert "rank of input 'z'" in refused(text, 11)
