"""What ``replace-pad`` claims."""

from __future__ import annotations

from claim import Case, of_text

PADS = (
    ("attribute_allowed_values", 11, "trt-7.2", 'y = Pad <mode = "edge"> (x, k)'),
    (
        "constant_value",
        11,
        "trt-7.2",
        "v = Constant <value = float {1.5}> () y = Pad (x, k, v)",
    ),
    (
        "ignored_input",
        18,
        "trt-7.2",
        "h = Constant <value = int64[2] {1, 2}> () a = Constant <value = int64[1] {-1}> () "
        "v = Constant <value = float {1.5}> () y = Pad (x, h, v, a)",
    ),
    (
        "input_must_be_absent",
        18,
        "trt-8.6",
        "h = Constant <value = int64[2] {1, 2}> () a = Constant <value = int64[1] {-1}> () "
        "v = Constant <value = float {1.5}> () y = Pad (x, h, v, a)",
    ),
    ("input_must_be_constant", 11, "trt-8.0", "q = Abs (p) y = Pad (x, q)"),
    (
        "padded_dims",
        11,
        "trt-7.2",
        "j = Constant <value = int64[6] {1, 0, 2, 0, 0, 1}> () y = Pad (x, j)",
    ),
)


CASES: dict[tuple[str, str, str], Case] = {
    **{
        ("replace-pad", kind, "Pad"): of_text(
            opset,
            "(float[N, 3, 4] x, int64[6] p) => (float[P, Q, R] y)",
            f"k = Constant <value = int64[6] {{0, 1, 2, 0, 0, 1}}> () {nodes}",
            target,
            [{"x": ("f4", (n, 3, 4)), "p": ("i8", (6,))} for n in (1, 4)],
        )
        for kind, opset, target, nodes in PADS
    },
}
