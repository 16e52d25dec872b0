"""The pass ``raise-opset``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnx import ModelProto

from onnx_fix.contract import ModelPass, Skipped, Stage, Transformed
from onnx_fix.functions import Calls, default_opset, spelled
from onnx_fix.inlining import drop_foreign, inline
from onnx_fix.load import opset_of
from onnx_fix.model import Model
from onnx_fix.raising import raise_opset
from onnx_fix.scope import is_standard
from onnx_fix.target import Target

_FIRST_BROADCASTING = 7
"""The operator set that broadcasts as numpy does, without an attribute for it."""


@dataclass(frozen=True)
class RaiseOpset(ModelPass):
    """Write the model for a newer operator set.

    Before: opset 6: `y = Add <axis = 1, broadcast = 1> (x, b)`
    After: opset 7: `c = Unsqueeze <axes = [1, 2]> (b)  y = Add (x, c)`
    Exact: yes.
    Since: 0.1

    Done where the option asks for it (as `--opset N` does), and by default for a model before
    operator set 7 with a node that the target refuses: no release reads the attributes by which
    such models broadcast. Each node whose op has changed is translated by onnx's version converter
    on its own, but for that broadcasting and for Hardmax, Resize and Upsample, which the converter
    refuses or gives another meaning. A model with a
    node that cannot be translated stays as it is. Local functions that are called are written out.

    It runs first, so that every other pass sees the newer spelling.
    """

    stage: ClassVar[Stage] = Stage.INLINE

    opset: int | None = None
    """The operator set to write; by default 7 where a node needs it. That of the model, or an older
    one, leaves the model as it is."""

    def due(self, model: Model) -> bool:
        """Whether the model is older than what is asked for, or than what any release reads."""
        return self._wanted(model) > model.opset

    def transform(self, model: ModelProto, target: Target) -> Transformed:
        """The model at the newer operator set.

        Raises:
            ModelError: functions call each other in a circle, or cannot be inlined.
        """
        have = opset_of(model.opset_import)
        wanted = self._wanted(Model(model, None, target))
        if wanted <= have:
            return Transformed(model)
        calls = Calls.of(model)
        flat, inlined = inline(calls, calls.order, self.name) if calls.order else (model, {})
        raised = raise_opset(flat, wanted, pass_name=self.name)
        if raised.refusals:
            reasons = (
                Skipped(r.scope, r.node, r.op, f"opset {have} -> {wanted}: {r.reason}")
                for r in raised.refusals
            )
            return Transformed(model, (), tuple(reasons))
        lines = [f"{spelled(key)} inlined ({n} times)" for key, n in inlined.items()]
        lines += drop_foreign(raised.model)
        counts = ", ".join(f"{n} {op}" for op, n in sorted(raised.rewritten.items()))
        lines.append(f"opset {have} -> {wanted}: {counts or 'no node had to change'}")
        return Transformed(raised.model, tuple(lines))

    def _wanted(self, model: Model) -> int:
        if default_opset(model.proto.opset_import) is None:
            return 0
        if self.opset is not None:
            return self.opset
        if model.opset >= _FIRST_BROADCASTING:
            return 0
        nodes = ((s, n) for s in model.scopes for n in s.graph.nodes if is_standard(n))
        refused = any(s.refused(n) for s, n in nodes)
        return _FIRST_BROADCASTING if refused else 0
