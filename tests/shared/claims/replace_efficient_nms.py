"""What ``replace-efficient-nms`` claims."""

from __future__ import annotations

from collections.abc import Sequence

from claim import Case, Shape, text
from onnx import parser

from onnx_fix.plugin_bodies import plugin_bodies
from onnx_fix.verify.source import with_bodies


def case(target: str, attributes: str) -> Case:
    model = parser.parse_model(
        text(
            13,
            "(float[B,8,4] b, float[B,8,3] s) => (int32[B,1] n, float[B,4,4] d, int32[B,4] c)",
            "n, d, p, c = TRT.EfficientNMS_TRT <score_threshold = 0.1, iou_threshold = 0.5, "
            f"max_output_boxes = 4{attributes}> (b, s)",
            ', "TRT" : 1',
        )
    )
    feeds: Sequence[dict[str, tuple[str, Shape]]] = [
        {"b": ("f4", (n, 8, 4)), "s": ("f4", (n, 8, 3))} for n in (1, 3)
    ]
    return Case(model, target, feeds, twin=with_bodies(model, plugin_bodies(13)))


CASES: dict[tuple[str, str, str], Case] = {
    ("replace-efficient-nms", "no_importer", "EfficientNMS_TRT"): case("rtx-1.7", ""),
    ("replace-efficient-nms", "ignored_attribute", "EfficientNMS_TRT"): case(
        "trt-8.5", ", class_agnostic = 1"
    ),
}
