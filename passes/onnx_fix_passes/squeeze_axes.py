"""The pass ``squeeze-axes``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from onnx_fix.contract import Mends, Pass, Rewrite, Skip
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, has_unresolved


@dataclass(frozen=True)
class SqueezeAxes(Pass):
    """Name the axes that a Squeeze without axes squeezes.

    Before: `y = Squeeze (x)` with x of shape [1, 3, 1]
    After: `y = Squeeze <axes = [0, 2]> (x)`
    Exact: yes, where all sizes are known: ONNX squeezes every dim of size 1. A dim that is known at
    run time only may or may not be 1, so such a Squeeze is left alone.
    Since: 0.1
    """

    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("attribute_must_be_present", "Squeeze", "all sizes are known"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose axes for every Squeeze that has none."""
        for node in scope.nodes("Squeeze"):
            given = "axes" in node.attrs or (len(node.inputs) > 1 and node.inputs[1].name)
            if given or not (self.everywhere or scope.judge(node).status != "supported"):
                continue
            if has_unresolved(node, "axes"):
                continue
            x = node.inputs[0]
            shape = scope.shape(x)
            if shape is None or not all(isinstance(d, int) for d in shape):
                yield Skip(
                    node,
                    f"which dims of '{x.name}' have size 1 is known at run time only; name the "
                    "axes in the network, such as x.squeeze(1)",
                )
                continue
            emit = Emitter(scope)
            axes = [k for k, d in enumerate(shape) if d == 1]
            as_input = scope.opset >= 13 and axes
            if as_input and not scope.accepts("Squeeze", [x, emit.ints(axes)]):
                yield Skip(node, "axes are an input at this opset, and the target does not read it")
                continue
            yield emit.rewrite(node, emit.squeeze(x, axes))
