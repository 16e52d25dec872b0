"""move-bools: BOOL goes through INT32 where the target moves none."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes.move_bools import MoveBools

PASS = MoveBools()
ALWAYS = MoveBools(everywhere=True)
RNG = np.random.default_rng(0)

NODES = {
    "Concat": "y = Concat <axis = 1> (x, z)",
    "Expand": "s = Constant <value = int64[3] {2, 1, 1}> () y = Expand (x, s)",
    "Gather": "s = Constant <value = int64[2] {1, 0}> () y = Gather <axis = 1> (x, s)",
    "Slice": "s = Constant <value = int64[1] {-1}> () e = Constant <value = int64[1] {-9}> ()"
    " a = Constant <value = int64[1] {1}> () y = Slice (x, s, e, a, s)",
    "Tile": "s = Constant <value = int64[2] {1, 3}> () y = Tile (x, s)",
    "Where": "y = Where (c, x, z)",
}


def text(op: str, opset: int = 13) -> str:
    out = "P, Q, R" if op == "Expand" else "P, Q"
    return f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g (bool[N, 2] x, bool[N, 2] z, bool[N, 2] c) => (bool[{out}] y) {{ {NODES[op]} }}"""


@pytest.mark.parametrize("opset", [11, 13, 21])
@pytest.mark.parametrize("op", list(NODES))
@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2"])
def test_ops(op: str, opset: int, target: str) -> None:
    model = text(op, opset)
    fixed, _ = run_pass(PASS, model, target=target)
    casts = {"Concat": 3, "Where": 3}.get(op, 2)
    assert ops(fixed).count("Cast") == casts and ops(fixed)[-1] == "Cast"
    view = Model(fixed, None, load_target(target))
    refused = [n.op for s in view.scopes for n in s.graph.nodes if s.refused(n)]
    assert refused == []
    feeds = [{name: RNG.random((n, 2)) > 0.5 for name in "xzc"} for n in (3, 1, 0)]
    # onnxruntime has no Where of BOOL.
    by_reference = op == "Where"
    assert_rewrites(
        PASS, model, after=ops(fixed), feeds=feeds, target=target, reference=by_reference
    )
    assert run_model(fixed, feeds[0])[0].dtype == np.bool_


def test_split_with_several_outputs() -> None:
    model = """<ir_version: 8, opset_import: ["" : 11]>
    g (bool[N, 4] x) => (bool[N, 1] y, bool[N, 3] z) {
      y, z = Split <axis = 1, split = [1, 3]> (x)
    }"""
    feeds = [{"x": RNG.random((n, 4)) > 0.5} for n in (3, 1, 0)]
    assert_rewrites(PASS, model, after=["Cast", "Split", "Cast", "Cast"], feeds=feeds)


def test_one_tensor_twice_is_cast_once() -> None:
    model = text("Concat").replace("(x, z)", "(x, x)")
    feeds = [{name: RNG.random((3, 2)) > 0.5 for name in "xzc"}]
    assert_rewrites(PASS, model, after=["Cast", "Concat", "Cast"], feeds=feeds)


def test_scalars() -> None:
    model = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, bool a, bool b) => (bool y) { y = Where (c, a, b) }"""
    feeds = [{"c": np.array(v), "a": np.array(True), "b": np.array(False)} for v in (True, False)]
    after = ["Cast", "Cast", "Where", "Cast"]
    assert_rewrites(PASS, model, after=after, feeds=feeds, reference=True)


def test_what_is_taken_stays() -> None:
    assert skip_reasons(PASS, text("Slice"), target="trt-8.0") == []
    assert skip_reasons(PASS, text("Where"), target="trt-8.5") == []
    floats = text("Slice").replace("bool[N, 2] x", "float[N, 2] x").replace("(bool[P", "(float[P")
    assert skip_reasons(ALWAYS, floats) == []


def test_integers_that_are_refused_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx_fix_passes.move_bools as module

    monkeypatch.setattr(module, "_integer", lambda facts: facts)
    (reason,) = skip_reasons(PASS, text("Slice"))
    assert "takes no Slice of INT32 either" in reason


def test_bodies() -> None:
    model = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, bool[N, 2] x) => (bool[N, 4] y) {
      y = If (c) <
        then_branch = one () => (bool[N, 4] t) { t = Concat <axis = 1> (x, x) },
        else_branch = two () => (bool[N, 4] e) { z = Not (x) e = Concat <axis = 1> (z, x) }
      >
    }"""
    fixed, results = run_pass(PASS, model)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    for way in (True, False):
        feed = {"c": np.array(way), "x": RNG.random((3, 2)) > 0.5}
        assert_same_outputs(onnx.parser.parse_model(model), fixed, feed)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    """The cases of the ops, their elements made BOOL."""
    seen = set()
    for case in node_cases:
        if case.model is None or case.model.graph.node[0].op_type not in (*NODES, "Split"):
            continue
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        node = model.graph.node[0]
        places = {"Where": [1, 2], "Concat": list(range(len(node.input)))}.get(node.op_type, [0])
        names = [node.input[k] for k in places]
        typed = [v for v in model.graph.input if v.name in names]
        for value in (*typed, *model.graph.output):
            if value.type.HasField("tensor_type"):
                value.type.tensor_type.elem_type = onnx.TensorProto.BOOL
        if not typed or not all(v.type.HasField("tensor_type") for v in typed):
            continue
        fixed, results = run_pass(ALWAYS, model, target="trt-10.3")
        assert any(r.changes for r in results), case.name
        for given, _ in case.data_sets or []:
            feed = {
                v.name: np.asarray(x) > 0 if v.name in names else np.asarray(x)
                for v, x in zip(model.graph.input, given, strict=True)
            }
            assert_same_outputs(model, fixed, feed, reference=True)
            seen.add(node.op_type)
    assert seen == {*NODES, "Split"}
