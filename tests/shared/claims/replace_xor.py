"""What ``replace-xor`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-xor", "no_importer", "Xor"): of_text(
        13,
        "(bool[N] a, bool[N] b) => (bool[N] y)",
        "y = Xor (a, b)",
        "trt-8.2",
        [{"a": ("?", (n,)), "b": ("?", (n,))} for n in (1, 9)],
    ),
}
