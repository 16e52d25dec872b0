"""The pass ``vector-to-matrix``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope


@dataclass(frozen=True)
class VectorToMatrix(Pass):
    """Make the vector of a MatMul a matrix where the target drops another dim than it added.

    TensorRT-RTX 1.7 gives a vector that is multiplied by a stack of matrices a dimension more, and
    drops the first one of the product again, which is not the one that it added.

    Before:
        y = MatMul (vector, stack)
    After:
        row = Unsqueeze (vector, 0)
        rows = MatMul (row, stack)
        y = Squeeze (rows, -2)
    Exact:
        Yes. Left alone: a stack of unknown rank.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("vector_by_stack", "MatMul", "the rank of the stack is known"),
    )

    everywhere: bool = False
    """Also rewrite products with vectors that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a matrix for every vector that the target multiplies wrongly."""
        for node in scope.nodes("MatMul"):
            if len(node.inputs) == 2 and (self.everywhere or _against(scope, node)):
                found = _site(scope, node)
                if found is not None:
                    yield found


def _against(scope: Scope, node: gs.Node) -> bool:
    return any(
        f.kind == "vector_by_stack" and (f.refuses or f.in_doubt)
        for f in scope.judge(node).findings
    )


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip | None:
    left, right = node.inputs
    ranks = scope.rank(left), scope.rank(right)
    if None in ranks:
        name = left.name if ranks[0] is None else right.name
        return Skip(node, f"the rank of '{name}' is not known")
    if 1 not in ranks:
        return None
    e = Emitter(scope)
    # The axes of the product that the row and the column stand for, from the back: the column
    # first, as the row's is one less behind it.
    rank = max(2, *(r for r in ranks if r is not None))
    dropped = [axis for axis, r in zip((rank - 2, rank - 1), ranks, strict=True) if r == 1]
    row = e.unsqueeze(left, [0]) if ranks[0] == 1 else left
    column = e.unsqueeze(right, [1]) if ranks[1] == 1 else right
    return e.rewrite(node, e.squeeze(e("MatMul", row, column), dropped))
