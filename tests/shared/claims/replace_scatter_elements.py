"""What ``replace-scatter-elements`` claims."""

from __future__ import annotations

from claim import ADDED, ROUNDED, Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    **{
        ("replace-scatter-elements", kind, op): of_text(
            opset,
            "(float[N, 5] x, int64[N, 2] i, float[N, 2] v) => (float[N, 5] y)",
            f"y = {op} <axis = 1{more}> (x, i, v)",
            target,
            [{"x": ("f4", (n, 5)), "i": ("i8", (n, 2)), "v": ("f4", (n, 2))} for n in (1, 5)],
            tolerance=ROUNDED,
        )
        for kind, op, opset, target, more in (
            ("attribute_allowed_values", "ScatterElements", 16, "rtx-1.7", ADDED),
            ("ignored_attribute", "ScatterElements", 16, "trt-8.6", ADDED),
            ("no_importer", "Scatter", 10, "trt-7.2", ""),
            ("no_importer", "ScatterElements", 11, "trt-7.2", ""),
        )
    },
}
