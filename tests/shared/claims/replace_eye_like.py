"""What ``replace-eye-like`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-eye-like", "static_shape_only", "EyeLike"): of_text(
        13,
        "(float[N, 4] x) => (float[N, 4] y)",
        "y = EyeLike (x)",
        "trt-8.6",
        [{"x": ("f4", (n, 4))} for n in (1, 9)],
    ),
    ("replace-eye-like", "no_importer", "EyeLike"): of_text(
        11,
        "(float[N, 4] x) => (float[N, 4] y)",
        "y = EyeLike (x)",
        "trt-7.2",
        [{"x": ("f4", (n, 4))} for n in (1, 9)],
    ),
}
