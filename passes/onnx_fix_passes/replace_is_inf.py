"""The pass ``replace-is-inf``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix_passes._comparing_floats import comparable, has_equal

_LARGEST = {
    int(TensorProto.BFLOAT16): 2.0**128 - 2.0**120,
    int(TensorProto.DOUBLE): 2.0**1023 * (2 - 2.0**-52),
    int(TensorProto.FLOAT): 2.0**128 - 2.0**104,
    int(TensorProto.FLOAT16): 65504.0,
}
"""The largest finite number of each type."""


@dataclass(frozen=True)
class ReplaceIsInf(Pass):
    """Write IsInf as a comparison with infinity, where the target lacks it.

    Before:
        y = IsInf (x)
    After:
        a = Abs (x)
        y = Equal (a, infinity)
    With one sign alone, x is compared itself. Below operator set 11, whose Equal takes no floats,
    Greater and Less compare with the largest finite number.
    Exact:
        Yes; a NaN is no infinity. Halves that the target does not compare go through float32.
        Left alone: other element types that it does not compare.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "IsInf", "Equal of the element type, or of float32, is taken"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a comparison for every IsInf that the target refuses."""
        for node in scope.nodes("IsInf"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    if has_unresolved(node, "detect_negative", "detect_positive"):
        return Skip(node, "an attribute is a parameter of the enclosing function; inline it first")
    e = Emitter(scope)
    found = comparable(scope, e, node.inputs[0], "Equal" if has_equal(scope) else "Greater")
    if isinstance(found, str):
        return Skip(node, found)
    x, dtype = found
    negative = attribute(node, "detect_negative", int, 1)
    positive = attribute(node, "detect_positive", int, 1)
    if not (negative or positive):
        return e.rewrite(node, e("Less", x, x))
    value = e("Abs", x) if negative and positive else x
    sign = 1.0 if positive else -1.0
    if has_equal(scope):
        return e.rewrite(node, e("Equal", value, e.const(sign * np.inf, dtype)))
    beyond = "Greater" if positive else "Less"
    return e.rewrite(node, e(beyond, value, e.const(sign * _LARGEST[dtype], dtype)))
