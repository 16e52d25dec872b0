"""What a text of the data means: for which ops and releases, why, and what mends it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from onnx_fix.check.codes import NODE_CODES
from onnx_fix.check.finding import Code
from onnx_fix.explain.catalogue import (
    Entry,
    Message,
    plain,
    releases_in_words,
    releases_within,
    spans_in_words,
)
from onnx_fix.registry import menders
from onnx_fix.target.data import Release, read

EFFECTS: Mapping[str, str] = {
    "parse_error": "the parser refuses the node",
    "build_error": "it parses, and the build fails",
    "parse_or_build_error": "the parser or the builder refuses the node",
    "wrong_result": "no message: it is imported and computes something else",
    "changes_shape": "the output has another shape than ONNX says",
    "changes_type": "the output has another element type than ONNX says",
    "warning": "taken with a warning",
    "performance": "taken, and slow",
    "limits_use": "taken, for some uses only",
    "ordering": "the order of the results may differ",
    "nondeterministic": "the result differs from run to run",
    "conditional": "works under a condition outside the model",
    "unknown": "what comes of it is not known",
    "none": "of no consequence",
}
"""The effects of the data in words."""

_CODES_OF_PARSER: Mapping[str, str] = {
    "INVALID_NODE": "the importer takes the node for invalid ONNX",
    "UNSUPPORTED_NODE": "the importer does not support this use of the op",
    "INVALID_VALUE": "the importer takes a value of the node for invalid",
    "UNSUPPORTED_NODE_ATTR": "the importer does not support the value of an attribute",
    "UNSUPPORTED_NODE_INPUT": "the importer does not support an input",
    "UNSUPPORTED_NODE_DATATYPE": "the importer does not support the element type",
    "UNSUPPORTED_NODE_DYNAMIC": "the importer does not support this with dynamic shapes",
    "INTERNAL_ERROR": "a layer could not be made from the node",
}
_NEVER_REFUSES = ("missing_fields_skipped", "input_name_alias_bug")
_TOO_SHORT = 12
"""Texts of fewer characters say too little to be found again in another."""
_SHOWN = (
    *("input", "inputs", "attribute", "values", "values_ok", "ranks", "dtypes", "max", "min"),
    *("max_dims", "last_dims", "plugin", "name", "feature", "features", "opset_min", "or_axis_of"),
)


@dataclass(frozen=True, slots=True)
class Remedy:
    """A pass that clears the trouble.

    ``only`` completes "only where", and is empty where it always does. ``general`` says that the
    pass clears findings of every kind, if it does.
    """

    pass_name: str
    only: str = ""
    general: bool = False


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a text says of some ops (of no op in particular where ``ops`` is empty).

    ``releases`` are intervals in words. ``code`` is that of ``onnx-fix check``, empty where no
    check finds this. ``kind`` is the kind of finding behind it, ``what`` one line and ``why`` more
    about it, ``detail`` the particulars of the op, ``mend`` what a user does where no pass helps.
    ``restrictions`` are ids in ``target/data/restrictions.json``.
    """

    ops: tuple[str, ...]
    releases: tuple[str, ...]
    what: str
    why: str = ""
    detail: str = ""
    code: str = ""
    kind: str = ""
    effect: str = ""
    remedies: tuple[Remedy, ...] = ()
    mend: str = ""
    evidence: str = ""
    restrictions: tuple[str, ...] = ()


def code_for(kind: str) -> Code | None:
    """The code that ``onnx-fix check`` has for a kind of finding."""
    return NODE_CODES.get(kind)


def remedies_for(kind: str, op: str) -> tuple[Remedy, ...]:
    """The default passes that say they clear this kind of finding on this op."""
    found = [Remedy(cls.name, c.only, c.kind == "*") for cls, c in menders(kind, op)]
    return tuple(sorted(dict.fromkeys(found), key=lambda remedy: remedy.general))


def related(entry: Entry) -> list[tuple[Mapping[str, Any], frozenset[str]]]:
    """The restrictions that a text belongs to, each with the releases that have both.

    A restriction has the text as its message or names it in its note, or the one text begins the
    other.
    """
    if entry.origin == "restriction":
        return [(entry.detail, entry.releases)]
    mine = plain(entry.text)
    if not entry.op or len(mine) < _TOO_SHORT:
        return []
    found = []
    for raw in read("restrictions"):
        if raw["op"] != entry.op:
            continue
        theirs = plain(raw.get("message", ""))
        begins = theirs and (mine.startswith(theirs) or theirs.startswith(mine))
        if begins or mine in plain(raw.get("note", "")):
            both = entry.releases & releases_within(raw)
            if both:
                found.append((raw, both))
    return found


def particulars(raw: Mapping[str, Any]) -> str:
    """The fields of a restriction that say what exactly it is about."""
    said = []
    for key in _SHOWN:
        if key in raw and raw[key] is not None:
            value = raw[key]
            if isinstance(value, list):
                value = ", ".join(str(v) for v in value)
            elif isinstance(value, dict):
                value = ", ".join(f"{k} {v}" for k, v in value.items())
            said.append(f"{key.replace('_', ' ')}: {value}")
    text = "; ".join(said)
    if "when_text" in raw:
        text += f"{'; ' if text else ''}where {raw['when_text']}"
    if raw.get("note"):
        text += f"{'; ' if text else ''}{raw['note']}"
    return text


def meanings(
    alike: Sequence[Message], op: str, release: Release | None
) -> tuple[list[Meaning], str]:
    """What a text means (texts that a log does not tell apart together), and a note where the op or
    the release asked for does not have it.

    ``op`` and ``release`` narrow the answer: they are what a log says.
    """
    entries = [entry for message in alike for entry in message.entries]
    note = ""
    if op:
        narrowed = [e for e in entries if e.op in (op, "")]
        if any(e.op == op for e in narrowed) or all(not e.op for e in entries):
            entries = narrowed
        else:
            note = f"the data has this text for other ops than {op}"
    made = [pair for entry in entries for pair in _meanings(entry)]
    if release is not None:
        within = [(m, names) for m, names in made if release.name in names]
        if within:
            made = within
        else:
            note += f"{'; ' if note else ''}{release.name} is not known to have this text"
    if any(m.ops for m, _ in made):
        made = [(m, names) for m, names in made if m.ops]
    return _merged(made), note


def _meanings(entry: Entry) -> Iterator[tuple[Meaning, frozenset[str]]]:
    """What one place of a text means, with the releases where it means that."""
    if entry.origin == "fact":
        yield _of_fact(entry), entry.releases
        return
    left = entry.releases
    for raw, names in related(entry):
        yield _of_restriction(raw), names
        left -= names
    if left:
        yield _of_check(entry), left


def _of_restriction(raw: Mapping[str, Any]) -> Meaning:
    kind = raw["kind"]
    code = code_for(kind)
    return Meaning(
        ops=(raw["op"],),
        releases=(),
        what=code.summary if code else kind.replace("_", " "),
        why=code.meaning if code else "",
        detail=particulars(raw),
        code=code.code if code else "",
        kind=kind,
        effect=raw["effect"],
        remedies=remedies_for(kind, raw["op"]),
        mend=code.mend if code else "",
        evidence=raw["evidence"],
        restrictions=(raw["id"],),
    )


def _of_check(entry: Entry) -> Meaning:
    said = _CODES_OF_PARSER.get(entry.code, "a check of the importer failed")
    via = f"; the check stands in the shared helper {entry.via}" if entry.via else ""
    return Meaning(
        ops=(entry.op,) if entry.op else (),
        releases=(),
        what=f"{said}{via}",
        effect="parse_error",
        mend="the text says what the importer asks for; nothing in onnx-fix checks it beforehand",
        evidence="source",
    )


def _of_fact(entry: Entry) -> Meaning:
    detail = entry.detail
    kind = detail["id"]
    code = code_for(kind)
    harmless = kind in _NEVER_REFUSES or detail.get("warning_text") == entry.text
    return Meaning(
        ops=(),
        releases=(),
        what=detail["fact"],
        why=code.meaning if code else "",
        detail=detail.get("note", ""),
        code=code.code if code else "",
        kind=kind,
        effect="warning" if harmless else "parse_error",
        remedies=remedies_for(kind, "*") if code else (),
        mend=code.mend if code else "",
        evidence=detail.get("evidence", "source"),
    )


def no_importer(op: str, entries: Iterable[Entry]) -> Meaning:
    """What it means that the parser has no importer for an op (empty: not known which)."""
    code = NODE_CODES["no_importer"]
    return Meaning(
        (op,) if op else (),
        spans_in_words(frozenset().union(*(e.releases for e in entries))),
        code.summary,
        code.meaning,
        support_in_words(op) if op else "",
        code.code,
        "no_importer",
        "parse_error",
        remedies_for("no_importer", op) if op else (),
        code.mend,
        "source",
    )


def support_in_words(op: str) -> str:
    """Which releases have an importer for an op, a plugin of its name, a definition in ONNX."""
    name = op.rpartition("::")[2]
    said = []
    entry = read("operators").get(name)
    if entry is not None:
        spans = [releases_in_words(s) for s in entry["supported"]]
        sides = [side for side, has in entry["side"].items() if has is True]
        lone = [s for s in sides if not spans]
        said.append(
            f"importer: {', '.join([*spans, *lone])}" if spans or lone else "no release imports it"
        )
        missing = [side for side, has in entry["side"].items() if has is False and spans]
        if missing:
            said.append(f"not {', '.join(missing)}")
        if entry["onnx"].get("has_function_body"):
            said.append("ONNX defines it by simpler ops, which the parser does not use")
        if "instead" in entry:
            said.append(entry["instead"])
    plugins = read("plugins")["stock_plugins"].get(name)
    if plugins is not None:
        spans = [releases_in_words(s) for s in plugins]
        said.append(f"stock plugin: {', '.join(spans)}")
    if not said:
        said.append("neither an op of ONNX nor a plugin that ships with TensorRT")
    return "; ".join(said)


def _merged(made: Sequence[tuple[Meaning, frozenset[str]]]) -> list[Meaning]:
    """Meanings that differ in ops or releases alone, together."""
    spans: dict[Meaning, frozenset[str]] = {}
    for m, names in made:
        spans[m] = spans.get(m, frozenset()) | names
    merged: dict[Meaning, tuple[list[str], list[str]]] = {}
    for m, names in spans.items():
        words = spans_in_words(names)
        ops, ids = merged.setdefault(replace(m, ops=(), restrictions=(), releases=words), ([], []))
        ops += m.ops
        ids += m.restrictions
    return [
        replace(m, ops=tuple(dict.fromkeys(ops)), restrictions=tuple(dict.fromkeys(ids)))
        for m, (ops, ids) in merged.items()
    ]
