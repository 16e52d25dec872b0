"""What ``vector-to-matrix`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("vector-to-matrix", "vector_by_stack", "MatMul"): of_text(
        13,
        "(float[4] x, float[2, 4, 3] w) => (float[2, 3] y)",
        "y = MatMul (x, w)",
        "rtx-1.7",
        [{"x": ("f4", (4,)), "w": ("f4", (2, 4, 3))}],
        tolerance=1e-6,
    ),
}
