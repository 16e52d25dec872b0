"""What ``replace-non-zero`` claims."""

from __future__ import annotations

from claim import Case, of_text

WHERE = (
    "n = NonZero (m) i = Transpose <perm = [1, 0]> (n) v = Constant <value = float {7.0}> () "
    "s = Shape (i) zero = Constant <value = int64[1] {0}> () "
    "one = Constant <value = int64[1] {1}> () k = Slice (s, zero, one) e = Expand (v, k) "
    "y = ScatterND (x, i, e)"
)


def selected(mask: str, kind: str, target: str) -> Case:
    return of_text(
        13,
        f"(float[2, 3] x, {mask}[2, 3] m) => (float[2, 3] y)",
        WHERE,
        target,
        [{"x": ("f4", (2, 3)), "m": (kind, (2, 3))}],
    )


CASES: dict[tuple[str, str, str], Case] = {
    ("replace-non-zero", "dtype", "NonZero"): selected("uint8", "u1", "trt-8.6"),
    ("replace-non-zero", "needs_plugin", "NonZero"): selected("bool", "?", "rtx-1.7"),
    ("replace-non-zero", "no_importer", "NonZero"): selected("bool", "?", "trt-7.2"),
}
