"""The pass ``replace-hardmax``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix_passes._by_rule import is_taken
from onnx_fix_passes._places import places

_ONE_AXIS_SINCE = 13


@dataclass(frozen=True)
class ReplaceHardmax(Pass):
    """Write Hardmax by ArgMax, where the target lacks it: 1 at the place of the greatest element,
    0 elsewhere.

    Before operator set 13 it takes the axis and all behind it for one; these are made one by
    Flatten, and Reshape puts them back.

    Before:
        y = Hardmax (x)
    After:
        k = ArgMax (x)
        y = Cast (Equal (k, Range (0, size, 1)))
    Exact:
        Yes: of several greatest elements the first is taken. Runtimes do not agree on NaN. Left
        alone: an unknown rank or element type.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "Hardmax", "the rank is known"),
        Mends("static_dim", "Hardmax", "the rank is known"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose an ArgMax for every Hardmax that the target refuses."""
        for node in scope.nodes("Hardmax"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    x = node.inputs[0]
    rank, dtype = scope.rank(x), scope.dtype(x)
    if has_unresolved(node, "axis"):
        return Skip(node, "axis is a parameter of the enclosing function; inline it first")
    if rank is None or dtype is None:
        return Skip(node, "the rank or the element type of its input is not known")
    if not is_taken(scope, x):
        return Skip(node, f"{scope.target.name} does not take '{x.name}' for its type or rank")
    e = Emitter(scope)
    one_axis = scope.opset >= _ONE_AXIS_SINCE
    axis = attribute(node, "axis", int, -1 if one_axis else 1) or 0
    if rank == 0 or not -rank <= axis < rank:
        return Skip(node, f"its axis {axis} does not exist in a tensor of rank {rank}")
    axis %= rank
    if one_axis or axis == rank - 1:
        return e.rewrite(node, _hardmax(e, x, e.dim(x, axis), axis, rank, dtype))
    flat = e("Flatten", x, axis=axis)
    size = e.dim(x, axis)
    for other in range(axis + 1, rank):
        size = e("Mul", size, e.dim(x, other))
    return e.rewrite(node, e.reshape(_hardmax(e, flat, size, 1, 2, dtype), e.shape(x)))


def _hardmax(
    e: Emitter, x: gs.Tensor, size: gs.Tensor, axis: int, rank: int, dtype: int
) -> gs.Tensor:
    """``size`` is that of the axis."""
    first = e("ArgMax", x, axis=axis, keepdims=1)
    at = places(e, size, [-1] + [1] * (rank - 1 - axis))
    return e.cast(e("Equal", first, at), dtype)
