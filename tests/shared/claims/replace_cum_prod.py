"""What ``replace-cum-prod`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-cum-prod", "no_importer", "CumProd"): of_text(
        26,
        "(float[N, 4] x) => (float[N, 4] y)",
        "k = Constant <value = int64 {1}> () y = CumProd (x, k)",
        "rtx-1.7",
        [{"x": ("f4", (n, 4))} for n in (1, 9)],
        by_reference=True,
    ),
}
