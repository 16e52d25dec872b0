"""select-branches: both branches and a choice between them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onnx_fix.testing import assert_rewrites, assert_same_outputs, ops, run_pass, skip_reasons
from onnx_fix_passes.select_branches import SelectBranches

PASS = SelectBranches()
ALWAYS = SelectBranches(everywhere=True)


def text(signature: str, body: str, opset: int = 13) -> str:
    return f'<ir_version: 8, opset_import: ["" : {opset}]> g {signature} {{ {body} }}'


def branches(then: str, other: str, kind: str = "float[A]") -> str:
    return (
        f"y = If (c) < then_branch = t () => ({kind} a) {{ {then} }}, "
        f"else_branch = e () => ({kind.replace('[A]', '[B]')} b) {{ {other} }} >"
    )


def feed(
    c: bool, *shape: int, flag: tuple[int, ...] = (), kind: str = "f4"
) -> dict[str, NDArray[np.generic]]:
    values = np.random.default_rng(1).integers(-9, 9, shape).astype(kind)
    return {"x": values, "c": np.full(flag, c)}


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("target", ["trt-7.1", "trt-7.2"])
def test_a_choice(opset: int, target: str) -> None:
    before = text(
        "(float[N] x, bool c) => (float[N] y)",
        branches("a = Relu (x)", "h = Neg (x) b = Exp (h)", "float[N]"),
        opset,
    )
    feeds = [feed(c, n) for c in (True, False) for n in (3, 1, 0)]
    fixed = assert_rewrites(
        PASS, before, after=["Relu", "Neg", "Exp", "Where"], feeds=feeds, target=target
    )
    assert fixed.graph.output[0].name == "y"
    assert skip_reasons(PASS, before, target="trt-8.6") == []


@pytest.mark.parametrize("flag", ["bool[1]", "bool", "bool[1, 1]"])
@pytest.mark.parametrize("shape", ["", "[N]", "[2, N]"])
def test_ranks_of_the_condition(flag: str, shape: str) -> None:
    before = text(
        f"(float{shape} x, {flag} c) => (float{shape} y)",
        branches("a = Relu (x)", "b = Neg (x)", f"float{shape}"),
    )
    sizes = {"": (), "[N]": (3,), "[2, N]": (2, 3)}[shape]
    ones = (1,) * {"bool": 0, "bool[1]": 1, "bool[1, 1]": 2}[flag]
    fixed, _ = run_pass(PASS, before)
    assert "If" not in ops(fixed)
    for c in (True, False):
        given_ = feed(c, *sizes, flag=ones)
        given_["x"] = np.asarray(given_["x"], np.float32)
        assert_same_outputs(onnx.parser.parse_model(before), fixed, given_)


def test_what_is_not_chosen_does_not_leak() -> None:
    before = text("(float[N] x, bool c) => (float[N] y)", branches("a = Log (x)", "b = Neg (x)"))
    fixed, _ = run_pass(PASS, before)
    x = np.asarray([-1, 0, 2, np.inf, np.nan], np.float32)
    for c in (True, False):
        assert_same_outputs(onnx.parser.parse_model(before), fixed, {"x": x, "c": np.asarray(c)})


def test_several_outputs_and_one_that_nobody_reads() -> None:
    before = text(
        "(float[N] x, bool c) => (float[N] y, float[N] z)",
        "y, u, z = If (c) < then_branch = t () => (float[N] a, float[P] l, float[N] o) "
        "{ a = Neg (x) l = NonZero (x) o = Identity (x) }, "
        "else_branch = e () => (float[N] b, float[Q] m, float[N] p) "
        "{ b = Identity (x) m = Identity (x) p = Neg (b) } >".replace("float[P] l", "int64[1, P] l")
        .replace("float[Q] m", "int64[1, Q] m")
        .replace("m = Identity (x)", "m = NonZero (x)"),
    )
    fixed, _ = run_pass(PASS, before)
    assert sorted(ops(fixed)) == ["Neg", "Neg", "Where", "Where"]
    for c in (True, False):
        assert_same_outputs(onnx.parser.parse_model(before), fixed, feed(c, 3))


def test_booleans() -> None:
    before = text(
        "(float[N] x, bool c) => (bool[N] y)",
        branches(
            "z = Constant <value = float {0.0}> () a = Greater (x, z)",
            "z = Constant <value = float {0.0}> () b = Less (x, z)",
            "bool[A]",
        ),
    )
    fixed, _ = run_pass(PASS, before)
    assert ops(fixed) == ["Greater", "Less", "Not", "And", "And", "Or"]
    for c in (True, False):
        assert_same_outputs(onnx.parser.parse_model(before), fixed, feed(c, 4))
    fixed, _ = run_pass(ALWAYS, before, target="trt-10.3")
    assert ops(fixed) == ["Greater", "Less", "Where"]


def test_sibling_branches_with_the_same_names_and_weights() -> None:
    before = text(
        "(float[N, 2] x, bool c) => (float[N, 2] y)",
        "y = If (c) < then_branch = t () => (float[N, 2] o) <float[2, 2] w = {1., 2., 3., 4.}> "
        "{ h = MatMul (x, w) o = Relu (h) }, "
        "else_branch = e () => (float[N, 2] o) <float[2, 2] w = {5., 6., 7., 8.}> "
        "{ h = MatMul (x, w) o = Neg (h) } >",
    )
    fixed, _ = run_pass(PASS, before)
    assert sorted(ops(fixed)) == ["MatMul", "MatMul", "Neg", "Relu", "Where"]
    for c in (True, False):
        assert_same_outputs(onnx.parser.parse_model(before), fixed, feed(c, 3, 2))


def test_an_if_in_a_branch_and_an_if_in_a_loop() -> None:
    inner = branches("a = Relu (x)", "b = Neg (x)").replace("y = If (c)", "i = If (d)")
    before = text(
        "(float[N] x, bool c, bool d) => (float[N] y)",
        f"y = If (c) < then_branch = u () => (float[N] p) {{ {inner} p = Exp (i) }}, "
        "else_branch = v () => (float[N] q) { q = Abs (x) } >",
    )
    fixed, _ = run_pass(PASS, before)
    assert sorted(ops(fixed)) == ["Abs", "Exp", "Neg", "Relu", "Where", "Where"]
    for c in (True, False):
        for d in (True, False):
            given_ = {**feed(c, 3), "d": np.asarray(d)}
            assert_same_outputs(onnx.parser.parse_model(before), fixed, given_)
    looped = text(
        "(float[3] x, bool c, int64 m) => (float[3] y)",
        "k = Constant <value = bool {1}> () y = Loop (m, k, x) < "
        "body = l (int64 i, bool p, float[3] s) => (bool q, float[3] r) { q = Identity (p) "
        + branches("a = Add (s, x)", "b = Neg (s)", "float[3]").replace("y = If", "r = If")
        + " } >",
    )
    fixed, _ = run_pass(PASS, looped)
    inside = [n.op_type for a in fixed.graph.node[-1].attribute for n in a.g.node]
    assert sorted(inside) == ["Add", "Identity", "Neg", "Where"]
    for c in (True, False):
        given_ = {**feed(c, 3), "m": np.asarray(3)}
        assert_same_outputs(onnx.parser.parse_model(looped), fixed, given_)


K = "k = Constant <value = int64 {1}> () "


@pytest.mark.parametrize(
    ("then", "other", "reason"),
    [
        ("a = Relu (x)", f"{K} b = Unsqueeze (x, o)", "the shapes [N] and [1, N]"),
        ("a = Relu (x)", "b = Identity (w)", "[N] and [M], which are not known to be the same"),
        ("a = Add (x, w)", "b = Identity (x)", "shapes [?] and [N]"),
        (
            "h = Add (x, w) s = Shape (h) g = Cast <to = 1> (s) k = Mul (x, g) a = Relu (x) ",
            "b = Abs (x)",
            "",
        ),
        (f"{K} h = Gather (x, i) a = Mul (x, h)", "b = Abs (x)", "a Gather in a branch may fail"),
        (
            "h = Cast <to = 7> (x) l = Div (i, i) k = Cast <to = 1> (l) a = Mul (x, k)",
            "b = Abs (x)",
            "a Div in a branch may fail",
        ),
        ("h = RandomNormalLike (x) a = Add (x, h)", "b = Abs (x)", "draws random numbers"),
        (
            "s = Shape (w) h = Reshape (x, s) k = Size (h) l = Cast <to = 1> (k) a = Mul (x, l)",
            "b = Abs (x)",
            "a Reshape in a branch may fail",
        ),
    ],
)
def test_what_is_left_alone(then: str, other: str, reason: str) -> None:
    body = "o = Constant <value = int64[1] {0}> () " + branches(then, other)
    signature = "(float[N] x, float[M] w, int64 i, bool c) => (float[P] y)"
    if not reason:
        fixed, _ = run_pass(PASS, text(signature, body))
        assert "If" not in ops(fixed)
        return
    (said,) = skip_reasons(PASS, text(signature, body))
    assert reason in said


def test_how_long_the_branches_may_be() -> None:
    rows = " ".join(f"a{k + 1} = Neg (a{k})" for k in range(40)).replace("a0", "x")
    body = branches(rows.replace("a40", "a"), "b = Abs (x)", "float[N]")
    signature = "(float[N] x, bool c) => (float[N] y)"
    (said,) = skip_reasons(SelectBranches(limit_nodes=40), text(signature, body))
    assert "more than 40 nodes" in said
    fixed, _ = run_pass(PASS, text(signature, body))
    assert ops(fixed).count("Neg") == 40
    # A release that may take it, for what it declares, keeps a long one.
    doubtful = text(signature, body.replace("float[N] b", "float[K] b"))
    (said,) = skip_reasons(PASS, doubtful, target="trt-8.6")
    assert "more than 32 nodes" in said


def test_symbols_that_only_a_branch_declares() -> None:
    """Both branches call their size A; it is another one."""
    before = text(
        "(float[N] x, float[M] w, bool c) => (float[P] y)",
        "y = If (c) < then_branch = t () => (float[A] a) { a = Relu (x) }, "
        "else_branch = e () => (float[A] b) { b = Relu (w) } >",
    )
    (said,) = skip_reasons(PASS, before)
    assert "[N] and [M]" in said


def test_the_squeeze_of_a_dim_that_is_not_known() -> None:
    before = text(
        "(float[N, M] x) => (float[A] y)",
        "s = Shape (x) k = Constant <value = int64 {1}> () d = Gather (s, k) c = Equal (d, k) "
        "y = If (c) < then_branch = t () => (float[A] a) { "
        "ax = Constant <value = int64[1] {1}> () a = Squeeze (x, ax) }, "
        "else_branch = e () => (float[B, C] b) { b = Identity (x) } >",
    )
    (said,) = skip_reasons(PASS, before)
    assert "asks for the size of the dim 'M' of 'x': fix the dims of the inputs (--static)" in said


OPS = {
    "Relu": lambda x: [x],
    "Exp": lambda x: [x],
    "Softmax": lambda x: [x],
    "Add": lambda x: [x, "x"],
    "Mul": lambda x: [x, "k"],
    "Div": lambda x: [x, "x"],
    "MatMul": lambda x: [x, "w"],
}


@settings(max_examples=40, deadline=None)
@given(draw=st.data())
def test_families(draw: st.DataObject) -> None:
    """Branches of any such ops, against onnxruntime."""

    def value(
        name: str, shape: list[int | str], kind: int = TensorProto.FLOAT
    ) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    graphs = []
    for side in "te":
        last, nodes = "x", []
        for k in range(draw.draw(st.integers(1, 4))):
            op = draw.draw(st.sampled_from(sorted(OPS)))
            nodes.append(helper.make_node(op, OPS[op](last), [f"{side}{k}"]))
            last = f"{side}{k}"
        graphs.append(helper.make_graph(nodes, side, [], [value(last, ["N", 2])]))
    node = helper.make_node("If", ["c"], ["y"], then_branch=graphs[0], else_branch=graphs[1])
    weights = [
        numpy_helper.from_array(np.asarray([[1, 2], [0, -1]], np.float32), "w"),
        numpy_helper.from_array(np.asarray([3, 0], np.float32), "k"),
    ]
    inputs = [value("x", ["N", 2]), value("c", [], TensorProto.BOOL)]
    graph = helper.make_graph([node], "g", inputs, [value("y", ["N", 2])], weights)
    opset = draw.draw(st.sampled_from([11, 13]))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    fixed, _ = run_pass(PASS, model)
    assert "If" not in ops(fixed)
    for c in (True, False):
        for n in (2, 1, 0):
            assert_same_outputs(model, fixed, feed(c, n, 2))
