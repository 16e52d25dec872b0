"""Identity nodes that stand between an initializer and an input that has to be one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.scope import Scope, is_standard


@dataclass(frozen=True)
class RemoveIdentity(Pass):
    """Let the readers of an Identity read what it reads.

    Exporters share equal weights through Identity. For TensorRT the copy is a tensor, not weights,
    and a node that wants weights there fails.

    Rules:

    1. An Identity (or several in a row) of an initializer or Constant goes where a reader refuses
       its output for not being constant.
    2. With ``everywhere``, so does any other Identity that makes no output of its graph.

    Before:
        v = Identity (w)
        y = Conv (x, v)
    After:
        y = Conv (x, w)
    Exact:
        Yes. Names of inputs and outputs stay: an Identity that makes an output of a graph or body
        is kept, or made anew beside the readers that no longer need it. Left alone: initializers
        that a caller may override, and Identities that the target has nothing against.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.CLEAN
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("input_must_be_constant", "*", "the input is an Identity of weights", "constants"),
    )

    everywhere: bool = False
    """Remove every Identity that makes no output, whether it does harm or not."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose the source of an Identity in its place."""
        for node in scope.nodes("Identity"):
            if not node.inputs or not node.inputs[0].name or not node.outputs:
                continue
            out = node.outputs[0]
            source = _source(scope, node)
            if scope.constness(source) == "initializer" and scope.constness(out) == "foldable":
                wanted = _wanted_constant(scope, out)
            else:
                wanted = False
            if wanted or (self.everywhere and not scope.is_output(out)):
                yield Rewrite((node,), (), ((out, source),))


def _source(scope: Scope, node: gs.Node) -> gs.Tensor:
    """What a row of Identity nodes starts from."""
    tensor = node.inputs[0]
    producer = scope.producer(tensor)
    while producer is not None and producer.op == "Identity" and is_standard(producer):
        tensor = producer.inputs[0]
        producer = scope.producer(tensor)
    return tensor


def _wanted_constant(scope: Scope, tensor: gs.Tensor) -> bool:
    """Whether a reader in the same scope or inside it is refused for this tensor."""
    return any(
        finding.kind == "input_must_be_constant"
        and finding.refuses
        and finding.tensor == tensor.name
        for reader in scope.consumers(tensor)
        for finding in scope.judge(reader).findings
    )
