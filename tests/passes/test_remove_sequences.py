"""remove-sequences: lists of tensors become tensors."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from onnx_fix.testing import assert_rewrites, assert_same_outputs, ops, run_pass, skip_reasons
from onnx_fix_passes.remove_sequences import RemoveSequences

PASS = RemoveSequences()


def text(signature: str, body: str, opset: int = 13) -> str:
    return f'<ir_version: 8, opset_import: ["" : {opset}]> g {signature} {{ {body} }}'


def data(*shape: int, kind: str = "f4", name: str = "x") -> dict[str, NDArray[np.generic]]:
    values = np.random.default_rng(3).integers(-9, 9, shape)
    return {name: values.astype(kind)}


K = "".join(f"k{i} = Constant <value = int64 {{{i}}}> () " for i in range(4))
NEG = "".join(f"n{i} = Constant <value = int64 {{{-i}}}> () " for i in range(1, 4))


@pytest.mark.parametrize("target", ["trt-7.2", "trt-10.3", "rtx-1.7"])
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_one_split_for_all_elements(opset: int, target: str) -> None:
    before = text(
        "(float[N, 4] x) => (float[N, 2] y)",
        K + NEG + "s = SplitToSequence <axis = 1> (x, k2) a = SequenceAt (s, k0) "
        "b = SequenceAt (s, n1) y = Sub (a, b)",
        opset,
    )
    feeds = [data(n, 4) for n in (3, 1, 0)]
    constants = ["Constant"] * 5
    fixed, _ = run_pass(PASS, before, target=target)
    assert [op for op in ops(fixed) if op != "Constant"] == ["Split", "Sub"]
    proto = onnx.parser.parse_model(before)
    for feed in feeds:
        assert_same_outputs(proto, fixed, feed)
    assert len(ops(fixed)) <= len(constants) + 2


def test_split_with_sizes_that_the_target_does_not_read_is_sliced() -> None:
    before = text(
        "(float[N, 5] x) => (float[N, 2] y, float[N, 1] z)",
        "k = Constant <value = int64 {2}> () zero = Constant <value = int64 {0}> () "
        "s = SplitToSequence <axis = -1> (x, k) y = SequenceAt (s, zero) z = SequenceAt (s, k)",
    )
    feeds = [data(n, 5) for n in (2, 0)]
    after = ["Slice", "Slice"]
    fixed = assert_rewrites(PASS, before, after=after, feeds=feeds, target="trt-7.2")
    assert "SplitToSequence" not in ops(fixed)
    assert_rewrites(PASS, before, after=["Split"], feeds=feeds, target="trt-10.3")


def test_dropped_dims() -> None:
    before = text(
        "(float[2, N] x) => (float[N] y)",
        K + "s = SplitToSequence <axis = 0, keepdims = 0> (x) a = SequenceAt (s, k0) "
        "b = SequenceAt (s, k1) y = Sub (a, b)",
    )
    fixed, _ = run_pass(PASS, before, target="trt-10.3")
    assert [o for o in ops(fixed) if o != "Constant"] == ["Split", "Squeeze", "Squeeze", "Sub"]
    for n in (3, 0):
        assert_same_outputs(onnx.parser.parse_model(before), fixed, data(2, n))


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("position", [0, 2, -1, -3])
def test_a_split_of_unknown_length(keep: int, position: int) -> None:
    shape = "N, 2" if not keep else "1, N, 2"
    axis, given_shape = (1, (1, 3, 2)) if keep else (0, (3, 2))
    out = "1, P, 2" if keep else "2"
    before = text(
        f"(float[{shape}] x) => (float[{out}] y)",
        f"p = Constant <value = int64 {{{position}}}> () "
        f"s = SplitToSequence <axis = {axis}, keepdims = {keep}> (x) y = SequenceAt (s, p)",
    )
    after = ["Slice"] if keep else ["Gather"]
    feeds = [data(*given_shape)]
    assert_rewrites(PASS, before, after=after, feeds=feeds, target="trt-10.3")
    assert_rewrites(
        PASS,
        before,
        after=["Slice"] if keep else (["Gather"] if position >= 0 else ["Slice", "Squeeze"]),
        feeds=feeds,
    )


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_chunks_of_unknown_length(chunk: int) -> None:
    before = text(
        "(float[N] x) => (float[P] y, int64 n)",
        f"c = Constant <value = int64 {{{chunk}}}> () p = Constant <value = int64 {{1}}> () "
        "s = SplitToSequence (x, c) y = SequenceAt (s, p) n = SequenceLength (s)",
    )
    fixed, _ = run_pass(PASS, before)
    assert "SplitToSequence" not in ops(fixed)
    for n in (4, 5, 6, 7):
        assert_same_outputs(onnx.parser.parse_model(before), fixed, data(n))


def test_lists_that_grow_and_shrink() -> None:
    before = text(
        "(float[N] x, float[N] w) => (float[N] y, int64 n, float[M] z, float[M, 2] v)",
        K + NEG + "e = SequenceEmpty () a = SequenceInsert (e, x) b = SequenceInsert (a, w, k0) "
        "d = Neg (x) c = SequenceInsert (b, d, n1) f = SequenceErase (c, n3) "
        "y = SequenceAt (f, k0) n = SequenceLength (c) z = ConcatFromSequence <axis = 0> (c) "
        "h = SequenceErase (c) v = ConcatFromSequence <axis = -1, new_axis = 1> (h)",
    )
    fixed, _ = run_pass(PASS, before)
    assert not [op for op in ops(fixed) if "Sequence" in op]
    for n in (3, 1, 0):
        feed = {**data(n), **data(n, name="w")}
        feed["w"] = np.add(feed["w"], 1)
        assert_same_outputs(onnx.parser.parse_model(before), fixed, feed)


@pytest.mark.parametrize("index", ["int32", "int64"])
def test_positions_of_run_time(index: str) -> None:
    kind = np.int32 if index == "int32" else np.int64
    constructed = text(
        f"(float[N] x, {index} i) => (float[N] y)",
        "w = Neg (x) s = SequenceConstruct (x, w) y = SequenceAt (s, i)",
    )
    fixed, _ = run_pass(PASS, constructed, target="trt-10.3")
    assert ops(fixed) == ["Neg", "Unsqueeze", "Unsqueeze", "Concat", "Gather"]
    for n, i in ((3, 0), (3, 1), (1, -1), (0, -2)):
        feed = {**data(n), "i": np.asarray(i, kind)}
        assert_same_outputs(onnx.parser.parse_model(constructed), fixed, feed)
    for keep, shape in ((0, "2"), (1, "1, 2")):
        for rows in ("N", "3"):
            split = text(
                f"(float[{rows}, 2] x, {index} i) => (float[{shape}] y)",
                f"s = SplitToSequence <keepdims = {keep}> (x) y = SequenceAt (s, i)",
            )
            after = ["Reshape", "Gather"] if keep else ["Gather"]
            feeds = [{**data(3, 2), "i": np.asarray(i, kind)} for i in (0, 2, -1)]
            assert_rewrites(PASS, split, after=after, feeds=feeds, target="trt-10.3")


def test_pieces_joined_again() -> None:
    for keep, new, axis, want in (
        (1, 0, 1, ["Identity"]),
        (0, 1, 1, ["Identity"]),
        (0, 1, 0, ["Transpose"]),
        (0, 1, -1, ["Transpose"]),
    ):
        before = text(
            "(float[2, N, 3] x) => (float[A, B, C] y)",
            f"s = SplitToSequence <axis = 1, keepdims = {keep}> (x) "
            f"y = ConcatFromSequence <axis = {axis}, new_axis = {new}> (s)",
        )
        assert_rewrites(PASS, before, after=want, feeds=[data(2, n, 3) for n in (1, 4)])


def test_inside_a_branch_and_of_the_outside() -> None:
    before = text(
        "(bool c, float[4] x) => (float[2] y)",
        "k = Constant <value = int64 {2}> () s = SplitToSequence (x, k) "
        "zero = Constant <value = int64 {0}> () one = Constant <value = int64 {1}> () "
        "y = If (c) < then_branch = t () => (float[2] a) { a = SequenceAt (s, zero) }, "
        "else_branch = e () => (float[2] b) { t = SequenceConstruct (x, x) "
        "b = SequenceAt (s, one) u = SequenceAt (t, one) } >",
    )
    fixed, _ = run_pass(PASS, before)
    assert ops(fixed) == ["Constant"] * 0 + ["If"]
    inside = [n.op_type for a in fixed.graph.node[0].attribute for n in a.g.node]
    assert inside == ["Slice", "Slice"]
    for c in (True, False):
        feed = {**data(4), "c": np.asarray(c)}
        assert_same_outputs(onnx.parser.parse_model(before), fixed, feed)


@pytest.mark.parametrize(
    ("signature", "body", "reason"),
    [
        ("(seq(float[N]) s) => (float[N] y)", "y = SequenceAt (s, k0)", "is an input of the model"),
        ("(float[N] x) => (seq(float[N]) s)", "s = SequenceConstruct (x)", "leaves the graph"),
        (
            "(float[N] x) => (float[N] y)",
            "s = SequenceConstruct (x) y = SequenceAt (s, k1)",
            "position 1 does not exist in a sequence of 1",
        ),
        (
            "(float[N] x, float[M] w, int64 i) => (float[P] y)",
            "s = SequenceConstruct (x, w) y = SequenceAt (s, i)",
            "not known to be of one shape",
        ),
        (
            "(bool[N] x, int64 i) => (bool[N] y)",
            "s = SequenceConstruct (x, x) y = SequenceAt (s, i)",
            "takes no Gather",
        ),
        (
            "(bool[N] x, int64 i) => (bool[1] y)",
            "s = SplitToSequence (x) y = SequenceAt (s, i)",
            "takes no Gather",
        ),
        (
            "(float[N] x, int64[P] i) => (float[M] y)",
            "s = SplitToSequence (x, i) y = SequenceAt (s, k0)",
            "known at run time only",
        ),
        (
            "(float[N] x) => (float[M] y)",
            "w = Constant <value = int64 {-1}> () s = SplitToSequence (x, k2) "
            "y = SequenceAt (s, w)",
            "fix the dim",
        ),
        (
            "(float[N] x) => (float[M] y)",
            "s = SplitToSequence (x) t = SequenceErase (s, k0) "
            "y = ConcatFromSequence <axis = 0> (t)",
            "fix the dim",
        ),
        (
            "(float[N, 2] x) => (float[M, P] y)",
            "s = SplitToSequence (x, k2) y = ConcatFromSequence <axis = 1> (s)",
            "joined along another one",
        ),
        (
            "(float[N] x) => (float[M] y)",
            "s = SequenceEmpty () y = ConcatFromSequence <axis = 0> (s)",
            "is empty",
        ),
        (
            "(float[N] x, int64 i) => (float[M] y)",
            "s = SequenceEmpty () t = SequenceInsert (s, x) u = SequenceInsert (t, x, i) "
            "y = SequenceAt (u, k0)",
            "position 'i' of a SequenceInsert is known at run time only",
        ),
        (
            "(float[N] x) => (float[M] y)",
            "s = SequenceEmpty () t = SequenceErase (s, k0) y = SequenceAt (t, k0)",
            "position 0 does not exist in a sequence of 0",
        ),
        (
            "(bool c, float[N] x) => (float[M] y)",
            "s = If (c) < then_branch = t () => (seq(float[N]) a) { a = SequenceConstruct (x) }, "
            "else_branch = e () => (seq(float[N]) b) { b = SequenceConstruct (x, x) } > "
            "y = SequenceAt (s, k0)",
            "comes from a If",
        ),
    ],
)
def test_what_is_left_alone(signature: str, body: str, reason: str) -> None:
    constants = "".join(
        K.partition(f"k{i} ")[1] + f"= Constant <value = int64 {{{i}}}> () "
        for i in range(3)
        if f"k{i}" in body
    )
    reasons = skip_reasons(PASS, text(signature, constants + body))
    assert any(reason in r for r in reasons), reasons


def test_maps() -> None:
    before = text(
        "(float[N] x, float[N] w, float[4] v) => (float[N] y, float[N] z, int64 n)",
        K + "s = SequenceConstruct (x, w) t = SequenceConstruct (w, w) "
        "a, b = SequenceMap (s, x, t) < body = m (float[N] e, float[N] f, float[N] g) => "
        "(float[N] h, float[N] i) <float[1] two = {2.0}> "
        "{ p = Mul (e, two) q = Add (p, f) h = Sub (q, g) i = Neg (e) } > "
        "y = SequenceAt (a, k1) c = SequenceAt (b, k0) d = SequenceAt (a, k0) z = Add (c, d) "
        "n = SequenceLength (b)",
        17,
    )
    fixed, _ = run_pass(PASS, before)
    assert not [op for op in ops(fixed) if "Sequence" in op]
    for n in (3, 1, 0):
        feed = {**data(n), **data(n, name="w"), **data(4, name="v")}
        feed["w"] = np.add(feed["w"], 1)
        assert_same_outputs(onnx.parser.parse_model(before), fixed, feed)


def test_maps_over_pieces_and_maps_that_stay() -> None:
    signature = "(float[4] x, seq(float[N]) r) => (float[2] y)"
    body = (
        K + "s = SplitToSequence (x, k2) a = SequenceMap (s) < body = m (float[P] e) => "
        "(float[P] h) { h = Neg (e) } > y = SequenceAt (a, k1)"
    )
    before = text(signature.replace(", seq(float[N]) r", ""), body, 17)
    fixed, _ = run_pass(PASS, before)
    assert not [op for op in ops(fixed) if "Sequence" in op]
    assert_same_outputs(onnx.parser.parse_model(before), fixed, data(4))
    for new, reason in (
        ("SequenceMap (r)", "is an input of the model"),
        ("SequenceMap (s, u)", "sequences of different lengths"),
        ("SequenceMap (o)", "an empty sequence"),
    ):
        more = "u = SequenceConstruct (x) o = SequenceEmpty () "
        changed = body.replace("a = SequenceMap (s)", f"{more} a = {new}")
        if "u)" in new:
            changed = changed.replace("(float[P] e)", "(float[P] e, float[4] j)")
        reasons = skip_reasons(PASS, text(signature, changed, 17))
        assert any(reason in said for said in reasons), reasons


def test_a_body_with_parameters() -> None:
    text_ = """<ir_version: 8, opset_import: ["" : 13, "f" : 1]>
    g (float[4] x) => (float[2] y) { y = f.halves <axis = 0> (x) }
    <domain: "f", opset_import: ["" : 13]> halves <axis> (x) => (y) {
        k = Constant <value = int64 {2}> () z = Constant <value = int64 {0}> ()
        s = SplitToSequence <axis : int = @axis> (x, k) y = SequenceAt (s, z) }"""
    reasons = skip_reasons(PASS, text_)
    assert len(reasons) == 1 and "parameter of the enclosing function" in reasons[0]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_families(data: st.DataObject) -> None:
    """Chains of changes, of constants only, against onnxruntime."""
    parts: list[str] = ["x", "w"]
    nodes = [helper.make_node("SequenceConstruct", ["x", "w"], ["s0"])]
    initializers: list[TensorProto] = []

    def position(value: int) -> str:
        name = f"p{len(initializers)}"
        kind = data.draw(st.sampled_from([np.int32, np.int64]))
        initializers.append(onnx.numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    for step in range(data.draw(st.integers(0, 5))):
        before, after = f"s{step}", f"s{step + 1}"
        erase: bool = data.draw(st.booleans())
        if parts and erase:
            at = data.draw(st.none() | st.integers(-len(parts), len(parts) - 1))
            inputs = [before] if at is None else [before, position(at)]
            nodes.append(helper.make_node("SequenceErase", inputs, [after]))
            parts.pop(-1 if at is None else at)
        else:
            name = data.draw(st.sampled_from(["x", "w"]))
            at = data.draw(st.none() | st.integers(-len(parts), len(parts)))
            inputs = [before, name] if at is None else [before, name, position(at)]
            nodes.append(helper.make_node("SequenceInsert", inputs, [after]))
            where = len(parts) if at is None else at + (len(parts) if at < 0 else 0)
            parts.insert(where, name)
    last = nodes[-1].output[0]
    nodes.append(helper.make_node("SequenceLength", [last], ["n"]))
    outputs = [helper.make_tensor_value_info("n", TensorProto.INT64, [])]
    if parts:
        new = data.draw(st.booleans())
        axis = data.draw(st.integers(-2 - new, 1 + new))
        nodes.append(
            helper.make_node("ConcatFromSequence", [last], ["y"], axis=axis, new_axis=int(new))
        )
        at = data.draw(st.integers(-len(parts), len(parts) - 1))
        nodes.append(helper.make_node("SequenceAt", [last, position(at)], ["z"]))
        for name, rank in (("y", 2 + new), ("z", 2)):
            dims = [f"{name}{k}" for k in range(rank)]
            outputs.append(helper.make_tensor_value_info(name, TensorProto.INT64, dims))
    inputs_ = [helper.make_tensor_value_info(n, TensorProto.INT64, [2, "N"]) for n in "xw"]
    graph = helper.make_graph(nodes, "g", inputs_, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    fixed, _ = run_pass(PASS, model)
    assert not [op for op in ops(fixed) if "Sequence" in op]
    feed = {n: np.arange(6).reshape(2, 3) * k for k, n in ((1, "x"), (-2, "w"))}
    assert_same_outputs(model, fixed, feed)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_splits(data: st.DataObject) -> None:
    """Splits of known and unknown sizes, by chunks and by lists, along every axis."""
    shape = [data.draw(st.integers(1, 5)) for _ in range(data.draw(st.integers(1, 3)))]
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = shape[axis]
    initializers = []
    way = data.draw(st.sampled_from(["ones", "chunk", "list"]))
    keep = data.draw(st.integers(0, 1)) if way == "ones" else 1
    if way == "chunk":
        chunk = data.draw(st.integers(1, size))
        initializers.append(onnx.numpy_helper.from_array(np.asarray(chunk, np.int64), "split"))
        count = -(-size // chunk)
    elif way == "list":
        cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=3)))
        sizes = np.diff([0, *cuts, size])
        initializers.append(onnx.numpy_helper.from_array(sizes, "split"))
        count = len(sizes)
    else:
        count = size
    inputs = ["x", "split"] if way != "ones" else ["x"]
    nodes = [
        helper.make_node("SplitToSequence", inputs, ["s"], axis=axis, keepdims=keep),
        helper.make_node("SequenceLength", ["s"], ["n"]),
    ]
    outputs = [helper.make_tensor_value_info("n", TensorProto.INT64, [])]
    dynamic = data.draw(st.booleans())
    low = 0 if dynamic and way == "chunk" else -count
    for k in data.draw(st.lists(st.integers(low, count - 1), unique=True, max_size=4)):
        name = f"y{k + count}"
        initializers.append(onnx.numpy_helper.from_array(np.asarray(k, np.int64), f"k{name}"))
        nodes.append(helper.make_node("SequenceAt", ["s", f"k{name}"], [name]))
        dims = [f"{name}d{d}" for d in range(len(shape) - 1 + keep)]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
    declared: list[int | str] = list(shape)
    if dynamic:
        declared[axis] = "N"
    given_ = [helper.make_tensor_value_info("x", TensorProto.FLOAT, declared)]
    graph = helper.make_graph(nodes, "g", given_, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    target = data.draw(st.sampled_from(["trt-7.2", "trt-8.6", "trt-10.3"]))
    fixed, _ = run_pass(PASS, model, target=target)
    assert not [op for op in ops(fixed) if "Sequence" in op]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    assert_same_outputs(model, fixed, {"x": x})
