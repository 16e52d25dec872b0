"""Graphs and functions inside one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import general_fact, holds, source
from onnx_fix.errors import ModelError
from onnx_fix.functions import Calls

_DEEPEST = 24


class Nesting(ModelCheck):
    """How deep If, Loop, Scan and calls of functions stand inside each other."""

    code: ClassVar[Code] = Code(
        "OF827",
        "nested-too-deep",
        "control flow and functions stand inside each other more than 24 deep",
        "From 11.0 on the parser counts how many If, Loop, Scan and calls of functions enclose a "
        "node, and refuses more than 24 of them.",
        "Inline the functions (`onnx-fix fix`, pass inline-functions) and flatten chains of If.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """At most one finding."""
        fact = general_fact("nesting")
        if not holds(context, fact):
            return
        if not context.proto.functions and len(context.model.scopes) <= _DEEPEST:
            return
        try:
            calls = Calls.of(context.proto)
        except ModelError:
            # Functions that call each other in a circle have no depth.
            return
        depth = calls.depth()
        if depth > _DEEPEST:
            yield CheckFinding(
                code=self.code,
                severity=Severity.ERROR,
                why=f"control flow and functions stand {depth} deep, {_DEEPEST} is allowed",
                mend=self.code.mend,
                message=str(fact["message"]),
                evidence=str(fact["evidence"]),
                source=source(context, fact),
            )
