"""shape-to-slice: the dims that Shape means, for every start and end."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes.shape_to_slice import ShapeToSlice

FEEDS = [{"x": np.zeros(shape, np.float32)} for shape in ((2, 3, 5, 7), (1, 1, 1, 1), (0, 4, 0, 2))]


def model(attributes: str) -> str:
    return f"""<ir_version: 8, opset_import: ["" : 17]>
    g (float[A, B, C, D] x) => (int64[K] y) {{ y = Shape {attributes} (x) }}"""


@pytest.mark.parametrize("start", [None, 0, 1, -1, -3, 4, 9, -9])
@pytest.mark.parametrize("end", [None, 0, 2, -1, 4, 9, -9])
def test_all_bounds(start: int | None, end: int | None) -> None:
    given = {"start": start, "end": end}
    text = ", ".join(f"{k} = {v}" for k, v in given.items() if v is not None)
    if not text:
        assert skip_reasons(ShapeToSlice(), model("")) == []
        return
    after = ["Shape"] if text == "start = 0" else ["Shape", "Slice"]
    everywhere = ShapeToSlice(everywhere=True)
    assert_rewrites(everywhere, model(f"<{text}>"), after=after, feeds=FEEDS)


def test_a_target_that_reads_the_bounds_is_left_alone() -> None:
    before = model("<start = 1>")
    assert skip_reasons(ShapeToSlice(), before, target="trt-10.3") == []
    fixed, _ = run_pass(ShapeToSlice(), before, target="trt-8.6")
    assert ops(fixed) == ["Shape", "Slice"]


def test_scalars_have_an_empty_shape() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float x) => (int64[K] y) { y = Shape <start = 0, end = 1> (x) }"""
    everywhere = ShapeToSlice(everywhere=True)
    feeds = [{"x": np.asarray(1, np.float32)}]
    assert_rewrites(everywhere, text, after=["Shape", "Slice"], feeds=feeds)


def test_subgraphs_and_function_parameters() -> None:
    text = """<ir_version: 10, opset_import: ["" : 17, "my" : 1]>
    main (bool c, float[A, B] x) => (int64[K] y, int64[L] z) {
      y = If (c) <
        then_branch = one () => (int64[K] t) { t = Shape <start = 1> (x) },
        else_branch = two () => (int64[K] e) { e = Shape <end = 1> (x) }
      >
      z = my.f <from = 1> (x)
    }
    <domain: "my", opset_import: ["" : 17]>
    f <from> (a) => (b) { b = Shape <start: int = @from> (a) }"""
    fixed, results = run_pass(ShapeToSlice(everywhere=True), text)
    assert isinstance(fixed, ModelProto)
    assert [s.reason for s in results[-1].skipped] == [
        "its bounds are parameters of the function; inline it first"
    ]
    before, _ = run_pass([], text)
    for c in (True, False):
        feeds = {"c": np.asarray(c), "x": np.zeros((3, 5), np.float32)}
        assert_same_outputs(before, fixed, feeds)
