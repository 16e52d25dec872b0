"""The pass ``replace-cum-prod``."""

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
from onnx_fix.target import TensorFacts
from onnx_fix_passes._by_rule import is_taken

_MOST = 256
"""So many elements at most are multiplied by a node each."""


@dataclass(frozen=True)
class ReplaceCumProd(Pass):
    """Write CumProd as the products one after the other, where the target lacks it.

    The order is that of the definition: other orders may overflow on the way, and infinity times
    zero is NaN.

    Rules:

    1. A constant axis: Split into elements along it, a Mul for each, and Concat. Its length has to
       be known, and at most 256.
    2. An axis computed at run time: the products along each axis, and Where takes those of the axis
       that is meant. Every length has to be known, and all together at most 256.

    Before:
        y = CumProd (x, axis) of three elements
    After:
        a, b, c = Split (x)
        d = Mul (a, b)
        y = Concat (a, d, Mul (d, c))
    Exact:
        Yes. Left alone: unknown ranks, and lengths that are not known or greater.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "CumProd", "the length is known and at most 256"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose products for every CumProd that the target refuses."""
        for node in scope.nodes("CumProd"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    x, axis = node.inputs
    shape, dtype = scope.shape(x), scope.dtype(x)
    if has_unresolved(node, "exclusive", "reverse"):
        return Skip(node, "exclusive or reverse is a parameter of the function; inline it first")
    if shape is None or dtype is None:
        return Skip(node, "the rank or the element type of its input is not known")
    if not is_taken(scope, x):
        return Skip(node, f"{scope.target.name} does not take '{x.name}' for its type or rank")
    rank = len(shape)
    given = scope.folded(axis)
    axes = list(range(rank))
    if given is not None:
        which = int(given.reshape(-1)[0])
        if not -rank <= which < rank:
            return Skip(node, f"its axis {which} does not exist in a tensor of rank {rank}")
        axes = [which % rank]
    lengths = [d for k in axes if isinstance(d := shape[k], int)]
    if len(lengths) == len(axes) and sum(lengths) <= _MOST:
        return _unrolled(scope, node, axes, lengths, dtype)
    if given is None and rank > 1:
        return Skip(
            node,
            "its axis is computed at run time, and not all sizes are known and small; fix the axis",
        )
    return Skip(
        node,
        f"its length is not known or greater than {_MOST}; fix the dim (--static), or multiply in "
        "the network",
    )


def _unrolled(
    scope: Scope, node: gs.Node, axes: list[int], lengths: list[int], dtype: int
) -> Rewrite:
    e = Emitter(scope)
    x, axis = node.inputs
    exclusive = bool(attribute(node, "exclusive", int, 0))
    reverse = bool(attribute(node, "reverse", int, 0))
    ways = [
        _products(scope, e, x, k, n, dtype, exclusive=exclusive, reverse=reverse)
        for k, n in zip(axes, lengths, strict=True)
    ]
    result, rank = ways[0], len(scope.shape(x) or ())
    for k, way in zip(axes[1:], ways[1:], strict=True):
        wide = e.cast(axis, TensorProto.INT64)
        here = e("Or", e("Equal", wide, e.const(k)), e("Equal", wide, e.const(k - rank)))
        result = e("Where", here, way, result)
    return e.rewrite(node, result)


def _products(
    scope: Scope,
    e: Emitter,
    x: gs.Tensor,
    axis: int,
    length: int,
    dtype: int,
    *,
    exclusive: bool,
    reverse: bool,
) -> gs.Tensor:
    """The running products along one axis of a known length."""
    if length == 0 or (length == 1 and not exclusive):
        return x
    parts = _apart(scope, e, x, axis, length)
    if reverse:
        parts.reverse()
    total = parts[0]
    found = [total]
    for part in parts[1 : length - exclusive]:
        total = e("Mul", total, part)
        found.append(total)
    if exclusive:
        found = [_ones(scope, e, x, axis, dtype), *found[: length - 1]]
    if reverse:
        found.reverse()
    return found[0] if length == 1 else e("Concat", *found, axis=axis)


def _ones(scope: Scope, e: Emitter, x: gs.Tensor, axis: int, dtype: int) -> gs.Tensor:
    """Ones in the shape of the data, but of length 1 along the axis."""
    shape = list(scope.shape(x) or ())
    shape[axis] = 1
    one = e.const(np.ones([1] * len(shape)), dtype)
    if all(d == 1 for d in shape):
        return one
    known = [d for d in shape if isinstance(d, int)]
    if len(known) == len(shape):
        return e("Expand", one, e.ints(known))
    sizes = [e.ints([1]) if k == axis else e.dim(x, k) for k in range(len(shape))]
    return e("Expand", one, e("Concat", *sizes, axis=0))


def _apart(scope: Scope, e: Emitter, x: gs.Tensor, axis: int, length: int) -> list[gs.Tensor]:
    """The elements along an axis, which they keep with a length of 1."""
    if length == 1:
        return [x]
    sizes = [1] * length
    if e.opset >= 13:
        given = e.ints(sizes)
        if scope.accepts("Split", [x, given], {"axis": axis}, [TensorFacts("y")] * length):
            return list(e.many("Split", length, x, given, axis=axis))
    elif scope.accepts("Split", [x], {"axis": axis, "split": sizes}, [TensorFacts("y")] * length):
        return list(e.many("Split", length, x, axis=axis, split=sizes))
    return [e("Gather", x, e.ints([k]), axis=axis) for k in range(length)]
