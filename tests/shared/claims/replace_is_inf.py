"""What ``replace-is-inf`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-is-inf", "no_importer", "IsInf"): of_text(
        13,
        "(float[N] x) => (bool[N] y)",
        "z = Log (x) y = IsInf (z)",
        "trt-8.4",
        [{"x": ("f4", (n,))} for n in (1, 9)],
    ),
}
