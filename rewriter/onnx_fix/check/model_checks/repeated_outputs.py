"""Outputs of the model that are listed twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import evidence_of_probe, is_rtx


class RepeatedOutputs(ModelCheck):
    """A tensor that stands twice among the outputs."""

    code: ClassVar[Code] = Code(
        "OF809",
        "repeated-output",
        "a tensor stands twice among the outputs",
        "An engine has one binding for a name. The second mention is logged as an error and "
        "dropped, so the engine has fewer outputs than the model, and those after it move up.",
        "Put an Identity with a name of its own behind the tensor for the second output.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """One warning for each such tensor."""
        evidence, source = evidence_of_probe(context)
        for name, times in Counter(v.name for v in context.proto.graph.output).items():
            if times > 1:
                message = f"Failed attempt to set a tensor {name} as network-level output as it "
                yield CheckFinding(
                    code=self.code,
                    severity=Severity.WARNING,
                    why=f"'{name}' is listed as an output {times} times; the engine has it once",
                    mend="put an Identity with another output name behind it",
                    tensor=name,
                    message=message + "was already set as network-level output."
                    if is_rtx(context)
                    else "",
                    evidence=evidence,
                    source=source,
                )
