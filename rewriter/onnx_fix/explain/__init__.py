"""Say what an error message, a whole log, or an op means, and what mends it.

``explain_log`` and ``explain_op`` are the public door; both answer from the data about the releases
and print nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onnx_fix.explain.catalogue import Message
from onnx_fix.explain.lines import Severity
from onnx_fix.explain.log import Hit, Scan, nearest, scan
from onnx_fix.explain.meanings import Meaning, Remedy, meanings, no_importer
from onnx_fix.explain.ops import OpExplanation, OpRestriction, explain_op
from onnx_fix.explain.places import NodeInLog, release_in
from onnx_fix.explain.result import SCHEMA_VERSION, Explanation
from onnx_fix.target import Target, load_target
from onnx_fix.target.data import Release, main_line
from onnx_fix.target.releases import target_name

if TYPE_CHECKING:
    from onnx_fix.explain.in_model import Names, NodeInModel
    from onnx_fix.model import Model

__all__ = [
    "SCHEMA_VERSION",
    "Explanation",
    "Meaning",
    "NodeInLog",
    "OpExplanation",
    "OpRestriction",
    "Remedy",
    "Severity",
    "explain_log",
    "explain_op",
    "release_in",
]

_MOST_UNKNOWN = 50
_COMPARED = 5
_HARMLESS_EFFECTS = frozenset(
    ("warning", "performance", "limits_use", "ordering", "nondeterministic", "none")
)


def explain_log(
    text: str, model: Model | None = None, *, target: Target | None = None
) -> list[Explanation]:
    """Explain an error message or a whole log of trtexec, the parser, Polygraphy or Python.

    What is known comes in the order of the log; lines that look like errors and are not known come
    last, as ``unknown``; a text in which nothing at all is recognised is itself one unknown. An
    empty text, or one without anything like an error, gives an empty list.

    Args:
        text: The message or log. Repetitions are counted, not repeated.
        model: The model that was parsed, to name its nodes. Its target is that of the answer
            where neither ``target`` nor the log says another.
        target: The release that wrote the log, where the log does not say.
    """
    asked = target or release_in(text) or (model.target if model is not None else None)
    release = None if asked is None else Release.named(asked.release)
    found = scan(text)
    names: Names | None = None
    if model is not None:
        from onnx_fix.explain.in_model import Names

        names = Names(model)
    explained = []
    for hit in found.hits:
        if hit.message is None:
            explained.append(_line(hit))
        elif not (hit.message.says_no_importer and hit.op in found.made_plugins):
            explained.append(_message(hit, release, asked, names))
    return explained + _unknown(text, found, bool(explained), names)


def _message(
    hit: Hit, release: Release | None, asked: Target | None, names: Names | None
) -> Explanation:
    assert hit.message is not None
    note = ""
    if hit.message.says_no_importer:
        means = [no_importer(hit.op, hit.message.entries)]
    else:
        means, note = meanings(_meant(hit), hit.op, release)
    notes = [note] if note else []
    listed: tuple[NodeInModel, ...] = ()
    if names is not None:
        about = _target_for(hit, asked, names.model.target)
        nodes, more_notes = names.about(hit.text, means, hit.nodes, about)
        listed = tuple(nodes)
        notes += more_notes
    return Explanation(
        kind="message",
        severity=_severity(means),
        text=hit.text,
        found=hit.found,
        line=hit.line_number,
        count=hit.count,
        op=hit.op,
        meanings=tuple(means),
        in_log=tuple(hit.nodes),
        in_model=listed,
        notes=tuple(notes),
    )


def _meant(hit: Hit) -> list[Message]:
    """The texts that a hit may be: where the log names the op, those that the op has."""
    assert hit.message is not None
    every = [hit.message, *hit.same]
    of_op = [m for m in every if any(e.op == hit.op for e in m.entries)]
    return of_op if hit.op and of_op else every


def _severity(means: list[Meaning]) -> Severity:
    effects = {m.effect for m in means}
    return "warning" if effects and effects <= _HARMLESS_EFFECTS else "error"


def _target_for(hit: Hit, asked: Target | None, own: Target) -> Target:
    """The release to judge the model by: the one asked for if it has the text, else the newest
    that has."""
    first = asked or own
    every = [e for m in _meant(hit) for e in m.entries]
    entries = [e for e in every if hit.op in ("", e.op) or not e.op] or every
    having = frozenset[str]().union(*(e.releases for e in entries))
    if first.release in having:
        return first
    for name in (*reversed(main_line()), *sorted(having)):
        if name in having:
            return load_target(target_name(name))
    return first


def _line(hit: Hit) -> Explanation:
    assert hit.line is not None
    return Explanation(
        kind="line",
        severity=hit.line.severity,
        text=hit.text,
        found=hit.found,
        line=hit.line_number,
        count=hit.count,
        why=hit.line.meaning,
        mend=hit.line.mend,
        source=hit.line.source,
        subjects=tuple(hit.subjects),
    )


def _unknown(text: str, found: Scan, anything: bool, names: Names | None) -> list[Explanation]:
    listed = []
    for k, hit in enumerate(found.unknown[:_MOST_UNKNOWN]):
        nodes: list[NodeInModel] = []
        notes: list[str] = []
        if names is not None and hit.nodes:
            nodes, notes = names.said(hit.nodes)
        listed.append(
            Explanation(
                kind="unknown",
                severity="unknown",
                text=hit.text,
                found=hit.found,
                line=hit.line_number,
                count=hit.count,
                op=hit.op,
                in_log=tuple(hit.nodes),
                in_model=tuple(nodes),
                notes=tuple(notes),
                nearest=nearest(hit.text) if k < _COMPARED else "",
            )
        )
    left = len(found.unknown) - len(listed)
    if left > 0:
        more = f"and {left} more lines that look like errors"
        listed[-1] = replace(listed[-1], notes=(*listed[-1].notes, more))
    said = text.strip()
    if not anything and not listed and said and "\n" not in said:
        close = nearest(said)
        listed.append(Explanation("unknown", "unknown", said, said, 1, 1, nearest=close))
    return listed
