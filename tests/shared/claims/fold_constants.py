"""What ``fold-constants`` claims."""

from __future__ import annotations

from claim import IMAGE, Case, W, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("fold-constants", "*", "*"): of_text(
        13,
        "(float[1, 1, 2, 2] x) => (float[1, 1, 2, 2] y)",
        W + "w = Neg (w0) y = Conv (x, w)",
        "trt-7.2",
        IMAGE,
        ops=("Conv",),
    ),
}
