"""vectorize-loops: all rounds at once."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.contract import Exactness
from onnx_fix.engine import Engine, Step
from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import (
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.vectorize_loops import VectorizeLoops

PASS = VectorizeLoops()
ALWAYS = VectorizeLoops(everywhere=True)
Arrays = dict[str, NDArray[np.generic]]


def text(signature: str, body: str, opset: int = 13) -> str:
    return f'<ir_version: 8, opset_import: ["" : {opset}]> g {signature} {{ {body} }}'


def data(*shape: int, name: str = "x", kind: str = "f4") -> Arrays:
    values = np.random.default_rng(5).integers(-9, 9, shape)
    return {name: np.asarray(values, kind)}


def rewritten(before: str, target: str = "trt-10.3") -> tuple[onnx.ModelProto, Exactness]:
    fixed, results = run_pass(ALWAYS, before, target=target)
    assert not {"Loop", "Scan"} & set(ops(fixed)), ops(fixed)
    (change,) = (c for r in results for c in r.changes)
    return fixed, change.exactness


TRUE = "c = Constant <value = bool {1}> () "


@pytest.mark.parametrize("kind", ["int32", "int64", "float", "double"])
@pytest.mark.parametrize("op", ["Add", "Sub"])
def test_a_progression(kind: str, op: str) -> None:
    before = text(
        f"({kind}[2] x, {kind} d, int64 m) => ({kind}[2] y, {kind}[P, 2] z, {kind}[P, 2] w)",
        f"{TRUE} y, z, w = Loop (m, c, x) < body = b (int64 i, bool p, {kind}[2] a) => "
        f"(bool q, {kind}[2] s, {kind}[2] t, {kind}[2] u) "
        f"{{ q = Identity (p) s = {op} (a, d) t = Identity (a) u = Identity (s) }} >",
    )
    fixed, exactness = rewritten(before)
    assert exactness is (Exactness.EXACT if kind.startswith("int") else Exactness.ROUNDING)
    dtype = {"float": "f4", "double": "f8", "int32": "i4", "int64": "i8"}[kind]
    for m in (0, 1, 4, -2):
        feed = {**data(2, kind=dtype), "d": np.asarray(3, dtype), "m": np.asarray(m)}
        want = run_model(onnx.parser.parse_model(before), {**feed, "m": np.asarray(max(m, 0))})
        for have, wanted in zip(run_model(fixed, feed), want, strict=True):
            np.testing.assert_array_equal(have, wanted)


def test_a_step_that_is_infinite() -> None:
    before = text(
        "(float x, float d, int64 m) => (float y, float[P] z)",
        f"{TRUE} y, z = Loop (m, c, x) < body = b (int64 i, bool p, float a) => "
        "(bool q, float s, float t) { q = Identity (p) s = Add (a, d) t = Identity (a) } >",
    )
    fixed, _ = rewritten(before)
    for m in (0, 1, 3):
        feed: Arrays = {
            "x": np.asarray(1, np.float32),
            "d": np.asarray(np.inf, np.float32),
            "m": np.asarray(m),
        }
        assert_same_outputs(onnx.parser.parse_model(before), fixed, feed)


@pytest.mark.parametrize("kind", ["f2", "f4"])
def test_half_precision_counts_in_float(kind: str) -> None:
    name = {"f2": "float16", "f4": "float"}[kind]
    before = text(
        f"({name} x, {name} d, int64 m) => ({name}[P] z)",
        f"{TRUE} y, z = Loop (m, c, x) < body = b (int64 i, bool p, {name} a) => "
        f"(bool q, {name} s, {name} t) {{ q = Identity (p) s = Add (a, d) t = Identity (a) }} >",
    )
    fixed, _ = rewritten(before)
    feed: Arrays = {
        "x": np.asarray(1, kind),
        "d": np.asarray(0.5, kind),
        "m": np.asarray(20),
    }
    assert_same_outputs(onnx.parser.parse_model(before), fixed, feed)


@pytest.mark.parametrize("target", ["trt-7.2", "trt-10.3"])
def test_a_loop_without_states(target: str) -> None:
    """TensorRT 7 wants a state; the rows of x are gathered at once."""
    before = text(
        "(float[N, 3] x, float[3] w) => (float[P, 3] z, float[P, 2, 3] v)",
        "h = Shape (x) k = Constant <value = int64 {0}> () m = Gather (h, k) two = Constant "
        "<value = float[2, 1] {1.0, 2.0}> () "
        f"{TRUE} z, v = Loop (m, c) < body = b (int64 i, bool p) => "
        "(bool q, float[3] t, float[2, 3] u) { q = Identity (p) r = Gather (x, i) "
        "f = Cast <to = 1> (i) e = Mul (r, f) t = Add (e, w) u = Mul (r, two) } >",
    )
    fixed, results = run_pass(PASS, before, target=target)
    if target == "trt-10.3":
        assert not any(r.changes for r in results)
        fixed, _ = rewritten(before)
    assert "Loop" not in ops(fixed)
    for n in (3, 1, 0):
        feed = {**data(n, 3), **data(3, name="w")}
        assert_same_outputs(onnx.parser.parse_model(before), fixed, feed)


def test_sums_of_what_each_round_computes() -> None:
    before = text(
        "(float[N, 3] x, float[2, 3] w) => (float[2, 3] y, float[P, 2, 3] z, float[P, 2, 3] v)",
        "y, z, v = Scan <num_scan_inputs = 1, body = b (float[2, 3] a, float[3] e) => "
        "(float[2, 3] s, float[2, 3] t, float[2, 3] u) "
        "{ h = Mul (e, e) s = Add (h, a) t = Identity (s) u = Neg (a) } > (w, x)",
    )
    fixed, exactness = rewritten(before)
    assert exactness is Exactness.ROUNDING and ops(fixed).count("CumSum") == 2
    for n in (4, 1):
        feed = {**data(n, 3), **data(2, 3, name="w")}
        assert_same_outputs(onnx.parser.parse_model(before), fixed, feed)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_scans_that_map(axis: int) -> None:
    before = text(
        "(float[N, 3] x, float[N, 1] w) => (float[A, B] z)",
        f"z = Scan <num_scan_inputs = 2, scan_output_axes = [{axis}], "
        "body = b (float[3] e, float[1] f) => (float[3] t) { h = Exp (e) t = Mul (h, f) } > (x, w)",
    )
    fixed, exactness = rewritten(before)
    assert exactness is Exactness.EXACT
    for n in (4, 1):
        feed = {**data(n, 3), **data(n, 1, name="w")}
        assert_same_outputs(onnx.parser.parse_model(before), fixed, feed, exact=False)


def test_what_is_the_same_in_every_round() -> None:
    before = text(
        "(float[2] x, int64 m) => (float[2] y, float[P, 2] z, float[P] v)",
        f"{TRUE} y, z, v = Loop (m, c, x) < body = b (int64 i, bool p, float[2] a) => "
        "(bool q, float[2] s, float[2] t, float u) { q = Identity (p) s = Identity (a) "
        "t = Neg (a) u = Constant <value = float {2.5}> () } >",
    )
    fixed, _ = rewritten(before)
    for m in (3, 1, 0):
        feed = {**data(2), "m": np.asarray(m)}
        assert_same_outputs(onnx.parser.parse_model(before), fixed, feed)


def test_names_of_the_body_that_are_names_outside() -> None:
    before = text(
        "(float[2] a, float[2] d, int64 m) => (float[2] y)",
        f"{TRUE} s = Neg (a) y = Loop (m, c, s) < body = b (int64 i, bool p, float[2] x) => "
        "(bool q, float[2] r) { q = Identity (p) r = Add (x, d) } >",
    )
    model = onnx.parser.parse_model(before)
    body = model.graph.node[-1].attribute[0].g
    body.input[2].name = body.node[1].input[0] = "s"
    fixed, _ = run_pass(ALWAYS, model)
    assert "Loop" not in ops(fixed)
    feed = {**data(2, name="a"), **data(2, name="d"), "m": np.asarray(3)}
    assert_same_outputs(onnx.parser.parse_model(before), fixed, feed)


@pytest.mark.parametrize("rank", ["", "[1]"])
def test_conditions_of_run_time(rank: str) -> None:
    before = text(
        f"(float[2] x, int64 m, bool{rank} c) => (float[2] y, float[P, 2] z)",
        f"y, z = Loop (m, c, x) < body = b (int64 i, bool{rank} p, float[2] a) => "
        f"(bool{rank} q, float[2] s, float[2] t) "
        "{ q = Identity (p) s = Add (a, x) t = Neg (a) } >",
    )
    fixed, _ = rewritten(before)
    shape = (1,) if rank else ()
    for m in (0, 1, 3):
        for c in (True, False):
            feed = {**data(2), "m": np.asarray(m), "c": np.full(shape, c)}
            assert_same_outputs(onnx.parser.parse_model(before), fixed, feed)
    row = before.replace("int64 m", "int64[1] m").replace("int64 i", "int64[1] i")
    (said,) = skip_reasons(ALWAYS, row)
    assert "is no scalar in its body" in said


MAP = (
    TRUE + "y, z = Loop (m, c, x) < body = b (int64 i, bool p, float[2] a) => "
    "(bool q, float[2] s, float[2] t) { q = Identity (p) s = Add (a, x) t = Neg (a) } >"
)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("s = Add (a, x)", "s = Mul (a, x)", "no sum of what does not depend on it"),
        ("s = Add (a, x)", "h = Mul (a, x) s = Add (a, h)", "no sum of what does not depend"),
        ("s = Add (a, x)", "s = Sub (x, a)", "no sum of what does not depend on it"),
        ("t = Neg (a)", "t = Softmax (a)", "its body has a Softmax"),
        ("t = Neg (a)", "h = Gather (x, i) t = Add (a, h)", ""),
        ("(m, c, x)", "(, c, x)", "it has no trip count"),
        (
            "q = Identity (p)",
            "zero = Constant <value = int64 {5}> () q = Less (i, zero)",
            "whether it goes on ('q') is computed in its body",
        ),
        ("t = Neg (a)", "t = RandomNormalLike (a)", "draws random numbers"),
    ],
)
def test_what_is_left_alone(old: str, new: str, reason: str) -> None:
    assert old in MAP
    signature = "(float[2] x, int64 m) => (float[2] y, float[P, 2] z)"
    before = text(signature, MAP.replace(old, new))
    if reason:
        (said,) = skip_reasons(ALWAYS, before)
        assert reason in said
    else:
        rewritten(before)


def test_states_that_grow_and_old_operator_sets() -> None:
    grows = text(
        "(float[N] x, float[2, 1] w, int64 m) => (float[A, B] y)",
        f"{TRUE} y = Loop (m, c, x) < body = b (int64 i, bool p, float[J] a) => "
        "(bool q, float[K] s) { q = Identity (p) s = Add (a, w) } >",
    )
    (said,) = skip_reasons(ALWAYS, grows)
    assert "the shape of 'a'" in said or "may change its shape" in said
    signature = "(float[2] x, int64 m) => (float[2] y, float[P, 2] z)"
    (said,) = skip_reasons(ALWAYS, text(signature, MAP, 10))
    assert "operator set 10 has no Range" in said
    back = text(
        "(float[N, 3] x) => (float[A, B] z)",
        "z = Scan <num_scan_inputs = 1, scan_input_directions = [1], "
        "body = b (float[3] e) => (float[3] t) { t = Exp (e) } > (x)",
    )
    (said,) = skip_reasons(ALWAYS, back)
    assert "scan_input_directions are not all 0" in said


@settings(max_examples=40, deadline=None)
@given(draw=st.data())
def test_families(draw: st.DataObject) -> None:
    """Integers, which are exact: chains of ops on rows, progressions and numbers of rounds."""
    kind = TensorProto.INT64
    nodes = [helper.make_node("Identity", ["p"], ["q"])]
    if draw.draw(st.booleans()):
        nodes.append(helper.make_node("Gather", ["x", "i"], ["r"]))
    else:
        nodes.append(helper.make_node("Add", ["w", "i"], ["r"]))
    known = ["r", "w", "i", "a"]
    for k in range(draw.draw(st.integers(0, 4))):
        op = draw.draw(st.sampled_from(["Add", "Sub", "Mul", "Max", "Neg"]))
        pair = [draw.draw(st.sampled_from(known)) for _ in range(1 if op == "Neg" else 2)]
        nodes.append(helper.make_node(op, pair, [f"t{k}"]))
        known.append(f"t{k}")
    # The state of rank 2 takes up what does not read it; the other one steps.
    added = draw.draw(st.sampled_from(["r", "w", "i"]))
    nodes.append(helper.make_node("Add", ["a", added], ["s"]))
    nodes.append(helper.make_node("Identity", [draw.draw(st.sampled_from([*known, "s"]))], ["o"]))

    def value(name: str, *shape: int | str, of: int = kind) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, of, shape)

    body = helper.make_graph(
        nodes,
        "body",
        [value("i"), value("p", of=TensorProto.BOOL), value("a", 2, 3)],
        [
            helper.make_tensor_value_info("q", TensorProto.BOOL, []),
            value("s", 2, 3),
            onnx.ValueInfoProto(name="o"),
        ],
    )
    body.output[2].type.tensor_type.elem_type = kind
    loop = helper.make_node("Loop", ["m", "", "v"], ["y", "z"], body=body)
    inputs = [value("x", "N", 2, 3), value("w", 3), value("v", 2, 3), value("m")]
    outputs = [value("y", 2, 3), helper.make_tensor_value_info("z", kind, None)]
    outputs[1].type.tensor_type.ClearField("shape")
    graph = helper.make_graph([loop], "g", inputs, outputs)
    imports = [helper.make_opsetid("", draw.draw(st.sampled_from([13, 16])))]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    work = Model(model, None, load_target("trt-10.3"))
    Engine(work).run([Step(ALWAYS)])
    fixed = work.to_proto()
    assert "Loop" not in ops(fixed)
    random = np.random.default_rng(0)
    m = draw.draw(st.integers(1, 4))
    feed: Arrays = {
        "x": random.integers(-5, 5, (4, 2, 3)),
        "w": random.integers(-5, 5, 3),
        "v": random.integers(-5, 5, (2, 3)),
        "m": np.asarray(m),
    }
    for have, want in zip(run_reference(fixed, feed), run_model(model, feed), strict=True):
        assert have.shape == want.shape
        np.testing.assert_array_equal(have, want)


def test_the_node_tests(node_cases: list[TestCase]) -> None:
    changed = 0
    for case in node_cases:
        model = case.model
        if model is None or not {"Loop", "Scan"} & set(ops(model)):
            continue
        ports = (*model.graph.input, *model.graph.output)
        if any(not v.type.HasField("tensor_type") for v in ports):
            continue
        if any(v.type.tensor_type.elem_type == TensorProto.BFLOAT16 for v in ports):
            continue
        fixed, results = run_pass(ALWAYS, model)
        if not any(r.changes for r in results):
            continue
        changed += 1
        for given_, _ in case.data_sets or []:
            feed = {v.name: np.asarray(x) for v, x in zip(model.graph.input, given_, strict=True)}
            assert_same_outputs(model, fixed, feed, exact=False)
    assert changed
