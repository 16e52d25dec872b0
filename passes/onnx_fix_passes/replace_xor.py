"""The pass ``replace-xor``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope


@dataclass(frozen=True)
class ReplaceXor(Pass):
    """Write Xor by Or, And and Not, where the target lacks it.

    Before:
        y = Xor (a, b)
    After:
        one = Or (a, b)
        both = And (a, b)
        y = And (one, Not (both))
    Exact: yes.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (Mends("no_importer", "Xor"),)

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose Or without And for every Xor that the target refuses."""
        for node in scope.nodes("Xor"):
            if self.everywhere or scope.refused(node):
                e = Emitter(scope)
                a, b = node.inputs
                one, both = e("Or", a, b), e("And", a, b)
                yield e.rewrite(node, e("And", one, e("Not", both)))
