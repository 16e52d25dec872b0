"""What ``integer-shape-arithmetic`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("integer-shape-arithmetic", "float_shape_tensor", "Cast"): of_text(
        11,
        "(float[N] x) => (float[M] y)",
        "s = Shape (x) f = Cast <to = 1> (s) k = Constant <value = float {1.5}> () "
        "m = Mul (f, k) r = Floor (m) n = Cast <to = 7> (r) y = ConstantOfShape (n)",
        "trt-7.2",
        [{"x": ("f4", (n,))} for n in (0, 1, 5)],
    ),
}
