"""MapToPlugins with the group `plain`: nodes of stock plugins as ops, where a target has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from onnx_fix.api import fix
from onnx_fix.check import check
from onnx_fix.pipeline import parse_pipeline
from onnx_fix.plugin_bodies import plugin_bodies
from onnx_fix.plugin_table import PluginEntry
from onnx_fix.testing import ops, run_model, run_pass, run_reference, skip_reasons
from onnx_fix.verify.source import with_bodies
from onnx_fix_passes.map_to_plugins import MapToPlugins

Array = Any
RNG = np.random.default_rng(13)
PLAIN = MapToPlugins(table=(PluginEntry(use="plain"),))


def model_of(text: str, opset: int = 17) -> onnx.ModelProto:
    head = f'<ir_version: 8, opset_import: ["" : {opset}, "TRT" : 1, "mmdeploy" : 1]>'
    return onnx.parser.parse_model(f"{head} {text}")


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def both(model: onnx.ModelProto, feeds: dict[str, Array], target: str) -> list[Array]:
    """What the plugin node is run as, and what stands in its place."""
    fixed, _ = run_pass(PLAIN, model, target=target)
    assert not any(n.domain for n in fixed.graph.node)
    runs = (with_bodies(model, plugin_bodies(17)), fixed)
    return [np.asarray(run_model(made, feeds)[0]) for made in runs]


@pytest.mark.parametrize("target", ["rtx-1.7"])
def test_instance_normalization(target: str) -> None:
    text = (
        "g (float[2,3,8] x) => (float[2,3,8] y) { y = TRT.InstanceNormalization_TRT<epsilon = 0.01,"
        " scales = [1.0, 2.0, 0.5], bias = [0.0, 1.0, -1.0], relu = 0, alpha = 0.1>(x) }"
    )
    x = floats(2, 3, 8)
    even = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.01)
    scale, bias = np.array([[1.0], [2], [0.5]]), np.array([[0.0], [1], [-1]])
    for made in both(model_of(text), {"x": x}, target):
        np.testing.assert_allclose(made, even * scale + bias, 1e-4, 1e-5)
    (why,) = skip_reasons(PLAIN, model_of(text.replace("relu = 0", "relu = 1")), target=target)
    assert why == "its attribute relu is 1; the table has 0"


@pytest.mark.parametrize("shift", [0, 1])
def test_roi_align(shift: int) -> None:
    text = (
        "g (float[2,2,8,9] x, float[3,4] r, int32[3] i) => (float[3,2,2,3] y) {{ y = {op}<{mode},"
        " output_height = 2, output_width = 3, spatial_scale = 0.5>(x, r, {i}) }}"
    )
    way = ("output_half_pixel", "half_pixel")[shift]
    wanted = model_of(
        text.format(op="RoiAlign", mode=f'coordinate_transformation_mode = "{way}"', i="k").replace(
            "{ y", "{ k = Cast<to = 7>(i) y"
        )
    )
    mode = f"coordinate_transformation_mode = {shift}, mode = 1"
    model = model_of(text.format(op="TRT.ROIAlign_TRT", mode=mode, i="i"))
    rois = np.array([[1, 2, 14, 12], [0, 0, 17, 15], [3, 3, 3.5, 3.6]], np.float32)
    feeds = {"x": floats(2, 2, 8, 9), "r": rois, "i": np.array([0, 1, 1], np.int32)}
    for made in both(model, feeds, "trt-8.4"):
        np.testing.assert_array_equal(made, run_model(wanted, feeds)[0])
    assert skip_reasons(PLAIN, model, target="trt-8.6") == []


@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_attention(kind: str) -> None:
    text = (
        "g (float[N,20,2,3] v, {t}[2,2] s, {t}[2] st, float[N,Q,2,2,4,2] l, float[N,Q,2,2,4] a)"
        " => (float{out} y) {{ y = {op}(v, s, st, l, a) }}"
    )
    plugin = "TRT.MultiscaleDeformableAttnPlugin_TRT"
    model = model_of(text.format(t=kind, op=plugin, out="[N,Q,2,3]"))
    op = "mmdeploy.MMCVMultiScaleDeformableAttention"
    flat = with_bodies(model_of(text.format(t=kind, op=op, out="[N,Q,6]")), plugin_bodies(17))
    feeds = {
        "v": floats(2, 20, 2, 3),
        "s": np.array([[4, 4], [1, 4]], kind),
        "st": np.array([0, 16], kind),
        "l": RNG.uniform(-0.4, 1.4, (2, 3, 2, 2, 4, 2)).astype(np.float32),
        "a": RNG.uniform(0, 1, (2, 3, 2, 2, 4)).astype(np.float32),
    }
    wanted: Array = run_model(flat, feeds)[0]
    for made in both(model, feeds, "rtx-1.7"):
        np.testing.assert_allclose(made, wanted.reshape(2, 3, 2, 3), 1e-5, 1e-6)
    assert skip_reasons(PLAIN, model, target="trt-8.6") == []


@pytest.mark.parametrize("biased", [True, False])
def test_deformable_convolution(biased: bool) -> None:
    given, more = (", float[2] b", ", b") if biased else ("", "")
    model = model_of(
        "g (float[1,4,5,6] x, float[1,24,3,4] o, float[1,12,3,4] m, float[2,2,3,2] w"
        f"{given}) => (float[1,2,3,4] y) {{ y = TRT.ModulatedDeformConv2d<stride = [2, 1],"
        " padding = [1, 0], dilation = [1, 2], group = 2, deformable_group = 2>"
        f"(x, o, m, w{more}) }}",
        19,
    )
    feeds = {"x": floats(1, 4, 5, 6), "o": floats(1, 24, 3, 4), "m": floats(1, 12, 3, 4)}
    feeds["w"] = floats(2, 2, 3, 2)
    if biased:
        feeds["b"] = floats(2)
    wanted = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 19]> g (float[1,4,5,6] x, float[2,2,3,2] w,'
        " float[1,24,3,4] o, float[2] b, float[1,12,3,4] m) => (float[1,2,3,4] y) { y = DeformConv<"
        "strides = [2, 1], pads = [1, 0, 1, 0], dilations = [1, 2], group = 2, offset_group = 2>"
        "(x, w, o, b, m) }"
    )
    right = run_reference(wanted, {"b": np.zeros(2, np.float32), **feeds})[0].astype(np.float64)
    for made in both(model, feeds, "trt-8.5"):
        np.testing.assert_allclose(made, right, 1e-4, 1e-5)


def test_group_normalization() -> None:
    model = model_of(
        "g (float[N,6,3,4] x, float[6] s, float[6] b) => (float[N,6,3,4] y)"
        " { y = TRT.GroupNormalizationPlugin<eps = 0.01, num_groups = 2>(x, s, b) }"
    )
    feeds = {"x": floats(2, 6, 3, 4), "s": floats(6), "b": floats(6)}
    x = feeds["x"].reshape(2, 2, 3, 12)
    even = (x - x.mean((2, 3), keepdims=True)) / np.sqrt(x.var((2, 3), keepdims=True) + 0.01)
    wanted = even.reshape(2, 6, 3, 4) * feeds["s"][:, None, None] + feeds["b"][:, None, None]
    for made in both(model, feeds, "rtx-1.7"):
        np.testing.assert_allclose(made, wanted, 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("node", "wanted"),
    [
        ("LReLU_TRT<negSlope = 0.25>", lambda x: np.where(x < 0, x * 0.25, x)),
        ("Clip_TRT<clipMin = -0.5, clipMax = 1.0>", lambda x: np.clip(x, -0.5, 1)),
    ],
)
@pytest.mark.parametrize("target", ["trt-11.0", "rtx-1.7"])
def test_plugins_that_are_gone(node: str, wanted: Any, target: str) -> None:
    x = floats(3, 5)
    model = model_of(f"g (float[3,5] x) => (float[3,5] y) {{ y = TRT.{node}(x) }}", 11)
    for made in both(model, {"x": x}, target):
        np.testing.assert_array_equal(made, wanted(x).astype(np.float32))


def test_the_whole_way() -> None:
    model = model_of(
        "g (float[N,20,2,3] v, int32[2,2] s, int32[2] st, float[N,Q,2,2,4,2] l, float[N,Q,2,2,4] a)"
        " => (float[N,Q,2,3] y) { y = TRT.MultiscaleDeformableAttnPlugin_TRT(v, s, st, l, a) }"
    )
    mends = [f.mend for f in check(model, target="rtx-1.7").findings if f.code.code == "OF101"]
    assert len(mends) == 1
    assert "`plugins: [{use: plain/MultiscaleDeformableAttnPlugin_TRT}]`" in mends[0]
    text = "version: 1\nplugins: [{use: plain}]\n"
    pipeline = parse_pipeline(text, "p.yaml", Path())
    result = fix(model, target="rtx-1.7", pipeline=pipeline)
    assert "MultiscaleDeformableAttnPlugin_TRT" not in ops(result.model)
    assert result.report.changes[0].note == (
        "plain ONNX ops, since rtx-1.7 does not ship MultiscaleDeformableAttnPlugin_TRT"
    )
    assert not [f for f in check(result.model, target="rtx-1.7").findings if f.blocks]
