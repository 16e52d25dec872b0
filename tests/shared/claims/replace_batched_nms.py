"""What ``replace-batched-nms`` claims."""

from __future__ import annotations

from claim import Case, text
from onnx import parser

from onnx_fix.plugin_bodies import plugin_bodies
from onnx_fix.verify.source import with_bodies

MODEL = parser.parse_model(
    text(
        13,
        "(float[B,8,1,4] b, float[B,8,3] s) => (int32[B,1] n, float[B,4,4] d, float[B,4] c)",
        "n, d, p, c = TRT.BatchedNMSDynamic_TRT <shareLocation = 1, backgroundLabelId = -1, "
        "numClasses = 3, topK = 8, keepTopK = 4, scoreThreshold = 0.1, iouThreshold = 0.5> (b, s)",
        ', "TRT" : 1',
    )
)

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-batched-nms", "no_importer", "BatchedNMSDynamic_TRT"): Case(
        MODEL,
        "trt-11.0",
        [{"b": ("f4", (n, 8, 1, 4)), "s": ("f4", (n, 8, 3))} for n in (1, 3)],
        twin=with_bodies(MODEL, plugin_bodies(13)),
    ),
}
