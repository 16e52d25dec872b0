"""What ``remove-optionals`` claims."""

from __future__ import annotations

from claim import Case, of_text

CASES: dict[tuple[str, str, str], Case] = {
    ("remove-optionals", "no_importer", op): of_text(
        15,
        "(float[3] x) => (float[3] y)",
        f"o = Optional (x) {body}",
        "trt-8.4",
        [{"x": ("f4", (3,))}],
    )
    for op, body in {
        "Optional": "e = OptionalGetElement (o) y = Neg (e)",
        "OptionalGetElement": "e = OptionalGetElement (o) y = Neg (e)",
        "OptionalHasElement": "h = OptionalHasElement (o) f = Cast <to = 1> (h) y = Mul (x, f)",
    }.items()
}
