"""raise-opset: models before operator set 7, and a newer operator set that is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnx_fix import fix
from onnx_fix.check import check
from onnx_fix.pipeline import parse_pipeline
from onnx_fix.testing import assert_same_outputs, ops, run_model, run_pass, skip_reasons
from onnx_fix_passes.raise_opset import RaiseOpset

IMAGE = {"x": np.arange(2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4)}


def opset(model: ModelProto) -> int:
    return int(model.opset_import[0].version)


def caffe() -> ModelProto:
    """What exporters wrote in 2017: an Add that says along which axis it broadcasts."""
    bias = numpy_helper.from_array(np.asarray([1, 2, 3], dtype=np.float32), "bias")
    add = helper.make_node("Add", ["x", "bias"], ["y"], "add", axis=1, broadcast=1)
    graph = helper.make_graph(
        [add],
        "g",
        [helper.make_tensor_value_info("x", 1, ["N", 3, 4, 4])],
        [helper.make_tensor_value_info("y", 1, ["N", 3, 4, 4])],
        [bias],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=4)
    model.producer_name = "caffe2"
    return model


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6", "trt-10.3"])
def test_an_axis_to_broadcast_along_is_written_out(target: str) -> None:
    before = caffe()
    result = fix(before, target=target)
    assert opset(result.model) == 7 and result.ok
    assert result.model.producer_name == "caffe2"
    (y,) = run_model(result.model, IMAGE)
    np.testing.assert_array_equal(y, IMAGE["x"] + np.asarray([1, 2, 3])[:, None, None])
    (found,) = [f for f in check(before, target=target).findings if f.node == "add"]
    assert found.mended_by == "raise-opset"


def test_an_old_model_that_the_target_takes_stays() -> None:
    text = '<ir_version: 4, opset_import: ["" : 6]> g (float[N] x) => (float[N] y) { y = Relu (x) }'
    assert skip_reasons(RaiseOpset(), text, target="trt-8.6") == []


@pytest.mark.parametrize("wanted", [None, 13])
def test_a_model_of_other_domains_alone_stays(wanted: int | None) -> None:
    text = '<ir_version: 8, opset_import: ["my" : 1]> g (float[N] x) => (float[N] y) {y = my.f (x)}'
    assert skip_reasons(RaiseOpset(opset=wanted), text, target="trt-7.2") == []


LAYERS = """<ir_version: 7, opset_import: ["" : 9]>
g (float[N, 3, 4, 4] x) => (float[A, B, C, D] y, float[N, 3, 4, 4] p) <float[4] s = {1, 1, 2, 2}> {
    [up] u = Upsample <mode = "linear"> (x, s)
    [cut] c = Slice <axes = [2], ends = [5], starts = [1]> (u)
    [soft] p = Softmax <axis = 2> (x)
    [drop] y = Dropout <ratio = 0.25> (c)
}"""


@pytest.mark.parametrize("wanted", [11, 13, 18, 21])
def test_an_operator_set_that_is_asked_for(wanted: int) -> None:
    before = onnx.parser.parse_model(LAYERS)
    result = fix(before, target="rtx-1.7", opset=wanted)
    assert opset(result.model) == wanted
    assert_same_outputs(before, result.model, IMAGE)
    assert "Resize" in ops(result.model)
    assert {"up", "cut", "soft", "drop"} <= {n.name for n in result.model.graph.node}


def test_the_operator_set_of_a_pipeline_may_be_newer() -> None:
    text = "version: 1\nopset: 17\npasses: []"
    pipeline = parse_pipeline(text, "pipeline.yaml", Path())
    result = fix(onnx.parser.parse_model(LAYERS), target="rtx-1.7", pipeline=pipeline)
    assert opset(result.model) == 17


BRANCH = """<ir_version: 7, opset_import: ["" : 11]>
g (bool c, float[2, 3, 4] x) => (float[A, B, C] y) {
    y = If (c) <
        then_branch = a () => (float[A, B, C] t) { t = Hardmax <axis = 1> (x) },
        else_branch = b () => (float[A, B, C] e) {
            r = ReduceSum <axes = [1], keepdims = 1> (x)
            e = Hardmax (r)
        }
    >
}"""


@pytest.mark.parametrize("taken", [True, False])
def test_nodes_inside_branches(taken: bool) -> None:
    before = onnx.parser.parse_model(BRANCH)
    fixed, _ = run_pass(RaiseOpset(opset=13), before)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (2, 3, 4)).astype(np.float32)
    assert_same_outputs(before, fixed, {"c": np.asarray(taken), "x": x})


def test_a_node_that_cannot_be_translated_is_named() -> None:
    text = """<ir_version: 7, opset_import: ["" : 9]>
    g (float[2] x, float[2, 2] z) => (float[A, B] y) {
        y = Scatter <axis = 0> (z, i, z)
        i = Cast <to = 7> (z)
    }"""
    text = text.replace("y = Scatter <axis = 0> (z, i, z)", "").replace(
        "i = Cast <to = 7> (z)", "k = my.What (x) y = Dropout (k)"
    )
    text = text.replace('["" : 9]', '["" : 9, "my" : 1]')
    (reason,) = skip_reasons(RaiseOpset(opset=13), text)
    assert reason == "opset 9 -> 13: the type of 'k' is not known"


def test_functions_are_written_out_with_it() -> None:
    text = """<ir_version: 8, opset_import: ["" : 11, "my" : 1]>
    g (float[2, 3] x) => (float[A, B] y) { y = my.f (x) }
    <domain: "my", opset_import: ["" : 11]> f (a) => (b) { b = ReduceSum <axes = [1]> (a) }"""
    before = onnx.parser.parse_model(text)
    fixed, _ = run_pass(RaiseOpset(opset=13), before, target="trt-10.3")
    assert not fixed.functions and opset(fixed) == 13
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    (want,) = ReferenceEvaluator(before).run(None, {"x": x})
    np.testing.assert_array_equal(run_model(fixed, {"x": x})[0], want)
