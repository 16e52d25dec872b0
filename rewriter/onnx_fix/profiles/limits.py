"""What a run may take, and what TensorRT can count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from onnx_fix.profiles.sized import LARGEST_VOLUME, Sized

_GIB = 2**30
_SHARE = 0.25
_UNKNOWN = 4 * _GIB
_OWN = 2 * _GIB
"""What the process takes beside the tensors: libraries, threads, space between allocations."""


@dataclass(frozen=True, slots=True)
class Free:
    """Bytes that the tensors of a run may take."""

    limit: int

    @property
    def to_grow(self) -> int:
        """By how much the process may grow."""
        return self.limit + _OWN


def free_memory(asked: int | None = None) -> Free:
    """What a run may take: what was asked for, else a quarter of the memory that is free."""
    if asked is not None:
        return Free(asked)
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return Free(_UNKNOWN)
    return Free(int(kib * 1024 * _SHARE))


def too_much(sized: Sized) -> Iterator[tuple[str, int]]:
    """The tensors with more elements than TensorRT counts, with how many."""
    for name in sized.makers:
        count = sized.elements(name)
        if count is not None and count > LARGEST_VOLUME:
            yield name, count
