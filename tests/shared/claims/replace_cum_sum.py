"""What ``replace-cum-sum`` claims."""

from __future__ import annotations

from claim import ROUNDED, Case, of_text

SUMS = "axis = Constant <value = int64 {1}> () y = CumSum (x, axis)"


FOLDED = "k = Constant <value = int64 {-1}> () axis = Neg (k) y = CumSum (x, axis)"


CASES: dict[tuple[str, str, str], Case] = {
    ("replace-cum-sum", "differs_from_first", "CumSum"): of_text(
        13,
        "(float[3, 4] x) => (float[3, 4] a, float[3, 4] b)",
        "i = Constant <value = int64 {0}> () k = Constant <value = int64 {1}> () "
        "a = CumSum (x, i) b = CumSum (x, k)",
        "trt-10.10",
        [{"x": ("f4", (3, 4))}],
        tolerance=ROUNDED,
    ),
    ("replace-cum-sum", "input_must_be_constant", "CumSum"): of_text(
        13,
        "(float[2, 3] x) => (float[2, 3] y)",
        FOLDED,
        "trt-8.6",
        [{"x": ("f4", (2, 3))}],
        first="fold-constants",
        tolerance=ROUNDED,
    ),
    ("replace-cum-sum", "no_importer", "CumSum"): of_text(
        12,
        "(float[2, N] x) => (float[2, N] y)",
        SUMS,
        "trt-7.2",
        [{"x": ("f4", (2, n))} for n in (1, 5)],
        tolerance=ROUNDED,
    ),
    ("replace-cum-sum", "static_shape_only", "CumSum"): of_text(
        12,
        "(float[2, N] x) => (float[2, N] y)",
        SUMS,
        "trt-7.2-tip",
        [{"x": ("f4", (2, n))} for n in (1, 5)],
        tolerance=ROUNDED,
    ),
}
