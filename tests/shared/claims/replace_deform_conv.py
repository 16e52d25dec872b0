"""What ``replace-deform-conv`` claims."""

from __future__ import annotations

from claim import ROUNDED, Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-deform-conv", "no_importer", "DeformConv"): of_text(
        19,
        "(float[N, 2, H, W] x, float[2, 2, 2, 2] w, float[N, 8, P, Q] o) => (float[N, 2, P, Q] y)",
        "y = DeformConv (x, w, o)",
        "trt-8.6",
        [
            {"x": ("f4", (n, 2, 4, 5)), "w": ("f4", (2, 2, 2, 2)), "o": ("f4", (n, 8, 3, 4))}
            for n in (1, 2)
        ],
        tolerance=ROUNDED,
    ),
}
