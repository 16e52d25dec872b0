"""What ``replace-scatter-nd`` claims."""

from __future__ import annotations

from claim import ADDED, ROUNDED, Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    **{
        ("replace-scatter-nd", kind, "ScatterND"): of_text(
            opset,
            "(float[M, 4] x, int64[N, 1] i, float[N, 4] v) => (float[M, 4] y)",
            f"y = ScatterND{more} (x, i, v)",
            target,
            [{"x": ("f4", (9, 4)), "i": ("i8", (n, 1)), "v": ("f4", (n, 4))} for n in (1, 5)],
            tolerance=ROUNDED,
        )
        for kind, opset, target, more in (
            ("attribute_allowed_values", 16, "trt-10.9", f"<{ADDED[2:]}>"),
            ("attribute_must_be_absent", 16, "trt-10.3", f"<{ADDED[2:]}>"),
            ("ignored_attribute", 16, "trt-8.6", f"<{ADDED[2:]}>"),
            ("no_importer", 11, "trt-7.2", ""),
        )
    },
}
