"""Tensors of subgraphs that take the name of a tensor outside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from onnx import GraphProto

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import is_rtx
from onnx_fix.functions import graphs_of, label_of


class ShadowedNames(ModelCheck):
    """A name inside an If, Loop or Scan that a graph around it uses for another tensor."""

    code: ClassVar[Code] = Code(
        "OF808",
        "shadowed-tensor-name",
        "a tensor of a subgraph has the name of a tensor outside",
        "ONNX forbids it: names must be unique in a graph and all graphs around it (the two "
        "branches of an If may share names). A parser that keeps one table for all graphs reads "
        "the wrong tensor afterwards. TensorRT-RTX 1.7 keeps the two apart; what the other "
        "releases do was not looked at.",
        "Rename the inner tensor.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """One finding for each name; none for TensorRT-RTX, which reads both as they are meant."""
        if len(context.model.scopes) > 1 and not is_rtx(context):
            yield from self._inside(context.proto.graph, "", frozenset())

    def _inside(
        self, graph: GraphProto, path: str, outside: frozenset[str]
    ) -> Iterator[CheckFinding]:
        mine = [v.name for v in graph.input] + [t.name for t in graph.initializer]
        mine += [name for node in graph.node for name in node.output if name]
        if path:
            for name in sorted(set(mine) & outside):
                yield CheckFinding(
                    code=self.code,
                    severity=Severity.UNKNOWN,
                    why=f"'{name}' is a tensor of {path} and another one outside; ONNX forbids it, "
                    "and what the release makes of it is not known",
                    mend=f"rename '{name}' inside",
                    scope=path,
                    node=next((label_of(n) for n in graph.node if name in n.output), ""),
                    op=next((n.op_type for n in graph.node if name in n.output), ""),
                    tensor=name,
                )
        inner = outside | set(mine)
        for node in graph.node:
            for label, body in graphs_of(node):
                yield from self._inside(body, f"{path}/{label}" if path else label, inner)
