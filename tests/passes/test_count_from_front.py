"""count-from-front: negative indices, for known and unknown sizes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import assert_rewrites, assert_same_outputs, ops, run_pass, skip_reasons
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


def sure(proto: onnx.ModelProto, target: str = "trt-7.2") -> bool:
    """Whether the target is known to take every node."""
    view = Model(proto, None, load_target(target))
    return all(s.judge(n).status == "supported" for s in view.scopes for n in s.graph.nodes)


@pytest.mark.parametrize(
    ("index", "dtype", "after"),
    [
        ("-1, -1", "int64", ["Shape", "Gather", "Add", "Gather"]),
        ("-1, -2", "int64", ["Shape", "Gather", "Add", "Where", "Gather"]),
        ("-1, 0", "int64", ["Shape", "Gather", "Add", "Where", "Gather"]),
        ("-2, -1", "int32", ["Shape", "Gather", "Cast", "Add", "Where", "Gather"]),
    ],
)
def test_sizes_of_run_time(index: str, dtype: str, after: list[str]) -> None:
    before = model(index, 0, dtype)
    fixed = assert_rewrites(CountFromFront(), before, after=after, feeds=feeds(5, 2))
    assert sure(fixed)


@pytest.mark.parametrize("index", ["-1, -2", "-1, 0"])
def test_operator_set_8(index: str) -> None:
    before = model(index, 0).replace(": 11]", ": 8]")
    assert_rewrites(
        CountFromFront(),
        before,
        after=["Shape", "Gather", "Add", "Gather"]
        if index == "-1, -2"
        else ["Shape", "Gather", "Mul", "Add", "Gather"],
        feeds=feeds(5, 2),
    )


def run_time(nodes: str, axis: int = 0, opset: int = 11, shape: str = "N, 4") -> str:
    return f"""<ir_version: 6, opset_import: ["" : {opset}]>
    g (float[{shape}] x, int64[K] k, int32[K] j) => (float[A, B] y) {{
        {nodes} y = Gather <axis = {axis}> (x, i)
    }}"""


@pytest.mark.parametrize(
    ("nodes", "axis", "added"),
    [
        ("i = Identity (k)", 0, ["Less", "Shape", "Gather", "Add", "Where"]),
        ("i = Identity (k)", 1, ["Less", "Add", "Where"]),
        ("i = Identity (k)", -1, ["Less", "Add", "Where"]),
        ("i = Identity (j)", -2, ["Less", "Shape", "Gather", "Cast", "Add", "Where"]),
    ],
)
def test_indices_of_run_time(nodes: str, axis: int, added: list[str]) -> None:
    before = run_time(nodes, axis)
    after = ["Identity", *added, "Gather"]
    places = [[0, -1, 3, -4], [-2], []]
    given = [
        {**feeds(4)[0], "k": np.array(p, np.int64), "j": np.array(p, np.int32)} for p in places
    ]
    fixed = assert_rewrites(CountFromFront(), before, after=after, feeds=given)
    assert sure(fixed)
    assert skip_reasons(CountFromFront(), before, target="trt-8.2") == []


@pytest.mark.parametrize(
    "nodes",
    [
        "a = Abs (k) i = Identity (a)",
        "z = Constant <value = int64 {0}> () s = Shape (x) n = Gather (s, z) b = Less (k, z) "
        "p = Add (n, k) i = Where (b, p, k)",
        "z = Constant <value = int64[1] {0}> () o = Constant <value = int64 {-1}> () "
        "s = Shape (x) n = Gather (s, z) i = Add (n, o)",
    ],
)
def test_indices_that_are_not_negative_stay(nodes: str) -> None:
    assert skip_reasons(CountFromFront(), run_time(nodes)) == []


@pytest.mark.parametrize(
    "nodes",
    [
        # Two from the end of a single row is a valid index, and negative.
        "z = Constant <value = int64[1] {0}> () o = Constant <value = int64 {-2}> () "
        "s = Shape (x) n = Gather (s, z) i = Add (n, o)",
        # The size of the other axis.
        "z = Constant <value = int64[1] {1}> () o = Constant <value = int64 {-1}> () "
        "f = Transpose (x) s = Shape (f) n = Gather (s, z) i = Add (n, o)",
        "z = Constant <value = int64 {0}> () s = Shape (k) n = Gather (s, z) b = Less (k, z) "
        "p = Add (n, k) i = Where (b, p, k)",
        "z = Constant <value = int64 {0}> () zj = Constant <value = int32 {0}> () "
        "s = Shape (x) n = Gather (s, z) b = Less (j, zj) p = Add (n, k) i = Where (b, p, k)",
    ],
)
def test_indices_that_may_be_negative(nodes: str) -> None:
    fixed, _ = run_pass(CountFromFront(), run_time(nodes))
    assert ops(fixed)[-2:] == ["Where", "Gather"]
    (x,) = feeds(1)
    given = {**x, "k": np.array([0]), "j": np.array([0], np.int32)}
    assert_same_outputs(onnx.parser.parse_model(run_time(nodes)), fixed, given)


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
    (reason,) = skip_reasons(CountFromFront(), run_time("i = Identity (k)", opset=8))
    assert "needs Where of operator set 9" in reason


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


def test_functions() -> None:
    head = """<ir_version: 10, opset_import: ["" : 14, "my" : 1]>
    g (float[N, 4] x, int64[M] i) => (float[M, 4] y) { y = my.f <m = 0> (x, i) }
    <opset_import: ["" : 14], domain: "my"> """
    (reason,) = skip_reasons(CountFromFront(), head + "f <m> (a, i) => (b) { b = Gather (a, i) }")
    assert reason == "the element type of its indices 'i' is not known"
    body = "f <m> (a, i) => (b) { b = Gather <axis: int = @m> (a, i) }"
    (reason,) = skip_reasons(CountFromFront(), head + body)
    assert "its axis is a parameter of the function" in reason
