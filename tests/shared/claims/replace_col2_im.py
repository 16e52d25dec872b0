"""What ``replace-col2-im`` claims."""

from __future__ import annotations

from claim import ROUNDED, Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-col2-im", "no_importer", "Col2Im"): of_text(
        18,
        "(float[N, 4, 9] x) => (float[N, 1, 4, 4] y)",
        "i = Constant <value = int64[2] {4, 4}> () b = Constant <value = int64[2] {2, 2}> () "
        "y = Col2Im (x, i, b)",
        "rtx-1.7",
        [{"x": ("f4", (n, 4, 9))} for n in (1, 2)],
        tolerance=ROUNDED,
    ),
}
