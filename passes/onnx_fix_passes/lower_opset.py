"""The pass ``lower-opset``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnx import ModelProto

from onnx_fix.contract import Exactness, ModelPass, Skipped, Stage, Transformed
from onnx_fix.functions import Calls, spelled
from onnx_fix.inlining import drop_foreign, inline
from onnx_fix.load import opset_of
from onnx_fix.lower import Lowered, lower
from onnx_fix.lower.node import since
from onnx_fix.lower.table import LOWEST
from onnx_fix.model import Model
from onnx_fix.scope import is_standard
from onnx_fix.target import MISREAD, Target


@dataclass(frozen=True)
class LowerOpset(ModelPass):
    """Write the model for an older operator set.

    Before: opset 13: `y = Squeeze (x, axes)`
    After: opset 11: `y = Squeeze <axes = [0]> (x)`
    Exact: rounding only where an op that did not exist is written by its definition.
    Since: 0.1

    Without the option `opset` the model is written for the highest operator set that the release
    reads rightly, and only where that is due:

    1. The model is newer than what the release documents, and has a node that is newer than that
       and refused, or read by the rules of an older operator set: the newest documented set, or
       the set before the node's version if that is older.
    2. A model within the documented range has a node that is read by older rules, and no other
       pass mends it as it stands: the set before the node's version.

    A model in which a node cannot be written for the older set stays as it is, and every such node
    is named. Local functions that are called are written out with it; others are left out where
    they would not be valid any more.

    It runs behind the passes that write what older operator sets lack at all (Einsum, GridSample)
    and before those that replace single nodes: many of their nodes are refused for nothing but
    their operator set, and the others have simpler forms in the older spelling, such as reductions
    whose axes are attributes.
    """

    stage: ClassVar[Stage] = Stage.LOWER

    opset: int | None = None
    """The operator set to write; by default what the target reads rightly. That of the model, or a
    newer one, leaves the model as it is."""

    def due(self, model: Model) -> bool:
        """Whether the model is newer than what is asked for, or than what the target reads."""
        return self._wanted(model) is not None

    def transform(self, model: ModelProto, target: Target) -> Transformed:
        """The model at the lower operator set."""
        wanted = self._wanted(Model(model, None, target))
        return Transformed(model) if wanted is None else self._lowered(model, wanted)

    def made_of(self, model: Model) -> Transformed | None:
        """The model at the lower operator set, judged once; None where it is to stay."""
        wanted = self._wanted(model)
        return None if wanted is None else self._lowered(model.skeleton(), wanted)

    def _wanted(self, model: Model) -> int | None:
        """The operator set to write, None where the model has none above it."""
        wanted = self.opset if self.opset is not None else readable(model)
        return wanted if wanted is not None and wanted < model.opset else None

    def _lowered(self, model: ModelProto, wanted: int) -> Transformed:
        have = opset_of(model.opset_import)
        calls = Calls.of(model)
        flat, inlined = inline(calls, calls.order, self.name) if calls.order else (model, {})
        lowered = lower(flat, max(wanted, LOWEST))
        if lowered.refusals:
            return Transformed(model, (), skips(lowered))
        lines = [f"{spelled(key)} inlined ({n} times)" for key, n in inlined.items()]
        lines += drop_foreign(lowered.model)
        counts = ", ".join(f"{n} {op}" for op, n in sorted(lowered.rewritten.items()))
        lines.append(f"opset {have} -> {max(wanted, LOWEST)}: {counts or 'no node had to change'}")
        exactness = Exactness.ROUNDING if lowered.rounds else Exactness.EXACT
        return Transformed(lowered.model, tuple(lines), (), exactness)


def skips(lowered: Lowered) -> tuple[Skipped, ...]:
    """The nodes in the way, as a pass reports them."""
    return tuple(
        Skipped(r.scope, r.node, r.op, f"opset {r.opset} -> {r.opset - 1}: {r.reason}")
        for r in lowered.refusals
    )


def readable(view: Model) -> int | None:
    """The operator set that the target reads rightly, or None where the model may stay as it is."""
    # Here, since passes are loaded to be listed, too.
    from onnx_fix.check.mending import Mending

    newest = view.target.opset_range[1]
    beyond = newest is not None and view.opset > newest
    misread: list[int] = []
    due = False
    for scope in view.scopes:
        found = [
            (node, finding)
            for node in scope.graph.nodes
            if is_standard(node)
            for finding in scope.judge(node).findings
            if finding.refuses or finding.in_doubt
        ]
        mending = Mending(view)
        if not beyond:
            mending.prepare(scope, found)
        for node, finding in found:
            version = since(node.op, scope.opset) or 0
            due = due or (newest is not None and version > newest)
            if finding.kind in MISREAD and (beyond or mending.of(scope, node, finding).by is None):
                misread.append(version)
    if newest is not None and beyond and (due or misread):
        return min([newest, *(v - 1 for v in misread)])
    return min((v - 1 for v in misread), default=None)
