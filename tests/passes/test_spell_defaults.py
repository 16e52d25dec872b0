"""spell-defaults: attributes at their default, left out or written out as the target wants."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_fix.testing import assert_rewrites, run_pass, skip_reasons
from onnx_fix_passes.spell_defaults import SpellDefaults

SCATTER = """<ir_version: 8, opset_import: ["" : 18]>
g (float[N, 4] x, int64[K, 1] i, float[K, 4] u) => (float[N, 4] y) {{
    [write] y = ScatterND <reduction = "{reduction}"> (x, i, u)
}}"""
RESHAPE = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 4] x) => (float[M] y) <int64[1] s = {-1}> { y = Reshape (x, s) }"""


def scatter_feeds(n: int) -> dict[str, np.ndarray]:
    rows = np.arange(0, n, 2, dtype=np.int64).reshape(-1, 1)
    return {
        "x": np.zeros((n, 4), np.float32),
        "i": rows,
        "u": np.ones((len(rows), 4), np.float32),
    }


def test_a_default_that_must_be_absent_is_left_out() -> None:
    fixed = assert_rewrites(
        SpellDefaults(),
        SCATTER.format(reduction="none"),
        after=["ScatterND"],
        feeds=[scatter_feeds(n) for n in (5, 1)],
        target="trt-10.3",
    )
    assert list(fixed.graph.node[0].attribute) == []
    assert fixed.graph.node[0].name == "write"


def test_another_value_than_the_default_is_left_alone() -> None:
    before = SCATTER.format(reduction="add")
    assert skip_reasons(SpellDefaults(), before, target="trt-10.3") == []


@pytest.mark.parametrize("target", ["trt-9.3", "trt-10.9", "rtx-1.7"])
def test_targets_that_read_the_default_are_left_alone(target: str) -> None:
    assert skip_reasons(SpellDefaults(), SCATTER.format(reduction="none"), target=target) == []


def test_a_default_that_must_be_present_is_written_out() -> None:
    feeds = [{"x": np.arange(4 * n, dtype=np.float32).reshape(n, 4)} for n in (3, 1)]
    fixed = assert_rewrites(
        SpellDefaults(), RESHAPE, after=["Reshape"], feeds=feeds, target="trt-8.2"
    )
    (attribute,) = fixed.graph.node[0].attribute
    assert (attribute.name, attribute.i) == ("allowzero", 0)
    assert skip_reasons(SpellDefaults(), RESHAPE, target="trt-8.6") == []


def test_an_attribute_without_a_default_is_left_alone() -> None:
    text = """<ir_version: 8, opset_import: ["" : 11]>
    g (float[1, N] x) => (float[M] y) { y = Squeeze (x) }"""
    assert skip_reasons(SpellDefaults(), text, target="trt-7.2") == []


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (bool c, float[N, 4] x) => (float[M] y) <int64[1] s = {-1}> {
      y = If (c) <
        then_branch = one () => (float[M] t) { t = Reshape (x, s) },
        else_branch = two () => (float[M] e) { e = Reshape <allowzero = 1> (x, s) }
      >
    }"""
    _, results = run_pass(SpellDefaults(), text, target="trt-8.4")
    assert [c.scope for r in results for c in r.changes] == ["y/then_branch"]
