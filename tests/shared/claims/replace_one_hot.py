"""What ``replace-one-hot`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-one-hot", "no_importer", "OneHot"): of_text(
        13,
        "(int64[N] x, float[2] v) => (float[N, 4] y)",
        "d = Constant <value = int64 {4}> () y = OneHot (x, d, v)",
        "trt-8.2",
        [{"x": ("i8", (n,)), "v": ("f4", (2,))} for n in (1, 9)],
    ),
    ("replace-one-hot", "dtype_refused", "OneHot"): of_text(
        13,
        "(int64[N] x, float d, float[2] v) => (float[N, 1] y)",
        "y = OneHot (x, d, v)",
        "rtx-1.7",
        [{"x": ("i8", (n,)), "d": ("one", ()), "v": ("f4", (2,))} for n in (1, 9)],
    ),
    ("replace-one-hot", "input_must_be_constant", "OneHot"): of_text(
        13,
        "(int64[N] x, bool[M] z, float[2] v) => (float[N, K] y)",
        "i = Cast <to = 7> (z) s = ReduceSum <keepdims = 0> (i) "
        "one = Constant <value = int64 {1}> () d = Add (s, one) y = OneHot (x, d, v)",
        "trt-8.6",
        [{"x": ("i8", (n,)), "z": ("?", (n,)), "v": ("f4", (2,))} for n in (2, 9)],
    ),
}
