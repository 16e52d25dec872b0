"""Which layers keep an engine from being built in a lower precision: halving, without a builder."""

from __future__ import annotations

from collections.abc import Callable, Collection

from onnx_fix.bisect import first_bad
from onnx_fix.building.result import Guilty


class TimeIsUp(Exception):
    """Raised by a judge that may build no more."""


def find_guilty(names: tuple[str, ...], fails: Callable[[Collection[int]], bool]) -> Guilty:
    """The layers that have to stay in FP32, so that the rest can be built in a lower precision.

    Layers that fail each by itself are found one after the other, each with about log2(layers)
    builds and one that shows whether there are more.

    Args:
        names: The names of the layers, in order.
        fails: Whether a build fails that keeps the layers of these numbers in FP32. It is known to
            fail for none of them. Raises `TimeIsUp` where no time is left.
    """
    kept: set[int] = set()
    builds = 0

    def judged(fp32: Collection[int]) -> bool:
        nonlocal builds
        failed = fails(frozenset(fp32))
        builds += 1
        return failed

    def result(complete: bool) -> Guilty:
        return Guilty(tuple(names[k] for k in sorted(kept)), complete, builds)

    try:
        if judged(range(len(names))):
            # Not even with all layers in FP32: another thing than a layer is at fault.
            return result(False)
        while True:
            order = [k for k in range(len(names)) if k not in kept]

            def differs(count: int, order: list[int] = order) -> bool:
                """Whether it fails with the first ``count`` layers lowered."""
                return judged(kept | set(order[count:]))

            kept.add(order[first_bad(len(order), differs) - 1])
            if len(kept) == len(names) or not judged(kept):
                return result(True)
    except TimeIsUp:
        return result(False)
