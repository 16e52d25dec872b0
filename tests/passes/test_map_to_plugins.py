"""MapToPlugins: the wiring of every shipped entry, and what the bodies compute.

A body is compared with a reference in numpy that is written from the sources which the entry
names, since verification itself can only compare one body with the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from onnx_fix.api import fix
from onnx_fix.contract import Exactness
from onnx_fix.pipeline import parse_pipeline
from onnx_fix.plugin_bodies import plugin_bodies
from onnx_fix.plugin_table import PluginEntry
from onnx_fix.splitting import split
from onnx_fix.target import load_target
from onnx_fix.testing import ops, run_model, run_pass, skip_reasons
from onnx_fix.trtexec.needs import plugin_needs
from onnx_fix.verify.source import with_bodies
from onnx_fix_passes.map_to_plugins import MapToPlugins

Array = Any
Feeds = Mapping[str, Array]

MMDEPLOY = MapToPlugins(table=(PluginEntry(use="mmdeploy"),))
RNG = np.random.default_rng(7)


def model_of(text: str, opset: int = 17, more: str = "") -> onnx.ModelProto:
    domains = ", ".join(f'"{d}" : 1' for d in ("mmdeploy", "mmcv", "my", "TRT"))
    head = f'<ir_version: 8, opset_import: ["" : {opset}, {domains}]>'
    return onnx.parser.parse_model(f"{head} {text} {more}")


def run(model: onnx.ModelProto, feeds: Feeds) -> list[Array]:
    """The outputs by onnxruntime."""
    return list(run_model(model, feeds))


def numbers(model: onnx.ModelProto, feeds: Feeds) -> list[Array]:
    """The outputs, nodes of the table being run by their bodies."""
    return run(with_bodies(model, plugin_bodies(17)), feeds)


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


# -- references -----------------------------------------------------------------------------------


def pixel(image: Array, y: float, x: float) -> float:
    """Bilinear, with zeros around."""
    height, width = image.shape
    y0, x0 = int(np.floor(y)), int(np.floor(x))
    total = 0.0
    for dy, dx in itertools.product((0, 1), (0, 1)):
        if 0 <= y0 + dy < height and 0 <= x0 + dx < width:
            weight = (1 - abs(y - y0 - dy)) * (1 - abs(x - x0 - dx))
            total += weight * image[y0 + dy, x0 + dx]
    return total


def attend(value: Array, sizes: Array, starts: Array, places: Array, weights: Array) -> Array:
    n, _, heads, depth = value.shape
    queries, levels, points = places.shape[1], places.shape[3], places.shape[4]
    out = np.zeros((n, queries, heads, depth))
    for b, q, m, d in np.ndindex(out.shape):
        for level, p in np.ndindex(levels, points):
            height, width = (int(s) for s in sizes[level])
            start = int(starts[level])
            image = value[b, start : start + height * width, m, d].reshape(height, width)
            x = places[b, q, m, level, p, 0] * width - 0.5
            y = places[b, q, m, level, p, 1] * height - 0.5
            if x > -1 and y > -1 and x < width and y < height:
                out[b, q, m, d] += weights[b, q, m, level, p] * pixel(image, y, x)
    return out.reshape(n, queries, heads * depth)


def pooled_corner(image: Array, y: float, x: float) -> float:
    """As RoIAlign samples: nothing beyond a pixel outside, else the nearest place inside."""
    height, width = image.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    return pixel(image, min(max(y, 0), height - 1), min(max(x, 0), width - 1))


def roi_align(
    x: Array, rois: Array, size: tuple[int, int], scale: float, ratio: int, aligned: bool
) -> Array:
    out = np.zeros((len(rois), x.shape[1], *size))
    for r, roi in enumerate(rois):
        left, top, right, bottom = (float(v) * scale - (0.5 if aligned else 0.0) for v in roi[1:])
        width, height = right - left, bottom - top
        if not aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        bin_h, bin_w = height / size[0], width / size[1]
        grid_h = ratio or int(np.ceil(bin_h))
        grid_w = ratio or int(np.ceil(bin_w))
        for c, i, j in np.ndindex(x.shape[1], *size):
            total = 0.0
            for gy, gx in np.ndindex(grid_h, grid_w):
                at_y = top + i * bin_h + (gy + 0.5) * bin_h / grid_h
                at_x = left + j * bin_w + (gx + 0.5) * bin_w / grid_w
                total += pooled_corner(x[int(roi[0]), c], at_y, at_x)
            out[r, c, i, j] = total / max(grid_h * grid_w, 1)
    return out


def deform(
    x: Array, offset: Array, mask: Array, weight: Array, bias: Array | None, conv: Mapping[str, Any]
) -> Array:
    """Modulated deformable convolution of one image."""
    (sh, sw), (ph, pw), (dh, dw) = conv["stride"], conv["padding"], conv["dilation"]
    groups, kinds = conv["groups"], conv["deform_groups"]
    out_channels, per_group, kh, kw = weight.shape
    out = np.zeros((1, out_channels, *offset.shape[2:]))
    per_kind = x.shape[1] // kinds
    for o, i, j in np.ndindex(out.shape[1:]):
        total = 0.0 if bias is None else float(bias[o])
        for c, u, v in np.ndindex(per_group, kh, kw):
            channel = o // (out_channels // groups) * per_group + c
            kind, place = channel // per_kind, u * kw + v
            base = kind * kh * kw + place
            y = i * sh - ph + u * dh + offset[0, 2 * base, i, j]
            z = j * sw - pw + v * dw + offset[0, 2 * base + 1, i, j]
            total += weight[o, c, u, v] * mask[0, base, i, j] * pixel(x[0, channel], y, z)
        out[0, o, i, j] = total
    return out


def grid_sample(x: Array, grid: Array, border: bool, aligned: bool) -> Array:
    out = np.zeros((x.shape[0], x.shape[1], *grid.shape[1:3]))
    height, width = x.shape[2:]
    for n, c, i, j in np.ndindex(out.shape):
        at = [float(v) for v in grid[n, i, j]]
        sizes = (width, height)
        if aligned:
            place = [(v + 1) / 2 * (s - 1) for v, s in zip(at, sizes, strict=True)]
        else:
            place = [((v + 1) * s - 1) / 2 for v, s in zip(at, sizes, strict=True)]
        if border:
            place = [min(max(v, 0.0), s - 1.0) for v, s in zip(place, sizes, strict=True)]
        out[n, c, i, j] = pixel(x[n, c], place[1], place[0])
    return out


def soft(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    done: Array = powers / powers.sum(-1, keepdims=True)
    return done


# -- multi-scale deformable attention -------------------------------------------------------------

ATTENTION = (
    "g (float[N,20,2,3] v, {t}[2,2] s, {t}[2] st, float[N,Q,2,2,4,2] l, float[N,Q,2,2,4] a)"
    " => (float[N,Q,6] y)"
    " {{ y = mmdeploy.MMCVMultiScaleDeformableAttention<im2col_step = 64>(v, s, st, l, a) }}"
)


def attention_feeds(kind: type = np.int64) -> dict[str, Array]:
    # Places in, at and well outside the borders.
    places = RNG.uniform(-0.4, 1.4, (2, 3, 2, 2, 4, 2)).astype(np.float32)
    places[0, 0, 0] = 0.0
    places[0, 0, 1] = 1.0
    return {
        "v": floats(2, 20, 2, 3),
        "s": np.array([[4, 4], [1, 4]], kind),
        "st": np.array([0, 16], kind),
        "l": places,
        "a": RNG.uniform(0, 1, (2, 3, 2, 2, 4)).astype(np.float32),
    }


@pytest.mark.parametrize(
    ("target", "kind", "after"),
    [
        ("trt-8.6", "int64", ["Cast", "Cast", "MultiscaleDeformableAttnPlugin_TRT", "Reshape"]),
        ("trt-8.4", "int32", ["MultiscaleDeformableAttnPlugin_TRT", "Reshape"]),
        ("trt-11.0", "int64", ["Cast", "Cast", "MultiscaleDeformableAttnPlugin_TRT", "Reshape"]),
        ("trt-8.2", "int64", None),
        ("rtx-1.7", "int32", None),
    ],
)
def test_attention(target: str, kind: str, after: list[str] | None) -> None:
    model = model_of(ATTENTION.format(t=kind))
    fixed, (result, *_) = run_pass(MMDEPLOY, model, target=target)
    if after is not None:
        assert ops(fixed) == after
        node = fixed.graph.node[after.index("MultiscaleDeformableAttnPlugin_TRT")]
        given = {a.name: a.s for a in node.attribute}
        assert given == {"plugin_version": b"1", "plugin_namespace": b""}
        assert not plugin_needs(fixed, load_target(target)), "stock plugins need no library"
        assert result.changes[0].note == (
            f"MultiscaleDeformableAttnPlugin_TRT is a plugin that {target} ships; compared by the "
            "body in the table"
        )
    else:
        assert "GatherND" in ops(fixed) and not any(n.domain for n in fixed.graph.node)
        assert f"{target} does not ship" in result.changes[0].note
    assert result.changes[0].exactness is Exactness.ROUNDING
    feeds = attention_feeds(np.int64 if kind == "int64" else np.int32)
    expected = attend(*feeds.values())
    for made in (numbers(model, feeds), numbers(fixed, feeds)):
        np.testing.assert_allclose(made[0], expected, rtol=1e-4, atol=1e-5)


def test_attention_in_half_precision() -> None:
    text = ATTENTION.format(t="int64").replace("float[", "float16[")
    model = model_of(text)
    fixed, _ = run_pass(MMDEPLOY, model, target="trt-8.2")
    feeds = {
        k: v.astype(np.float16) if v.dtype == np.float32 else v
        for k, v in attention_feeds().items()
    }
    (made,) = numbers(fixed, feeds)
    assert made.dtype == np.float16
    wide = [v.astype(np.float32) if v.dtype == np.float16 else v for v in feeds.values()]
    np.testing.assert_allclose(made, attend(*wide), rtol=1e-2, atol=1e-2)


# -- mmdeploy's names -----------------------------------------------------------------------------

SAMPLER = (
    "g (float[2,3,4,5] x, float[2,3,2,2] gr) => (float[2,3,3,2] y)"
    " {{ y = {domain}.grid_sampler<{attributes}>(x, gr) }}"
)


@pytest.mark.parametrize("domain", ["mmdeploy", "mmcv"])
@pytest.mark.parametrize(("border", "aligned"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_grid_sampler(domain: str, border: int, aligned: int) -> None:
    attributes = f"interpolation_mode = 0, padding_mode = {border}, align_corners = {aligned}"
    model = model_of(SAMPLER.format(domain=domain, attributes=attributes))
    fixed, _ = run_pass(MMDEPLOY, model, target="trt-8.6")
    assert ops(fixed) == ["GridSample"]
    feeds = {"x": floats(2, 3, 4, 5), "gr": RNG.uniform(-1.5, 1.5, (2, 3, 2, 2)).astype("f")}
    expected = grid_sample(feeds["x"], feeds["gr"], bool(border), bool(aligned))
    np.testing.assert_allclose(run(fixed, feeds)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("aligned", [0, 1])
@pytest.mark.parametrize("ratio", [0, 2])
def test_roi_align(aligned: int, ratio: int) -> None:
    model = model_of(
        "g (float[2,2,8,9] x, float[4,5] r) => (float[4,2,2,3] y) { y = mmcv.MMCVRoiAlign<"
        "output_height = 2, output_width = 3, spatial_scale = 0.5, "
        f'sampling_ratio = {ratio}, mode = "avg", aligned = {aligned}>(x, r) }}'
    )
    fixed, _ = run_pass(MMDEPLOY, model, target="trt-8.6")
    assert ops(fixed)[-1] == "RoiAlign"
    rois = np.array([[0, 1, 2, 9, 12], [1, 0, 0, 17, 15], [1, 3, 3, 3.5, 3.6], [0, 5, 6, 14, 30]])
    feeds = {"x": floats(2, 2, 8, 9), "r": rois.astype(np.float32)}
    expected = roi_align(feeds["x"], feeds["r"], (2, 3), 0.5, ratio, bool(aligned))
    np.testing.assert_allclose(run(fixed, feeds)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op", ["TRTInstanceNormalization", "MMCVInstanceNormalization"])
def test_instance_normalization(op: str) -> None:
    model = model_of(
        f"g (float[2,3,8] x, float[3] s, float[3] b) => (float[2,3,8] y) {{ y = mmdeploy.{op}"
        "(x, s, b) }",
        opset=11,
    )
    fixed, _ = run_pass(MMDEPLOY, model)
    assert ops(fixed) == ["InstanceNormalization"]
    feeds = {"x": floats(2, 3, 8), "s": floats(3), "b": floats(3)}
    x = feeds["x"]
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    expected = (x - mean) / np.sqrt(var + 1e-5) * feeds["s"][:, None] + feeds["b"][:, None]
    np.testing.assert_allclose(run(fixed, feeds)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 7), (2, 7, 3), (2, 7, 3, 4), (2, 7, 0)])
def test_gather_top_k(shape: tuple[int, ...]) -> None:
    dims = ",".join(map(str, shape))
    out = ",".join(map(str, (2, 4, *shape[2:])))
    model = model_of(
        f"g (float[{dims}] x, int32[2,4] i) => (float[{out}] y) {{ y = mmdeploy.GatherTopk(x, i) }}"
    )
    fixed, (result, *_) = run_pass(MMDEPLOY, model)
    assert result.changes[0].exactness is Exactness.EXACT
    feeds = {"x": floats(*shape), "i": RNG.integers(0, 7, (2, 4)).astype(np.int32)}
    expected = feeds["x"][np.arange(2)[:, None], feeds["i"]]
    assert np.array_equal(run(fixed, feeds)[0], expected)


@pytest.mark.parametrize("mask", ["", "float[5,6] m", "float[2,5,6] m"])
def test_attention_is_scaled(mask: str) -> None:
    given, more = (f", {mask}", ", m") if mask else ("", "")
    model = model_of(
        f"g (float[2,5,4] q, float[2,6,4] k, float[2,6,4] v{given})"
        " => (float[2,5,4] y, float[2,5,6] w)"
        f" {{ y, w = mmdeploy.ScaledDotProductAttentionTRT(q, k, v{more}) }}"
    )
    fixed, _ = run_pass(MMDEPLOY, model)
    assert "Softmax" in ops(fixed)
    feeds = {"q": floats(2, 5, 4), "k": floats(2, 6, 4), "v": floats(2, 6, 4)}
    scores = feeds["q"] @ feeds["k"].transpose(0, 2, 1) / 2
    if mask:
        feeds["m"] = floats(*([5, 6] if "[5" in mask else [2, 5, 6]))
        scores = scores + feeds["m"]
    y, w = run(fixed, feeds)
    np.testing.assert_allclose(w, soft(scores), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(y, soft(scores) @ feeds["v"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("target", ["trt-8.6", "trt-8.2"])
def test_deformable_convolution(biased: bool, target: str) -> None:
    conv = {"stride": [2, 1], "padding": [1, 0], "dilation": [1, 2], "groups": 2}
    conv_all: dict[str, Any] = {**conv, "deform_groups": 2}
    text = ", ".join(f"{k} = {v}" for k, v in conv_all.items())
    given, more = (", float[2] b", ", b") if biased else ("", "")
    model = model_of(
        "g (float[1,4,5,6] x, float[1,24,3,4] o, float[1,12,3,4] m, float[2,2,3,2] w"
        f"{given}) => (float[1,2,3,4] y) {{ y = mmdeploy.MMCVModulatedDeformConv2d<{text}>"
        f"(x, o, m, w{more}) }}",
        opset=19,
    )
    fixed, _ = run_pass(MMDEPLOY, model, target=target)
    made = ops(fixed)[-1]
    assert made == ("ModulatedDeformConv2d" if target == "trt-8.6" else "DeformConv")
    if target == "trt-8.6":
        node = fixed.graph.node[-1]
        known = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        assert known["group"] == 2 and known["deformable_group"] == 2
        assert (known["stride"], known["padding"]) == ([2, 1], [1, 0])
    feeds = {"x": floats(1, 4, 5, 6), "o": floats(1, 24, 3, 4), "m": floats(1, 12, 3, 4)}
    feeds["w"] = floats(2, 2, 3, 2)
    if biased:
        feeds["b"] = floats(2)
    expected = deform(
        feeds["x"], feeds["o"], feeds["m"], feeds["w"], feeds.get("b"), conv_all
    )  # fmt: skip
    np.testing.assert_allclose(numbers(fixed, feeds)[0], expected, rtol=1e-3, atol=1e-4)


# -- TensorRT's own names -------------------------------------------------------------------------


def anywhere(name: str) -> MapToPlugins:
    from onnx_fix.plugin_table import shipped

    (entry,) = [e for e in shipped() if e.name == name]
    return MapToPlugins(table=(entry.model_copy(update={"everywhere": True}),))


def test_roi_align_as_the_stock_plugin() -> None:
    text = (
        "g (float[2,2,8,9] x, float[3,4] r, int64[3] i) => (float[3,2,2,2] y) { y = RoiAlign<"
        'output_height = 2, output_width = 2, coordinate_transformation_mode = "output_half_pixel"'
        "{more}>(x, r, i) }"
    )
    model = model_of(text.replace("{more}", ", sampling_ratio = 2"))
    fixed, _ = run_pass(anywhere("stock/RoiAlign"), model, target="trt-8.6")
    assert ops(fixed) == ["Cast", "ROIAlign_TRT"]
    given = {a.name: onnx.helper.get_attribute_value(a) for a in fixed.graph.node[1].attribute}
    assert given.pop("plugin_version") == b"1" and given.pop("plugin_namespace") == b""
    # Every field of the creator is there: 7.x asks for that, and defaults are the op's.
    assert given == {
        "coordinate_transformation_mode": 0, "mode": 1, "output_height": 2, "output_width": 2,
        "sampling_ratio": 2, "spatial_scale": 1.0,
    }  # fmt: skip
    rois = np.array([[1, 2, 7, 6], [0, 0, 8, 7], [3, 3, 3.5, 3.5]], np.float32)
    feeds = {"x": floats(2, 2, 8, 9), "r": rois, "i": np.array([0, 1, 1])}
    np.testing.assert_array_equal(numbers(fixed, feeds)[0], run(model, feeds)[0])
    largest = model_of(text.replace("{more}", ', mode = "max"'))
    (why,) = skip_reasons(anywhere("stock/RoiAlign"), largest, target="trt-8.6")
    assert why == "its attribute mode is 'max'; the table has avg"


def test_constants_become_attributes() -> None:
    text = (
        "g (float[2,3,8] x{given}) => (float[2,3,8] y) <float[3] b = {{0.5, -1, 0}}{const}>"
        " {{ y = InstanceNormalization<epsilon = 0.01>(x, s, b) }}"
    )
    model = model_of(text.format(given="", const=", float[3] s = {1, 2, 3}"))
    fixed, _ = run_pass(anywhere("stock/InstanceNormalization"), model, target="trt-8.6")
    (node,) = fixed.graph.node
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    assert (given["scales"], given["bias"]) == ([1.0, 2.0, 3.0], [0.5, -1.0, 0.0])
    assert list(node.input) == ["x"]
    feeds = {"x": floats(2, 3, 8)}
    np.testing.assert_allclose(numbers(fixed, feeds)[0], run(model, feeds)[0], rtol=1e-5, atol=1e-6)
    dynamic = model_of(text.format(given=", float[3] s", const=""))
    (why,) = skip_reasons(anywhere("stock/InstanceNormalization"), dynamic, target="trt-8.6")
    assert "its input scale is no constant" in why and "attribute scales" in why


def test_a_plugin_that_the_parser_has_an_op_for_is_never_reached() -> None:
    model = model_of(
        "g (float[3,4] x, float[1,4] u) => (float[3,4] y) <int64[1,4] i = {0, 2, 1, 1}>"
        ' { y = ScatterElements<reduction = "add">(x, i, u) }',
        opset=18,
    )
    (why,) = skip_reasons(anywhere("stock/ScatterElements"), model, target="trt-10.3")
    assert why == (
        "the parser of trt-10.3 has an importer called ScatterElements, which goes first"
    )
    (why,) = skip_reasons(anywhere("stock/ScatterElements"), model, target="trt-7.2")
    assert why == "trt-7.2 does not ship ScatterElements"


def test_what_the_target_takes_stays() -> None:
    stock = MapToPlugins(table=(PluginEntry(use="stock"),))
    model = model_of(
        "g (float[2,2,8,9] x, float[3,4] r, int64[3] i) => (float[3,2,1,1] y)"
        " { y = RoiAlign(x, r, i) }"
    )
    assert skip_reasons(stock, model, target="trt-8.6") == []


def test_an_entry_for_verification_alone_replaces_nothing() -> None:
    model = model_of(
        "g (float[1,4,4] b, float[1,4,2] s) => (int32[1,1] n) { n, d, p, c = TRT.EfficientNMS_TRT"
        "<score_threshold = 0.2, iou_threshold = 0.5, max_output_boxes = 4>(b, s) }"
    )
    stock = MapToPlugins(table=(PluginEntry(use="stock"),))
    assert skip_reasons(stock, model, target="trt-8.6") == []
    (why,) = skip_reasons(stock, model, target="rtx-1.7")
    assert why == (
        "the pass replace-efficient-nms writes it in ops; the table is for verification alone"
    )


# -- a table of the user --------------------------------------------------------------------------

BLEND = """
version: 1
plugins:
  - op: my::Blend
    plugin: BlendTRT
    version: "2"
    namespace: acme
    targets: [trt-8.6, trt-10.3]
    attributes:
      factor: {from: alpha, default: 1.5}
      kind: {from: mode, values: {sum: 0, difference: 1}}
      legacy: null
    ignored: [debug]
    inputs:
      - {name: a, types: [float]}
      - {name: b, types: [int32, int64], cast: int32, rank: 1}
    order: [b, a]
    body: |
      c = Cast <to = 1> (b)
      f = Constant <value_float = $factor> ()
      d = Mul (c, f)
      output = Add (a, d)
"""


def blended(attributes: str, types: str = "float[3] x, int64[3] z", opset: int = 17) -> Any:
    return model_of(
        f"g ({types}) => (float[3] y) {{ y = my.Blend<{attributes}>(x, z) }}", opset=opset
    )


def test_fix_with_a_table_verifies_it() -> None:
    pipeline = parse_pipeline(BLEND, "p.yaml", Path())
    result = fix(blended('mode = "sum", debug = 1'), target="trt-8.6", pipeline=pipeline)
    node = result.model.graph.node[-1]
    assert ops(result.model) == ["Cast", "BlendTRT"]
    assert node.domain == "trt.plugins" and node.input[1] == "x"
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    assert given == {
        "factor": 1.5, "kind": 0, "plugin_version": b"2", "plugin_namespace": b"acme",
    }  # fmt: skip
    assert result.report.verification is not None
    assert result.report.verification.status == "equal"
    needs = plugin_needs(result.model, load_target("trt-8.6"))
    assert [(n.op, n.own) for n in needs] == [("BlendTRT", False)]
    assert result.report.changes[0].note.startswith("BlendTRT needs a library; compared by")


def test_an_op_of_another_name_and_of_no_domain_is_mapped() -> None:
    text = BLEND.replace("op: my::Blend", "op: my::Blend\n    also: [Mix]")
    pipeline = parse_pipeline(text, "p.yaml", Path())
    model = model_of(
        "g (float[3] x, int64[3] z) => (float[3] y) <float[3] t>"
        ' { t = Mix<mode = "sum">(x, z) y = my.Blend<mode = "sum">(t, z) }'
    )
    result = fix(model, target="trt-8.6", pipeline=pipeline)
    assert ops(result.model) == ["Cast", "BlendTRT", "Cast", "BlendTRT"]
    assert result.report.verification is not None
    assert result.report.verification.status == "equal"


def test_a_plugin_of_the_target_is_left_alone() -> None:
    entry = PluginEntry(
        op="TRT::CoordConvAC", plugin="MyCoordinates", targets=("trt-8.6",), inputs=("x",),
        body="output = Identity (x)",
    )  # fmt: skip
    for name in ("TRT.CoordConvAC", "mmcv.CoordConvAC"):
        entry = entry.model_copy(update={"also": ("mmcv::CoordConvAC",)})
        model = model_of(f"g (float[1,2,3,4] x) => (float[1,2,3,4] y) {{ y = {name}(x) }}")
        assert skip_reasons(MapToPlugins(table=(entry,)), model, target="trt-8.6") == []
        fixed, _ = run_pass(MapToPlugins(table=(entry,)), model, target="rtx-1.7")
        assert ops(fixed) == ["Identity"]


def test_parts_of_a_model_are_compared_by_the_table(tmp_path: Path) -> None:
    pipeline = parse_pipeline(BLEND, "p.yaml", Path())
    model = model_of(
        "g (float[3] x, int64[3] z) => (float[3] y) <float[3] b>"
        ' { t = Relu(x) b = my.Blend<mode = "sum">(t, z) y = Exp(b) }'
    )
    done = split(model, tmp_path / "parts", target="trt-8.6", at=["b"], pipeline=pipeline)
    assert done.verification is not None and done.verification.status == "equal"


def test_without_plugins_the_body_stands_there() -> None:
    pipeline = parse_pipeline(BLEND, "p.yaml", Path())
    model = blended('mode = "sum", alpha = 2.0')
    options: dict[str, Any]
    for options in ({"target": "trt-8.2"}, {"target": "trt-8.6", "plugins": False}):
        result = fix(model, pipeline=pipeline, **options)
        assert ops(result.model) == ["Cast", "Mul", "Add"]
        feeds = {"x": floats(3), "z": np.array([1, -2, 3])}
        np.testing.assert_allclose(run(result.model, feeds)[0], feeds["x"] + 2 * feeds["z"])


@pytest.mark.parametrize(
    ("attributes", "types", "why"),
    [
        ('mode = "mean"', None, "its attribute mode is 'mean'; the table has sum, difference"),
        ("alpha = 1.0", None, "it has no attribute mode, and the table gives no default"),
        ('mode = "sum", legacy = 1', None, "its attribute legacy = 1 has no counterpart in"),
        ('mode = "sum", speed = 1', None, "its attribute speed is not in the table"),
        ('mode = "sum"', "float16[3] x, int64[3] z", "input a is of type float16; the table has"),
        ('mode = "sum"', "float[3] x, int64[3,1] z", "the rank of its input b is 2, not 1"),
        ('mode = "sum"', "float[3] x, float[3] z", "its input b is of type float"),
    ],
)
def test_nodes_that_the_table_does_not_know_stay(
    attributes: str, types: str | None, why: str
) -> None:
    pipeline = parse_pipeline(BLEND, "p.yaml", Path())
    pass_ = MapToPlugins(table=pipeline.plugins)
    model = blended(attributes) if types is None else blended(attributes, types)
    (reason,) = skip_reasons(pass_, model, target="trt-8.6")
    assert why in reason


def test_an_input_that_must_be_a_constant() -> None:
    text = BLEND.replace("cast: int32, rank: 1", "cast: int32, constant: true")
    pass_ = MapToPlugins(table=parse_pipeline(text, "p.yaml", Path()).plugins)
    assert skip_reasons(pass_, blended('mode = "sum"'), target="trt-8.6") == [
        "its input b is no constant"
    ]
    fixed, _ = run_pass(
        pass_,
        model_of(
            "g (float[3] x) => (float[3] y) <int64[3] z = {1, 2, 3}>"
            ' { y = my.Blend<mode = "sum">(x, z) }'
        ),
        target="trt-8.6",
    )
    assert ops(fixed)[-1] == "BlendTRT"


def test_unknown_types_and_functions_and_counts() -> None:
    pass_ = MapToPlugins(table=parse_pipeline(BLEND, "p.yaml", Path()).plugins)
    unknown = model_of(
        "g (float[3] x, int64[3] z) => (float[3] y)"
        ' { t = my.Other(x) y = my.Blend<mode = "sum">(t, z) }'
    )
    assert skip_reasons(pass_, unknown, target="trt-8.6") == [
        "the element type of its input a is not known"
    ]
    one = model_of('g (float[3] x) => (float[3] y) { y = my.Blend<mode = "sum">(x) }')
    assert skip_reasons(pass_, one, target="trt-8.6") == ["it has 1 inputs, the table 2"]
    inside = model_of(
        'g (float[3] x, int64[3] z) => (float[3] y) { y = my.Outer<m = "sum">(x, z) }',
        more='<domain: "my", opset_import: ["" : 17, "my" : 1]> Outer <m> (a, b) => (c)'
        " { c = my.Blend<mode : string = @m>(a, b) }",
    )
    (why,) = skip_reasons(pass_, inside, target="trt-8.6")
    assert "parameter of the enclosing function" in why
    # A function of the model says itself what the op means.
    defined = model_of(
        'g (float[3] x, int64[3] z) => (float[3] y) { y = my.Blend<mode = "sum">(x, z) }',
        more='<domain: "my", opset_import: ["" : 17]> Blend <mode> (a, b) => (c)'
        " { c = Identity(a) }",
    )
    assert skip_reasons(pass_, defined, target="trt-8.6") == []


def test_nodes_in_branches_are_mapped() -> None:
    pass_ = MapToPlugins(table=parse_pipeline(BLEND, "p.yaml", Path()).plugins)
    model = model_of(
        "g (bool c, float[3] x, int64[3] z) => (float[3] y) { y = If (c) <"
        'then_branch = tb () => (float[3] a) { a = my.Blend<mode = "sum">(x, z) }, '
        "else_branch = eb () => (float[3] b) { b = Identity(x) }> }"
    )
    fixed, _ = run_pass(pass_, model, target="trt-8.2")
    (branch,) = [a.g for a in fixed.graph.node[0].attribute if a.name == "then_branch"]
    assert [n.op_type for n in branch.node] == ["Cast", "Mul", "Add"]


def test_an_older_model_says_which_opset_it_needs() -> None:
    attributes = "interpolation_mode = 0, padding_mode = 0, align_corners = 0"
    model = model_of(SAMPLER.format(domain="mmdeploy", attributes=attributes), opset=11)
    (why,) = skip_reasons(MMDEPLOY, model, target="trt-8.6")
    assert "needs operator set 16, and the model has 11; write `opset: 16`" in why
    text = "version: 1\nopset: 16\nplugins: [{use: mmdeploy/grid_sampler}]\n"
    result = fix(model, target="trt-8.6", pipeline=parse_pipeline(text, "p.yaml", Path()))
    assert ops(result.model) == ["GridSample"]
    assert result.report.verification is not None
    assert result.report.verification.status == "equal"
