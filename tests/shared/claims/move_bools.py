"""What ``move-bools`` claims."""

from __future__ import annotations

from claim import Case, of_text

MOVED = {
    "Concat": "y = Concat <axis = 1> (x, c)",
    "Expand": "s = Constant <value = int64[2] {1, 1}> () y = Expand (x, s)",
    "Gather": "s = Constant <value = int64[2] {1, 0}> () y = Gather <axis = 1> (x, s)",
    "Slice": "s = Constant <value = int64[2] {0, 1}> () e = Constant <value = int64[2] {9, 2}> () "
    "y = Slice (x, s, e)",
    "Split": "z, w = Split <axis = 1> (x) y = And (z, w)",
    "Tile": "s = Constant <value = int64[2] {1, 3}> () y = Tile (x, s)",
    "Where": "y = Where (c, x, c)",
}


CASES: dict[tuple[str, str, str], Case] = {
    **{
        ("move-bools", "dtype_refused", op): of_text(
            11,
            "(bool[N, 2] x, bool[N, 2] c) => (bool[P, Q] y)",
            nodes,
            "trt-7.2",
            [{"x": ("?", (n, 2)), "c": ("?", (n, 2))} for n in (1, 4)],
            by_reference=True,
        )
        for op, nodes in MOVED.items()
    },
}
