"""What ``replace-mod`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-mod", "dtype", "Mod"): of_text(
        28,
        "(float[N] x, float[N] k) => (float[N] y)",
        "y = Mod (x, k)",
        "rtx-1.7",
        [{"x": ("f4", (n,)), "k": ("f4", (n,))} for n in (1, 9)],
        by_reference=True,
    ),
    ("replace-mod", "no_importer", "Mod"): of_text(
        13,
        "(int64[N] x) => (int64[N] y)",
        "k = Constant <value = int64 {-3}> () y = Mod (x, k)",
        "trt-8.4",
        [{"x": ("i8", (n,))} for n in (1, 9)],
    ),
}
