"""What ``replace-grid-sample`` claims."""

from __future__ import annotations

from claim import ROUNDED, Case, of_text


def sampled(target: str, data: str) -> Case:
    """Pixels of images or volumes at places in and around them."""
    dims = len(data) - 1
    places = "PQR"[:dims]
    return of_text(
        20,
        f"(float[N, {', '.join(data)}] x, float[N, {', '.join(places)}, {dims}] grid)"
        f" => (float[N, C, {', '.join(places)}] y)",
        'y = GridSample <mode = "linear"> (x, grid)',
        target,
        [
            {
                "x": ("f4", (batch, 3, *(4, 5, 2)[:dims])),
                "grid": ("f4", (batch, *(6, 3, 2)[:dims], dims)),
            }
            for batch in (1, 2)
        ],
        tolerance=ROUNDED,
    )


CASES: dict[tuple[str, str, str], Case] = {
    ("replace-grid-sample", "attribute_value_misread", "GridSample"): sampled("trt-8.6", "CHW"),
    ("replace-grid-sample", "no_importer", "GridSample"): sampled("trt-7.2", "CHW"),
    ("replace-grid-sample", "rank", "GridSample"): sampled("trt-8.6", "CDHW"),
}
