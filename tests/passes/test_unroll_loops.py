"""unroll-loops: Loop and Scan of a known number of rounds."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.testing import assert_rewrites, assert_same_outputs, ops, run_pass, skip_reasons
from onnx_fix_passes.remove_sequences import RemoveSequences
from onnx_fix_passes.unroll_loops import UnrollLoops

PASS = UnrollLoops()
ALWAYS = UnrollLoops(everywhere=True)


def text(signature: str, body: str, opset: int = 13) -> str:
    return f'<ir_version: 8, opset_import: ["" : {opset}]> g {signature} {{ {body} }}'


def data(*shape: int, name: str = "x") -> dict[str, NDArray[np.generic]]:
    return {name: np.random.default_rng(3).standard_normal(shape).astype(np.float32)}


SQUARES = (
    "m = Constant <value = int64 {TRIPS}> () c = Constant <value = bool {1}> () "
    "y, z = Loop (m, c, x) < body = b (int64 i, bool p, float[N] a) => "
    "(bool q, float[N] s, float[N] t) "
    "{ q = Identity (p) f = Cast <to = 1> (i) s = Mul (a, f) t = Neg (a) } >"
)


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("trips", [1, 3])
def test_states_and_stacked_outputs(opset: int, trips: int) -> None:
    body = SQUARES.replace("TRIPS", str(trips))
    before = text("(float[N] x) => (float[N] y, float[P, N] z)", body, opset)
    one = ["Mul", "Neg"] * trips
    stack = ["Unsqueeze"] * trips + (["Concat"] if trips > 1 else [])
    feeds = [data(n) for n in (3, 1, 0)]
    assert_rewrites(ALWAYS, before, after=one + stack, feeds=feeds, target="trt-10.3")


def test_no_round() -> None:
    body = SQUARES.replace("TRIPS", "0")
    before = text("(float[N] x) => (float[N] y, float[P, N] z)", body)
    (reason,) = skip_reasons(ALWAYS, before)
    assert "makes no round, and the sizes of 'z' are not known" in reason
    fixed_size = before.replace("[N]", "[2]").replace("[P, N]", "[P, 2]")
    after = ["Identity", "Identity"]
    assert_rewrites(ALWAYS, fixed_size, after=after, feeds=[data(2)], target="trt-10.3")
    without = text("(float[N] x) => (float[N] w)", body + " w = Neg (y)")
    fixed, _ = run_pass(ALWAYS, without)
    assert "Loop" not in ops(fixed) and ops(fixed)[-1] == "Neg"


def test_a_condition_that_follows_from_the_rounds() -> None:
    before = text(
        "(float[N] x) => (float[N] y, int64 k)",
        "zero = Constant <value = int64 {0}> () c = Constant <value = bool {1}> () "
        "y, k = Loop (, c, x, zero) < body = b (int64 i, bool p, float[N] a, int64 j) => "
        "(bool q, float[N] s, int64 n) "
        "{ one = Constant <value = int64 {1}> () four = Constant <value = int64 {4}> () "
        "n = Add (j, one) q = Less (n, four) s = Add (a, a) } >",
    )
    fixed, _ = run_pass(PASS, before)
    assert ops(fixed) == ["Add"] * 4 + ["Identity"]
    assert_same_outputs(onnx.parser.parse_model(before), fixed, data(3))
    # The condition is false from the start.
    never = before.replace("c = Constant <value = bool {1}>", "c = Constant <value = bool {0}>")
    fixed, _ = run_pass(PASS, never)
    assert [op for op in ops(fixed) if op != "Constant"] == ["Identity", "Identity"]
    assert_same_outputs(onnx.parser.parse_model(never), fixed, data(3))


def test_a_branch_on_the_number_of_the_round_and_a_loop_inside() -> None:
    before = text(
        "(float[N] x) => (float[N] y)",
        "m = Constant <value = int64 {3}> () c = Constant <value = bool {1}> () "
        "y = Loop (m, c, x) < body = b (int64 i, bool p, float[N] a) => (bool q, float[N] s) "
        "{ q = Identity (p) zero = Constant <value = int64 {0}> () first = Equal (i, zero) "
        "v = If (first) < then_branch = t () => (float[N] h) { h = Neg (a) }, "
        "else_branch = e () => (float[N] h) { h = Add (a, x) } > "
        "s = Loop (i, p, v) < body = d (int64 j, bool r, float[N] u) => (bool o, float[N] w) "
        "{ o = Identity (r) h = Sub (u, x) w = Mul (h, v) } > } >",
    )
    feeds = [data(n) for n in (3, 0)]
    # Rounds 0, 1 and 2, with as many rounds inside.
    want = ["Neg", "Add", "Sub", "Mul", "Add", "Sub", "Mul", "Sub", "Mul"]
    assert_rewrites(ALWAYS, before, after=want, feeds=feeds)


def test_rounds_that_are_counted_in_one_element() -> None:
    before = text(
        "(float[N] x) => (float[P, 1] z)",
        "m = Constant <value = int64[1] {3}> () c = Constant <value = bool[1] {1}> () "
        "z = Loop (m, c) < body = b (int64[1] i, bool[1] p) => (bool[1] q, float[1] t) "
        "{ q = Identity (p) t = Cast <to = 1> (i) } >",
    )
    fixed, _ = run_pass(ALWAYS, before)
    assert "Loop" not in ops(fixed)
    assert_same_outputs(onnx.parser.parse_model(before), fixed, data(1))


def test_weights_of_the_body_are_stored_once() -> None:
    weights = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    state = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 8]) for n in "abxy"]
    flags = [helper.make_tensor_value_info(n, TensorProto.BOOL, []) for n in "pq"]
    number = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    nodes = [
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("Identity", ["p"], ["q"]),
    ]
    body = helper.make_graph(
        nodes,
        "body",
        [number, flags[0], state[0]],
        [flags[1], state[1]],
        [numpy_helper.from_array(weights, "w")],
    )
    loop = helper.make_node("Loop", ["m", "", "x"], ["y"], body=body)
    trips = numpy_helper.from_array(np.asarray(4, np.int64), "m")
    graph = helper.make_graph([loop], "g", [state[2]], [state[3]], [trips])
    before = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    feeds = [data(n, 8) for n in (2, 0)]
    fixed = assert_rewrites(PASS, before, after=["MatMul"] * 4, feeds=feeds)
    assert [tuple(t.dims) for t in fixed.graph.initializer] == [(8, 8)]


def test_a_list_that_a_loop_fills() -> None:
    before = text(
        "(float[2, N] x) => (float[N] y, float[P] z)",
        "m = Constant <value = int64 {3}> () c = Constant <value = bool {1}> () "
        "one = Constant <value = int64 {1}> () e = SequenceEmpty () "
        "s = Loop (m, c, e) < body = b (int64 i, bool p, seq(float[N]) a) => "
        "(bool q, seq(float[N]) t) { q = Identity (p) two = Constant <value = int64 {2}> () "
        "k = Mod (i, two) r = Gather (x, k) t = SequenceInsert (a, r) } > "
        "y = SequenceAt (s, one) z = ConcatFromSequence <axis = 0> (s)",
    )
    fixed, _ = run_pass([PASS, RemoveSequences()], before, target="trt-10.3")
    assert not [op for op in ops(fixed) if "Sequence" in op or op == "Loop"]
    for n in (3, 1):
        assert_same_outputs(onnx.parser.parse_model(before), fixed, data(2, n))


def test_a_loop_inside_a_branch() -> None:
    body = SQUARES.replace("TRIPS", "2").replace("y, z", "u, v")
    before = text(
        "(float[N] x, bool k) => (float[N] y)",
        f"y = If (k) < then_branch = t () => (float[N] r) {{ {body} r = Neg (u) }}, "
        "else_branch = e () => (float[N] l) { l = Abs (x) } >",
    )
    fixed, _ = run_pass(ALWAYS, before)
    inside = [n.op_type for a in fixed.graph.node[0].attribute for n in a.g.node]
    assert "Loop" not in inside and inside.count("Mul") == 2
    for k in (True, False):
        feed = {**data(3), "k": np.asarray(k)}
        assert_same_outputs(onnx.parser.parse_model(before), fixed, feed)


def scan(directions: str = "", axes: str = "", size: str = "4") -> str:
    return text(
        f"(float[{size}, 2] x, float[2] w) => (float[2] y, float[P, Q] z)",
        f"y, z = Scan <num_scan_inputs = 1 {directions} {axes}, "
        "body = b (float[2] a, float[2] e) => (float[2] s, float[2] t) "
        "{ s = Add (a, e) t = Mul (s, w) } > (w, x)",
    )


@pytest.mark.parametrize("back", [0, 1])
@pytest.mark.parametrize("prepended", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_scans(back: int, prepended: int, axis: int) -> None:
    before = scan(
        f", scan_input_directions = [{back}], scan_output_directions = [{prepended}]",
        f", scan_output_axes = [{axis}]",
    )
    feed = {**data(4, 2), **data(2, name="w")}
    fixed, _ = run_pass(ALWAYS, before)
    assert "Scan" not in ops(fixed)
    assert_same_outputs(onnx.parser.parse_model(before), fixed, feed)


def test_a_scan_over_another_axis() -> None:
    before = text(
        "(float[N, 3] x, float[N] w) => (float[N] y, float[N, 3] z)",
        "y, z = Scan <num_scan_inputs = 1, scan_input_axes = [-1], scan_output_axes = [1], "
        "body = b (float[N] a, float[N] e) => (float[N] s, float[N] t) "
        "{ s = Add (a, e) t = Identity (s) } > (w, x)",
    )
    after = ["Gather", "Add"] * 3 + ["Unsqueeze"] * 3 + ["Concat"]
    for n in (2, 1, 0):
        feed = {**data(n, 3), **data(n, name="w")}
        fixed, _ = run_pass(ALWAYS, before)
        assert sorted(ops(fixed)) == sorted(after)
        if n:
            assert_same_outputs(onnx.parser.parse_model(before), fixed, feed)


def test_sizes_tell_the_trip_count() -> None:
    body = SQUARES.replace("m = Constant <value = int64 {TRIPS}> ()", "").replace("[N]", "[R, 3]")
    sizes = "h = Shape (x) one = Constant <value = int64 {1}> () m = Gather (h, one) "
    before = text("(float[N, 3] x) => (float[N, 3] y, float[P, N, 3] z)", sizes + body)
    fixed, _ = run_pass(ALWAYS, before)
    assert ops(fixed).count("Mul") == 3 and "Loop" not in ops(fixed)
    assert_same_outputs(onnx.parser.parse_model(before), fixed, data(2, 3))
    named = before.replace("{1}> () m", "{0}> () m")
    (reason,) = skip_reasons(ALWAYS, named)
    assert "is the size of the dim 'N'; fix the dim" in reason


def test_what_the_target_takes_stays() -> None:
    before = text(
        "(float[N] x) => (float[N] y, float[P, N] z)", SQUARES.replace("TRIPS", "3")
    ).replace("(int64 i, bool p, float[N] a)", "(int64 i, bool p, float[N] a)")
    stays = before.replace("f = Cast <to = 1> (i) s = Mul (a, f)", "s = Identity (a)")
    assert skip_reasons(PASS, stays, target="trt-10.3") == []


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("{3}", "{33}", "it makes 33 rounds, and at most 32 are written out"),
        ("m = Constant <value = int64 {3}> ()", "m = Size (x)", "is known at run time only"),
        (
            "c = Constant <value = bool {1}> ()",
            "o = ReduceMax <keepdims = 0> (x) c = Cast <to = 9> (o)",
            "the condition 'c' is known at run time only",
        ),
        (
            "q = Identity (p)",
            "o = ReduceMax <keepdims = 0> (a) q = Cast <to = 9> (o)",
            "whether it goes on after round 0 ('q') is known at run time only",
        ),
        ("t = Neg (a)", "t = RandomNormalLike (a)", "it draws random numbers"),
        (
            "t = Neg (a)",
            "o = ReduceMax <keepdims = 0> (a) r = Cast <to = 9> (o) t = If (r) < "
            "then_branch = h () => (float[N] l) { l = Neg (a) }, "
            "else_branch = j () => (float[N] k) { k = Abs (a) } >",
            "of an If is known at run time only",
        ),
        ("Loop (m, c, x)", "Loop (, c, x)", "no trip count and a condition that is always true"),
    ],
)
def test_what_is_left_alone(old: str, new: str, reason: str) -> None:
    body = SQUARES.replace("TRIPS", "3")
    assert old in body
    before = text("(float[N] x) => (float[N] y, float[P, N] z)", body.replace(old, new))
    reasons = skip_reasons(ALWAYS, before)
    assert len(reasons) >= 1 and reason in reasons[0], reasons


def test_limits() -> None:
    before = text("(float[N] x) => (float[N] y, float[P, N] z)", SQUARES.replace("TRIPS", "5"))
    (reason,) = skip_reasons(UnrollLoops(everywhere=True, limit=4), before)
    assert "at most 4 are written out" in reason
    (reason,) = skip_reasons(UnrollLoops(everywhere=True, limit_nodes=16), before)
    assert "more than 16 nodes" in reason
    fixed, _ = run_pass(UnrollLoops(everywhere=True, limit=5, limit_nodes=20), before)
    assert "Loop" not in ops(fixed)
    (reason,) = skip_reasons(ALWAYS, scan(size="N"))
    assert "it goes over the dim 'N' of 'x'; fix the dim" in reason


def test_parameters_of_a_function() -> None:
    before = """<ir_version: 8, opset_import: ["" : 13, "f" : 1]>
    g (float[4] x) => (float[4] y) { y = f.twice <alpha = 2.0> (x) }
    <domain: "f", opset_import: ["" : 13]> twice <alpha> (x) => (y) {
        m = Constant <value = int64 {2}> () c = Constant <value = bool {1}> ()
        y = Loop (m, c, x) < body = b (int64 i, bool p, float[4] a) => (bool q, float[4] s) {
            q = Identity (p) s = Elu <alpha : float = @alpha> (a) } > }"""
    (reason,) = skip_reasons(ALWAYS, before)
    assert "attribute alpha of a Elu is a parameter of the enclosing function" in reason


def looped(draw: st.DataObject) -> tuple[ModelProto, int]:
    """A loop with some states, stacked outputs, captured tensors, and ops on the round."""
    trips = draw.draw(st.integers(0, 4))
    states = draw.draw(st.integers(0, 3))
    opset = draw.draw(st.sampled_from([11, 13, 16]))
    known = ["x", *(f"a{k}" for k in range(states)), "r"]
    nodes = [
        helper.make_node("Cast", ["i"], ["n"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["n", "x"], ["r"]),
        helper.make_node("Identity", ["p"], ["q"]),
    ]
    for k in range(draw.draw(st.integers(0, 4))):
        op = draw.draw(st.sampled_from(["Add", "Sub", "Mul"]))
        pair = [draw.draw(st.sampled_from(known)) for _ in range(2)]
        nodes.append(helper.make_node(op, pair, [f"t{k}"]))
        known.append(f"t{k}")
    body_outputs, names = ["q"], []
    for k in range(states):
        source = draw.draw(st.sampled_from(known))
        nodes.append(helper.make_node("Identity", [source], [f"s{k}"]))
        body_outputs.append(f"s{k}")
        names.append(f"y{k}")
    stacked = draw.draw(st.integers(0 if states else 1, 2))
    for k in range(stacked):
        source = draw.draw(st.sampled_from(known))
        nodes.append(helper.make_node("Identity", [source], [f"o{k}"]))
        body_outputs.append(f"o{k}")
        names.append(f"z{k}")

    def value(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    inputs = [value("i", kind=TensorProto.INT64), value("p", kind=TensorProto.BOOL)]
    inputs += [value(f"a{k}", 2, 3) for k in range(states)]
    outputs = [value("q", kind=TensorProto.BOOL), *(value(n, 2, 3) for n in body_outputs[1:])]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    given_ = ["m", "c", *(draw.draw(st.sampled_from(["x", "w"])) for _ in range(states))]
    loop = helper.make_node("Loop", given_, names, body=body)
    constants = [
        numpy_helper.from_array(np.asarray(trips, np.int64), "m"),
        numpy_helper.from_array(np.asarray(True), "c"),
    ]
    results = [value(n, *((2, 3) if n[0] == "y" else (f"d{n}", 2, 3))) for n in names]
    graph = helper.make_graph([loop], "g", [value("x", 2, 3), value("w", 2, 3)], results, constants)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8), trips


@settings(max_examples=50, deadline=None)
@given(draw=st.data())
def test_families(draw: st.DataObject) -> None:
    model, _ = looped(draw)
    onnx.checker.check_model(model)
    fixed, _ = run_pass(ALWAYS, model)
    assert "Loop" not in ops(fixed)
    assert_same_outputs(model, fixed, {**data(2, 3), **data(2, 3, name="w")})


@settings(max_examples=40, deadline=None)
@given(draw=st.data())
def test_scan_families(draw: st.DataObject) -> None:
    """Axes and directions of two scan inputs and two scan outputs, lengths from 1 on."""
    length = draw.draw(st.integers(1, 4))
    opset = draw.draw(st.sampled_from([9, 11, 16]))
    low = 0 if opset < 11 else -3
    axes = [draw.draw(st.integers(low, 2)) for _ in range(4)]
    ways = [draw.draw(st.integers(0, 1)) for _ in range(4)]
    nodes = [
        helper.make_node("Add", ["a", "e"], ["h"]),
        helper.make_node("Mul", ["h", "f"], ["s"]),
        helper.make_node("Neg", ["e"], ["o"]),
        helper.make_node("Sub", ["s", "f"], ["v"]),
    ]

    def value(name: str, shape: list[int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    def whole(axis: int) -> list[int]:
        shape = [2, 3]
        shape.insert(axis % 3, length)
        return shape

    body = helper.make_graph(
        nodes, "body", [value(n, [2, 3]) for n in "aef"], [value(n, [2, 3]) for n in "sov"]
    )
    node = helper.make_node(
        "Scan",
        ["w", "x", "u"],
        ["y", "z0", "z1"],
        body=body,
        num_scan_inputs=2,
        scan_input_axes=axes[:2],
        scan_output_axes=axes[2:],
        scan_input_directions=ways[:2],
        scan_output_directions=ways[2:],
    )
    inputs = [value("w", [2, 3]), value("x", whole(axes[0])), value("u", whole(axes[1]))]
    outputs = [value("y", [2, 3]), value("z0", whole(axes[2])), value("z1", whole(axes[3]))]
    graph = helper.make_graph([node], "g", inputs, outputs)
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    fixed, _ = run_pass(ALWAYS, model)
    assert "Scan" not in ops(fixed)
    feed = {
        **data(2, 3, name="w"),
        **data(*whole(axes[0])),
        **data(*whole(axes[1]), name="u"),
    }
    assert_same_outputs(model, fixed, feed)


def test_the_node_tests(node_cases: list[TestCase]) -> None:
    """Every node test with a Loop or Scan gives its numbers or keeps the loop."""
    changed = 0
    for case in node_cases:
        model = case.model
        if model is None or not {"Loop", "Scan"} & set(ops(model)):
            continue
        if any(
            not v.type.HasField("tensor_type") for v in (*model.graph.input, *model.graph.output)
        ):
            continue
        fixed, results = run_pass(ALWAYS, model)
        if not any(r.changes for r in results):
            continue
        changed += 1
        for given_, _ in case.data_sets or []:
            feed = {v.name: np.asarray(x) for v, x in zip(model.graph.input, given_, strict=True)}
            assert_same_outputs(model, fixed, feed)
    assert changed
