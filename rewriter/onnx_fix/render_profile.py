"""Print a profile and what was found about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from onnx_fix.profiles.asked import Form, spell
from onnx_fix.profiles.profile import Profile

if TYPE_CHECKING:
    from onnx_fix.profiles.check import ProfileFinding

_COLOURS = {"error": "bold red", "warning": "yellow", "note": "dim"}


def render_profile(
    console: Console,
    number: int | None,
    profile: Profile,
    findings: Sequence[ProfileFinding],
    *,
    quiet: bool = False,
) -> None:
    """Print one profile as a table, and its findings; ``number`` where there are several."""
    if not quiet:
        if number is not None:
            console.print(f"[bold]profile {number}[/]")
        for line in table(profile):
            console.print(f"  {escape(line)}")
    for finding in findings:
        if quiet and finding.severity == "note":
            continue
        _finding(console, finding)


def table(profile: Profile) -> list[str]:
    """The rows of a profile, in columns."""
    rows: list[tuple[str, ...]] = [("", "min", "opt", "max")]
    for name, sizes in profile.dims:
        rows.append((name, *(str(size) for size in sizes)))
    for one in profile.inputs:
        form: Form = "values" if one.kind == "values" else "shape"
        low, usual, high = (spell(bound, form) for bound in one.shapes)
        rows.append((f"{one.name} ({one.kind})", low, usual, high))
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _finding(console: Console, finding: ProfileFinding) -> None:
    where = " ".join(part for part in (finding.op, finding.node) if part)
    colour = _COLOURS[finding.severity]
    place = f"{escape(where)}: " if where and finding.severity != "note" else ""
    console.print(f"[{colour}]{finding.severity}:[/] {place}{escape(finding.message)}")
    if finding.severity != "note" and finding.at:
        console.print(f"    at: {escape(finding.at)}")
    if finding.mend:
        console.print(f"    mend: {escape(finding.mend)}")
