"""What ``batch-pooling`` claims."""

from __future__ import annotations

from collections.abc import Sequence

from claim import ROUNDED, Case, Shape, of_text, text


def unbatched(op: str, attributes: str, sizes: Shape, weights: Shape = ()) -> Case:
    """An op on data without batch axis, and the same with one put in and taken out."""
    dims = ", ".join(map(str, sizes))
    w, more = (", w", f", float[{', '.join(map(str, weights))}] w") if weights else ("", "")
    signature = f"(float[{dims}] x{more}) => (float[{', '.join('CHW'[: len(sizes)])}] y)"
    feeds: dict[str, tuple[str, Shape]] = {"x": ("f4", sizes)}
    if weights:
        feeds["w"] = ("f4", weights)
    return of_text(
        13,
        signature,
        f"y = {op} <{attributes}> (x{w})",
        "trt-8.6",
        [feeds],
        twin=text(
            13,
            signature,
            "zero = Constant <value = int64[1] {0}> () batched = Unsqueeze (x, zero) "
            f"pooled = {op} <{attributes}> (batched{w}) y = Squeeze (pooled, zero)",
        ),
        tolerance=ROUNDED,
    )


UNBATCHED: Sequence[tuple[str, str, list[int], int, Shape]] = (
    ("kernel_rank", "AveragePool", [2, 2], 3, ()),
    ("kernel_rank", "Conv", [2, 2], 3, (3, 2, 2, 2)),
    ("kernel_rank", "ConvTranspose", [2, 2], 3, (2, 3, 2, 2)),
    ("kernel_rank", "LpPool", [2, 2], 3, ()),
    ("kernel_rank", "MaxPool", [2, 2], 3, ()),
    ("rank", "ConvTranspose", [2], 2, (4, 3, 2)),
    ("spatial_dims", "AveragePool", [2], 2, ()),
    ("spatial_dims", "MaxPool", [2], 2, ()),
)


CASES: dict[tuple[str, str, str], Case] = {
    **{
        ("batch-pooling", kind, op): unbatched(
            op, f"kernel_shape = {sizes}", (2, 4, 4)[-n:], weights
        )
        for kind, op, sizes, n, weights in UNBATCHED
    },
}
