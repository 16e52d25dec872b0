"""What ``squeeze-axes`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("squeeze-axes", "attribute_must_be_present", "Squeeze"): of_text(
        11,
        "(float[1, 3] x) => (float[3] y)",
        "y = Squeeze (x)",
        "trt-7.2",
        [{"x": ("f4", (1, 3))}],
    ),
}
