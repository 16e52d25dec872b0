"""What ``replace-gather-nd`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    **{
        ("replace-gather-nd", kind, "GatherND"): of_text(
            13,
            f"({dtype}[3, 4] x, bool[N, 2] m) => ({dtype}[N] y)",
            "i = Cast <to = 7> (m) y = GatherND (x, i)",
            target,
            [{"x": (code, (3, 4)), "m": ("?", (n, 2))} for n in (1, 5)],
        )
        for kind, dtype, code, target in (
            ("dtype_refused", "bool", "?", "trt-8.4"),
            ("no_importer", "float", "f4", "trt-7.2"),
        )
    },
}
