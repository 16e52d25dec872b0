"""The pass ``replace-is-nan``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix_passes._comparing_floats import comparable, has_equal


@dataclass(frozen=True)
class ReplaceIsNaN(Pass):
    """Write IsNaN as a comparison of the tensor with itself, where the target lacks it.

    Below operator set 11, whose Equal takes no floats, every number is below 1 or above 0, and a
    NaN is neither.

    Before:
        y = IsNaN (x)
    After:
        same = Equal (x, x)
        y = Not (same)
    Exact:
        Yes. Halves that the target does not compare go through float32, which holds each of them.
        Left alone: other element types that it does not compare.
    Since: 0.1
    """

    name: ClassVar[str] = "replace-is-nan"
    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "IsNaN", "Equal of the element type, or of float32, is taken"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a comparison for every IsNaN that the target refuses."""
        for node in scope.nodes("IsNaN"):
            if not (self.everywhere or scope.refused(node)):
                continue
            e = Emitter(scope)
            found = comparable(scope, e, node.inputs[0], "Equal" if has_equal(scope) else "Less")
            if isinstance(found, str):
                yield Skip(node, found)
                continue
            x, dtype = found
            if has_equal(scope):
                number = e("Equal", x, x)
            else:
                below, above = e("Less", x, e.const(1, dtype)), e("Greater", x, e.const(0, dtype))
                number = e("Or", below, above)
            yield e.rewrite(node, e("Not", number))
