"""What ``replace-instance-normalization`` claims."""

from __future__ import annotations

from claim import ROUNDED, Case, of_text


def normalized(target: str, sizes: tuple[int, ...], *, scale: str = ", float[3] s") -> Case:
    """Images or volumes of three channels."""
    dims = ", ".join("DHW"[-len(sizes) :])
    constant = "" if scale else "s = Constant <value = float[3] {1.0, 2.0, -1.0}> () "
    more: dict[str, tuple[str, tuple[int, ...]]] = {"s": ("f4", (3,))} if scale else {}
    return of_text(
        11,
        f"(float[N, 3, {dims}] x{scale}) => (float[N, 3, {dims}] y)",
        f"{constant}y = InstanceNormalization (x, s, s)",
        target,
        [{"x": ("f4", (n, 3, *sizes)), **more} for n in (1, 2)],
        tolerance=ROUNDED,
    )


CASES: dict[tuple[str, str, str], Case] = {
    ("replace-instance-normalization", "input_must_be_constant", "InstanceNormalization"): (
        normalized("trt-8.2", (4, 5))
    ),
    ("replace-instance-normalization", "rank", "InstanceNormalization"): normalized(
        "trt-7.2", (4, 5, 2), scale=""
    ),
    ("replace-instance-normalization", "static_shape_only", "InstanceNormalization"): normalized(
        "trt-7.0", (4, 5), scale=""
    ),
}
