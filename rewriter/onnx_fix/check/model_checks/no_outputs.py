"""Models without an output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import evidence_of_probe


class NoOutputs(ModelCheck):
    """A graph that gives nothing."""

    code: ClassVar[Code] = Code(
        "OF836",
        "no-outputs",
        "the model has no output",
        "The model parses, and the builder refuses a network without outputs.",
        "List the tensors that the engine is to give in graph.output.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """At most one finding."""
        if not context.proto.graph.output:
            evidence, source = evidence_of_probe(context)
            yield CheckFinding(
                code=self.code,
                severity=Severity.ERROR,
                why="the model lists no output, and the builder refuses such a network",
                mend=self.code.mend,
                message="Network must have at least one output",
                evidence=evidence,
                source=source,
            )
