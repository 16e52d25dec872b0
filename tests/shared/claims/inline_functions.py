"""What ``inline-functions`` claims."""

from __future__ import annotations

import onnx
from claim import THREE, Case
from onnx import ModelProto


def calls(domain: str, name: str) -> ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13, "{domain}" : 1]>
        g (float[N] x) => (float[N] y) {{ t = {domain}.{name} (x) y = Abs (t) }}
        <opset_import: ["" : 13], domain: "{domain}">
        {name} (a) => (b) {{ r = Neg (a) b = Exp (r) }}"""
    )


CASES: dict[tuple[str, str, str], Case] = {
    ("inline-functions", "domain_ignored", "*"): Case(
        calls("my", "Relu"), "trt-8.6", THREE, ops=("Relu",)
    ),
}
