"""Inputs that declare no shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import evidence_of_probe, is_rtx
from onnx_fix.verify.symbols import fed_inputs


class ShapelessInputs(ModelCheck):
    """Inputs whose rank is not declared."""

    code: ClassVar[Code] = Code(
        "OF803",
        "input-without-shape",
        "an input declares no shape, not even its rank",
        "ONNX reads a missing shape as 'any rank'. The TensorRT-RTX 1.7 parser reads it as a "
        "scalar, without a message, and the network that follows is another one. What the other "
        "releases make of it was not looked at.",
        "Declare the shape of the input, with names for the dims that vary, and export again.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """One finding for each such input."""
        for value in fed_inputs(context.proto):
            kind = value.type.WhichOneof("value")
            if kind != "tensor_type" or value.type.tensor_type.HasField("shape"):
                continue
            evidence, source = evidence_of_probe(context)
            taken = "is read as a scalar" if is_rtx(context) else "may be read as a scalar"
            yield CheckFinding(
                code=self.code,
                severity=Severity.SILENT if is_rtx(context) else Severity.UNKNOWN,
                why=f"the input '{value.name}' declares no shape and {taken}",
                mend="declare its shape, with names for the dims that vary",
                tensor=value.name,
                evidence=evidence,
                source=source,
            )
