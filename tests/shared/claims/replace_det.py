"""What ``replace-det`` claims."""

from __future__ import annotations

from claim import ROUNDED, Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-det", "no_importer", "Det"): of_text(
        13,
        "(float[N, 3, 3] x) => (float[N] y)",
        "y = Det (x)",
        "trt-8.6",
        [{"x": ("f4", (n, 3, 3))} for n in (1, 9)],
        tolerance=ROUNDED,
    ),
}
