"""What was done, found and compared, as data; ``render.py`` prints it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from onnx import TensorProto

from onnx_fix import __version__
from onnx_fix.contract import Change, PassResult, Skipped
from onnx_fix.freeze_hint import freeze_hint
from onnx_fix.model import Model
from onnx_fix.scope import node_label
from onnx_fix.target import Finding, Target

if TYPE_CHECKING:
    from onnx_fix.check.finding import CheckFinding
    from onnx_fix.verify import Verification
    from onnx_fix.verify.result import Case

SCHEMA_VERSION = 1


def describe(change: Change) -> str:
    """A change in one line."""
    if not change.old_ops:
        return f"{change.pass_name}: {change.old[0]}"
    where = f" in {change.scope}" if change.scope else ""
    made = ", ".join(change.new_ops) if change.new_ops else "a constant, or nothing"
    return f"{change.pass_name} on {' + '.join(change.old_ops)} '{change.old[0]}'{where} -> {made}"


@dataclass(frozen=True, slots=True)
class Blocker:
    """A node that the target refuses (``refused``) or may refuse (``unknown``)."""

    scope: str
    node: str
    op: str
    domain: str
    status: Literal["refused", "unknown"]
    findings: tuple[Finding, ...]
    hint: str = ""
    """What the user can do, where an option of ours helps."""

    @property
    def silent(self) -> bool:
        """Whether the target takes the node without a message and computes something else."""
        return any(f.refuses and f.effect == "wrong_result" for f in self.findings)


def blockers(model: Model) -> list[Blocker]:
    """The nodes of a model that its target does not surely take, in execution order."""
    found: list[Blocker] = []
    reads = model.target.reads_functions
    called = {(f.domain, f.name) for f in model.proto.functions} if reads else set()
    for scope in model.scopes:
        if scope.kind == "function" and not scope.target.reads_functions:
            continue
        for node in scope.graph.nodes:
            if not model.alive(node) or (node.domain or "", node.op) in called:
                continue
            verdict = scope.judge(node)
            if verdict.status == "supported":
                continue
            telling = tuple(f for f in verdict.findings if f.refuses or f.in_doubt)
            found.append(
                Blocker(
                    scope.path,
                    node_label(node),
                    node.op,
                    node.domain or "",
                    verdict.status,
                    telling,
                    next(filter(None, (freeze_hint(scope, node, f) for f in telling)), ""),
                )
            )
    return found


@dataclass
class Report:
    """All that is known about one run."""

    source: str
    target: Target
    target_note: str = ""
    results: list[PassResult] = field(default_factory=list)
    before: list[Blocker] = field(default_factory=list)
    after: list[Blocker] = field(default_factory=list)
    whole: list[CheckFinding] = field(default_factory=list)
    """What is left of the model as a whole that a build fails for, or a size that it declares."""
    verification: Verification | None = None
    verification_note: str = ""
    trials: Verification | None = None
    """The runs at sizes that the original does not have, where dims became dynamic."""
    seconds: float = 0.0

    @property
    def changes(self) -> list[Change]:
        """Every applied change, in order."""
        return [c for r in self.results for c in r.changes]

    @property
    def skipped(self) -> list[tuple[str, Skipped]]:
        """What each pass declined in its last run (earlier runs saw nodes that are gone)."""
        last: dict[str, PassResult] = {r.pass_name: r for r in self.results}
        return [(name, s) for name, result in last.items() for s in result.skipped]

    @property
    def refused(self) -> list[Blocker]:
        """Nodes that the target surely refuses after the fix."""
        return [b for b in self.after if b.status == "refused"]

    @property
    def doubtful(self) -> list[Blocker]:
        """Nodes of which nobody can say after the fix."""
        return [b for b in self.after if b.status == "unknown"]

    @property
    def ok(self) -> bool:
        """Whether nothing is left that the target surely refuses, and no numbers differ."""
        compared = self.verification is None or self.verification.status != "differs"
        return not self.refused and not any(f.blocks for f in self.whole) and compared

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able data. Keys are only ever added within a schema version."""
        return {
            "schema_version": SCHEMA_VERSION,
            "tool": f"onnx-fix {__version__}",
            "source": self.source,
            "target": {"name": self.target.name, "note": self.target_note},
            "ok": self.ok,
            "passes": [
                {
                    "pass": r.pass_name,
                    "round": r.round,
                    "changes": len(r.changes),
                    "skipped": len(r.skipped),
                    "seconds": round(r.seconds, 6),
                }
                for r in self.results
            ],
            "changes": [_change(c) for c in self.changes],
            "skipped": [
                {"pass": name, "scope": s.scope, "node": s.node, "op": s.op, "reason": s.reason}
                for name, s in self.skipped
            ],
            "refused_before": [_blocker(b) for b in self.before],
            "refused_after": [_blocker(b) for b in self.after],
            "left_of_the_model": [
                {
                    "code": f.code.code,
                    "name": f.code.name,
                    "node": f.node,
                    "blocks": f.blocks,
                    "why": f.why,
                    "mend": f.mend,
                }
                for f in self.whole
            ],
            "verification": None if self.verification is None else self.verification.to_dict(),
            "verification_note": self.verification_note,
            "trials": None if self.trials is None else self.trials.to_dict(),
            "seconds": round(self.seconds, 3),
        }


def _change(change: Change) -> dict[str, Any]:
    return {
        "number": change.number,
        "pass": change.pass_name,
        "scope": change.scope,
        "old": [{"node": n, "op": o} for n, o in zip(change.old, change.old_ops, strict=False)],
        "new": [{"node": n, "op": o} for n, o in zip(change.new, change.new_ops, strict=False)],
        "exactness": change.exactness.value,
        "note": change.note,
        "what": "" if change.old_ops else change.old[0],
        "padded": [
            {
                "output": p.output,
                "axis": p.axis,
                "counts": [{"output": name, "most": most} for name, most in p.counts],
            }
            for p in change.padded
        ],
        "retyped": [
            {
                "name": r.name,
                "is": "input" if r.is_input else "output",
                "was": TensorProto.DataType.Name(r.was),
                "now": TensorProto.DataType.Name(r.now),
            }
            for r in change.retyped
        ],
    }


def _blocker(blocker: Blocker) -> dict[str, Any]:
    return {
        "scope": blocker.scope,
        "node": blocker.node,
        "op": blocker.op,
        "domain": blocker.domain,
        "status": blocker.status,
        "silent": blocker.silent,
        "hint": blocker.hint,
        "findings": [
            {
                "kind": f.kind,
                "effect": f.effect,
                "message": f.message,
                "why": f.why,
                "evidence": f.evidence,
                "source": f.source,
                "tensor": f.tensor,
                "certain": f.certain,
                "foldable": f.foldable,
            }
            for f in blocker.findings
        ],
    }


def by_reason(found: Iterable[Blocker]) -> list[list[Blocker]]:
    """Blockers that have the same first reason (whatever tensor it names) together, the largest
    group first."""
    groups: dict[tuple[str, ...], list[Blocker]] = {}
    for blocker in found:
        key: tuple[str, ...] = (blocker.op, blocker.status)
        for finding in blocker.findings[:1]:
            why = finding.why.replace(f"'{finding.tensor}'", "") if finding.tensor else finding.why
            key += (finding.kind, finding.effect, finding.message, why)
        groups.setdefault(key, []).append(blocker)
    return [groups[key] for key in sorted(groups, key=lambda k: (-len(groups[k]), k))]


_LONGEST = 160
"""Characters of a runtime's message that a summary shows; the report has it whole."""


def _cut(message: str) -> str:
    """The first line of a message, shortened."""
    first = message.splitlines()[0] if message else ""
    return first if len(first) <= _LONGEST else first[:_LONGEST] + " ..."


def tried(trials: Verification) -> str:
    """At which sizes of its own the rewritten model ran."""
    ran: list[str] = []
    failed: list[str] = []
    for case in trials.cases:
        sizes = ", ".join(f"{name}={number}" for name, number in case.sizes.items())
        (failed if case.status in ("original failed", "fixed failed") else ran).append(sizes)
    lines = [f"runs at {'; '.join(dict.fromkeys(ran))}" if ran else "runs at no other size"]
    if failed:
        first = next(c for c in trials.cases if c.status in ("original failed", "fixed failed"))
        lines.append(f"does not run at {'; '.join(dict.fromkeys(failed))}: {_cut(first.message)}")
    return "\n".join(lines)


def summarise(verification: Verification) -> str:
    """The outcome of a comparison in a few lines."""
    cases = verification.cases
    if verification.status == "no evidence":
        return (
            f"the {verification.against} does not run, so nothing was compared: "
            f"{_cut(verification.reason)}\n"
            "  pass another export of the same network with --reference, or feeds it runs on with "
            "--inputs"
        )
    if verification.status == "differs":
        return verification.reason
    oracles = sorted({c.oracle for c in cases if c.status == "equal"})
    lines = [
        f"equal to the {verification.against} in {verification.evidence} of {len(cases)} cases "
        f"({', '.join(oracles)}; seed {verification.seed})"
    ]
    said = Counter(map(_case, cases))
    lines += [f"  {line}" if n == 1 else f"  {line} ({n} times)" for line, n in said.items()]
    worst = verification.worst
    if worst is not None:
        lines.append(
            f"  worst output '{worst.output}': largest error {worst.max_abs:.3g} absolute, "
            f"{worst.max_rel:.3g} relative (allowed: rtol {worst.rtol:g}, atol {worst.atol:g})"
        )
    return "\n".join(lines)


def _case(case: Case) -> str:
    """A case in a line."""
    if case.status != "equal":
        return f"{case.label}: the original does not run: {_cut(case.message)}"
    notes = [f"{c.output}: {c.note}" for c in case.comparisons if c.note]
    more = f" ({'; '.join(notes)})" if notes else ""
    return f"{case.label}: equal{more}"


def source_name(source: object) -> str:
    """How the input is called in the report."""
    return str(source) if isinstance(source, str | Path) else "<ModelProto>"
