"""What ``freeze-finished-loops`` claims."""

from __future__ import annotations

from claim import Case, of_text

LOOP = (
    "c = Constant <value = bool {1}> () m = Constant <value = int64 {40}> () "
    "y = Loop (m, c, x) < body = b (int64 i, bool p, float[3] a) => (bool q, float[3] s) "
    "{ one = Constant <value = float {1}> () ten = Constant <value = float {10}> () "
    "s = Add (a, one) t = ReduceSum <keepdims = 0> (s) q = Less (t, ten) } >"
)

CASES: dict[tuple[str, str, str], Case] = {
    ("freeze-finished-loops", "loop_condition_not_updated", "Loop"): of_text(
        11, "(float[3] x) => (float[3] y)", LOOP, "trt-7.2", [{"x": ("f4", (3,))}] * 2
    )
}
