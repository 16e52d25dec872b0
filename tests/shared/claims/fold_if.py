"""What ``fold-if`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    **{
        ("fold-if", kind, "If"): of_text(
            13,
            "(float[N, 1] x) => (float[P] y)",
            "s = Shape (x) k = Constant <value = int64 {1}> () d = Gather (s, k) c = Equal (d, k) "
            "y = If (c) < then_branch = t () => (float[A] a) { "
            "ax = Constant <value = int64[1] {1}> () a = Squeeze (x, ax) }, "
            f"else_branch = e () => ({other} >",
            target,
            [{"x": ("f4", (n, 1))} for n in (1, 4)],
        )
        for kind, target, other in (
            ("branch_output_names_differ", "trt-8.0", "float[B, C] a) { a = Identity (x) }"),
            ("branch_shapes", "trt-10.3", "float[B, C] b) { b = Identity (x) }"),
            ("input_must_be_constant", "trt-7.2", "float[B, C] b) { b = Identity (x) }"),
        )
    },
}
