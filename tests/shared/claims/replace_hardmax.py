"""What ``replace-hardmax`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-hardmax", "static_dim", "Hardmax"): of_text(
        13,
        "(float[2, N] x) => (float[2, N] y)",
        "y = Hardmax (x)",
        "trt-10.3",
        [{"x": ("f4", (2, n))} for n in (1, 9)],
    ),
    ("replace-hardmax", "no_importer", "Hardmax"): of_text(
        13,
        "(float[N, 4] x) => (float[N, 4] y)",
        "y = Hardmax (x)",
        "trt-8.6",
        [{"x": ("f4", (n, 4))} for n in (1, 9)],
    ),
}
