"""carry-integers-as-floats: what moves whole numbers moves them as FP32."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto
from quantized_cases import TARGETS, assert_same, model, refused_ops

from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import assert_rewrites, assert_same_outputs, ops, run_pass, skip_reasons
from onnx_fix_passes._integer_ranges import range_of
from onnx_fix_passes.carry_integers_as_floats import CarryIntegersAsFloats

PASS = CarryIntegersAsFloats()
HELD = "r = Round(x) c = Clip(r, low, high) i = Cast <to = 2> (c)"
ENDS = "float low = {0}, float high = {255}"


def held(nodes: str, shape: str = "N, 4", out: str = "float[N, 4] y", more: str = "") -> ModelProto:
    """Nodes that read ``i``, whole numbers of UINT8 that were floats."""
    return model(f"(float[{shape}] x) => ({out}) <{ENDS}{more}> {{ {HELD} {nodes} }}")


MOVES = [
    ("m = Identity(i)", "", "float[N, 4] y", "Identity"),
    ("m = Reshape(i, k)", ", int64[1] k = {-1}", "float[M] y", "Reshape"),
    ("m = Transpose(i)", "", "float[4, N] y", "Transpose"),
    ("m = Flatten(i)", "", "float[N, 4] y", "Flatten"),
    ("m = Concat <axis = 0> (i, i)", "", "float[M, 4] y", "Concat"),
    ("m = Concat <axis = 0> (i, w)", ", uint8[1, 4] w = {1, 2, 3, 255}", "float[M, 4] y", "Concat"),
    ("m = Gather <axis = 1> (i, k)", ", int64[2] k = {1, 3}", "float[N, 2] y", "Gather"),
    ("m = Unsqueeze(i, k)", ", int64[1] k = {0}", "float[1, N, 4] y", "Unsqueeze"),
    ("m = Slice(i, k, e, k)", ", int64[1] k = {1}, int64[1] e = {3}", "float[N, 2] y", "Slice"),
    ("m = Expand(i, k)", ", int64[3] k = {2, 1, 4}", "float[2, N, 4] y", "Expand"),
]


@pytest.mark.parametrize(("nodes", "more", "out", "op"), MOVES)
@pytest.mark.parametrize("target", ["trt-8.2", "trt-10.3", "rtx-1.7"])
def test_moves(nodes: str, more: str, out: str, op: str, target: str) -> None:
    before = held(nodes + " f = Cast <to = 1> (m) y = Neg(f)", out=out, more=more)
    after = ["Round", "Clip", op, "Neg"]
    fixed = assert_rewrites(PASS, before, after=after, target=target)
    assert "Cast" not in ops(fixed) and refused_ops(fixed, target) == []
    assert_same(before, fixed)


def test_pooling_and_splits() -> None:
    nodes = """p = MaxPool <kernel_shape = [2, 2], pads = [1, 1, 0, 0]> (i)
    a, b = Split <axis = 1> (p, k) f = Cast <to = 1> (a) y = Neg(f) z = Cast <to = 10> (b)"""
    before = held(
        nodes,
        "1, 2, N, 4",
        "float[1, 1, N, 4] y, float16[1, 1, N, 4] z",
        ", int64[2] k = {1, 1}",
    )
    after = ["Round", "Clip", "MaxPool", "Split", "Neg", "Cast"]
    fixed = assert_rewrites(PASS, before, after=after, target="rtx-1.7")
    assert_same(before, fixed, (5, 1))


def test_a_chain_is_done_in_one_run() -> None:
    """The passes that widen types come before this one in the next round."""
    nodes = """a = Transpose (i) b = Reshape (a, k) m = Concat <axis = 0> (b, b, w)
    f = Cast <to = 1> (m) y = Neg (f)"""
    before = held(nodes, out="float[M] y", more=", int64[1] k = {-1}, uint8[3] w = {0, 77, 255}")
    fixed, _ = run_pass(PASS, before, target="rtx-1.7", rounds=1)
    assert ops(fixed) == ["Round", "Clip", "Transpose", "Reshape", "Concat", "Neg"]
    assert_same(before, fixed)


def test_the_cast_of_an_output_stays() -> None:
    before = held("y = Cast <to = 1> (i)", out="float[N, 4] y, uint8[N, 4] i")
    fixed, _ = run_pass(PASS, before, target="rtx-1.7")
    assert sorted(ops(fixed)) == ["Cast", "Clip", "Identity", "Round"]
    assert refused_ops(fixed, "rtx-1.7") == []
    assert_same(before, fixed)


def test_constants_that_are_looked_up() -> None:
    before = model(
        """(int64[N] k) => (float[N, 2] y) <uint8[3, 2] w = {1, 2, 3, 255, 5, 6}> {
        g = Gather(w, k) f = Cast <to = 1> (g) y = Neg(f) }"""
    )
    fixed = assert_rewrites(PASS, before, after=["Gather", "Neg"], target="rtx-1.7")
    assert_same_outputs(before, fixed, {"k": np.array([2, 0, 1, 1])})


@pytest.mark.parametrize(
    "nodes",
    [
        "i = Cast <to = 2> (x) y = Cast <to = 1> (i)",
        "r = Round(x) c = Clip(r, high, high) d = Add(c, x) i = Cast <to = 2> (d) "
        "y = Cast <to = 1> (i)",
        "c = Clip(x, low, high) i = Cast <to = 2> (c) y = Cast <to = 1> (i)",
        "r = Round(x) i = Cast <to = 2> (r) y = Cast <to = 1> (i)",
        "r = Round(x) c = Clip(r, low, high) i = Cast <to = 3> (c) y = Cast <to = 1> (i)",
    ],
)
def test_fractions_and_other_ranges_are_left_alone(nodes: str) -> None:
    before = model(f"(float[N, 4] x) => (float[N, 4] y) <{ENDS}> {{ {nodes} }}")
    for target in TARGETS:
        assert run_pass(PASS, before, target=target)[0] == before


def test_a_cast_to_a_smaller_type_stays() -> None:
    before = held("j = Cast <to = 3> (i) y = Cast <to = 1> (j)")
    fixed, _ = run_pass(PASS, before, target="rtx-1.7")
    assert ops(fixed).count("Cast") == 3


def test_zero_points_cancel() -> None:
    before = model(
        """(float[N, 4] x) => (float[N, 4] y) <float low = {-7}, float high = {248}, float z = {7}>
        { r = Round(x) c = Clip(r, low, high) a = Add(c, z) i = Cast <to = 2> (a)
        f = Cast <to = 1> (i) y = Sub(f, z) }"""
    )
    fixed, _ = run_pass(PASS, before, target="rtx-1.7")
    assert ops(fixed)[:2] == ["Round", "Clip"] and not {"Cast", "Add", "Sub"} & set(ops(fixed))
    assert_same(before, fixed)


@pytest.mark.parametrize("nodes", ["a = Add(x, z) y = Sub(a, z)", "a = Add(x, z) y = Sub(a, w)"])
def test_other_shifts_stay(nodes: str) -> None:
    before = model(f"(float[N] x) => (float[N] y) <float z = {{7}}, float w = {{8}}> {{ {nodes} }}")
    assert run_pass(PASS, before, target="rtx-1.7")[0] == before


def test_bodies() -> None:
    before = model(
        f"""(bool c0, float[N, 4] x) => (float[N, 4] y) <{ENDS}> {{ {HELD}
        y = If (c0) <then_branch = one () => (float[N, 4] t) {{ t = Cast <to = 1> (i) }},
                     else_branch = two () => (float[N, 4] e) {{ e = Neg (x) }}> }}"""
    )
    fixed, results = run_pass(PASS, before, target="rtx-1.7")
    assert [s.scope for r in results for s in r.changes] == ["y/then_branch"]
    x = np.array([[1, 2.5, 300, -7]], np.float32)
    for way in (True, False):
        assert_same_outputs(before, fixed, {"c0": np.array(way), "x": x})


def test_functions_of_unknown_types() -> None:
    text = """<ir_version: 10, opset_import: ["" : 13, "my" : 1]>
    g (float[N] x) => (float[N] y) { y = my.f (x) }
    <opset_import: ["" : 13], domain: "my"> f (x) => (y) {
    i = Cast <to = 2> (x) r = Identity (i) y = Cast <to = 1> (r) }"""
    assert skip_reasons(PASS, text, target="rtx-1.7") == []


RANGES = [
    ("y = Round(x)", (-np.inf, np.inf, True)),
    ("y = Clip(x, low, high)", (0, 255, False)),
    ("r = Round(x) y = Clip(r, low, high)", (0, 255, True)),
    ("r = Floor(x) y = Clip(r, low, half)", (0, 0.5, False)),
    ("r = Clip(x, low, half) y = Ceil(r)", (0, 1, True)),
    ("r = Round(x) c = Clip(r, low, high) y = Add(c, three)", (3, 258, True)),
    ("r = Round(x) c = Clip(r, low, high) y = Sub(three, c)", (-252, 3, True)),
    ("r = Round(x) c = Clip(r, low, high) y = Mul(c, c)", (0, 65025, True)),
    ("r = Round(x) c = Clip(r, low, high) y = Mul(c, half)", (0, 127.5, False)),
    ("i = Cast <to = 9> (x) y = Cast <to = 1> (i)", (0, 1, True)),
    ("i = Cast <to = 3> (x) y = Cast <to = 1> (i)", (-128, 127, True)),
    ("y = Clip(x, high, low)", (-np.inf, np.inf, False)),
]


@pytest.mark.parametrize(("nodes", "wanted"), RANGES)
def test_ranges(nodes: str, wanted: tuple[float, float, bool]) -> None:
    more = ", float half = {0.5}, float three = {3}"
    proto = model(f"(float[N] x) => (float[N] y) <{ENDS}{more}> {{ {nodes} }}")
    scope = Model(proto, None, load_target("rtx-1.7")).scopes[0]
    found = range_of(scope, scope.tensors["y"])
    assert (found.low, found.high, found.whole) == wanted


def test_long_chains_end() -> None:
    """A search that does not come to an end knows nothing, and takes no time for it."""
    chain = " ".join(f"a{k + 1} = Add(a{k}, a{k})" for k in range(400))
    proto = model(f"(float[N] a0) => (float[N] y) {{ {chain} y = Identity(a400) }}")
    scope = Model(proto, None, load_target("rtx-1.7")).scopes[0]
    assert not range_of(scope, scope.tensors["y"]).whole


@given(st.lists(st.floats(-400, 400, width=32), max_size=12), st.integers(0, 255))
@settings(max_examples=30, deadline=None)
def test_any_numbers(values: list[float], zero: int) -> None:
    before = model(
        f"""(float[N] x) => (float[N] y) <float low = {{{-zero}}}, float high = {{{255 - zero}}},
        float z = {{{zero}}}> {{ r = Round(x) c = Clip(r, low, high) a = Add(c, z)
        i = Cast <to = 2> (a) m = Identity(i) f = Cast <to = 1> (m) y = Sub(f, z) }}"""
    )
    fixed, _ = run_pass(PASS, before, target="trt-8.2")
    assert "Cast" not in ops(fixed)
    assert_same_outputs(before, fixed, {"x": np.array(values, np.float32)})
