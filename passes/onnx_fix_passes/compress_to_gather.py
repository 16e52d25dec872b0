"""The pass ``compress-to-gather``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved


@dataclass(frozen=True)
class CompressToGather(Pass):
    """Write Compress as a Gather at what NonZero finds in its condition.

    No release has Compress; those from 8.5 on have NonZero. Elsewhere replace-non-zero and, where
    it is asked to, bound-non-zero can then do something about it.

    Before:
        y = Compress <axis = 1> (x, condition)
    After:
        n = NonZero (condition)
        i = Squeeze <axes = [0]> (n)
        y = Gather <axis = 1> (x, i)
    Without an axis x is flattened first.
    Exact: yes.
    Since: 0.1
    """

    # Before the passes that follow what a NonZero finds.
    stage: ClassVar[Stage] = Stage.REPAIR
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "Compress", "the target has NonZero, or that is replaced in turn"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("Compress"):
            if not self.everywhere and scope.judge(node).status == "supported":
                continue
            if has_unresolved(node, "axis"):
                yield Skip(node, "its axis is a parameter of the function around it")
                continue
            e = Emitter(scope)
            data, condition = node.inputs
            axis = attribute(node, "axis", int)
            if axis is None and scope.rank(data) != 1:
                data = e.reshape(data, [-1])
            places = e.squeeze(e("NonZero", condition), [0])
            yield e.rewrite(node, e("Gather", data, places, axis=axis or 0))
