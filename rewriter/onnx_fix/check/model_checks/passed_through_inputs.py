"""Inputs that are outputs at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import evidence_of_probe
from onnx_fix.verify.symbols import fed_inputs


class PassedThroughInputs(ModelCheck):
    """Graph outputs that no node makes because they are inputs."""

    code: ClassVar[Code] = Code(
        "OF834",
        "input-is-output",
        "an input of the model is also an output",
        "A binding cannot be both. The parser puts an identity layer in between, keeps the name "
        "for the output and renames the input by two leading underscores, so that options and "
        "code that go by the old name do not find it.",
        "Put an Identity with a name of its own before the output, or leave the output out.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """One warning for each such tensor."""
        inputs = {v.name for v in fed_inputs(context.proto)}
        evidence, source = evidence_of_probe(context)
        for name in dict.fromkeys(v.name for v in context.proto.graph.output):
            if name in inputs:
                yield CheckFinding(
                    code=self.code,
                    severity=Severity.WARNING,
                    why=f"'{name}' is input and output; the engine calls the input '__{name}'",
                    mend=f"use the name '__{name}' for the input, or put an Identity before the "
                    "output",
                    tensor=name,
                    evidence=evidence,
                    source=source,
                )
