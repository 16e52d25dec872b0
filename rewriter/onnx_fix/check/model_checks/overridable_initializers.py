"""Initializers that a caller may override."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import evidence_of_probe, listed


class OverridableInitializers(ModelCheck):
    """Inputs with a default value, in models of IR version 4 or later."""

    code: ClassVar[Code] = Code(
        "OF833",
        "overridable-initializer",
        "inputs with a default value are constants of the engine",
        "Since IR version 4 an initializer that is also listed as an input is a default that a "
        "caller may override. TensorRT takes the default as a constant: the engine has no such "
        "input.",
        "Remove the initializer if the input is meant to be fed, or take it off the inputs "
        "(export with keep_initializers_as_inputs=False) if not.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """At most one warning."""
        if context.proto.ir_version < 4:
            return
        stored = {t.name for t in context.proto.graph.initializer}
        names = [v.name for v in context.proto.graph.input if v.name in stored]
        if names:
            evidence, source = evidence_of_probe(context)
            yield CheckFinding(
                code=self.code,
                severity=Severity.WARNING,
                why=f"{len(names)} inputs have a default value, which the engine fixes: "
                f"{listed(names)}",
                mend="remove the initializers that are to be fed, or take them off the inputs",
                tensor=names[0],
                evidence=evidence,
                source=source,
            )
