"""ReplaceBatchedNms, and the body in the table: both against numpy, after NVIDIA's README."""

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
from onnx_fix_passes.replace_batched_nms import ReplaceBatchedNms

Array = Any
PLAIN: dict[str, Any] = {
    "shareLocation": 1, "backgroundLabelId": -1, "numClasses": 3, "topK": 20, "keepTopK": 5,
    "scoreThreshold": 0.25, "iouThreshold": 0.5, "isNormalized": 1, "clipBoxes": 1,
}  # fmt: skip


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


def batched_nms(boxes: Array, scores: Array, **how: Any) -> list[Array]:
    """What the plugin gives: of every class the best, then the best of all classes."""
    how = {**PLAIN, **how}
    images, count, classes = scores.shape[:3]
    most = how["keepTopK"]
    out: list[Array] = [
        np.zeros((images, 1), np.int32),
        np.zeros((images, most, 4), np.float32),
        np.zeros((images, most), np.float32),
        np.full((images, most), -1, np.float32),
    ]
    scores = scores.reshape(images, count, classes)
    for b in range(images):
        kept: list[tuple[Array, np.float32, int]] = []
        for c in range(classes):
            if c == how["backgroundLabelId"]:
                continue
            own = boxes[b, :, 0 if how["shareLocation"] else c]
            order = np.argsort(-scores[b, :, c], kind="stable")
            above = [n for n in order if scores[b, n, c] > np.float32(how["scoreThreshold"])]
            tried = above[: how["topK"]]
            stay: list[int] = []
            for n in tried:
                if all(overlap(own[n], own[m]) <= np.float32(how["iouThreshold"]) for m in stay):
                    stay.append(n)
            kept += [(own[n], scores[b, n, c], c) for n in stay]
        kept.sort(key=lambda item: -item[1])
        kept = kept[:most]
        out[0][b] = len(kept)
        for k, (box, score, c) in enumerate(kept):
            out[1][b, k] = np.clip(box, 0, 1) if how["clipBoxes"] else box
            out[2][b, k], out[3][b, k] = score, c
    return out


def model_of(
    feeds: dict[str, Array], *, domain: str = "TRT", batch: str = "B", opset: int = 13, **how: Any
) -> onnx.ModelProto:
    asked = {**PLAIN, **how}
    text, k = ", ".join(f"{k} = {v}" for k, v in asked.items()), asked["keepTopK"]
    inputs = ", ".join(
        f"float[{','.join([batch, *map(str, v.shape[1:])])}] {name}" for name, v in feeds.items()
    )
    op = f"{domain}.BatchedNMSDynamic_TRT" if domain else "BatchedNMSDynamic_TRT"
    imports = f'"" : {opset}' + (f', "{domain}" : 1' if domain else "")
    return onnx.parser.parse_model(
        f"<ir_version: 8, opset_import: [{imports}]> g ({inputs}) => (int32[{batch},1] n,"
        f" float[{batch},{k},4] d, float[{batch},{k}] p, float[{batch},{k}] c)"
        f' {{ n, d, p, c = {op}<{text}, plugin_version = "1">({", ".join(feeds)}) }}'
    )


def drawn(
    seed: int, images: int, count: int, classes: int, *, own: bool = False, whole: bool = False
) -> dict[str, Array]:
    """Boxes with large overlaps; ``whole``: small integers, where overlaps hit the threshold."""
    random = np.random.default_rng(seed)
    shape = (images, count, classes if own else 1)
    low = random.integers(0, 4, (*shape, 2)) if whole else random.uniform(-0.2, 0.8, (*shape, 2))
    size = random.integers(0, 4, low.shape) if whole else random.random(low.shape)
    boxes = np.concatenate([low, low + size], -1).astype(np.float32)
    turned = random.random(shape) < 0.2
    boxes[turned] = boxes[turned][..., [2, 3, 0, 1]]
    scores = random.random((images, count, classes)).astype(np.float32)
    if whole:
        scores = np.round(scores * 8) / np.float32(8)
    return {"b": boxes, "s": scores}


def pairs(
    model: onnx.ModelProto, feeds: dict[str, Array], want: list[Array]
) -> Iterator[tuple[Array, Array]]:
    yield from zip(run_model(model, feeds), want, strict=True)


def compare(feeds: dict[str, Array], target: str = "trt-11.0", **how: Any) -> None:
    """The body in the table and the nodes of the pass both give what the plugin gives."""
    named = {k: v for k, v in how.items() if k not in ("domain", "batch", "opset")}
    want = batched_nms(feeds["b"], feeds["s"], **named)
    model = model_of(feeds, **how)
    fixed, (result, *_) = run_pass(ReplaceBatchedNms(), model, target=target)
    assert [c.exactness for c in result.changes] == [Exactness.ROUNDING]
    assert "BatchedNMSDynamic_TRT" not in ops(fixed)
    for made in (with_bodies(model, plugin_bodies(17)), fixed):
        for have, wanted in pairs(made, feeds, want):
            assert have.dtype == wanted.dtype and have.shape == wanted.shape
            np.testing.assert_array_equal(have, wanted)


@pytest.mark.parametrize("most", [1, 5, 8, 9, 20])
@pytest.mark.parametrize(("images", "classes"), [(1, 1), (1, 3), (3, 2)])
@pytest.mark.parametrize("batch", ["B", "known"])
def test_sizes(images: int, classes: int, most: int, batch: str) -> None:
    batch = str(images) if batch == "known" else batch
    compare(drawn(most, images, 11, classes), batch=batch, numClasses=classes, keepTopK=most)


@pytest.mark.parametrize("how", [
    {"backgroundLabelId": 0},
    {"backgroundLabelId": 5},
    {"clipBoxes": 0},
    {"scoreThreshold": 0.0},
    {"scoreThreshold": 0.95, "keepTopK": 12},
    {"iouThreshold": 1.0, "keepTopK": 20},
    {"iouThreshold": 0.0},
    {"topK": 5},
    {"topK": 6, "keepTopK": 6, "iouThreshold": 0.9},
    {"topK": 9, "keepTopK": 9, "scoreBits": 10},
])  # fmt: skip
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("batch", ["B", "2"])
def test_attributes(how: dict[str, Any], own: bool, batch: str) -> None:
    compare(drawn(3, 2, 9, 3, own=own), shareLocation=int(not own), batch=batch, **how)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 12),
    classes=st.integers(1, 4),
    iou=st.sampled_from([0.25, 0.5, 1 / 3, 0.2]),
    least=st.sampled_from([0.0, 0.125, 0.5]),
    top=st.integers(1, 13),
    own=st.booleans(),
)
def test_overlaps_and_scores_at_the_threshold(
    seed: int, count: int, classes: int, iou: float, least: float, top: int, own: bool
) -> None:
    compare(
        drawn(seed, 2, count, classes, own=own, whole=True),
        iouThreshold=iou,
        scoreThreshold=least,
        topK=top,
        keepTopK=min(top, 9),
        numClasses=classes,
        shareLocation=int(not own),
        clipBoxes=0,
    )


@pytest.mark.parametrize("target", ["trt-11.0", "rtx-1.7"])
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_the_whole_way(opset: int, target: str) -> None:
    feeds = drawn(4, 2, 30, 3)
    result = fix(model_of(feeds, opset=opset, keepTopK=20, topK=25), target=target)
    assert result.report.verification is not None
    assert result.report.verification.status == "equal"
    assert not [f for f in check(result.model, target=target).findings if f.blocks]
    want = batched_nms(feeds["b"], feeds["s"], keepTopK=20, topK=25)
    for have, wanted in pairs(result.model, feeds, want):
        np.testing.assert_allclose(have, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("domain", ["TRT", "trt", "", "trt.plugins"])
def test_any_domain(domain: str) -> None:
    compare(drawn(4, 1, 6, 3), domain=domain)


def test_scores_with_one_more_dimension() -> None:
    feeds = drawn(2, 2, 7, 3)
    want = batched_nms(feeds["b"], feeds["s"])
    more = {"b": feeds["b"], "s": feeds["s"][..., None]}
    fixed, _ = run_pass(ReplaceBatchedNms(), model_of(more), target="trt-11.0")
    for have, wanted in pairs(fixed, more, want):
        np.testing.assert_array_equal(have, wanted)


@pytest.mark.parametrize("how", [{}, {"topK": 6, "keepTopK": 6}, {"keepTopK": 12}])
def test_half_precision(how: dict[str, Any]) -> None:
    feeds = {k: v.astype(np.float16) for k, v in drawn(3, 2, 9, 3).items()}
    model = model_of(feeds, opset=15, **how)
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    wide = [v.astype(np.float32) for v in feeds.values()]
    want = batched_nms(*wide, **how)
    fixed, _ = run_pass(ReplaceBatchedNms(), model, target="rtx-1.7")
    for made in (with_bodies(model, plugin_bodies(17)), fixed):
        for have, wanted in pairs(made, feeds, want):
            assert have.dtype == (np.float16 if wanted.dtype == np.float32 else np.int32)
            np.testing.assert_array_equal(have.astype(np.float32), wanted)
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("scoreBits", 8))
    (why,) = skip_reasons(ReplaceBatchedNms(), model, target="rtx-1.7")
    assert "scoreBits has them sorted by their first bits" in why


def test_what_the_target_has_stays() -> None:
    model = model_of(drawn(1, 1, 4, 3))
    assert skip_reasons(ReplaceBatchedNms(), model, target="trt-10.3") == []
    fixed, _ = run_pass(ReplaceBatchedNms(everywhere=True), model, target="trt-10.3")
    assert "ReduceMax" in ops(fixed)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("float[", "double[", "not known to be float32"),
        ("isNormalized = 1", "isNormalized = 0", "counts areas in pixels"),
        ("float[B,4,1,4] b", "float[B,4,2,4] b", "not those of its attributes"),
        ("numClasses = 3", "numClasses = 4", "not those of its attributes"),
        ("[B,4,", "[B,N,", "numbers of its boxes and classes are not known"),
        ("float[B,4,1,4] b", "float[B,4,4] b", "are not known to be 4, and 3 or 4"),
        ("topK = 20", "top = 20", "it has no attribute topK"),
        ("keepTopK = 5", "keepTopK = 50", "it does not keep from 1 to topK"),
        ("scoreThreshold = 0.25", "scoreThreshold = -0.5", "its score threshold is negative"),
    ],
)
def test_refusals(old: str, new: str, why: str) -> None:
    text = ", ".join(f"{k} = {v}" for k, v in PLAIN.items())
    model = (
        '<ir_version: 8, opset_import: ["" : 13, "TRT" : 1]> g (float[B,4,1,4] b, float[B,4,3] s)'
        f" => (int32[B,1] n) {{ n, d, p, c = TRT.BatchedNMSDynamic_TRT<{text}>(b, s) }}"
    )
    assert old in model
    (reason,) = skip_reasons(ReplaceBatchedNms(), model.replace(old, new), target="trt-11.0")
    assert why in reason


# -- mmdeploy's -----------------------------------------------------------------------------------


def mmdeploy_nms(boxes: Array, scores: Array, **how: Any) -> list[Array]:
    """As batched_nms, but that boxes with a first corner that is not the low one have no area."""
    flat = boxes.copy()
    flat[..., 2:] = np.maximum(flat[..., 2:], flat[..., :2])
    top = how["topk"] if 0 < how["topk"] <= boxes.shape[1] else boxes.shape[1]
    count, most = boxes.shape[1], how["keep_topk"]
    share = int(boxes.shape[2] == 1)
    # The numbers of boxes ride along as boxes that nothing is clipped of.
    numbers = np.arange(count * boxes.shape[2], dtype=np.float32)
    numbers = numbers.reshape(boxes.shape[2], count).T
    found = {
        name: _by_box(flat, rows, scores, how, top, share)
        for name, rows in (("box", boxes), ("number", np.repeat(numbers[..., None], 4, -1)[None]))
    }
    number, box, score, kind = found["box"]
    index = np.full((len(boxes), most), -1, np.int32)
    for b in range(len(boxes)):
        index[b, : number[b, 0]] = found["number"][1][b, : number[b, 0], 0]
    if how.get("clip_boxes", 1):
        box = np.clip(box, 0, 1)
    return [np.concatenate([box, score[..., None]], -1), kind.astype(np.int32), index]


def _by_box(
    flat: Array, rows: Array, scores: Array, how: dict[str, Any], top: int, share: int
) -> list[Array]:
    """What batched_nms finds, with rows of another tensor in place of the boxes."""
    images, _, classes = scores.shape
    most = how["keep_topk"]
    out: list[Array] = [
        np.zeros((images, 1), np.int32),
        np.zeros((images, most, 4), np.float32),
        np.zeros((images, most), np.float32),
        np.full((images, most), -1, np.float32),
    ]
    for b in range(images):
        kept: list[tuple[Array, np.float32, int]] = []
        for c in range(classes):
            if c == how.get("background_label_id", -1):
                continue
            place = 0 if share else c
            order = np.argsort(-scores[b, :, c], kind="stable")
            tried = [n for n in order if scores[b, n, c] > np.float32(how["score_threshold"])][:top]
            stay: list[int] = []
            for n in tried:
                near = (overlap(flat[b, n, place], flat[b, m, place]) for m in stay)
                if all(share_ <= np.float32(how["iou_threshold"]) for share_ in near):
                    stay.append(n)
            own = rows[b % len(rows)]
            kept += [(own[n, place], scores[b, n, c], c) for n in stay]
        kept.sort(key=lambda item: -item[1])
        out[0][b] = len(kept[:most])
        for k, (box, score, c) in enumerate(kept[:most]):
            out[1][b, k], out[2][b, k], out[3][b, k] = box, score, c
    return out


def mmdeploy_model(feeds: dict[str, Array], outputs: int, **how: Any) -> onnx.ModelProto:
    boxes, scores = (",".join(["B", *map(str, v.shape[1:])]) for v in feeds.values())
    text, k = ", ".join(f"{name} = {value}" for name, value in how.items()), how["keep_topk"]
    out = [f"float[B,{k},5] d", f"int32[B,{k}] l", f"int32[B,{k}] i"][:outputs]
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 13, "mmdeploy" : 1]> g (float[{boxes}] b,'
        f" float[{scores}] s) => ({', '.join(out)}) {{ {', '.join('dli'[:outputs])} ="
        f" mmdeploy.TRTBatchedNMS<{text}>(b, s) }}"
    )


MMDEPLOY: dict[str, Any] = {
    "num_classes": 3, "background_label_id": -1, "iou_threshold": 0.5, "score_threshold": 0.25,
    "topk": -1, "keep_topk": 6, "is_normalized": 0, "clip_boxes": 0, "return_index": 1,
}  # fmt: skip


@pytest.mark.parametrize("how", [
    {},
    {"topk": 7},
    {"topk": 100, "keep_topk": 11},
    {"is_normalized": 1, "clip_boxes": 1},
    {"background_label_id": 1, "iou_threshold": 0.2},
    {"score_threshold": 0.9, "keep_topk": 9},
])  # fmt: skip
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("outputs", [2, 3])
def test_of_mmdeploy(how: dict[str, Any], own: bool, outputs: int) -> None:
    feeds = drawn(6, 2, 11, 3, own=own, whole=True)
    asked = {**MMDEPLOY, **how, "return_index": int(outputs == 3)}
    want = mmdeploy_nms(feeds["b"], feeds["s"], **asked)[:outputs]
    model = mmdeploy_model(feeds, outputs, **asked)
    fixed, _ = run_pass(ReplaceBatchedNms(mmdeploy=True), model, target="rtx-1.7")
    assert "TRTBatchedNMS" not in ops(fixed)
    for made in (with_bodies(model, plugin_bodies(17)), fixed):
        for have, wanted in pairs(made, feeds, want):
            assert have.dtype == wanted.dtype and have.shape == wanted.shape
            np.testing.assert_array_equal(have, wanted)


def test_of_mmdeploy_by_a_pipeline_file() -> None:
    feeds = drawn(6, 2, 11, 3)
    model = mmdeploy_model(feeds, 2, **MMDEPLOY)
    text = "version: 1\npasses: [{pass: replace-batched-nms, options: {mmdeploy: true}}]\n"
    result = fix(model, target="rtx-1.7", pipeline=parse_pipeline(text, "p.yaml", Path()))
    assert result.report.verification is not None
    assert result.report.verification.status == "equal"
    assert not [f for f in check(result.model, target="rtx-1.7").findings if f.blocks]


def test_of_mmdeploy_where_the_library_is_there() -> None:
    feeds = drawn(6, 2, 11, 3)
    model = mmdeploy_model(feeds, 2, **MMDEPLOY)
    assert skip_reasons(ReplaceBatchedNms(), model, target="trt-8.6") == []
    few = mmdeploy_model(feeds, 2, **{**MMDEPLOY, "keep_topk": 12})
    (why,) = skip_reasons(ReplaceBatchedNms(mmdeploy=True), few, target="trt-8.6")
    assert "it does not keep from 1 to topK boxes" in why
