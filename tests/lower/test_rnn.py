"""Recurrent ops with the batch axis first, sampling of grids, control flow and optionals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from onnx_fix.testing import run_model

Below = Callable[..., list[str]]
Reason = Callable[[str, int], str]
RNG = np.random.default_rng(5)
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def text(opset: int, inputs: str, outputs: str, body: str, constants: str = "") -> str:
    head = f'<ir_version: 10, opset_import: ["" : {opset}]> agraph'
    return f"{head} ({inputs}) => ({outputs}) {constants} {{ {body} }}"


def floats(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("opset", [13, 9])
def test_layout(op: str, opset: int, below: Below) -> None:
    gates = GATES[op] * 5
    cell = ", h" if op == "LSTM" else ""
    model = text(
        14,
        f"float[B,T,3] x, float[1,{gates},3] w, float[1,{gates},5] r, float[B,1,5] h",
        "float[B,T,1,5] y, float[B,1,5] z",
        f"y, z = {op}<layout=1, hidden_size=5>(x, w, r, , , h{cell})",
    )
    x, h = floats(2, 4, 3), floats(2, 1, 5)
    w, r = floats(1, gates, 3), floats(1, gates, 5)
    # onnxruntime runs no layout 1, so the original is run with layout 0 by hand.
    plain = text(
        7,
        f"float[T,B,3] x, float[1,{gates},3] w, float[1,{gates},5] r, float[1,B,5] h",
        "float[T,1,B,5] y, float[1,B,5] z",
        f"y, z = {op}<hidden_size=5>(x, w, r, , , h{cell})",
    )
    feed = {
        "x": np.ascontiguousarray(x.swapaxes(0, 1)),
        "w": w,
        "r": r,
        "h": np.ascontiguousarray(h.swapaxes(0, 1)),
    }
    y, z = run_model(onnx.parser.parse_model(plain), feed)
    wanted = [y.transpose(2, 0, 1, 3), z.swapaxes(0, 1)]
    below(model, opset, {"x": x, "w": w, "r": r, "h": h}, expected=wanted, rtol=1e-6)


def test_layout_0_is_left_alone(below: Below) -> None:
    model = text(
        14,
        "float[T,B,3] x, float[1,5,3] w, float[1,5,5] r",
        "float[T,1,B,5] y",
        "y = RNN<layout=0, hidden_size=5>(x, w, r)",
    )
    assert below(model, 9, {"x": floats(4, 2, 3), "w": floats(1, 5, 3), "r": floats(1, 5, 5)}) == [
        "RNN"
    ]


@pytest.mark.parametrize("mode", ["", '<mode="linear">', '<mode="cubic">', '<mode="nearest">'])
def test_modes_of_grid_sample(mode: str, below: Below) -> None:
    model = text(
        20, "float[N,C,4,5] x, float[N,A,B,2] g", "float[N,C,A,B] y", f"y = GridSample{mode}(x, g)"
    )
    feed = {"x": floats(2, 3, 4, 5), "g": RNG.uniform(-1.2, 1.2, (2, 3, 3, 2)).astype(np.float32)}
    below(model, 17, feed, rtol=1e-5, atol=1e-6)


def test_grids_that_are_refused(refused: Reason) -> None:
    volume = text(
        20, "float[N,C,4,5,6] x, float[N,A,B,D,3] g", "float[N,C,A,B,D] y", "y = GridSample(x, g)"
    )
    reason = refused(volume, 19)
    assert "rank 4 alone" in reason and "replace-grid-sample" in reason
    image = text(
        16, "float[N,C,4,5] x, float[N,A,B,2] g", "float[N,C,A,B] y", "y = GridSample(x, g)"
    )
    reason = refused(image, 15)
    assert "GridSample does not exist before opset 16: the pass replace-grid-sample" in reason


def test_a_loop_of_what_is_lowered(below: Below) -> None:
    model = text(
        21,
        "int64 n, bool c, float[2,3] x",
        "float[2,3] y, float[K,2,3] z",
        """y, z = Loop(n, c, x) <body = b (int64 i, bool k, float[2,3] s) =>
            (bool k2, float[2,3] s2, float[2,3] o) {
            k2 = Identity(k) s2 = Softmax<axis=0>(s) o = HardSwish(s2) }>""",
    )
    feeds = [{"n": np.array(v), "c": np.array(True), "x": floats(2, 3)} for v in (3, 1)]
    for opset in (13, 11, 9):
        below(model, opset, *feeds, rtol=1e-5, atol=1e-6)


def test_a_loop_that_carries_a_sequence(refused: Reason) -> None:
    model = text(
        13,
        "int64 n, bool c, seq(float[N]) s, float[N] x",
        "seq(float[N]) y",
        """y = Loop(n, c, s) <body = b (int64 i, bool k, seq(float[N]) t) =>
            (bool k2, seq(float[N]) t2) { k2 = Identity(k) t2 = SequenceInsert(t, x) }>""",
    )
    assert "carries no sequence" in refused(model, 12)


def test_an_element_that_is_no_optional(below: Below) -> None:
    model = text(
        18,
        "float[N] x",
        "bool a, float[N] y",
        "a = OptionalHasElement(x) y = OptionalGetElement(x)",
    )
    below(model, 11, {"x": floats(3)})


def test_the_axis_of_a_transform(below: Below) -> None:
    model = text(20, "float[N,6,1] x", "float[N,6,2] y", "y = DFT(x, , k)", "<int64 k = {-2}>")
    below(model, 17, {"x": floats(2, 6, 1)}, rtol=1e-4, atol=1e-4)


def test_sequences_did_not_exist(refused: Reason) -> None:
    body = "s = SequenceConstruct(x) y = SequenceAt(s, i)"
    model = text(11, "float[N] x, int64 i", "float[N] y", body)
    assert "ONNX had no sequences" in refused(model, 10)
