"""What ``compress-to-gather`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("compress-to-gather", "no_importer", "Compress"): of_text(
        13,
        "(float[N, 3] x, bool[N] c) => (float[K, 3] y)",
        "y = Compress <axis = 0> (x, c)",
        "trt-10.3",
        [{"x": ("f4", (n, 3)), "c": ("?", (n,))} for n in (1, 9)],
    ),
}
