"""The pass ``replace-sign``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix_passes._by_rule import is_taken

_UNSIGNED = frozenset(
    {TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64}
)


@dataclass(frozen=True)
class ReplaceSign(Pass):
    """Write Sign by two comparisons, where the target lacks it.

    Before:
        y = Sign (x)
    After:
        rest = Where (Less (x, 0), -1, x)
        y = Where (Greater (x, 0), 1, rest)
    Exact: yes, NaN stays too.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (Mends("no_importer", "Sign", "the type is known"),)

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose two comparisons for every Sign that the target refuses."""
        for node in scope.nodes("Sign"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    x, dtype = node.inputs[0], scope.dtype(node.inputs[0])
    if dtype is None:
        return Skip(node, "the element type of its input is not known")
    if not is_taken(scope, x):
        return Skip(node, f"{scope.target.name} does not take '{x.name}' for its type or rank")
    e = Emitter(scope)
    zero, one = e.const(0, dtype), e.const(1, dtype)
    if dtype in _UNSIGNED:
        return e.rewrite(node, e.cast(e("Greater", x, zero), dtype))
    rest = e("Where", e("Less", x, zero), e.const(-1, dtype), x)
    return e.rewrite(node, e("Where", e("Greater", x, zero), one, rest))
