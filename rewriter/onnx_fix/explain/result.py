"""What an explanation of a message says, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from onnx_fix.explain.in_model import NodeInModel
from onnx_fix.explain.lines import Severity
from onnx_fix.explain.meanings import Meaning, Remedy
from onnx_fix.explain.places import NodeInLog

Kind = Literal["message", "line", "unknown"]
"""``message``: a text of the parser. ``line``: a well-known line of another origin. ``unknown``:
it looks like an error, and the data does not have it."""

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Explanation:
    """One message of a log, explained.

    ``text`` is the text as the data has it (``<*>`` is a run-time value), ``found`` the line that
    it was found in, ``line`` its number from 1 and ``count`` how often it stands there. ``op`` is
    the op that the log names with it. ``meanings`` and ``in_log`` belong to messages of the
    parser; ``why``, ``mend`` and ``source`` to other well-known lines, ``subjects`` to what these
    are about. ``nearest`` is the text of the data most like an unknown message. ``in_model`` is
    empty where no model was given.
    """

    kind: Kind
    severity: Severity
    text: str
    found: str
    line: int
    count: int
    op: str = ""
    meanings: tuple[Meaning, ...] = ()
    in_log: tuple[NodeInLog, ...] = ()
    in_model: tuple[NodeInModel, ...] = ()
    notes: tuple[str, ...] = ()
    why: str = ""
    mend: str = ""
    source: str = ""
    subjects: tuple[str, ...] = ()
    nearest: str = ""

    @property
    def ops(self) -> tuple[str, ...]:
        """Every op that has the text, as far as the log leaves it open."""
        return tuple(dict.fromkeys(op for m in self.meanings for op in m.ops))

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON-able data. Keys are only ever added within a schema version."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "text": self.text,
            "found": self.found,
            "line": self.line,
            "count": self.count,
            "op": self.op,
            "meanings": [_meaning(m) for m in self.meanings],
            "in_log": [
                {"number": n.number, "name": n.name, "op": n.op, "output": n.output}
                for n in self.in_log
            ],
            "in_model": [
                {
                    "scope": n.scope,
                    "node": n.name,
                    "op": n.op,
                    "how": n.how,
                    "why": n.why,
                    "mended_by": n.mended_by or None,
                }
                for n in self.in_model
            ],
            "notes": list(self.notes),
            "why": self.why,
            "mend": self.mend,
            "source": self.source,
            "subjects": list(self.subjects),
            "nearest": self.nearest,
        }


def _meaning(m: Meaning) -> dict[str, Any]:
    return {
        "ops": list(m.ops),
        "releases": list(m.releases),
        "code": m.code,
        "kind": m.kind,
        "effect": m.effect,
        "what": m.what,
        "why": m.why,
        "detail": m.detail,
        "mended_by": remedies_to_list(m.remedies),
        "mend": m.mend,
        "evidence": m.evidence,
        "restrictions": list(m.restrictions),
    }


def remedies_to_list(remedies: tuple[Remedy, ...]) -> list[dict[str, str]]:
    """Remedies as JSON-able data."""
    return [{"pass": r.pass_name, "only_where": r.only} for r in remedies]
