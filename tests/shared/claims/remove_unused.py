"""What ``remove-unused`` claims."""

from __future__ import annotations

from claim import THREE, Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("remove-unused", "*", "*"): of_text(
        13,
        "(float[N] x) => (float[N] y)",
        "u = Unique (x) y = Abs (x)",
        "trt-8.6",
        THREE,
        ops=("Unique",),
    ),
}
