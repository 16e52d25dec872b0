"""The pass ``replace-det``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix_passes._by_rule import is_taken


@dataclass(frozen=True)
class ReplaceDet(Pass):
    """Write the determinant of small matrices by products, where the target lacks Det.

    Rules:

    1. One row: the only element.
    2. Two rows: the first times the second one turned round, and the difference of both products.
    3. Three rows: the first times the vector product of the others, summed up.

    Before:
        y = Det (x) of matrices of two rows
    After:
        a = Gather <axis = -2> (x, 0)
        b = Gather <axis = -1> (Gather <axis = -2> (x, 1), [1, 0])
        p = Mul (a, b)
        y = Sub (Gather <axis = -1> (p, 0), Gather <axis = -1> (p, 1))
    Exact:
        Rounding only. Left alone: matrices of more than three rows, or of a size that is not known.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "Det", "the matrices have at most three rows"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose products for every Det that the target refuses."""
        for node in scope.nodes("Det"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    x = node.inputs[0]
    shape = scope.shape(x)
    if shape is None or len(shape) < 2:
        return Skip(node, "the rank of its input is not known")
    sizes = [d for d in shape[-2:] if isinstance(d, int)]
    if not sizes:
        return Skip(node, "the size of its matrices is not known; fix the last two dims")
    rows = sizes[0]
    if not 1 <= rows <= 3:
        return Skip(node, f"matrices of {rows} rows are left alone: only 1 to 3 are written out")
    if not is_taken(scope, x):
        return Skip(node, f"{scope.target.name} does not take '{x.name}' for its type or rank")
    e = Emitter(scope)
    last = len(shape) - 1
    first, *others = (e("Gather", x, e.const(k), axis=last - 1) for k in range(rows))
    last -= 1
    if not others:
        return e.rewrite(node, e("Gather", first, e.const(0), axis=last))

    def turned(row: gs.Tensor, order: list[int]) -> gs.Tensor:
        return e("Gather", row, e.ints(order), axis=last)

    if rows == 2:
        product = e("Mul", first, turned(others[0], [1, 0]))
        ends = [e("Gather", product, e.const(k), axis=last) for k in range(2)]
        return e.rewrite(node, e("Sub", *ends), exactness=Exactness.ROUNDING)
    up, down = [1, 2, 0], [2, 0, 1]
    plus = e("Mul", turned(others[0], up), turned(others[1], down))
    minus = e("Mul", turned(others[0], down), turned(others[1], up))
    products = e("Mul", first, e("Sub", plus, minus))
    parts = [e("Gather", products, e.const(k), axis=last) for k in range(3)]
    total = e("Add", e("Add", parts[0], parts[1]), parts[2])
    return e.rewrite(node, total, exactness=Exactness.ROUNDING)
