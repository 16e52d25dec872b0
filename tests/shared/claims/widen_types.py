"""What ``widen-types`` claims."""

from __future__ import annotations

from collections.abc import Sequence

from claim import Case, Shape, of_text

_ENDS = "(int64[N] x) => (int64[N] y)"
_FEEDS: Sequence[dict[str, tuple[str, Shape]]] = [{"x": ("i8", (n,))} for n in (1, 9)]

CASES: dict[tuple[str, str, str], Case] = {
    ("widen-types", "io_types_refused", "*"): of_text(
        14,
        _ENDS,
        "a = Cast <to = 5> (x) b = Mul (a, a) y = Cast <to = 7> (b)",
        "rtx-1.7",
        _FEEDS,
        ops=("Cast", "Mul"),
        by_reference=True,
    ),
    ("widen-types", "dtype_refused", "Cast"): of_text(
        14, _ENDS, "a = Cast <to = 4> (x) y = Cast <to = 7> (a)", "trt-7.2", _FEEDS
    ),
    ("widen-types", "uint8_io", "*"): of_text(
        14,
        "(uint8[N, 2] x) => (float[2, N] y)",
        "a = Transpose (x) y = Cast <to = 1> (a)",
        "trt-8.6",
        [{"x": ("u1", (n, 2))} for n in (1, 4)],
        ops=("Transpose",),
    ),
    ("widen-types", "double_refused", "*"): of_text(
        14,
        "(float[N] x) => (float[N] y)",
        "a = Cast <to = 11> (x) b = Neg (a) y = Cast <to = 1> (b)",
        "trt-7.2",
        [{"x": ("f4", (n,))} for n in (1, 9)],
        ops=("Cast", "Neg"),
    ),
    ("widen-types", "bf16_fp8", "*"): of_text(
        14,
        "(float[N] x) => (float[N] y)",
        "a = Cast <to = 16> (x) b = Mul (a, a) y = Cast <to = 1> (b)",
        "trt-8.6",
        [{"x": ("f4", (n,))} for n in (1, 9)],
        ops=("Cast", "Mul"),
        by_reference=True,
        tolerance=0.03,
    ),
    ("widen-types", "no_importer", "BitCast"): of_text(
        26,
        "(bool[N] x) => (int64[N] y)",
        "a = Cast <to = 4> (x) b = BitCast <to = 5> (a) y = Cast <to = 7> (b)",
        "trt-10.3",
        [{"x": ("?", (n,))} for n in (1, 9)],
        by_reference=True,
    ),
    ("widen-types", "no_importer", "CastLike"): of_text(
        15,
        _ENDS,
        "l = Cast <to = 5> (x) a = CastLike (x, l) y = CastLike (a, x)",
        "trt-8.6",
        _FEEDS,
        by_reference=True,
    ),
    ("widen-types", "no_importer", "BitShift"): of_text(
        14,
        "(bool[N] x) => (int64[N] y)",
        'a = Cast <to = 4> (x) b = BitShift <direction = "LEFT"> (a, a) y = Cast <to = 7> (b)',
        "trt-8.6",
        [{"x": ("?", (n,))} for n in (1, 9)],
        by_reference=True,
        first="replace-bit-shift",
    ),
}
