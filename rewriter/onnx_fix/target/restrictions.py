"""The restrictions of one release, chosen once and asked of many nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from onnx_fix.target.conditions import holds
from onnx_fix.target.data import Release, read
from onnx_fix.target.facts import NodeFacts
from onnx_fix.target.kinds import EVALUATORS, Entry, Evaluator, Hit, Hits, Names
from onnx_fix.target.verdict import REFUSING_EFFECTS, Finding

_WORDS_OF_EVIDENCE: Mapping[str, str] = {
    "header": "NvInfer.h",
    "doc": "NVIDIA's operator tables and documentation",
    "changelog": "NVIDIA's release notes",
    "probe": "a live TensorRT-RTX 1.7 parser",
    "report": "public reports of users",
    "inferred": "inferred from neighbouring releases",
}


@dataclass(frozen=True, slots=True)
class Restriction:
    """One entry of ``data/restrictions.json``, settled for a release."""

    entry: Entry
    evaluate: Evaluator
    source: str

    def hits(self, node: NodeFacts, names: Names) -> Hits:
        """How a node goes against this restriction; empty where it keeps to it."""
        entry = self.entry
        if node.opset < entry.get("opset_min", 0):
            return ()
        applies = holds(entry["when"], node, names) if "when" in entry else True
        if applies is False:
            return ()
        hits = self.evaluate(entry, node, names)
        sure = applies and entry.get("certain", True)
        return hits if sure else tuple(replace(hit, certain=False) for hit in hits)

    def refuses(self, hits: Hits) -> bool:
        """Whether one of these hits makes a node unfit for certain."""
        return self.entry["effect"] in REFUSING_EFFECTS and any(hit.certain for hit in hits)

    def finding(self, node: NodeFacts, hit: Hit, foldable: bool) -> Finding:
        """A hit as a finding about the node."""
        entry = self.entry
        why = hit.why
        if "when_text" in entry:
            why += f", where {entry['when_text']}"
        if entry.get("note"):
            why += f"; {entry['note']}"
        if foldable:
            why += "; folding the constants would mend it"
        return Finding(
            op=node.op,
            node=node.name,
            scope=node.scope,
            kind=entry["kind"],
            effect=entry["effect"],
            message=entry.get("message", ""),
            why=why,
            evidence=entry["evidence"],
            source=self.source,
            tensor=hit.tensor,
            certain=hit.certain,
            foldable=foldable,
        )


def findings_of(
    restrictions: tuple[Restriction, ...], node: NodeFacts, names: Names
) -> list[Finding]:
    """What the restrictions of an op say of a node.

    A finding is foldable when the node with its foldable inputs folded no longer runs into the
    restriction, nor into another that refuses it.
    """
    hit = [(restriction, restriction.hits(node, names)) for restriction in restrictions]
    if not any(hits for _, hits in hit):
        return []
    mended: set[str] = set()
    if any(tensor.constness == "foldable" for tensor in node.inputs):
        folded = _folded(node)
        for restriction, hits in hit:
            left = restriction.hits(folded, names)
            if hits and not left:
                mended.add(restriction.entry["id"])
            elif not hits and restriction.refuses(left):
                mended.clear()
                break
    return [
        restriction.finding(node, one, restriction.entry["id"] in mended)
        for restriction, hits in hit
        for one in hits
    ]


def _folded(node: NodeFacts) -> NodeFacts:
    """The node as it would be with its foldable inputs folded."""
    inputs = tuple(
        replace(tensor, constness="initializer") if tensor.constness == "foldable" else tensor
        for tensor in node.inputs
    )
    return replace(node, inputs=inputs)


def restrictions_of(
    release: Release, stock_plugins: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[Restriction, ...]]:
    """The restrictions that hold at a release, by op; those without any effect are left out.

    ``stock_plugins`` maps the names of the plugins that ship with the release to their versions.
    An importer that needs another plugin can never work, so its entry becomes a parse error.
    """
    chosen: dict[str, list[Restriction]] = {}
    for entry in _settled(release):
        if entry["effect"] == "none":
            continue
        if entry["kind"] == "needs_plugin":
            entry = _with_plugin(entry, release, stock_plugins)
        restriction = Restriction(entry, EVALUATORS[entry["kind"]], source_of(release, entry))
        chosen.setdefault(entry["op"], []).append(restriction)
    return {op: tuple(listed) for op, listed in chosen.items()}


def _settled(release: Release) -> Iterator[Mapping[str, Any]]:
    for entry in read("restrictions"):
        if release.within(entry):
            yield release.settle(entry)


def _with_plugin(
    entry: Mapping[str, Any], release: Release, stock: Mapping[str, tuple[str, ...]]
) -> Mapping[str, Any]:
    if not entry.get("stock"):
        return entry
    versions = stock.get(entry["plugin"], ())
    if entry.get("plugin_version", "1") in versions:
        return entry
    note = "; ".join(filter(None, (entry.get("note"), f"{release.name} ships no such plugin")))
    return {**entry, "effect": "parse_error", "note": note}


def source_of(release: Release, entry: Mapping[str, Any]) -> str:
    """Where a fact was read, in words."""
    evidence = entry["evidence"]
    if evidence != "source":
        return _WORDS_OF_EVIDENCE.get(evidence, evidence)
    releases = read("releases")["releases"]
    confirmed = entry.get("last_checked", "10.10")
    if confirmed in releases and "base" not in releases[confirmed] and not release.side:
        checked = Release.named(confirmed)
        if checked.index < release.index:
            return f"{releases[confirmed]['source']}, last confirmed at {confirmed}"
    if release.side and release.name.startswith("rtx-"):
        return f"{releases['10.10']['source']}, taken over from the main line"
    return str(releases[release.name]["source"])
