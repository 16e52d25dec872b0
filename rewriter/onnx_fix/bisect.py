"""Find the first change after which the numbers differ."""

from __future__ import annotations

from collections.abc import Callable


def first_bad(count: int, differs: Callable[[int], bool]) -> int:
    """The smallest number of changes with which the outputs differ.

    ``differs(n)`` rewrites the original with the first ``n`` changes only and compares; it is known
    to hold for ``count`` and not for 0. Halving needs about log2(count) runs; where later changes
    hide earlier ones the answer is still a change at which agreement turns into difference.
    """
    good, bad = 0, count
    while bad - good > 1:
        middle = (good + bad) // 2
        if differs(middle):
            bad = middle
        else:
            good = middle
    return bad
