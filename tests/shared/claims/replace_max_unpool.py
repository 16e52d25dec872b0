"""What ``replace-max-unpool`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("replace-max-unpool", "no_importer", "MaxUnpool"): of_text(
        11,
        "(float[1, 1, 2] x) => (float[1, 1, 4] y)",
        "i = Constant <value = int64[1, 1, 2] {1, 2}> () "
        "y = MaxUnpool <kernel_shape = [2], strides = [2]> (x, i)",
        "rtx-1.7",
        [{"x": ("f4", (1, 1, 2))}],
    ),
}
