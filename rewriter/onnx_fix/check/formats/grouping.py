"""What the forms share: findings that say the same thing together, places, paths, commands."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.result import CheckResult
from onnx_fix.check.text import visible

Results = Sequence[CheckResult]
"""One result for each model."""

SHOWN = 5
"""Nodes that are named of a group, unless all are asked for."""

IN_MEMORY = "<ModelProto>"
"""The source of a model that came from no file."""

PAGES = "docs/checks"
"""Where the page of a code lies in the repository."""


@dataclass(frozen=True, slots=True)
class Group:
    """Findings that differ in nothing but where they are, at least one.

    ``why``, ``mend`` and ``message`` have ``<tensor>`` and ``<node>`` in place of the names in
    which they differ.
    """

    findings: tuple[CheckFinding, ...]
    why: str
    mend: str
    message: str

    @property
    def first(self) -> CheckFinding:
        """Stands for all in what they have in common."""
        return self.findings[0]

    @property
    def ops(self) -> str:
        """The ops, the most frequent first, with their counts where there are several."""
        counts = Counter(f.op for f in self.findings if f.op)
        if len(counts) == 1:
            return visible(next(iter(counts)))
        return ", ".join(f"{visible(op)} {n}" for op, n in counts.most_common())

    def places(self, limit: int | None = SHOWN) -> str:
        """Where they are, in their order; each place once."""
        places = [p for p in dict.fromkeys(place(f) for f in self.findings) if p]
        shown = places if limit is None else places[:limit]
        rest = len(places) - len(shown)
        return ", ".join(shown) + (f" and {rest} more" if rest else "")


def groups(findings: Iterable[CheckFinding]) -> list[Group]:
    """Group findings by what they say; the order is that of the first of each group.

    Warnings are taken together whatever the op: that INT64 becomes INT32 is the same remark at
    every node.
    """
    found: dict[tuple[object, ...], list[CheckFinding]] = {}
    for f in findings:
        texts = tuple(_without_names(text, f) for text in (f.why, f.mend, f.message))
        op = "" if f.severity is Severity.WARNING else f.op
        key = (f.code.code, f.severity, op, f.mended_by, f.origin, *texts)
        found.setdefault(key, []).append(f)
    return [_group(members) for members in found.values()]


def _group(members: Sequence[CheckFinding]) -> Group:
    first = members[0]

    def common(texts: Sequence[str]) -> str:
        return texts[0] if len(set(texts)) == 1 else _without_names(texts[0], first)

    return Group(
        tuple(members),
        why=common([f.why for f in members]),
        mend=common([f.mend for f in members]),
        message=common([f.message for f in members]),
    )


def _without_names(text: str, finding: CheckFinding) -> str:
    """The text with the names of its own tensor and node, where quoted, made neutral."""
    for name, label in ((finding.tensor, "<tensor>"), (finding.node, "<node>")):
        if name and name in text:
            for quote in "'\"`":
                text = text.replace(f"{quote}{name}{quote}", label)
    return text


def place(finding: CheckFinding) -> str:
    """Where a finding is, on one line: ``scope:node``, or the tensor where no node is meant."""
    name = finding.node or finding.tensor
    return visible(f"{finding.scope}:{name}" if finding.scope else name)


def plural(count: int, what: str) -> str:
    """``1 finding``, ``2 findings``."""
    return f"{count} {what}{'s'[: count != 1]}"


def tally(result: CheckResult) -> str:
    """The counts of a result in words, what is none left out."""
    words = {"error": "error", "silent": "silent difference", "unknown": "unknown"}
    said = [
        f"{n} unknown" if name == "unknown" else plural(n, words.get(name, name))
        for name, n in result.counts.items()
        if n
    ]
    if result.baselined:
        said.append(f"{result.baselined} accepted by the baseline")
    if result.suppressed:
        said.append(f"{result.suppressed} left out by select and ignore")
    return ", ".join(said) or "no findings"


def fix_command(model_path: str, target: str) -> str:
    """The command that runs the passes, ready for a shell."""
    path = Path("MODEL.onnx" if model_path == IN_MEMORY else model_path)
    fixed = path.parent / f"{path.stem}.fixed{path.suffix or '.onnx'}"
    return shlex.join(["onnx-fix", str(path), "-o", str(fixed), "--target", target])


def relative_path(model_path: str) -> Path:
    """The path from the working directory, where the model lies below it; else as it is."""
    path = Path(model_path)
    try:
        return path.resolve().relative_to(Path.cwd().resolve())
    except ValueError:
        return path
