"""DFT and STFT before they existed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from onnx_fix.lower import lower
from onnx_fix.testing import as_proto, run_model

Check = Callable[..., ModelProto]
Refusal = Callable[[str, int], str]


def floats(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(4).standard_normal(shape).astype(np.float32)


def dft(shape: str, body: str, opset: int = 17, kind: str = "float", constants: str = "") -> str:
    return f"""<ir_version: 8, opset_import: ["": {opset}]>
        g ({kind}[{shape}] x) => ({kind}[A,B,C,D] y) {constants} {{ y = DFT{body} }}"""


@pytest.mark.parametrize("opset", [16, 11, 9])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("axis", [1, 2, -2])
@pytest.mark.parametrize("inverse", [0, 1])
@pytest.mark.parametrize("length", [None, 3, 7, 8])
def test_transforms(
    opset: int, parts: int, axis: int, inverse: int, length: int | None, check: Check
) -> None:
    shape = f"N,7,M,{parts}" if axis == 1 else f"N,M,7,{parts}"
    constants = "" if length is None else f"<int64 n = {{{length}}}>"
    inputs = "x" if length is None else "x, n"
    text = dft(shape, f"<axis = {axis}, inverse = {inverse}>({inputs})", 17, "float", constants)
    sizes = (7, 2) if axis == 1 else (2, 7)
    check(text, opset, [{"x": floats(n, *sizes, parts)} for n in (1, 2)], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("size", [7, 8, 1])
def test_half_a_spectrum(size: int, check: Check) -> None:
    text = dft(f"N,{size},3,1", "<onesided = 1>(x)")
    check(text, 13, [{"x": floats(2, size, 3, 1)}], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("stated", [False, True])
def test_back_from_half_a_spectrum(size: int, stated: bool) -> None:
    half = np.fft.rfft(floats(2, size, 3).astype(np.float64), axis=1)
    x = np.stack([half.real, half.imag], axis=-1).astype(np.float32)
    length = size if stated else 2 * (half.shape[1] - 1)
    constants = f"<int64 axis = {{1}}, int64 n = {{{length}}}>"
    body = f"<onesided = 1, inverse = 1>(x, {'n' if stated else ''}, axis)"
    text = dft(f"N,{half.shape[1]},3,2", body, 20, "float", constants)
    for opset in (19, 13, 9):
        done = lower(as_proto(text), opset)
        assert not done.refusals and done.rounds
        (have,) = run_model(done.model, {"x": x})
        want = np.fft.irfft(half, n=length, axis=1)[..., None]
        np.testing.assert_allclose(have.astype(float), want, rtol=1e-4, atol=1e-5)


def test_a_transform_of_float64(check: Check) -> None:
    x: NDArray[Any] = floats(2, 6, 3, 2).astype(np.float64)
    check(dft("N,6,3,2", "(x)", kind="double"), 13, [{"x": x}], rtol=1e-9, atol=1e-9)


def test_transforms_that_are_refused(refusal: Refusal) -> None:
    assert "the size of axis 1" in refusal(dft("N,L,3,2", "(x)"), 16)
    assert "real or complex" in refusal(dft("N,4,3,K", "(x)"), 16)
    assert "too large" in refusal(dft("N,4096,3,2", "(x)"), 16)
    run_time = """<ir_version: 8, opset_import: ["": 17]>
        g (float[N,4,1] x, int64 n) => (float[A,B,C] y) { y = DFT(x, n) }"""
    assert "dft_length 'n' is computed at run time" in refusal(run_time, 16)


def stft(body: str, parts: int = 1, constants: str = "", more: str = "") -> str:
    return f"""<ir_version: 8, opset_import: ["": 17]>
        g (float[N,L,{parts}] x{more}) => (float[A,B,C,D] y) <int64 s = {{3}}{constants}>
        {{ y = STFT{body} }}"""


@pytest.mark.parametrize("opset", [16, 11, 9])
@pytest.mark.parametrize(
    ("body", "constants"),
    [
        ("(x, s, , n)", ", int64 n = {8}"),
        ("(x, s, , n)", ", int64 n = {5}"),
        ("(x, s, w)", ", float[4] w = {0.5, 1, 2, 0.25}"),
        ("(x, s, w, n)", ", float[4] w = {0.5, 1, 2, 0.25}, int64 n = {4}"),
    ],
)
@pytest.mark.parametrize("parts", [1, 2])
def test_short_transforms(opset: int, body: str, constants: str, parts: int, check: Check) -> None:
    text = stft(f"<onesided = {2 - parts}>{body}", parts, constants)
    feeds = [{"x": floats(n, size, parts)} for n, size in ((2, 20), (1, 9), (3, 8))]
    check(text, opset, feeds, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("opset", [16, 13, 9])
@pytest.mark.parametrize("size", ["L", "20"])
def test_short_transforms_with_a_window_at_run_time(opset: int, size: str, check: Check) -> None:
    text = stft("(x, s, w)", more=", float[4] w").replace("float[N,L", f"float[N,{size}")
    check(text, opset, [{"x": floats(2, 20, 1), "w": floats(4)}], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("opset", [19, 16, 9])
@pytest.mark.parametrize("axis", [0, 1, -2])
def test_an_axis_at_run_time(opset: int, axis: int, check: Check) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]>
        g (float[2,5,3,2] x, int64 k) => (float[2,5,3,2] y) { y = DFT (x, , k) }"""
    check(text, opset, [{"x": floats(2, 5, 3, 2), "k": np.asarray(axis)}], rtol=1e-4, atol=2e-5)


def test_short_transforms_that_are_refused(refusal: Refusal) -> None:
    assert "frame_length 'n' is comp" in refusal(stft("(x, s, , n)", more=", int64 n"), 16)
    assert "the window 'w' is comp" in refusal(stft("(x, s, w)", more=", float[K] w"), 16)
    assert "no frame_length" in refusal(stft("(x, s)"), 16)
