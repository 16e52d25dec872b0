"""freeze-finished-loops: rounds after the end of a loop repeat the last one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix import fix
from onnx_fix.check import check
from onnx_fix.contract import Exactness
from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import (
    Feeds,
    as_proto,
    assert_rewrites,
    assert_same_outputs,
    run_model,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes.freeze_finished_loops import FreezeFinishedLoops

PASS = FreezeFinishedLoops()
ALWAYS = FreezeFinishedLoops(everywhere=True)
KIND = "loop_condition_not_updated"


def text(signature: str, nodes: str, opset: int = 13, ir: int = 8, more: str = "") -> str:
    return f'<ir_version: {ir}, opset_import: ["" : {opset}{more}]> g {signature} {{ {nodes} }}'


def loop(body: str, ports: str = "float[A] a) => (bool q, float[A] s", call: str = "") -> str:
    head = call or "y = Loop (n, c, x)"
    return f"{head} < body = b (int64 i, bool p, {ports}) {{ {body} }} >"


WHOLE = "(int64 n, bool c, float[N] x) => (float[N] y)"
UNTIL = (
    "one = Constant <value = float {1}> () s = Add (a, one) "
    "m = ReduceMax <keepdims = 0> (s) most = Constant <value = float {6}> () q = Less (m, most) "
)


def feeds(*shape: int, start: bool = True, most: int = 12) -> list[Feeds]:
    x = np.linspace(-2, 2, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return [
        {"n": np.asarray(n, np.int64), "c": np.asarray(c), "x": x}
        for n in (0, 1, 3, most)
        for c in ((True, False) if start else (True,))
    ]


def found(model: ModelProto, target: str = "trt-7.2") -> list[str]:
    """What the target has against the loops of a model, wherever they are."""
    view = Model(model, None, load_target(target))
    return [
        f.kind
        for scope in view.scopes
        for node in scope.nodes("Loop")
        for f in scope.judge(node).findings
        if f.refuses or f.in_doubt
    ]


def loops(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        if node.op_type == "Loop":
            yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from loops(attribute.g)


def body_ops(model: ModelProto) -> list[str]:
    return [n.op_type for n in next(loops(model.graph)).attribute[0].g.node]


@pytest.mark.parametrize("opset", [11, 13, 16, 19, 21])
@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2"])
def test_a_loop_that_ends_early(opset: int, target: str) -> None:
    before = text(WHOLE, loop(UNTIL), opset)
    fixed = assert_rewrites(PASS, before, after=["Loop"], feeds=feeds(3) + feeds(1), target=target)
    assert found(as_proto(before), target) == [KIND] and found(fixed, target) == []
    assert skip_reasons(PASS, before, target="trt-8.0") == []
    assert body_ops(fixed)[-2:] == ["Identity", "Where"]


def test_opset_9_and_an_old_ir_version() -> None:
    body = UNTIL.replace("ReduceMax <keepdims = 0>", "ReduceMax <axes = [0], keepdims = 0>")
    body = body.replace(
        "q = Less (m, most)", "f = Cast <to = 1> (i) g = Add (f, m) q = Less(g, most)"
    )
    made = as_proto(text(WHOLE, loop(body), 9, 3))
    fixed = assert_rewrites(PASS, made, after=["Constant", "Loop"], feeds=feeds(3))
    assert not fixed.graph.initializer and not next(loops(fixed.graph)).attribute[0].g.initializer


def test_the_last_round_does_not_fail_when_it_is_repeated() -> None:
    """The number of the round stays a place that exists, and a divisor stays what it was."""
    body = (
        "r = Gather (x, i) s = Add (a, r) k = Sub (d, one) w = Div (six, k) h = Cast <to = 1> (w) "
        "t = Mul (s, h) z = Identity (t) q = Greater (k, one) "
    )
    call = "y, e = Loop (n, c, zero, four)"
    ports = "float a, int64 d) => (bool q, float z, int64 k"
    before = text(
        "(int64 n, bool c, float[3] x) => (float y, int64 e) "
        "<int64 one = {1}, int64 four = {4}, int64 six = {6}, float zero = {0}>",
        loop(body, ports, call),
    )
    fixed = assert_rewrites(PASS, before, after=["Loop"], feeds=feeds(3))
    assert found(fixed) == []


@pytest.mark.parametrize("number", ["int64", "int64[1]"])
@pytest.mark.parametrize("flag", ["bool", "bool[1]"])
@pytest.mark.parametrize("state", ["float", "float[2]"])
def test_ranks_of_number_condition_and_state(number: str, flag: str, state: str) -> None:
    one = "" if flag == "bool" else "o = Constant <value = int64[1] {1}> () "
    ranked = "f = Reshape (e, o)" if one else "f = ReduceMax <keepdims = 0> (e)"
    body = (
        f"{one}l = Cast <to = 1> (i) h = ReduceMax <keepdims = 0> (l) s = Add (a, h) "
        f"e = ReduceMax <keepdims = 0> (s) {ranked} "
        "most = Constant <value = float {9}> () q = Less (f, most)"
    )
    before = text(
        f"({number} n, {flag} c, {state} x) => ({state} y)",
        f"y = Loop (n, c, x) < body = b ({number} i, {flag} p, {state} a) => "
        f"({flag} q, {state} s) {{ {body} }} >",
    )
    fixed, results = run_pass(PASS, before)
    assert any(r.changes for r in results) and found(fixed) == []
    for n in (0, 1, 3, 12):
        for c in (True, False):
            feed = {
                "n": np.full((1,) * (number != "int64"), n, np.int64),
                "c": np.full((1,) * (flag != "bool"), c),
                "x": np.zeros((2,) * (state != "float"), np.float32),
            }
            assert_same_outputs(as_proto(before), fixed, feed)


def test_a_condition_of_undeclared_rank() -> None:
    before = as_proto(
        text(
            "(int64 n, bool[1] c, float x) => (float y)",
            loop("s = Neg (a) q = Not (p)", "float a) => (bool[1] q, float s"),
        )
    )
    body = before.graph.node[0].attribute[0].g
    body.input[1].type.tensor_type.ClearField("shape")
    body.output[0].type.tensor_type.ClearField("shape")
    fixed, _ = run_pass(PASS, before)
    assert "Reshape" in body_ops(fixed) and found(fixed) == []


@pytest.mark.parametrize("kind", ["float16", "int64", "int32", "bool", "float"])
@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2", "trt-8.6", "rtx-1.7"])
def test_types_of_states(kind: str, target: str) -> None:
    body = "s = Not (a)" if kind == "bool" else "s = Add (a, x)"
    before = text(
        f"(int64 n, bool c, {kind}[N] x) => ({kind}[N] y)",
        loop(
            f"{body} w = Constant <value = int64 {{3}}> () q = Less (i, w)",
            f"{kind}[A] a) => (bool q, {kind}[A] s",
        ),
        14,
    )
    values = [
        {**feed, "x": np.sign(feed["x"]).clip(0).astype({"float": "f4"}.get(kind, kind))}
        for feed in (*feeds(3), *feeds(0))
    ]
    fixed = assert_rewrites(ALWAYS, before, after=["Loop"], feeds=values, target=target)
    assert ("Or" in body_ops(fixed)) == (kind == "bool")


def test_bfloat16_has_a_where_since_opset_16() -> None:
    ports = "bfloat16[A] a) => (bool q, bfloat16[A] s"
    before = text(
        "(int64 n, bool c, bfloat16[N] x) => (bfloat16[N] y)",
        loop("s = Neg (a) q = Not (p)", ports),
    )
    (why,) = skip_reasons(ALWAYS, before, target="trt-10.3")
    assert "takes no Where of the type of 'a'" in why
    assert_rewrites(ALWAYS, before.replace('"" : 13', '"" : 16'), after=["Loop"], target="trt-10.3")


def test_without_a_condition_from_outside() -> None:
    before = text(WHOLE, loop(UNTIL, call="y = Loop (n, , x)"))
    fixed = assert_rewrites(PASS, before, after=["Loop"], feeds=feeds(2))
    assert found(fixed) == []


def test_a_body_that_never_ends_the_loop() -> None:
    """The target doubts it where the condition from outside is not known."""
    body = "q = Constant <value = bool {1}> () s = Neg (a)"
    before = text(WHOLE, loop(body))
    fixed = assert_rewrites(PASS, before, after=["Loop"], feeds=feeds(2))
    assert "Where" not in body_ops(fixed) and found(fixed) == []
    assert len(next(loops(fixed.graph)).input) == 3


def test_states_that_need_less() -> None:
    """One that nobody reads inside, one that nobody reads outside, one that never changes."""
    body = (
        "n1 = Neg (b) s = Add (b, k) u = Identity (k) "
        "m = ReduceMax <keepdims = 0> (s) most = Constant <value = float {6}> () "
        "q = Less (m, most)"
    )
    ports = "float[A] a, float[A] b, float[A] k) => (bool q, float[A] n1, float[A] s, float[A] u"
    before = text(
        "(int64 n, bool c, float[N] x) => (float[N] y, float[N] w)",
        "v = Abs (x) " + loop(body, ports, "y, z, w = Loop (n, c, x, x, v)"),
    )
    fixed = assert_rewrites(PASS, before, after=["Abs", "Loop"], feeds=feeds(3))
    assert body_ops(fixed).count("Where") == 1
    assert len(next(loops(fixed.graph)).input) == 5


def test_states_that_change_places() -> None:
    ports = "float[A] a, float[A] b) => (bool q, float[A] b2, float[A] a2"
    body = (
        "b2 = Identity (b) one = Constant <value = float {1}> () a2 = Add (a, one) "
        "m = ReduceMax <keepdims = 0> (a2) most = Constant <value = float {5}> () "
        "q = Less (m, most)"
    )
    before = text(
        "(int64 n, bool c, float[N] x) => (float[N] y, float[N] w)",
        "v = Neg (x) " + loop(body, ports, "y, w = Loop (n, c, x, v)"),
    )
    assert_rewrites(PASS, before, after=["Neg", "Loop"], feeds=feeds(3))


def test_a_stack_that_nobody_reads_goes() -> None:
    before = text(
        WHOLE,
        loop(UNTIL, "float[A] a) => (bool q, float[A] s, float m", "y, z = Loop (n, c, x)"),
    )
    fixed = assert_rewrites(PASS, before, after=["Loop"], feeds=feeds(3))
    assert len(next(loops(fixed.graph)).attribute[0].g.output) == 3


NESTED = (
    "k = Constant <value = int64 {7}> () e = Loop (k, p, a) < body = d "
    "(int64 j, bool o, float[B] f) "
    "=> (bool r, float[B] g) { l = Cast <to = 1> (i) g = Add (f, l) "
    "v = ReduceMax <keepdims = 0> (g) bound = Constant <value = float {8}> () "
    "r = Less (v, bound) } > "
    "s = Neg (e) w = Constant <value = int64 {2}> () q = Less (i, w)"
)


def test_loops_in_loops() -> None:
    """Both go on, and the inner one reads the number of the outer round."""
    static = loop(NESTED, "float[3] a) => (bool q, float[3] s").replace("[B]", "[3]")
    before = text("(int64 n, bool c, float[3] x) => (float[3] y)", static)
    fixed = assert_rewrites(PASS, before, after=["Loop"], feeds=feeds(3))
    assert found(as_proto(before)) == [KIND] * 2 and found(fixed) == []
    names = [name for node in loops(fixed.graph) for name in node.output]
    assert len(set(names)) == len(names)


def test_a_loop_in_a_branch() -> None:
    before = text(
        "(int64 n, bool c, float[N] x, bool d) => (float[N] y)",
        "y = If (d) < then_branch = t () => (float[P] u) { "
        + loop(UNTIL, call="u = Loop (n, c, x)")
        + " }, else_branch = e () => (float[P] v) { v = Neg (x) } >",
    )
    cases = [{**feed, "d": np.asarray(d)} for feed in feeds(3) for d in (True, False)]
    assert_rewrites(PASS, before, after=["If"], feeds=cases, target="trt-7.0")


def test_what_a_branch_in_the_body_reads_is_held_too() -> None:
    body = (
        "w = Constant <value = int64 {3}> () q = Less (i, w) "
        "s = If (q) < then_branch = t () => (float[P] u) { h = Cast <to = 1> (i) u = Add (a, h) }, "
        "else_branch = e () => (float[P] v) { v = Neg (a) } >"
    )
    ports = "float[3] a) => (bool q, float[3] s"
    signature = "(int64 n, bool c, float[3] x) => (float[3] y)"
    fixed = assert_rewrites(
        PASS, text(signature, loop(body, ports)), after=["Loop"], feeds=feeds(3)
    )
    assert body_ops(fixed).count("Where") == 2


def test_weights_in_the_body_and_outside() -> None:
    proto = as_proto(
        text(
            "(int64 n, bool c, float[1, 64] x) => (float[1, 64] y)",
            loop(
                "h = MatMul (a, inner) s = Add (h, outer) m = ReduceMax <keepdims = 0> (s) "
                "most = Constant <value = float {9}> () q = Less (m, most)",
                "float[1, 64] a) => (bool q, float[1, 64] s",
            ).replace("float[1, 64] s) {", "float[1, 64] s) <float[64, 64] inner = {0}> {"),
        ).replace("outer", "x")
    )
    body = proto.graph.node[0].attribute[0].g
    del body.initializer[:]
    weights = np.random.default_rng(1).random((64, 64), np.float32) / 16
    body.initializer.append(numpy_helper.from_array(weights, "inner"))
    assert_rewrites(PASS, proto, after=["Loop"], feeds=feeds(1, 64))


def test_dims_of_no_name() -> None:
    before = text(
        "(int64 n, bool c, float[?, 2] x) => (float[?, 2] y)",
        loop(UNTIL, "float[A, 2] a) => (bool q, float[B, 2] s"),
    )
    fixed = assert_rewrites(PASS, before, after=["Loop"], feeds=[*feeds(3, 2), *feeds(1, 2)])
    assert found(fixed) == []


def reason(nodes: str, signature: str = WHOLE, **more: Any) -> str:
    (why,) = skip_reasons(PASS, text(signature, nodes, **more))
    return why


def test_what_is_left_alone() -> None:
    assert "it has no trip count" in reason(loop(UNTIL, call="y = Loop ( , c, x)"))
    many = "k = Constant <value = int64 {9223372036854775807}> () "
    why = reason(many + loop(UNTIL, call="y = Loop (k, c, x)"))
    assert "make all 9223372036854775807 rounds of its trip count 'k'" in why
    assert "name them in the option most_rounds (max_rounds is 4096)" in why
    few = text(
        WHOLE, many.replace("{9223372036854775807}", "{5}") + loop(UNTIL, call="y = Loop (k, c, x)")
    )
    assert skip_reasons(FreezeFinishedLoops(max_rounds=4), few)
    assert_rewrites(
        FreezeFinishedLoops(max_rounds=5), few, after=["Constant", "Loop"], feeds=feeds(2)
    )
    stacked = loop(UNTIL, "float[A] a) => (bool q, float[A] s, float m", "y, z = Loop (n, c, x)")
    why = reason(stacked, "(int64 n, bool c, float[N] x) => (float[N] y, float[K] z)")
    assert "'z' is stacked over the rounds" in why
    grows = UNTIL.replace("s = Add (a, one)", "t = Add (a, one) s = Concat <axis = 0> (a, t)")
    why = reason(loop(grows, "float[A] a) => (bool q, float[B] s"))
    assert "enters a round as [N] and leaves it as 's'" in why
    turned = UNTIL.replace("s = Add (a, one)", "s = Transpose (a)")
    signature = "(int64 n, bool c, float[N, M] x) => (float[N, M] y)"
    why = reason(loop(turned, "float[A, B] a) => (bool q, float[A, B] s"), signature)
    assert "enters a round as [N, M] and leaves it as 's' of [M, N]" in why
    noise = UNTIL.replace("Add (a, one)", "Add (a, z)").replace(
        "one =", "z = RandomNormalLike (a) o ="
    )
    assert "it draws random numbers (RandomNormalLike)" in reason(loop(noise))
    custom = UNTIL.replace("s = Add (a, one)", "s = mine.Walk (a)")
    why = reason(loop(custom), more=', "mine" : 1')
    assert "whether mine::Walk then gives the same is not known" in why


@pytest.mark.parametrize("trips", ["", "k"])
@pytest.mark.parametrize("number", ["int64", "int64[1]"])
def test_a_loop_that_is_cut_off(trips: str, number: str) -> None:
    nodes = "k = Constant <value = int64 {9223372036854775807}> () " if trips else ""
    many = nodes.replace("int64 {", "int64[1] {") if number != "int64" else nodes
    body = loop(UNTIL, call=f"y = Loop ({trips} , c, x)").replace("int64 i", f"{number} i")
    before = as_proto(text("(bool c, float[N] x) => (float[N] y)", many + body))
    # It takes three rounds from 4, and eight from -1.
    fixed, results = run_pass(FreezeFinishedLoops(most_rounds=6), before)
    (change,) = [c for r in results for c in r.changes]
    assert change.exactness is Exactness.CONTRACT
    assert "makes 6 rounds and no more" in change.old[0]
    assert found(fixed) == []
    values = np.asarray([1, 4], np.float32)
    assert_same_outputs(before, fixed, {"c": np.asarray(True), "x": values})
    cut = run_model(fixed, {"c": np.asarray(True), "x": values - 5})[0]
    np.testing.assert_array_equal(cut, values - 5 + 6)


def test_a_loop_that_nothing_ends_is_not_cut() -> None:
    endless = loop("q = Constant <value = bool {1}> () s = Neg (a)", call="y = Loop ( , c, x)")
    (why,) = skip_reasons(FreezeFinishedLoops(most_rounds=6), text(WHOLE, endless))
    assert why == "its body never ends it"


def test_types_that_the_target_does_not_choose_between() -> None:
    ports = "double[A] a) => (bool q, double[A] s"
    before = loop("s = Neg (a) q = Not (p)", ports)
    why = reason(before, "(int64 n, bool c, double[N] x) => (double[N] y)")
    assert "takes no Where of the type of 'a'; cast it in the network" in why


def test_a_rank_that_is_not_known() -> None:
    proto = as_proto(
        text(
            "(int64 n, bool c, float[N] x, int64[K] k) => (float[?] y)",
            "z = Reshape (x, k) w = " + loop(UNTIL, call="Loop (n, c, z)") + " y = Neg (w)",
        )
    )
    body = proto.graph.node[1].attribute[0].g
    body.input[2].type.tensor_type.ClearField("shape")
    (why,) = skip_reasons(PASS, proto)
    assert "type or rank of what 'a' starts with are not known" in why


def test_a_loop_in_a_function() -> None:
    proto = as_proto(text(WHOLE, "y = mine.f (n, c, x)", more=', "mine" : 1'))
    made = as_proto(text(WHOLE, loop(UNTIL))).graph.node
    opsets = [helper.make_opsetid("", 13)]
    proto.functions.append(
        helper.make_function("mine", "f", ["n", "c", "x"], ["y"], list(made), opsets)
    )
    (why,) = skip_reasons(PASS, proto)
    assert "it stands in a function" in why
    fixed = fix(proto, target="trt-7.2", verify=False).model
    assert found(fixed) == []
    for feed in feeds(3):
        assert_same_outputs(proto, fixed, feed)


def test_fix_makes_the_model_ready() -> None:
    before = as_proto(
        text(
            "(float[N] x) => (float[N] y)",
            "n = Constant <value = int64 {40}> () c = Constant <value = bool {1}> () "
            + loop(UNTIL),
        )
    )
    result = fix(before, target="trt-7.2", dims={"N": (1, 4, 16)})
    assert check(before, target="trt-7.2").verdict != "ready"
    assert check(result.model, target="trt-7.2").verdict == "ready"
    lines = [c.old[0] for c in result.report.changes if c.pass_name == PASS.name]
    assert lines == ["Loop 'y' makes all rounds (40); those after its end repeat the last one"]


def test_dims_of_no_name_in_a_loop_in_a_loop() -> None:
    """What the inner loop gives has sizes that nobody knows, so the outer one is left."""
    fixed, results = run_pass(PASS, text(WHOLE, loop(NESTED)))
    assert found(fixed) == [KIND]
    (why,) = {s.reason for r in results for s in r.skipped}
    assert "enters a round as [N] and leaves it as 's' of unknown shape" in why


def test_the_node_tests_of_loop(node_cases: list[TestCase]) -> None:
    """The body of each gives back the condition that it got: nothing is to do."""
    seen = 0
    for case in node_cases:
        if case.model is not None and any(loops(case.model.graph)):
            seen += 1
            assert KIND not in found(case.model)
            after, results = run_pass(ALWAYS, case.model)
            assert not any(r.changes for r in results) and after == case.model
    assert seen >= 3


# -- families --------------------------------------------------------------------------------------

DTYPES = {
    "float": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "bool": TensorProto.BOOL,
}
SHAPES: list[list[int | str | None]] = [[], [2], [1, 2], ["N"]]


@st.composite
def models(draw: st.DrawFn) -> ModelProto:
    """Loops of one to three states of several types, which read each other and the round."""
    kinds = draw(st.lists(st.sampled_from(sorted(DTYPES)), min_size=1, max_size=3))
    shape = draw(st.sampled_from(SHAPES))
    nodes, outputs = [], []
    inputs = [helper.make_tensor_value_info(f"a{k}", DTYPES[t], shape) for k, t in enumerate(kinds)]
    for k, kind in enumerate(kinds):
        source = draw(st.integers(0, len(kinds) - 1))
        way = draw(st.sampled_from(["other", "round", "own", "kept"]))
        name = f"b{k}"
        if way == "kept":
            nodes.append(helper.make_node("Identity", [f"a{k}"], [name]))
        elif kind == "bool":
            nodes.append(helper.make_node("Cast", [f"a{source}"], [f"t{k}"], to=TensorProto.BOOL))
            nodes.append(helper.make_node("Xor", [f"a{k}", f"t{k}"], [f"u{k}"]))
            nodes.append(helper.make_node("Not", [f"u{k}"], [name]))
        else:
            read = {"other": f"a{source}", "round": "i", "own": f"a{k}"}[way]
            nodes.append(helper.make_node("Cast", [read], [f"t{k}"], to=DTYPES[kind]))
            nodes.append(helper.make_node("Sub", [f"t{k}", f"a{k}"], [name]))
        outputs.append(helper.make_tensor_value_info(name, DTYPES[kind], shape))
    judged = draw(
        st.sampled_from(["i", *(f"{side}{k}" for k in range(len(kinds)) for side in "ab")])
    )
    bound = draw(st.integers(-3, 6))
    nodes += [
        helper.make_node("Cast", [judged], ["f0"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["f0"], ["f1"], keepdims=0),
        helper.make_node("Less", ["f1", "bound"], ["q"]),
    ]
    body = helper.make_graph(
        nodes,
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("p", TensorProto.BOOL, []),
            *inputs,
        ],
        [helper.make_tensor_value_info("q", TensorProto.BOOL, []), *outputs],
        [numpy_helper.from_array(np.asarray(bound, np.float32), "bound")],
    )
    names = [f"x{k}" for k in range(len(kinds))]
    results = [f"y{k}" for k in range(len(kinds))]
    wanted = draw(st.sets(st.sampled_from(range(len(kinds))), min_size=1))
    condition = draw(st.sampled_from(["c", ""]))
    node = helper.make_node("Loop", ["n", condition, *names], results, body=body)
    ends = [helper.make_tensor_value_info("n", TensorProto.INT64, [])]
    ends.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    ends += [helper.make_tensor_value_info(f"x{k}", DTYPES[t], shape) for k, t in enumerate(kinds)]
    graph = helper.make_graph(
        [node],
        "g",
        ends,
        [helper.make_tensor_value_info(f"y{k}", DTYPES[kinds[k]], shape) for k in sorted(wanted)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def differential(proto: ModelProto, seed: int) -> None:
    fixed, results = run_pass(PASS, proto)
    assert found(proto) in ([KIND], []) and found(fixed) == []
    assert bool(found(proto)) == any(r.changes for r in results)
    random = np.random.default_rng(seed)
    for n in (0, 1, 2, 5, 9):
        feed: dict[str, Any] = {"n": np.asarray(n, np.int64), "c": np.asarray(n != 5)}
        for value in proto.graph.input[2:]:
            dims = [d.dim_value or 3 for d in value.type.tensor_type.shape.dim]
            dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            feed[value.name] = random.integers(-3, 4, dims).astype(dtype)
        assert_same_outputs(proto, fixed, feed)
        if proto.graph.node[0].input[1]:
            # onnx.reference makes no round where the condition is left out.
            assert_same_outputs(proto, fixed, feed, reference=True)


@settings(max_examples=25, deadline=None)
@given(models(), st.integers(0, 99))
def test_loops_of_many_kinds(proto: ModelProto, seed: int) -> None:
    differential(proto, seed)


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(models(), st.integers(0, 99))
def test_loops_of_many_more_kinds(proto: ModelProto, seed: int) -> None:
    differential(proto, seed)


def test_the_feeds_end_early() -> None:
    """The loops of the tests above do end before their trip count, or nothing would be tested."""
    proto = as_proto(text(WHOLE, loop(UNTIL)))
    few, many = (run_model(proto, feed)[0] for feed in (feeds(3)[4], feeds(3)[6]))
    assert not np.array_equal(few, many)
    runs = [run_model(proto, feed)[0] for feed in feeds(3, most=4) + feeds(3, most=12)]
    assert np.array_equal(runs[6], runs[14])
