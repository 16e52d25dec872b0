"""What ``replace-bitwise`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    **{
        ("replace-bitwise", "no_importer", op): of_text(
            18,
            "(int32[N] x, int32[N] z) => (int32[N] y)",
            f"y = {op} (x, z)",
            "rtx-1.7",
            [{"x": ("i4", (n,)), "z": ("i4", (n,))} for n in (1, 9)],
        )
        for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")
    },
    ("replace-bitwise", "no_importer", "BitwiseNot"): of_text(
        18,
        "(int32[N] x) => (int32[N] y)",
        "y = BitwiseNot (x)",
        "rtx-1.7",
        [{"x": ("i4", (n,))} for n in (1, 9)],
    ),
}
