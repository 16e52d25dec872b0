"""Print releases, and what changed between two, for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from onnx_fix.compare_targets import Limit, TargetDiff
from onnx_fix.explain.meanings import EFFECTS
from onnx_fix.list_targets import Detail, Listed
from onnx_fix.render_explain import console, say
from onnx_fix.target.trtexec import Flag


def render_list(targets: Sequence[Listed]) -> None:
    """Print all targets, one a line."""
    out = console()
    rows = [("target", "date", "opsets", "importers", "plugins", "")]
    for one in targets:
        rows.append(
            (
                one.name,
                one.date or "-",
                _span(one.opset_range),
                str(one.importers),
                str(one.plugins),
                one.about or (f"beside {one.base}" if one.base else ""),
            )
        )
    widths = [max(len(row[k]) for row in rows) for k in range(5)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        say(out, "  ".join([*cells, row[-1]]).rstrip())
    say(out, "opsets are those of NVIDIA's tables; no release refuses a model for its opset")


def render_detail(detail: Detail) -> None:
    """Print one release in full."""
    out = console()
    one = detail.listed
    if detail.note:
        say(out, detail.note)
    out.print(f"[bold]{escape(one.name)}[/]")
    say(out, f"date: {one.date or 'not known'}; opsets: {_span(one.opset_range)}", 2)
    if one.about:
        say(out, one.about, 2)
    if one.base:
        say(out, f"stands beside {one.base}", 2)
    say(out, f"read in: {one.source}", 2)
    say(out, f"importers ({len(detail.importers)}): {', '.join(detail.importers)}", 2)
    plugins = [f"{name} {'/'.join(versions)}" for name, versions in detail.plugins]
    say(out, f"stock plugins ({len(plugins)}): {', '.join(plugins) or 'none'}", 2)
    say(out, f"local functions: {'read' if detail.reads_functions else 'not read'}", 2)
    if detail.dispatch:
        say(out, f"a node goes to: {', then '.join(detail.dispatch)}", 2)
    say(out, f"restrictions that refuse a node with a message: {detail.refusing}", 2)
    silent = f": {', '.join(detail.silent_ops)}" if detail.silent_ops else ""
    say(out, f"restrictions without a message, that compute otherwise: {detail.silent}{silent}", 2)
    say(out, "in general:", 2)
    for fact in detail.facts:
        say(out, fact, 4)
    if detail.flags is None:
        say(out, "trtexec: TensorRT-RTX has another program", 2)
    else:
        say(out, f"trtexec ({len(detail.flags)} options): {' '.join(detail.flags)}", 2)


def render_diff(diff: TargetDiff) -> None:
    """Print what changed from one release to another."""
    out = console()
    out.print(f"[bold]from {escape(diff.a)} to {escape(diff.b)}[/]")
    if diff.same:
        say(out, "no difference is known", 2)
    old, new = diff.opset_range
    if old != new:
        say(out, f"opsets: {_span(old)}, then {_span(new)}", 2)
    _names(out, "importers gained", diff.importers_gained)
    _names(out, "importers lost", diff.importers_lost)
    _limits(out, "restrictions gone", diff.gone)
    _limits(out, "restrictions new", diff.new)
    if diff.changed:
        say(out, f"restrictions changed ({len(diff.changed)}):", 2)
    for change in diff.changed:
        say(out, f"{change.new.op}: {change.new.kind.replace('_', ' ')}", 4)
        say(out, f"- {_what(change.old)}", 6)
        say(out, f"+ {_what(change.new)}", 6)
    was, now = diff.reads_functions
    if was != now:
        say(out, f"local functions: {'now read' if now else 'no longer read'}", 2)
    _facts(out, "functions", diff.functions)
    _facts(out, "in general", diff.general)
    _names(out, "stock plugins gained", diff.plugins_gained)
    _names(out, "stock plugins lost", diff.plugins_lost)
    if diff.plugin_versions:
        versions = [f"{n} {'/'.join(a)} -> {'/'.join(b)}" for n, a, b in diff.plugin_versions]
        _names(out, "plugins in other versions", versions)
    _flags(out, "trtexec options added", diff.flags_added)
    _flags(out, "trtexec options removed", diff.flags_removed)
    _flags(out, "trtexec options deprecated", diff.flags_deprecated)
    for note in diff.notes:
        say(out, f"note: {note}", 2)


def _span(opsets: tuple[int | None, int | None]) -> str:
    low, high = opsets
    if low is None and high is None:
        return "not known"
    return f"{'?' if low is None else low}-{'?' if high is None else high}"


def _names(out: Console, head: str, names: Sequence[str]) -> None:
    if names:
        say(out, f"{head} ({len(names)}): {', '.join(names)}", 2)


def _limits(out: Console, head: str, limits: Sequence[Limit]) -> None:
    """Restrictions that differ in the op alone stand together."""
    if not limits:
        return
    say(out, f"{head} ({len(limits)}):", 2)
    groups: dict[tuple[str, str], list[str]] = {}
    for limit in limits:
        groups.setdefault((limit.kind, _what(limit)), []).append(limit.op)
    for (kind, what), ops in groups.items():
        say(out, f"{', '.join(dict.fromkeys(ops))}: {kind.replace('_', ' ')}: {what}", 4)


def _what(limit: Limit) -> str:
    said = [EFFECTS.get(limit.effect, limit.effect), limit.detail]
    if limit.message:
        said.append(f"parser: {limit.message}")
    return "; ".join(filter(None, said))


def _facts(out: Console, head: str, facts: Sequence[tuple[str, str]]) -> None:
    if facts:
        say(out, f"{head}:", 2)
    for sign, fact in facts:
        say(out, f"{sign} {fact}", 4)


def _flags(out: Console, head: str, flags: Sequence[Flag] | None) -> None:
    if not flags:
        return
    say(out, f"{head} ({len(flags)}):", 2)
    plain = [f.name for f in flags if not f.replacement]
    for flag in flags:
        if flag.replacement:
            say(out, f"{flag.name}: use {flag.replacement}", 4)
    if plain:
        say(out, " ".join(plain), 4)
