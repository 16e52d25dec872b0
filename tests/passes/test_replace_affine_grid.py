"""replace-affine-grid: sums of products along the axes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.contract import Exactness
from onnx_fix.testing import assert_same_outputs, ops, run_model, run_pass, skip_reasons
from onnx_fix_passes.replace_affine_grid import ReplaceAffineGrid

PASS = ReplaceAffineGrid()


def model(signature: str, body: str) -> str:
    return f'<ir_version: 9, opset_import: ["" : 20]> g {signature} {{ {body} }}'


def grid(count: int, aligned: int, size: list[int] | None, kind: str = "float") -> str:
    out = ", ".join(f"D{k}" for k in range(count + 2))
    call = f"y = AffineGrid <align_corners = {aligned}> (t, s)"
    theta = f"{kind}[N, {count}, {count + 1}] t"
    if size is None:
        return model(f"({theta}, int64[{count + 2}] s) => ({kind}[{out}] y)", call)
    values = ", ".join(map(str, size))
    sizes = f"s = Constant <value = int64[{count + 2}] {{{values}}}> () "
    return model(f"({theta}) => ({kind}[{out}] y)", sizes + call)


def thetas(batch: int, count: int, kind: str = "f4") -> NDArray[np.generic]:
    random = np.random.default_rng(2).standard_normal((batch, count, count + 1))
    return np.asarray(random.astype(kind))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_sizes(data: st.DataObject) -> None:
    """Constant and run-time sizes, 2-D and 3-D, a batch of one too."""
    count, aligned = data.draw(st.sampled_from([2, 3])), data.draw(st.integers(0, 1))
    sizes = data.draw(st.lists(st.integers(1 + aligned, 5), min_size=count, max_size=count))
    batch = data.draw(st.integers(1, 3))
    whole = [batch, 4, *sizes]
    frozen: bool = data.draw(st.booleans())
    wide: bool = data.draw(st.booleans())
    kind = ("double", "f8") if wide else ("float", "f4")
    before = grid(count, aligned, whole if frozen else None, kind[0])
    fixed, results = run_pass(PASS, before, target="trt-10.3")
    assert "AffineGrid" not in ops(fixed)
    (change,) = (c for r in results for c in r.changes)
    assert change.exactness is Exactness.ROUNDING
    assert bool(change.note) == (aligned and not frozen)
    feed = {"t": thetas(batch, count, kind[1])}
    if not frozen:
        feed["s"] = np.asarray(whole, np.int64)
    assert_same_outputs(
        onnx.parser.parse_model(before), fixed, feed, exact=False, rtol=1e-4, atol=1e-5
    )


def test_few_nodes_for_constant_sizes() -> None:
    fixed, _ = run_pass(PASS, grid(2, 0, [1, 3, 4, 5]), target="trt-10.3")
    kinds = [op for op in ops(fixed) if op != "Constant"]
    assert sorted(kinds) == sorted(
        ["Gather", "Unsqueeze"] * 3 + ["Unsqueeze"] * 2 + ["Mul"] * 2 + ["Add"] * 2
    )


def test_sizes_from_another_tensor() -> None:
    before = model(
        "(float[N, 2, 3] t, float[N, 3, H, 4] x) => (float[N, H, 4, 2] y)",
        "s = Shape (x) y = AffineGrid (t, s)",
    )
    fixed, _ = run_pass(PASS, before, target="trt-10.3")
    assert ops(fixed).count("Range") == 1
    for n, h in ((2, 3), (1, 1)):
        feed = {"t": thetas(n, 2), "x": np.zeros((n, 3, h, 4), np.float32)}
        assert_same_outputs(onnx.parser.parse_model(before), fixed, feed, exact=False)


@pytest.mark.parametrize("frozen", [True, False])
def test_half_precision(frozen: bool) -> None:
    sizes = [2, 3, 4, 5]
    before = grid(2, 0, sizes if frozen else None, "float16")
    fixed, _ = run_pass(PASS, before, target="trt-10.3")
    twin = onnx.parser.parse_model(grid(2, 0, sizes if frozen else None))
    feed = {"t": thetas(2, 2, "f2")} | ({} if frozen else {"s": np.asarray(sizes)})
    (have,) = run_model(fixed, feed)
    assert have.dtype == np.float16
    (want,) = run_model(twin, {**feed, "t": thetas(2, 2)})
    np.testing.assert_allclose(
        have.astype(np.float32), want.astype(np.float32), rtol=0.01, atol=0.01
    )


def test_inside_a_branch() -> None:
    before = model(
        "(float[N, 2, 3] t, bool c) => (float[N, 4, 5, 2] y)",
        "s = Constant <value = int64[4] {2, 3, 4, 5}> () "
        "y = If (c) < then_branch = u () => (float[N, 4, 5, 2] a) { a = AffineGrid (t, s) }, "
        "else_branch = v () => (float[N, 4, 5, 2] b) { h = AffineGrid (t, s) b = Neg (h) } >",
    )
    fixed, _ = run_pass(PASS, before, target="trt-10.3")
    for c in (True, False):
        feed = {"t": thetas(2, 2), "c": np.asarray(c)}
        assert_same_outputs(onnx.parser.parse_model(before), fixed, feed, exact=False)


def test_what_is_left_alone() -> None:
    (reason,) = skip_reasons(PASS, grid(2, 1, [2, 3, 1, 5]), target="trt-10.3")
    assert "a size is 1 and align_corners is set" in reason
    unknown = model(
        "(float[N, K, L] t, int64[R] s) => (float[A, B, C, D] y)", "y = AffineGrid (t, s)"
    )
    (reason,) = skip_reasons(PASS, unknown, target="trt-10.3")
    assert "whether the grid is 2-D or 3-D" in reason
    inside = """<ir_version: 9, opset_import: ["" : 20, "f" : 1]>
    g (float[2, 2, 3] t, int64[4] s) => (float[2, A, B, 2] y) { y = f.grid <k = 1> (t, s) }
    <domain: "f", opset_import: ["" : 20]> grid <k> (t, s) => (y) {
        y = AffineGrid <align_corners : int = @k> (t, s) }"""
    (reason,) = skip_reasons(PASS, inside, target="trt-10.3")
    assert "align_corners is a parameter" in reason


def test_the_node_tests(node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or ops(case.model) != ["AffineGrid"]:
            continue
        fixed, _ = run_pass(PASS, case.model, target="trt-10.3")
        assert "AffineGrid" not in ops(fixed)
        for given_, _ in case.data_sets or []:
            names = [v.name for v in case.model.graph.input]
            feed = dict(zip(names, map(np.asarray, given_), strict=True))
            assert_same_outputs(case.model, fixed, feed, exact=False, rtol=1e-4, atol=1e-5)
        seen += 1
    assert seen >= 4
