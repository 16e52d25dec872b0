"""lower-opset: the operator set that a release reads rightly, or the one that is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from onnx_fix import fix
from onnx_fix.contract import Exactness
from onnx_fix.errors import UsageError
from onnx_fix.testing import assert_same_outputs, ops, run_pass, skip_reasons
from onnx_fix_passes.lower_opset import LowerOpset

REDUCE = """<ir_version: 10, opset_import: ["" : 18]>
g (float[N, 4] x) => (float[N, 1] y) <int64[1] axes = {1}> {
    [norm] y = ReduceL2 (x, axes)
}"""
FEEDS = {"x": np.arange(12, dtype=np.float32).reshape(3, 4)}


def opset(model: ModelProto) -> int:
    return int(model.opset_import[0].version)


@pytest.mark.parametrize(
    ("target", "wanted"),
    [("trt-7.2", 11), ("trt-8.2", 13), ("trt-8.6", 17), ("trt-10.3", 18)],
)
def test_a_release_gets_the_operator_set_that_it_reads(target: str, wanted: int) -> None:
    before = onnx.parser.parse_model(REDUCE)
    fixed, _ = run_pass(LowerOpset(), before, target=target)
    assert opset(fixed) == wanted
    assert_same_outputs(before, fixed, FEEDS)
    if wanted < 18:
        assert list(fixed.graph.node[0].input) == ["x"]


def test_a_model_without_such_nodes_keeps_its_operator_set() -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[N, 4] x) => (float[N, 4] y) { y = Relu (x) }"""
    for target in ("trt-7.2", "trt-8.6", "rtx-1.7"):
        assert skip_reasons(LowerOpset(), text, target=target) == []


def test_an_operator_set_that_is_asked_for() -> None:
    before = onnx.parser.parse_model(REDUCE)
    fixed, (result, *_) = run_pass(LowerOpset(opset=13), before, target="trt-10.3")
    assert opset(fixed) == 13
    assert result.changes[0].old == ("opset 18 -> 13: 1 ReduceL2",)
    assert fixed.graph.node[0].name == "norm"
    assert list(fixed.graph.input) == list(before.graph.input)
    again, results = run_pass(LowerOpset(opset=13), fixed, target="trt-10.3")
    assert again == fixed and not any(r.changes for r in results)


def test_nodes_in_the_way_are_named_and_nothing_is_changed() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18]>
    g (float[N, 4] x, int64[K] axes) => (float[A, B] y, float[C, D] z) <int64[1] k = {1}> {
        [runtime] y = ReduceMax (x, axes)
        [fine] z = ReduceMax (x, k)
    }"""
    (reason,) = skip_reasons(LowerOpset(opset=13), text)
    assert "opset 18 -> 17" in reason and "'axes' are computed at run time" in reason


def test_what_another_pass_mends_within_the_documented_range_is_left_to_it() -> None:
    before = onnx.parser.parse_model(REDUCE)
    assert skip_reasons(LowerOpset(), before, target="trt-9.3") == []
    result = fix(before, target="trt-9.3")
    assert opset(result.model) == 18 and result.ok
    assert {c.pass_name for c in result.report.changes} == {"reduce-axes-input"}


CALL = """<ir_version: 10, opset_import: ["" : 18, "my" : 1]>
g (float[N, 4] x) => (float[N, 1] y) { y = my.f (x) }
<domain: "my", opset_import: ["" : 18]> f (a) => (b) {
    axes = Constant <value = int64[1] {1}> ()
    b = ReduceL2 (a, axes)
}
<domain: "my", opset_import: ["" : 18]> unused (a) => (b) { b = BitwiseNot (a) }"""


def test_functions_are_written_out_with_it() -> None:
    before = onnx.parser.parse_model(CALL)
    fixed, (result, *_) = run_pass(LowerOpset(opset=13), before, target="trt-10.3")
    assert [c.old for c in result.changes] == [
        ("my::f inlined (1 times)",),
        ("my::unused left out: nobody calls it, and the operator set gives it another meaning",),
        ("opset 18 -> 13: 1 ReduceL2",),
    ]
    assert opset(fixed) == 13 and ops(fixed) == ["Constant", "ReduceL2"]
    assert_same_outputs(before, fixed, FEEDS)


def test_functions_of_a_model_that_cannot_be_lowered_stay() -> None:
    text = CALL.replace("ReduceL2 (a, axes)", "BitCast <to = 6> (a)").replace("18", "26")
    text = text.replace("float[N, 1] y", "int32[N, 4] y").replace(
        "ir_version: 10", "ir_version: 13"
    )
    (reason,) = skip_reasons(LowerOpset(opset=13), text, target="trt-10.3")
    assert "BitCast does not exist before opset 26" in reason


def test_the_planner_lowers_what_the_release_misreads() -> None:
    result = fix(onnx.parser.parse_model(REDUCE), target="trt-8.6")
    assert opset(result.model) == 17 and result.ok
    kept = fix(onnx.parser.parse_model(REDUCE), target="trt-8.6", opset=18)
    assert opset(kept.model) == 18 and kept.ok


def test_an_op_by_its_definition_is_rounding_only() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18]>
    g (float[N, 4] x) => (float[N, 4] y) <float[4] s = {1, 2, 3, 4}> {
        y = LayerNormalization (x, s)
    }"""
    before = onnx.parser.parse_model(text)
    fixed, (result, *_) = run_pass(LowerOpset(opset=11), before)
    assert result.changes[0].exactness is Exactness.ROUNDING
    assert "LayerNormalization" not in ops(fixed)
    assert_same_outputs(before, fixed, FEEDS, exact=False)


def test_weights_stay_whole() -> None:
    proto = onnx.parser.parse_model(REDUCE)
    big = np.arange(4 * 5000, dtype=np.float32).reshape(4, 5000)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(big, "big"))
    proto.graph.node.append(onnx.helper.make_node("MatMul", ["x", "big"], ["z"]))
    proto.graph.output.append(onnx.helper.make_tensor_value_info("z", 1, ["N", 5000]))
    fixed, _ = run_pass(LowerOpset(opset=11), proto)
    assert opset(fixed) == 11
    assert_same_outputs(proto, fixed, FEEDS)


def test_a_node_that_reads_a_large_constant_is_judged_without_it() -> None:
    proto = onnx.parser.parse_model(REDUCE)
    index = np.zeros((3, 4), dtype=np.int64).repeat(500, axis=0)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(index, "index"))
    data = np.ones((1500, 4), dtype=np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(data, "data"))
    proto.graph.node.append(onnx.helper.make_node("GatherElements", ["data", "index"], ["z"]))
    proto.graph.output.append(onnx.helper.make_tensor_value_info("z", 1, [1500, 4]))
    fixed, _ = run_pass(LowerOpset(), proto)
    assert opset(fixed) == 11
    assert_same_outputs(proto, fixed, FEEDS)


def test_the_main_job_lowers_after_the_ops_that_older_sets_lack(fixtures: Path) -> None:
    result = fix(fixtures / "pair_matcher.legacy13.onnx", target="trt-7.2", opset=11, verify=False)
    assert opset(result.model) == 11
    assert result.ok and not result.report.doubtful
    first = list(dict.fromkeys(c.pass_name for c in result.report.changes))
    assert first.index("einsum-to-matmul") < first.index("lower-opset")


def test_an_operator_set_that_is_too_old_is_refused() -> None:
    with pytest.raises(UsageError, match="lowest operator set"):
        fix(onnx.parser.parse_model(REDUCE), target="trt-7.2", opset=7)
