"""What ``replace-pooling`` claims."""

from __future__ import annotations

from claim import ROUNDED, Case, of_text

_FEEDS: list[dict[str, tuple[str, tuple[int, ...]]]] = [{"x": ("f4", (n, 2, 5, 6))} for n in (1, 3)]


def _pool(op: str, attributes: str, target: str, opset: int = 18) -> Case:
    return of_text(
        opset,
        "(float[N, 2, 5, 6] x) => (float[N, 2, H, W] y)",
        f"y = {op} <kernel_shape = [2, 2], {attributes}> (x)",
        target,
        _FEEDS,
        tolerance=ROUNDED,
    )


CASES: dict[tuple[str, str, str], Case] = {
    ("replace-pooling", "attribute_allowed_values", "AveragePool"): _pool(
        "AveragePool", "dilations = [2, 2]", "rtx-1.7", 19
    ),
    ("replace-pooling", "attribute_allowed_values", "LpPool"): _pool("LpPool", "p = 3", "rtx-1.7"),
    ("replace-pooling", "attribute_allowed_values", "MaxPool"): _pool(
        "MaxPool", "dilations = [2, 2]", "rtx-1.7"
    ),
    ("replace-pooling", "ignored_attribute", "LpPool"): _pool("LpPool", "ceil_mode = 1", "trt-8.6"),
    ("replace-pooling", "no_importer", "LpPool"): _pool("LpPool", "p = 2", "trt-7.2"),
    ("replace-pooling", "outputs_max", "MaxPool"): of_text(
        13,
        "(float[N, 2, 5, 6] x) => (float[N, 2, H, W] y, int64[N, 2, H, W] i)",
        "y, i = MaxPool <kernel_shape = [2, 2]> (x)",
        "trt-8.6",
        _FEEDS,
    ),
    ("replace-pooling", "uint8_io", "MaxPool"): of_text(
        13,
        "(uint8[N, 2, 5, 6] x) => (uint8[N, 2, H, W] y)",
        "y = MaxPool <kernel_shape = [2, 2]> (x)",
        "rtx-1.7",
        [{"x": ("u1", (n, 2, 5, 6))} for n in (1, 3)],
        first="widen-types",
    ),
}
