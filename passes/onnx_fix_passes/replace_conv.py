"""The pass ``replace-conv``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix_passes._conv_windows import Writer, add_axes, site_of, types_fit

_ONLY = "the channels and the size of the kernel are known"


@dataclass(frozen=True)
class ReplaceConv(Pass):
    """Write a convolution whose weights are computed at run time as a product with its windows.

    1. Where the bias alone is what the target refuses, it is added behind the convolution.
    2. Otherwise the data are padded, one Gather along every spatial axis takes the windows, and a
       MatMul multiplies them with the weights of each group. A transposed convolution gathers for
       every output the elements that reach it, and a zero for those that do not.

    Before:
        y = Conv (x, w, b) with w computed at run time
    After:
        windows = Reshape (Transpose (Gather (Gather (Pad (x), rows), columns)));
        y = Add (Reshape (MatMul (Reshape (w), windows)), Unsqueeze (b))
    Exact:
        Rounding only: the sums are those of the convolution, in another order. It takes memory for
        as many copies of the data as a window has elements. Spatial sizes and the batch may be
        dynamic. Left alone: channels or a kernel of unknown size; pads that go by unknown sizes
        (SAME with strides; output_shape), or that runtimes do not agree on; weights of a quantized
        network, which the target takes from DequantizeLinear.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("input_must_be_constant", "Conv", _ONLY),
        Mends("input_must_be_constant", "ConvTranspose", _ONLY),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("Conv", "ConvTranspose"):
            if self.everywhere or _is_due(scope, node):
                yield (None if self.everywhere else _without_bias(scope, node)) or _site(
                    scope, node
                )


def _is_due(scope: Scope, node: gs.Node) -> bool:
    return any(f.refuses and f.kind == "input_must_be_constant" for f in scope.judge(node).findings)


def _without_bias(scope: Scope, node: gs.Node) -> Rewrite | None:
    """The convolution with its bias added behind it, where that is all that it takes."""
    if len(node.inputs) < 3 or not node.inputs[2].name:
        return None
    rank = next((r for t in node.inputs[:2] if (r := scope.rank(t)) is not None), None)
    if (
        rank is None
        or rank < 3
        or any(isinstance(v, gs.Node.AttributeRef) for v in node.attrs.values())
    ):
        return None
    if not scope.accepts(node.op, node.inputs[:2], node.attrs):
        return None
    e = Emitter(scope)
    result = e(node.op, *node.inputs[:2], **node.attrs)
    result = e("Add", result, add_axes(e, node.inputs[2], rank - 2))
    return e.rewrite(node, result, exactness=Exactness.ROUNDING)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    maker = scope.producer(node.inputs[1])
    if maker is not None and maker.op == "DequantizeLinear":
        return Skip(node, "its weights are quantized; fold them, or build the network as quantized")
    transposed = node.op == "ConvTranspose"
    site = site_of(scope, node, transposed=transposed)
    if isinstance(site, Skip):
        return site
    reason = types_fit(scope, node)
    if reason:
        return Skip(node, reason)
    e = Emitter(scope)
    result = Writer(e, site, transposed=transposed).write()
    return e.rewrite(node, result, exactness=Exactness.ROUNDING)
