"""Where a Resize takes its samples along one axis, and with what weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnx_fix.scope import attribute

_HAIR = 1e-6
"""What float32 may have added to a coordinate, as part of it."""

Floats: TypeAlias = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Manner:
    """The attributes of a Resize."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float = 0.0


def manner_of(node: gs.Node, *, old: bool) -> Manner:
    """The attributes of a Resize; ``old``: of an Upsample or of operator set 10."""
    mode = attribute(node, "mode", str, "nearest") or "nearest"
    if mode == "bilinear":
        mode = "linear"
    if old:
        return Manner(mode, "asymmetric", "floor")
    return Manner(
        mode,
        attribute(node, "coordinate_transformation_mode", str) or "half_pixel",
        attribute(node, "nearest_mode", str) or "round_prefer_floor",
        attribute(node, "cubic_coeff_a", float, -0.75) or 0.0,
        bool(attribute(node, "exclude_outside", int, 0)),
        bool(attribute(node, "antialias", int, 0)) and mode != "nearest",
        attribute(node, "extrapolation_value", float, 0.0) or 0.0,
    )


@dataclass(frozen=True)
class Axis:
    """One axis: its length before and after, the scale, the region of interest."""

    length: int
    resized: int
    scale: float
    start: float = 0.0
    end: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether the scale leads to the length after without rounding."""
        return float(np.float32(self.scale)) * self.length == self.resized or (
            float(np.float32(self.resized) / np.float32(self.length)) == float(self.scale)
        )


@dataclass(frozen=True)
class Taps:
    """For each place after: the places before, their weights, and whether it lies outside."""

    length: int
    places: NDArray[np.int64]
    weights: NDArray[np.float64]
    outside: NDArray[np.bool_]

    @property
    def is_same(self) -> bool:
        """Whether nothing changes."""
        count = len(self.places)
        if count != self.length:
            return False
        plain = self.places.shape[1] == 1 and not self.outside.any()
        return plain and bool(
            np.array_equal(self.places[:, 0], np.arange(count)) and (self.weights == 1).all()
        )


def coordinates(manner: Manner, axis: Axis) -> Floats:
    """The place before, for each place after, in float32 as onnxruntime has them."""
    one, half = np.float32(1), np.float32(0.5)
    at = np.arange(axis.resized, dtype=np.float32)
    scale = np.float32(axis.scale)
    last = np.float32(axis.length - 1)
    middle = (at + half) / scale - half
    kind = manner.coordinates
    if axis.scale == 1 and kind != "tf_crop_and_resize":
        # Not so for every rounding, but onnxruntime leaves such an axis as it is.
        return at
    if kind == "asymmetric":
        return at / scale
    if kind == "align_corners":
        if axis.resized == 1:
            return np.zeros(1, np.float32)
        return at * last / np.float32(axis.resized - 1)
    if kind == "pytorch_half_pixel":
        return middle if axis.resized > 1 else np.zeros(axis.resized, np.float32)
    if kind == "tf_half_pixel_for_nn":
        return (at + half) / scale
    if kind == "half_pixel_symmetric":
        ratio = np.float32(axis.resized) / (scale * np.float32(axis.length))
        return np.float32(axis.length) * half * (one - ratio) + middle
    if kind == "tf_crop_and_resize":
        start, end = np.float32(axis.start), np.float32(axis.end)
        if axis.resized == 1:
            return np.full(1, half * (start + end) * last, np.float32)
        return start * last + at * (end - start) * last / np.float32(axis.resized - 1)
    return middle


def taps(manner: Manner, axis: Axis) -> Taps:
    """The samples along an axis of at least one element."""
    x = coordinates(manner, axis)
    outside = np.zeros(axis.resized, bool)
    if manner.coordinates == "tf_crop_and_resize":
        outside = (x < 0) | (x > axis.length - 1)
    if manner.mode == "nearest":
        places = np.clip(_rounded(x, manner.nearest), 0, axis.length - 1)[:, None]
        return Taps(axis.length, places, np.ones(places.shape), outside)
    places, weights = _weighted(manner, axis, x.astype(np.float64))
    return Taps(axis.length, *_without_idle(places, weights), outside)


def is_open(manner: Manner, axis: Axis) -> bool:
    """Whether some place is so close to halfway between two that runtimes round it differently:
    they prefer one side, and float32 put it on the other."""
    if manner.mode != "nearest" or not manner.nearest.startswith("round_prefer"):
        return False
    x = coordinates(manner, axis)
    above = x - np.floor(x) - np.float32(0.5)
    wrong = above if manner.nearest == "round_prefer_floor" else -above
    return bool(((wrong > 0) & (wrong < _HAIR * np.maximum(1, np.abs(x)))).any())


def _rounded(x: Floats, how: str) -> NDArray[np.int64]:
    half = np.float32(0.5)
    if how == "floor":
        found = np.floor(x)
    elif how == "ceil":
        found = np.ceil(x)
    elif how == "round_prefer_ceil":
        found = np.floor(x + half)
    else:
        found = np.ceil(x - half)
    return found.astype(np.int64)


def _weighted(
    manner: Manner, axis: Axis, x: Floats
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    cubic = manner.mode == "cubic"
    widened = min(float(axis.scale), 1.0) if manner.antialias else 1.0
    reach = math.ceil((2 if cubic else 1) / widened)
    around = np.arange(1 - reach, reach + 1)
    places = np.floor(x).astype(np.int64)[:, None] + around
    distance = np.abs(places - x[:, None]) * widened
    weights = _cubic(distance, manner.cubic_a) if cubic else np.maximum(1 - distance, 0)
    within = (places >= 0) & (places < axis.length)
    if manner.exclude_outside:
        weights = np.where(within, weights, 0)
    if manner.antialias or manner.exclude_outside:
        weights = weights / weights.sum(axis=1, keepdims=True)
    return np.clip(places, 0, axis.length - 1), weights


def _cubic(d: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def _without_idle(
    places: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each row with its own places once, those without weight left out, in as few columns as
    can be; what a row lacks is its first place, with weight 0."""
    rows: list[dict[int, float]] = []
    for own, shares in zip(places, weights, strict=True):
        row: dict[int, float] = {}
        for place, share in zip(own.tolist(), shares.tolist(), strict=True):
            row[place] = row.get(place, 0.0) + share
        rows.append({p: s for p, s in row.items() if s != 0} or {int(own[0]): 0.0})
    width = max((len(row) for row in rows), default=1)
    at = np.zeros((len(rows), width), np.int64)
    of = np.zeros((len(rows), width))
    for number, row in enumerate(rows):
        at[number] = next(iter(row))
        at[number, : len(row)] = list(row)
        of[number, : len(row)] = list(row.values())
    return at, of
