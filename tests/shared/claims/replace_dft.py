"""What ``replace-dft`` claims."""

from __future__ import annotations

from claim import ROUNDED, Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-dft", "no_importer", "DFT"): of_text(
        17,
        "(float[N, 6, 1] x) => (float[N, 6, 2] y)",
        "y = DFT (x)",
        "trt-10.3",
        [{"x": ("f4", (n, 6, 1))} for n in (1, 3)],
        tolerance=ROUNDED,
    ),
}
