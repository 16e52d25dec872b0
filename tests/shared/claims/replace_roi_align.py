"""What ``replace-roi-align`` claims."""

from __future__ import annotations

from claim import ROUNDED, Case, of_text


def boxes(target: str) -> Case:
    """Boxes of one image."""
    return of_text(
        16,
        "(float[1, 2, H, W] x, float[R, 4] b) => (float[R, 2, 2, 2] y)",
        "i = Constant <value = int64[1] {0}> () n = Shape (b) z = Constant <value = int64[1] {0}>"
        " () r = Gather (n, z) of = Expand (i, r)"
        " y = RoiAlign <output_height = 2, output_width = 2, sampling_ratio = 2> (x, b, of)",
        target,
        [{"x": ("f4", (1, 2, 4, 5)), "b": ("f4", (n, 4))} for n in (1, 3)],
        tolerance=ROUNDED,
    )


CASES: dict[tuple[str, str, str], Case] = {
    ("replace-roi-align", "no_importer", "RoiAlign"): boxes("trt-8.2"),
    ("replace-roi-align", "needs_plugin", "RoiAlign"): boxes("rtx-1.7"),
}
