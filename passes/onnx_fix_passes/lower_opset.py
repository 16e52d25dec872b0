"""The pass ``lower-opset``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnx import ModelProto

from onnx_fix.contract import Exactness, ModelPass, Skipped, Stage, Transformed
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

    The planner runs it where `--opset` asks for it. Without the option `opset` (in a pipeline file)
    the model is lowered where the release would misread it: to the
    highest operator set that the release documents and reads rightly. A model with no node that is
    refused for its operator set stays as it is, and so does one in which a node cannot be written
    for the older set: every such node is named. Local functions have to be inlined before.
    """

    stage: ClassVar[Stage] = Stage.LOWER
    default: ClassVar[bool] = False

    opset: int | None = None
    """The operator set to write; by default what the target reads rightly."""

    def transform(self, model: ModelProto, target: Target) -> Transformed:
        """The model at the lower operator set."""
        have = opset_of(model.opset_import)
        wanted = self.opset if self.opset is not None else readable(model, target)
        if wanted is None or wanted >= have:
            return Transformed(model)
        if model.functions:
            reason = "the model has local functions; inline them before (inline-functions, always)"
            return Transformed(model, (), (Skipped("", model.graph.name, "", reason),))
        lowered = lower(model, max(wanted, LOWEST))
        if lowered.refusals:
            return Transformed(model, (), skips(lowered))
        counts = ", ".join(f"{n} {op}" for op, n in sorted(lowered.rewritten.items()))
        line = f"opset {have} -> {max(wanted, LOWEST)}: {counts or 'no node had to change'}"
        exactness = Exactness.ROUNDING if lowered.rounds else Exactness.EXACT
        return Transformed(lowered.model, (line,), (), exactness)


def skips(lowered: Lowered) -> tuple[Skipped, ...]:
    """The nodes in the way, as a pass reports them."""
    return tuple(
        Skipped(r.scope, r.node, r.op, f"opset {r.opset} -> {r.opset - 1}: {r.reason}")
        for r in lowered.refusals
    )


def readable(model: ModelProto, target: Target) -> int | None:
    """The operator set that a target reads rightly, or None where the model may stay as it is."""
    have = opset_of(model.opset_import)
    newest = target.opset_range[1]
    view = Model(model, None, target)
    misread: list[int] = []
    beyond = False
    for scope in view.scopes:
        for node in scope.graph.nodes:
            if not is_standard(node):
                continue
            version = since(node.op, have) or 0
            verdict = scope.judge(node)
            if verdict.status == "supported":
                continue
            beyond = beyond or (newest is not None and version > newest)
            if any(f.kind in MISREAD and (f.refuses or f.in_doubt) for f in verdict.findings):
                misread.append(version)
    if newest is not None and have > newest and (beyond or misread):
        return min([newest, *(v - 1 for v in misread)])
    return min((v - 1 for v in misread), default=None)
