"""RemoveUnused: nodes whose results nobody reads."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.testing import (
    as_proto,
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_pass,
    run_reference,
)
from onnx_fix_passes.remove_unused import RemoveUnused

HEAD = '<ir_version: 8, opset_import: ["" : 13]> g '
FEEDS = [{"x": np.array([3, 1, 3], np.float32)}, {"x": np.zeros(0, np.float32)}]


def unchanged(
    model: ModelProto | str, target: str = "trt-7.2", *, everywhere: bool = False
) -> None:
    before = as_proto(model)
    after, results = run_pass(RemoveUnused(everywhere=everywhere), before, target=target)
    assert after == before
    assert not any(r.changes or r.skipped for r in results)


UNIQUE = (
    HEAD
    + """(float[N] x) => (float[N] y) {
  a = Abs (x)
  u, i = Unique (a)
  y = Relu (x)
  s = Shape (u)
  t = Neg (i)
}"""
)


def test_refused_node_goes_with_its_readers_and_what_it_alone_read() -> None:
    fixed = assert_rewrites(RemoveUnused(), UNIQUE, after=["Relu"], feeds=FEEDS)
    assert len(fixed.graph.input) == 1
    _, results = run_pass(RemoveUnused(), UNIQUE)
    (change,) = results[0].changes
    assert sorted(change.old_ops) == ["Neg", "Shape", "Unique"]
    assert change.new_ops == ()


def test_unused_nodes_that_the_target_takes_stay() -> None:
    text = HEAD + "(float[N] x) => (float[N] y) { a = Abs (x) b = Neg (a) y = Relu (x) }"
    unchanged(text)
    assert_rewrites(RemoveUnused(everywhere=True), text, after=["Relu"], feeds=FEEDS)


def test_refused_node_that_is_read_stays() -> None:
    text = HEAD + "(float[N] x) => (float[M] u) { a = Abs (x) u = Unique (a) }"
    unchanged(text)
    unchanged(text, everywhere=True)


def test_groups_are_reported_apart() -> None:
    text = (
        HEAD
        + """(float[N] x) => (float[N] y) {
      u = Unique (x)
      y = Relu (x)
      v = Unique (y)
      w = Neg (v)
    }"""
    )
    fixed, results = run_pass(RemoveUnused(), text)
    assert ops(fixed) == ["Relu"]
    assert [sorted(c.old_ops) for c in results[0].changes] == [["Unique"], ["Neg", "Unique"]]


def test_initializers_of_removed_nodes_go_and_others_stay() -> None:
    text = (
        HEAD
        + """(float[N] x) => (float[N] y) <float[1] k = {1}, float[1] w = {2}> {
      a = Mul (x, k)
      u = Unique (a)
      y = Mul (x, w)
    }"""
    )
    fixed = assert_rewrites(RemoveUnused(), text, after=["Mul"], feeds=FEEDS)
    assert [t.name for t in fixed.graph.initializer] == ["w"]


def test_nodes_that_bodies_read_stay() -> None:
    text = (
        HEAD
        + """(int64 n, bool c, float[N] x) => (float[N] y, float[N] z) <bool go = {1}> {
      a = Abs (x)
      b, ib = Unique (x)
      y = If (c) <
        then_branch = t () => (float[N] p) { u = Unique (a) p = Neg (a) },
        else_branch = e () => (float[N] q) { q = Abs (x) v = Unique (x) r = Neg (v) }
      >
      z = Loop (n, go, x) <
        body = l (int64 i, bool k, float[N] s) => (bool k2, float[N] r) {
          k2 = Identity (k)
          d = Unique (s)
          r = Neg (s)
        }
      >
    }"""
    )
    before = as_proto(text)
    fixed, results = run_pass(RemoveUnused(), before)
    assert ops(fixed) == ["Abs", "If", "Loop"]
    assert sorted(c.scope for r in results for c in r.changes) == [
        "", "y/else_branch", "y/then_branch", "z/body",
    ]  # fmt: skip
    inner = [[n.op_type for n in a.g.node] for node in fixed.graph.node for a in node.attribute]
    assert sorted(inner) == [["Abs"], ["Identity", "Neg"], ["Neg"]]
    for choice in (True, False):
        feeds = {"n": np.array(3), "c": np.array(choice), "x": FEEDS[0]["x"]}
        assert_same_outputs(before, fixed, feeds)


def test_whole_body_that_nobody_reads() -> None:
    text = (
        HEAD
        + """(bool c, float[N] x) => (float[N] y) {
      z = If (c) <
        then_branch = t () => (float[M] p) { p = Unique (x) },
        else_branch = e () => (float[M] q) { q = Abs (x) }
      >
      y = Relu (x)
    }"""
    )
    fixed, _ = run_pass(RemoveUnused(everywhere=True), text)
    assert ops(fixed) == ["Relu"]


def test_function_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13, "my" : 1]>
    g (float[N] x) => (float[N] y) { y = my.f (x) }
    <domain: "my", opset_import: ["" : 13]> f (x) => (y) { u = Unique (x) y = Neg (x) }"""
    fixed, _ = run_pass(RemoveUnused(), text, target="trt-10.3")
    assert [n.op_type for n in fixed.functions[0].node] == ["Neg"]
    assert_same_outputs(as_proto(text), fixed, FEEDS[0])


def test_targets_that_take_the_node() -> None:
    text = HEAD + "(float[N] x) => (float[N] y) { a = CumSum (x, k) y = Relu (x) }"
    text = text.replace("(float[N] y)", "(float[N] y) <int64 k = {0}>")
    unchanged(text, "trt-10.3")
    assert_rewrites(RemoveUnused(), text, after=["Relu"], feeds=FEEDS)


def test_backend_node_tests(node_cases: list[TestCase]) -> None:
    """Single nodes are read; some expanded functions hold nodes that are not."""
    removed = 0
    expanded = [c for c in node_cases if c.model and len(c.model.graph.node) > 1]
    for case in expanded[::4]:
        model = case.model
        assert model is not None
        fixed, results = run_pass(RemoveUnused(everywhere=True), model)
        if not results[0].changes:
            assert fixed == model, case.name
            continue
        removed += 1
        if removed % 4:
            continue
        names = [v.name for v in model.graph.input]
        for inputs, _ in case.data_sets or ():
            feeds = dict(zip(names, inputs, strict=True))
            for have, want in zip(
                run_reference(fixed, feeds), run_reference(model, feeds), strict=True
            ):
                np.testing.assert_array_equal(have, want)
    assert removed > 10
