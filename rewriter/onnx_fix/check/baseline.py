"""Findings that a team has accepted, in a file beside the models, for checks in CI.

The file is plain text and not YAML, because names in a model may hold any character and YAML would
quote, fold or retype them: one finding stands on one line, whole, so that a diff shows exactly what
was accepted and two branches merge line by line::

    # onnx-fix baseline 1
    [models/detector.onnx for trt-8.6]
    # the importer reads the attribute late; checked by hand
    silent OF301 :/head/Resize
    unknown OF502 If_3/then_branch:/post/Gather indices

A line accepts one finding of that severity, so a doubt that turns into an error is reported again.
Model paths are relative to the folder of the file. Comments stay with the line below them when the
file is written anew.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.result import CheckResult
from onnx_fix.check.text import escape_line, unescape_line, visible
from onnx_fix.errors import UsageError

_FIRST = "# onnx-fix baseline 1"
_HEADER = (
    _FIRST,
    "# Findings of `onnx-fix check` that are accepted: they do not count for the verdict.",
    "# One finding on a line: severity, code, scope:node, tensor. Take a line out to hear of it",
    "# again; write the file anew with --write-baseline. Comments stay with the line below them.",
)
_SECTION = re.compile(r"\[(?P<model>.+) for (?P<target>\S+)\]")
_LINE = re.compile(r"(?P<severity>[a-z]+) (?P<key>[A-Z]+[0-9]+ .*\S)")
_SEVERITIES = {severity.value: severity for severity in Severity}

Section = tuple[str, str]
"""Model path, relative to the folder of the baseline and with ``/``, and target."""
Entry = tuple[str, str]
"""``CheckFinding.key`` and the value of its severity."""


@dataclass(frozen=True)
class Baseline:
    """A baseline that was read: how often each entry is accepted, and the comments above it."""

    path: Path
    sections: Mapping[Section, Counter[Entry]]
    comments: Mapping[tuple[Section, Entry | None], tuple[str, ...]]
    """By section and entry; no entry for those above the line of the section itself."""


def read_baseline(path: Path) -> Baseline:
    """Read a baseline file.

    Raises:
        UsageError: the file cannot be read, or a line is none of the format; the message starts
            with ``file:line``.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"{path}: the baseline cannot be read: {error.strerror or error}; make one with "
            "--write-baseline"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is no text file; a baseline is UTF-8 text") from error
    return _parse(text.split("\n"), path)


def _parse(lines: Sequence[str], path: Path) -> Baseline:
    if lines[0].rstrip() != _FIRST:
        raise UsageError(f"{path}:1: this is no baseline that we can read: expected '{_FIRST}'")
    sections: dict[Section, Counter[Entry]] = {}
    comments: dict[tuple[Section, Entry | None], tuple[str, ...]] = {}
    section: Section | None = None
    above: list[str] = []
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip()
        if line.startswith("#"):
            if line not in _HEADER:
                above.append(line)
        elif line.startswith("["):
            section = _section(line, path, number)
            sections.setdefault(section, Counter())
            comments[section, None] = (*comments.get((section, None), ()), *above)
            above = []
        elif line:
            entry = _entry(line, path, number)
            if section is None:
                raise UsageError(f"{path}:{number}: a finding before any '[MODEL for TARGET]' line")
            sections[section][entry] += 1
            comments[section, entry] = (*comments.get((section, entry), ()), *above)
            above = []
    return Baseline(path, sections, comments)


def _section(line: str, path: Path, number: int) -> Section:
    match = _SECTION.fullmatch(line)
    if match is None:
        raise UsageError(f"{path}:{number}: expected '[MODEL for TARGET]', found '{visible(line)}'")
    return _unescape(match["model"], path, number), match["target"]


def _entry(line: str, path: Path, number: int) -> Entry:
    match = _LINE.fullmatch(line)
    if match is None:
        conflict = line.startswith(("<<<<<<<", "=======", ">>>>>>>", "|||||||"))
        what = "a merge conflict is left here" if conflict else f"found '{visible(line)}'"
        raise UsageError(f"{path}:{number}: expected 'SEVERITY CODE SCOPE:NODE TENSOR'; {what}")
    if match["severity"] not in _SEVERITIES:
        raise UsageError(
            f"{path}:{number}: '{match['severity']}' is no severity; known are "
            f"{', '.join(_SEVERITIES)}"
        )
    return _unescape(match["key"], path, number), match["severity"]


def _unescape(text: str, path: Path, number: int) -> str:
    try:
        return unescape_line(text)
    except ValueError as error:
        raise UsageError(f"{path}:{number}: {error}") from error


def apply_baseline(
    findings: Iterable[CheckFinding],
    baseline: Baseline,
    *,
    model: str | Path,
    target: str,
    live: bool = True,
) -> tuple[list[CheckFinding], int, tuple[str, ...]]:
    """Take out the findings that a baseline accepts.

    Hand in every finding, before select and ignore, lest what those leave out be taken for mended.

    Args:
        findings: What a check found.
        baseline: What is accepted.
        model: Where the model lies; the baseline accepts for each model by itself.
        target: The release; the baseline accepts for each release by itself.
        live: Whether an installed parser was asked. Where none was, the lines about its findings
            (OF9xx) are not stale.

    Returns:
        The findings that remain, in their order; how many were taken out; and the lines of the
        baseline that match nothing any more.
    """
    section = (_relative(model, baseline.path), target)
    left = Counter(baseline.sections.get(section, Counter()))
    kept = []
    accepted = 0
    for finding in findings:
        entry = entry_of(finding)
        if left[entry] > 0:
            left[entry] -= 1
            accepted += 1
        else:
            kept.append(finding)
    stale = tuple(_line(entry) for entry in sorted(left.elements()) if live or not _is_live(entry))
    return kept, accepted, stale


def write_baseline(path: Path, results: Iterable[CheckResult]) -> int:
    """Accept every finding of some checks that ran without a baseline.

    Sections of other models and releases stay as they are, and so do comments above lines that
    stay, and the lines about an installed parser (OF9xx) where none was asked. Nothing is written
    where an error is raised.

    Returns:
        How many findings of the given results the file now accepts.

    Raises:
        UsageError: the file exists and is no baseline, or cannot be written.
    """
    old = read_baseline(path) if path.exists() else Baseline(path, {}, {})
    sections = dict(old.sections)
    count = 0
    for result in results:
        section = (_relative(result.source, path), result.target_name)
        entries = Counter(entry_of(finding) for finding in result.findings)
        count += entries.total()
        if result.live is None:
            before = sections.get(section, Counter())
            entries += Counter({entry: n for entry, n in before.items() if _is_live(entry)})
        sections[section] = entries
    lines = list(_HEADER)
    for section in sorted(sections):
        if sections[section]:
            lines += ["", *old.comments.get((section, None), ())]
            lines.append(f"[{escape_line(section[0])} for {section[1]}]")
        for entry in sorted(sections[section]):
            lines += old.comments.get((section, entry), ())
            lines += [_line(entry)] * sections[section][entry]
    _replace(path, "\n".join(lines) + "\n")
    return count


def entry_of(finding: CheckFinding) -> Entry:
    """What a baseline knows of a finding."""
    return finding.key, finding.severity.value


def _is_live(entry: Entry) -> bool:
    return entry[0].startswith("OF9")


def _line(entry: Entry) -> str:
    key, severity = entry
    return f"{severity} {escape_line(key)}"


def _relative(model: str | Path, baseline: Path) -> str:
    """How a baseline calls a model: relative to its own folder where there is a way."""
    try:
        return Path(os.path.relpath(model, baseline.parent)).as_posix()
    except ValueError:  # another drive of Windows
        return Path(model).absolute().as_posix()


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.onnx-fix")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
