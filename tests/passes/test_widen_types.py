"""widen-types: values of a type that the target lacks, in a wider one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from onnx.reference import ReferenceEvaluator

import onnx_fix
from onnx_fix.contract import Exactness, Retyped, Transformed
from onnx_fix.errors import InternalError
from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.testing import as_proto, ops, run_model, run_pass, skip_reasons
from onnx_fix.verify import verify
from onnx_fix.verify.retyped import Ends
from onnx_fix_passes.widen_types import WidenTypes

PASS = WidenTypes()
ENDS = WidenTypes(retype_io=True)
Arrays = dict[str, NDArray[Any]]

OLD, MIDDLE, NEW = "trt-7.2", "trt-8.6", "rtx-1.7"
NARROW = ("uint8", "int8", "uint16", "int16")
LACKING = {
    OLD: ("uint8", "uint16", "int16", "uint32"),
    MIDDLE: ("uint8", "uint16", "int16", "uint32"),
    NEW: ("uint8", "uint16", "int16", "uint32", "uint64"),
}


def number(name: str) -> int:
    """The ``TensorProto.DataType`` of a numpy type."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(name)))


def model(
    nodes: str, *, opset: int = 14, ends: str = "(int64[N] x) => (int64[N] y)", ir: int = 8
) -> ModelProto:
    """A model of some nodes, as text."""
    text = f'<ir_version: {ir}, opset_import: ["" : {opset}]> g {ends} {{ {nodes} }}'
    return as_proto(text)


def between(dtype: str, nodes: str, *, opset: int = 14, out: str = "y = Cast <to = 7> (c)") -> Any:
    """Nodes from ``a`` and ``b`` to ``c``, all of a type, with INT64 around them."""
    kind = number(dtype)
    return model(
        f"a = Cast <to = {kind}> (x) b = Cast <to = {kind}> (z) {nodes} {out}",
        opset=opset,
        ends="(int64[N] x, int64[N] z) => (int64[N] y)",
    )


def types_inside(proto: ModelProto, target: str) -> set[int]:
    """The element types of all tensors of a model."""
    view = Model(proto, None, load_target(target))
    tensors = ((s, t) for s in view.scopes for n in s.graph.nodes for t in (*n.inputs, *n.outputs))
    return {d for s, t in tensors if t.name and (d := s.dtype(t)) is not None}


def widened(proto: ModelProto, target: str, pass_: WidenTypes = PASS) -> ModelProto:
    """The model after the pass, which must have done away with the types that it had."""
    fixed, results = run_pass(pass_, proto, target=target)
    assert any(r.changes for r in results), [s.reason for r in results for s in r.skipped]
    again, more = run_pass(pass_, fixed, target=target)
    assert again == fixed and not any(r.changes for r in more)
    return fixed


def reference(proto: ModelProto, feeds: Arrays) -> list[NDArray[Any]]:
    with np.errstate(all="ignore"):
        return [np.asarray(v) for v in ReferenceEvaluator(proto).run(None, feeds)]


def same(before: ModelProto, after: ModelProto, feeds: Arrays) -> None:
    """The original by onnx.reference, the result by onnxruntime: bit for bit."""
    for want, have in zip(reference(before, feeds), run_model(after, feeds), strict=True):
        assert want.dtype == have.dtype and want.shape == have.shape
        np.testing.assert_array_equal(have, want)


def wild(dtype: str, size: int, seed: int = 0) -> NDArray[np.int64]:
    """Numbers of a type, its ends and its neighbours, as INT64."""
    info = np.iinfo(dtype)
    ends = [0, 1, 2, 3, info.max, info.max - 1, info.min, info.min + 1, info.max // 2 + 1]
    some = np.random.default_rng(seed).integers(info.min, info.max, size, dtype, endpoint=True)
    drawn = np.concatenate([some, np.array(ends, dtype)]) if size else some
    with np.errstate(all="ignore"):
        return np.random.default_rng(seed + 1).permutation(drawn).astype(np.int64)


def feeds_for(dtype: str) -> list[Arrays]:
    return [{"x": wild(dtype, n), "z": wild(dtype, n, 5)} for n in (0, 40)]


# -- the arithmetic of every type ------------------------------------------------------------------

BINARY = ("Add", "Sub", "Mul", "Min", "Max")


@pytest.mark.parametrize("op", BINARY)
@pytest.mark.parametrize(
    ("target", "dtype"), [(t, d) for t, names in LACKING.items() for d in names]
)
def test_two_numbers(op: str, target: str, dtype: str) -> None:
    before = between(dtype, f"c = {op} (a, b)", out="y = Cast <to = 7> (c)")
    if dtype == "uint32" and target != NEW:
        # INT64 is INT32 there, so the bits leave as they are.
        before = between(dtype, f"c = {op} (a, b)", out="i = Cast <to = 6> (c) y = Cast <to=7> (i)")
    fixed = widened(before, target)
    assert number(dtype) not in types_inside(fixed, target)
    for feed in feeds_for(dtype):
        same(before, fixed, feed)


@pytest.mark.parametrize("op", ["Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"])
@pytest.mark.parametrize(
    ("target", "dtype"), [(t, d) for t, names in LACKING.items() for d in names]
)
def test_comparisons(op: str, target: str, dtype: str) -> None:
    before = between(dtype, f"c = {op} (a, b)", opset=16)
    fixed = widened(before, target)
    assert number(dtype) not in types_inside(fixed, target)
    for feed in feeds_for(dtype):
        same(before, fixed, feed)


@pytest.mark.parametrize("op", ["Div", "Mod"])
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("target", [OLD, MIDDLE])
def test_division(op: str, dtype: str, target: str) -> None:
    if dtype == "int8":
        pytest.skip("both releases take INT8")
    kind = np.dtype(dtype)
    before = between(dtype, f"c = {op} (a, b)")
    fixed = widened(before, target)
    a, b = wild(dtype, 60), wild(dtype, 60, 5)
    b[b == 0] = 3
    have = run_model(fixed, {"x": a, "z": b})[0]
    with np.errstate(all="ignore"):
        whole = np.trunc(a / b).astype(np.int64)
        rest = np.mod(a, b)
        want = (whole if op == "Div" else rest).astype(kind).astype(np.int64)
    np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize("op", ["Div", "Mod"])
@pytest.mark.parametrize(("dtype", "target"), [("uint64", NEW), ("uint32", OLD)])
def test_division_of_bits(op: str, dtype: str, target: str) -> None:
    kind = np.dtype(dtype)
    out = "y = Cast <to = 7> (c)"
    if dtype == "uint32":
        out = "i = Cast <to = 6> (c) y = Cast <to = 7> (i)"
    fixed = widened(between(dtype, f"c = {op} (a, b)", out=out), target)
    x, by = wild(dtype, 60), wild(dtype, 60, 5)
    few = np.random.default_rng(3).integers(1, 9, x.size)
    for z in (np.where(by == 0, 3, by), few):
        a, b = x.astype(kind), z.astype(kind)
        want = a // b if op == "Div" else a % b
        signed = want.astype(np.int32 if dtype == "uint32" else np.int64).astype(np.int64)
        np.testing.assert_array_equal(run_model(fixed, {"x": x, "z": z})[0], signed)


@pytest.mark.parametrize("pair", [("uint8", "int8"), ("int16", "uint16"), ("uint32", "int32")])
def test_bit_casts_between_integers(pair: tuple[str, str]) -> None:
    """All bits are kept, as a conversion between them does."""
    a, b = (number(name) for name in pair)
    before = model(
        f"a = Cast <to = {a}> (x) b = BitCast <to = {b}> (a) y = Cast <to = 7> (b)",
        opset=26,
        ir=12,
    )
    fixed = widened(before, NEW)
    assert "BitCast" not in ops(fixed)
    x = wild(pair[0], 30)
    want = x.astype(pair[0]).view(pair[1]).astype(np.int64)
    np.testing.assert_array_equal(reference(fixed, {"x": x})[0], want)
    floats = model(
        "a = Cast <to = 12> (x) b = BitCast <to = 1> (a) y = Cast <to = 7> (b)", opset=26, ir=12
    )
    assert any("no op gives" in r for r in skip_reasons(PASS, floats, target=NEW))


@pytest.mark.parametrize("op", ["Neg", "Abs", "Sign", "Relu"])
@pytest.mark.parametrize("target", [OLD, MIDDLE, NEW])
def test_signed_numbers(op: str, target: str) -> None:
    before = between("int16", f"c = {op} (a)")
    fixed = widened(before, target)
    for feed in feeds_for("int16"):
        same(before, fixed, feed)
    if op == "Relu":
        assert "Relu" not in ops(fixed), "hardly any release computes it in INT32"


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_shifts(direction: str, dtype: str) -> None:
    """By the width or more: nothing is left."""
    kind = number(dtype)
    nodes = f'c = BitShift <direction = "{direction}"> (a, b)'
    for target in (OLD, NEW):
        if (dtype == "uint64" and target == OLD) or (dtype == "uint8" and target != OLD):
            continue
        last = "y = Cast <to = 7> (c)"
        if dtype == "uint32" and target == OLD:
            last = "i = Cast <to = 6> (c) y = Cast <to = 7> (i)"
        fixed = widened(between(dtype, nodes, out=last), target)
        assert "BitShift" not in ops(fixed) and kind not in types_inside(fixed, target)
        width = np.iinfo(dtype).bits
        x = np.repeat(wild(dtype, 20), width + 3)
        by = np.tile(np.arange(width + 3), x.size // (width + 3))
        have = run_model(fixed, {"x": x, "z": by})[0]
        numbers = [int(v) % (1 << width) for v in x]
        moved = [
            (v << int(n)) % (1 << width) if direction == "LEFT" else v >> int(n)
            for v, n in zip(numbers, by, strict=True)
        ]
        wanted = np.array(moved, np.uint64).astype(dtype)
        if dtype == "uint32" and target == OLD:
            wanted = wanted.astype(np.int32)
        np.testing.assert_array_equal(have, wanted.astype(np.int64))


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize(("dtype", "target"), [("int8", NEW), ("int16", NEW), ("int16", OLD)])
def test_shifts_of_signed_numbers(direction: str, dtype: str, target: str) -> None:
    """To the right the sign stays; a negative amount is as good as one beyond the width."""
    nodes = f'c = BitShift <direction = "{direction}"> (a, b)'
    fixed = widened(between(dtype, nodes, opset=28), target)
    assert "BitShift" not in ops(fixed)
    width = np.iinfo(dtype).bits
    x = np.repeat(wild(dtype, 20), width + 5)
    by = np.tile(np.arange(-2, width + 3), x.size // (width + 5))
    inside = (by >= 0) & (by < width)
    amount = np.where(inside, by, 0)
    if direction == "LEFT":
        want = np.where(inside, x << amount, 0).astype(dtype)
    else:
        want = np.where(inside, x >> amount, np.where(x < 0, -1, 0))
    np.testing.assert_array_equal(reference(fixed, {"x": x, "z": by})[0], want)


@pytest.mark.parametrize("op", ["BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "uint64"])
def test_bits(op: str, dtype: str) -> None:
    args = "(a)" if op == "BitwiseNot" else "(a, b)"
    before = between(dtype, f"c = {op} {args}", opset=18)
    fixed = widened(before, NEW)
    assert number(dtype) not in types_inside(fixed, NEW)
    for feed in feeds_for(dtype):
        for want, have in zip(reference(before, feed), reference(fixed, feed), strict=True):
            np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize("op", ["TopK", "ReduceMax", "ReduceMin", "ArgMax", "ArgMin"])
@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_the_order_of_unsigned_numbers(op: str, dtype: str) -> None:
    kind = number(dtype)
    k = "k = Constant <value = int64[1] {4}> ()"
    nodes = {
        "TopK": f"{k} c, i = TopK (a, k) v = Cast <to = 7> (c) y = Add (v, i)",
        "ReduceMax": "c = ReduceMax <axes = [0]> (a) y = Cast <to = 7> (c)",
        "ReduceMin": "c = ReduceMin <axes = [0]> (a) y = Cast <to = 7> (c)",
        "ArgMax": "y = ArgMax (a)",
        "ArgMin": "y = ArgMin (a)",
    }
    before = model(
        f"a = Cast <to = {kind}> (x) {nodes[op]}",
        ends="(int64[N] x) => (int64[M] y)",
        opset=13,
    )
    fixed = widened(before, NEW)
    for seed in range(3):
        same(before, fixed, {"x": np.unique(wild(dtype, 30, seed))})


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_the_end_of_the_range_of_nothing(op: str, dtype: str) -> None:
    before = model(
        f"k = Constant <value = int64[1] {{1}}> () a = Cast <to = {number(dtype)}> (x) "
        f"c = {op} <keepdims = 0> (a, k) y = Cast <to = 7> (c)",
        ends="(int64[N, M] x) => (int64[P] y)",
        opset=20,
    )
    fixed = widened(before, OLD)
    info = np.iinfo(dtype)
    (empty,) = run_model(fixed, {"x": np.zeros((3, 0), np.int64)})
    assert empty.tolist() == [info.min if op == "ReduceMax" else info.max] * 3
    same(before, fixed, {"x": wild(dtype, 21).reshape(5, 6)})


@pytest.mark.parametrize("target", [OLD, MIDDLE])
def test_running_sums_of_uint32(target: str) -> None:
    before = model(
        "a = Cast <to = 12> (x) b = Add (a, a) k = Constant <value = int64 {0}> () "
        "f = CumSum (b, k) "
        "i = Cast <to = 6> (f) y = Cast <to = 7> (i)",
        ends="(int64[N] x) => (int64[M] y)",
        opset=13,
    )
    fixed = widened(before, target)
    assert number("uint32") not in types_inside(fixed, target)
    x = wild("uint32", 30)
    sums = np.cumsum(x)
    want = (2 * sums).astype(np.int32).astype(np.int64)
    np.testing.assert_array_equal(run_model(fixed, {"x": x})[0].ravel(), want)


def test_sums_of_uint32_in_int64() -> None:
    before = model(
        "a = Cast <to = 12> (x) b = ReduceSum (a) y = Cast <to = 7> (b)",
        ends="(int64[N] x) => (int64[M] y)",
        opset=13,
    )
    x = wild("uint32", 30)
    have = run_model(widened(before, NEW), {"x": x})[0]
    assert have.ravel().tolist() == [int(x.sum()) % 2**32]
    assert any("exact on its bits" in r for r in skip_reasons(PASS, before, target=OLD))


STEPS = ("Add", "Sub", "Mul", "Min", "Max", "Where", "Concat", "Cast")


@settings(max_examples=25, deadline=None)
@given(
    dtype=st.sampled_from(["int16", "uint16", "uint8", "uint64"]),
    steps=st.lists(
        st.tuples(st.sampled_from(STEPS), st.integers(0, 9), st.integers(0, 9)), max_size=6
    ),
    seed=st.integers(0, 99),
)
def test_any_program(dtype: str, steps: list[tuple[str, int, int]], seed: int) -> None:
    kind = number(dtype)
    names = ["a", "b"]
    lines = []
    for place, (op, i, j) in enumerate(steps):
        p, q, new = names[i % len(names)], names[j % len(names)], f"v{place}"
        if op == "Where":
            lines.append(f"g{place} = Greater ({p}, {q}) {new} = Where (g{place}, {p}, {q})")
        elif op == "Concat":
            half = "starts, ends"
            lines.append(
                f"k{place} = Concat <axis = 0> ({p}, {q}) {new} = Slice (k{place}, {half})"
            )
        elif op == "Cast":
            lines.append(f"f{place} = Cast <to = 7> ({p}) {new} = Cast <to = {kind}> (f{place})")
        else:
            lines.append(f"{new} = {op} ({p}, {q})")
        names.append(new)
    cut = "starts = Constant <value = int64[1] {3}> () ends = Constant <value = int64[1] {12}> () "
    before = between(dtype, f"{cut} {' '.join(lines)} c = Identity ({names[-1]})")
    fixed = widened(before, NEW)
    assert kind not in types_inside(fixed, NEW)
    x, z = wild(dtype, 0 + 3, seed)[:9], wild(dtype, 3, seed + 1)[:9]
    if any(op == "Concat" for op, _, _ in steps):
        x, z = np.resize(x, 9), np.resize(z, 9)
    same(before, fixed, {"x": x, "z": z})


# -- conversions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [OLD, MIDDLE, NEW])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
def test_from_floats(target: str, dtype: str) -> None:
    """Numbers out of range are not defined; those in range, and halves, are."""
    kind, info = number(dtype), np.iinfo(dtype)
    before = model(
        f"a = Cast <to = {kind}> (x) b = Add (a, a) y = Cast <to = 1> (b)",
        ends="(float[N] x) => (float[N] y)",
    )
    fixed = widened(before, target)
    x = np.random.default_rng(0).uniform(info.min, info.max, 50).astype(np.float32)
    same(before, fixed, {"x": np.concatenate([x, np.array([0.5, info.max, info.min], np.float32)])})


def test_no_wrap_where_the_numbers_are_known() -> None:
    """A clipped image: nothing can start again at the other end."""
    nodes = (
        "lo = Constant <value = float {0.0}> () hi = Constant <value = float {255.0}> () "
        "c = Clip (x, lo, hi) r = Round (c) a = Cast <to = 2> (r) y = Cast <to = 1> (a)"
    )
    before = model(nodes, ends="(float[N] x) => (float[N] y)")
    fixed = widened(before, MIDDLE)
    assert ops(fixed)[-3:] == ["Round", "Cast", "Cast"]
    same(before, fixed, {"x": np.linspace(-300, 300, 61, dtype=np.float32)})
    scaled = model(
        "s = Sigmoid (x) k = Constant <value = float {255.0}> () m = Mul (s, k) "
        "a = Cast <to = 2> (m) y = Cast <to = 1> (a)",
        ends="(float[N] x) => (float[N] y)",
    )
    assert ops(widened(scaled, MIDDLE)) == ["Sigmoid", "Constant", "Mul", "Cast", "Cast"]
    beyond = model(
        "s = Sigmoid (x) k = Constant <value = float {300.0}> () m = Mul (s, k) "
        "a = Cast <to = 2> (m) y = Cast <to = 1> (a)",
        ends="(float[N] x) => (float[N] y)",
    )
    assert "Mod" in ops(widened(beyond, MIDDLE))


@pytest.mark.parametrize("given_", ["bool", "int8", "uint8", "int32", "int64", "uint16"])
@pytest.mark.parametrize("made", ["int16", "uint16", "uint8", "uint64"])
def test_between_integers(given_: str, made: str) -> None:
    before = model(
        f"a = Cast <to = {number(given_)}> (x) b = Cast <to = {number(made)}> (a) "
        "y = Cast <to = 7> (b)"
    )
    fixed = widened(before, NEW)
    same(before, fixed, {"x": wild("int64" if given_ == "int64" else "int32", 40)})


def test_cast_like() -> None:
    """The tensor that only gives its type needs none of its own."""
    before = model(
        "l = Cast <to = 5> (x) a = CastLike (x, l) b = Mul (a, a) y = CastLike (b, x)",
        opset=15,
    )
    fixed = widened(before, NEW)
    assert "CastLike" not in ops(fixed)
    for feed in feeds_for("int16"):
        want = (feed["x"].astype(np.int16) * feed["x"].astype(np.int16)).astype(np.int64)
        np.testing.assert_array_equal(run_model(fixed, {"x": feed["x"]})[0], want)


def test_a_pooled_image() -> None:
    """MaxPool has no INT32 in ONNX, so it goes through FLOAT."""
    before = model(
        "a = Cast <to = 2> (x) b = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a) "
        "y = Cast <to = 1> (b)",
        ends="(float[1,1,H,W] x) => (float[1,1,P,Q] y)",
    )
    for target in (OLD, NEW):
        fixed = widened(before, target)
        x = np.random.default_rng(0).uniform(0, 255, (1, 1, 6, 8)).astype(np.float32)
        np.testing.assert_array_equal(run_model(fixed, {"x": x})[0], run_model(before, {"x": x})[0])


# -- images: the case of most users ----------------------------------------------------------------

IMAGE = (
    "t = Transpose <perm = [0, 3, 1, 2]> (x) f = Cast <to = 1> (t) "
    "k = Constant <value = float {255.0}> () y = Div (f, k)"
)
IMAGE_ENDS = "(uint8[N,4,5,3] x) => (float[N,3,4,5] y)"


@pytest.mark.parametrize("target", [MIDDLE, NEW, "trt-10.3"])
def test_an_image_keeps_its_type_where_that_is_taken(target: str) -> None:
    before = model(IMAGE, ends=IMAGE_ENDS)
    fixed = widened(before, target)
    assert ops(fixed)[:2] == ["Cast", "Transpose"]
    assert fixed.graph.input == before.graph.input and fixed.graph.output == before.graph.output
    x = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    np.testing.assert_array_equal(run_model(fixed, {"x": x})[0], run_model(before, {"x": x})[0])


@pytest.mark.parametrize("target", [MIDDLE, NEW, "trt-10.3"])
def test_an_image_that_is_cast_at_once_is_left_alone(target: str) -> None:
    before = model("y = Cast <to = 1> (x)", ends="(uint8[N] x) => (float[N] y)")
    fixed, results = run_pass(PASS, before, target=target)
    assert fixed == before and not any(r.changes or r.skipped for r in results)


def test_an_image_where_the_type_is_not_taken() -> None:
    before = model(IMAGE, ends=IMAGE_ENDS)
    (reason,) = skip_reasons(PASS, before, target=OLD)
    assert "'x'" in reason and "--retype-io" in reason and "INT32" in reason
    fixed = widened(before, OLD, ENDS)
    assert ops(fixed) == ops(before), "a type is all that changes"
    assert fixed.graph.input[0].type.tensor_type.elem_type == TensorProto.INT32
    shape = fixed.graph.input[0].type.tensor_type.shape
    assert shape == before.graph.input[0].type.tensor_type.shape
    x = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    want = run_model(before, {"x": x})[0]
    np.testing.assert_array_equal(run_model(fixed, {"x": x.astype(np.int32)})[0], want)


def test_an_image_that_leaves_again() -> None:
    before = model("t = Transpose (x) y = Add (t, t)", ends="(uint8[2,3] x) => (uint8[3,2] y)")
    fixed = widened(before, MIDDLE)
    assert ops(fixed)[0] == "Cast" and ops(fixed)[-1] == "Cast"
    assert fixed.graph.output == before.graph.output
    x = np.array([[1, 200, 255], [3, 128, 0]], np.uint8)
    np.testing.assert_array_equal(run_model(fixed, {"x": x})[0], reference(before, {"x": x})[0])


# -- bodies, weights, names ------------------------------------------------------------------------


@pytest.mark.parametrize("target", [OLD, NEW])
def test_an_if(target: str) -> None:
    """The branches give the type that the node has, and read what lies around them."""
    before = model(
        "a = Cast <to = 5> (x) s = Cast <to = 9> (p) "
        "b = If (s) <then_branch = t () => (int16[N] u) { u = Add (a, a) },"
        " else_branch = e () => (int16[N] v) { v = Neg (a) }> "
        "y = Cast <to = 7> (b)",
        ends="(int64[N] x, int64 p) => (int64[N] y)",
    )
    fixed = widened(before, target)
    assert number("int16") not in types_inside(fixed, target)
    onnx.checker.check_model(fixed, full_check=True)
    for p in (0, 1):
        same(before, fixed, {"x": wild("int16", 9), "p": np.array(p)})


def test_a_loop() -> None:
    """State and scan output change their type with the node."""
    before = model(
        "a = Cast <to = 5> (x) "
        "last, all = Loop (n, , a) <body = b (int64 i, bool c, int16[N] s) => "
        "(bool d, int16[N] t, int16[N] u) { d = Identity (c) t = Add (s, a) u = Identity (t) }> "
        "y = Cast <to = 7> (last) z = Cast <to = 7> (all)",
        ends="(int64[N] x, int64 n) => (int64[N] y, int64[M,N] z)",
    )
    fixed = widened(before, NEW)
    assert number("int16") not in types_inside(fixed, NEW)
    onnx.checker.check_model(fixed, full_check=True)
    x = wild("int16", 5)
    last, every = run_model(fixed, {"x": x, "n": np.array(4)})
    want = (np.arange(2, 6)[:, None] * x).astype(np.int16).astype(np.int64)
    np.testing.assert_array_equal(every, want)
    np.testing.assert_array_equal(last, want[-1])


def gathering(weight: NDArray[Any]) -> ModelProto:
    """Some elements of a weight, as FLOAT."""
    nodes = [
        helper.make_node("Gather", ["w", "x"], ["g"]),
        helper.make_node("Cast", ["g"], ["y"], to=1),
    ]
    ends = [helper.make_tensor_value_info(n, k, ["N"]) for n, k in (("x", 7), ("y", 1))]
    graph = helper.make_graph(
        nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("size", [3, 5000])
def test_weights_small_and_large(size: int) -> None:
    weight = np.random.default_rng(0).integers(-30000, 30000, size).astype(np.int16)
    before = gathering(weight)
    fixed = widened(before, MIDDLE)
    assert ops(fixed) == ["Gather", "Cast"]
    (stored,) = fixed.graph.initializer
    assert stored.name == "w" and stored.data_type == TensorProto.INT32
    np.testing.assert_array_equal(numpy_helper.to_array(stored), weight)
    x = np.array([0, size - 1, 1])
    np.testing.assert_array_equal(run_model(fixed, {"x": x})[0], weight[x].astype(np.float32))


def test_weights_in_another_file(tmp_path: Path) -> None:
    weight = np.arange(-2000, 2000, dtype=np.int16)
    before = gathering(weight)
    path = tmp_path / "m.onnx"
    onnx.save(before, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    result = onnx_fix.fix(path, target=MIDDLE)
    assert result.ok and result.report.verification is not None
    assert result.report.verification.status == "equal"


def test_constants_of_all_kinds() -> None:
    before = model(
        "k = Constant <value = int16[2] {-7, 30000}> () n = Shape (x) "
        "f = ConstantOfShape <value = int16[1] {9}> (n) a = Cast <to = 5> (x) "
        "b = Add (a, k) c = Add (b, f) y = Cast <to = 7> (c)",
        ends="(int64[2] x) => (int64[2] y)",
    )
    fixed = widened(before, NEW)
    assert number("int16") not in types_inside(fixed, NEW)
    same(before, fixed, {"x": np.array([32767, 5])})


def test_an_old_model_without_free_initializers() -> None:
    """Before IR version 4 an initializer has to be an input too; the constants are nodes."""
    before = model("a = Cast <to = 5> (x) b = Neg (a) y = Cast <to = 7> (b)", opset=9, ir=3)
    fixed = widened(before, OLD)
    assert not fixed.graph.initializer and ops(fixed)[0] == "Constant"
    same(before, fixed, {"x": wild("int16", 9)})


def test_names_and_sizes_stay() -> None:
    before = as_proto(
        '<ir_version: 8, opset_import: ["" : 14]> g (int64[batch] x) => (int64[batch] y) '
        "<int16[batch] b> { [one] a = Cast <to = 5> (x) [two] b = Neg (a) "
        "[three] y = Cast <to = 7> (b) }"
    )
    fixed = widened(before, NEW)
    assert {n.name for n in fixed.graph.node} >= {"three"}
    assert any("b" in n.output for n in fixed.graph.node)
    (info,) = fixed.graph.value_info
    assert info.type.tensor_type.elem_type == TensorProto.INT32
    assert info.type.tensor_type.shape.dim[0].dim_param == "batch"
    made = [n for n in fixed.graph.node if n.name not in ("three",)]
    assert all("onnx_fix.pass=widen-types" in n.doc_string for n in made if n.op_type != "Neg")


# -- floats ----------------------------------------------------------------------------------------


def test_bfloat16_in_float() -> None:
    before = model(
        "a = Cast <to = 16> (x) b = Mul (a, a) c = Sigmoid (b) y = Cast <to = 1> (c)",
        ends="(float[N] x) => (float[N] y)",
    )
    fixed, results = run_pass(PASS, before, target=MIDDLE)
    assert number("float32") in types_inside(fixed, MIDDLE)
    assert TensorProto.BFLOAT16 not in types_inside(fixed, MIDDLE)
    assert {c.exactness for r in results for c in r.changes} == {Exactness.ROUNDING}
    x = np.linspace(-3, 3, 41, dtype=np.float32)
    want = reference(before, {"x": x})[0]
    have = run_model(fixed, {"x": x})[0].astype(np.float64)
    np.testing.assert_allclose(have, want.astype(np.float64), 0.03, 0.01)
    assert skip_reasons(PASS, before, target="trt-10.3") == []


def test_doubles_that_are_moved_and_compared() -> None:
    before = model(
        "a = Cast <to = 11> (x) k = Constant <value = double {0.5}> () "
        "b = Max (a, k) c = Neg (b) d = Greater (c, k) y = Cast <to = 1> (c) z = Cast <to = 1> (d)",
        ends="(float[N] x) => (float[N] y, float[N] z)",
    )
    fixed, results = run_pass(PASS, before, target=OLD)
    assert TensorProto.DOUBLE not in types_inside(fixed, OLD)
    assert {c.exactness for r in results for c in r.changes} == {Exactness.EXACT}
    same(before, fixed, {"x": np.linspace(-2, 2, 33, dtype=np.float32)})
    tenth = model(
        "a = Cast <to = 11> (x) k = Constant <value = double {0.1}> () b = Max (a, k) "
        "y = Cast <to = 1> (b)",
        ends="(float[N] x) => (float[N] y)",
    )
    (reason,) = skip_reasons(PASS, tenth, target=OLD)
    assert "DOUBLE" in reason and "doubles" in reason


def test_doubles_that_are_computed() -> None:
    before = model(
        "a = Cast <to = 11> (x) b = Mul (a, a) y = Cast <to = 1> (b)",
        ends="(float[N] x) => (float[N] y)",
    )
    assert "less precisely" in skip_reasons(PASS, before, target=OLD)[0]
    fixed, results = run_pass(WidenTypes(doubles=True), before, target=OLD)
    assert TensorProto.DOUBLE not in types_inside(fixed, OLD)
    assert {c.exactness for r in results for c in r.changes} == {Exactness.CONTRACT}
    assert skip_reasons(PASS, before, target=MIDDLE) == [], "DOUBLE is FLOAT there"


def test_float8_is_carried() -> None:
    ends = "(float8e4m3fn[N] x) => (float[N] y)"
    before = model("a = Identity (x) y = Cast <to = 1> (a)", ends=ends, opset=19, ir=9)
    fixed = widened(before, MIDDLE, ENDS)
    assert fixed.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    e8m0 = model(
        "y = Cast <to = 24> (x)", ends="(float[N] x) => (float8e8m0[N] y)", opset=24, ir=11
    )
    assert any("rounding" in r for r in skip_reasons(ENDS, e8m0, target=MIDDLE))
    double = model("y = Cast <to = 17> (x)", ends="(double[N] x) => (float8e4m3fn[N] y)", opset=19)
    assert any("from DOUBLE" in r for r in skip_reasons(ENDS, double, target=MIDDLE))


SMALL_FLOATS = {
    "float8_e4m3fn": 17,
    "float8_e4m3fnuz": 18,
    "float8_e5m2": 19,
    "float8_e5m2fnuz": 20,
    "float4_e2m1fn": 23,
}


def around(kind: Any) -> NDArray[np.float32]:
    """Every number of a type, the middles between them, and their neighbours in FLOAT."""
    width = 16 if "float4" in np.dtype(kind).name else 256
    every = np.arange(width, dtype=np.uint8).view(kind).astype(np.float32)
    own = np.unique(every[np.isfinite(every)])
    points = np.concatenate([own, (own[1:] + own[:-1]) / 2])
    top = own.max()
    more = np.array([top * 1.03, top * 1.0625, top * 1.07, top * 1.2, top * 2, top * 100], "f4")
    points = np.concatenate([points, more, -more, np.array([np.inf, -np.inf, 0, 1e-30], "f4")])
    near = [np.nextafter(points, np.float32(s * np.inf)) for s in (1, -1)]
    return np.concatenate([points, *near]).astype(np.float32)


@pytest.mark.parametrize("name", SMALL_FLOATS)
@pytest.mark.parametrize("target", [OLD, MIDDLE])
@pytest.mark.parametrize("saturate", [1, 0])
def test_rounding_to_small_floats(name: str, target: str, saturate: int) -> None:
    """Bit for bit what the reference makes of every number near one of the type."""
    kind = SMALL_FLOATS[name]
    if not saturate and name == "float4_e2m1fn":
        pytest.skip("the type has nothing beyond its largest number")
    ends = f"(float[N] x) => ({_word(kind)}[N] y)"
    before = model(f"y = Cast <to = {kind}, saturate = {saturate}> (x)", ends=ends, opset=23, ir=11)
    fixed = widened(before, target, ENDS)
    x = np.concatenate([around(getattr(ml_dtypes, name)), np.array([np.nan], np.float32)])
    want = reference(before, {"x": x})[0].astype(np.float32)
    have = reference(fixed, {"x": x})[0]
    if name == "float4_e2m1fn":
        want[np.isnan(x)] = 0
    np.testing.assert_array_equal(have, want)
    if "IsNaN" in ops(fixed):
        np.testing.assert_array_equal(run_model(fixed, {"x": x})[0], want)


@pytest.mark.parametrize("given_", ["int16", "uint8", "bool", "float16", "bfloat16"])
def test_rounding_of_other_types(given_: str) -> None:
    kind = 16 if given_ == "bfloat16" else number(given_)
    before = model(
        f"a = Cast <to = {kind}> (x) b = Cast <to = 17> (a) y = Cast <to = 1> (b)",
        ends="(float[N] x) => (float[N] y)",
        opset=19,
        ir=9,
    )
    fixed = widened(before, MIDDLE)
    x = np.array([0, 1, 17, 18, 19, 25, 100, 104, 200], np.float32)
    np.testing.assert_array_equal(run_model(fixed, {"x": x})[0], reference(before, {"x": x})[0])


# -- the ends of the network -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "target", "now"),
    [
        ("int16", OLD, "int32"),
        ("uint16", NEW, "int32"),
        ("uint32", NEW, "int64"),
        ("uint32", OLD, "int32"),
        ("uint64", NEW, "int64"),
    ],
)
def test_ends_are_retyped_where_that_is_asked(dtype: str, target: str, now: str) -> None:
    kind = number(dtype)
    ends = f"({_word(kind)}[N] x, {_word(kind)}[N] z) => ({_word(kind)}[N] y)"
    before = model("a = Sub (x, z) y = Mul (a, x)", ends=ends)
    reasons = skip_reasons(PASS, before, target=target)
    assert reasons and all("--retype-io" in r for r in reasons)
    fixed, results = run_pass(ENDS, before, target=target)
    told = [r for result in results for c in result.changes for r in c.retyped]
    assert told == [
        Retyped("x", True, kind, number(now)),
        Retyped("z", True, kind, number(now)),
        Retyped("y", False, kind, number(now)),
    ]
    x, z = wild(dtype, 30).astype(dtype), wild(dtype, 30, 4).astype(dtype)
    have = run_model(fixed, {"x": x.astype(now), "z": z.astype(now)})[0]
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(have, ((x - z) * x).astype(now))
    assert verify(before, fixed, retyped=told).ok


def _word(kind: int) -> str:
    return TensorProto.DataType.Name(kind).lower()


def test_an_input_that_nobody_reads() -> None:
    before = model("y = Neg (x)", ends="(float[N] x, int16[N] u) => (float[N] y)")
    (reason,) = skip_reasons(PASS, before, target=NEW)
    assert "'u'" in reason
    fixed = widened(before, NEW, ENDS)
    assert fixed.graph.input[1].type.tensor_type.elem_type == TensorProto.INT32


def test_an_input_that_is_an_output() -> None:
    before = model("y = Neg (x)", ends="(int16[N] x) => (int16[N] x, int16[N] y)")
    fixed = widened(before, NEW, ENDS)
    kinds = [v.type.tensor_type.elem_type for v in (*fixed.graph.input, *fixed.graph.output)]
    assert kinds == [TensorProto.INT32] * 3


def test_doubles_become_floats_with_the_ends() -> None:
    before = model("y = Sigmoid (x)", ends="(double[N] x) => (double[N] y)")
    assert skip_reasons(PASS, before, target=OLD)
    result = onnx_fix.fix(before, target=OLD, retype_io=True)
    assert result.ok and result.report.verification is not None
    assert result.report.verification.status == "equal"
    assert result.model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_fix_with_ends_retyped_and_told(tmp_path: Path) -> None:
    before = model("y = Add (x, x)", ends="(int16[N] x) => (int16[N] y)")
    plain = onnx_fix.fix(before, target=NEW)
    assert plain.unchanged and not plain.ok
    result = onnx_fix.fix(before, target=NEW, retype_io=True)
    assert result.ok and result.report.verification is not None
    assert result.report.verification.status == "equal"
    data = json.loads(json.dumps(result.report.to_dict()))
    retyped = [r for c in data["changes"] for r in c["retyped"]]
    assert retyped[0] == {"name": "x", "is": "input", "was": "INT16", "now": "INT32"}
    lines = [c.old[0] for c in result.report.changes]
    assert "input 'x' is INT32 in place of INT16: feed the same numbers in it" in lines
    assert onnx_fix.plan(before, target=NEW, retype_io=True).report.ok
    again = onnx_fix.fix(before, pipeline=result.pipeline)
    assert again.model == result.model


def test_the_command(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from onnx_fix.cli import app

    path, out = tmp_path / "m.onnx", tmp_path / "o.onnx"
    onnx.save(model("y = Add (x, x)", ends="(int16[N] x) => (int16[N] y)"), path)
    said = CliRunner().invoke(app, ["fix", str(path), "-o", str(out), "-t", NEW])
    assert said.exit_code == 1 and "--retype-io" in said.output
    said = CliRunner().invoke(
        app, ["fix", str(path), "-o", str(out), "-t", NEW, "--retype-io", "--force"]
    )
    assert said.exit_code == 0 and "input 'x' is INT32 in place of INT16" in said.output
    assert onnx.load(out).graph.input[0].type.tensor_type.elem_type == TensorProto.INT32


def test_verification_finds_a_wrong_number() -> None:
    before = model("y = Add (x, x)", ends="(int16[N] x) => (int16[N] y)")
    wrong = model("a = Add (x, x) y = Add (a, x)", ends="(int32[N] x) => (int32[N] y)")
    told = [Retyped("x", True, 5, 6), Retyped("y", False, 5, 6)]
    assert verify(before, wrong, retyped=told).status == "differs"
    no_wrap = model("y = Add (x, x)", ends="(int32[N] x) => (int32[N] y)")
    assert verify(before, no_wrap).status != "equal", "types differ and nothing says so"


def test_what_ends_are_fed() -> None:
    ends = Ends([Retyped("x", True, TensorProto.DOUBLE, TensorProto.FLOAT)])
    feeds = {"x": np.array([0.1]), "z": np.array([0.1])}
    assert ends.fixed(feeds)["x"].dtype == np.float32  # type: ignore[union-attr]
    assert ends.original(feeds)["x"] == np.float32(0.1) and ends.original(feeds)["z"] == 0.1
    bits = Ends([Retyped("x", True, TensorProto.UINT64, TensorProto.INT64)])
    assert bits.fixed({"x": np.array([2**64 - 1], np.uint64)})["x"] == -1


def test_a_changed_contract_needs_an_option() -> None:
    from dataclasses import dataclass

    from onnx_fix.contract import ModelPass

    @dataclass(frozen=True)
    class Rude(ModelPass):
        exactness: Exactness = Exactness.CONTRACT

        def transform(self, model: ModelProto, target: Any) -> Transformed:
            ends = (Retyped("x", True, 1, 1),)
            return Transformed(model, ("rude",), (), self.exactness, ends)

    before = model("y = Neg (x)", ends="(float[N] x) => (float[N] y)")
    with pytest.raises(InternalError, match="no option asked"):
        run_pass(Rude(), before)
    with pytest.raises(InternalError, match="without saying so"):
        run_pass(Rude(Exactness.EXACT), before)


# -- what is left alone ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "ends", "opset", "target", "reason"),
    [
        (
            'a = Cast <to = 13> (x) b = ScatterElements <reduction = "max"> (a, x, a) '
            "y = Cast <to = 7> (b)",
            "",
            18,
            NEW,
            "its bits",
        ),
        (
            "y = DequantizeLinear (x, s)",
            "(uint8[N] x, float s) => (float[N] y)",
            13,
            OLD,
            "Dequant",
        ),
        ("a = Cast <to = 13> (x) b = Neg (x) y = Cast <to = 7> (a)", "", 14, OLD, "INT64 as INT32"),
        (
            "a = Cast <to = 13> (x) b = Cast <to = 1> (a) y = Cast <to = 7> (b)",
            "",
            14,
            NEW,
            "not exact on the bits",
        ),
        (
            'a = Cast <to = 2> (x) b = Resize <mode = "linear"> (a, , s) y = Cast <to = 1> (b)',
            "(float[1,1,H,W] x, float[4] s) => (float[1,1,P,Q] y)",
            13,
            MIDDLE,
            "rounds to",
        ),
        (
            'a = Cast <to = 12> (x) b = Resize <mode = "nearest"> (a, , s) y = Cast <to = 7> (b)',
            "(int64[1,1,H,W] x, float[4] s) => (int64[1,1,P,Q] y)",
            13,
            NEW,
            "does not hold",
        ),
        (
            "a = Cast <to = 5> (x) y = Cast <to = 8> (a)",
            "(int64[N] x) => (string[N] y)",
            14,
            NEW,
            "STRING",
        ),
    ],
)
def test_refusals(nodes: str, ends: str, opset: int, target: str, reason: str) -> None:
    before = model(nodes, opset=opset, ends=ends or "(int64[N] x) => (int64[N] y)")
    reasons = skip_reasons(PASS, before, target=target)
    assert any(reason in r for r in reasons), reasons


def test_nodes_of_other_domains_and_functions() -> None:
    before = as_proto(
        '<ir_version: 8, opset_import: ["" : 14, "my" : 1]> g (int64[N] x) => (int64[N] y) '
        "{ a = Cast <to = 5> (x) b = my.Odd (a) y = Cast <to = 7> (b) }"
    )
    assert any("my::Odd" in r for r in skip_reasons(PASS, before, target=NEW))
    call = as_proto(
        '<ir_version: 8, opset_import: ["" : 14, "my" : 1]> g (int64[N] x) => (int64[N] y) '
        "{ a = Cast <to = 5> (x) b = my.twice (a) y = Cast <to = 7> (b) } "
        '<domain: "my", opset_import: ["" : 14]> twice (u) => (v) { v = Add (u, u) }'
    )
    result = onnx_fix.fix(call, target=NEW)
    assert result.ok, "the function is written out, and its types change"


def test_one_group_may_change_while_another_stays() -> None:
    before = model(
        "a = Cast <to = 5> (x) b = Neg (a) y = Cast <to = 7> (b) z = Identity (u)",
        ends="(int64[N] x, uint16[N] u) => (int64[N] y, uint16[N] z)",
    )
    fixed, results = run_pass(PASS, before, target=NEW)
    assert number("int16") not in types_inside(fixed, NEW)
    assert fixed.graph.input == before.graph.input
    assert any("'u'" in s.reason for r in results for s in r.skipped)


def test_an_initializer_that_a_caller_may_feed() -> None:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["a"]), helper.make_node("Cast", ["a"], ["y"], to=7)],
        "g",
        [helper.make_tensor_value_info(n, TensorProto.INT16, [2]) for n in ("x", "w")],
        [helper.make_tensor_value_info("y", 7, [2])],
        [numpy_helper.from_array(np.array([1, 2], np.int16), "w")],
    )
    before = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    fixed = widened(before, NEW, ENDS)
    assert fixed.graph.initializer[0].data_type == TensorProto.INT32
    assert [v.type.tensor_type.elem_type for v in fixed.graph.input] == [TensorProto.INT32] * 2
    assert run_model(fixed, {"x": np.array([5, 6], np.int32)})[0].tolist() == [6, 8]


# -- the node tests of ONNX ------------------------------------------------------------------------

TYPED = (
    "_uint8",
    "_uint16",
    "_int16",
    "_uint32",
    "_uint64",
    "float64",
    "DOUBLE",
    "BFLOAT16",
    "INT4",
)


def as_model(case: TestCase) -> ModelProto:
    assert case.model is not None
    return case.model


def fed(case: TestCase) -> Sequence[tuple[Arrays, list[NDArray[Any]]]]:
    found = []
    for given_, wanted in case.data_sets or []:
        arrays = [
            np.asarray(numpy_helper.to_array(v) if isinstance(v, TensorProto) else v)
            for v in (*given_, *wanted)
        ]
        names = [v.name for v in as_model(case).graph.input]
        found.append((dict(zip(names, arrays, strict=False)), arrays[len(given_) :]))
    return found


@pytest.mark.parametrize("target", [OLD, NEW])
def test_onnx_node_tests(target: str, node_cases: list[TestCase]) -> None:
    seen = 0
    for case in node_cases:
        if case.model is None or not any(word in case.name for word in TYPED):
            continue
        fixed, results = run_pass(ENDS, case.model, target=target)
        told = [r for result in results for c in result.changes for r in c.retyped]
        if not told:
            continue
        ends = Ends(told)
        for feeds, wanted in fed(case):
            have = reference(fixed, dict(ends.fixed(feeds)))  # type: ignore[arg-type]
            for value, want, got in zip(case.model.graph.output, wanted, have, strict=True):
                expected, _ = ends.output(value.name, want, None)
                seen += 1
                rtol = 0.01 if want.dtype == ml_dtypes.bfloat16 else 1e-5
                np.testing.assert_allclose(
                    got.astype(np.float64),
                    np.asarray(expected).astype(np.float64),
                    rtol=rtol if want.dtype.kind not in "iu" else 0,
                    err_msg=case.name,
                )
    assert seen > 60
