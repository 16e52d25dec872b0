"""What ``reduce-axes-input`` claims."""

from __future__ import annotations

from claim import ROUNDED, Case, of_text


def reduction(
    op: str, nodes: str, target: str = "trt-8.6", opset: int = 18, out: str = "N, 1"
) -> Case:
    """A reduction of positive numbers, whose logarithm is there."""
    signature = f"(float[N, 3] x) => (float[{out}] y)"
    return of_text(
        opset,
        signature,
        f"p = Abs (x) one = Constant <value = int64[1] {{1}}> () {nodes}".replace("OP", op),
        target,
        [{"x": ("f4", (n, 3))} for n in (1, 4)],
        tolerance=ROUNDED,
    )


TAKEN = "reduce-axes-input"


CLAIMED_OPS = [
    f"Reduce{op}" for op in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "SumSquare")
]


CASES: dict[tuple[str, str, str], Case] = {
    **{(TAKEN, "ignored_input", op): reduction(op, "y = OP (p, one)") for op in CLAIMED_OPS},
    (TAKEN, "ignored_input", "ReduceSum"): reduction("ReduceSum", "y = OP (p, one)", "trt-7.2", 13),
    (TAKEN, "ignored_input", "ReduceProd"): reduction(
        "ReduceProd",
        "none = Constant <value = int64[0] {}> () y = OP <noop_with_empty_axes = 1> (p, none)",
        out="N, 3",
    ),
    **{
        (TAKEN, "ignored_attribute", op): reduction(
            op, "y = OP <noop_with_empty_axes = 1> (p)", out="N, 3"
        )
        for op in (*CLAIMED_OPS, "ReduceSum", "ReduceProd")
    },
}
