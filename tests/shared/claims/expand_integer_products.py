"""What ``expand-integer-products`` claims."""

from __future__ import annotations

from collections.abc import Sequence

from claim import Case, Shape, of_text

SCALES = "s = Constant <value = float {0.05}> () z = Constant <value = uint8 {3}> () "
Feeds = Sequence[dict[str, tuple[str, Shape]]]
IMAGE: Feeds = [{"x": ("u1", (1, 1, n, 4)), "w": ("u1", (2, 1, 3, 3))} for n in (3, 6)]
MATRIX: Feeds = [{"x": ("u1", (n, 5)), "w": ("u1", (5, 2))} for n in (1, 4)]


def of(signature: str, nodes: str, image: bool) -> Case:
    return of_text(13, signature, nodes, "trt-8.6", IMAGE if image else MATRIX)


_CONV = "(uint8[1, 1, N, 4] x, uint8[2, 1, 3, 3] w) => "
_MATMUL = "(uint8[N, 5] x, uint8[5, 2] w) => "

CASES: dict[tuple[str, str, str], Case] = {
    ("expand-integer-products", kind, op): of(head + out, nodes, head is _CONV)
    for op, head, out, nodes in (
        ("ConvInteger", _CONV, "(int32[1, 2, M, 2] y)", SCALES + "y = ConvInteger (x, w, z)"),
        ("MatMulInteger", _MATMUL, "(int32[N, 2] y)", SCALES + "y = MatMulInteger (x, w, z)"),
        (
            "QLinearConv",
            _CONV,
            "(uint8[1, 2, M, 2] y)",
            SCALES + "y = QLinearConv (x, s, z, w, s, z, s, z)",
        ),
        (
            "QLinearMatMul",
            _MATMUL,
            "(uint8[N, 2] y)",
            SCALES + "y = QLinearMatMul (x, s, z, w, s, z, s, z)",
        ),
    )
    for kind in ("no_importer", "uint8_io")
}
