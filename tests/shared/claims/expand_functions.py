"""What ``expand-functions`` claims."""

from __future__ import annotations

from claim import ROUNDED, Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("expand-functions", "no_importer", "*"): of_text(
        18,
        "(float[N, 3] x) => (float[N, 3] y)",
        "y = Mish (x)",
        "trt-8.6",
        [{"x": ("f4", (n, 3))} for n in (1, 4)],
        ops=("Mish",),
        tolerance=ROUNDED,
    ),
    ("expand-functions", "no_kernel", "Attention"): of_text(
        23,
        "(float[B, 2, 4, 16] q, float[B, 2, S, 16] k, bool[4, S] m) => (float[B, 2, 4, 16] y)",
        "y = Attention (q, k, k, m)",
        "rtx-1.7",
        [
            {"q": ("f4", (n, 2, 4, 16)), "k": ("f4", (n, 2, 3, 16)), "m": ("?", (4, 3))}
            for n in (1, 2)
        ],
        tolerance=ROUNDED,
    ),
    ("expand-functions", "opset_semantics", "GroupNormalization"): of_text(
        21,
        "(float[N, 4, H] x, float[4] s, float[4] b) => (float[N, 4, H] y)",
        "y = GroupNormalization <num_groups = 2> (x, s, b)",
        "trt-10.3",
        [{"x": ("f4", (n, 4, 3)), "s": ("f4", (4,)), "b": ("f4", (4,))} for n in (1, 2)],
        tolerance=ROUNDED,
    ),
    ("expand-functions", "outputs_max", "LayerNormalization"): of_text(
        17,
        "(float[N, 4] x, float[4] s) => (float[N, 4] y, float[N, 1] mean)",
        "y, mean = LayerNormalization (x, s)",
        "trt-10.3",
        [{"x": ("f4", (n, 4)), "s": ("f4", (4,))} for n in (1, 2)],
        tolerance=ROUNDED,
    ),
}
