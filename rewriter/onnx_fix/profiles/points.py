"""The sizes that a profile is tried at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from onnx_fix.profiles.profile import Profile
from onnx_fix.profiles.trial import Point

Place = Literal["min", "opt", "max", "between", "corner"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A point, and where in the ranges it lies."""

    place: Place
    point: Point

    @property
    def is_end(self) -> bool:
        """Whether it is one of the three that make up the profile."""
        return self.place in ("min", "opt", "max")

    def __str__(self) -> str:
        where = "" if self.place in ("between", "corner") else f"{self.place}: "
        return f"{where}{self.point}"


def points(profile: Profile) -> list[Chosen]:
    """min, opt and max, two points between, and two corners where dims may differ.

    Sizes between are odd, and different for each symbol, so that one that must be a multiple of
    something or equal to another shows it. In a corner every second symbol is at its largest size
    and the others at their smallest.
    """
    ranges, values = profile.ranges, profile.values
    found: list[Chosen] = []
    seen: set[Point] = set()

    def add(place: Place, sizes: dict[str, int], which: dict[str, tuple[int, ...]]) -> None:
        point = Point.of(sizes, which)
        if point not in seen:
            seen.add(point)
            found.append(Chosen(place, point))

    ends: tuple[Place, ...] = ("min", "opt", "max")
    for k, place in enumerate(ends):
        add(place, {n: r[k] for n, r in ranges.items()}, {n: v[k] for n, v in values.items()})
    for k in range(2):
        sizes = {n: _inside(r[k], r[k + 1], i) for i, (n, r) in enumerate(ranges.items())}
        middle = {
            n: tuple((a + b) // 2 for a, b in zip(v[k], v[k + 1], strict=True))
            for n, v in values.items()
        }
        add("between", sizes, middle)
    free = [n for n, r in ranges.items() if r[0] < r[2]]
    usual = {n: v[1] for n, v in values.items()}
    for turn in range(2 if len(free) > 1 else 0):
        sizes = {n: r[1] for n, r in ranges.items()}
        sizes.update({n: ranges[n][2 * ((i + turn) % 2)] for i, n in enumerate(free)})
        add("corner", sizes, usual)
    return found


def probes(profile: Profile, count: int = 12) -> list[Chosen]:
    """More points between min and max, half of them at random places for each symbol."""
    ranges, values = profile.ranges, profile.values
    rng = np.random.default_rng(0)
    found: list[Chosen] = []
    for k in range(1, count + 1):
        same = k / (count + 1)
        sizes = {}
        for name, (low, _, high) in ranges.items():
            share = same if k % 2 else float(rng.random())
            sizes[name] = min(high, low + round(share * (high - low)))
        middle = {
            name: tuple(a + round(same * (c - a)) for a, c in zip(v[0], v[2], strict=True))
            for name, v in values.items()
        }
        found.append(Chosen("between", Point.of(sizes, middle)))
    return list(dict.fromkeys(found))


def _inside(low: int, high: int, turn: int) -> int:
    """An odd size between two others, one further on for each symbol; the larger where there is
    none between."""
    inside = [s for s in range(low + 1, min(high, low + 4096)) if s % 2]
    if high - low > 4096:
        start = (low + high) // 2 | 1
        return min(start + 2 * turn, high - 1)
    if not inside:
        return low + 1 if low + 1 < high else high
    return inside[min(len(inside) // 2 + turn, len(inside) - 1)]
