"""``--format human``: for people at a terminal. The verdict first, then what stands in the way."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from onnx_fix.check.finding import Severity
from onnx_fix.check.formats.grouping import (
    SHOWN,
    Group,
    Results,
    fix_command,
    groups,
    plural,
    tally,
)
from onnx_fix.check.result import CheckResult, Verdict
from onnx_fix.check.text import visible

_STYLES = {
    Severity.ERROR: "bold red",
    Severity.SILENT: "bold magenta",
    Severity.UNKNOWN: "bold yellow",
    Severity.WARNING: "yellow",
}
_VERDICTS: dict[Verdict, str] = {
    "ready": "bold green",
    "blocked": "bold red",
    "not certain": "bold yellow",
}
_MEANING: dict[Verdict, str] = {
    "ready": "nothing is known that stands in the way of a build",
    "blocked": "the build fails, or the engine computes something else",
    "not certain": "whether it builds hangs on what is not known here",
}

_UNSEEN = ", but for what is accepted or left out"


Line = list[str | tuple[str, str]]
"""Pieces of text, some with a style. They are plain text: brackets in a name are no markup."""


def render(results: Results, *, verbose: int = 0, color: bool = False) -> str:
    """The text for some models, with an empty line between them.

    Args:
        results: What was found.
        verbose: Above 0, every node of a group is listed, and warnings are told in full.
        color: Whether the text is for a terminal that shows colours; every colour stands beside
            a word that says the same.
    """
    lines: list[Line] = []
    for number, result in enumerate(results):
        if number:
            lines.append([])
        lines += _model(result, verbose)
    out = io.StringIO()
    system: Literal["standard"] | None = "standard" if color else None
    console = Console(file=out, force_terminal=color, color_system=system)
    for line in lines:
        console.print(_text(line), soft_wrap=True)
    return out.getvalue()


def _text(line: Line) -> Text:
    pieces = [(piece, "") if isinstance(piece, str) else piece for piece in line]
    return Text.assemble(*((visible(text), style) for text, style in pieces))


def _model(result: CheckResult, verbose: int) -> list[Line]:
    verdict = result.verdict
    lines: list[Line] = [
        [
            (result.source, "bold"),
            " for ",
            (result.target_name, "bold"),
            ": ",
            (verdict, _VERDICTS[verdict]),
            f" ({tally(result)})",
        ]
    ]
    if result.target_note:
        lines.append([f"  {result.target_note}"])
    unseen = verdict == "ready" and (result.baselined or result.suppressed)
    lines.append([f"  {_MEANING[verdict]}{_UNSEEN if unseen else ''}"])
    if result.live is not None:
        lines.append([f"  live parser: {_live(result.live)}"])
    for group in groups(result.findings):
        lines += _entry(group, verbose)
    mended = sum(f.mended_by is not None for f in result.findings)
    if mended:
        total = plural(len(result.findings), "finding")
        command = fix_command(result.source, result.target_name)
        lines.append([f"passes mend {mended} of {total}: {command}"])
    for stale in result.stale:
        lines.append(
            [
                f"warning: the baseline accepts what is not found any more: {stale} "
                "(take the line out, or use --write-baseline)"
            ]
        )
    return lines


def _entry(group: Group, verbose: int) -> list[Line]:
    """A group as a headline and what is known of it; a warning as one line unless verbose."""
    first = group.first
    count = len(group.findings)
    where = group.places(None if verbose else SHOWN)
    what = f"{count} x {group.ops}" if group.ops else f"{count} x" if count > 1 else ""
    live = " (live parser)" if first.origin == "live" else ""
    short = first.severity is Severity.WARNING and not verbose
    tail = [part for part in (what, where, group.why if short else "") if part]
    head = ": ".join([f" {first.code.code} {first.code.name}{live}", *tail])
    lines: list[Line] = [[(first.severity.value, _STYLES[first.severity]), head]]
    if short:
        return lines
    told = {
        "parser": group.message,
        "why": group.why if group.why != group.message else "",
        "pass": first.mended_by if first.mended_by and first.mended_by not in group.mend else "",
        "mend": group.mend,
    }
    if verbose:
        told["known from"] = ", ".join(part for part in (first.evidence, first.source) if part)
    lines += [[f"    {label}: {text}"] for label, text in told.items() if text]
    return lines


def _live(summary: Mapping[str, Any]) -> str:
    """The live parser's answer in a line; the forms for programs have all of the summary."""
    errors = summary.get("errors")
    parts = [
        f"{summary.get('parser', 'installed')}: {summary.get('status', 'asked')}",
        plural(errors, "error") if isinstance(errors, int) and errors else "",
        str(summary.get("detail") or ""),
    ]
    return ", ".join(part for part in parts if part)
