"""What ``replace-bit-shift`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-bit-shift", "no_importer", "BitShift"): of_text(
        13,
        "(uint8[N] x, uint8[N] s) => (uint8[N] y)",
        'y = BitShift <direction = "LEFT"> (x, s)',
        "rtx-1.7",
        [{"x": ("u1", (n,)), "s": ("u1", (n,))} for n in (1, 9)],
    ),
}
