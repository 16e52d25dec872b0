"""Names of dynamic inputs that cannot be written on trtexec's command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import tool
from onnx_fix.check.model_checks._profile import dynamic_inputs


class BindingNames(ModelCheck):
    """Names with a comma or a quote.

    The lists of --minShapes and its like are split at every comma, then each item at its last
    colon; a pair of single quotes around a name is taken off. So a colon in a name does no harm.
    """

    code: ClassVar[Code] = Code(
        "OF810",
        "name-not-for-command-line",
        "a dynamic input has a comma or a quote in its name",
        "--minShapes, --optShapes and --maxShapes are lists split at commas, and single quotes "
        "enclose names. A name that holds one of these cannot be given a shape this way; the "
        "engine itself does not mind.",
        "Rename the input at export (input_names), or build by the API, where set_shape takes any "
        "name.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """One warning for each such input."""
        for name in dynamic_inputs(context.proto):
            held = [c for c in (",", "'") if c in name]
            if held:
                spelled = " and ".join({",": "a comma", "'": "a quote"}[c] for c in held)
                yield CheckFinding(
                    code=self.code,
                    severity=Severity.WARNING,
                    why=f"the input '{name}' has {spelled} in its name, which {tool(context)} "
                    "takes for a separator in --minShapes",
                    mend="rename the input at export, or build by the API",
                    tensor=name,
                    evidence="inferred",
                    source="the option parser of trtexec",
                )
