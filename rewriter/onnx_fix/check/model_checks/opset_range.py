"""Opsets outside the range that NVIDIA documents for a release."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._definitions import differs
from onnx_fix.check.model_checks._facts import general_fact, listed, source
from onnx_fix.scope import STANDARD_DOMAINS
from onnx_fix.target.data import read

BELOW_RANGE = Code(
    "OF814",
    "opset-below-range",
    "the model's opset is older than those the release is documented for",
    "No release refuses it. Below opset 7 the parser warns, and broadcasting by attributes is not "
    "honoured; from 10.0 on the tables begin at 9. Ops that changed their meaning since are read "
    "by the rules that the importer knows.",
    "Export with a higher opset_version, or convert by onnx.version_converter.",
)


class OpsetRange(ModelCheck):
    """The opset against the range of the release, and the ops for which it matters."""

    code: ClassVar[Code] = Code(
        "OF813",
        "opset-above-range",
        "nodes are written in a way that is newer than what the release is documented for",
        "No release refuses a model for its opset or IR version: a newer node is read by the rules "
        "that the importer knows, and inputs or attributes that came later may be dropped without "
        "a message. Told of where a node has an input, attribute or default that the last opset of "
        "the documented range does not have; what is known to go wrong is a finding of its own.",
        "Export with an opset_version within the range, or compare the engine's outputs with "
        "those of onnxruntime.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """At most one warning."""
        lowest, highest = context.target.opset_range
        opset = context.model.opset
        release = read("releases")["releases"][context.target.release]
        doc = str(release.get("opset_source", release["source"]))
        if highest is not None and opset > highest:
            newer = self._newer(context, highest)
            if newer:
                yield CheckFinding(
                    code=self.code,
                    severity=Severity.WARNING,
                    why=f"the model is of opset {opset}, the release is documented up to "
                    f"{highest}; ops used in a way that is newer: {listed(newer, 8)}",
                    mend=f"export with opset_version={highest} or lower, or compare the outputs",
                    evidence="doc",
                    source=doc,
                )
        if lowest is not None and opset < lowest:
            fact = general_fact("opset_not_enforced")
            warns = opset < 7
            yield CheckFinding(
                code=BELOW_RANGE,
                severity=Severity.WARNING,
                why=f"the model is of opset {opset}, the release is documented from {lowest} on",
                mend=f"export with opset_version={max(lowest, 9)} or higher",
                message=str(fact["warning_text"]) if warns else "",
                evidence=str(fact["evidence"]) if warns else "doc",
                source=source(context, fact) if warns else doc,
            )

    def _newer(self, context: CheckContext, highest: int) -> list[str]:
        """The ops of the graph, inner ones included, with a node that means another thing there."""
        newer = set()
        for _, node in context.nodes:
            op = node.op_type
            standard = node.domain in STANDARD_DOMAINS and context.target.has_importer(op)
            if standard and op not in newer and differs(node, context.model.opset, highest):
                newer.add(op)
        return sorted(newer)
