"""What ``replace-sign`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-sign", "no_importer", "Sign"): of_text(
        13,
        "(float[N] x) => (float[N] y)",
        "y = Sign (x)",
        "trt-7.2",
        [{"x": ("f4", (n,))} for n in (1, 9)],
    ),
}
