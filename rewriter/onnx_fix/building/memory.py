"""How much memory a build may take where nobody says."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

SHARE = 0.9
"""Part of the free memory that a build may have by default."""

_GROUPS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Files of a control group, of both versions: the limit, what is used, and how much of that is
only kept because nobody else wants it."""


def free_bytes(root: Path = Path("/")) -> int:
    """The memory that is free, by the system and the control group; 0 where neither says."""
    found = []
    with contextlib.suppress(OSError, ValueError, KeyError):
        found.append(_numbers(root / "proc/meminfo")["MemAvailable:"] * 1024)
    group = root / "sys/fs/cgroup"
    for limit, used, stat, kept in _GROUPS:
        with contextlib.suppress(OSError, ValueError, KeyError):  # no number: there is no limit
            most = int((group / limit).read_text(encoding="ascii"))
            taken = int((group / used).read_text(encoding="ascii"))
            found.append(max(0, most - taken + _numbers(group / stat)[kept]))
    return min(found, default=0)


def _numbers(path: Path) -> Mapping[str, int]:
    lines = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    return {words[0]: int(words[1]) for words in lines if len(words) > 1}


def memory_limit(asked: int | None) -> int:
    """The limit in bytes, 0 for none."""
    return int(free_bytes() * SHARE) if asked is None else asked
