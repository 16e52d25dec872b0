"""What ``replace-top-k`` claims."""

from __future__ import annotations

from claim import Case, of_text

OUT = "(float[N, 3] v, int64[N, 3] i)"
K = "k = Constant <value = int64[1] {3}> () "

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-top-k", "ignored_attribute", "TopK"): of_text(
        13,
        f"(float[N, 7] x) => {OUT}",
        f"{K} v, i = TopK <largest = 0> (x, k)",
        "trt-7.2",
        [{"x": ("f4", (n, 7))} for n in (1, 9)],
    ),
    ("replace-top-k", "input_must_be_constant", "TopK"): of_text(
        13,
        "(float[N, 7] x, float[K] like) => (float[N, K] v, int64[N, K] i)",
        "k = Shape (like) v, i = TopK (x, k)",
        "trt-8.5",
        [{"x": ("f4", (n, 7)), "like": ("f4", (k,))} for n, k in ((1, 7), (9, 2))],
    ),
    ("replace-top-k", "max_value", "TopK"): of_text(
        13,
        "(float[N, 4500] x) => (float[N, 4200] v, int64[N, 4200] i)",
        "k = Constant <value = int64[1] {4200}> () v, i = TopK (x, k)",
        "trt-10.3",
        [{"x": ("f4", (n, 4500))} for n in (1, 2)],
    ),
    ("replace-top-k", "dtype_refused", "TopK"): of_text(
        13,
        "(int32[N, 7] x) => (int32[N, 3] v, int64[N, 3] i)",
        f"{K} c = Cast <to = 3> (x) y = Cast <to = 6> (c) v, i = TopK (y, k)",
        "trt-8.5",
        [{"x": ("i4", (n, 7))} for n in (1, 9)],
    ),
    ("replace-top-k", "static_shape_only", "TopK"): of_text(
        13,
        "(float[N, 7] x, int64[A] at) => (float[N, M] v, int64[N, M] i)",
        "zero = Constant <value = int64[1] {0}> () three = Constant <value = int64[1] {3}> () "
        "none = Mul (at, zero) k = Add (none, three) v, i = TopK (x, k)",
        "rtx-1.7",
        [{"x": ("f4", (n, 7)), "at": ("i8", (1,))} for n in (1, 9)],
    ),
}
