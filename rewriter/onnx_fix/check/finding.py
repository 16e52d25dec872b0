"""What a check says, and the codes it says it under."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal


class Severity(Enum):
    """How bad a finding is for an engine build."""

    ERROR = "error"
    """The parser or the builder refuses."""
    SILENT = "silent"
    """Imported without a message, but computed differently."""
    WARNING = "warning"
    """Taken, but slower, limited in use, or less precise."""
    UNKNOWN = "unknown"
    """Would be an error or silent, and what decides it is not known."""


Origin = Literal["static", "live"]
"""``static``: from the facts about the release. ``live``: by an installed parser or builder."""


@dataclass(frozen=True, slots=True)
class Code:
    """A stable name for one kind of finding.

    ``code`` never changes and is never reused. ``meaning`` and ``mend`` are the text of its page:
    what it means for the build, and what a user does about it where no pass does it.
    """

    code: str
    name: str
    summary: str
    meaning: str
    mend: str


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """One thing that stands in the way of a build, or may.

    ``message`` is the literal text of the release's parser (empty where none is known), ``why`` our
    explanation, ``evidence`` one of the levels of ``target/data/README.md`` and ``source`` where
    it was read. ``mended_by`` names the pass that clears it, or is None, and ``mend`` says in a
    sentence what to do either way. ``node`` and ``tensor`` are empty where none is meant.
    """

    code: Code
    severity: Severity
    why: str
    mend: str
    scope: str = ""
    node: str = ""
    op: str = ""
    tensor: str = ""
    message: str = ""
    evidence: str = ""
    source: str = ""
    mended_by: str | None = None
    origin: Origin = "static"

    @property
    def blocks(self) -> bool:
        """Whether it alone makes the model unfit for the release."""
        return self.severity in (Severity.ERROR, Severity.SILENT)

    @property
    def key(self) -> str:
        """What identifies the finding in a baseline: code, place and tensor."""
        return " ".join((self.code.code, f"{self.scope}:{self.node}", self.tensor)).rstrip()
