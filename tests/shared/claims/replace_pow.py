"""What ``replace-pow`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-pow", "dtype", "Pow"): of_text(
        15,
        "(int64[N] x) => (int64[N] y)",
        "k = Constant <value = int64 {3}> () y = Pow (x, k)",
        "trt-10.3",
        [{"x": ("i8", (n,))} for n in (1, 9)],
    ),
}
