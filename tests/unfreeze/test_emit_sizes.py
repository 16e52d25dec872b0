"""Sizes computed at run time are the sizes that ``Size.at`` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from onnx_fix.symbolic import Size, largest, parse_size, size, smallest
from onnx_fix.testing import run_model
from onnx_fix.unfreeze.emit_sizes import Nodes, factors, names_of

SOURCES = {"h": ("x", 0), "w": ("x", 1), "n": ("y", 0)}


def nodes_for(opset: int = 18) -> Nodes:
    return Nodes(opset, SOURCES, taken=["unfreeze/Add_0"])


def model_of(nodes: Nodes, outputs: Sequence[str], ranks: Sequence[int]) -> onnx.ModelProto:
    """A model that computes nothing but these int64 tensors."""
    graph = helper.make_graph(
        [helper.make_node("Identity", [o], [f"out{k}"]) for k, o in enumerate(outputs)],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["h", "w"]),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"]),
        ],
        [
            helper.make_tensor_value_info(f"out{k}", TensorProto.INT64, [None] * rank)
            for k, rank in enumerate(ranks)
        ],
    )
    nodes.insert(graph)
    opsets = [helper.make_opsetid("", nodes.opset)]
    model = helper.make_model(graph, ir_version=10, opset_imports=opsets)
    onnx.checker.check_model(model, full_check=True)
    return model


def feeds(
    values: Mapping[str, int],
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    return {
        "x": np.zeros((values["h"], values["w"]), np.float32),
        "y": np.zeros(values["n"], np.float32),
    }


EXPRESSIONS = [
    "h",
    "7",
    "h + w + n",
    "h//8 * (w//8)",
    "(h//8 + 1) * (w//8 + 1)",
    "(n - 3)//2",
    "-(-h//8)",
    "max(n - 5, w) * 3 - 2",
    "min(h - 9, n)//4",
    "(h - 20)//(w + 1)",
    "n - h*w",
    "3*h + 6",
    "-h - 4",
    "(h + 3)//4 * ((w + 3)//4) + (h + 7)//8 * ((w + 7)//8)",
]


@pytest.mark.parametrize("opset", [9, 11, 12, 13, 21, 25])
@pytest.mark.parametrize("values", [(16, 24, 5), (1, 1, 0), (33, 2, 100)])
def test_lengths_scalars_and_vectors(opset: int, values: tuple[int, int, int]) -> None:
    at = dict(zip("hwn", values, strict=True))
    sizes = [parse_size(text) for text in EXPRESSIONS]
    nodes = nodes_for(opset)
    lengths = [nodes.length(s) for s in sizes]
    scalars = [nodes.scalar(s) for s in sizes]
    vector = nodes.vector(sizes)
    model = model_of(nodes, [*lengths, *scalars, vector], [1] * len(sizes) + [0] * len(sizes) + [1])
    got = run_model(model, feeds(at))
    want = [s.at(at) for s in sizes]
    assert [g.tolist() for g in got[: len(sizes)]] == [[w] for w in want]
    assert [g.tolist() for g in got[len(sizes) : -1]] == want
    assert got[-1].tolist() == want


def numbers() -> st.SearchStrategy[Size]:
    leaves = st.one_of(st.sampled_from([size(s) for s in "hwn"]), st.integers(-9, 9).map(size))

    def more(inner: st.SearchStrategy[Size]) -> st.SearchStrategy[Size]:
        pair = st.tuples(inner, inner)
        return st.one_of(
            pair.map(lambda p: p[0] + p[1]),
            pair.map(lambda p: p[0] - p[1]),
            pair.map(lambda p: p[0] * p[1]),
            pair.map(lambda p: largest(*p)),
            pair.map(lambda p: smallest(*p)),
            st.tuples(inner, st.integers(-7, 9).filter(bool)).map(lambda p: p[0] // p[1]),
            st.tuples(inner, st.sampled_from([size("h") + 1, size("w") - 20])).map(
                lambda p: p[0] // p[1]
            ),
        )

    return st.recursive(leaves, more, max_leaves=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers(), min_size=1, max_size=4), st.sampled_from([9, 13, 18]))
def test_any_expression(sizes: list[Size], opset: int) -> None:
    nodes = nodes_for(opset)
    model = model_of(nodes, [nodes.vector(sizes)], [1])
    for at in ({"h": 12, "w": 7, "n": 40}, {"h": 1, "w": 3, "n": 0}):
        assert run_model(model, feeds(at))[0].tolist() == [s.at(at) for s in sizes]


def test_every_subexpression_is_computed_once() -> None:
    nodes = nodes_for()
    grid = parse_size("(h + 2)*(w + 2)")
    nodes.vector([1, 2, grid, grid + 1, "h", 4])
    assert [n.op_type for n in nodes.nodes].count("Shape") == 1
    assert [n.op_type for n in nodes.nodes].count("Mul") == 1
    assert len(nodes.nodes) == 8, nodes.nodes
    count = len(nodes.nodes)
    nodes.vector([1, 2, grid, grid + 1, "h", 4])
    assert len(nodes.nodes) == count


def test_numbers_alone_are_one_constant() -> None:
    nodes = nodes_for()
    assert nodes.vector([1, 2, 3]) == nodes.vector([1, 2, 3])
    nodes.vector([])
    assert not nodes.nodes and len(nodes.initializers) == 2


def test_names_do_not_collide() -> None:
    nodes = nodes_for()
    assert nodes.length(size("h") + 1) == "unfreeze/Add_1"


def test_names_in_bodies_are_taken() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 14]> g (bool c, float[N] x) => (float[N] y) {'
        "y = If (c) <then_branch = t () => (float[N] a) { inner = Neg (x) a = Abs (inner) },"
        "else_branch = e () => (float[N] b) { b = Identity (x) }> }"
    )
    assert {"inner", "a", "b", "x", "y", "c"} <= names_of(model)


def test_nodes_stand_after_what_they_read() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 14]> g (float[N] x) => (int64[1] y) '
        "{ a = Neg (x) b = Abs (a) y = Shape (b) }"
    )
    nodes = Nodes(14, {"n": ("a", 0)})
    assert nodes.length("n")
    nodes.insert(model.graph)
    assert [n.op_type for n in model.graph.node] == ["Neg", "Shape", "Gather", "Abs", "Shape"]
    onnx.checker.check_model(model, full_check=True)
    before = model.SerializeToString()
    nodes.insert(model.graph)
    assert model.SerializeToString() == before


def test_a_symbol_without_a_source_is_an_error() -> None:
    with pytest.raises(KeyError):
        nodes_for().length("k")


def test_factors() -> None:
    product = parse_size("3*(h + 2)*(w//8 + 1)")
    assert set(factors(product)) == {size("h") + 2, size("w") // 8 + 1, size(3)}
    assert factors("h") == (size("h"),)
    assert factors(6) == (size(6),)
    assert len(factors(parse_size("h + w"))) == 1
