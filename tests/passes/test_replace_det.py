"""replace-det: determinants of small matrices."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.test_case import TestCase
from recorded import assert_recorded

from onnx_fix.testing import assert_rewrites, ops, run_model, run_pass, skip_reasons
from onnx_fix_passes.replace_det import ReplaceDet

PASS = ReplaceDet()
GATHERED = {
    1: ["Gather", "Gather"],
    2: ["Gather", "Gather", "Gather", "Mul", "Gather", "Gather", "Sub"],
}


def det(dims: str, opset: int = 11, out: str = "") -> str:
    return f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g (float[{dims}] x) => (float{out} y) {{ y = Det (x) }}"""


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("opset", [11, 22, 25])
def test_stacks(rows: int, opset: int) -> None:
    random = np.random.default_rng(rows)
    model = onnx.parser.parse_model(det(f"N, M, {rows}, {rows}", opset, "[N, M]"))
    for shape in ((2, 3), (1, 1), (0, 3)):
        x = random.standard_normal((*shape, rows, rows)).astype(np.float32)
        (have,) = run_model(run_pass(PASS, model)[0], {"x": x})
        assert have.shape == shape
        np.testing.assert_allclose(
            have.astype(np.float64), np.linalg.det(x.astype(np.float64)), 1e-4, 1e-5
        )
    if rows in GATHERED:
        x = random.standard_normal((2, 1, rows, rows)).astype(np.float32)
        feeds = [{"x": x}]
        assert_rewrites(PASS, model, after=GATHERED[rows], feeds=feeds, exact=False, rtol=1e-4)


def test_one_matrix() -> None:
    x = np.array([[2, -1, 3], [0, 4, 1], [5, 2, -2]], np.float32)
    (have,) = run_model(run_pass(PASS, det("3, 3"))[0], {"x": x})
    assert have.shape == () and have == np.linalg.det(x).round()


def test_refusals() -> None:
    assert "matrices of 4 rows" in skip_reasons(PASS, det("4, 4"))[0]
    assert "fix the last two dims" in skip_reasons(PASS, det("N, N"))[0]
    text = det("2, 2").replace("float", "double")
    assert "does not take 'x' for its type" in skip_reasons(PASS, text)[0]
    unknown = """<ir_version: 8, opset_import: ["" : 13]>
    g (float[N] x, int64[K] s) => (float y) { r = Reshape (x, s) y = Det (r) }"""
    assert "rank of its input is not known" in skip_reasons(PASS, unknown)[0]


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, float[2, 2] x) => (float y) {
      y = If (c) <
        then_branch = one () => (float t) { t = Det (x) },
        else_branch = two () => (float e) { e = Constant <value = float {1.0}> () }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch"}
    x = np.array([[1, 2], [3, 4]], np.float32)
    assert run_model(fixed, {"c": np.array(True), "x": x})[0] == -2
    assert ops(fixed) == ["If"]


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    changed, left = assert_recorded(PASS, node_cases, "rtx-1.7", "Det", tolerance=1e-5)
    assert len(changed) == 2 and not left
