"""The pass ``shape-to-slice``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from onnx_fix.contract import Mends, Pass, Rewrite, Skip
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved


@dataclass(frozen=True)
class ShapeToSlice(Pass):
    """Write a Shape of some dims as a cut of the whole shape.

    Before: `y = Shape <start = 1, end = 3> (x)`
    After: `s = Shape (x)  y = Slice (s, {1}, {3}, {0})`
    Exact: yes. Slice clamps its bounds as Shape clamps start and end (ONNX, Shape since 15), and
    negative ones count from the end in both.
    Since: 0.1

    TensorRT before 10.0 returns the whole shape without a message (evidence: source). start = 0
    without an end is dropped only where the target refuses it.
    """

    mends: ClassVar[tuple[Mends, ...]] = (Mends("ignored_attribute", "Shape"),)

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a rewrite of every Shape that has a start or an end."""
        for node in scope.nodes("Shape"):
            if not ("start" in node.attrs or "end" in node.attrs):
                continue
            if not (self.everywhere or scope.refused(node)):
                continue
            if has_unresolved(node, "start", "end"):
                yield Skip(node, "its bounds are parameters of the function; inline it first")
                continue
            start, end = attribute(node, "start", int, 0), attribute(node, "end", int)
            emit = Emitter(scope)
            shape = emit.shape(node.inputs[0])
            if start == 0 and end is None:
                yield emit.rewrite(node, shape)
                continue
            last = 2**31 - 1 if end is None else end
            yield emit.rewrite(node, emit.slice(shape, [start or 0], [last], [0]))
