"""replace-top-k: the smallest, run-time K, a K beyond the limit, integers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import (
    assert_rewrites,
    assert_same_outputs,
    ops,
    run_pass,
    skip_reasons,
)
from onnx_fix_passes import _top_k_forms as forms
from onnx_fix_passes.replace_top_k import ReplaceTopK

PASS = ReplaceTopK()
RNG = np.random.default_rng(5)
RANKED = ["Reshape", "Reshape", "Greater", "Equal", "And", "Or", "Cast", "MatMul", "Reshape"]


def model(
    signature: str,
    nodes: str,
    opset: int = 13,
) -> str:
    return f'<ir_version: 8, opset_import: ["" : {opset}]> g {signature} {{ {nodes} }}'


def top_k(
    k: int | str = 3,
    dtype: str = "float",
    shape: str = "N, 7",
    attributes: str = "axis = 1",
    opset: int = 13,
    before: str = "",
    data: str = "x",
) -> str:
    """A TopK of a constant K, or of an input ``k`` where it is a string."""
    made = f"k = Constant <value = int64[1] {{{k}}}> ()" if isinstance(k, int) else ""
    more = "" if isinstance(k, int) else f", int64[1] {k}"
    dims = ", ".join(f"d{n}" for n in range(shape.count(",") + 1))
    out = {"half": "float16"}.get(dtype, dtype)
    return model(
        f"({dtype}[{shape}] x{more}) => ({out}[{dims}] v, int64[{dims}] i)",
        f"{before} {made} v, i = TopK <{attributes}> ({data}, k)",
        opset,
    )


def refused(proto: ModelProto, target: str) -> list[str]:
    view = Model(proto, None, load_target(target))
    return [n.op for s in view.scopes for n in s.graph.nodes if s.refused(n)]


def numbers(*shape: int, dtype: str = "f4") -> NDArray[np.generic]:
    """Numbers with many equals."""
    return RNG.integers(-3, 4, shape).astype(dtype)


# -- the smallest ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float", "float16"])
@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("axis", [1, -2])
def test_smallest(dtype: str, opset: int, axis: int) -> None:
    text = top_k(
        dtype=dtype, shape="N, 4, M", attributes=f"axis = {axis}, largest = 0", opset=opset
    )
    kind = {"float": "f4", "float16": "f2"}[dtype]
    special = np.array([-0.0, 0.0, np.inf, -np.inf], kind).reshape(1, 4, 1)
    feeds = [{"x": numbers(n, 4, m, dtype=kind)} for n, m in ((1, 1), (3, 2), (0, 2))]
    fixed = assert_rewrites(
        PASS, text, after=["Neg", "TopK", "Neg"], feeds=[*feeds, {"x": special}]
    )
    assert refused(fixed, "trt-7.2") == []


def test_smallest_is_left_where_it_is_read() -> None:
    assert skip_reasons(PASS, top_k(attributes="largest = 0"), target="trt-8.5") == []


def test_only_the_indices_are_read() -> None:
    text = model(
        "(float[N, 7] x) => (int64[N, 2] i)",
        "k = Constant <value = int64[1] {2}> () v, i = TopK <largest = 0> (x, k)",
    )
    feeds = [{"x": numbers(n, 7)} for n in (1, 4)]
    assert_rewrites(PASS, text, after=["Neg", "TopK", "Neg"], feeds=feeds)


# -- K at run time ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.5"])
@pytest.mark.parametrize(
    "attributes", ["axis = 1", "axis = 1, largest = 0", "axis = -1, sorted = 1"]
)
def test_run_time_k(attributes: str, target: str) -> None:
    text = top_k("k", attributes=attributes)
    feeds = [{"x": numbers(2, 7), "k": np.array([k])} for k in (1, 4, 7, 0)]
    fixed, _ = run_pass(PASS, text, target=target)
    assert refused(fixed, target) == []
    assert_rewrites(PASS, text, after=ops(fixed), feeds=feeds, target=target)
    assert ops(fixed).count("Slice") == 2


def test_run_time_k_that_is_bounded() -> None:
    """``min(5, size)`` of a dynamic axis, as detectors write it."""
    text = model(
        "(float[2, N] x) => (float[2, M] v, int64[2, M] i)",
        "s = Shape (x) one = Constant <value = int64[1] {1}> () n = Gather (s, one) "
        "five = Constant <value = int64[1] {5}> () both = Concat <axis = 0> (five, n) "
        "m = ReduceMin <axes = [0], keepdims = 0> (both) k = Reshape (m, one) "
        "v, i = TopK <axis = 1> (x, k)",
    )
    x = numbers(2, 9)
    x[0, :] = -np.inf
    feeds = [{"x": x[:, :n]} for n in (1, 4, 5, 9, 0)]
    fixed, results = run_pass(PASS, text)
    assert refused(fixed, "trt-7.2") == []
    assert_rewrites(PASS, text, after=ops(fixed), feeds=feeds)
    assert "by lower index" in next(c.note for r in results for c in r.changes)


def test_a_k_that_folds() -> None:
    text = model(
        "(float[N, 7] x) => (float[N, 2] v, int64[N, 2] i)",
        "a = Constant <value = int64[1] {5}> () b = Constant <value = int64[1] {3}> () "
        "k = Sub (a, b) v, i = TopK (x, k)",
    )
    feeds = [{"x": numbers(n, 7)} for n in (1, 3)]
    assert_rewrites(PASS, text, after=["TopK"], feeds=feeds)


def test_run_time_k_without_a_bound() -> None:
    (reason,) = skip_reasons(PASS, top_k("k", shape="2, N"))
    assert reason.startswith("K is known at run time only")
    assert "--freeze" in reason
    (reason,) = skip_reasons(PASS, top_k("k", shape="2, 5000"), target="trt-8.6")
    assert "bounds it by 3840" in reason


def test_k_of_unknown_length() -> None:
    text = model(
        "(float[N, 7] x, int64[A] k) => (float[N, M] v, int64[N, M] i)", "v, i = TopK (x, k)"
    )
    fixed = assert_rewrites(
        PASS,
        text,
        after=["Reshape", "TopK"],
        feeds=[{"x": numbers(2, 7), "k": np.array([k])} for k in (1, 7)],
        target="rtx-1.7",
    )
    assert refused(fixed, "rtx-1.7") == []


# -- K beyond the limit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "shape", "attributes"),
    [
        (3841, "2, 4000", "axis = 1"),
        (7680, "1, 7680", "axis = -1, largest = 0"),
        (7681, "9000, 1", "axis = 0"),
        (4000, "1, N", "axis = 1"),
    ],
)
def test_large_k(k: int, shape: str, attributes: str) -> None:
    text = top_k(k, shape=shape, attributes=attributes)
    sizes = [int(d) if d != "N" else 4100 for d in shape.split(", ")]
    x = RNG.integers(-500, 500, sizes).astype(np.float32)
    far = np.where(x < 0, -np.inf, np.where(x > 400, np.inf, x)).astype(np.float32)
    low = np.where(x < 0, np.finfo(np.float32).min, x).astype(np.float32)
    fixed, _ = run_pass(PASS, text, target="trt-8.6")
    assert refused(fixed, "trt-8.6") == []
    feeds = [{"x": x}, {"x": far}, {"x": low}, {"x": np.zeros_like(x)}]
    feeds += [{"x": np.full_like(x, -np.inf)}]
    assert_rewrites(PASS, text, after=ops(fixed), feeds=feeds, target="trt-8.6")


def test_data_without_infinities_is_not_floored() -> None:
    plain = top_k(4000, shape="1, 4000", before="y = Sigmoid (x)", data="y")
    fixed, results = run_pass(PASS, plain)
    assert ops(fixed) == [
        "Sigmoid", "TopK", "Slice", "Slice", "Equal", "Greater", "And", "Less", "Or", "Where",
        "TopK", "Concat", "Concat",
    ]  # fmt: skip
    assert "infinities" not in results[0].changes[0].note
    x = RNG.standard_normal((1, 4000)).astype(np.float32) * 60
    assert_same_outputs(onnx.parser.parse_model(plain), fixed, {"x": x})
    _, results = run_pass(PASS, top_k(4000, shape="1, 4000"))
    assert "infinities" in results[0].changes[0].note


def test_half_floats_in_parts() -> None:
    text = top_k(4000, dtype="float16", shape="1, 4100")
    x = RNG.integers(-9, 9, (1, 4100)).astype(np.float16)
    x[0, :200] = -np.inf
    fixed, _ = run_pass(PASS, text)
    assert_same_outputs(onnx.parser.parse_model(text), fixed, {"x": x})


def test_large_k_that_is_left() -> None:
    (reason,) = skip_reasons(PASS, top_k(4000, dtype="int64", shape="1, 5000"), target="trt-10.3")
    assert reason.startswith("K is more than 3840, and INT64 has no value below")
    (reason,) = skip_reasons(PASS, top_k(300000, shape="1, 400000"))
    assert reason == "K is more than 64 times 3840"
    (reason,) = skip_reasons(PASS, top_k(4000, shape="1, N", opset=10), target="trt-7.2")
    assert "operator set 11" in reason


# -- integers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.5"])
@pytest.mark.parametrize("shape", ["6", "1, 6", "2, 6, 3", "N, 6"])
def test_integers(dtype: str, largest: int, target: str, shape: str) -> None:
    axis = 0 if shape == "6" else 1
    attributes = f"axis = {axis}, largest = {largest}"
    text = top_k(3, dtype=dtype, shape=shape, attributes=attributes)
    if shape == "N, 6" and target == "trt-7.2":
        (reason,) = skip_reasons(PASS, text, target=target)
        assert "needs a batch that is known" in reason
        return
    fixed, _ = run_pass(PASS, text, target=target)
    assert refused(fixed, target) == []
    sizes = [int(d) if d != "N" else 4 for d in shape.split(", ")]
    low, high = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    choice = np.array([low, low + 1, high, high - 1, 0, 2**24, 2**24 + 1])
    feeds = [{"x": RNG.choice(choice, sizes).astype(dtype)} for _ in range(6)]
    assert_rewrites(PASS, text, after=ops(fixed), feeds=feeds, target=target)


def test_nodes_of_integers() -> None:
    text = top_k(3, dtype="int32", shape="1, 6")
    assert_rewrites(PASS, text, after=[*RANKED, "TopK", "Reshape", "Gather"])


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9), st.data())
@settings(max_examples=25, deadline=None)
def test_integers_at_run_time_k(values: list[int], data: st.DataObject) -> None:
    text = top_k("k", dtype="int32", shape=f"1, {len(values)}")
    fixed, _ = run_pass(PASS, text)
    k = data.draw(st.integers(0, len(values)))
    feed = {"x": np.array([values], np.int32), "k": np.array([k])}
    assert_same_outputs(onnx.parser.parse_model(text), fixed, feed)


def test_narrow_integers() -> None:
    text = model(
        "(bool[N, M] x) => (int32[N, 3] v, int64[N, 3] i)",
        "y = Cast <to = 6> (x) k = Constant <value = int64[1] {3}> () v, i = TopK (y, k)",
    )
    feeds = [{"x": RNG.random((n, m)) < 0.5} for n, m in ((2, 9), (1, 3))]
    assert_rewrites(PASS, text, after=["Cast", "Cast", "TopK", "Cast"], feeds=feeds)


def test_integers_that_are_left() -> None:
    (reason,) = skip_reasons(PASS, top_k(dtype="int32", shape="2, N"))
    assert reason.startswith("INT32 of a length known at run time only")
    (reason,) = skip_reasons(PASS, top_k(dtype="int32", shape="1, 9000"))
    assert "too much memory" in reason
    (reason,) = skip_reasons(PASS, top_k(4000, dtype="int32", shape="1, 4000"))
    assert reason.startswith("K is more than 3840, and the data is INT32")
    assert skip_reasons(PASS, top_k(dtype="int32"), target="trt-9.0") == []


def test_an_open_order() -> None:
    """The first K of all are those of a sorted TopK alone."""
    for text in (
        top_k("k", attributes="axis = 1, sorted = 0"),
        top_k(4000, shape="1, 4100", attributes="axis = 1, sorted = 0"),
        top_k(3, dtype="int32", shape="1, 6", attributes="axis = 1, sorted = 0"),
    ):
        (reason,) = skip_reasons(PASS, text)
        assert reason.startswith("its order is left open")
    text = top_k(3, attributes="axis = 1, largest = 0, sorted = 0")
    fixed = assert_rewrites(PASS, text, after=["Neg", "TopK", "Neg"])
    (order,) = [a.i for a in fixed.graph.node[1].attribute if a.name == "sorted"]
    assert order == 0


# -- elsewhere -------------------------------------------------------------------------------------


def test_in_an_if_branch() -> None:
    text = model(
        "(float[2, 7] x, bool c) => (float[2, 3] y)",
        "y = If (c) <then_branch = t () => (float[2, 3] a) { "
        "k = Constant <value = int64[1] {3}> () a, i = TopK <largest = 0> (x, k) }, "
        "else_branch = e () => (float[2, 3] b) { k2 = Constant <value = int64[1] {3}> () "
        "b, j = TopK (x, k2) }>",
    )
    fixed, results = run_pass(PASS, text)
    assert sum(len(r.changes) for r in results) == 1
    for c in (True, False):
        feed = {"x": numbers(2, 7), "c": np.array(c)}
        assert_same_outputs(onnx.parser.parse_model(text), fixed, feed)


def test_function_attribute_and_unknown_rank() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13, "d" : 1]>
    g (float[N, 7] x, int64[1] k) => (float[N, M] v) { v = d.f <l = 0> (x, k) }
    <domain: "d", opset_import: ["" : 13]> f <l> (x, k) => (v) {
        v, i = TopK <largest: int = @l> (x, k) }"""
    reasons = skip_reasons(PASS, text)
    assert reasons == ["an attribute is a parameter of the function; inline it first"]
    text = text.replace("<largest: int = @l>", "<largest = 0>").replace("<l>", "")
    text = text.replace("<l = 0>", "")
    assert skip_reasons(PASS, text) == ["the rank of its input is not known"]


def test_the_limit_is_asked() -> None:
    proto = onnx.parser.parse_model(top_k())
    scope = Model(proto, None, load_target("trt-8.6")).scopes[0]
    node = next(iter(scope.nodes("TopK")))
    shape = scope.shape(node.inputs[0])
    assert shape is not None
    site = forms.Site(scope, node, node.inputs[0], int(TensorProto.FLOAT), shape, 1, 3, True, None)
    assert forms.most_that_fits(site) == 3840


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.2"])
def test_node_tests(node_cases: list[TestCase], target: str) -> None:
    seen = 0
    for case in node_cases:
        model = case.model
        if model is None or not case.name.startswith("test_top_k") or "uint64" in case.name:
            continue
        fixed, results = run_pass(PASS, model, target=target)
        assert any(r.changes for r in results), case.name
        assert refused(fixed, target) == []
        names = [v.name for v in model.graph.input]
        for values, _ in case.data_sets or ():
            feed = dict(zip(names, map(np.asarray, values), strict=True))
            assert_same_outputs(model, fixed, feed)
            seen += 1
    assert seen >= 6
