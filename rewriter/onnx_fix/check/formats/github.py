"""``--format github``: workflow commands, which GitHub Actions shows as annotations.

The escaping is that of GitHub's "Workflow commands" reference: ``%``, CR and LF everywhere, ``:``
and ``,`` in properties as well. A step shows at most 10 annotations of each level; so findings that
say the same are one annotation, and the tenth names how many more there are.
"""

from __future__ import annotations

from typing import Literal

from onnx_fix.check.finding import Severity
from onnx_fix.check.formats.grouping import (
    Group,
    Results,
    fix_command,
    groups,
    plural,
    relative_path,
    tally,
)
from onnx_fix.check.result import CheckResult
from onnx_fix.check.text import visible

PER_LEVEL = 10
"""Annotations of a level that GitHub shows of a step."""

Level = Literal["error", "warning", "notice"]

_LEVELS: dict[Severity, Level] = {
    Severity.ERROR: "error",
    Severity.SILENT: "error",
    Severity.UNKNOWN: "warning",
    Severity.WARNING: "warning",
}


def escape_data(text: str) -> str:
    """The message of a command, escaped."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """The value of a property of a command, escaped."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


def command(level: Level, message: str, **properties: str) -> str:
    """A workflow command; properties without a value are left out."""
    given = ",".join(f"{key}={escape_property(text)}" for key, text in properties.items() if text)
    return f"::{level}{' ' if given else ''}{given}::{escape_data(message)}"


def render(results: Results, *, verbose: int = 0) -> str:
    """The commands for some models: a summary as a notice for each, then errors, then warnings.

    ``verbose`` changes nothing: GitHub shows no more.
    """
    found: dict[Level, list[str]] = {"error": [], "warning": [], "notice": []}
    for result in results:
        file = relative_path(result.source).as_posix()
        found["notice"].append(_summary(result, file))
        for group in groups(result.findings):
            found[_LEVELS[group.first.severity]].append(_annotation(group, result, file))
        for line in result.stale:
            message = f"the baseline accepts what is not found any more: {visible(line)}"
            found["warning"].append(
                command("warning", message, file=file, title="onnx-fix: stale baseline")
            )
    levels: tuple[Level, ...] = ("notice", "error", "warning")
    return "".join(f"{line}\n" for level in levels for line in _capped(found[level], level))


def _capped(lines: list[str], level: Level) -> list[str]:
    if len(lines) <= PER_LEVEL:
        return lines
    rest = len(lines) - PER_LEVEL + 1
    more = command(
        level,
        f"{rest} more, which GitHub would not show; --format human or json has them all",
        title=f"onnx-fix: {rest} more of this level",
    )
    return [*lines[: PER_LEVEL - 1], more]


def _summary(result: CheckResult, file: str) -> str:
    message = f"{visible(file)} for {result.target_name}: {result.verdict} ({tally(result)})"
    if any(f.mended_by for f in result.findings):
        message += f"\nmend: {fix_command(file, result.target_name)}"
    return command("notice", message, file=file, title=f"onnx-fix check: {result.verdict}")


def _annotation(group: Group, result: CheckResult, file: str) -> str:
    first = group.first
    count = plural(len(group.findings), "finding") + " at " if len(group.findings) > 1 else ""
    where = group.places()
    lines = [
        f"{first.severity.value} for {result.target_name}: {visible(group.why)}",
        f"{count}{group.ops} {where}".strip(),
        f"parser: {visible(group.message)}" if group.message else "",
        f"mend: {visible(group.mend)}" if group.mend else "",
    ]
    title = f"{first.code.code} {first.code.name}"
    level = _LEVELS[first.severity]
    return command(level, "\n".join(line for line in lines if line), file=file, title=title)
