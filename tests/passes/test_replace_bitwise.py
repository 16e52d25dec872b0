"""replace-bitwise: bits by arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from recorded import assert_recorded

from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import assert_same_outputs, ops, run_model, run_pass, skip_reasons
from onnx_fix_passes.lower_opset import LowerOpset
from onnx_fix_passes.replace_bitwise import ReplaceBitwise

PASS = ReplaceBitwise()
KINDS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32]
WANTED: dict[str, Any] = {
    "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
}


def bitwise(
    op: str,
    kind: Any,
    mask: Any = None,
    *,
    opset: int = 18,
    shapes: tuple[Any, Any] = (["N"], ["N"]),
    first: bool = False,
) -> ModelProto:
    """An op on two inputs, or on one and a constant, which may stand first."""
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    inputs = [helper.make_tensor_value_info("a", number, shapes[0])]
    names, weights = ["a"], []
    if op != "BitwiseNot":
        names = ["b", "a"] if first else ["a", "b"]
    if op != "BitwiseNot" and mask is None:
        inputs.append(helper.make_tensor_value_info("b", number, shapes[1]))
    elif op != "BitwiseNot":
        weights.append(numpy_helper.from_array(np.asarray(mask, kind), "b"))
    node = helper.make_node(op, names, ["y"])
    rank = max(map(len, shapes))
    outputs = [helper.make_tensor_value_info("y", number, [f"o{k}" for k in range(rank)])]
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def edges(kind: Any) -> Any:
    info: Any = np.iinfo(kind)
    random = np.random.default_rng(info.bits)
    some = random.integers(info.min, info.max, 12, dtype=kind, endpoint=True)
    return np.concatenate([np.array([0, 1, info.max, info.min, info.max - 1], kind), some])


@pytest.mark.parametrize("op", list(WANTED))
@pytest.mark.parametrize("kind", KINDS)
def test_two_inputs(op: str, kind: Any) -> None:
    values = edges(kind)
    a, b = np.repeat(values, len(values)), np.tile(values, len(values))
    fixed, _ = run_pass(PASS, bitwise(op, kind), target="rtx-1.7")
    assert op not in ops(fixed) and "ReduceSum" in ops(fixed)
    for n in (len(a), 1, 0):
        (have,) = run_model(fixed, {"a": a[:n], "b": b[:n]})
        np.testing.assert_array_equal(have, WANTED[op](a[:n], b[:n]))


@pytest.mark.parametrize("kind", KINDS)
def test_not(kind: Any) -> None:
    model = bitwise("BitwiseNot", kind)
    fixed, _ = run_pass(PASS, model, target="rtx-1.7")
    small = kind not in (np.int32, np.int64)
    assert ops(fixed) == (["Cast", "Sub", "Cast"] if small else ["Sub"])
    for values in (edges(kind), edges(kind)[:1], edges(kind)[:0]):
        (have,) = run_model(fixed, {"a": values})
        np.testing.assert_array_equal(have, ~values)


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_any_mask(data: st.DataObject) -> None:
    op = data.draw(st.sampled_from(list(WANTED)))
    kind: Any = data.draw(st.sampled_from(KINDS))
    info: Any = np.iinfo(kind)
    few = st.lists(st.integers(0, info.bits - 1), max_size=4)
    bits = sum({1 << k for k in data.draw(few)})
    if data.draw(st.booleans()):
        bits = (1 << info.bits) - 1 - bits
    mask = np.array(bits, np.uint64).astype(kind)
    model = bitwise(op, kind, mask, first=data.draw(st.booleans()))
    fixed, _ = run_pass(PASS, model, target="rtx-1.7")
    values = edges(kind)
    (have,) = run_model(fixed, {"a": values})
    np.testing.assert_array_equal(have, WANTED[op](values, mask))


@pytest.mark.parametrize(
    ("op", "mask", "wanted"),
    [
        ("BitwiseAnd", 255, ["Mod"]),
        ("BitwiseAnd", -256, ["Mod", "Sub"]),
        ("BitwiseAnd", 0x0FF0, ["Mod", "Mod", "Sub"]),
        ("BitwiseAnd", 0x7FFFFFFF, ["Less", "Sub", "Where"]),
        ("BitwiseAnd", 0, ["Mul"]),
        ("BitwiseOr", 1, ["Mod", "Sub", "Add"]),
        ("BitwiseXor", 1, ["Mod", "Sub", "Sub", "Add"]),
    ],
)
def test_short_forms(op: str, mask: int, wanted: list[str]) -> None:
    fixed, _ = run_pass(PASS, bitwise(op, np.int32, mask), target="rtx-1.7")
    assert sorted(ops(fixed)) == sorted(wanted)
    (have,) = run_model(fixed, {"a": edges(np.int32)})
    np.testing.assert_array_equal(have, WANTED[op](edges(np.int32), np.int32(mask)))


@pytest.mark.parametrize("mask", [[5], [[5]], [1, 2, 4], 0x55555555])
def test_other_constants(mask: Any) -> None:
    model = bitwise("BitwiseXor", np.int32, mask, shapes=(["N", 3], ["N", 3]))
    fixed, _ = run_pass(PASS, model, target="rtx-1.7")
    for n in (2, 1, 0):
        feed = {"a": np.arange(-3, 3 * n - 3, dtype=np.int32).reshape(n, 3)}
        assert_same_outputs(model, fixed, feed)


def test_broadcast_and_scalars() -> None:
    shapes: list[tuple[Any, Any]] = [(["N", 1], [3]), ([], ["N"]), ([], []), ([2, 0], [1])]
    for first, second in shapes:
        model = bitwise("BitwiseOr", np.int64, shapes=(first, second))
        fixed, _ = run_pass(PASS, model, target="rtx-1.7")
        sizes = [[4 if d == "N" else d for d in shape] for shape in (first, second)]
        feed = {
            name: np.random.default_rng(len(size)).integers(-(2**63), 2**63 - 1, size)
            for name, size in zip("ab", sizes, strict=True)
        }
        feed = {k: np.asarray(v, np.int64) for k, v in feed.items()}
        assert_same_outputs(model, fixed, feed)


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6", "trt-10.3", "rtx-1.7"])
@pytest.mark.parametrize("op", [*WANTED, "BitwiseNot"])
@pytest.mark.parametrize("mask", [None, 12])
def test_the_target_takes_it(op: str, mask: Any, target: str) -> None:
    fixed, _ = run_pass(PASS, bitwise(op, np.int32, mask), target=target)
    if target == "trt-7.2":  # the lowering goes first there
        fixed, _ = run_pass(LowerOpset(), fixed, target=target)
    view = Model(fixed, None, load_target(target))
    assert not any(s.refused(n) for s in view.scopes for n in s.graph.nodes)


def test_refusals() -> None:
    (reason,) = skip_reasons(PASS, bitwise("BitwiseAnd", np.uint64))
    assert "no signed integers hold all of UINT64" in reason
    (reason,) = skip_reasons(PASS, bitwise("BitwiseAnd", np.int64), target="trt-8.6")
    assert "holds INT64 in 32 bits" in reason
    (reason,) = skip_reasons(PASS, bitwise("BitwiseAnd", np.int64, 2**40), target="trt-8.6")
    assert "holds INT64 in 32 bits" in reason
    short, _ = run_pass(PASS, bitwise("BitwiseAnd", np.int64, 7), target="trt-8.6")
    assert "BitwiseAnd" not in ops(short)
    deep = ["N"] * 8
    (reason,) = skip_reasons(
        PASS, bitwise("BitwiseAnd", np.int32, shapes=(deep, deep)), target="rtx-1.7"
    )
    assert "no further axis" in reason
    unknown = """<ir_version: 8, opset_import: ["" : 18]>
    g (int32[N] x, int64[K] s) => (int32 y) { r = Reshape (x, s) y = BitwiseAnd (r, r) }"""
    assert "rank of an input is not known" in skip_reasons(PASS, unknown)[0]
    untyped = """<ir_version: 10, opset_import: ["" : 18, "my" : 1]>
    g (int32[N] x) => (int32[N] y) { y = my.f (x) }
    <opset_import: ["" : 18], domain: "my"> f (a) => (b) { b = BitwiseNot (a) }"""
    assert "element type is not known" in skip_reasons(PASS, untyped)[0]


def test_bodies() -> None:
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (bool c, int32[N] x, int32[N] z) => (int32[N] y) {
      y = If (c) <
        then_branch = one () => (int32[N] t) { t = BitwiseAnd (x, z) },
        else_branch = two () => (int32[N] e) { e = BitwiseNot (x) }
      >
    }"""
    fixed, results = run_pass(PASS, text, target="rtx-1.7")
    assert {c.scope for r in results for c in r.changes} == {"y/then_branch", "y/else_branch"}
    for way in (True, False):
        x, z = edges(np.int32), edges(np.int32)[::-1].copy()
        feed = {"c": np.array(way), "x": x, "z": z}
        assert_same_outputs(onnx.parser.parse_model(text), fixed, feed)


def test_onnx_node_tests(node_cases: list[TestCase]) -> None:
    names = *WANTED, "BitwiseNot"
    changed, left = assert_recorded(PASS, node_cases, "rtx-1.7", *names)
    assert len(changed) == 12 and len(left) == 3
    assert all("UINT64" in r for reasons in left.values() for r in reasons)
