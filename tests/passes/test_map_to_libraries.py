"""MapToPlugins: ops of ONNX as plugins of mmdeploy's library, and stock plugins per release.

A body is compared with onnxruntime's own op, and with a reference in numpy that is written from the
sources of the plugin.
"""

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
from onnx_fix.plugin_table import AttributeRule, PluginEntry, bodies_of, expanded
from onnx_fix.target import load_target
from onnx_fix.testing import ops, run_model, run_pass, run_reference, skip_reasons
from onnx_fix.trtexec.needs import plugin_needs
from onnx_fix.verify.source import with_bodies
from onnx_fix_passes.map_to_plugins import MapToPlugins

Array = Any
RNG = np.random.default_rng(11)


def model_of(text: str, opset: int = 17) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def library(name: str = "", *targets: str, everywhere: bool = False) -> MapToPlugins:
    use = "mmdeploy-library" + (f"/{name}" if name else "")
    given: dict[str, Any] = {"targets": targets} if targets else {}
    return MapToPlugins(table=(PluginEntry(use=use, everywhere=everywhere, **given),))


def stock(name: str) -> MapToPlugins:
    return MapToPlugins(table=(PluginEntry(use=f"stock/{name}"),))


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    assert given.pop("plugin_version") == b"1" and given.pop("plugin_namespace") == b""
    return given


def by_body(pass_: MapToPlugins, model: onnx.ModelProto, feeds: dict[str, Array]) -> Array:
    """What the table says that the result computes."""
    return run_model(with_bodies(model, bodies_of(expanded(pass_.table))), feeds)[0]


# -- mmdeploy's library ---------------------------------------------------------------------------

SAMPLE = (
    "g (float[2,3,4,5] x, float[2,3,2,2] gr) => (float[2,3,3,2] y)"
    " {{ y = GridSample<{attributes}>(x, gr) }}"
)


@pytest.mark.parametrize("opset", [16, 20, 22])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("aligned", [0, 1])
def test_grid_sample(opset: int, padding: str, aligned: int) -> None:
    model = model_of(
        SAMPLE.format(attributes=f'padding_mode = "{padding}", align_corners = {aligned}'), opset
    )
    pass_ = library("GridSample", "trt-8.2")
    fixed, (result, *_) = run_pass(pass_, model, target="trt-8.2")
    (node,) = fixed.graph.node
    assert node.op_type == "grid_sampler" and node.domain == "trt.plugins"
    assert attributes(node) == {
        "interpolation_mode": 0,
        "padding_mode": ["zeros", "border", "reflection"].index(padding),
        "align_corners": aligned,
    }
    assert result.changes[0].note == (
        "grid_sampler needs mmdeploy's library of TensorRT plugins; compared by the body in the "
        "table"
    )
    assert [n.op for n in plugin_needs(fixed, load_target("trt-8.2"))] == ["grid_sampler"]
    feeds = {"x": floats(2, 3, 4, 5), "gr": RNG.uniform(-1.5, 1.5, (2, 3, 2, 2)).astype("f")}
    np.testing.assert_array_equal(by_body(pass_, fixed, feeds), run_model(model, feeds)[0])
    wanted: Array = run_reference(model, feeds)[0]
    np.testing.assert_allclose(by_body(pass_, fixed, feeds), wanted, 1e-4, 1e-5)


@pytest.mark.parametrize("mode", ["linear", "bilinear"])
def test_old_and_new_names_of_a_mode_are_one(mode: str) -> None:
    model = model_of(SAMPLE.format(attributes=f'mode = "{mode}"'), 20 if mode == "linear" else 16)
    fixed, _ = run_pass(library("GridSample", "trt-8.2"), model, target="trt-8.2")
    assert attributes(fixed.graph.node[0])["interpolation_mode"] == 0


@pytest.mark.parametrize("mode", ["nearest", "bicubic"])
def test_grid_sample_of_other_modes_stays(mode: str) -> None:
    model = model_of(SAMPLE.format(attributes=f'mode = "{mode}"'), 16)
    (why,) = skip_reasons(library("GridSample", "trt-8.2"), model, target="trt-8.2")
    assert why == f"its attribute mode is '{mode}'; the table has bilinear, linear"


def test_a_library_is_there_where_somebody_says_so() -> None:
    model = model_of(SAMPLE.format(attributes="align_corners = 0"), 16)
    (why,) = skip_reasons(library("GridSample"), model, target="trt-8.2")
    assert why == (
        "grid_sampler is in mmdeploy's library of TensorRT plugins; name the releases that it is "
        "built for, such as `targets: [trt-8.2]` beside `use`"
    )
    (why,) = skip_reasons(library("GridSample", "trt-8.0"), model, target="trt-8.2")
    assert why == "trt-8.2 is none of the targets of grid_sampler: trt-8.0"
    # 8.6 takes the op itself.
    assert skip_reasons(library("GridSample", "trt-8.6"), model, target="trt-8.6") == []
    fixed, _ = run_pass(library("GridSample", "trt-8.6", everywhere=True), model, target="trt-8.6")
    assert ops(fixed) == ["grid_sampler"]


def test_there_and_back() -> None:
    # Both groups in one table: what one writes is nothing that the other reads.
    model = model_of(SAMPLE.format(attributes="align_corners = 0"), 16)
    both = MapToPlugins(
        table=(
            PluginEntry(use="mmdeploy"),
            PluginEntry(use="mmdeploy-library", targets=("trt-8.2",)),
        )
    )
    fixed, _ = run_pass(both, model, target="trt-8.2")
    assert ops(fixed) == ["grid_sampler"]


@pytest.mark.parametrize("opset", [10, 16])
@pytest.mark.parametrize("aligned", [0, 1])
def test_roi_align(opset: int, aligned: int) -> None:
    modes = ["output_half_pixel", "half_pixel"]
    said = f', coordinate_transformation_mode = "{modes[aligned]}"' if opset == 16 else ""
    model = model_of(
        "g (float[2,2,8,9] x, float[3,4] r, int64[3] i) => (float[3,2,2,3] y) { y = RoiAlign<"
        f"output_height = 2, output_width = 3, sampling_ratio = 2, spatial_scale = 0.5{said}>"
        "(x, r, i) }",
        opset,
    )
    pass_ = library("RoiAlign", "trt-8.2")
    fixed, _ = run_pass(pass_, model, target="trt-8.2")
    assert ops(fixed) == ["Cast", "Reshape", "Concat", "MMCVRoiAlign"]
    given = attributes(fixed.graph.node[-1])
    assert given == {
        "output_height": 2, "output_width": 3, "sampling_ratio": 2, "spatial_scale": 0.5,
        "mode": b"avg", "aligned": aligned if opset == 16 else 0,
    }  # fmt: skip
    rois = np.array([[1, 2, 14, 12], [0, 0, 17, 15], [3, 3, 3.5, 3.6]], np.float32)
    feeds = {"x": floats(2, 2, 8, 9), "r": rois, "i": np.array([0, 1, 1])}
    np.testing.assert_array_equal(by_body(pass_, fixed, feeds), run_model(model, feeds)[0])


def test_instance_normalization_with_scales_at_run_time() -> None:
    text = (
        "g (float[2,3,{d}] x, float[3] s, float[3] b) => (float[2,3,{d}] y)"
        " {{ y = InstanceNormalization<epsilon = 0.01>(x, s, b) }}"
    )
    pass_ = library("InstanceNormalization", "trt-8.4")
    model = model_of(text.format(d="4,5"))
    fixed, _ = run_pass(pass_, model, target="trt-8.4")
    assert ops(fixed) == ["TRTInstanceNormalization"]
    feeds = {"x": floats(2, 3, 4, 5), "s": floats(3), "b": floats(3)}
    np.testing.assert_array_equal(by_body(pass_, fixed, feeds), run_model(model, feeds)[0])
    (why,) = skip_reasons(pass_, model_of(text.format(d="4,5,6")), target="trt-8.4")
    assert why == "the rank of its input x is 5, not 3 or 4"


def test_scatter_nd_for_7_2() -> None:
    text = (
        "g (float[4,3] x, {i}float[2,3] u) => (float[4,3] y){c}"
        " {{ y = ScatterND({n}, u) }}"
    )  # fmt: skip
    pass_ = library("ScatterND", "trt-7.2")
    known = model_of(text.format(i="", c=" <int64[2,1] k = {3, 1}>", n="x, k"))
    fixed, _ = run_pass(pass_, known, target="trt-7.2")
    assert ops(fixed) == ["Cast", "ScatterND"] and fixed.graph.node[-1].domain == "trt.plugins"
    feeds = {"x": floats(4, 3), "u": floats(2, 3)}
    np.testing.assert_array_equal(by_body(pass_, fixed, feeds), run_model(known, feeds)[0])
    open_ = model_of(text.format(i="int64[2,1] k, ", c="", n="x, k"))
    (why,) = skip_reasons(pass_, open_, target="trt-7.2")
    assert why == "its input indices may be negative, for all that is known"


# -- deformable convolution -----------------------------------------------------------------------

DEFORM = (
    "g (float[1,4,5,6] x, float[2,2,3,2] w, float[1,24,3,4] o, float[2] b, float[1,12,3,4] m)"
    " => (float[1,2,3,4] y) {{ y = DeformConv<group = 2, offset_group = 2, strides = [2, 1],"
    " dilations = [1, 2], pads = [{pads}], kernel_shape = [3, 2]>({inputs}) }}"
)


@pytest.mark.parametrize(
    ("target", "plugin", "names"),
    [
        ("trt-8.6", "ModulatedDeformConv2d", ("group", "deformable_group")),
        ("trt-10.0", "ModulatedDeformConv2d", ("group", "deformable_group")),
        ("trt-8.4", "MMCVModulatedDeformConv2d", ("groups", "deform_groups")),
    ],
)
def test_deform_conv(target: str, plugin: str, names: tuple[str, str]) -> None:
    model = model_of(DEFORM.format(pads="1, 0, 1, 0", inputs="x, w, o, b, m"), 19)
    pass_ = stock("DeformConv") if target != "trt-8.4" else library("DeformConv", target)
    fixed, _ = run_pass(pass_, model, target=target)
    (node,) = fixed.graph.node
    assert node.op_type == plugin and list(node.input) == ["x", "o", "m", "w", "b"]
    assert attributes(node) == {
        "stride": [2, 1], "padding": [1, 0], "dilation": [1, 2], names[0]: 2, names[1]: 2,
    }  # fmt: skip
    feeds = {
        "x": floats(1, 4, 5, 6), "w": floats(2, 2, 3, 2), "o": floats(1, 24, 3, 4),
        "b": floats(2), "m": floats(1, 12, 3, 4),
    }  # fmt: skip
    wanted: Array = run_reference(model, feeds)[0]
    np.testing.assert_allclose(by_body(pass_, fixed, feeds), wanted, 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("pads", "inputs", "target", "why"),
    [
        ("1, 0, 0, 0", "x, w, o, b, m", "trt-8.6", "pads is [1, 0, 0, 0], and 2 equal parts are"),
        ("1, 0, 1, 0", "x, w, o, b", "trt-8.6", "it has 4 inputs, the table 5"),
        ("1, 0, 1, 0", "x, w, o, b, m", "trt-8.5", "trt-8.5 does not ship ModulatedDeformConv2d"),
        ("1, 0, 1, 0", "x, w, o, b, m", "rtx-1.7", "rtx-1.7 does not ship ModulatedDeformConv2d"),
    ],
)
def test_deform_conv_that_stays(pads: str, inputs: str, target: str, why: str) -> None:
    model = model_of(DEFORM.format(pads=pads, inputs=inputs), 19)
    (reason,) = skip_reasons(stock("DeformConv"), model, target=target)
    assert why in reason


def test_deform_conv_that_the_target_takes() -> None:
    model = model_of(DEFORM.format(pads="1, 0, 1, 0", inputs="x, w, o, b, m"), 19)
    assert skip_reasons(stock("DeformConv"), model, target="trt-10.3") == []


# -- group normalization --------------------------------------------------------------------------

GROUPS = (
    "g (float[{shape}] x, float[{c}] s, float[{c}] b) => (float[{shape}] y)"
    " {{ y = GroupNormalization<num_groups = 2, epsilon = 0.01>(x, s, b) }}"
)


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.2", "trt-8.6", "trt-10.3"])
def test_group_normalization(target: str) -> None:
    model = model_of(GROUPS.format(shape="2,6,3,4", c=6), 21)
    fixed, (result, *_) = run_pass(stock("GroupNormalization"), model, target=target)
    assert result.changes[0].note.endswith("; it needs cuDNN, and a GPU older than Blackwell")
    (node,) = fixed.graph.node
    assert node.op_type == "GroupNormalizationPlugin" and list(node.input) == ["x", "s", "b"]
    assert attributes(node) == {"eps": pytest.approx(0.01), "num_groups": 2}
    feeds = {"x": floats(2, 6, 3, 4), "s": floats(6), "b": floats(6)}
    x = feeds["x"].reshape(2, 2, 3, 12)
    mean, var = x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True)
    whole = ((x - mean) / np.sqrt(var + 0.01)).reshape(2, 6, 3, 4)
    wanted = whole * feeds["s"][:, None, None] + feeds["b"][:, None, None]
    made = by_body(stock("GroupNormalization"), fixed, feeds)
    np.testing.assert_allclose(made, wanted, 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("shape", "c", "opset", "why"),
    [
        ("N,6,3,4", 6, 21, "the size of its input x along axis 0 is not known"),
        ("2,6,3", 6, 21, "the rank of its input x is 3, not 4"),
    ],
)
def test_group_normalization_that_stays(shape: str, c: int, opset: int, why: str) -> None:
    model = model_of(GROUPS.format(shape=shape, c=c), opset)
    assert skip_reasons(stock("GroupNormalization"), model, target="trt-8.2") == [why]


def test_an_op_that_meant_something_else_before() -> None:
    entry = PluginEntry(
        op="Hardmax", plugin="MyHardmax", targets=("trt-8.2",), since=13, inputs=("x",),
        attributes={"axis": AttributeRule(from_="axis")}, body="onnx",
    )  # fmt: skip
    text = "g (float[2,3] x) => (float[2,3] y) { y = Hardmax(x) }"
    pass_ = MapToPlugins(table=(entry,))
    (why,) = skip_reasons(pass_, model_of(text, 11), target="trt-8.2")
    assert why == "the table has it as operator set 13 does, and the model has 11"
    fixed, _ = run_pass(pass_, model_of(text, 13), target="trt-8.2")
    assert attributes(fixed.graph.node[0]) == {"axis": -1}


@pytest.mark.parametrize("target", ["trt-10.9", "rtx-1.7"])
def test_group_normalization_that_the_target_takes(target: str) -> None:
    model = model_of(GROUPS.format(shape="2,6,3,4", c=6), 21)
    assert skip_reasons(stock("GroupNormalization"), model, target=target) == []


# -- the whole way --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("use", "model", "target", "plugin"),
    [
        ("{use: mmdeploy-library, targets: [trt-8.2]}",
         model_of(SAMPLE.format(attributes="align_corners = 0"), 16), "trt-8.2", "grid_sampler"),
        ("{use: stock}", model_of(DEFORM.format(pads="1, 0, 1, 0", inputs="x, w, o, b, m"), 19),
         "trt-8.6", "ModulatedDeformConv2d"),
        ("{use: stock}", model_of(GROUPS.format(shape="2,6,3,4", c=6), 21), "trt-8.4",
         "GroupNormalizationPlugin"),
    ],
)  # fmt: skip
def test_a_pipeline_file(use: str, model: onnx.ModelProto, target: str, plugin: str) -> None:
    pipeline = parse_pipeline(f"version: 1\nplugins: [{use}]\n", "p.yaml", Path())
    result = fix(model, target=target, pipeline=pipeline)
    assert plugin in ops(result.model)
    assert result.report.verification is not None
    assert result.report.verification.status == "equal"
    assert parse_pipeline(pipeline.to_yaml(), "p.yaml", Path()) == pipeline
    named = {f.op.rpartition("::")[2] for f in check(result.model, target=target).findings}
    assert plugin in named
    # A model that holds the plugin already runs by the same body.
    whole = with_bodies(result.model, plugin_bodies(17))
    assert len(whole.functions) == 1
