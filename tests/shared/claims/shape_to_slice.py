"""What ``shape-to-slice`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("shape-to-slice", "ignored_attribute", "Shape"): of_text(
        15,
        "(float[N, 3, M] x) => (int64[2] y)",
        "y = Shape <start = 1> (x)",
        "trt-8.6",
        [{"x": ("f4", (2, 3, 4))}],
    ),
}
