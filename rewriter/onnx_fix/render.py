"""Print reports and documentation for people."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from onnx_fix import registry
from onnx_fix.report import Blocker, Report, by_reason, describe, summarise, tried

if TYPE_CHECKING:
    from onnx_fix.contract import BasePass

_SHOWN = 5


def render_report(
    report: Report,
    *,
    verbose: int = 0,
    quiet: bool = False,
    dry: bool = False,
    output: Path | None = None,
) -> None:
    """Print what was done, what is left, and how the comparison went."""
    console = Console(highlight=False, soft_wrap=True)
    if quiet:
        if report.refused:
            _left(console, report, verbose)
        return
    if report.target_note:
        console.print(escape(report.target_note))
    verb = "would be" if dry else "were"
    count = len(report.changes)
    console.print(
        f"[bold]{escape(report.source)}[/] for [bold]{report.target.name}[/]: "
        + (f"{count} change{'s'[: count != 1]}" if count else f"no changes {verb} {_made(report)}")
    )
    if dry and report.before:
        refused = sum(b.status == "refused" for b in report.before)
        doubtful = len(report.before) - refused
        more = f", and {doubtful} more that it may refuse" if doubtful else ""
        console.print(f"as it is, {report.target.name} refuses {refused} nodes{more}:")
        render_blockers(console, report.before, verbose)
        console.print("what would be done:" if count else "no pass mends any of them")
    if count:
        _passes(console, report)
    if verbose:
        for change in report.changes:
            note = f" ({change.note})" if change.note else ""
            console.print(
                f"  {change.number}. {escape(describe(change))}, "
                f"{change.exactness.value}{escape(note)}"
            )
    else:
        _notes(console, report)
    _skips(console, report, verbose)
    _left(console, report, verbose)
    if not dry:
        _comparison(console, report)
    if output is not None:
        console.print(f"written: {escape(str(output))}")


def _made(report: Report) -> str:
    return "made" if report.before else "needed"


def _columns(console: Console, rows: Sequence[tuple[str, ...]]) -> None:
    """Print aligned columns, the last one as long as it is: nothing is cut or wrapped by us."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        console.print(escape("  ".join(["", *cells, row[-1]])))


def _passes(console: Console, report: Report) -> None:
    rows = [("pass", "changes", "exactness", "what")]
    for name in dict.fromkeys(c.pass_name for c in report.changes):
        mine = [c for c in report.changes if c.pass_name == name]
        old = dict.fromkeys(" + ".join(c.old_ops) for c in mine if c.old_ops)
        new = list(dict.fromkeys(op for c in mine for op in c.new_ops))
        made = ", ".join(new[:6]) + (", ..." if len(new) > 6 else "") or "constant or nothing"
        exact = ", ".join(sorted({c.exactness.value for c in mine}))
        what = f"{', '.join(list(old)[:4])} -> {made}"
        if not old:
            # Transformers of whole models say in their own words what they did.
            what = "; ".join(c.old[0] for c in mine[:4]) + ("; ..." if len(mine) > 4 else "")
        rows.append((name, str(len(mine)), exact, what))
    _columns(console, rows)


def _notes(console: Console, report: Report) -> None:
    notes = Counter(c.note for c in report.changes if c.note)
    for note, times in notes.most_common():
        console.print(
            f"  note ({times}x): {escape(note)}" if times > 1 else f"  note: {escape(note)}"
        )


def _skips(console: Console, report: Report, verbose: int) -> None:
    groups: dict[tuple[str, str, str], list[str]] = {}
    for name, skip in report.skipped:
        groups.setdefault((name, skip.op, skip.reason), []).append(skip.node)
    if groups:
        console.print("left alone:")
    for (name, op, reason), nodes in groups.items():
        shown = nodes if verbose else nodes[:3]
        more = f" and {len(nodes) - len(shown)} more" if len(nodes) > len(shown) else ""
        console.print(f"  {name}: {op} {escape(', '.join(shown))}{more}: {escape(reason)}")


def _left(console: Console, report: Report, verbose: int) -> None:
    target = report.target.name
    if report.refused:
        count = len(report.refused)
        left = "1 node is left" if count == 1 else f"{count} nodes are left"
        console.print(f"[bold]{left} that {target} refuses:[/]")
        render_blockers(console, report.refused, verbose)
        if not any(b.scope for b in report.refused):
            console.print("      onnx-fix split cuts the model there and lets the host run them")
    elif not report.doubtful and not any(f.blocks for f in report.whole):
        console.print(f"nothing is left that {target} is known to refuse")
    _whole(console, report, verbose)
    if report.doubtful:
        count = len(report.doubtful)
        which = "1 node" if count == 1 else f"{count} nodes"
        console.print(f"{which} of which nobody can say whether {target} takes it:")
        render_blockers(console, report.doubtful, verbose)


def _whole(console: Console, report: Report, verbose: int) -> None:
    """Print what is left of the model as a whole, a mend once for all that it mends."""
    for _, group in groupby(report.whole, key=lambda f: (f.code.code, f.mend)):
        found = list(group)
        shown = found if verbose else found[:_SHOWN]
        for f in shown:
            where = f"{f.op} {f.node}: " if f.node else ""
            console.print(
                f"[bold]{f.severity.value} {f.code.code} {f.code.name}:[/] {escape(where + f.why)}"
            )
        if len(found) > len(shown):
            console.print(f"      and {len(found) - len(shown)} more")
        console.print(f"      mend: {escape(found[0].mend)}")


def render_blockers(console: Console, found: list[Blocker], verbose: int) -> None:
    """Print nodes that a target does not surely take, by their reason."""
    for group in by_reason(found):
        first = group[0]
        names = [f"{b.scope}:{b.node}" if b.scope else b.node for b in group]
        shown = names if verbose else names[:_SHOWN]
        more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
        silent = " (imported without a message, but computed wrongly)" if first.silent else ""
        console.print(f"  {len(group)} x {first.op}{silent}: {escape(', '.join(shown))}{more}")
        if first.findings:
            finding = first.findings[0]
            if finding.message:
                console.print(f"      parser: {escape(finding.message)}")
            if finding.why and finding.why != finding.message:
                console.print(f"      why: {escape(finding.why)}")
        hints = list(dict.fromkeys(b.hint for b in group if b.hint))
        for hint in hints if verbose else hints[:_SHOWN]:
            console.print(f"      mend: {escape(hint)}")


def _comparison(console: Console, report: Report) -> None:
    if report.verification is None:
        console.print(f"verification: {escape(report.verification_note)}")
        return
    console.print(f"verification: {escape(summarise(report.verification))}")
    if report.trials is not None:
        console.print(f"other sizes: {escape(tried(report.trials))}")


def render_passes() -> None:
    """Print every installed pass with its first line of documentation."""
    console = Console(highlight=False, soft_wrap=True)
    order = sorted(registry.installed().values(), key=lambda p: (p.stage.value, p.name))
    rows = [("pass", "stage", "what it does")]
    rows += [(c.name, c.stage.name.lower(), _doc(c).splitlines()[0]) for c in order]
    _columns(console, rows)


def render_pass(name: str) -> None:
    """Print the documentation and the options of a pass.

    Raises:
        UsageError: there is no such pass.
    """
    cls = registry.get(name)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{cls.name}[/] (stage {cls.stage.name.lower()})\n")
    console.print(escape(_doc(cls)))
    docs = _option_docs(cls)
    if fields(cls):
        console.print("\n[bold]options[/]")
    for option in fields(cls):
        console.print(f"  {option.name}: {escape(_default(option))}")
        if option.name in docs:
            console.print(f"      {escape(docs[option.name])}")


def _doc(cls: type[BasePass]) -> str:
    return inspect.cleandoc(cls.__doc__ or cls.name)


def _default(option: Field[object]) -> str:
    value = option.default if option.default is not MISSING else None
    return f"{option.type}, by default {value!r}"


def _option_docs(cls: type[BasePass]) -> dict[str, str]:
    """The strings under the fields of a pass."""
    import ast
    import textwrap

    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    docs: dict[str, str] = {}
    if isinstance(body, ast.ClassDef):
        for line, after in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(line, ast.AnnAssign)
                and isinstance(line.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                docs[line.target.id] = inspect.cleandoc(str(after.value.value))
    return docs
