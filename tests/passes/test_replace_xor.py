"""replace-xor: one of two but not both."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.test_case import TestCase
from recorded import assert_recorded

from onnx_fix.testing import assert_rewrites, assert_same_outputs, ops, run_pass
from onnx_fix_passes.replace_xor import ReplaceXor

PASS = ReplaceXor()
AFTER = ["Or", "And", "Not", "And"]


@pytest.mark.parametrize("opset", [7, 13, 25])
def test_all_values(opset: int) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g (bool[N, 1] a, bool[2] b) => (bool[N, 2] y) {{ y = Xor (a, b) }}"""
    feeds = [
        {"a": np.arange(n).reshape(n, 1) % 2 == 1, "b": np.array([False, True])} for n in (3, 1, 0)
    ]
    assert_rewrites(PASS, text, after=AFTER, feeds=feeds)


def test_where_it_is_taken() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool a, bool b) => (bool y) { y = Xor (a, b) }"""
    assert ops(run_pass(PASS, text, target="trt-8.4")[0]) == ["Xor"]
    assert ops(run_pass(ReplaceXor(everywhere=True), text, target="trt-8.4")[0]) == AFTER


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, bool[N] x, bool[N] z) => (bool[N] y) {
      y = If (c) <
        then_branch = one () => (bool[N] t) { t = Xor (x, z) },
        else_branch = two () => (bool[N] e) { e = Not (x) }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch"}
    for way in (True, False):
        x, z = np.array([True, True, False]), np.array([True, False, False])
        feed = {"c": np.array(way), "x": x, "z": z}
        assert_same_outputs(onnx.parser.parse_model(text), fixed, feed)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    changed, left = assert_recorded(PASS, node_cases, "trt-7.2", "Xor")
    assert len(changed) == 8 and not left
