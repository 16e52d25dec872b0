"""The pass ``replace-round``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix.target import TensorFacts
from onnx_fix_passes._rounding import by_floor

_FLOAT = int(TensorProto.FLOAT)
_WHOLE_FROM: dict[int, float] = {_FLOAT: 2.0**23, int(TensorProto.FLOAT16): 2.0**10}
"""From here on every number of the type is whole."""


@dataclass(frozen=True)
class ReplaceRound(Pass):
    """Write Round by Floor and Ceil, where the target lacks it.

    Before:
        y = Round (x)
    After:
        f = Floor (x); d = Sub (x, f)
        late = Ceil (d - 0.5); early = Floor (d + 0.5)
        r = f + late + (early - late) * (f - 2 * Floor (f / 2))
        y = Where (Less (Abs (x), 8388608), r, x)
    Exact:
        Yes, up to the sign of zeros: halves go to the even neighbour, and large numbers, infinities
        and NaNs stay. Left alone: other types than FP32 and FP16.
    Since: 0.2
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "Round", "the numbers are FP32 or FP16"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose Floor and Ceil for every Round that the target refuses."""
        for node in scope.nodes("Round"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    x = node.inputs[0]
    dtype = scope.dtype(x) or scope.dtype(node.outputs[0])
    if dtype is None:
        return Skip(node, "the element type is not known")
    like = TensorFacts("x", dtype)
    if dtype not in _WHOLE_FROM or not scope.accepts("Floor", [like], outputs=[like]):
        name = TensorProto.DataType.Name(dtype)
        return Skip(node, f"there is no other form of a Round of {name}; cast it to FLOAT")
    e = Emitter(scope)
    fraction = e("Less", e("Abs", x), e.const(_WHOLE_FROM[dtype], dtype))
    return e.rewrite(node, e("Where", fraction, by_floor(e, x, dtype), x))
