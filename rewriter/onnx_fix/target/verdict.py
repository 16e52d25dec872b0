"""The answer of a target about one node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["supported", "refused", "unknown"]

REFUSING_EFFECTS = frozenset(
    {"parse_error", "build_error", "parse_or_build_error", "wrong_result", "changes_shape"}
)
"""Effects that make a node unfit. ``changes_type`` is not among them: the only such entry is
NonZero at 8.5 and 8.6, whose INT32 output holds every index that can occur."""

MISREAD = frozenset({"ignored_input", "opset_semantics", "attribute_value_misread"})
"""Kinds of findings that say that a release reads a node by the rules of an older operator set."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a target has against a node, or that its user should know.

    ``kind`` is the kind of the restriction (see ``data/README.md``). ``message`` is the parser's
    own text, empty where none is known. ``tensor`` names the tensor concerned, or is empty.
    ``certain`` is False when the node does not show enough to tell. ``foldable`` is True when
    folding constants would mend it. ``evidence`` is one of the levels of ``data/README.md`` and
    ``source`` says where it was read.
    """

    op: str
    node: str
    scope: str
    kind: str
    effect: str
    message: str
    why: str
    evidence: str
    source: str
    tensor: str = ""
    certain: bool = True
    foldable: bool = False

    @property
    def refuses(self) -> bool:
        """Whether this finding alone makes the node unfit for the target."""
        return self.certain and self.effect in REFUSING_EFFECTS

    @property
    def in_doubt(self) -> bool:
        """Whether this finding might make the node unfit, and nobody can say."""
        return self.effect == "unknown" or (not self.certain and self.effect in REFUSING_EFFECTS)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``refused`` if a finding certainly refuses, else ``unknown`` if one might, else supported."""

    status: Status
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, findings: tuple[Finding, ...]) -> Verdict:
        if not findings:
            return SUPPORTED
        if any(finding.refuses for finding in findings):
            return cls("refused", findings)
        if any(finding.in_doubt for finding in findings):
            return cls("unknown", findings)
        return cls("supported", findings)


SUPPORTED = Verdict("supported")
