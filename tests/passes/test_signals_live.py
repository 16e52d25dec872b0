"""The forms of signal and vision ops that the real TensorRT-RTX builds, with dynamic sizes."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from live_parser import rtx

from onnx_fix.contract import BasePass
from onnx_fix.testing import ops, run_pass
from onnx_fix_passes.replace_col2_im import ReplaceCol2Im
from onnx_fix_passes.replace_conv import ReplaceConv
from onnx_fix_passes.replace_deform_conv import ReplaceDeformConv
from onnx_fix_passes.replace_dft import ReplaceDft
from onnx_fix_passes.replace_roi_align import ReplaceRoiAlign
from onnx_fix_passes.replace_stft import ReplaceStft

CASES: list[tuple[BasePass, str, str, str]] = [
    (
        ReplaceDft(everywhere=True),
        "DFT",
        "(float[N,6,M,1] x) => (float[N,4,M,2] y)",
        "a = Constant <value = int64 {1}> () y = DFT <onesided = 1> (x, , a)",
    ),
    (
        ReplaceDft(everywhere=True),
        "DFT",
        "(float[2,3,4,2] x, int64 a) => (float[2,3,4,2] y)",
        "y = DFT (x, , a)",
    ),
    (
        ReplaceStft(everywhere=True),
        "STFT",
        "(float[N,L] x) => (float[N,F,5,2] y)",
        "s = Constant <value = int64 {3}> () n = Constant <value = int64 {8}> () "
        "y = STFT (x, s, , n)",
    ),
    (
        ReplaceStft(everywhere=True),
        "STFT",
        "(float[N,L,1] x, float[8] w) => (float[N,F,5,2] y)",
        "s = Constant <value = int64 {3}> () y = STFT (x, s, w)",
    ),
    (
        ReplaceConv(everywhere=True),
        "Conv",
        "(float[N,2,H,W] x, float[2,2,3,2] w, float[2] b) => (float[N,2,P,Q] y)",
        "y = Conv <strides = [2, 1], pads = [1, 0, 1, 2]> (x, w, b)",
    ),
    (
        ReplaceConv(everywhere=True),
        "ConvTranspose",
        "(float[N,2,H,W] x, float[2,2,3,2] w, float[2] b) => (float[N,2,P,Q] y)",
        "y = ConvTranspose <strides = [2, 1], pads = [1, 0, 1, 2]> (x, w, b)",
    ),
    (
        ReplaceDeformConv(everywhere=True),
        "DeformConv",
        "(float[N,4,H,W] x, float[2,2,2,2] w, float[N,16,P,Q] o, float[N,8,P,Q] m)"
        " => (float[N,2,P,Q] y)",
        "y = DeformConv <group = 2, offset_group = 2> (x, w, o, , m)",
    ),
    (
        ReplaceRoiAlign(everywhere=True),
        "RoiAlign",
        "(float[N,3,H,W] x, float[R,4] b, int64[R] i) => (float[R,3,2,3] y)",
        'y = RoiAlign <mode = "max", output_height = 2, output_width = 3, sampling_ratio = 2>'
        " (x, b, i)",
    ),
    (
        ReplaceCol2Im(everywhere=True),
        "Col2Im",
        "(float[N,8,9] x) => (float[N,2,4,4] y)",
        "i = Constant <value = int64[2] {4, 4}> () k = Constant <value = int64[2] {2, 2}> () "
        "y = Col2Im (x, i, k)",
    ),
]


@pytest.mark.rtx
@pytest.mark.skipif(not rtx.available(), reason="tensorrt_rtx (the extra `rtx`) is not installed")
@pytest.mark.parametrize(
    ("pass_", "op", "signature", "body"), CASES, ids=[f"{k}-{c[1]}" for k, c in enumerate(CASES)]
)
def test_the_real_builder_takes_it(
    pass_: BasePass, op: str, signature: str, body: str, tmp_path: Path
) -> None:
    text = f'<ir_version: 10, opset_import: ["" : 20]> g {signature} {{ {body} }}'
    fixed, _ = run_pass(pass_, text, target="rtx-1.7")
    assert op not in ops(fixed)
    path = tmp_path / "fixed.onnx"
    onnx.save(fixed, path)
    verdict = rtx.ask(path, build=True, timeout=120)
    assert verdict.parsed and verdict.built, verdict.message
