"""What ``remove-identity`` claims."""

from __future__ import annotations

from claim import IMAGE, Case, W, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("remove-identity", "input_must_be_constant", "*"): of_text(
        13,
        "(float[1, 1, 2, 2] x) => (float[1, 1, 2, 2] y)",
        W + "w = Identity (w0) y = Conv (x, w)",
        "trt-7.2",
        IMAGE,
        ops=("Conv",),
        first="fold-constants",
    ),
}
