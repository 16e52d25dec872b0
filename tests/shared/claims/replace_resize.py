"""What ``replace-resize`` claims."""

from __future__ import annotations

from collections.abc import Sequence

from claim import ROUNDED, Case, Shape, of_text

SIGNATURE = "(float[1, 2, 4, 4] x) => (float[1, 2, 8, 8] y)"
SCALES = "s = Constant <value = float[4] {1.0, 1.0, 2.0, 2.0}> () "
FEEDS: Sequence[dict[str, tuple[str, Shape]]] = [{"x": ("f4", (1, 2, 4, 4))}]

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-resize", "attribute_allowed_values", "Resize"): of_text(
        13,
        SIGNATURE,
        f'{SCALES} y = Resize <mode = "cubic"> (x, , s)',
        "trt-8.4",
        FEEDS,
        tolerance=ROUNDED,
    ),
    ("replace-resize", "attribute_combination", "Resize"): of_text(
        13,
        SIGNATURE,
        f'{SCALES} y = Resize <mode = "linear", coordinate_transformation_mode = "align_corners"> '
        "(x, , s)",
        "trt-7.2",
        FEEDS,
        tolerance=ROUNDED,
    ),
    ("replace-resize", "ignored_attribute", "Resize"): of_text(
        13,
        SIGNATURE,
        f'{SCALES} y = Resize <mode = "cubic", cubic_coeff_a = -0.5> (x, , s)',
        "trt-8.4",
        FEEDS,
        tolerance=ROUNDED,
    ),
    ("replace-resize", "spatial_dims", "Resize"): of_text(
        13,
        "(float[4, 4, 2, 1] x) => (float[8, 8, 2, 1] y)",
        "s = Constant <value = float[4] {2.0, 2.0, 1.0, 1.0}> () "
        'y = Resize <mode = "cubic"> (x, , s)',
        "trt-8.6",
        [{"x": ("f4", (4, 4, 2, 1))}],
        tolerance=ROUNDED,
        by_reference=True,
    ),
}
