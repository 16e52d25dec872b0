"""What ``replace-affine-grid`` claims."""

from __future__ import annotations

from claim import ROUNDED, Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-affine-grid", "no_importer", "AffineGrid"): of_text(
        20,
        "(float[N, 2, 3] t) => (float[N, 4, 5, 2] y)",
        "s = Constant <value = int64[4] {2, 3, 4, 5}> () y = AffineGrid (t, s)",
        "trt-10.3",
        [{"t": ("f4", (2, 2, 3))}],
        tolerance=ROUNDED,
    ),
}
