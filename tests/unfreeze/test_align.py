"""Exports of one network at two sizes: what differs, whatever the exporter called it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnx_fix.unfreeze.align import Aligned, Difference, Mismatch, align
from onnx_fix.weights import read_tensor, stub

HEAD = '<ir_version: 10, opset_import: ["" : 18, "f" : 1]>'


def model(text: str) -> ModelProto:
    return onnx.parser.parse_model(f"{HEAD} {text}")


def differences(a: str | ModelProto, *others: str | ModelProto) -> Sequence[Difference]:
    models = [model(m) if isinstance(m, str) else m for m in (a, *others)]
    found = align(models[0], models[1:])
    assert isinstance(found, Aligned), found
    return found.differences


def values(a: str | ModelProto, *others: str | ModelProto) -> list[tuple[str, list[object]]]:
    return [(str(d.place), [v.tolist() for v in d.values]) for d in differences(a, *others)]


def reason(a: str, b: str) -> str:
    found = align(model(a), [model(b)])
    assert isinstance(found, Mismatch), found
    return found.reason


RESHAPE = "g (float[2,{n}] x) => (float[N] y) <int64[1] s = {{ {m} }}> {{ y = Reshape (x, s) }}"


def test_nothing_differs() -> None:
    text = RESHAPE.format(n=3, m=6)
    assert not differences(text, text, text)


def test_a_constant_that_differs() -> None:
    found = differences(
        RESHAPE.format(n=3, m=6), RESHAPE.format(n=4, m=8), RESHAPE.format(n=3, m=6)
    )
    (difference,) = found
    assert [v.tolist() for v in difference.values] == [[6], [8], [6]]
    place = difference.place
    assert (place.op, place.output, place.input, place.tensor) == ("Reshape", "y", 1, "s")
    assert str(place) == "input 1 of Reshape node 'y'"


def test_names_order_and_spelling_do_not_matter() -> None:
    a = """g (float[6] x) => (float[N] y, float[6] z) <int64[1] s = {6}>
        { p = Reshape (x, s) z = Neg (x) y = Abs (p) }"""
    b = """g (float[6] x) => (float[N] y, float[6] other) {
        k = Constant <value_ints = [7]> () other = Neg (x) same = Identity (k)
        t = Reshape (x, same) v = Identity (t) y = Abs (v) }"""
    assert values(a, b) == [("input 1 of Reshape node 'p'", [[6], [7]])]
    assert values(b, a) == [("input 1 of Reshape node 't'", [[7], [6]])]


def test_attributes() -> None:
    a = "g (float[6,4] x) => (float[A,B] y) { y = AveragePool <kernel_shape = [3]> (x) }"
    b = (
        "g (float[6,4] x) => (float[A,B] y) "
        "{ y = AveragePool <kernel_shape = [5], ceil_mode = 0> (x) }"
    )
    assert values(a, b) == [("attribute kernel_shape of AveragePool node 'y'", [[3], [5]])]
    c = a.replace("[3]>", "[3], pads = [1, 1]>")
    assert "attribute pads" in reason(a, c) and "only one of the exports has it" in reason(a, c)
    d = '{ y = AveragePool <kernel_shape = [3], auto_pad = "VALID"> (x) }'
    d = f"g (float[6,4] x) => (float[A,B] y) {d}"
    assert "auto_pad" in reason(a, d) and "another value" in reason(a, d)


def test_a_tensor_in_an_attribute() -> None:
    text = "g (int64[1] x) => (float[N] y) { y = ConstantOfShape <value = float[1] {%d.0}> (x) }"
    assert values(text % 2, text % 3) == [
        ("attribute value of ConstantOfShape node 'y'", [[2.0], [3.0]])
    ]


BODIES = """g (bool c, float[6] x) => (float[N] y) <int64[1] s = {{ {n} }}> {{
    y = If (c) <
        then_branch = t () => (float[N] a) {{ a = Reshape (x, s) }},
        else_branch = e () => (float[N] b) {{
            k = Constant <value = int64[1] {{ {m} }}> () b = Reshape (x, k) }}> }}"""


def test_bodies() -> None:
    found = differences(BODIES.format(n=6, m=6), BODIES.format(n=7, m=8))
    assert [str(d.place) for d in found] == [
        "input 1 of Reshape node 'b' in y.else_branch",
        "input 1 of Reshape node 'a' in y.then_branch",
    ]
    assert [[v.tolist() for v in d.values] for d in found] == [[[6], [8]], [[6], [7]]]


def test_loops() -> None:
    text = """g (int64 n, bool c, float[6] x) => (float[N] y) {{
        y = Loop (n, c, x) <
            body = b (int64 i, bool {p}, float[6] {q}) => (bool again, float[6] out) {{
            again = Identity ({p}) w = Constant <value_float = {v}> () out = Mul ({q}, w) }}> }}"""
    first = text.format(p="p", q="q", v="1.0")
    assert values(first, text.format(p="r", q="t", v="2.0")) == [
        ("input 1 of Mul node 'out' in y.body", [1.0, 2.0])
    ]
    swapped = first.replace("out = Mul (q, w)", "out = Mul (x, w)")
    assert "it is q in one, x in another" in reason(first, swapped)


def test_functions() -> None:
    def text(n: int) -> str:
        return (
            "g (float[6] x) => (float[N] y) { y = f.cut (x) } "
            f'<domain: "f", opset_import: ["" : 18]> cut (v) => (w) '
            f"{{ s = Constant <value_ints = [{n}]> () w = Reshape (v, s) }}"
        )

    assert values(text(6), text(9)) == [("input 1 of Reshape node 'w' in cut", [[6], [9]])]


def test_what_one_of_them_folded() -> None:
    a = "g (float[6] x) => (float[N] y) <int64[1] s = {6}> { y = Reshape (x, s) }"
    b = """g (float[6] x) => (float[N] y) <int64[1] s = {4}, int64[1] t = {3}>
        { u = Mul (s, t) y = Reshape (x, u) }"""
    assert values(a, b) == [("input 1 of Reshape node 'y'", [[6], [12]])]
    assert values(b, a) == [("input 1 of Reshape node 'y'", [[12], [6]])]
    # As many steps, by another op.
    c = b.replace("Mul", "Add")
    assert values(b, c) == [("input 1 of Reshape node 'y'", [[12], [7]])]


def test_the_first_place_that_differs_is_named() -> None:
    a = "g (float[6] x) => (float[N] y) { p = Neg (x) q = Abs (p) y = Relu (q) }"
    b = "g (float[6] x) => (float[N] y) { p = Sqrt (x) q = Abs (p) y = Relu (q) }"
    assert reason(a, b) == (
        "the exports differ at input 0 of Abs node 'q': it is made by Neg in one, made by Sqrt "
        "in another"
    )
    c = "g (float[6] x) => (float[N] y) { q = Abs (x) y = Relu (q) }"
    assert "it is made by Neg in one, the input x in another" in reason(a, c)
    d = "g (float[6] x) => (float[N] y) <float[6] k = {1,2,3,4,5,6}> { q = Abs (k) y = Relu (q) }"
    assert "it is made by Neg in one, a constant in another" in reason(a, d)


def test_other_signatures() -> None:
    a = "g (float[6] x) => (float[6] y) { y = Neg (x) }"
    assert "the inputs are" in reason(a, "g (float[6] z) => (float[6] y) { y = Neg (z) }")
    two = "g (float[6] x) => (float[6] y, float[6] z) { y = Neg (x) z = Abs (x) }"
    assert "1 outputs in one, 2 in another" in reason(a, two)
    clip = "g (float[6] x) => (float[6] y) { y = Clip (x) }"
    assert not differences(clip, clip.replace("(x) }", '(x, "") }'))
    bounded = "g (float[6] x) => (float[6] y) <float m = {1.0}> { y = Clip (x, m) }"
    assert "numbers of inputs" in reason(clip, bounded)


def test_two_outputs_of_one_node() -> None:
    a = "g (float[6] x) => (float[N] y) { p, q = Split <num_outputs = 2> (x) y = Neg (p) }"
    b = "g (float[6] x) => (float[N] y) { p, q = Split <num_outputs = 2> (x) y = Neg (q) }"
    assert "the exports differ" in reason(a, b)


def test_a_constant_that_is_read_twice_is_two_places() -> None:
    a = """g (float[6] x) => (float[N] y, float[M] z) <int64[1] s = {6}>
        { y = Reshape (x, s) z = Expand (x, s) }"""
    b = """g (float[6] x) => (float[N] y, float[M] z) <int64[1] s = {7}, int64[1] t = {8}>
        { y = Reshape (x, s) z = Expand (x, t) }"""
    assert [v for _, v in values(a, b)] == [[[6], [7]], [[6], [8]]]
    assert [d.place.tensor for d in differences(a, b)] == ["s", "s"]


def test_a_node_that_stands_for_two() -> None:
    a = """g (float[6] x) => (float[N] y, float[M] z) <int64[1] s = {6}>
        { p = Reshape (x, s) y = Neg (p) z = Abs (p) }"""
    b = """g (float[6] x) => (float[N] y, float[M] z) <int64[1] s = {7}, int64[1] t = {8}>
        { p = Reshape (x, s) q = Reshape (x, t) y = Neg (p) z = Abs (q) }"""
    assert "sizes that are all different" in reason(a, b)
    assert len(differences(b, a)) == 2
    assert "sizes that are all different" in reason(a, b.replace("{8}", "{6}"))


def test_a_constant_that_is_an_output() -> None:
    text = "g (float[6] x) => (float[6] y, int64[1] z) <int64[1] z = {%d}> { y = Neg (x) }"
    assert values(text % 6, text % 7) == [("input 1 of the outputs", [[6], [7]])]


def test_shapes_and_types() -> None:
    a = "g (float[6] x) => (float[N] y) <float[2] w = {1.0, 1.0}> { y = Concat <axis = 0> (x, w) }"
    b = a.replace("float[2] w = {1.0, 1.0}", "float[3] w = {1.0, 1.0, 1.0}")
    assert [v for _, v in values(a, b)] == [[[1.0, 1.0], [1.0, 1.0, 1.0]]]


def weights(path: Path, size: int, seed: int) -> ModelProto:
    noise = np.random.default_rng(seed).normal(size=(64, 64)).astype(np.float32)
    tensors = [
        numpy_helper.from_array(noise, "w"),
        numpy_helper.from_array(np.full(size, 2.0, np.float32), "t"),
    ]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["m"]),
            helper.make_node("Expand", ["t", "m"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        tensors,
    )
    made = helper.make_model(graph)
    path.mkdir()
    onnx.save(made, path / "m.onnx", save_as_external_data=True, size_threshold=0)
    return onnx.load(path / "m.onnx", load_external_data=False)


def test_external_data(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    a, b, c = (weights(f, n, s) for f, n, s in zip(folders, (3, 4, 3), (0, 0, 1), strict=True))
    read = [lambda t, f=f: read_tensor(t, f) for f in folders]
    found = align(a, [b], read=read[:2])
    assert isinstance(found, Aligned)
    assert [d.place.tensor for d in found.differences] == ["t"]
    found = align(a, [c], read=[read[0], read[2]])
    assert isinstance(found, Aligned)
    assert [d.place.tensor for d in found.differences] == ["w"]


def test_weights_that_were_left_out() -> None:
    a = model("g (float[6] x) => (float[6] y) <float[6] w = {1,2,3,4,5,6}> { y = Mul (x, w) }")
    light = ModelProto()
    light.CopyFrom(a)
    light.graph.initializer[0].CopyFrom(stub(a.graph.initializer[0], 0))
    found = align(light, [a])
    assert isinstance(found, Aligned)
    assert not found.differences and found.unread == 1


@pytest.mark.parametrize("count", [3000])
def test_long_and_shared_chains_take_linear_time(count: int) -> None:
    def chain(prefix: str, size: int) -> ModelProto:
        nodes, last = [], "x"
        for k in range(count):
            name = f"{prefix}{k}"
            nodes.append(helper.make_node("Add", [last, last], [name]))
            last = name
        nodes.append(helper.make_node("Reshape", [last, "s"], ["y"]))
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [size])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [size])],
            [numpy_helper.from_array(np.array([size]), "s")],
        )
        return helper.make_model(graph)

    start = time.perf_counter()
    found = differences(chain("a", 5), chain("b", 6))
    assert time.perf_counter() - start < 5
    assert len(found) == 1
