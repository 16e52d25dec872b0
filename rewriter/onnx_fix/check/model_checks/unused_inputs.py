"""Inputs that nothing reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import evidence_of_probe, is_rtx
from onnx_fix.verify.symbols import fed_inputs


class UnusedInputs(ModelCheck):
    """Inputs of the main graph without a reader, in subgraphs or among the outputs either."""

    code: ClassVar[Code] = Code(
        "OF835",
        "unused-input",
        "no node reads an input",
        "The exporter left an argument in that the traced graph does not need. The builder logs "
        "'Unused Input'; the network keeps the input, and a profile has to cover it.",
        "Take the argument off the model before export, or remove the input from graph.input.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """One warning for each such input."""
        read = {name for _, node in context.nodes for name in node.input}
        for scope in context.model.scopes:
            if scope.kind != "function":
                read.update(t.name for t in scope.graph.outputs)
        evidence, source = evidence_of_probe(context)
        for value in fed_inputs(context.proto):
            if value.name not in read:
                yield CheckFinding(
                    code=self.code,
                    severity=Severity.WARNING,
                    why=f"nothing reads the input '{value.name}'",
                    mend="remove it from the inputs, or go on feeding it",
                    tensor=value.name,
                    message=f"Unused Input: {value.name}" if is_rtx(context) else "",
                    evidence=evidence,
                    source=source,
                )
