"""Gather, scatter, masks and sequences by older ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Below = Callable[..., list[str]]
Reason = Callable[[str, int], str]
RNG = np.random.default_rng(4)


def text(opset: int, inputs: str, outputs: str, body: str, constants: str = "") -> str:
    head = f'<ir_version: 10, opset_import: ["" : {opset}]> agraph'
    return f"{head} ({inputs}) => ({outputs}) {constants} {{ {body} }}"


def floats(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("opset", [11, 10, 9])
@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("batch", [0, 1])
def test_gather_nd(opset: int, width: int, batch: int, below: Below) -> None:
    width = min(width, 3 - batch)
    out = ",".join("ABCDE"[: 5 - width - batch])
    model = text(
        12,
        f"float[N,4,2] x, int64[N,5,{width}] i",
        f"float[{out}] y",
        f"y = GatherND<batch_dims={batch}>(x, i)",
    )
    sizes = (2, 4, 2)[batch : batch + width]
    index = np.stack([RNG.integers(-s, s, (2, 5)) for s in sizes], -1)
    below(model, opset, {"x": floats(2, 4, 2), "i": index})


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("opset", [10, 9])
def test_gather_elements(axis: int, opset: int, below: Below) -> None:
    model = text(
        13,
        "float[N,4,2] x, int64[A,B,C] i",
        "float[A,B,C] y",
        f"y = GatherElements<axis={axis}>(x, i)",
    )
    size = (3, 4, 2)[axis]
    feeds = [
        {"x": floats(3, 4, 2), "i": RNG.integers(-size, size, s)} for s in [(2, 3, 2), (3, 4, 1)]
    ]
    below(model, opset, *feeds)


@pytest.mark.parametrize("op", ["ScatterElements", "ScatterND"])
@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("opset", [17, 15, 11, 9])
def test_scatter(op: str, reduction: str, opset: int, below: Below) -> None:
    elements = op == "ScatterElements"
    shapes = "int64[A,B,C] i, float[A,B,C] u" if elements else "int64[A,2] i, float[A,2] u"
    model = text(
        18,
        f"float[3,4,2] x, {shapes}",
        "float[3,4,2] y",
        f'y = {op}<reduction="{reduction}">(x, i, u)',
    )
    if elements:
        index, updates = RNG.integers(-3, 3, (3, 3, 2)), floats(3, 3, 2)
    else:
        index, updates = np.array([[0, 1], [-1, 2], [0, 1], [2, -4]]), floats(4, 2)
    if reduction == "none":  # then no place may be written twice
        each = np.array([-1, 0, 1])[:, None, None] * np.ones((1, 3, 2), np.int64)
        index, updates = (each, updates) if elements else (index[1:], updates[1:])
    feed = {"x": floats(3, 4, 2), "i": index, "u": updates}
    below(model, opset, feed, rtol=1e-6, original_by_reference=not elements)


@pytest.mark.parametrize("mode", ["linear", "circular"])
@pytest.mark.parametrize("opset", [23, 17, 11])
def test_tensor_scatter(mode: str, opset: int, below: Below) -> None:
    model = text(
        24,
        "float[2,H,4,D] p, float[2,H,T,D] u, int64[2] w",
        "float[2,H,4,D] y",
        f'y = TensorScatter<mode="{mode}">(p, u, w)',
    )
    begins = np.array([1, 3] if mode == "circular" else [1, 2])
    feed = {"p": floats(2, 3, 4, 2), "u": floats(2, 3, 2, 2), "w": begins}
    below(model, opset, feed, original_by_reference=True)


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [None, 0, 1, -2, 9])
@pytest.mark.parametrize("shape", ["3,4", "N,3,4", "N,A,B"])
def test_trilu(upper: int, k: int | None, shape: str, below: Below) -> None:
    constants = "" if k is None else f"<int64 k = {{{k}}}>"
    given = "" if k is None else ", k"
    model = text(
        14,
        f"float[{shape}] x",
        f"float[{shape}] y",
        f"y = Trilu<upper={upper}>(x{given})",
        constants,
    )
    feeds = [{"x": floats(3, 4)}] if shape == "3,4" else [{"x": floats(n, 3, 4)} for n in (1, 2)]
    feeds[0]["x"].flat[0] = np.nan
    for opset in (13, 9):
        below(model, opset, *feeds)


def test_trilu_with_a_run_time_diagonal(below: Below) -> None:
    model = text(14, "int64[A,B] x, int64 k", "int64[A,B] y", "y = Trilu(x, k)")
    x = RNG.integers(-9, 9, (4, 3))
    below(model, 9, *({"x": x, "k": np.array(v)} for v in (-5, -1, 0, 2, 7)))


@pytest.mark.parametrize("axis", [-1, 0, -2, 1])
def test_one_hot(axis: int, below: Below) -> None:
    model = text(
        11,
        "int64[A,B] i, int64 d, float[2] v",
        "float[C,D,E] y",
        f"y = OneHot<axis={axis}>(i, d, v)",
    )
    feed = {
        "i": np.array([[0, -1, 4], [5, -5, -6], [3, -11, 100]]),
        "d": np.array(5),
        "v": np.array([0.5, 3], np.float32),
    }
    below(model, 9, feed, expected=[one_hot(feed["i"], axis)])


def one_hot(indices: Any, axis: int) -> Any:
    wrapped = np.where(indices < 0, indices + 5, indices)
    rows = (wrapped[..., None] == np.arange(5)) & (wrapped[..., None] >= 0)
    return np.moveaxis(np.where(rows, 3, 0.5).astype(np.float32), -1, axis)


@pytest.mark.parametrize(("time", "batch"), [(0, 1), (1, 0)])
def test_reverse_sequence(time: int, batch: int, below: Below) -> None:
    model = text(
        10,
        "float[A,B,3] x, int64[N] n",
        "float[A,B,3] y",
        f"y = ReverseSequence<time_axis={time}, batch_axis={batch}>(x, n)",
    )
    x = floats(4, 5, 3)
    below(model, 9, {"x": x, "n": RNG.integers(1, x.shape[time], x.shape[batch])})


def test_boxes_shifted_by_half_a_pixel(refused: Reason, below: Below) -> None:
    model = text(
        16,
        "float[N,2,6,6] x, float[R,4] b, int64[R] i",
        "float[R,2,2,2] y",
        "y = RoiAlign<output_height=2, output_width=2, sampling_ratio=2>(x, b, i)",
    )
    assert "half a pixel" in refused(model, 13)
    aligned = model.replace(
        "sampling_ratio=2", 'sampling_ratio=2, coordinate_transformation_mode="output_half_pixel"'
    )
    feed = {"x": floats(1, 2, 6, 6), "b": np.array([[0, 0, 4, 5]], np.float32), "i": np.array([0])}
    below(aligned, 11, feed, rtol=1e-6)


def test_what_did_not_exist(refused: Reason) -> None:
    model = text(11, "float[N] x", "float[M] y", "y = Unique(x)")
    assert "does not exist before opset 11" in refused(model, 10)
