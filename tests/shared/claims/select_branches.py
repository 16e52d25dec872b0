"""What ``select-branches`` claims."""

from __future__ import annotations

from claim import Case, of_text

BODY = (
    "y = If (c) < then_branch = t () => (float[N] a) { a = Relu (x) }, "
    "else_branch = e () => (float[N] b) { b = Neg (x) } >"
)
FEEDS: list[dict[str, tuple[str, tuple[int, ...]]]] = [
    {"x": ("f4", (n,)), "c": ("?", (1,))} for n in (1, 4)
]
SIGNATURE = "(float[N] x, bool[1] c) => (float[N] y)"

CASES: dict[tuple[str, str, str], Case] = {
    ("select-branches", "branch_output_names_differ", "If"): of_text(
        13, SIGNATURE, BODY.replace(" b)", " a)").replace("b =", "a ="), "trt-8.0", FEEDS
    ),
    ("select-branches", "branch_shapes", "If"): of_text(
        13, SIGNATURE, BODY.replace("float[N] b", "float[K] b"), "trt-8.6", FEEDS
    ),
    ("select-branches", "input_must_be_constant", "If"): of_text(
        13, SIGNATURE, BODY, "trt-7.2", FEEDS
    ),
}
