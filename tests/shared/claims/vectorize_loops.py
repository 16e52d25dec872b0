"""What ``vectorize-loops`` claims."""

from __future__ import annotations

from claim import Case, of_text

SIZE = "h = Shape (x) k = Constant <value = int64 {0}> () m = Gather (h, k) "
TRUE = "c = Constant <value = bool {1}> () "
FEEDS: list[dict[str, tuple[str, tuple[int, ...]]]] = [{"x": ("f4", (n,))} for n in (1, 4)]

CASES: dict[tuple[str, str, str], Case] = {
    ("vectorize-loops", kind, "Loop"): of_text(
        opset, "(float[N] x) => (float[P] y)", SIZE + body, target, FEEDS
    )
    for kind, opset, target, body in (
        (
            "body_reads_missing_condition",
            13,
            "trt-10.3",
            "y = Loop (m, , x) < body = b (int64 i, bool p, float[N] a) => (bool q, float[N] s) "
            "{ q = Identity (p) one = Constant <value = float {1.0}> () s = Add (a, one) } >",
        ),
        (
            "min_state_vars",
            11,
            "trt-7.2",
            f"{TRUE} y = Loop (m, c) < body = b (int64 i, bool p) => (bool q, float t) "
            "{ q = Identity (p) r = Gather (x, i) t = Neg (r) } >",
        ),
        (
            "state_shape_constant",
            13,
            "trt-10.3",
            f"{TRUE} y = Loop (m, c, x) < body = b (int64 i, bool p, float[J] a) => "
            "(bool q, float[K] s) "
            "{ q = Identity (p) one = Constant <value = float {1.0}> () s = Add (a, one) } >",
        ),
    )
}
