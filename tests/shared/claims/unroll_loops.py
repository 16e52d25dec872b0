"""What ``unroll-loops`` claims."""

from __future__ import annotations

from claim import THREE, Case, of_text

COUNTED = (
    "k = Constant <value = int64 {0}> () c = Constant <value = bool {1}> () "
    "u, v, z = Loop (TRIPS, c, x, k) < body = b (int64 i, bool p, float[3] a, int64 j) => "
    "(bool q, float[3] s, int64 n, float[3] t) "
    "{ one = Constant <value = int64 {1}> () two = Constant <value = int64 {2}> () "
    "n = Add (j, one) q = Less (n, two) s = Add (a, x) t = Neg (a) } > "
)
BODIES = {
    "body_reads_missing_condition": (
        "trt-10.3",
        "m = Constant <value = int64 {2}> () y = Loop (m, , x) < "
        "body = b (int64 i, bool p, float[3] a) => (bool q, float[3] s) "
        "{ q = Identity (p) s = Add (a, x) } >",
    ),
    "loop_condition_not_updated": (
        "trt-7.2",
        "m = Constant <value = int64 {9}> () "
        + COUNTED.replace("TRIPS", "m").replace("u, v, z", "y, v, z"),
    ),
    "min_state_vars": (
        "trt-7.2",
        "m = Constant <value = int64 {2}> () c = Constant <value = bool {1}> () "
        "z = Loop (m, c) < body = b (int64 i, bool p) => (bool q, float[3] t) "
        "{ q = Identity (p) f = Cast <to = 1> (i) t = Add (x, f) } > "
        "y = ReduceMax <axes = [0], keepdims = 0> (z)",
    ),
    "scan_output_needs_trip_count": (
        "rtx-1.7",
        COUNTED.replace("TRIPS", "") + "y = ReduceMax <axes = [0], keepdims = 0> (z)",
    ),
    "state_shape_constant": (
        "trt-10.3",
        "m = Constant <value = int64 {2}> () c = Constant <value = bool {1}> () "
        "d = Loop (m, c, x) < body = b (int64 i, bool p, float[A] a) => (bool q, float[B] s) "
        "{ q = Identity (p) s = Concat <axis = 0> (a, x) } > "
        "y = ReduceMax <axes = [0], keepdims = 1> (d)",
    ),
}

CASES: dict[tuple[str, str, str], Case] = {
    ("unroll-loops", kind, "Loop"): of_text(
        11 if target == "trt-7.2" else 13,
        "(float[3] x) => (float[P] y)",
        body,
        target,
        THREE,
    )
    for kind, (target, body) in BODIES.items()
}
