"""ReplaceNms: the rows of NonMaxSuppression in rounds of fixed size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_parser import rtx
from numpy.typing import NDArray
from onnx import ModelProto
from onnx.backend.test.case.test_case import TestCase

import onnx_fix
from onnx_fix.check import check
from onnx_fix.contract import Exactness
from onnx_fix.testing import as_proto, ops, run_model, run_pass, run_reference, skip_reasons
from onnx_fix_passes.bound_non_zero import BoundNonZero
from onnx_fix_passes.replace_nms import ReplaceNms

PADDINGS = ("repeat-last", "minus-one", "zero")
HEAD = '<ir_version: 8, opset_import: ["" : {}]>'


def bound(most: int, padding: Any = "repeat-last", name: str = "*") -> ReplaceNms:
    return ReplaceNms(max_count={name: most}, padding=padding)


def model(
    dims: str = "B,C,N",
    most: int | None = 3,
    iou: float | None = 0.5,
    score: float | None = 0.0,
    *,
    center: int = 0,
    opset: int = 13,
    then: str = "",
    out: str = "int64[K,3] y",
) -> str:
    """A NonMaxSuppression; inputs left out are None, and a model input where -1."""
    batch, classes, count = dims.split(",")
    names, inputs, held = [], [], []
    for name, kind, value in (("m", "int64", most), ("i", "float", iou), ("t", "float", score)):
        names.append("" if value is None else name)
        if value == -1:
            inputs.append(f"{kind}[1] {name}")
        elif value is not None:
            held.append(f"{kind} {name} = {{{value}}}")
    while names and not names[-1]:
        names.pop()
    called = ", ".join(["b", "s", *(n or "absent" for n in names)])
    given_here = "".join(f", {text}" for text in inputs)
    held_here = f"<{', '.join(held)}>" if held else ""
    return (
        f"{HEAD.format(opset)} g (float[{batch},{count},4] b, float[{batch},{classes},{count}] s"
        f"{given_here}) => ({out}) {held_here} {{ y = NonMaxSuppression "
        f"<center_point_box = {center}> ({called}) {then} }}"
    )


def left_out(text: str) -> ModelProto:
    """The model without the inputs that are ``absent``, which the parser cannot spell."""
    proto = as_proto(text)
    for node in proto.graph.node:
        for k, name in enumerate(node.input):
            if name == "absent":
                node.input[k] = ""
    return proto


def named(proto: ModelProto, feeds: dict[str, Any]) -> dict[str, NDArray[Any]]:
    return dict(zip((o.name for o in proto.graph.output), run_model(proto, feeds), strict=True))


def padded(rows: NDArray[Any], most: int, padding: str) -> NDArray[Any]:
    kept = rows[:most]
    last = {"minus-one": -np.ones((1, 3)), "zero": np.zeros((1, 3))}.get(padding, kept[-1:])
    return np.concatenate([kept, np.repeat(last, most - len(kept), axis=0)]).astype(np.int64)


def boxes_of(
    rng: np.random.Generator, batch: int, classes: int, count: int, kind: str
) -> dict[str, NDArray[Any]]:
    if kind == "grid":
        # Equal coordinates and scores: ties, boxes that touch, boxes without an area.
        boxes = rng.integers(0, 4, (batch, count, 4)) / 2
        scores = rng.integers(-2, 3, (batch, classes, count)) / 4
    else:
        boxes = rng.normal(size=(batch, count, 4)) * (1 if kind == "wide" else 1e-3)
        boxes[..., 2:] += boxes[..., :2]
        scores = rng.normal(size=(batch, classes, count)) / 4
    return {"b": boxes.astype(np.float32), "s": scores.astype(np.float32)}


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 12)),
    most=st.sampled_from([-1, 1, 2, 5, 40]),
    iou=st.sampled_from([None, -1, 0.0, 0.25, 0.5, 1.0]),
    score=st.sampled_from([None, -1, -0.25, 0.0, 5.0]),
    center=st.integers(0, 1),
    keep=st.integers(1, 12) | st.sampled_from([60]),
    padding=st.sampled_from(PADDINGS),
    kind=st.sampled_from(["grid", "wide", "narrow"]),
    static=st.sampled_from(["", "C", "BC", "BCN"]),
    opset=st.sampled_from([10, 11, 13, 18]),
)
def test_any_boxes(
    seed: int,
    sizes: tuple[int, int, int],
    most: int,
    iou: float | None,
    score: float | None,
    center: int,
    keep: int,
    padding: str,
    kind: str,
    static: str,
    opset: int,
) -> None:
    static = "BCN" if opset == 10 else static
    dims = ",".join(str(n) if c in static else c for c, n in zip("BCN", sizes, strict=True))
    before = left_out(model(dims, most, iou, score, center=center, opset=opset))
    rng = np.random.default_rng(seed)
    feeds = boxes_of(rng, *sizes, kind)
    feeds |= {"m": np.asarray([rng.integers(0, 6)], np.int64)} if most == -1 else {}
    feeds |= {"i": np.asarray([rng.integers(0, 5) / 4], np.float32)} if iou == -1 else {}
    feeds |= {"t": np.asarray([rng.integers(-2, 3) / 4], np.float32)} if score == -1 else {}
    (want,) = run_model(before, feeds)
    made, results = run_pass(bound(keep, padding), before)
    onnx.checker.check_model(made, full_check=True)
    (change,) = [c for r in results for c in r.changes]
    assert change.exactness is Exactness.CONTRACT
    found = named(made, feeds)
    assert found["y_count"] == min(len(want), keep) and found["y_count"].shape == ()
    if len(want) or padding != "repeat-last":
        np.testing.assert_array_equal(found["y"], padded(want, keep, padding))
    else:
        assert found["y"].shape == (keep, 3)
        np.testing.assert_array_equal(found["y"][:, :2], 0)
        assert np.all((found["y"][:, 2] >= 0) & (found["y"][:, 2] < sizes[2]))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 12)),
    center=st.integers(0, 1),
    keep=st.integers(1, 8),
    kind=st.sampled_from(["grid", "wide", "narrow"]),
)
def test_the_reference_says_the_same(
    seed: int, sizes: tuple[int, int, int], center: int, keep: int, kind: str
) -> None:
    """Of inputs with one element, which alone onnx.reference reads, and with rounds written out: it
    joins what a Loop gathers along an axis that is there, where onnxruntime makes a new one."""
    before = as_proto(model("B,C,N", -1, -1, -1, center=center))
    rng = np.random.default_rng(seed)
    feeds = boxes_of(rng, *sizes, kind) | {
        "m": np.asarray([rng.integers(0, 13)], np.int64),
        "i": np.asarray([rng.integers(0, 5) / 4], np.float32),
        "t": np.asarray([rng.integers(-2, 3) / 4], np.float32),
    }
    (want,) = run_reference(before, feeds)
    made, _ = run_pass(bound(keep, "zero"), before)
    with np.errstate(invalid="ignore"):
        rows, count = run_reference(made, feeds)
    np.testing.assert_array_equal(rows, padded(want, keep, "zero"))
    assert int(count) == min(len(want), keep)


@pytest.mark.parametrize("dims", ["1,3,300", "B,C,N", "2,C,N", "B,3,300"])
def test_many_rounds_are_a_loop(dims: str) -> None:
    rng = np.random.default_rng(9)
    sizes = (2 if dims[0] in "2B" else 1, 3, 300)
    feeds = boxes_of(rng, *sizes, "wide")
    feeds["b"][..., :2] *= 3
    before = as_proto(model(dims, 40, 0.3, 0.05))
    (want,) = run_model(before, feeds)
    assert len(want) > 100
    for keep in (9, 60, 500):
        made, _ = run_pass(bound(keep), before)
        (loop,) = [n for n in made.graph.node if n.op_type == "Loop"]
        assert len(loop.attribute[0].g.node) < 30 and len(made.graph.node) < 70
        rows, count = run_model(made, feeds)
        np.testing.assert_array_equal(rows, padded(want, keep, "repeat-last"))
        assert int(count) == min(len(want), keep)
        for target in ("trt-7.0", "trt-7.2", "trt-8.4", "rtx-1.7"):
            whole = onnx_fix.fix(before, target=target, max_count={"*": keep}, verify=False)
            assert whole.ok and check(whole.model, target=target).verdict == "ready"
            assert "Loop" in ops(whole.model)


@pytest.mark.parametrize("score", [None, -0.75])
def test_scores_that_are_no_numbers_or_infinite(score: float | None) -> None:
    boxes = np.zeros((1, 5, 4), np.float32)
    boxes[0, :, 0] = np.arange(5) * 2
    boxes[0, :, 2:] = boxes[0, :, :1] + [1, 1]
    scores = np.asarray([[[0.5, -np.inf, np.inf, 0.25, 0.5]]], np.float32)
    before = as_proto(model("1,1,5", 5, 0.5, score))
    made, _ = run_pass(bound(7, "zero"), before)
    cases = [scores]
    if score is not None:
        cases.append(np.where(scores == 0.25, np.float32(np.nan), scores))
    for given_scores in cases:
        feeds = {"b": boxes, "s": given_scores}
        (want,) = run_model(before, feeds)
        rows, count = run_model(made, feeds)
        np.testing.assert_array_equal(rows, padded(want, 7, "zero"))
        assert int(count) == len(want) > 2


def node_tests(node_cases: list[TestCase]) -> list[TestCase]:
    return [c for c in node_cases if c.name.startswith("test_nonmaxsuppression_")]


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.2", "rtx-1.7"])
def test_the_backend_nodes(node_cases: list[TestCase], target: str) -> None:
    cases = node_tests(node_cases)
    assert len(cases) == 10
    for case in cases:
        assert case.model is not None and case.data_sets
        for inputs, outputs in case.data_sets:
            names = [v.name for v in case.model.graph.input]
            feeds = dict(zip(names, map(np.asarray, inputs), strict=True))
            for most in (len(outputs[0]), len(outputs[0]) + 2, 1):
                made, _ = run_pass(bound(most), case.model, target=target)
                rows, count = run_model(made, feeds)
                np.testing.assert_array_equal(rows, padded(outputs[0], most, "repeat-last"))
                assert int(count) == min(len(outputs[0]), most)
            whole = onnx_fix.fix(case.model, target=target, max_count={"*": len(outputs[0])})
            assert whole.ok and check(whole.model, target=target).verdict == "ready"
            np.testing.assert_array_equal(run_model(whole.model, feeds)[0], outputs[0])


# -- what is done with the rows -------------------------------------------------------------------

CONSUMERS = {
    "boxes": (
        "k = Gather <axis = 1> (y, two)  j = Squeeze (k, ones)  c = Squeeze (b, zeros)"
        "  z = Gather <axis = 0> (c, j)",
        "float[K,4] z",
    ),
    "scores": (
        "l = Slice (y, zeros, twos, ones)  p = Transpose <perm = [0, 2, 1]> (s)"
        "  k = Gather <axis = 1> (y, places)  z = GatherND (p, k)",
        "float[K,C] z",
    ),
    "a place that is computed": (
        "k = Gather <axis = 1> (y, two)  j = Squeeze (k, ones)  g = Sub (j, two)"
        "  c = Squeeze (b, zeros)  z = Gather <axis = 0> (c, g)",
        "float[K,4] z",
    ),
    "class by number": (
        "k = Gather <axis = 1> (y, one)  z = Cast <to = 1> (k)",
        "float[K,1] z",
    ),
    "a mask of the rows": (
        "k = Gather <axis = 1> (y, two)  j = Squeeze (k, ones)  c = Squeeze (b, zeros)"
        "  r = Gather <axis = 0> (c, j)  w = Gather <axis = 1> (r, last)  f = Greater (w, half)"
        "  n = NonZero (f)  q = Squeeze (n, zeros)  z = Gather <axis = 0> (r, q)",
        "float[K,4] z",
    ),
}
HELD = (
    "int64 m = {4}, float i = {0.3}, float t = {-0.5}, int64[1] zeros = {0}, int64[1] ones = {1},"
    " int64[1] one = {1}, int64[1] two = {2}, int64[1] twos = {2}, int64[2] places = {0, 2},"
    " int64 last = {3}, float half = {0.5}"
)


def consumer(name: str) -> str:
    then, out = CONSUMERS[name]
    return (
        f"{HEAD.format(13)} g (float[1,N,4] b, float[1,C,N] s) => ({out}) <{HELD}> "
        f"{{ y = NonMaxSuppression (b, s, m, i, t) {then} }}"
    )


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("name", CONSUMERS)
def test_consumers(name: str, padding: str) -> None:
    before = as_proto(consumer(name))
    rng = np.random.default_rng(4)
    for keep in (3, 20):
        made, results = run_pass(bound(keep, padding), before)
        assert not {"NonMaxSuppression", "NonZero"} & set(ops(made))
        (pad,) = [p for r in results for c in r.changes for p in c.padded]
        assert pad.output == "z"
        for count in (2, 3, 11):
            feeds = boxes_of(rng, 1, 2, count, "wide")
            want, have = named(before, feeds)["z"], named(made, feeds)
            filled = int(have[pad.counts[0][0]])
            full = any(int(have[output]) == limit for output, limit in pad.counts)
            assert filled == len(want) or (filled < len(want) and full)
            assert len(have["z"]) == pad.counts[0][1] == keep
            np.testing.assert_array_equal(have["z"][:filled], want[:filled])


def test_rows_that_are_only_moved_need_no_care() -> None:
    """A Gather at them stays as it is, unless padding is -1 or places are computed."""
    for name, padding, kept in (
        ("boxes", "repeat-last", True),
        ("boxes", "zero", True),
        ("scores", "zero", True),
        ("boxes", "minus-one", False),
        ("a place that is computed", "zero", False),
    ):
        _, results = run_pass(bound(5, padding), consumer(name))
        (change,) = [c for r in results for c in r.changes]
        assert (change.old_ops == ("NonMaxSuppression",)) == kept, (name, padding)


def test_fix_verifies_what_is_no_padding() -> None:
    for name in CONSUMERS:
        result = onnx_fix.fix(as_proto(consumer(name)), target="trt-7.2", max_count={"*": 8})
        assert result.ok and "NonMaxSuppression" not in ops(result.model)
        assert result.report.verification is not None and result.report.verification.ok
        (change,) = [c for c in result.report.changes if c.pass_name == "replace-nms"]
        assert "'y' keeps 8 boxes and no more, and output '" in change.note


def test_no_boxes_are_kept() -> None:
    """Nothing has to be asked for: the result is always empty."""
    texts = [model(most=0), model(most=None, iou=None, score=None), model("1,2,0"), model(most=-7)]
    for text in texts:
        before = as_proto(text)
        made, results = run_pass(ReplaceNms(), before)
        assert [c.exactness for r in results for c in r.changes] == [Exactness.EXACT]
        assert ops(made) == ["Identity"]
        sizes = (1, 2, 0) if "[1,0,4]" in text else (1, 2, 5)
        feeds = boxes_of(np.random.default_rng(0), *sizes, "wide")
        for have, want in zip(run_model(made, feeds), run_model(before, feeds), strict=True):
            assert have.shape == want.shape == (0, 3) and have.dtype == want.dtype


# -- what it declines -----------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.2", "rtx-1.7"])
def test_never_unasked(target: str) -> None:
    reason = (
        "the number of its rows depends on the data; with a bound it is written in other ops: "
        "--max-count 'y=K'"
    )
    for pass_ in (ReplaceNms(), ReplaceNms(padding="zero"), bound(3, name="other")):
        assert skip_reasons(pass_, model(), target=target) == [reason]


def test_what_the_target_takes_is_left_unless_it_is_named() -> None:
    assert skip_reasons(bound(3), model("1,2,9"), target="trt-10.3") == []
    made, _ = run_pass(bound(3, name="y"), model("1,2,9"), target="trt-10.3")
    assert "NonMaxSuppression" not in ops(made)


REFUSALS = {
    "opset": (model(opset=10), "numbering its boxes needs Range: export with operator set 11"),
    "sum": (
        model(then="z = ReduceSum <keepdims = 0> (y)", out="int64 z"),
        "ReduceSum 'z' reads it, which reduces over all rows",
    ),
    "number": (
        model(then="z = Shape (y)", out="int64[2] z"),
        "'z' is an output and holds the number of selected elements",
    ),
    "rank": (
        f"{HEAD.format(13)} g (float[1,N,4] b, float[1,1,N] s, int64[R] r) => (int64[K,3] y)"
        " <int64 m = {3}> { p = Reshape (b, r) y = NonMaxSuppression (p, s, m) }",
        "its boxes and scores are not known to have three dimensions",
    ),
    "type": (
        f"{HEAD.format(13)} g (float16[1,N,4] b, float16[1,1,N] s) => (int64[K,3] y)"
        " <int64 m = {3}> { y = NonMaxSuppression (b, s, m) }",
        "its boxes and scores are not float32",
    ),
    "room": (
        model("9,300000,N", 50),
        "it has room for 135000000 rows, and float32 tells 16777216 of them apart",
    ),
    "many boxes": (
        model("1,1,20000000"),
        "it has 20000000 boxes, and float32 tells 16777216 of them apart",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    text, reason = REFUSALS[name]
    assert skip_reasons(bound(70), text) == [reason]


def test_a_body_can_give_the_model_no_count() -> None:
    text = f"""{HEAD.format(13)} g (bool c, float[1,N,4] b, float[1,1,N] s) => (int64[K,3] y)
      <int64 m = {{3}}> {{ y = If (c) <
        then_branch = p () => (int64[J,3] u) {{ u = NonMaxSuppression (b, s, m) }},
        else_branch = q () => (int64[L,3] v) {{ v = NonMaxSuppression (b, s, m) }}> }}"""
    reason = "it stands in a subgraph or function, which gives the model no count"
    assert skip_reasons(bound(5), text) == [reason, reason]


def test_rows_that_are_ranked_are_not_padded() -> None:
    """A box that is padding could suppress another one."""
    text = f"""{HEAD.format(13)} g (float[1,N,4] b, float[N] s) => (int64[K,3] y)
      <int64 m = {{3}}, float t = {{0.5}}, int64[1] zeros = {{0}}, int64[2] front = {{0, 1}}> {{
        f = Greater (s, t)  n = NonZero (f)  j = Squeeze (n, zeros)  p = Gather <axis = 1> (b, j)
        q = Gather <axis = 0> (s, j)  r = Unsqueeze (q, front)
        y = NonMaxSuppression (p, r, m) }}"""
    reason = "NonMaxSuppression 'y' reads it, which ranks its rows"
    assert skip_reasons(BoundNonZero(max_count={"*": 5}), text) == [reason]


@pytest.mark.rtx
@pytest.mark.skipif(not rtx.available(), reason="tensorrt_rtx (the extra `rtx`) is not installed")
@pytest.mark.parametrize("dims", ["1,2,9", "B,C,N"])
def test_the_real_builder_takes_it(dims: str, tmp_path: Path) -> None:
    path = tmp_path / "fixed.onnx"
    texts = [model(dims, 3), model(dims, -1), model(dims, 2, -1, -1, center=1), consumer("boxes")]
    for text in texts:
        result = onnx_fix.fix(as_proto(text), target="rtx-1.7", max_count={"*": 4}, verify=False)
        onnx.save(result.model, path)
        verdict = rtx.ask(path, build=True, timeout=120)
        assert verdict.parsed and verdict.built, (text, verdict.message)
