"""What ``best-of-mask`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("best-of-mask", kind, "NonZero"): of_text(
        13,
        "(float[H, W] x) => (float[3] v, int64[3, 2] p)",
        "t = Constant <value = float {-2.0}> () k = Constant <value = int64[1] {3}> () "
        "m = Greater (x, t) n = NonZero (m) c = Transpose <perm = [1, 0]> (n) "
        "s = GatherND (x, c) v, i = TopK (s, k) p = Gather (c, i)",
        target,
        [{"x": ("f4", (h, w))} for h, w in ((2, 5), (6, 1))],
    )
    for kind, target in (("no_importer", "trt-8.0"), ("needs_plugin", "rtx-1.7"))
}
