"""The pass ``expand-dynamic-quantize-linear``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix_passes._quantized import UINT8
from onnx_fix_passes._rounding import by_floor, clip, has_round, rounded

_TOP = 255


@dataclass(frozen=True)
class ExpandDynamicQuantizeLinear(Pass):
    """Write DynamicQuantizeLinear by its definition, the integers in FP32.

    Before:
        y, scale, zero = DynamicQuantizeLinear (x)
    After:
        high = Max (ReduceMax (x), 0); low = Min (ReduceMin (x), 0)
        scale = (high - low) / 255, and 1 where both are 0
        z = Round (Clip (-low / scale, 0, 255)); zero = Cast <to = UINT8> (z)
        n = Clip (Round (x / scale) + z, 0, 255); y = Cast <to = UINT8> (n)
    Exact:
        Yes: the steps are those of the definition, and of onnxruntime. Where all numbers are zero
        the definition divides 0 by 0, and the scale is the 1 that onnxruntime gives. What is then
        cast to floats again is carried as floats by carry-integers-as-floats.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (Mends("no_importer", "DynamicQuantizeLinear"),)

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose the definition for every node that the target refuses."""
        for node in scope.nodes("DynamicQuantizeLinear"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite:
    e = Emitter(scope)
    x = node.inputs[0]
    nothing, top = e.const(0.0), e.const(float(_TOP))
    high = e("Max", e("ReduceMax", x, keepdims=0), nothing)
    low = e("Min", e("ReduceMin", x, keepdims=0), nothing)
    span = e("Sub", high, low)
    scale = e("Where", e("Greater", span, nothing), e("Div", span, top), e.const(1.0))
    start = clip(e, e("Sub", nothing, e("Div", low, scale)), 0, _TOP)
    zero = rounded(e, start, 0, _TOP)
    ratio = e("Div", x, scale)
    whole = e("Round", ratio) if has_round(scope) else by_floor(e, ratio)
    numbers = clip(e, e("Add", whole, zero), 0, _TOP)
    made = (e.cast(numbers, UINT8), scale, e.cast(zero, UINT8))
    pairs = [(old, new) for old, new in zip(node.outputs, made, strict=False) if old.name]
    return e.rewrite(node, pairs)
