"""Which nodes of a model a message is about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import onnx_graphsurgeon as gs

from onnx_fix.check.node_findings import node_findings
from onnx_fix.explain.catalogue import plain
from onnx_fix.explain.meanings import Meaning
from onnx_fix.explain.places import NodeInLog
from onnx_fix.model import Model
from onnx_fix.scope import Scope, node_label
from onnx_fix.target import Finding, Target

How = Literal["named", "refused", "doubtful", "same op"]
"""Why a node is listed: the log names it, the release surely refuses it for this, it may, or
nothing more is known than that its op has the text."""

_FEW_OPS = 8


@dataclass(frozen=True, slots=True)
class NodeInModel:
    """A node of the model that a message is about; ``mended_by`` names the pass that clears it."""

    scope: str
    name: str
    op: str
    how: How
    why: str = ""
    mended_by: str = ""


class Names:
    """The nodes of a model, and what one release says of them; judged at most once."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._functions = {(f.domain, f.name) for f in model.proto.functions}
        self._judged: dict[tuple[str, int], tuple[Finding, ...]] = {}

    def nodes(self, target: Target) -> Iterator[tuple[Scope, gs.Node]]:
        """Every node that the release looks at."""
        for scope in self.model.scopes:
            if scope.kind == "function" and not target.reads_functions:
                continue
            for node in scope.graph.nodes:
                if self.model.alive(node):
                    yield scope, node

    def named(self, said: NodeInLog) -> tuple[tuple[Scope, gs.Node] | None, str]:
        """The node that a log names, and a note where the model has another in its place."""
        for scope in self.model.scopes:
            for node in scope.graph.nodes:
                if said.op and node.op != said.op:
                    continue
                by_name = said.name and node.name == said.name
                if by_name or (said.output and said.output in (t.name for t in node.outputs)):
                    return (scope, node), ""
        if said.number is None:
            return None, ""
        protos = self.model.proto.graph.node
        where = f"node {said.number}"
        if said.number >= len(protos):
            return None, f"the log names {where}, and the model has only {len(protos)}"
        proto = protos[said.number]
        if said.name or said.output or (said.op and proto.op_type != said.op):
            which = said.name or said.output or said.op
            return None, (
                f"the log names {where} ({which}), which this model has not ({where} is "
                f"{proto.op_type} '{proto.name or next(iter(proto.output), '')}'): it was "
                "written for another model"
            )
        outputs = set(proto.output)
        for node in self.model.main.graph.nodes:
            if outputs & {t.name for t in node.outputs if t.name}:
                return (self.model.main, node), ""
        return None, ""

    def said(self, said: Iterable[NodeInLog]) -> tuple[list[NodeInModel], list[str]]:
        """The nodes that a log names, with notes on those that the model has not."""
        pairs = [self.named(one) for one in said]
        nodes = [
            NodeInModel(pair[0].path, node_label(pair[1]), pair[1].op, "named")
            for pair, _ in pairs
            if pair is not None
        ]
        return list(dict.fromkeys(nodes)), [note for _, note in pairs if note]

    def about(
        self, text: str, found: Sequence[Meaning], said: Iterable[NodeInLog], target: Target
    ) -> tuple[list[NodeInModel], list[str]]:
        """The nodes a message is about, with notes on what did not fit."""
        kinds = {(op, m.kind) for m in found for op in m.ops}
        everywhere = {m.kind for m in found if not m.ops and m.kind}
        listed: list[NodeInModel] = []
        notes: dict[str, None] = {}
        for one in said:
            node, note = self.named(one)
            if note:
                notes[note] = None
            if node is not None:
                why = self._matching(*node, text, kinds, everywhere, target)
                listed.append(self._listed(*node, "named", why, target))
        if listed or notes:
            return list(dict.fromkeys(listed)), list(notes)
        ops = {op for m in found for op in m.ops}
        same: list[tuple[Scope, gs.Node]] = []
        for scope, node in self.nodes(target):
            if ops and node.op not in ops:
                continue
            if target.reads_functions and (node.domain or "", node.op) in self._functions:
                continue
            same.append((scope, node))
            why = self._matching(scope, node, text, kinds, everywhere, target)
            if why is not None and (why.refuses or why.in_doubt):
                how: How = "refused" if why.refuses else "doubtful"
                listed.append(self._listed(scope, node, how, why, target))
        if not listed and ops and len(ops) <= _FEW_OPS:
            listed = [self._listed(s, n, "same op", None, target) for s, n in same]
        if not listed:
            notes["no node of this model is known to run into it"] = None
        return sorted(listed, key=lambda n: n.how != "refused"), list(notes)

    def _matching(
        self,
        scope: Scope,
        node: gs.Node,
        text: str,
        kinds: set[tuple[str, str]],
        everywhere: set[str],
        target: Target,
    ) -> Finding | None:
        """The finding about a node that the message is the text of."""
        key = (target.name, id(node))
        if key not in self._judged:
            self._judged[key] = target.judge(scope.facts(node)).findings
        mine = [
            f
            for f in self._judged[key]
            if (node.op, f.kind) in kinds or f.kind in everywhere or _missing(f, everywhere, kinds)
        ]
        telling = [f for f in mine if f.message and _alike(f.message, text)]
        return next(iter(telling or mine), None)

    def _listed(
        self, scope: Scope, node: gs.Node, how: How, why: Finding | None, target: Target
    ) -> NodeInModel:
        if why is None:
            return NodeInModel(scope.path, node_label(node), node.op, how)
        by = ""
        if target is self.model.target:
            by = self._mended_by.get((why.scope, why.node, why.why), "")
        return NodeInModel(scope.path, node_label(node), node.op, how, why.why, by)

    @cached_property
    def _mended_by(self) -> dict[tuple[str, str, str], str]:
        """The pass that clears a finding, by place and reason; found for all at once."""
        return {
            (f.scope, f.node, f.why): f.mended_by
            for f in node_findings(self.model)
            if f.mended_by is not None
        }


def _missing(finding: Finding, everywhere: set[str], kinds: set[tuple[str, str]]) -> bool:
    """Nobody knows an op without importer either, unless a plugin is registered."""
    asked = "no_importer" in everywhere or any(kind == "no_importer" for _, kind in kinds)
    return asked and finding.kind in ("no_importer", "unknown_plugin", "needs_plugin")


def _alike(one: str, other: str) -> bool:
    first, second = plain(one), plain(other)
    return first.startswith(second) or second.startswith(first)
