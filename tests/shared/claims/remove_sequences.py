"""What ``remove-sequences`` claims."""

from __future__ import annotations

from claim import Case, of_text

K = "k = Constant <value = int64 {1}> () "
BODIES = {
    "ConcatFromSequence": "s = SequenceConstruct (x, x) y = ConcatFromSequence <axis = 0> (s)",
    "SequenceAt": f"{K} s = SequenceConstruct (x, x) y = SequenceAt (s, k)",
    "SequenceConstruct": f"{K} s = SequenceConstruct (x, x) y = SequenceAt (s, k)",
    "SequenceEmpty": (
        f"{K} o = SequenceEmpty () s = SequenceInsert (o, x) y = ConcatFromSequence <axis = 0> (s)"
    ),
    "SequenceErase": f"{K} t = SequenceConstruct (x, x) s = SequenceErase (t) "
    "y = ConcatFromSequence <axis = 0> (s)",
    "SequenceInsert": f"{K} t = SequenceConstruct (x) s = SequenceInsert (t, x) "
    "y = SequenceAt (s, k)",
    "SequenceLength": "s = SequenceConstruct (x, x) n = SequenceLength (s) "
    "f = Cast <to = 1> (n) y = Mul (x, f)",
    "SequenceMap": f"{K} s = SequenceConstruct (x, x) t = SequenceMap (s) "
    "< body = m (float[3] e) => (float[3] h) { h = Neg (e) } > y = SequenceAt (t, k)",
    "SplitToSequence": f"{K} s = SplitToSequence (x) y = SequenceAt (s, k)",
}

CASES: dict[tuple[str, str, str], Case] = {
    ("remove-sequences", "no_importer", op): of_text(
        17 if op == "SequenceMap" else 13,
        "(float[3] x) => (float[P] y)",
        body,
        "trt-8.4",
        [{"x": ("f4", (3,))}],
    )
    for op, body in BODIES.items()
}
