"""The facts about TensorRT releases, read from the JSON files beside this module.

``data/README.md`` gives their schema and the evidence levels.
"""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from onnx_fix.errors import InternalError


@cache
def read(name: str) -> Any:
    """The content of ``data/<name>.json``.

    Raises:
        InternalError: the file is not part of the installation.
    """
    text = pkgutil.get_data(__package__, f"data/{name}.json")
    if text is None:
        raise InternalError(f"onnx-fix is not installed whole: data/{name}.json is missing")
    return json.loads(text)


def main_line() -> tuple[str, ...]:
    """The releases that follow one another, oldest first."""
    return tuple(read("releases")["order"])


@dataclass(frozen=True, slots=True)
class Release:
    """Where a release stands: ``index`` in the main line, that of its base for a side release."""

    name: str
    index: int
    side: bool

    @classmethod
    def named(cls, name: str) -> Release:
        """A listed release such as ``8.6`` or ``7.2-tip``; KeyError for any other name."""
        side = "base" in read("releases")["releases"][name]
        base = read("releases")["releases"][name]["base"] if side else name
        return cls(name, main_line().index(base), side)

    def within(self, entry: Mapping[str, Any]) -> bool:
        """Whether the interval of an entry holds this release; ``until`` is inclusive."""
        since, until = entry["since"], entry.get("until")
        if self.name in entry.get("also_on", ()):
            return True
        if self.name in entry.get("not_on", ()):
            return False
        order = main_line()
        if since not in order:
            return bool(since == self.name)
        return order.index(since) <= self.index and (
            until is None or self.index <= order.index(until)
        )

    def at_least(self, release: str) -> bool:
        """Whether this release is the main-line one named, or a later one."""
        return main_line().index(release) <= self.index

    def settle(self, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        """The entry with the ``changes`` that hold at this release written into it."""
        changes = entry.get("changes")
        if not changes:
            return entry
        settled = dict(entry)
        for since, fields in changes.items():
            if since == self.name or (since in main_line() and self.at_least(since)):
                settled.update(fields)
        return settled
