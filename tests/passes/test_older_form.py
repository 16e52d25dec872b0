"""older-form: what newer attributes ask for is written as it was before they came."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.contract import Exactness
from onnx_fix.testing import (
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes.older_form import OlderForm

PASS = OlderForm()
RNG = np.random.default_rng(11)
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def text(opset: int, signature: str, nodes: str) -> str:
    return f'<ir_version: 8, opset_import: ["" : {opset}]> g {signature} {{ {nodes} }}'


def floats(*shape: int, dtype: Any = np.float32) -> Any:
    return RNG.standard_normal(shape).astype(dtype)


# -- RNN, GRU, LSTM --------------------------------------------------------------------------------


def recurrent(op: str, layout: int, opset: int, lengths: bool) -> ModelProto:
    """Both directions, everything given, every output read."""
    rows, batch_first = GATES[op] * 4, layout == 1
    state = "B, 2, 4" if batch_first else "2, B, 4"
    cells = op == "LSTM"
    data = "B, T, 3" if batch_first else "T, B, 3"
    made = "B, T, 2, 4" if batch_first else "T, 2, B, 4"
    inputs = f"float[{data}] x, float[2, {rows}, 3] w, float[2, {rows}, 4] r"
    inputs += f", float[2, {2 * rows}] b, int32[B] n, float[{state}] h"
    inputs += f", float[{state}] c, float[2, 12] p" if cells else ""
    outputs = f"float[{made}] y, float[{state}] z" + (f", float[{state}] q" if cells else "")
    given = "x, w, r, b, n, h" if lengths else "x, w, r, b, , h"
    call = f'{op} <layout = {layout}, hidden_size = 4, direction = "bidirectional">'
    call = call if batch_first else call.replace("layout = 0, ", "")
    body = f"y, z{', q' if cells else ''} = {call} ({given}{', c, p' if cells else ''})"
    return onnx.parser.parse_model(text(opset, f"({inputs}) => ({outputs})", body))


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize(("opset", "target"), [(14, "trt-8.6"), (17, "trt-10.3"), (22, "rtx-1.7")])
def test_layout(op: str, opset: int, target: str) -> None:
    before = recurrent(op, 1, opset, lengths=True)
    after, results = run_pass(PASS, before, target=target)
    count = 3 if op == "LSTM" else 2
    assert ops(after) == ["Transpose"] * count + [op] + ["Transpose"] * count
    assert {c.exactness for r in results for c in r.changes} == {Exactness.EXACT}
    plain = recurrent(op, 0, opset, lengths=True)
    for batch, steps in ((3, 5), (1, 1), (1, 4), (2, 1)):
        rows = GATES[op] * 4
        feed = {
            "x": floats(steps, batch, 3),
            "w": floats(2, rows, 3),
            "r": floats(2, rows, 4),
            "b": floats(2, 2 * rows),
            "n": RNG.integers(1, steps + 1, batch, dtype=np.int32),
            "h": floats(2, batch, 4),
        }
        if op == "LSTM":
            feed |= {"c": floats(2, batch, 4), "p": floats(2, 12)}
        # onnxruntime runs no layout 1: the original is run in the other layout.
        first, *states = run_model(plain, feed)
        turned = {k: np.ascontiguousarray(v.swapaxes(0, 1)) for k, v in feed.items() if k in "xhc"}
        have = run_model(after, {**feed, **turned})
        np.testing.assert_array_equal(have[0], first.transpose(2, 0, 1, 3))
        for got, state in zip(have[1:], states, strict=True):
            np.testing.assert_array_equal(got, state.swapaxes(0, 1))


@pytest.mark.parametrize("op", ["gru", "lstm", "simple_rnn"])
@pytest.mark.parametrize("target", ["trt-8.4", "trt-10.3", "rtx-1.7"])
def test_node_tests_of_layout(op: str, target: str, node_cases: list[TestCase]) -> None:
    (case,) = [c for c in node_cases if c.name == f"test_{op}_batchwise"]
    assert case.model is not None
    after, results = run_pass(PASS, case.model, target=target)
    assert any(r.changes for r in results)
    for inputs, outputs in case.data_sets or []:
        names = [v.name for v in case.model.graph.input]
        have = run_model(after, dict(zip(names, map(np.asarray, inputs), strict=True)))
        for got, want in zip(have, outputs, strict=True):
            np.testing.assert_allclose(got.astype(np.float64), np.asarray(want), 1e-5, 1e-6)


def test_only_the_last_state_is_read() -> None:
    model = text(
        14,
        "(float[B, T, 3] x, float[1, 4, 3] w, float[1, 4, 4] r) => (float[B, 1, 4] h)",
        ", h = RNN <layout = 1, hidden_size = 4> (x, w, r)",
    )
    after, _ = run_pass(PASS, model, target="trt-8.6")
    assert ops(after) == ["Transpose", "RNN", "Transpose"]
    assert after.graph.node[2].input[0] == after.graph.node[1].output[1]


def test_layout_0_is_left_alone() -> None:
    assert skip_reasons(PASS, recurrent("LSTM", 0, 14, False), target="trt-8.6") == []


def test_a_loop_body() -> None:
    body = onnx.parser.parse_graph(
        "body (int64 i, bool c, float[2, 1, 4] s) => (bool d, float[2, 1, 4] t) "
        "{ d = Identity (c) , t = RNN <layout = 1, hidden_size = 4> (x, w, r, , , s) }".replace(
            "(c) , t", "(c) p, t"
        )
    )
    shapes = {"x": (2, 3, 3), "w": (1, 4, 3), "r": (1, 4, 4), "s0": (2, 1, 4)}
    graph = helper.make_graph(
        [helper.make_node("Loop", ["n", "", "s0"], ["y"], body=body)],
        "g",
        [
            helper.make_tensor_value_info("n", TensorProto.INT64, []),
            *(helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items()),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 1, 4))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    after, results = run_pass(PASS, model, target="trt-8.6")
    assert [c.scope for r in results for c in r.changes]
    feed = {"n": np.asarray(2), **{k: floats(*v) for k, v in shapes.items()}}
    assert_same_outputs(model, after, feed, exact=False, reference=True)


def test_a_parameter_of_a_function() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 14, "f" : 1]> '
        "g (float[2, 3, 3] x, float[1, 4, 3] w, float[1, 4, 4] r) => (float[2, 3, 1, 4] y) "
        "{ y = f.Cell <how = 1> (x, w, r) } "
        '<domain: "f", opset_import: ["" : 14]> Cell <how> (x, w, r) => (y) '
        "{ y = RNN <layout: int = @how, hidden_size = 4> (x, w, r) }"
    )
    reasons = skip_reasons(OlderForm(everywhere=True), model, target="trt-8.6")
    assert reasons == ["an attribute is a parameter of the enclosing function; inline it first"]


# -- BatchNormalization ----------------------------------------------------------------------------

NORM = "(float[N, 3, H] x, float[3] s, float[3] b, float[3] m, float[3] v) => "


@pytest.mark.parametrize("opset", [14, 15, 17, 18, 22])
@pytest.mark.parametrize("outputs", [1, 3])
def test_batch_statistics(opset: int, outputs: int) -> None:
    made = "float[N, 3, H] y" + ", float[3] rm, float[3] rv" * (outputs == 3)
    names = "y" + ", rm, rv" * (outputs == 3)
    node = f"{names} = BatchNormalization <training_mode = 1, momentum = 0.8> (x, s, b, m, v)"
    before = onnx.parser.parse_model(text(opset, f"{NORM}({made})", node))
    after, results = run_pass(PASS, before, target="trt-10.3")
    assert ops(after)[-1] == "BatchNormalization" and not any(
        a.name == "training_mode" for a in after.graph.node[-1].attribute
    )
    assert {c.exactness for r in results for c in r.changes} == {Exactness.ROUNDING}
    for n, h in ((2, 5), (1, 2), (4, 1)):
        feed = {"x": floats(n, 3, h) + 3, **{k: floats(3) for k in "sbm"}, "v": floats(3) ** 2}
        assert_same_outputs(before, after, feed, exact=False, rtol=1e-3, atol=1e-4, reference=True)


def test_statistics_of_another_type() -> None:
    given = "(float16[N, 3] x, float[3] s, float[3] b, float[3] m, float[3] v) => "
    node = "y, rm, rv = BatchNormalization <training_mode = 1> (x, s, b, m, v)"
    model = text(15, f"{given}(float16[N, 3] y, float[3] rm, float[3] rv)", node)
    (reason,) = skip_reasons(PASS, model, target="trt-10.3")
    assert reason == "the running mean and variance have another type than the data"


def test_statistics_of_an_unknown_rank() -> None:
    model = text(
        15,
        NORM.replace(" x,", " x, int64[K] k,") + "(float[A, B, C] y)",
        "z = Reshape (x, k) y = BatchNormalization <training_mode = 1> (z, s, b, m, v)",
    )
    assert skip_reasons(PASS, model, target="trt-10.3") == ["the rank of the data is not known"]


# -- Resize ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("by", ["scales", "sizes"])
@pytest.mark.parametrize("axes", [[2, 3], [3, 2], [-1, -2]])
def test_axes(mode: str, by: str, axes: list[int]) -> None:
    value = "float[2] {1.5, 2.0}" if by == "scales" else "int64[2] {9, 7}"
    model = text(
        18,
        "(float[N, 2, 6, 4] x) => (float[N, 2, H, W] y)",
        f"k = Constant <value = {value}> () "
        f'y = Resize <axes = {axes}, mode = "{mode}"> (x, , {"k" if by == "scales" else ", k"})',
    )
    before = onnx.parser.parse_model(model)
    after, _ = run_pass(PASS, before, target="trt-9.2")
    assert not any(a.name == "axes" for n in after.graph.node for a in n.attribute)
    for n in (1, 2):
        assert_same_outputs(before, after, {"x": floats(n, 2, 6, 4)}, exact=False, atol=1e-5)


@pytest.mark.parametrize(("size", "left"), [(12, False), (3, True)])
def test_antialias_matters_where_a_size_shrinks(size: int, left: bool) -> None:
    model = text(
        18,
        f"(float[N, 2, 6, 6] x) => (float[N, 2, {size}, {size}] y)",
        f"k = Constant <value = int64[4] {{1, 2, {size}, {size}}}> () "
        'y = Resize <mode = "linear", antialias = 1> (x, , , k)',
    )
    before = onnx.parser.parse_model(model.replace("[N", "[1"))
    if left:
        (reason,) = skip_reasons(PASS, before, target="trt-9.2")
        assert reason == "antialias matters where a size shrinks, and Resize has it from opset 18"
        return
    after, _ = run_pass(PASS, before, target="trt-9.2")
    assert not any(a.name == "antialias" for a in after.graph.node[-1].attribute)
    assert_same_outputs(before, after, {"x": floats(1, 2, 6, 6)}, exact=False)


def test_the_coefficient_of_cubes_is_left() -> None:
    model = text(
        11,
        "(float[1, 2, 6, 6] x) => (float[1, 2, 12, 12] y)",
        "k = Constant <value = float[4] {1.0, 1.0, 2.0, 2.0}> () e = Constant <value = float[0] {}>"
        ' () y = Resize <mode = "cubic", cubic_coeff_a = -0.5> (x, e, k)',
    )
    assert skip_reasons(PASS, model, target="trt-8.2") == []


# -- Split -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["7", "N"])
@pytest.mark.parametrize(("axis", "parts"), [(0, 2), (-1, 3), (1, 4)])
def test_uneven_parts(size: str, axis: int, parts: int) -> None:
    names = [f"y{i}" for i in range(parts)]
    shapes = [size, size]
    made = ", ".join(f"float[A{i}, B{i}] {n}" for i, n in enumerate(names))
    model = onnx.parser.parse_model(
        text(
            18,
            f"(float[{', '.join(shapes)}] x) => ({made})",
            f"{', '.join(names)} = Split <axis = {axis}, num_outputs = {parts}> (x)",
        )
    )
    after, _ = run_pass(PASS, model, target="trt-9.2")
    assert ops(after)[-1] == "Split" and (size == "N" or len(after.graph.node) == 1)
    for n in (7,) if size == "7" else (parts, 7, 11, 2 * parts):
        assert_same_outputs(model, after, {"x": floats(n, n)})


def test_even_parts_are_left() -> None:
    model = text(
        18,
        "(float[N, 6] x) => (float[N, 3] a, float[N, 3] b)",
        "a, b = Split <axis = 1, num_outputs = 2> (x)",
    )
    assert skip_reasons(PASS, model, target="trt-9.2") == []


# -- the pass --------------------------------------------------------------------------------------


def test_a_release_that_reads_the_attribute_keeps_the_node() -> None:
    model = text(
        18, "(float[7] x) => (float[4] a, float[3] b)", "a, b = Split <num_outputs = 2> (x)"
    )
    assert skip_reasons(PASS, model, target="trt-10.3") == []
    after, _ = run_pass(OlderForm(everywhere=True), model, target="trt-10.3")
    (split,) = after.graph.node
    sizes = numpy_helper.to_array(after.graph.initializer[0])
    assert len(split.input) == 2 and sizes.tolist() == [4, 3]


def test_names_that_look_like_ours() -> None:
    model = text(
        14,
        "(float[B, T, 3] x, float[1, 4, 3] w, float[1, 4, 4] r) => (float[B, T, 1, 4] y)",
        "y = RNN <layout = 1, hidden_size = 4> (x, w, r)",
    )
    proto = onnx.parser.parse_model(model)
    taken = "y/Transpose"
    proto.graph.input[1].name = taken
    proto.graph.node[0].input[1] = taken
    after, _ = run_pass(PASS, proto, target="trt-8.6")
    (rnn,) = [n for n in after.graph.node if n.op_type == "RNN"]
    assert rnn.input[1] == taken
