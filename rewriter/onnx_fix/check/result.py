"""The outcome of one check, as data; ``formats`` prints it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from onnx_fix import __version__
from onnx_fix.check.finding import CheckFinding, Severity

SCHEMA_VERSION = 1
"""Of the JSON form. Within a version keys are added, never removed or given another meaning."""

TOOL = f"onnx-fix {__version__}"

Verdict = Literal["ready", "blocked", "not certain"]

EXIT_CODES: dict[Verdict, int] = {"ready": 0, "blocked": 1, "not certain": 5}

ORDER = (Severity.ERROR, Severity.SILENT, Severity.UNKNOWN, Severity.WARNING)
"""The order findings are reported in: what stands in the way first."""

_RANK = {severity: rank for rank, severity in enumerate(ORDER)}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check of one model for one release found.

    ``suppressed`` counts the findings left out by select and ignore, ``baselined`` those that the
    baseline accepts; neither stands among ``findings`` or counts for the verdict. ``stale`` are
    lines of the baseline that match nothing any more. ``live`` sums up what an installed parser
    said, and is None where none was asked.
    """

    source: str
    target_name: str
    target_note: str
    findings: tuple[CheckFinding, ...]
    suppressed: int = 0
    baselined: int = 0
    live: Mapping[str, Any] | None = None
    seconds: float = 0.0
    stale: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        source: str,
        target_name: str,
        target_note: str = "",
        findings: Iterable[CheckFinding],
        suppressed: int = 0,
        baselined: int = 0,
        stale: Iterable[str] = (),
        live: Mapping[str, Any] | None = None,
        seconds: float = 0.0,
    ) -> CheckResult:
        """A result with its findings in order: by severity, code and scope, then as given."""
        ordered = sorted(findings, key=lambda f: (_RANK[f.severity], f.code.code, f.scope))
        return cls(
            source=source,
            target_name=target_name,
            target_note=target_note,
            findings=tuple(ordered),
            suppressed=suppressed,
            baselined=baselined,
            live=live,
            seconds=seconds,
            stale=tuple(stale),
        )

    @property
    def verdict(self) -> Verdict:
        """``blocked`` by any error or silent finding, else ``not certain`` by any unknown one."""
        if any(f.blocks for f in self.findings):
            return "blocked"
        if any(f.severity is Severity.UNKNOWN for f in self.findings):
            return "not certain"
        return "ready"

    @property
    def exit_code(self) -> int:
        """What the command line ends in: 0 ready, 1 blocked, 5 not certain."""
        return EXIT_CODES[self.verdict]

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each severity, zeros included."""
        found = Counter(f.severity for f in self.findings)
        return {severity.value: found[severity] for severity in ORDER}

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able data."""
        return {
            "schema_version": SCHEMA_VERSION,
            "tool": TOOL,
            "source": self.source,
            "target": {"name": self.target_name, "note": self.target_note},
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "counts": self.counts,
            "findings": [_finding(f) for f in self.findings],
            "suppressed": self.suppressed,
            "baselined": self.baselined,
            "stale": list(self.stale),
            "live": None if self.live is None else dict(self.live),
            "seconds": round(self.seconds, 3),
        }


def worst_exit_code(results: Iterable[CheckResult]) -> int:
    """The exit code of a check of several models: blocked before not certain before ready."""
    codes = {result.exit_code for result in results}
    return next((code for code in (1, 5) if code in codes), 0)


def _finding(finding: CheckFinding) -> dict[str, Any]:
    return {
        "code": finding.code.code,
        "name": finding.code.name,
        "severity": finding.severity.value,
        "scope": finding.scope,
        "node": finding.node,
        "op": finding.op,
        "tensor": finding.tensor,
        "message": finding.message,
        "why": finding.why,
        "mend": finding.mend,
        "mended_by": finding.mended_by,
        "evidence": finding.evidence,
        "source": finding.source,
        "origin": finding.origin,
        "key": finding.key,
    }
