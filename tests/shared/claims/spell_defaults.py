"""What ``spell-defaults`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("spell-defaults", "attribute_must_be_absent", "ScatterND"): of_text(
        16,
        "(float[4] x, float[2] u) => (float[4] y)",
        'i = Constant <value = int64[2, 1] {0, 2}> () y = ScatterND <reduction = "none"> (x, i, u)',
        "trt-10.3",
        [{"x": ("f4", (4,)), "u": ("f4", (2,))}],
    ),
    ("spell-defaults", "attribute_must_be_present", "Reshape"): of_text(
        14,
        "(float[2, 3] x) => (float[6] y)",
        "k = Constant <value = int64[1] {-1}> () y = Reshape (x, k)",
        "trt-8.2",
        [{"x": ("f4", (2, 3))}],
    ),
}
