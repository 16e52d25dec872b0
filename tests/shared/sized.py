"""Shapes with symbols."""

from __future__ import annotations

from collections.abc import Mapping

Shape = tuple[int | str, ...]


def sized(shape: Shape, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """A shape with numbers for its symbols."""
    return tuple(d if isinstance(d, int) else sizes[d] for d in shape)
