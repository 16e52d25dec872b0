"""vector-to-matrix: the vector of a MatMul becomes a matrix of one row or column."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from judged import refused
from numpy.typing import NDArray
from onnx.backend.test.case.test_case import TestCase
from recorded import array

from onnx_fix.testing import assert_rewrites, assert_same_outputs, ops, run_pass, skip_reasons
from onnx_fix_passes.vector_to_matrix import VectorToMatrix

PASS = VectorToMatrix()
ALWAYS = VectorToMatrix(everywhere=True)
RNG = np.random.default_rng(3)


def text(left: str, right: str, rank: int, *, dtype: str = "float", opset: int = 13) -> str:
    shape = f"[{', '.join('PQRS'[:rank])}]" if rank else ""
    head = f'<ir_version: 8, opset_import: ["" : {opset}]> g'
    given = f"({dtype}[{left}] x, {dtype}[{right}] w) => ({dtype}{shape} y)"
    return f"{head} {given} {{ y = MatMul (x, w) }}"


def floats(*shape: int, dtype: type[np.generic] = np.float32) -> NDArray[np.generic]:
    return RNG.integers(-4, 5, shape).astype(dtype)


@pytest.mark.parametrize("opset", [9, 13, 25])
@pytest.mark.parametrize(("stack", "shapes"), [
    ("2, 4, 3", [(2, 4, 3)]),
    ("B, K, N", [(2, 4, 3), (1, 4, 1), (3, 4, 2), (0, 4, 2)]),
    ("A, B, 4, N", [(2, 3, 4, 2), (1, 1, 4, 1)]),
    ("1, 2, 4, 3", [(1, 2, 4, 3)]),
])  # fmt: skip
def test_a_vector_by_a_stack(stack: str, shapes: list[tuple[int, ...]], opset: int) -> None:
    rank = len(shapes[0]) - 1
    feeds = [{"x": floats(4), "w": floats(*shape)} for shape in shapes]
    after = ["Unsqueeze", "MatMul", "Squeeze"]
    model = text("4", stack, rank, opset=opset)
    fixed = assert_rewrites(PASS, model, after=after, feeds=feeds, target="rtx-1.7")
    assert refused(fixed, "rtx-1.7") == []


@pytest.mark.parametrize(("left", "right", "rank"), [
    ((2, 3, 4), (4,), 2),
    ((4,), (4,), 0),
    ((3, 4), (4,), 1),
    ((4,), (4, 3), 1),
])  # fmt: skip
def test_all_products_with_vectors(
    left: tuple[int, ...], right: tuple[int, ...], rank: int
) -> None:
    model = text(", ".join(map(str, left)), ", ".join(map(str, right)), rank, dtype="double")
    assert skip_reasons(PASS, model, target="rtx-1.7") == []
    feed = {"x": floats(*left, dtype=np.float64), "w": floats(*right, dtype=np.float64)}
    before = onnx.parser.parse_model(model)
    after, _ = run_pass(ALWAYS, before, target="rtx-1.7")
    assert "Unsqueeze" in ops(after) and ops(after)[-1] == "Squeeze"
    assert_same_outputs(before, after, feed)


def test_matrices_are_left() -> None:
    assert skip_reasons(ALWAYS, text("2, 3", "2, 3, 4", 3), target="rtx-1.7") == []


def test_an_unknown_rank() -> None:
    model = (
        '<ir_version: 8, opset_import: ["" : 13]> g (float[4] x, float[N] v, int64[K] k) => '
        "(float[A, B] y) { w = Reshape (v, k) y = MatMul (x, w) }"
    )
    assert skip_reasons(ALWAYS, model, target="rtx-1.7") == ["the rank of 'w' is not known"]


def test_a_branch() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]> '
        "g (bool c, float[4] x, float[2, 4, 3] w) => (float[2, 3] y) "
        "{ y = If (c) <then_branch = a () => (float[2, 3] t) { t = MatMul (x, w) }, "
        "else_branch = b () => (float[2, 3] e) { s = MatMul (x, w) e = Neg (s) }> }"
    )
    after, results = run_pass(PASS, model, target="rtx-1.7")
    assert len([c for r in results for c in r.changes]) == 2
    for c in (True, False):
        feed = {"c": np.asarray(c), "x": floats(4), "w": floats(2, 4, 3)}
        assert_same_outputs(model, after, feed)


def test_node_tests(node_models: dict[str, onnx.ModelProto], node_cases: list[TestCase]) -> None:
    names = [n for n in node_models if n.startswith("test_matmul_") and "1d" in n]
    assert {"test_matmul_1d_3d", "test_matmul_4d_1d", "test_matmul_1d_1d"} <= set(names)
    cases = {c.name: c for c in node_cases if c.name in names}
    for name in names:
        after, _ = run_pass(ALWAYS, node_models[name], target="rtx-1.7")
        assert "Unsqueeze" in ops(after)
        for inputs, _ in cases[name].data_sets or []:
            given = dict(zip([v.name for v in after.graph.input], map(array, inputs), strict=True))
            assert_same_outputs(node_models[name], after, given, exact=False)
