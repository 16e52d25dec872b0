"""replace-one-hot: where the index is the place."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.test_case import TestCase
from recorded import assert_recorded

from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes.replace_one_hot import ReplaceOneHot

PASS = ReplaceOneHot()
KINDS = {"int64": np.int64, "int32": np.int32, "float": np.float32, "bool": np.bool_}


def one_hot(
    *,
    opset: int = 11,
    axis: str = "",
    dims: str = "N, 3",
    out: str = "a, b, c",
    index: str = "int64",
    value: str = "float",
    depth: str | None = None,
) -> str:
    """The depth is an input where none is given."""
    given = f"d = Constant <value = int64 {{{depth}}}> ()" if depth else ""
    more = "" if depth else ", int64 d"
    return f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g ({index}{dims and f"[{dims}]"} x{more}, {value}[2] v) => ({value}[{out}] y) {{
      {given} y = OneHot {axis} (x, d, v)
    }}"""


def feed(shape: tuple[int, ...], index: str = "int64", value: str = "float") -> dict[str, Any]:
    """Indices of all kinds, some out of range."""
    x: Any = np.random.default_rng(len(shape)).integers(-7, 8, shape).astype(KINDS[index])
    return {"x": x, "v": np.array([1, 0] if value == "bool" else [2, 5]).astype(KINDS[value])}


@pytest.mark.parametrize("axis", ["", "<axis = 0>", "<axis = 1>", "<axis = 2>", "<axis = -3>"])
@pytest.mark.parametrize("opset", [11, 13, 25])
@pytest.mark.parametrize("depth", ["5", None])
def test_axes(axis: str, opset: int, depth: str | None) -> None:
    model = onnx.parser.parse_model(one_hot(opset=opset, axis=axis, depth=depth))
    fixed, _ = run_pass(PASS, model)
    assert "OneHot" not in ops(fixed)
    for n in (4, 1, 0):
        given = feed((n, 3))
        if depth is None:
            given["d"] = np.array(6)
        assert_same_outputs(model, fixed, given)


def test_how_many_nodes() -> None:
    text = one_hot(dims="N", out="N, 5", depth="5", opset=13)
    after = ["Constant", "Unsqueeze", "Less", "Add", "Where", "Equal", "Gather", "Gather", "Where"]
    feeds = [feed((n,)) for n in (6, 1, 0)]
    assert_rewrites(PASS, text, after=after[1:], feeds=feeds)


@pytest.mark.parametrize("index", ["int64", "int32", "float"])
@pytest.mark.parametrize("value", ["int64", "int32", "float"])
def test_types(index: str, value: str) -> None:
    model = onnx.parser.parse_model(one_hot(index=index, value=value, depth="4", opset=13))
    given = feed((2, 3), index, value)
    at = given["x"] + 4 * (given["x"] < 0)
    (have,) = run_model(run_pass(PASS, model)[0], given)
    assert have.dtype == KINDS[value]
    np.testing.assert_array_equal(have, given["v"][(at[..., None] == np.arange(4)).astype(int)])


def test_bools() -> None:
    model = onnx.parser.parse_model(one_hot(value="bool", depth="4", opset=13))
    given = feed((2, 3), value="bool")
    (have,) = run_model(run_pass(PASS, model)[0], given)
    at = given["x"] + 4 * (given["x"] < 0)
    np.testing.assert_array_equal(have, at[..., None] != np.arange(4))


def test_constant_values() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (int64[N] x) => (float[N, 3] y) {
      d = Constant <value = int64[1] {3}> () v = Constant <value = float[2] {0.5, 2.0}> ()
      y = OneHot (x, d, v)
    }"""
    after = ["Unsqueeze", "Less", "Add", "Where", "Equal", "Where"]
    feeds = [{"x": np.arange(-n, n)} for n in (4, 1, 0)]
    assert_rewrites(PASS, text, after=after, feeds=feeds)


def test_refusals() -> None:
    assert skip_reasons(PASS, one_hot(depth="5"), target="rtx-1.7") == []
    assert skip_reasons(PASS, one_hot(), target="rtx-1.7") == []
    (reason,) = skip_reasons(PASS, one_hot(value="double"))
    assert "does not take 'v' for its type" in reason
    (reason,) = skip_reasons(PASS, one_hot(axis="<axis = 4>", out="n"))
    assert "axis 4 does not exist" in reason
    unknown = """<ir_version: 8, opset_import: ["" : 13]>
    g (int64[N] x, int64[K] s, float[2] v) => (float y) {
      d = Constant <value = int64 {3}> () r = Reshape (x, s) y = OneHot (r, d, v) }"""
    assert "rank of its indices is not known" in skip_reasons(PASS, unknown)[0]
    function = """<ir_version: 10, opset_import: ["" : 14, "my" : 1]>
    g (int64[N] x, int64 d, float[2] v) => (float[N, M] y) { y = my.f <k = 1> (x, d, v) }
    <opset_import: ["" : 14], domain: "my"> f <k> (a, d, v) => (b) {
      b = OneHot <axis: int = @k> (a, d, v) }"""
    assert "parameter of the enclosing function" in skip_reasons(PASS, function)[0]


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, int64[N] x, float[2] v) => (float[N, 3] y) {
      d = Constant <value = int64 {3}> ()
      y = If (c) <
        then_branch = one () => (float[N, 3] t) { t = OneHot (x, d, v) },
        else_branch = two () => (float[N, 3] e) { w = Neg (v) e = OneHot (x, d, w) }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    for way in (True, False):
        given = {**feed((4,)), "c": np.array(way)}
        assert_same_outputs(onnx.parser.parse_model(text), fixed, given)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    changed, left = assert_recorded(PASS, node_cases, "trt-7.2", "OneHot")
    assert len(changed) == 5
    assert all("for its type" in r for reasons in left.values() for r in reasons), left


FLOAT_DEPTH = (
    '<ir_version: 8, opset_import: ["" : 13]> g (int64[N] x, float d, float[2] v) => '
    "(float[N, {0}] y) {{ y = OneHot (x, d, v) }}"
)


def test_a_depth_that_the_model_states() -> None:
    model = onnx.parser.parse_model(FLOAT_DEPTH.format(4))
    after, results = run_pass(ReplaceOneHot(), model, target="rtx-1.7")
    assert "OneHot" not in ops(after) and any(r.changes for r in results)
    feed: dict[str, Any] = {
        "x": np.array([0, 3, -1, -4, 4, 9], np.int64),
        "d": np.asarray(4, np.float32),
        "v": np.array([-1, 2], np.float32),
    }
    assert_same_outputs(model, after, feed)


def test_a_floating_point_depth_that_nothing_states() -> None:
    (reason,) = skip_reasons(ReplaceOneHot(), FLOAT_DEPTH.format("K"), target="rtx-1.7")
    assert "rests on a floating-point input" in reason
