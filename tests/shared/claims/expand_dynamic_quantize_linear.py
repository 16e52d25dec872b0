"""What ``expand-dynamic-quantize-linear`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("expand-dynamic-quantize-linear", "no_importer", "DynamicQuantizeLinear"): of_text(
        13,
        "(float[N] x) => (uint8[N] y, float s, uint8 z)",
        "y, s, z = DynamicQuantizeLinear (x)",
        "trt-8.6",
        [{"x": ("f4", (n,))} for n in (1, 9)],
    ),
}
