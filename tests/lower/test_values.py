"""Constant, Cast and CastLike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from onnx_fix.lower import lower
from onnx_fix.testing import run_model

Check = Callable[..., ModelProto]
Refusal = Callable[[str, int], str]


@pytest.mark.parametrize(
    ("kind", "rank", "attribute"),
    [
        ("int64", 0, "value_int = 3"),
        ("int64", 1, "value_ints = [1, -2]"),
        ("float", 0, "value_float = 0.5"),
        ("float", 1, "value_floats = [0.5, -1.0]"),
        ("string", 0, 'value_string = "a"'),
        ("string", 1, 'value_strings = ["a", "bc"]'),
    ],
)
def test_numbers_become_tensors(kind: str, rank: int, attribute: str, check: Check) -> None:
    text = f"""<ir_version: 8, opset_import: ["": 13]> g () => ({kind}{"[N]" * rank} y)
        {{y = Constant<{attribute}>()}}"""
    # onnx.reference gives strings of another numpy type at 13.
    after = check(text, 9, [{}], runtimes=["onnxruntime"])
    assert [a.name for a in after.graph.node[0].attribute] == ["value"]


@pytest.mark.parametrize("indices", [[1, 5], [[0, 1], [1, 2]]])
def test_a_sparse_tensor_is_written_out(indices: list[int]) -> None:
    values = helper.make_tensor("v", TensorProto.FLOAT, [2], [1.5, -2])
    flat = np.asarray(indices).reshape(-1).tolist()
    places = helper.make_tensor("i", TensorProto.INT64, np.asarray(indices).shape, flat)
    sparse = helper.make_sparse_tensor(values, places, [2, 3])
    node = helper.make_node("Constant", [], ["y"], sparse_value=sparse)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    graph = helper.make_graph([node], "g", [], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    after = lower(model, 10).model
    onnx.checker.check_model(after, full_check=True)
    np.testing.assert_array_equal(run_model(after, {})[0], [[0, 1.5, 0], [0, 0, -2]])


def test_a_cast_to_other_types_does_not_saturate(check: Check) -> None:
    text = """<ir_version: 10, opset_import: ["": 19]> g (float[N] x) => (int32[N] y)
        {y = Cast<to = 6, saturate = 0>(x)}"""
    x = np.array([1.5, -2.5, 0], np.float32)
    after = check(text, 9, [{"x": x}], want=["Cast"], runtimes=["reference"])
    assert [a.name for a in after.graph.node[0].attribute] == ["to"]


@pytest.mark.parametrize("version", [19, 23])
def test_a_cast_to_8_bit_floats_is_refused_below_19(version: int) -> None:
    text = f"""<ir_version: 10, opset_import: ["": {version}]> g (float[N] x) => (float[N] y) {{
        a = Cast<to = 17>(x)
        y = Cast<to = 1>(a)
    }}"""
    done = lower(onnx.parser.parse_model(text), 18)
    assert all("float8e4m3fn" in r.reason for r in done.refusals) and done.refusals


def test_infinities_in_8_bit_floats_changed_at_24(refusal: Refusal) -> None:
    text = """<ir_version: 11, opset_import: ["": 24]> g (float[N] x) => (float8e5m2fnuz[N] y)
        {y = Cast<to = 20>(x)}"""
    assert "infinity" in refusal(text, 23)


@pytest.mark.parametrize("opset", [14, 12, 9])
@pytest.mark.parametrize("kind", ["int32", "bool", "double"])
def test_cast_like(kind: str, opset: int, check: Check) -> None:
    text = f"""<ir_version: 10, opset_import: ["": 19]> g (float[N] x, {kind}[M] t) => ({kind}[N] y)
        {{y = CastLike(x, t)}}"""
    dtype = {"double": "float64"}.get(kind, kind)
    feeds = {"x": np.array([1.5, -2.5, 0], np.float32), "t": np.zeros(2, dtype)}
    check(text, opset, [feeds], want=["Cast"])
