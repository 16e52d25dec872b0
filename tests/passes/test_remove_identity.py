"""RemoveIdentity: Identity nodes between an initializer and an input that has to be one."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.testing import as_proto, assert_rewrites, ops, run_pass, run_reference
from onnx_fix_passes.remove_identity import RemoveIdentity

CONV = """<ir_version: 8, opset_import: ["" : 13]>
g (float[1,1,H,W] x) => (float[A,B,C,D] y) <float[1,1,2,2] w = {1, 2, 3, 4}> {
  v = Identity (w)
  u = Identity (v)
  y = Conv (x, u)
}"""

X = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)


def test_weights_reach_the_node_that_wants_them() -> None:
    fixed = assert_rewrites(RemoveIdentity(), CONV, after=["Conv"], feeds=[{"x": X}])
    assert list(fixed.graph.node[0].input) == ["x", "w"]
    assert fixed.graph.initializer[0] == as_proto(CONV).graph.initializer[0]


def test_constant_node_counts_as_initializer() -> None:
    text = CONV.replace("v = Identity (w)", "v = Constant <value = float[1,1,2,2] {1,2,3,4}> ()")
    assert_rewrites(RemoveIdentity(), text, after=["Constant", "Conv"], feeds=[{"x": X}])


def unchanged(
    model: ModelProto | str, target: str = "trt-7.2", *, everywhere: bool = False
) -> None:
    before = as_proto(model)
    after, results = run_pass(RemoveIdentity(everywhere=everywhere), before, target=target)
    assert after == before
    assert not any(r.changes or r.skipped for r in results)


def test_target_that_takes_the_identity() -> None:
    unchanged(CONV, "trt-8.6")
    unchanged(CONV.replace("y = Conv (x, u)", "y = Mul (x, u)"))


def test_identity_that_is_an_output_too() -> None:
    text = CONV.replace("(float[A,B,C,D] y)", "(float[A,B,C,D] y, float[1,1,2,2] u)")
    fixed = assert_rewrites(RemoveIdentity(), text, after=["Identity", "Conv"], feeds=[{"x": X}])
    assert list(fixed.graph.node[1].input) == ["x", "w"]
    unchanged(fixed, everywhere=True)


def test_initializer_that_a_caller_may_override() -> None:
    before = as_proto(CONV)
    before.graph.input.append(helper.make_tensor_value_info("w", 1, [1, 1, 2, 2]))
    unchanged(before)


@pytest.mark.parametrize("opset", [9, 13, 21])
def test_everywhere(opset: int) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g (float[N] x) => (float[N] y, float[N] z, float[N] k) <float[1] w = {{2}}> {{
      a = Identity (x)
      b = Identity (a)
      c = Mul (b, w)
      d = Identity (c)
      y = Add (d, a)
      z = Identity (x)
      k = Identity (d)
    }}"""
    unchanged(text)
    feeds = [{"x": np.arange(3, dtype=np.float32)}, {"x": np.zeros(0, np.float32)}]
    after = ["Mul", "Add", "Identity", "Identity"]
    fixed = assert_rewrites(RemoveIdentity(everywhere=True), text, after=after, feeds=feeds)
    assert [list(n.input) for n in fixed.graph.node] == [["x", "w"], ["c", "x"], ["x"], ["c"]]


def test_in_branches_and_loops() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (int64 n, bool c, float[1,1,H,W] x) => (float[A,B,C,D] y, float[1,1,H,W] z)
    <bool go = {1}, float[1,1,1,1] w = {3}> {
      v = Identity (w)
      y = If (c) <
        then_branch = t () => (float[A,B,C,D] p) { p = Conv (x, v) },
        else_branch = e () => (float[A,B,C,D] q) { u = Identity (w) q = Conv (x, u) }
      >
      z = Loop (n, go, x) <
        body = b (int64 i, bool k, float[1,1,H,W] s) => (bool k2, float[1,1,H,W] r) {
          k2 = Identity (k)
          t = Identity (v)
          r = Conv (s, t)
        }
      >
    }"""
    before = as_proto(text)
    fixed, _ = run_pass(RemoveIdentity(), before)
    assert ops(fixed) == ["If", "Loop"]
    bodies = [a.g for node in fixed.graph.node for a in node.attribute if a.g.node]
    assert [[n.op_type for n in g.node] for g in bodies] == [
        ["Conv"],
        ["Conv"],
        ["Identity", "Conv"],
    ]
    for choice in (True, False):
        feeds = {"n": np.array(2), "c": np.array(choice), "x": X}
        for have, want in zip(
            run_reference(fixed, feeds), run_reference(before, feeds), strict=True
        ):
            np.testing.assert_array_equal(have, want)


def test_outputs_of_bodies_stay() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]> g (bool c, float[N] x) => (float[N] y) {
      y = If (c) <
        then_branch = t () => (float[N] p) { p = Identity (x) },
        else_branch = e () => (float[N] q) { q = Neg (x) }
      >
    }"""
    unchanged(text, everywhere=True)


def test_backend_node_tests(node_cases: list[TestCase]) -> None:
    done = 0
    for case in node_cases:
        model = case.model
        if model is None or all(n.op_type != "Identity" for n in model.graph.node):
            continue
        fixed, _ = run_pass(RemoveIdentity(everywhere=True), model)
        if any(not i.type.HasField("tensor_type") for i in model.graph.input):
            assert fixed == model
            continue
        names = [v.name for v in model.graph.input]
        for inputs, outputs in case.data_sets or ():
            have = run_reference(fixed, dict(zip(names, inputs, strict=True)))
            want = run_reference(model, dict(zip(names, inputs, strict=True)))
            for a, b, recorded in zip(have, want, outputs, strict=True):
                np.testing.assert_array_equal(a, b)
                assert np.shape(a) == np.shape(recorded)
        done += 1
    assert done > 0
