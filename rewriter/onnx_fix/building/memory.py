"""How much memory a build may take where nobody says."""

from __future__ import annotations

import contextlib
from pathlib import Path

SHARE = 0.9
"""Part of the free memory that a build may have by default."""


def free_bytes() -> int:
    """The memory that is free, by the system and the control group; 0 where neither says."""
    found = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 1024)
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        group = Path("/sys/fs/cgroup")
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: there is no limit
            most = int((group / limit).read_text(encoding="ascii"))
            found.append(max(0, most - int((group / used).read_text(encoding="ascii"))))
    return min(found, default=0)


def memory_limit(asked: int | None) -> int:
    """The limit in bytes, 0 for none."""
    return int(free_bytes() * SHARE) if asked is None else asked
