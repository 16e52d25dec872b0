"""What ``replace-efficient-nms`` claims."""

from __future__ import annotations

from claim import Case, text
from onnx import parser

from onnx_fix.plugin_bodies import plugin_bodies
from onnx_fix.verify.source import with_bodies

MODEL = parser.parse_model(
    text(
        13,
        "(float[B,8,4] b, float[B,8,3] s) => (int32[B,1] n, float[B,4,4] d, int32[B,4] c)",
        "n, d, p, c = TRT.EfficientNMS_TRT <score_threshold = 0.1, iou_threshold = 0.5, "
        "max_output_boxes = 4> (b, s)",
        ', "TRT" : 1',
    )
)

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-efficient-nms", "no_importer", "EfficientNMS_TRT"): Case(
        MODEL,
        "rtx-1.7",
        [{"b": ("f4", (n, 8, 4)), "s": ("f4", (n, 8, 3))} for n in (1, 3)],
        twin=with_bodies(MODEL, plugin_bodies(13)),
    ),
}
