"""What ``replace-is-nan`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-is-nan", "no_importer", "IsNaN"): of_text(
        13,
        "(float[N] x) => (bool[N] y)",
        "z = Log (x) y = IsNaN (z)",
        "trt-7.2",
        [{"x": ("f4", (n,))} for n in (1, 9)],
    ),
}
