"""What ``count-from-front`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("count-from-front", "negative_indices_unsupported", "Gather"): of_text(
        11,
        "(float[N, 4] x) => (float[N, 2] y)",
        "i = Constant <value = int64[2] {-1, 0}> ()  y = Gather <axis = 1> (x, i)",
        "trt-7.2",
        [{"x": ("f4", (n, 4))} for n in (1, 3)],
    ),
}
