"""replace-bit-shift: products and quotients by powers of two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from recorded import assert_recorded

from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import ops, run_model, run_pass, skip_reasons
from onnx_fix_passes.replace_bit_shift import ReplaceBitShift

PASS = ReplaceBitShift()
KINDS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32]


def shift(
    kind: Any,
    direction: str,
    by: Any = None,
    opset: int = 28,
    shape: tuple[int | str, ...] = ("N",),
) -> ModelProto:
    """A shift by a constant, or by an input where none is given."""
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    inputs = [helper.make_tensor_value_info("x", number, shape)]
    weights = []
    if by is None:
        inputs.append(helper.make_tensor_value_info("s", number, shape))
    else:
        weights.append(numpy_helper.from_array(np.asarray(by, kind), "s"))
    node = helper.make_node("BitShift", ["x", "s"], ["y"], direction=direction)
    outputs = [helper.make_tensor_value_info("y", number, shape)]
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def wanted(x: Any, by: Any, direction: str) -> Any:
    """By Python's integers: a shift out of range moves all bits out."""
    info = np.iinfo(x.dtype)
    found = []
    for number, amount in zip(x.tolist(), by.tolist(), strict=True):
        many = amount if 0 <= amount <= info.bits else info.bits
        moved = number << many if direction == "LEFT" else number >> many
        found.append((moved - int(info.min)) % (1 << info.bits) + int(info.min))
    return np.array(found, x.dtype)


def below(model: ModelProto, opset: int = 18) -> ModelProto:
    """The rewritten model for a runtime that does not have the newest operator set."""
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", opset))
    return model


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_amounts(kind: Any, direction: str) -> None:
    info: Any = np.iinfo(kind)
    numbers = [0, 1, 5, info.max, info.min, info.max // 3, info.min // 3]
    amounts = list(range(max(info.min, -2), info.bits + 3))
    x = np.array([n for n in numbers for _ in amounts]).astype(kind)
    by = np.array(amounts * len(numbers)).astype(kind)
    fixed = below(run_pass(PASS, shift(kind, direction), target="rtx-1.7")[0])
    assert "BitShift" not in ops(fixed)
    with np.errstate(all="ignore"):
        for n in (len(x), 1, 0):
            (have,) = run_model(fixed, {"x": x[:n], "s": by[:n]})
            np.testing.assert_array_equal(have, wanted(x[:n], by[:n], direction))


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_constant_amounts(data: st.DataObject) -> None:
    kind: Any = data.draw(st.sampled_from(KINDS))
    direction = data.draw(st.sampled_from(["LEFT", "RIGHT"]))
    info: Any = np.iinfo(kind)
    integers = st.integers(int(info.min), int(info.max))
    x = np.array(data.draw(st.lists(integers, min_size=3, max_size=3)), kind)
    amounts = st.integers(0 if info.min == 0 else -1, info.bits + 1)
    by = np.array(data.draw(st.lists(amounts, min_size=3, max_size=3)), kind)
    target = data.draw(st.sampled_from(["trt-7.2", "rtx-1.7"])) if kind != np.uint32 else "rtx-1.7"
    fixed = below(run_pass(PASS, shift(kind, direction, by), target=target)[0])
    (have,) = run_model(fixed, {"x": x})
    np.testing.assert_array_equal(have, wanted(x, by, direction))


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6", "trt-10.3", "rtx-1.7"])
@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("by", [None, 3])
def test_the_target_takes_it(kind: Any, direction: str, by: Any, target: str) -> None:
    fixed = below(run_pass(PASS, shift(kind, direction, by), target=target)[0], 12)
    view = Model(fixed, None, load_target(target))
    assert not any(s.refused(n) for s in view.scopes for n in s.graph.nodes)


def test_how_many_nodes() -> None:
    left, _ = run_pass(PASS, shift(np.int32, "LEFT", 3), target="rtx-1.7")
    assert ops(left) == ["Mul"]
    right, _ = run_pass(PASS, shift(np.uint8, "RIGHT", 3, 11), target="rtx-1.7")
    assert ops(right) == ["Cast", "Div", "Cast"]
    signed, _ = run_pass(PASS, shift(np.int64, "RIGHT", 40), target="rtx-1.7")
    assert sorted(ops(signed)) == sorted(["Less", "Sub", "Where", "Div", "Div", "Sub", "Where"])
    again, results = run_pass(PASS, signed, target="rtx-1.7")
    assert again == signed and not any(r.changes for r in results)


@pytest.mark.parametrize("opset", [11, 13, 25])
def test_older_operator_sets(opset: int) -> None:
    for direction in ("LEFT", "RIGHT"):
        model = shift(np.uint8, direction, opset=opset)
        feed = {"x": np.array([255, 129, 3], np.uint8), "s": np.array([1, 7, 0], np.uint8)}
        (want,), (have,) = run_model(model, feed), run_model(run_pass(PASS, model)[0], feed)
        np.testing.assert_array_equal(have, want)


def test_scalars() -> None:
    model = shift(np.int32, "RIGHT", opset=28, shape=())
    fixed = below(run_pass(PASS, model, target="rtx-1.7")[0])
    (have,) = run_model(fixed, {"x": np.array(-9, np.int32), "s": np.array(1, np.int32)})
    assert have.shape == () and have == -5


def test_refusals() -> None:
    assert (
        "no signed integers hold all of UINT64"
        in skip_reasons(PASS, shift(np.uint64, "LEFT", opset=11))[0]
    )
    (reason,) = skip_reasons(PASS, shift(np.uint32, "LEFT", opset=11), target="trt-8.6")
    assert "which UINT32 needs, in 32 bits" in reason
    function = """<ir_version: 10, opset_import: ["" : 14, "my" : 1]>
    g (uint8[N] x) => (uint8[N] y) { y = my.f <d = "LEFT"> (x) }
    <opset_import: ["" : 14], domain: "my"> f <d> (a) => (b) {
      b = BitShift <direction: string = @d> (a, a) }"""
    assert "parameter of the enclosing function" in skip_reasons(PASS, function)[0]
    untyped = function.replace("<direction: string = @d>", '<direction = "LEFT">')
    assert "element type is not known" in skip_reasons(PASS, untyped)[0]


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 13]>
    g (bool c, uint8[N] x) => (uint8[N] y) {
      k = Constant <value = uint8 {1}> ()
      y = If (c) <
        then_branch = one () => (uint8[N] t) { t = BitShift <direction = "LEFT"> (x, k) },
        else_branch = two () => (uint8[N] e) { e = BitShift <direction = "RIGHT"> (x, k) }
      >
    }"""
    fixed, results = run_pass(PASS, text)
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    x = np.array([3, 200], np.uint8)
    assert run_model(fixed, {"c": np.array(True), "x": x})[0].tolist() == [6, 144]
    assert run_model(fixed, {"c": np.array(False), "x": x})[0].tolist() == [1, 100]


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    changed, left = assert_recorded(PASS, node_cases, "rtx-1.7", "BitShift", reference=True)
    assert len(changed) == 26 and len(left) == 2
    assert all("UINT64" in r for reasons in left.values() for r in reasons)
    assert TensorProto.UINT64 == 13
