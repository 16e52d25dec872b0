"""What ``replace-conv`` claims."""

from __future__ import annotations

from claim import ROUNDED, Case, of_text


def weighted(op: str) -> Case:
    """Weights that are an input."""
    return of_text(
        11,
        "(float[N, 2, H, W] x, float[2, 2, 2, 3] w) => (float[N, 2, P, Q] y)",
        f"y = {op} <strides = [2, 1], pads = [1, 0, 0, 1]> (x, w)",
        "trt-7.2",
        [{"x": ("f4", (n, 2, 4, 5)), "w": ("f4", (2, 2, 2, 3))} for n in (1, 2)],
        tolerance=ROUNDED,
    )


CASES: dict[tuple[str, str, str], Case] = {
    ("replace-conv", "input_must_be_constant", op): weighted(op) for op in ("Conv", "ConvTranspose")
}
