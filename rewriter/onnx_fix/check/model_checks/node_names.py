"""Nodes that share a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import evidence_of_probe, is_rtx


class NodeNames(ModelCheck):
    """Names that several nodes of the main graph and its subgraphs have."""

    code: ClassVar[Code] = Code(
        "OF807",
        "duplicate-node-name",
        "several nodes have one name",
        "ONNX does not ask for unique names of nodes. TensorRT names its layers after them and "
        "changes the later ones, so per-layer options, profiles and logs that go by the name reach "
        "the first of them only.",
        "Give every node a name of its own before you rely on layer names.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """One warning for each name that comes more than once."""
        # Constant nodes become weights, not layers.
        found = [(path, node) for path, node in context.nodes if node.op_type != "Constant"]
        count = Counter(node.name for _, node in found)
        told = set()
        evidence, source = evidence_of_probe(context)
        for path, node in found:
            if not node.name or count[node.name] < 2 or node.name in told:
                continue
            told.add(node.name)
            message = f"A node named {node.name} already exists, the output tensors of this new "
            yield CheckFinding(
                code=self.code,
                severity=Severity.WARNING,
                why=f"{count[node.name]} nodes are called '{node.name}'",
                mend="give every node a name of its own",
                scope=path,
                node=node.name,
                op=node.op_type,
                message=message + "instance will not be queryable." if is_rtx(context) else "",
                evidence=evidence,
                source=source,
            )
