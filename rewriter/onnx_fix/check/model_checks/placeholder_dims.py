"""Dims that have a name in common which is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import evidence_of_probe, listed
from onnx_fix.dim_names import shared_placeholders
from onnx_fix.target.trtexec import behaves


class PlaceholderDims(ModelCheck):
    """Several dims of the inputs that are called ``?`` or the like."""

    code: ClassVar[Code] = Code(
        "OF818",
        "placeholder-dims",
        "several dims of the inputs are called '?', and the engine makes them one size",
        "Since 8.5 the parser gives the dims of inputs their names, and dims of one name must have "
        "one size: a profile in which they differ does not build, and at run time other shapes are "
        "refused. PaddlePaddle calls every dim that it does not know '?', Keras 'None'.",
        "The pass unname-dims takes the name away. Or name the dims at export.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """One warning for each name."""
        if not behaves(context.target.release, "one_symbol_one_size"):
            return
        for name, places in shared_placeholders(context.proto).items():
            evidence, source = evidence_of_probe(context)
            yield CheckFinding(
                code=self.code,
                severity=Severity.WARNING,
                why=f"the dims {listed(places)} are all called '{name}', so that they have one "
                "size in the engine",
                mend="`onnx-fix MODEL -o FIXED` takes the name away",
                tensor=places[0].rpartition(":")[0],
                evidence=evidence,
                source=source,
                mended_by="unname-dims",
            )
