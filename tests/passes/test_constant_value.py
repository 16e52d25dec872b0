"""ConstantValue: Constant nodes whose value stands in an unread attribute."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase

from onnx_fix.engine import Engine, Step
from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import (
    as_proto,
    assert_rewrites,
    ops,
    run_model,
    run_pass,
    run_reference,
    skip_reasons,
)
from onnx_fix_passes.constant_value import ConstantValue


def model_of(kind: int, shape: list[int], opset: int = 13, **attrs: Any) -> ModelProto:
    """``y`` is the constant itself, ``z`` its Identity."""
    nodes = [
        helper.make_node("Constant", [], ["y"], name="c", **attrs),
        helper.make_node("Identity", ["y"], ["z"]),
    ]
    outputs = [helper.make_tensor_value_info(name, kind, shape) for name in "yz"]
    graph = helper.make_graph(nodes, "g", [], outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


CASES: list[tuple[dict[str, Any], int, np.ndarray]] = [
    ({"value_int": -3}, TensorProto.INT64, np.array(-3)),
    ({"value_int": 2**40}, TensorProto.INT64, np.array(2**40)),
    ({"value_ints": [4, 0, -(2**33)]}, TensorProto.INT64, np.array([4, 0, -(2**33)])),
    ({"value_float": 0.1}, TensorProto.FLOAT, np.array(0.1, np.float32)),
    ({"value_floats": [0.5, np.inf]}, TensorProto.FLOAT, np.array([0.5, np.inf], np.float32)),
]


@pytest.mark.parametrize("opset", [12, 13, 21])
@pytest.mark.parametrize(("attrs", "kind", "want"), CASES)
def test_numbers(attrs: dict[str, Any], kind: int, want: np.ndarray, opset: int) -> None:
    before = model_of(kind, list(want.shape), opset, **attrs)
    fixed = assert_rewrites(ConstantValue(), before, after=["Constant", "Identity"], feeds=[{}])
    (attribute,) = fixed.graph.node[0].attribute
    assert attribute.name == "value"
    assert fixed.graph.node[0].name == "c"
    have = numpy_helper.to_array(attribute.t)
    assert have.dtype == want.dtype and have.shape == want.shape
    np.testing.assert_array_equal(have, want)


def test_empty_list() -> None:
    before = model_of(TensorProto.INT64, [0])
    attribute = before.graph.node[0].attribute.add()
    attribute.name, attribute.type = "value_ints", onnx.AttributeProto.INTS
    fixed, _ = run_pass(ConstantValue(), before)
    assert numpy_helper.to_array(fixed.graph.node[0].attribute[0].t).shape == (0,)
    assert run_model(fixed, {})[0].dtype == np.int64


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("trt-7.2", {"value_float", "value_floats", "value_int", "value_ints"}),
        ("trt-8.0", {"value_int", "value_ints"}),
        ("trt-8.6", {"value_int", "value_ints"}),
        ("trt-9.1", {"value_int", "value_ints"}),
        ("trt-9.2", set()),
        ("trt-10.3", set()),
        ("rtx-1.7", set()),
    ],
)
def test_only_where_the_target_misreads_it(target: str, names: set[str]) -> None:
    for attrs, kind, want in CASES:
        before = model_of(kind, list(want.shape), **attrs)
        after, results = run_pass(ConstantValue(), before, target=target)
        changed = bool(results[0].changes)
        assert changed == bool(names & set(attrs))
        assert changed or after == before
        assert not any(r.skipped for r in results)


def test_value_is_left_alone_even_when_forced() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]> g () => (float y)
    { y = Constant <value = float {2}> () }"""
    before = as_proto(text)
    assert run_pass(ConstantValue(everywhere=True), before)[0] == before


def sparse_model(
    dense: np.ndarray, *, coordinates: bool, kind: int = TensorProto.FLOAT
) -> ModelProto:
    places = np.flatnonzero(dense)
    indices = np.stack(np.unravel_index(places, dense.shape), 1) if coordinates else places
    value = helper.make_sparse_tensor(
        numpy_helper.from_array(dense.reshape(-1)[places], "v"),
        numpy_helper.from_array(indices.astype(np.int64), "i"),
        list(dense.shape),
    )
    return model_of(kind, list(dense.shape), sparse_value=value)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    coordinates=st.booleans(),
    data=st.data(),
)
def test_sparse_value(shape: list[int], coordinates: bool, data: st.DataObject) -> None:
    size = int(np.prod(shape))
    flat = data.draw(st.lists(st.sampled_from([0.0, 0.0, 1.5, -2.0]), min_size=size, max_size=size))
    dense = np.array(flat, np.float32).reshape(shape)
    fixed, _ = run_pass(ConstantValue(), sparse_model(dense, coordinates=coordinates))
    assert fixed.graph.node[0].attribute[0].name == "value"
    for have in (run_model(fixed, {})[0], run_reference(fixed, {})[0]):
        np.testing.assert_array_equal(have, dense)


def test_sparse_value_against_onnxruntime() -> None:
    before = sparse_model(np.array([[0, 3, 0], [4, 0, 0]], np.float32), coordinates=False)
    before.graph.node[1].CopyFrom(helper.make_node("Add", ["y", "y"], ["z"]))
    del before.graph.output[0]
    fixed, _ = run_pass(ConstantValue(), before, target="trt-10.3")
    np.testing.assert_array_equal(run_model(fixed, {})[0], run_model(before, {})[0])


def test_integer_sparse_value() -> None:
    dense = np.array([0, 2**40, 0], np.int64)
    before = sparse_model(dense, coordinates=False, kind=TensorProto.INT64)
    np.testing.assert_array_equal(run_model(run_pass(ConstantValue(), before)[0], {})[0], dense)


def test_large_sparse_value_is_skipped() -> None:
    value = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(1, np.float32), "v"),
        numpy_helper.from_array(np.zeros(1, np.int64), "i"),
        [4096, 4096],
    )
    before = model_of(TensorProto.FLOAT, [4096, 4096], sparse_value=value)
    (said,) = skip_reasons(ConstantValue(), before)
    assert "larger than limit_mib = 16" in said
    fixed, _ = run_pass(ConstantValue(limit_mib=64), before)
    assert list(fixed.graph.node[0].attribute[0].t.dims) == [4096, 4096]


def test_external_sparse_value_is_skipped() -> None:
    before = sparse_model(np.array([1, 0], np.float32), coordinates=False)
    held = before.graph.node[0].attribute[0].sparse_tensor.values
    held.ClearField("raw_data")
    held.data_location = TensorProto.EXTERNAL
    entry = held.external_data.add()
    entry.key, entry.value = "location", "weights.bin"
    # The checker of run_pass would look for the file.
    (result,) = Engine(Model(before, None, load_target("trt-7.2"))).run([Step(ConstantValue())])
    assert not result.changes
    assert "another file" in result.skipped[0].reason


@pytest.mark.parametrize("attrs", [{"value_string": "a"}, {"value_strings": ["a", "b"]}])
def test_strings_are_skipped(attrs: dict[str, Any]) -> None:
    shape = [] if "value_string" in attrs else [2]
    (said,) = skip_reasons(ConstantValue(), model_of(TensorProto.STRING, shape, **attrs))
    assert "TensorRT has no strings" in said


def test_in_branches_loops_and_functions() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18, "my" : 1]>
    g (int64 n, bool c) => (float y, int64 z, float w) <bool go = {1}, int64 zero = {0}> {
      y = If (c) <
        then_branch = t () => (float p) { p = Constant <value_float = 1.5> () },
        else_branch = f () => (float q) { q = Constant <value_float = 2.5> () }
      >
      z = Loop (n, go, zero) <
        body = b (int64 i, bool k, int64 s) => (bool k2, int64 r) {
          k2 = Identity (k)
          t = Constant <value_int = 7> ()
          r = Add (t, s)
        }
      >
      w = my.half (y)
    }
    <domain: "my", opset_import: ["" : 18]> half (x) => (h) {
      k = Constant <value_float = 0.5> ()
      h = Mul (x, k)
    }"""
    fixed, results = run_pass(ConstantValue(), text)
    scopes = sorted(c.scope for r in results for c in r.changes)
    assert scopes == ["function my::half", "y/else_branch", "y/then_branch", "z/body"]
    for choice, want in ((True, 1.5), (False, 2.5)):
        y, z, w = run_model(fixed, {"n": np.array(3), "c": np.array(choice)})
        assert (float(y), int(z), float(w)) == (want, 21, want / 2)


def test_function_parameter_is_skipped() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13, "my" : 1]>
    g (float x) => (float y) { y = my.scale <by = 2.0> (x) }
    <domain: "my", opset_import: ["" : 13]> scale <by> (x) => (y) {
      k = Constant <value_float : float = @by> ()
      y = Mul (x, k)
    }"""
    (said,) = skip_reasons(ConstantValue(), text)
    assert "parameter of the function" in said


def test_backend_node_tests(node_cases: list[TestCase]) -> None:
    done = 0
    for case in node_cases:
        model = case.model
        if model is None or all(n.op_type != "Constant" for n in model.graph.node):
            continue
        fixed, results = run_pass(ConstantValue(everywhere=True), model)
        if not results[0].changes:
            assert fixed == model
            continue
        for inputs, outputs in case.data_sets or ():
            feeds = dict(zip((v.name for v in model.graph.input), inputs, strict=True))
            have: Any = run_reference(fixed, feeds)
            for k, want in enumerate(outputs):
                np.testing.assert_allclose(have[k], want, rtol=case.rtol, atol=case.atol)
        done += 1
        assert ops(fixed) == ops(model)
    assert done > 20
