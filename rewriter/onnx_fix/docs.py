"""Write the pages under ``docs/`` from the source: ``python -m onnx_fix.docs [--check] [FOLDER]``.

One page for each code, one for each pass, and a table of ops by release. ``--check`` writes nothing
and exits with 1 where a page is missing, out of date, or left over.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from onnx_fix.check.codes import FAMILIES, NODE_CODES
from onnx_fix.check.finding import Code
from onnx_fix.check.registry import all_codes
from onnx_fix.contract import BasePass, Mends
from onnx_fix.registry import default_order, installed
from onnx_fix.render import _option_docs
from onnx_fix.target import REFUSING_EFFECTS, Target, load_target
from onnx_fix.target.data import Release, main_line, read

GENERATED = "<!-- Written by `python -m onnx_fix.docs`; edit the source, not this page. -->"
COLUMNS = ("trt-7.2", "trt-8.2", "trt-8.6", "trt-10.3", f"trt-{main_line()[-1]}", "rtx-1.7")
"""The releases that ``docs/targets.md`` shows."""

_WORDS: Mapping[str, str] = {
    "parse_error": "import fails",
    "build_error": "build fails",
    "parse_or_build_error": "import or build fails",
    "wrong_result": "**silent**: other numbers",
    "changes_shape": "**silent**: other shape",
    "changes_type": "other element type",
    "limits_use": "limits its use",
    "conditional": "under conditions",
    "unknown": "effect not known",
}


def pages() -> dict[str, str]:
    """Every page by its path below the folder of the documentation."""
    made = {f"checks/{code.code}.md": _code_page(code) for code in all_codes()}
    made["checks/README.md"] = _code_index()
    made.update({f"passes/{cls.name}.md": _pass_page(cls) for cls in _passes()})
    made["passes/README.md"] = _pass_index()
    made["targets.md"] = _targets()
    return {path: f"{GENERATED}\n\n{text.strip()}\n" for path, text in made.items()}


def stale(folder: Path) -> list[str]:
    """The pages below a folder that are missing, out of date, or left over."""
    wanted = pages()
    found = {p for p in wanted if not _same(folder / p, wanted[p])}
    return sorted(found | {p.relative_to(folder).as_posix() for p in _left_over(folder, wanted)})


def write(folder: Path) -> None:
    """Write every page, and take away those that this module wrote for what is no more."""
    wanted = pages()
    for path in _left_over(folder, wanted):
        path.unlink()
    for name, text in wanted.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _left_over(folder: Path, wanted: Mapping[str, str]) -> list[Path]:
    listed = [*folder.glob("checks/*.md"), *folder.glob("passes/*.md")]
    return [
        path
        for path in listed
        if path.relative_to(folder).as_posix() not in wanted
        and path.read_text(encoding="utf-8").startswith(GENERATED)
    ]


# -- codes -----------------------------------------------------------------------------------------


def _code_page(code: Code) -> str:
    parts = [
        f"# {code.code} {code.name}",
        f"{_upper(code.summary)}.",
        f"## What it means\n\n{_wrapped(code.meaning)}",
        f"## What to do\n\n{_wrapped(code.mend)}",
    ]
    kind = next((kind for kind, known in NODE_CODES.items() if known is code), None)
    if kind is not None:
        parts += [*_passes_for(kind), *_entries(kind)]
    leave_out = f"`onnx-fix check --ignore {code.code}` leaves it out"
    parts.append(f"{leave_out}, `--ignore '{code.code}:NODE'` at one node.")
    return "\n\n".join(parts)


def _passes_for(kind: str) -> Iterator[str]:
    lines = [
        f"- [{cls.name}](../passes/{cls.name}.md): {_claim(claim)}"
        for cls in default_order()
        for claim in _merged(cls, kind)
    ]
    if not lines and not _may_refuse(kind):
        return
    for cls in default_order():
        wide = (c for c in cls.mends if c.kind == "*")
        lines += [f"- [{cls.name}](../passes/{cls.name}.md): any op, where {c.only}" for c in wide]
    yield "## Passes that clear it\n\n" + "\n".join(lines)


def _may_refuse(kind: str) -> bool:
    """Whether findings of a kind can stop a build; the passes act on no others."""
    effects = [e["effect"] for e in read("restrictions") if e["kind"] == kind]
    if effects:
        return any(effect in REFUSING_EFFECTS for effect in effects)
    return kind not in ("contrib_importer", "plugin_override", "stock_plugin")


def _merged(cls: type[BasePass], kind: str) -> Iterator[tuple[str, Mends]]:
    """The claims of a pass about a kind: the ops of equal claims together, and one of them."""
    groups: dict[str, list[Mends]] = {}
    for claim in cls.mends:
        if claim.kind == kind:
            groups.setdefault(claim.only, []).append(claim)
    for claims in groups.values():
        yield ", ".join(sorted("any op" if c.op == "*" else c.op for c in claims)), claims[0]


def _claim(claim: tuple[str, Mends]) -> str:
    ops, first = claim
    return f"{ops}, only where {first.only}" if first.only else ops


def _entries(kind: str) -> Iterator[str]:
    """What the data says: ops, releases, effect and literal message."""
    entries = [e for e in read("restrictions") if e["kind"] == kind and e["effect"] != "none"]
    if not entries:
        fact = next((f for f in read("facts")["general"] if f["id"] == kind), None)
        if fact is not None and fact.get("message"):
            yield f"## Message\n\n    {fact['message']}"
        return
    rows = ["| op | releases | effect | message of the parser |", "| --- | --- | --- | --- |"]
    for entry in entries:
        message = entry.get("message", "").replace("|", "\\|")
        effect = _WORDS.get(entry["effect"], entry["effect"])
        cells = (entry["op"], _releases(entry), effect, f"`{message}`" if message else "")
        rows.append("| " + " | ".join(cells) + " |")
    yield "## Where it holds\n\n" + "\n".join(rows)


def _releases(entry: Mapping[str, Any]) -> str:
    since, until = entry["since"], entry.get("until")
    text = since if since == until else f"{since} to {until}" if until else f"since {since}"
    also = entry.get("also_on", ())
    without = entry.get("not_on", ())
    text += f", {', '.join(also)}" if also else ""
    return text + (f", not {', '.join(without)}" if without else "")


def _code_index() -> str:
    parts = [
        "# Codes of `onnx-fix check`",
        "Codes never change their meaning and are never used twice. A finding is an *error* "
        "(import or build fails), *silent* (imported without a message, computed differently), "
        "a *warning*, or *unknown* (the model does not show enough to tell).",
    ]
    for digit, title in FAMILIES.items():
        codes = [code for code in all_codes() if code.code.startswith(f"OF{digit}")]
        if codes:
            lines = [f"- [{c.code}]({c.code}.md) `{c.name}`: {c.summary}" for c in codes]
            parts += [f"## OF{digit}xx: {title}", "\n".join(lines)]
    return "\n\n".join(parts)


# -- passes ----------------------------------------------------------------------------------------


def _passes() -> list[type[BasePass]]:
    """The passes of this distribution, in the order they run; others bring their own pages."""
    found = [cls for cls in installed().values() if cls.__module__.startswith("onnx_fix_passes.")]
    return sorted(found, key=lambda cls: (cls.stage.value, cls.name))


def _pass_page(cls: type[BasePass]) -> str:
    place = f"Stage: {cls.stage.name.lower()}"
    parts = [f"# {cls.name}", place + ("." if cls.default else ", only when a pipeline names it.")]
    parts.append(_markdown(inspect.cleandoc(cls.__doc__ or "")))
    kinds = dict.fromkeys(claim.kind for claim in cls.mends)
    lines = [f"- {_link(kind)}: {_claim(claim)}" for kind in kinds for claim in _merged(cls, kind)]
    if lines:
        parts.append("## Findings that it clears\n\n" + "\n".join(lines))
    if fields(cls):
        docs = _option_docs(cls)
        options = [
            f"- `{f.name}` ({f.type}, by default `{f.default!r}`): {_flat(docs.get(f.name, ''))}"
            for f in fields(cls)
        ]
        parts.append("## Options\n\n" + "\n".join(options))
    return "\n\n".join(parts)


def _link(kind: str) -> str:
    if kind == "*":
        return "any finding"
    code = NODE_CODES[kind]
    return f"[{code.code} {code.name}](../checks/{code.code}.md)"


_HEADING = re.compile(r"^(Before|After|Exact|Since|Rules?)(, [^:]+)?:[ ]?(.*)$")


def _markdown(doc: str) -> str:
    """A docstring as Markdown: headings bold, indented blocks of ONNX text as code."""
    out: list[str] = []
    lines = doc.replace("``", "`").splitlines()
    at = 0
    while at < len(lines):
        match = _HEADING.match(lines[at])
        if match is None:
            out.append(lines[at])
            at += 1
            continue
        name, block, at = match[1] + (match[2] or ""), [match[3]], at + 1
        while at < len(lines) and _HEADING.match(lines[at]) is None:
            # Text on the line of the heading goes on to the next blank line.
            inside = bool(lines[at]) if match[3] else lines[at][:1] in ("", " ")
            if not inside:
                break
            block.append(lines[at])
            at += 1
        if match[3]:
            body = "\n".join(line.strip() for line in block).strip()
        else:
            body = textwrap.dedent("\n".join(block[1:])).strip("\n")
        code = match[1] in ("Before", "After") and not match[3]
        out += ["", f"**{name}:**" + (f"\n\n```text\n{body}\n```" if code else f" {body}"), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip()


def _pass_index() -> str:
    order = "\n".join(
        f"| [{cls.name}]({cls.name}.md) | {cls.stage.name.lower()} | {_first_line(cls)} |"
        for cls in _passes()
    )
    return (
        "# Passes\n\nIn the order in which they run by default. The order is repeated until "
        f"nothing changes.\n\n| pass | stage | what it does |\n| --- | --- | --- |\n{order}"
    )


def _first_line(cls: type[BasePass]) -> str:
    return _flat(inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0]).replace("``", "`")


# -- targets ---------------------------------------------------------------------------------------


def _targets() -> str:
    targets = [load_target(name) for name in COLUMNS]
    rows = [
        f"| {op} | " + " | ".join(_cell(target, op) for target in targets) + " |"
        for op in sorted(read("operators"))
        if any(target.has_importer(op) for target in targets)
    ]
    none = [op for op in sorted(read("operators")) if not any(t.has_importer(op) for t in targets)]
    head = "| op | " + " | ".join(COLUMNS) + " |"
    return "\n\n".join(
        (
            "# Ops by release",
            f"`onnx-fix targets` lists all {len(main_line())} releases of the main line and the "
            "side releases, `onnx-fix explain OP --target T` what holds for one op.",
            "`-`: no importer. `yes`: taken. A number: taken, with so many conditions whose breach "
            "makes import or build fail. `s` and a number: so many more whose breach changes "
            "the result without a message. `p`: done by a plugin, which has to be registered.",
            "\n".join([head, "| --- |" + " --- |" * len(COLUMNS), *rows]),
            "No release shown imports: " + ", ".join(none) + ".",
        )
    )


def _cell(target: Target, op: str) -> str:
    if not target.has_importer(op):
        return "-"
    release = Release.named(target.release)
    entries = [
        release.settle(entry)
        for entry in read("restrictions")
        if entry["op"] == op and release.within(entry)
    ]
    effects = [entry["effect"] for entry in entries]
    plugin = any(e["kind"] == "needs_plugin" and "when_text" not in e for e in entries)
    silent = sum(effect in ("wrong_result", "changes_shape") for effect in effects)
    loud = sum(effect in REFUSING_EFFECTS for effect in effects) - silent
    parts = ([str(loud)] if loud else []) + ([f"s{silent}"] if silent else [])
    return " ".join(parts + ["p"] * plugin) or "yes"


# -- text ------------------------------------------------------------------------------------------


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _flat(text: str) -> str:
    return " ".join(text.split())


def _wrapped(text: str) -> str:
    return textwrap.fill(_flat(text), 100, break_long_words=False, break_on_hyphens=False)


def main(arguments: list[str] | None = None) -> int:
    """The command: 0, or 1 where ``--check`` found pages to write."""
    parser = argparse.ArgumentParser(prog="python -m onnx_fix.docs", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs"))
    parser.add_argument("--check", action="store_true", help="only say which pages are stale")
    given = parser.parse_args(arguments)
    if not given.check:
        write(given.folder)
        return 0
    found = stale(given.folder)
    for path in found:
        print(f"{given.folder / path} is not up to date: run python -m onnx_fix.docs")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
