"""The pass ``replace-instance-normalization``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto, helper

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix.target import TensorFacts


@dataclass(frozen=True)
class ReplaceInstanceNormalization(Pass):
    """Write InstanceNormalization so that scale and bias may be computed at run time.

    1. The node with a scale of 1 and a bias of 0, where the target takes that; Mul and Add follow.
    2. Otherwise its definition: mean and variance over the axes behind the channels.

    Before:
        y = InstanceNormalization (x, scale, bias) with scale computed at run time
    After:
        n = InstanceNormalization (x, ones, zeros);
        y = Add (Mul (n, Unsqueeze (scale)), Unsqueeze (bias))
    Exact:
        Rounding only. The definition computes half precision in float32. Left alone: an unknown
        rank or element type.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends(kind, "InstanceNormalization", "the rank is known")
        for kind in ("input_must_be_constant", "rank", "static_shape_only")
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("InstanceNormalization"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_EPSILON = 1e-5


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    if has_unresolved(node, "epsilon"):
        return Skip(node, "epsilon is a parameter of the enclosing function; inline it first")
    x, scale, bias = node.inputs[:3]
    shape, dtype = scope.shape(x), scope.dtype(x)
    if shape is None or dtype is None or len(shape) < 3:
        return Skip(
            node, "the rank or the element type of its input is not known, or it is no image"
        )
    epsilon = attribute(node, "epsilon", float, _EPSILON) or 0.0
    e = Emitter(scope)
    channels = next((d for t in (x, scale, bias) if (d := _channels(scope, t)) is not None), None)
    plain = None if channels is None else _plain(scope, e, node, channels, dtype, epsilon)
    behind = list(range(2, len(shape)))
    work = TensorProto.FLOAT if plain is None and dtype in _HALVES else dtype

    def wide(t: gs.Tensor) -> gs.Tensor:
        return t if work == dtype else e.cast(t, work)

    result = plain
    if result is None:
        data = wide(x)
        apart = e("Sub", data, e.reduce("ReduceMean", data, behind, keepdims=True))
        spread = e.reduce("ReduceMean", e("Mul", apart, apart), behind, keepdims=True)
        result = e("Div", apart, e("Sqrt", e("Add", spread, e.const(epsilon, work))))
    axes = [0, *behind]
    result = e("Mul", result, e.unsqueeze(wide(scale), axes))
    result = e("Add", result, e.unsqueeze(wide(bias), axes))
    if work != dtype:
        result = e.cast(result, dtype)
    return e.rewrite(node, result, exactness=Exactness.ROUNDING)


def _channels(scope: Scope, tensor: gs.Tensor) -> int | None:
    shape = scope.shape(tensor)
    size = None if shape is None else shape[1 if len(shape) > 1 else 0]
    return size if isinstance(size, int) else None


def _plain(
    scope: Scope, e: Emitter, node: gs.Node, channels: int, dtype: int, epsilon: float
) -> gs.Tensor | None:
    """The node with neither scale nor bias, where the target takes it."""
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    ones, zeros = np.ones(channels, kind), np.zeros(channels, kind)
    facts = [
        TensorFacts(name, dtype, (channels,), "initializer", partial(np.asarray, values))
        for name, values in (("ones", ones), ("zeros", zeros))
    ]
    if not scope.accepts(node.op, [node.inputs[0], *facts], {"epsilon": epsilon}):
        return None
    return e(node.op, node.inputs[0], ones, zeros, epsilon=epsilon)
