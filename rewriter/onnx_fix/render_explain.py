"""Print explanations for people: no text is cut; long lists end in a count of what is left."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from onnx_fix.check.finding import Code
from onnx_fix.check.text import visible
from onnx_fix.explain import Explanation, NodeInLog, OpExplanation, Remedy
from onnx_fix.explain.in_model import NodeInModel
from onnx_fix.explain.meanings import EFFECTS, Meaning

_FEW = 8
_HOW = {
    "named": "named in the log",
    "refused": "refused for this",
    "doubtful": "may be refused for this",
    "same op": "has the op; whether it runs into this is not known",
}


def console() -> Console:
    """Where people read: nothing is wrapped or coloured by guess."""
    return Console(highlight=False, soft_wrap=True)


def say(out: Console, text: str, indent: int = 0) -> None:
    """One line, whatever stands in it."""
    out.print(" " * indent + escape(visible(text)))


def few(names: Sequence[str], most: int = _FEW) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def render_log(found: Sequence[Explanation], source: str, note: str, verbose: int = 0) -> None:
    """Print what a message or log means."""
    out = console()
    if note:
        say(out, note)
    known = [e for e in found if e.kind != "unknown"]
    unknown = [e for e in found if e.kind == "unknown"]
    if not found:
        say(out, f"{source}: nothing in it looks like an error, and no known message is in it")
        return
    for one in known:
        times = f" ({one.count} times, first on line {one.line})" if one.count > 1 else ""
        where = f"line {one.line}" if one.line > 1 and one.count == 1 else ""
        head = f"{one.severity}{times}{f', {where}' if where else ''}"
        out.print(f"[bold]{escape(head)}:[/] {escape(visible(_shown(one)))}")
        if one.kind == "line":
            _line(out, one)
        else:
            _message(out, one, verbose)
    if unknown:
        what = "these look like errors, and are not in our data" if known else "not in our data"
        say(out, f"{what}:")
        for one in unknown:
            times = f" ({one.count} times, first on line {one.line})" if one.count > 1 else ""
            say(out, f"{one.text}{times}", 2)
            if one.in_log:
                say(out, f"node in the log: {few([_said(n) for n in one.in_log])}", 6)
            if one.in_model:
                _nodes(out, one.in_model, verbose, 6)
            if one.op:
                say(out, f"`onnx-fix explain {one.op}` tells what is known of the op", 6)
            if one.nearest:
                say(out, f"the nearest text that is known: {one.nearest}", 6)
            for extra in one.notes:
                say(out, extra, 6 if one.in_log else 2)


def _shown(one: Explanation) -> str:
    """The line as found, without its time stamp; the text of the data if the line is very long."""
    line = re.sub(r"^\[[\d/:\- T.]+\]\s*", "", one.found)
    return line if len(line) <= 400 else one.text


def _line(out: Console, one: Explanation) -> None:
    if one.subjects:
        say(out, f"about: {few(one.subjects)}", 4)
    say(out, f"means: {one.why}", 4)
    say(out, f"do: {one.mend}", 4)
    say(out, f"known from {one.source}", 4)


def _message(out: Console, one: Explanation, verbose: int) -> None:
    if one.in_log:
        say(out, f"node in the log: {few([_said(n) for n in one.in_log])}", 4)
    several = len(one.meanings) > 1
    if several:
        say(out, f"the text has {len(one.meanings)} meanings, by op and release:", 4)
    shown = one.meanings if verbose else one.meanings[:_FEW]
    for meaning in shown:
        _meaning(out, meaning, 6 if several else 4, verbose)
    if len(one.meanings) > len(shown):
        say(out, f"and {len(one.meanings) - len(shown)} more (see --verbose)", 6)
    for note in one.notes:
        say(out, f"note: {note}", 4)
    if one.in_model:
        _nodes(out, one.in_model, verbose)


def _said(node: NodeInLog) -> str:
    number = "" if node.number is None else f"number {node.number}"
    name = f"'{node.name}'" if node.name else (f"making '{node.output}'" if node.output else "")
    return " ".join(filter(None, (node.op, name, f"({number})" if number else "")))


def _meaning(out: Console, m: Meaning, indent: int, verbose: int) -> None:
    ops = few(m.ops, 100 if verbose else _FEW) or "any op"
    code = f" [{m.code}]" if m.code else ""
    if m.kind == "no_importer":
        say(out, f"{ops}: {m.what}{code}", indent)
        if m.detail:
            say(out, m.detail, indent + 2)
    else:
        say(out, f"{ops}, {', '.join(m.releases)}: {m.what}{code}", indent)
        if m.detail:
            say(out, m.detail, indent + 2)
        if m.effect not in ("", "parse_error"):
            say(out, EFFECTS.get(m.effect, m.effect), indent + 2)
    if m.why:
        say(out, f"why: {m.why}", indent + 2)
    remedies(out, m.remedies, indent + 2, command=True)
    if m.mend:
        special = any(not r.general for r in m.remedies)
        say(out, f"{'else' if special else 'do'}: {m.mend}", indent + 2)


def remedies(out: Console, found: Sequence[Remedy], indent: int, *, command: bool) -> None:
    """Print the passes that clear something."""
    special = [r for r in found if not r.general]
    for r in special:
        only = f", where {r.only}" if r.only else ""
        say(out, f"mended by the pass {r.pass_name}{only}", indent)
    general = [f"{r.pass_name} (where {r.only})" for r in found if r.general]
    if general:
        say(out, f"{'also' if special else 'a pass may clear it'}: {', '.join(general)}", indent)
    if command and found:
        say(out, "`onnx-fix MODEL -o FIXED --target TARGET` runs them all", indent)


def _nodes(out: Console, nodes: Sequence[NodeInModel], verbose: int, indent: int = 4) -> None:
    groups: dict[tuple[str, str, str], list[str]] = {}
    for n in nodes:
        name = f"{n.scope}:{n.name}" if n.scope else n.name
        groups.setdefault((n.how, n.op, n.mended_by), []).append(name)
    for (how, op, by), names in groups.items():
        mended = f"; cleared by {by}" if by else ""
        listed = few(names, len(names) if verbose else _FEW)
        say(out, f"in the model, {len(names)} x {op} ({_HOW[how]}{mended}): {listed}", indent)
    for why in dict.fromkeys(n.why for n in nodes if n.why):
        say(out, f"there: {why}", indent + 2)


def render_code(name: str, found: Code | None) -> None:
    """Print what a finding of ``check`` means."""
    out = console()
    if found is None:
        say(out, f"'{name}' is no code of onnx-fix check.")
        return
    out.print(f"[bold]{found.code}[/] {escape(found.name)}: {escape(found.summary)}")
    say(out, f"means: {found.meaning}", 2)
    say(out, f"do: {found.mend}", 2)
    say(out, "onnx-fix check MODEL -v says it for each node, with the pass that mends it", 2)


def render_op(found: OpExplanation) -> None:
    """Print what is known of an op."""
    out = console()
    if not found.known:
        near = f" Did you mean {' or '.join(found.near)}?" if found.near else ""
        say(out, f"'{found.op}' is neither an op of ONNX nor a plugin of TensorRT.{near}")
        return
    at = f" at {found.target}" if found.target else ""
    out.print(f"[bold]{escape(found.op)}[/]{at}")
    if found.imported is not None:
        has = "has an importer" if found.imported else "has no importer"
        say(out, f"{found.target} {has} for it", 2)
    say(out, f"importer: {', '.join(found.supported) or 'in no release'}", 2)
    for side, how in found.side:
        say(out, f"{side}: {how}", 4)
    for span in found.plugin:
        say(out, f"stock plugin of this name: {span}", 2)
    for plugin in found.imported_by_plugin:
        say(out, f"imported through the plugin {plugin}", 2)
    if found.opsets:
        say(out, f"ONNX versions: {', '.join(map(str, found.opsets))}", 2)
    if found.note:
        say(out, f"note: {found.note}", 2)
    if found.definition and found.imported is not True:
        say(out, "ONNX defines it by simpler ops, which no parser uses by itself", 2)
    for span, types in found.types:
        say(out, f"element types by NVIDIA's tables, {span}: {', '.join(types)}", 2)
    for span, names in found.not_read:
        say(out, f"attributes that the importer does not read, {span}: {', '.join(names)}", 2)
    if found.remedies and not found.imported:
        say(out, "where it has no importer:", 2)
        remedies(out, found.remedies, 4, command=False)
    say(out, f"restrictions{at}: {len(found.restrictions) or 'none known'}", 2)
    for r in found.restrictions:
        sure = "" if r.certain else ", not certain"
        code = f" [{r.code}]" if r.code else ""
        say(out, f"{r.what}{code}: {EFFECTS.get(r.effect, r.effect)}{sure} ({r.releases})", 4)
        if r.detail:
            say(out, r.detail, 8)
        if r.message:
            say(out, f"parser: {r.message}", 8)
        remedies(out, r.remedies, 8, command=False)
        if r.mend and not any(not x.general for x in r.remedies):
            say(out, f"do: {r.mend}", 8)
        say(out, f"known from {r.source}", 8)
