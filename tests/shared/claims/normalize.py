"""What ``normalize`` claims."""

from __future__ import annotations

from claim import ROUNDED, Case, of_text


def norm(nodes: str, opset: int = 18, target: str = "trt-8.6") -> Case:
    eps = "one = Constant <value = int64[1] {1}> () eps = Constant <value = float {0.001}> () "
    return of_text(
        opset,
        "(float[N, 3] x) => (float[N, 3] y)",
        f"{eps}{nodes} c = Max (n, eps) y = Div (x, c)",
        target,
        [{"x": ("f4", (n, 3))} for n in (1, 4)],
        tolerance=ROUNDED,
    )


CASES: dict[tuple[str, str, str], Case] = {
    ("normalize", "no_importer", "LpNormalization"): of_text(
        13,
        "(float[N, 3] x) => (float[N, 3] y)",
        "y = LpNormalization <axis = 1> (x)",
        "trt-7.2",
        [{"x": ("f4", (n, 3))} for n in (1, 4)],
        tolerance=ROUNDED,
    ),
    ("normalize", "dtype", "LpNormalization"): of_text(
        22,
        "(bfloat16[N, 3] x) => (bfloat16[N, 3] y)",
        "y = LpNormalization <axis = 1> (x)",
        "trt-10.3",
        [{"x": ("bf", (n, 3))} for n in (1, 4)],
        tolerance=2e-2,
        by_reference=True,
    ),
    ("normalize", "ignored_input", "ReduceL1"): norm("n = ReduceL1 (x, one)"),
    ("normalize", "ignored_input", "ReduceL2"): norm("n = ReduceL2 (x, one)"),
    ("normalize", "ignored_input", "ReduceSum"): norm(
        "a = Abs (x) n = ReduceSum (a, one)", 13, "trt-7.2"
    ),
    ("normalize", "ignored_input", "ReduceSumSquare"): norm(
        "q = ReduceSumSquare (x, one) n = Sqrt (q)"
    ),
}
