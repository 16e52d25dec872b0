"""CompressToGather: the same selection, spelled with NonZero."""

from __future__ import annotations

import numpy as np
import pytest
from onnx.backend.test.case.test_case import TestCase

import onnx_fix
from onnx_fix.contract import Exactness
from onnx_fix.testing import (
    as_proto,
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.compress_to_gather import CompressToGather

RANDOM = np.random.default_rng(3)


def header(opset: int = 13) -> str:
    return f'<ir_version: 8, opset_import: ["" : {opset}]>'


@pytest.mark.parametrize("opset", [9, 11, 13, 18])
@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_along_an_axis(opset: int, axis: int) -> None:
    if opset < 11 and axis < 0:
        pytest.skip("a negative axis came with operator set 11")
    feeds = []
    for shape in ((3, 4), (1, 1), (2, 0), (0, 3), (5, 2)):
        size = shape[axis]
        # The condition may be shorter than the axis.
        for length in {size, size // 2}:
            x = RANDOM.random(shape, np.float32)
            feeds.append({"x": x, "c": RANDOM.random(length) < 0.5})
    assert_rewrites(
        CompressToGather(),
        f"{header(opset)} g (float[A,B] x, bool[C] c) => (float[D,E] y)"
        f" {{ y = Compress <axis = {axis}> (x, c) }}",
        after=["NonZero", "Squeeze", "Gather"],
        feeds=feeds,
        target="trt-8.6",
    )


@pytest.mark.parametrize("dims", ["A", "A,B", "A,B,C"])
def test_flattened(dims: str) -> None:
    rank = dims.count(",") + 1
    feeds = []
    for shape in ((2, 3, 4), (1, 1, 1), (0, 2, 1)):
        x = RANDOM.integers(0, 9, shape[:rank])
        feeds.append({"x": x, "c": RANDOM.random(x.size) < 0.5})
    assert_rewrites(
        CompressToGather(),
        f"{header()} g (int64[{dims}] x, bool[N] c) => (int64[K] y) {{ y = Compress (x, c) }}",
        after=["Reshape", "NonZero", "Squeeze", "Gather"][rank == 1 :],
        feeds=feeds,
        target="trt-8.6",
    )


def test_an_unknown_rank_is_flattened_too() -> None:
    model = as_proto(
        f"{header()} g (float[A] x, int64[R] s, bool[N] c) => (float[K] y)"
        " { r = Reshape (x, s)  y = Compress (r, c) }"
    )
    fixed, _ = run_pass(CompressToGather(), model, target="trt-8.6")
    assert "Compress" not in ops(fixed)
    feeds = {
        "x": RANDOM.random(6, np.float32),
        "s": np.asarray([2, 3]),
        "c": RANDOM.random(6) < 0.5,
    }
    assert_same_outputs(model, fixed, feeds)


def test_in_a_branch() -> None:
    model = as_proto(
        f"{header()} g (bool b, float[A] x, bool[A] c) => (float[K] y) {{ y = If (b)"
        " <then_branch = t () => (float[L] p) { p = Compress <axis = 0> (x, c) },"
        "  else_branch = e () => (float[M] q) { q = Neg (x) }> }"
    )
    fixed, results = run_pass(CompressToGather(), model, target="trt-8.6")
    assert sum(len(r.changes) for r in results) == 1
    for b in (True, False):
        x, c = RANDOM.random(5, np.float32), RANDOM.random(5) < 0.5
        assert_same_outputs(model, fixed, {"b": np.asarray(b), "x": x, "c": c})


def test_an_axis_of_a_function_is_left() -> None:
    model = """<ir_version: 8, opset_import: ["" : 13, "my" : 1]>
    g (float[A,B] x, bool[A] c) => (float[K,B] y) { y = my.pick <axis = 0> (x, c) }
    <domain: "my", opset_import: ["" : 13]>
    pick <axis> (x, c) => (y) { y = Compress <axis: int = @axis> (x, c) }"""
    assert skip_reasons(CompressToGather(everywhere=True), model) == [
        "its axis is a parameter of the function around it"
    ]


def test_backend_nodes(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or case.model.graph.node[0].op_type != "Compress":
            continue
        fixed, _ = run_pass(CompressToGather(), case.model, target="trt-10.3")
        assert "Compress" not in ops(fixed)
        for inputs, outputs in case.data_sets or ():
            names = [i.name for i in case.model.graph.input]
            feeds = dict(zip(names, map(np.asarray, inputs), strict=True))
            for have, want in zip(run_reference(fixed, feeds), outputs, strict=True):
                np.testing.assert_array_equal(have, want)
        seen += 1
    assert seen >= 4


def test_what_follows_it_is_replaced_or_bounded() -> None:
    text = f"""{header()} g (float[A] x, float[A] z) => ({{}}) <float half = {{{{0.5}}}}> {{{{
      c = Greater (z, half)  v = Compress <axis = 0> (x, c)  {{}} }}}}"""
    total = as_proto(text.format("float s", "s = ReduceSum <keepdims = 0> (v)"))
    result = onnx_fix.fix(total, target="trt-7.2")
    assert result.ok and "NonZero" not in ops(result.model)
    assert not any(c.exactness is Exactness.CONTRACT for c in result.report.changes)
    rows = as_proto(text.format("float[K] y", "y = Exp (v)"))
    assert not onnx_fix.fix(rows, target="trt-7.2").ok
    bounded = onnx_fix.fix(rows, target="trt-7.2", max_count={"*": 30})
    assert bounded.ok and bounded.report.verification is not None
    assert [o.name for o in bounded.model.graph.output] == ["y", "y_count"]
