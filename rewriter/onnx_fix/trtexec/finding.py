"""What is found in a command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
"""``error``: the run ends; ``warning``: it goes on, and hardly does what was meant; ``note``: it
does, and a person should know something."""


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One thing: what is wrong with which argument, and what to write instead.

    ``code`` is a short name of the kind that does not change; ``argument`` is the argument or the
    name in it that is meant, empty where something is absent.
    """

    severity: Severity
    code: str
    message: str
    mend: str = ""
    argument: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.severity}: {self.message}{f'; {self.mend}' if self.mend else ''}"
