"""count-from-front: constant negative indices, for known and unknown sizes."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_fix.testing import assert_rewrites, run_pass, skip_reasons
from onnx_fix_passes.count_from_front import CountFromFront


def model(index: str, axis: int, dtype: str = "int64", shape: str = "N, 4") -> str:
    return f"""<ir_version: 6, opset_import: ["" : 11]>
    g (float[{shape}] x) => (float[A, B] y) <{dtype}[2] i = {{{index}}}> {{
        y = Gather <axis = {axis}> (x, i)
    }}"""


def feeds(*rows: int) -> list[dict[str, np.ndarray]]:
    return [{"x": np.arange(4 * n, dtype=np.float32).reshape(n, 4)} for n in rows]


@pytest.mark.parametrize("dtype", ["int64", "int32"])
@pytest.mark.parametrize("axis", [1, -1])
def test_known_sizes(dtype: str, axis: int) -> None:
    fixed = assert_rewrites(
        CountFromFront(), model("-1, 2", axis, dtype), after=["Gather"], feeds=feeds(3, 1, 0)
    )
    (indices,) = fixed.graph.initializer
    assert np.frombuffer(indices.raw_data, dtype).tolist() == [3, 2]


@pytest.mark.parametrize(
    ("index", "dtype", "after"),
    [
        ("-1, -2", "int64", ["Shape", "Gather", "Add", "Gather"]),
        ("-1, 0", "int64", ["Shape", "Gather", "Mul", "Add", "Gather"]),
        ("-2, -1", "int32", ["Shape", "Gather", "Cast", "Add", "Gather"]),
    ],
)
def test_sizes_of_run_time(index: str, dtype: str, after: list[str]) -> None:
    assert_rewrites(CountFromFront(), model(index, 0, dtype), after=after, feeds=feeds(5, 2))


def test_a_scalar_index_drops_the_axis() -> None:
    text = """<ir_version: 6, opset_import: ["" : 11]>
    g (float[N, 4] x) => (float[A] y) <int64 i = {-1}> { y = Gather <axis = 0> (x, i) }"""
    after = ["Shape", "Gather", "Add", "Gather"]
    assert_rewrites(CountFromFront(), text, after=after, feeds=feeds(5, 1))


def test_what_is_left_alone() -> None:
    assert skip_reasons(CountFromFront(), model("1, 2", 1)) == []
    assert skip_reasons(CountFromFront(), model("-1, 2", 1), target="trt-8.6") == []
    text = (
        model("-1, 2", -1)
        .replace("float[N, 4] x", "float[N, 4] z")
        .replace("y = Gather", "x = my.unknown (z)  y = Gather")
        .replace('["" : 11]', '["" : 11, "my" : 1]')
    )
    (reason,) = skip_reasons(CountFromFront(), text)
    assert "rank of 'x' is not known" in reason


def test_bodies() -> None:
    text = """<ir_version: 6, opset_import: ["" : 11]>
    g (bool c, float[3] x) => (float y) <int64 i = {-1}> {
      y = If (c) <
        then_branch = one () => (float t) { t = Gather (x, i) },
        else_branch = two () => (float e) { e = ReduceMax <keepdims = 0> (x) }
      >
    }"""
    _, results = run_pass(CountFromFront(), text)
    assert [c.scope for r in results for c in r.changes] == ["y/then_branch"]
