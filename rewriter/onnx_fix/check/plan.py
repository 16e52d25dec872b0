"""What the planner's passes would leave of the findings that no single pass clears."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from onnx_fix.check.finding import CheckFinding, Severity
from onnx_fix.check.node_findings import node_findings
from onnx_fix.contract import PassResult
from onnx_fix.engine import Engine, Step
from onnx_fix.errors import InternalError, ModelError
from onnx_fix.model import Model
from onnx_fix.pipeline import WRITING
from onnx_fix.registry import default_order
from onnx_fix.scope import node_label
from onnx_fix.sign import came_from

MOST_NODES = 5000
"""Models of more nodes are not planned for a check, which is to stay fast: a second or two."""

Place = tuple[str, str]
"""The path of a scope, and what a node in it is called."""


def foretell(findings: Sequence[CheckFinding], model: Model) -> list[CheckFinding]:
    """The findings, with the pass named for those that the planner's passes clear together.

    A model that is written for an older operator set changes all over, which no look at a single
    node tells. So the planner's passes run over a copy, and what is found there is compared. A
    finding counts as cleared where its node has none any more, and no new node that came of it.
    """
    open_ = [f for f in findings if _is_open(f)]
    nodes = sum(len(scope.graph.nodes) for scope in model.scopes)
    if not open_ or nodes > MOST_NODES:
        return list(findings)
    copy = Model(model.proto, model.base_dir, model.target)
    try:
        results = Engine(copy).run([Step(cls()) for cls in default_order()])
    except (InternalError, ModelError):
        # Whoever runs the fix is told.
        return list(findings)
    by = next((r.pass_name for r in results if r.pass_name in WRITING and r.changes), None)
    if by is None:
        return list(findings)
    left = _left(model, copy, results)
    if left is None:
        return list(findings)
    return [
        replace(f, mended_by=by, mend=f"`onnx-fix fix` clears it, by the pass {by} first")
        if _is_open(f) and (f.scope, f.node) not in left
        else f
        for f in findings
    ]


def _is_open(finding: CheckFinding) -> bool:
    """Whether a finding about a node stands in the way, and no pass is named for it."""
    return _stands(finding) and bool(finding.node) and finding.mended_by is None


def _left(before: Model, after: Model, results: Iterable[PassResult]) -> set[Place] | None:
    """The nodes of a model of which something is left that stands in the way; None where that
    cannot be told, since a new node does not say which of them it came of."""
    known = {(s.path, node_label(n)) for s in before.scopes for n in s.graph.nodes}
    parents = {
        (change.scope, new): [(change.scope, old) for old in change.old]
        for result in results
        for change in result.changes
        for new in change.new
    }
    signed: dict[Place, Place] = {}
    for scope in after.scopes:
        for node in scope.graph.nodes:
            origin = after.origin(node)
            source = came_from(origin) if origin is not None else None
            if source is not None:
                label = source.removeprefix(f"{scope.path}:") if scope.path else source
                signed[(scope.path, node_label(node))] = (scope.path, label)
    left: set[Place] = set()
    todo = [(f.scope, f.node) for f in node_findings(after) if _stands(f)]
    seen = set(todo)
    while todo:
        place = todo.pop()
        if place in known:
            left.add(place)
            continue
        above = parents.get(place) or ([signed[place]] if place in signed else [])
        if not above:
            return None
        todo += [p for p in above if p not in seen]
        seen.update(above)
    return left


def _stands(finding: CheckFinding) -> bool:
    return finding.blocks or finding.severity is Severity.UNKNOWN
