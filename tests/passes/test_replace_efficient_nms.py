"""ReplaceEfficientNms, and the body in the table: both against numpy, after NVIDIA's README."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_fix.api import fix
from onnx_fix.check import check
from onnx_fix.contract import Exactness
from onnx_fix.pipeline import parse_pipeline
from onnx_fix.plugin_bodies import plugin_bodies
from onnx_fix.testing import ops, run_model, run_pass, skip_reasons
from onnx_fix.verify.source import with_bodies
from onnx_fix_passes.replace_efficient_nms import ReplaceEfficientNms

Array = Any
PLAIN: dict[str, Any] = {
    "score_threshold": 0.25, "iou_threshold": 0.5, "max_output_boxes": 5, "background_class": -1,
    "score_activation": 0, "class_agnostic": 0, "box_coding": 0,
}  # fmt: skip


# -- the reference --------------------------------------------------------------------------------


def corners_of(box: Array, anchor: Array | None, centred: bool) -> Array:
    """The corners of one box, decoded where there is an anchor."""
    if anchor is not None and not centred:
        low, high = np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])
        a_low, a_high = np.minimum(anchor[:2], anchor[2:]), np.maximum(anchor[:2], anchor[2:])
        return np.concatenate([low + a_low, high + a_high])
    if not centred:
        return box
    centre, size = box[:2], box[2:]
    if anchor is not None:
        centre, size = centre * anchor[2:] + anchor[:2], anchor[2:] * np.exp(size)
    half = size * np.float32(0.5)
    return np.concatenate([centre - half, centre + half])


def overlap(a: Array, b: Array) -> np.float32:
    (a_low, a_high), (b_low, b_high) = (
        (np.minimum(x[:2], x[2:]), np.maximum(x[:2], x[2:])) for x in (a, b)
    )
    sides = np.minimum(a_high, b_high) - np.maximum(a_low, b_low)
    if (sides <= 0).any():
        return np.float32(0)
    shared = sides.prod(dtype=np.float32)
    whole = (a_high - a_low).prod(dtype=np.float32) + (b_high - b_low).prod(dtype=np.float32)
    return np.float32(shared / (whole - shared))


def efficient_nms(
    boxes: Array, scores: Array, anchors: Array | None = None, **how: Any
) -> list[Array]:
    """What the plugin gives, for boxes of rank 3 or 4; equal scores in their order."""
    how = {**PLAIN, **how}
    images, count, classes = scores.shape[:3]
    scores, most = scores.reshape(images, count, classes), int(how["max_output_boxes"])
    boxes = np.broadcast_to(boxes.reshape(images, count, -1, 4), (images, count, classes, 4))
    least, usual = np.float32(how["score_threshold"]), np.float32(0.007)
    if how["score_activation"]:
        usual = np.log(usual / (1 - usual))
        least = np.log(least / (1 - least)) if least > 0 else np.float32(-32768)
    number = np.zeros((images, 1), np.int32)
    out = [np.zeros((images, most, *more), np.float32) for more in ((4,), ())]
    kinds = np.zeros((images, most), np.int32)
    for b in range(images):
        found: list[tuple[Array, np.float32, int]] = []
        for n, c in np.ndindex(count, classes):
            score = scores[b, n, c]
            counts = score >= least and c != how["background_class"]
            if not counts and least >= usual:
                continue
            anchor = None if anchors is None else anchors[b % len(anchors), n]
            box = corners_of(boxes[b, n, c], anchor, bool(how["box_coding"]))
            found.append((box, score if counts else np.float32(-32768), c))
        found.sort(key=lambda item: -item[1])
        kept: list[tuple[Array, np.float32, int]] = []
        for box, score, c in found:
            near = (k for k in kept if how["class_agnostic"] or k[2] == c)
            if len(kept) == most:
                break
            if not any(overlap(box, k[0]) >= np.float32(how["iou_threshold"]) for k in near):
                kept.append((box, score, c))
        number[b] = len(kept)
        for k, (box, score, c) in enumerate(kept):
            if how["score_activation"]:
                score = 1 / (1 + np.exp(np.minimum(-score, 80)))
            out[0][b, k], out[1][b, k], kinds[b, k] = box, score, c
    return [number, *out, kinds]


# -- models ---------------------------------------------------------------------------------------


def model_of(
    feeds: dict[str, Array],
    *,
    domain: str = "TRT",
    batch: str = "B",
    opset: int = 13,
    more: str = "",
    **how: Any,
) -> onnx.ModelProto:
    given = {**PLAIN, **how}
    text = ", ".join(f"{k} = {v}" for k, v in given.items())
    k = given["max_output_boxes"]
    inputs = ", ".join(
        f"float[{','.join([batch if len(v) > 1 else '1', *map(str, v.shape[1:])])}] {name}"
        for name, v in feeds.items()
    )
    outputs = f"int32[{batch},1] n, float[{batch},{k},4] d, float[{batch},{k}] p"
    op = f"{domain}.EfficientNMS_TRT" if domain else "EfficientNMS_TRT"
    imports = f'"" : {opset}' + (f', "{domain}" : 1' if domain else "")
    return onnx.parser.parse_model(
        f"<ir_version: 8, opset_import: [{imports}]> g ({inputs}) =>"
        f" ({outputs}, int32[{batch},{k}] c) {{ n, d, p, c = {op}"
        f'<{text}, plugin_version = "1"{more}>({", ".join(feeds)}) }}'
    )


def drawn(
    seed: int, images: int, count: int, classes: int, *, own: bool = False, whole: bool = False
) -> dict[str, Array]:
    """Boxes with large overlaps; ``whole``: small integers, where overlaps hit the threshold."""
    random = np.random.default_rng(seed)
    shape = (images, count, classes, 4) if own else (images, count, 4)
    low = random.integers(0, 4, (*shape[:-1], 2)) if whole else random.random((*shape[:-1], 2))
    size = random.integers(0, 4, low.shape) if whole else random.random(low.shape)
    boxes = np.concatenate([low, low + size], -1).astype(np.float32)
    turned = random.random(shape[:-1]) < 0.2
    boxes[turned] = boxes[turned][..., [2, 3, 0, 1]]
    scores = random.random((images, count, classes)).astype(np.float32)
    if whole:
        scores = np.round(scores * 8) / np.float32(8)
    return {"b": boxes, "s": scores}


def pairs(
    model: onnx.ModelProto, feeds: dict[str, Array], want: list[Array]
) -> Iterator[tuple[Array, Array]]:
    yield from zip(run_model(model, feeds), want, strict=True)


def compare(
    feeds: dict[str, Array],
    want: list[Array],
    model: onnx.ModelProto,
    target: str = "rtx-1.7",
    exact: bool = False,
) -> onnx.ModelProto:
    """The body in the table and the nodes of the pass both give what is wanted."""
    fixed, (result, *_) = run_pass(ReplaceEfficientNms(), model, target=target)
    assert [c.exactness for c in result.changes] == [Exactness.ROUNDING]
    assert "EfficientNMS_TRT" not in ops(fixed)
    for made in (with_bodies(model, plugin_bodies(17)), fixed):
        for have, wanted in pairs(made, feeds, want):
            assert have.dtype == wanted.dtype and have.shape == wanted.shape
            tolerance = 0 if exact else 1e-5
            np.testing.assert_allclose(have, wanted, rtol=tolerance, atol=tolerance)
    return fixed


# -- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 5, 8, 9, 40])
@pytest.mark.parametrize(("images", "classes"), [(1, 1), (1, 3), (3, 2)])
@pytest.mark.parametrize("batch", ["B", "known"])
def test_sizes(images: int, classes: int, most: int, batch: str) -> None:
    feeds = drawn(most, images, 11, classes)
    batch = str(images) if batch == "known" else batch
    model = model_of(feeds, batch=batch, max_output_boxes=most)
    want = efficient_nms(**_named(feeds), max_output_boxes=most)
    compare(feeds, want, model, exact=True)


def _named(feeds: dict[str, Array]) -> dict[str, Array]:
    return dict(zip(("boxes", "scores", "anchors"), feeds.values(), strict=False))


@pytest.mark.parametrize("how", [
    {"class_agnostic": 1},
    {"background_class": 1},
    {"background_class": 7},
    {"background_class": 0, "score_threshold": 0.001, "max_output_boxes": 40, "iou_threshold": 1.0},
    {"score_activation": 1},
    {"score_activation": 1, "score_threshold": 0.0},
    {"score_activation": 1, "score_threshold": 0.005, "background_class": 2,
     "max_output_boxes": 40},
    {"score_threshold": 0.0},
    {"score_threshold": 0.99, "max_output_boxes": 12},
    {"iou_threshold": 1.0, "max_output_boxes": 50},
    {"iou_threshold": 0.01},
    {"box_coding": 1, "class_agnostic": 1, "iou_threshold": 0.3},
])  # fmt: skip
@pytest.mark.parametrize("own", [False, True])
def test_attributes(how: dict[str, Any], own: bool) -> None:
    feeds = drawn(3, 2, 9, 3, own=own)
    if how.get("score_activation"):
        feeds["s"] = ((feeds["s"] - 0.5) * 12).astype(np.float32)
    want = efficient_nms(**_named(feeds), **how)
    compare(feeds, want, model_of(feeds, **how))


@pytest.mark.parametrize("coding", [0, 1])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_anchors(coding: int, shared: bool, own: bool) -> None:
    feeds = drawn(5, 2, 8, 2, own=own)
    anchors = np.random.default_rng(8).random((1 if shared else 2, 8, 4)).astype(np.float32)
    feeds["a"] = anchors * 2
    how: dict[str, Any] = {"box_coding": coding, "iou_threshold": 0.3}
    compare(feeds, efficient_nms(**_named(feeds), **how), model_of(feeds, **how))


def test_scores_and_boxes_with_one_more_dimension() -> None:
    feeds = drawn(2, 2, 7, 3)
    want = efficient_nms(**_named(feeds), background_class=2)
    more = {"b": feeds["b"].reshape(2, 7, 1, 4), "s": feeds["s"].reshape(2, 7, 3, 1)}
    compare(more, want, model_of(more, background_class=2), exact=True)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 12),
    classes=st.integers(1, 4),
    iou=st.sampled_from([0.25, 0.5, 1 / 3, 0.2, 1.0]),
    least=st.sampled_from([0.0, 0.004, 0.125, 0.5]),
    agnostic=st.booleans(),
    centred=st.booleans(),
)
def test_overlaps_and_scores_at_the_threshold(
    seed: int, count: int, classes: int, iou: float, least: float, agnostic: bool, centred: bool
) -> None:
    feeds = drawn(seed, 2, count, classes, whole=True)
    how: dict[str, Any] = {
        "iou_threshold": iou, "score_threshold": least, "class_agnostic": int(agnostic),
        "box_coding": int(centred), "max_output_boxes": 9,
    }  # fmt: skip
    compare(feeds, efficient_nms(**_named(feeds), **how), model_of(feeds, **how), exact=True)


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("target", ["trt-7.2", "rtx-1.7"])
def test_the_whole_way(opset: int, target: str) -> None:
    feeds = drawn(4, 2, 30, 3)
    model = model_of(feeds, opset=opset, max_output_boxes=20)
    result = fix(model, target=target)
    assert result.report.verification is not None
    assert result.report.verification.status == "equal"
    assert not [f for f in check(result.model, target=target).findings if f.blocks]
    want = efficient_nms(**_named(feeds), max_output_boxes=20)
    for have, wanted in pairs(result.model, feeds, want):
        np.testing.assert_allclose(have, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("domain", ["TRT", "trt", "", "trt.plugins"])
def test_any_domain(domain: str) -> None:
    feeds = drawn(4, 1, 6, 2)
    compare(feeds, efficient_nms(**_named(feeds)), model_of(feeds, domain=domain), exact=True)


def test_in_a_branch() -> None:
    feeds = drawn(4, 2, 6, 2)
    inner = (
        "n, d, p, c = TRT.EfficientNMS_TRT<score_threshold = 0.25, iou_threshold = 0.5,"
        " max_output_boxes = 3>(b, s)"
    )
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13, "TRT" : 1]>'
        " g (bool on, float[2,6,4] b, float[2,6,2] s) => (float[2,3] y) { y = If (on) <"
        f"then_branch = t () => (float[2,3] p) {{ {inner} }}, else_branch = e () => (float[2,3] q)"
        " { z = Constant <value = float[1] {-1.0}> () k = Constant <value = int64[2] {2, 3}> ()"
        " q = Expand (z, k) }> }"
    )
    fixed, _ = run_pass(ReplaceEfficientNms(), model, target="rtx-1.7")
    want = efficient_nms(**_named(feeds), max_output_boxes=3)[2]
    ((made, wanted),) = pairs(fixed, {"on": np.array(True), **feeds}, [want])
    np.testing.assert_array_equal(made, wanted)


def in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with float16 in place of float32."""
    half = onnx.ModelProto()
    half.CopyFrom(model)
    for value in (*half.graph.input, *half.graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    return half


@pytest.mark.parametrize("how", [
    {"score_threshold": 0.1, "iou_threshold": 0.4},
    {"score_activation": 1, "score_threshold": 0.4, "max_output_boxes": 12},
    {"box_coding": 1, "class_agnostic": 1, "score_threshold": 0.002, "max_output_boxes": 40},
])  # fmt: skip
@pytest.mark.parametrize("anchored", [False, True])
def test_half_precision(how: dict[str, Any], anchored: bool) -> None:
    feeds = drawn(3, 2, 9, 3)
    if anchored:
        feeds["a"] = np.random.default_rng(8).random((1, 9, 4)).astype(np.float32)
    feeds = {k: v.astype(np.float16) for k, v in feeds.items()}
    # The plugin compares with the threshold in float16, which is less than 0.1.
    feeds["s"][:, 4] = np.float16(0.1)
    bound = {**PLAIN, **how}["score_threshold"]
    if not how.get("score_activation"):
        bound = float(np.float16(bound))
    wide = {k: v.astype(np.float32) for k, v in feeds.items()}
    want = efficient_nms(**_named(wide), **{**how, "score_threshold": bound})
    model = in_half(model_of(feeds, opset=15, **how))
    fixed, _ = run_pass(ReplaceEfficientNms(), model, target="rtx-1.7")
    for made in (with_bodies(model, plugin_bodies(17)), fixed):
        for have, wanted in pairs(made, feeds, want):
            assert have.dtype == (np.float16 if wanted.dtype == np.float32 else np.int32)
            np.testing.assert_allclose(have.astype(float), wanted, rtol=2e-3, atol=2e-3)


# -- more scores than the plugin is sure to look at -----------------------------------------------


def test_more_scores_need_the_option() -> None:
    feeds = drawn(9, 1, 900, 3)
    model = model_of(feeds, max_output_boxes=20)
    (why,) = skip_reasons(ReplaceEfficientNms(), model, target="rtx-1.7")
    assert "has 2700 scores" in why and "`candidates: 3840`" in why
    text = (
        "version: 1\npasses:\n  - {pass: replace-efficient-nms, options: {candidates: 2500}}\n"
    )  # fmt: skip
    result = fix(model, target="rtx-1.7", pipeline=parse_pipeline(text, "p.yaml", Path()))
    (change,) = result.report.changes
    assert change.exactness is Exactness.CONTRACT
    assert "of the 2700 scores of an image the 2500 best are looked at" in change.note
    want = efficient_nms(**_named(feeds), max_output_boxes=20)
    for have, wanted in pairs(result.model, feeds, want):
        np.testing.assert_array_equal(have, wanted)


def test_the_option_is_not_used_where_it_changes_nothing() -> None:
    feeds = drawn(9, 1, 50, 3)
    fixed, (result, *_) = run_pass(
        ReplaceEfficientNms(candidates=3), model_of(feeds, max_output_boxes=9), target="rtx-1.7"
    )
    assert result.changes[0].exactness is Exactness.ROUNDING
    want = efficient_nms(**_named(feeds), max_output_boxes=9)
    for have, wanted in pairs(fixed, feeds, want):
        np.testing.assert_array_equal(have, wanted)


def test_the_body_looks_at_5000() -> None:
    # All boxes of 5100 are one but the last, whose score is the least.
    boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (1, 5100, 1))
    boxes[0, -1] = [5, 5, 6, 6]
    scores = np.linspace(1, 0.5, 5100, dtype=np.float32).reshape(1, 5100, 1)
    feeds = {"b": boxes, "s": scores}
    model = with_bodies(model_of(feeds), plugin_bodies(17))
    assert run_model(model, feeds)[0].tolist() == [[1]]
    fewer = {"b": boxes[:, 200:], "s": scores[:, 200:]}
    model = with_bodies(model_of(fewer), plugin_bodies(17))
    assert run_model(model, fewer)[0].tolist() == [[2]]


# -- what stays -----------------------------------------------------------------------------------


def test_what_the_target_has_stays() -> None:
    model = model_of(drawn(1, 1, 4, 2))
    assert skip_reasons(ReplaceEfficientNms(), model, target="trt-8.6") == []
    fixed, _ = run_pass(ReplaceEfficientNms(everywhere=True), model, target="trt-8.6")
    assert "TopK" in ops(fixed)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("float[B,4,4] b", "float[B,4,4] b, float[B,4,4] a, float[1] z", "it has 4 inputs"),
        ("float[", "double[", "not known to be float32"),
        ("float[B,4,4] b", "float[B,4,3,4] b", "nor one for every class"),
        ("[B,4,", "[B,N,", "numbers of its boxes and classes are not known"),
        ("float[B,4,2] s", "float[B,4,C] s", "numbers of its boxes and classes are not known"),
        ("float[B,4,4] b", "float b", "are not known to be 3 or 4"),
        ("iou_threshold = 0.5, ", "", "it has no attribute iou_threshold"),
        ("iou_threshold = 0.5", "iou_threshold = 0.0", "the plugin takes no such"),
        ("max_output_boxes = 5", "max_output_boxes = 0", "the plugin takes no such"),
        ("box_coding = 0", "box_coding = 2", "takes as 0 or 1"),
        ("float[B,4,4] b", "float[B,4,4] b, float[A,4,4] a", "anchors are not known to be"),
    ],
)
def test_refusals(old: str, new: str, why: str) -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 13, "TRT" : 1]> g (float[B,4,4] b, float[B,4,2] s) =>'
        " (int32[B,1] n, float[B,5] p) { n, d, p, c = TRT.EfficientNMS_TRT<score_threshold = 0.25,"
        " iou_threshold = 0.5, max_output_boxes = 5, box_coding = 0>(b, s) }"
    )
    assert old in text
    changed = text.replace(old, new)
    if "float[A" in new or " z" in new:
        changed = changed.replace("(b, s)", "(b, s, a, z)" if " z" in new else "(b, s, a)")
    (reason,) = skip_reasons(ReplaceEfficientNms(), changed, target="rtx-1.7")
    assert why in reason


def test_functions_and_their_parameters() -> None:
    head = '<ir_version: 8, opset_import: ["" : 13, "TRT" : 1, "my" : 1]> '
    main = "g (float[1,4,4] b, float[1,4,2] s) => (int32[1,1] n)"
    inside = onnx.parser.parse_model(
        f"{head} {main} {{ n = my.Outer<k = 3>(b, s) }}"
        '<domain: "my", opset_import: ["" : 13, "TRT" : 1]> Outer <k> (b, s) => (n)'
        " { n, d, p, c = TRT.EfficientNMS_TRT<score_threshold = 0.25, iou_threshold = 0.5,"
        " max_output_boxes : int = @k>(b, s) }"
    )
    (why,) = skip_reasons(ReplaceEfficientNms(), inside, target="rtx-1.7")
    assert "parameter of the enclosing function" in why
    own = onnx.parser.parse_model(
        f"{head} {main} {{ n = TRT.EfficientNMS_TRT(b, s) }}"
        '<domain: "TRT", opset_import: ["" : 13]> EfficientNMS_TRT (b, s) => (n)'
        " { k = Constant <value = int32[1,1] {0}> () n = Identity(k) }"
    )
    assert skip_reasons(ReplaceEfficientNms(), own, target="rtx-1.7") == []
