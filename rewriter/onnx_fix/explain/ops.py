"""What the data knows of one op: where it is imported, and what is wrong with it where."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnx_fix.explain.catalogue import releases_in_words
from onnx_fix.explain.meanings import Remedy, code_for, particulars, remedies_for
from onnx_fix.target import Target
from onnx_fix.target.data import Release, read
from onnx_fix.target.dispatch import importers, stock_plugins
from onnx_fix.target.restrictions import restrictions_of, source_of


@dataclass(frozen=True, slots=True)
class OpRestriction:
    """A use of the op that a release refuses, gets wrong, or makes slow."""

    id: str
    kind: str
    code: str
    effect: str
    releases: str
    message: str
    what: str
    detail: str
    evidence: str
    source: str
    certain: bool
    remedies: tuple[Remedy, ...]
    mend: str


@dataclass(frozen=True, slots=True)
class OpExplanation:
    """All that is known of an op.

    ``known`` is False for a name that is neither an op nor a plugin that ships with TensorRT;
    ``near`` then holds the names most like it. ``imported`` says whether ``target`` has an
    importer, None without a target. ``supported`` and ``plugin`` are intervals in words. ``types``
    are the element types of NVIDIA's tables, by interval. ``definition`` says that ONNX defines
    the op by simpler ones (``plain``, or ``context_dependent``), else it is empty.
    """

    op: str
    target: str
    known: bool
    near: tuple[str, ...] = ()
    imported: bool | None = None
    supported: tuple[str, ...] = ()
    side: tuple[tuple[str, str], ...] = ()
    plugin: tuple[str, ...] = ()
    imported_by_plugin: tuple[str, ...] = ()
    opsets: tuple[int, ...] = ()
    definition: str = ""
    note: str = ""
    types: tuple[tuple[str, tuple[str, ...]], ...] = ()
    not_read: tuple[tuple[str, tuple[str, ...]], ...] = ()
    restrictions: tuple[OpRestriction, ...] = ()
    remedies: tuple[Remedy, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON-able data. Keys are only ever added."""
        from onnx_fix.explain.result import SCHEMA_VERSION, remedies_to_list

        return {
            "schema_version": SCHEMA_VERSION,
            "op": self.op,
            "target": self.target or None,
            "known": self.known,
            "near": list(self.near),
            "imported": self.imported,
            "supported": list(self.supported),
            "side_releases": dict(self.side),
            "stock_plugin": list(self.plugin),
            "imported_by_plugin": list(self.imported_by_plugin),
            "opsets": list(self.opsets),
            "definition": self.definition or None,
            "note": self.note,
            "types": [{"releases": r, "types": list(t)} for r, t in self.types],
            "attributes_not_read": [{"releases": r, "names": list(n)} for r, n in self.not_read],
            "mended_by": remedies_to_list(self.remedies),
            "restrictions": [
                {
                    "id": r.id,
                    "kind": r.kind,
                    "code": r.code,
                    "effect": r.effect,
                    "releases": r.releases,
                    "message": r.message,
                    "what": r.what,
                    "detail": r.detail,
                    "evidence": r.evidence,
                    "source": r.source,
                    "certain": r.certain,
                    "mended_by": remedies_to_list(r.remedies),
                    "mend": r.mend,
                }
                for r in self.restrictions
            ],
        }


def known_names() -> frozenset[str]:
    """Every op and every stock plugin that the data knows."""
    facts = read("facts")
    return frozenset(
        [
            *read("operators"),
            *facts["trt_ops"],
            *facts["contrib_ops"]["rtx_1_7"],
            *facts["contrib_ops"]["rtx_1_7_refused"],
            *facts["contrib_ops"]["taken_as_builtin_of_same_name"],
            *read("plugins")["stock_plugins"],
        ]
    )


def explain_op(op: str, target: Target | None = None) -> OpExplanation:
    """What the data knows of an op: at one release, or over all of them where none is given.

    ``domain::Op`` means Op: TensorRT does not look at domains. Case is forgiven. A name that is not
    known gives an answer with ``known`` False; nothing is raised.
    """
    name = op.strip().rpartition("::")[2]
    names = known_names()
    lowered = {n.lower(): n for n in sorted(names)}
    if name not in names and name:
        name = lowered.get(name.lower(), name)
    release = None if target is None else Release.named(target.release)
    where = "" if target is None else target.name
    if name not in names:
        close = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.6)
        return OpExplanation(name, where, False, tuple(lowered[c] for c in close))
    facts: Mapping[str, Any] = read("operators").get(name, {})
    onnx_says = facts.get("onnx", {})
    imported = None if release is None else name in importers(release)
    return OpExplanation(
        op=name,
        target=where,
        known=True,
        imported=imported,
        supported=_supported(name, facts),
        side=tuple((s, _side(has)) for s, has in facts.get("side", {}).items()),
        plugin=_plugin(name, release),
        imported_by_plugin=tuple(
            f"{e['plugin']} ({releases_in_words(e)})" + (f": {e['note']}" if "note" in e else "")
            for e in read("plugins")["ops_imported_through_plugins"]
            if e["op"] == name and (release is None or release.within(e))
        ),
        opsets=tuple(onnx_says.get("opsets", ())),
        definition=str(onnx_says.get("has_function_body") or ""),
        note=str(onnx_says.get("note") or ""),
        types=_spans(facts.get("types", ()), "t", release),
        not_read=_spans(facts.get("attributes_not_read", ()), "attrs", release),
        restrictions=_restrictions(name, release),
        remedies=remedies_for("no_importer", name) if imported is not True else (),
    )


def _supported(name: str, facts: Mapping[str, Any]) -> tuple[str, ...]:
    trt = read("facts")
    spans = facts.get("supported") or trt["trt_ops"].get(name, ())
    found = [releases_in_words(span) for span in spans]
    contrib = trt["contrib_ops"]
    if name in contrib["rtx_1_7"]:
        found.append("rtx-1.7")
    return tuple(found)


def _side(has: object) -> str:
    if isinstance(has, bool):
        return "imported" if has else "not imported"
    return "imported, and the plugin it needs does not ship"


def _plugin(name: str, release: Release | None) -> tuple[str, ...]:
    plugins = read("plugins")
    spans = plugins["stock_plugins"].get(name, ())
    if release is None:
        return tuple(
            f"{releases_in_words(span)} (version {', '.join(span['versions'])})" for span in spans
        )
    versions = stock_plugins(release).get(name)
    if versions is not None:
        return (f"version {', '.join(versions)}",)
    if not spans:
        return ()
    others = ", ".join(releases_in_words(span) for span in spans)
    instead = plugins["instead"].get(name)
    return (f"none; releases with one: {others}" + (f"; {instead}" if instead else ""),)


def _spans(
    entries: Any, key: str, release: Release | None
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(
        (releases_in_words(entry), tuple(entry[key]))
        for entry in entries
        if release is None or release.within(entry)
    )


def _restrictions(name: str, release: Release | None) -> tuple[OpRestriction, ...]:
    if release is None:
        entries: list[Mapping[str, Any]] = [e for e in read("restrictions") if e["op"] == name]
        sources = [str(e["evidence"]) for e in entries]
    else:
        chosen = restrictions_of(release, stock_plugins(release)).get(name, ())
        entries = [r.entry for r in chosen]
        sources = [source_of(release, e) for e in entries]
    made = []
    for entry, source in zip(entries, sources, strict=True):
        code = code_for(entry["kind"])
        made.append(
            OpRestriction(
                id=entry["id"],
                kind=entry["kind"],
                code=code.code if code else "",
                effect=entry["effect"],
                releases=releases_in_words(entry),
                message=entry.get("message", ""),
                what=code.summary if code else entry["kind"].replace("_", " "),
                detail=particulars(entry),
                evidence=entry["evidence"],
                source=source,
                certain=entry.get("certain", True),
                remedies=remedies_for(entry["kind"], name),
                mend=code.mend if code else "",
            )
        )
    return tuple(made)
