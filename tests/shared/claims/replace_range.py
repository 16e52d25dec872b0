"""What ``replace-range`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-range", "dtype_refused", "Range"): of_text(
        13,
        "(float a, float d) => (float[1] y)",
        "l = Add (a, d) y = Range (a, l, d)",
        "rtx-1.7",
        [{"a": ("f4", ()), "d": ("one", ())}],
        tolerance=1e-6,
    ),
    ("replace-range", "dtype", "Range"): of_text(
        13,
        "(float[N] x) => (float[M] y)",
        "s = Size (x) l = Cast <to = 1> (s) a = Constant <value = float {0.0}> () "
        "b = Constant <value = float {1.0}> () y = Range (a, l, b)",
        "trt-7.2",
        [{"x": ("f4", (n,))} for n in (0, 1, 9)],
    ),
}
