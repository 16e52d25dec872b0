"""InlineFunctions: calls of local functions, written out."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from inlining import HEAD, X, inlined, reasons, unchanged
from onnx import helper

from onnx_fix.errors import ModelError
from onnx_fix.testing import (
    as_proto,
    assert_same_outputs,
    ops,
    run_model,
    run_pass,
    run_reference,
)
from onnx_fix_passes.inline_functions import InlineFunctions

SCALE = (
    HEAD
    + """
g (float[N] x) => (float[N] y, float[N] z) {
  a = my.scale <by = 0.5> (x)
  y = my.twice (a)
  z = my.scale <by = 3.0> (y)
}
<domain: "my", opset_import: ["" : 18]> scale <by> (x) => (y) {
  k = Constant <value_float : float = @by> ()
  y = Mul (x, k)
}
<domain: "my", opset_import: ["" : 18, "my" : 1]> twice (x) => (y) {
  a = my.scale <by = 2.0> (x)
  y = Relu (a)
}
"""
)


# -- before 9.0 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6"])
def test_every_call_is_inlined(target: str) -> None:
    before = as_proto(SCALE)
    fixed = inlined(before, target)
    assert ops(fixed) == ["Constant", "Mul", "Constant", "Mul", "Relu", "Constant", "Mul"]
    assert not fixed.functions
    assert list(fixed.graph.input) == list(before.graph.input)
    assert list(fixed.graph.output) == list(before.graph.output)
    onnx.checker.check_model(fixed, full_check=True)
    for x in (X, X[:1], X[:0]):
        assert_same_outputs(before, fixed, {"x": x})


def test_lines_name_function_count_and_reason() -> None:
    assert reasons(SCALE, "trt-8.6") == [
        "my::scale inlined (3 calls): TensorRT 8.6 does not read functions",
        "my::twice inlined (1 call): TensorRT 8.6 does not read functions",
    ]


def test_model_without_calls_is_left_alone() -> None:
    text = (
        HEAD
        + """ g (float[N] x) => (float[N] y) { y = Relu (x) }
    <domain: "my", opset_import: ["" : 18]> f (x) => (y) { y = Neg (x) }"""
    )
    unchanged(text, "trt-7.2")
    unchanged(HEAD + " g (float[N] x) => (float[N] y) { y = Relu (x) }", "trt-7.2")


def test_nodes_are_signed_and_keep_what_they_had() -> None:
    before = as_proto(SCALE)
    before.graph.node[1].name = "double"
    before.graph.node[1].metadata_props.add(key="from", value="the call")
    body = before.functions[0].node[1]
    body.name, body.doc_string = "product", "doc of Mul"
    body.metadata_props.add(key="from", value="the body")
    body.metadata_props.add(key="module", value="scale")
    fixed = inlined(before)
    props = [{p.key: p.value for p in node.metadata_props} for node in fixed.graph.node]
    assert all(p["onnx_fix.pass"] == "inline-functions" for p in props)
    assert [p["onnx_fix.from"] for p in props] == [
        *["a", "a"], *["double/a", "double/a"], "double", *["z", "z"],
    ]  # fmt: skip
    assert props[1]["from"] == "the body" and props[1]["module"] == "scale"
    assert props[4]["from"] == "the call"
    docs = ["", "doc of Mul", "", "doc of Mul", "", "", "doc of Mul"]
    assert [n.doc_string for n in fixed.graph.node] == docs
    names = [n.name for n in fixed.graph.node if n.name]
    assert len(names) == 3 == len(set(names))


def test_signature_before_ir_version_10() -> None:
    fixed = inlined(SCALE.replace("ir_version: 10", "ir_version: 8"))
    assert all(
        "onnx_fix.pass=inline-functions onnx_fix.from=" in n.doc_string for n in fixed.graph.node
    )
    assert not any(n.metadata_props for n in fixed.graph.node)


def test_nothing_else_is_lost() -> None:
    before = as_proto(SCALE.replace("z = my.scale <by = 3.0> (y)", "z = Neg (y)"))
    before.producer_name, before.doc_string, before.model_version = "exporter", "a model", 7
    before.domain = "org.example"
    before.metadata_props.add(key="k", value="v")
    graph = before.graph
    graph.doc_string, graph.name = "a graph", "main"
    graph.metadata_props.add(key="k", value="v")
    graph.value_info.append(helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, ["N"]))
    note = graph.quantization_annotation.add()
    note.tensor_name = "a"
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="x")
    graph.node[2].doc_string = "a node"
    graph.node[2].metadata_props.add(key="k", value="v")
    graph.input[0].doc_string = "an input"
    fixed = inlined(before)
    assert fixed.graph.node[-1] == graph.node[2]
    for name in ("producer_name", "doc_string", "model_version", "domain", "metadata_props"):
        assert getattr(fixed, name) == getattr(before, name), name
    for name in ("name", "doc_string", "metadata_props", "input", "output"):
        assert getattr(fixed.graph, name) == getattr(graph, name), name
    assert list(fixed.graph.quantization_annotation) == list(graph.quantization_annotation)
    assert graph.value_info[0] in list(fixed.graph.value_info)


def test_names_never_collide() -> None:
    text = (
        HEAD
        + """
    g (float[N] x) => (float[N] y, float[N] a__1, float[N] a) {
      a = Neg (x)
      b = my.f (x)
      y = my.f (b)
      a__1 = Abs (a)
      a__2 = Relu (a)
    }
    <domain: "my", opset_import: ["" : 18]> f (x) => (y) { a = Relu (x) y = Sub (a, x) }"""
    )
    fixed = inlined(text)
    made = [name for node in fixed.graph.node for name in node.output]
    assert len(made) == len(set(made))
    assert_same_outputs(as_proto(text), fixed, {"x": X})


def test_defaults_of_attributes() -> None:
    text = (
        HEAD
        + """
    g (float[N] x) => (float[N] y, float[N] z, float[N] w) {
      y = my.f (x)
      z = my.f <a = 0.25> (x)
      w = my.h (x)
    }
    <domain: "my", opset_import: ["" : 18]> f <a : float = 0.5> (x) => (y) {
      y = Elu <alpha : float = @a> (x)
    }
    <domain: "my", opset_import: ["" : 18]> h <a> (x) => (y) { y = Elu <alpha : float = @a> (x) }"""
    )
    fixed = inlined(text)
    alphas = [[a.f for a in n.attribute] for n in fixed.graph.node]
    assert alphas == [[0.5], [0.25], []]
    want = np.where(X > 0, X, 0.5 * np.expm1(X)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(run_reference(fixed, {"x": X})[0]), want, rtol=1e-6)


def test_overloads() -> None:
    before = as_proto(
        HEAD
        + """ g (float[N] x) => (float[N] y, float[N] z) { y = my.f (x) z = my.f (x) }
        <domain: "my", opset_import: ["" : 18]> f (x) => (y) { y = Neg (x) }
        <domain: "my", opset_import: ["" : 18]> f (x) => (y) { y = Abs (x) }"""
    )
    before.functions[1].overload = before.graph.node[1].overload = "second"
    assert ops(inlined(before)) == ["Neg", "Abs"]
    for target in ("trt-9.0", "trt-10.3", "rtx-1.7"):
        assert all("two have this one" in line for line in reasons(before, target))


def test_outputs_that_are_inputs_or_the_same_twice() -> None:
    text = (
        HEAD
        + """
    g (float[N] x) => (float[N] y, float[N] a, float[N] b) { y, a, b = my.f (x) }
    <domain: "my", opset_import: ["" : 18]> f (x) => (x, n, n) { n = Neg (x) }"""
    )
    fixed = inlined(text)
    assert sorted(ops(fixed)) == ["Identity", "Identity", "Neg"]
    y, a, b = run_model(fixed, {"x": X})
    np.testing.assert_array_equal([y, a, b], [X, -X, -X])


def test_missing_inputs_and_outputs() -> None:
    text = (
        HEAD
        + """
    g (float[N] x, float high) => (float[N] y, float[N] z, float[N] w) {
      y = my.limit (x, "", high)
      z = my.limit (x)
      w = my.two (x)
    }
    <domain: "my", opset_import: ["" : 18]> limit (x, low, high) => (y) { y = Clip (x, low, high) }
    <domain: "my", opset_import: ["" : 18]> two (x) => (n, a) { n = Neg (x) a = Abs (x) }"""
    )
    fixed = inlined(text)
    y, z, w = run_model(fixed, {"x": X, "high": np.array(1, np.float32)})
    np.testing.assert_array_equal(y, np.minimum(X, 1))
    np.testing.assert_array_equal(z, X)
    np.testing.assert_array_equal(w, -X)


IN_BODIES = (
    HEAD
    + """
g (int64 n, bool c, float[N] x) => (float[N] y, float[N] z) <bool go = {1}> {
  y = If (c) <
    then_branch = t () => (float[N] p) { p = my.f (c, x) },
    else_branch = e () => (float[N] q) { k = Neg (x) q = my.f (c, k) }
  >
  z = Loop (n, go, x) <
    body = b (int64 i, bool s, float[N] v) => (bool s2, float[N] w) {
      s2 = Identity (s)
      w = my.f (c, v)
    }
  >
}
<domain: "my", opset_import: ["" : 18]> f (c, x) => (y) {
  k = Abs (x)
  y = If (c) <
    then_branch = t () => (float[N] p) { p = Add (k, x) },
    else_branch = e () => (float[N] q) { q = Sub (k, x) }
  >
}"""
)


def test_calls_in_bodies_of_functions_with_bodies() -> None:
    before = as_proto(IN_BODIES)
    fixed = inlined(before)
    assert not fixed.functions
    for choice in (True, False):
        case = {"n": np.array(2), "c": np.array(choice), "x": X}
        assert_same_outputs(before, fixed, case)
    branch = fixed.graph.node[0].attribute[0].g
    sources = [{p.key: p.value for p in n.metadata_props}["onnx_fix.from"] for n in branch.node]
    assert sources == ["y/then_branch:p", "y/then_branch:p"]


def test_heavy_weights_survive() -> None:
    before = as_proto(
        HEAD
        + """ g (float[N,64] x) => (float[N,64] y) { y = my.f (x, w) }
        <domain: "my", opset_import: ["" : 18]> f (x, w) => (y) { y = MatMul (x, w) }"""
    )
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    before.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    fixed = inlined(before)
    assert fixed.graph.initializer[0] == before.graph.initializer[0]
    assert_same_outputs(before, fixed, {"x": np.ones((2, 64), np.float32)})


def test_heavy_constant_of_a_function_is_there_for_every_call() -> None:
    before = as_proto(
        HEAD
        + """ g (float[N,64] x) => (float[N,64] y) { a = my.f (x) y = my.f (a) }
        <domain: "my", opset_import: ["" : 18]> f (x) => (y) { y = Neg (x) }"""
    )
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    body = before.functions[0]
    del body.node[:]
    held = onnx.numpy_helper.from_array(weights, "held")
    body.node.append(helper.make_node("Constant", [], ["w"], value=held))
    body.node.append(helper.make_node("MatMul", ["x", "w"], ["y"]))
    fixed = inlined(before)
    assert [n.attribute[0].t for n in fixed.graph.node if n.op_type == "Constant"] == [held, held]
    assert_same_outputs(before, fixed, {"x": np.ones((2, 64), np.float32)})


def test_training_information_survives() -> None:
    before = as_proto(SCALE)
    before.training_info.add().update_binding.add(key="a", value="b")
    assert list(inlined(before).training_info) == list(before.training_info)


def test_unused_functions_stay_with_what_they_call() -> None:
    text = (
        HEAD
        + """ g (float[N] x) => (float[N] y) { y = my.f (x) }
    <domain: "my", opset_import: ["" : 18]> f (x) => (y) { y = Neg (x) }
    <domain: "my", opset_import: ["" : 18, "my" : 1]> unused (x) => (y) { y = my.f (x) }"""
    )
    fixed = inlined(text)
    assert ops(fixed) == ["Neg"]
    assert [f.name for f in fixed.functions] == ["f", "unused"]


def test_operator_sets_of_the_function_are_imported() -> None:
    text = (
        HEAD
        + """ g (float[N] x) => (float[N] y) { y = my.f (x) }
    <domain: "my", opset_import: ["" : 18, "com.microsoft" : 1]> f (x) => (y) {
      y = com.microsoft.Gelu (x)
    }"""
    )
    fixed = inlined(text)
    assert {(o.domain, o.version) for o in fixed.opset_import} >= {("", 18), ("com.microsoft", 1)}
    assert_same_outputs(as_proto(text), fixed, {"x": X})


# -- functions written for another operator set ----------------------------------------------------

OTHER_OPSET = (
    HEAD
    + """
g (float[2,3] x) => (float[2,1] y, float[2,3] z) { y = my.f (x) z = my.h (x) }
<domain: "my", opset_import: ["" : 11]> f (x) => (y) {
  n = Neg (x)
  y = ReduceSum <axes = [1]> (n)
}
<domain: "my", opset_import: ["" : 17]> h (x) => (y) { n = Neg (x) y = Softmax (n) }"""
)


def test_translation_to_the_operator_set_of_the_model() -> None:
    fixed = inlined(OTHER_OPSET)
    assert ops(fixed) == ["Neg", "Constant", "ReduceSum", "Neg", "Softmax"]
    sources = [
        {p.key: p.value for p in n.metadata_props}["onnx_fix.from"] for n in fixed.graph.node
    ]
    assert sources == ["y", "y", "y", "z", "z"]
    assert not any("\x02" in n.doc_string for n in fixed.graph.node)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    # onnxruntime reads the bodies with the opset of the model and refuses the first.
    y, z = run_reference(fixed, {"x": x})
    np.testing.assert_array_equal(y, -x.sum(1, keepdims=True))
    soft = np.exp(-x) / np.exp(-x).sum(1, keepdims=True)
    np.testing.assert_allclose(np.asarray(z, np.float64), soft, rtol=1e-6)


def test_softmax_of_an_older_operator_set_flattens() -> None:
    text = (
        HEAD
        + """ g (float[2,3,4] x) => (float[2,3,4] y) { y = my.f (x) }
    <domain: "my", opset_import: ["" : 11]> f (x) => (y) { y = Softmax <axis = 1> (x) }"""
    )
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    want = np.exp(x) / np.exp(x).sum((1, 2), keepdims=True)
    (have,) = run_model(inlined(text), {"x": x})
    np.testing.assert_allclose(np.asarray(have, np.float64), want, rtol=1e-5)


def test_what_cannot_be_translated_is_an_error() -> None:
    text = (
        HEAD
        + """ g (float[2,3] x) => (float[2,3] y) { y = my.f (x) }
    <domain: "my", opset_import: ["" : 20]> f (x) => (y) { y = Gelu (x) }"""
    )
    with pytest.raises(ModelError, match="Gelu differ: export functions and model with one"):
        run_pass(InlineFunctions(), text)


def test_circle_is_an_error() -> None:
    text = (
        HEAD
        + """ g (float[N] x) => (float[N] y) { y = my.f (x) }
    <domain: "my", opset_import: ["" : 18, "my" : 1]> f (x) => (y) { y = my.h (x) }
    <domain: "my", opset_import: ["" : 18, "my" : 1]> h (x) => (y) { y = my.f (x) }"""
    )
    with pytest.raises(ModelError, match="my::f -> my::h -> my::f"):
        run_pass(InlineFunctions(), text)
