"""The pass ``count-from-front``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, elem_type, has_unresolved
from onnx_fix.signs import Signs

_KIND = "negative_indices_unsupported"


@dataclass(frozen=True)
class CountFromFront(Pass):
    """Write the negative indices of a Gather as indices from the front.

    Before: `y = Gather <axis = 1> (x, {-1})` with x of shape [N, 4]
    After: `y = Gather <axis = 1> (x, {3})`
    Exact: yes. Where the size is known at run time only, it is added to the index there: nothing
    else changes. Indices that are computed at run time and may be negative become
    `Where (i < 0, i + size, i)`.
    Since: 0.1

    TensorRT before 8.2 reads a negative index as it stands, without a message.
    """

    mends: ClassVar[tuple[Mends, ...]] = (
        Mends(_KIND, "Gather", "the axis and the element types are known"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose other indices for every Gather with negative ones, or with such that may be."""
        for node in scope.nodes("Gather"):
            index = scope.folded(node.inputs[1])
            if index is not None and not bool(np.any(np.less(index, 0))):
                continue
            if self.everywhere or any(
                f.kind == _KIND and (f.refuses or f.in_doubt) for f in scope.judge(node).findings
            ):
                site = _site(scope, node, index)
                if site is not None:
                    yield site


def _site(scope: Scope, node: gs.Node, index: NDArray[np.generic] | None) -> Rewrite | Skip | None:
    x, given = node.inputs
    shape, axis = scope.shape(x), attribute(node, "axis", int, 0) or 0
    if has_unresolved(node, "axis"):
        return Skip(node, "its axis is a parameter of the function; inline it first")
    if axis < 0 and shape is None:
        return Skip(node, f"the rank of '{x.name}' is not known, and the axis counts from it")
    axis = axis if axis >= 0 or shape is None else axis + len(shape)
    known = shape[axis] if shape is not None and axis < len(shape) else None
    size = known if isinstance(known, int) else None
    emit = Emitter(scope)
    if index is None:
        if Signs(scope, size, (x.name, axis)).nonnegative(given):
            return None
        dtype = scope.dtype(given)
        if dtype is None:
            return Skip(node, f"the element type of its indices '{given.name}' is not known")
        if scope.opset < 9:
            return Skip(
                node,
                "its indices may be negative, and counting them from the front needs Where of "
                "operator set 9: export with a newer one",
            )
        behind = emit("Less", given, emit.const(0, dtype))
        counted = emit("Add", given, _length(emit, x, axis, size, dtype))
        return emit.rewrite(
            node, emit("Gather", x, emit("Where", behind, counted, given), axis=axis)
        )
    negative = np.less(index, 0)
    if size is not None:
        fixed = emit.const(np.where(negative, index + size, index), index.dtype)
        return emit.rewrite(node, emit("Gather", x, fixed, axis=axis))
    constant = emit.const(index)
    length = _length(emit, x, axis, None, elem_type(index.dtype))
    # Of a dim without elements nothing is indexed, so -1 from its size on is never negative.
    if scope.opset >= 9 and not bool(np.all(np.equal(index, -1))):
        wrapped = emit("Add", constant, length)
        counted = emit("Where", emit.const(negative), wrapped, constant)
    elif bool(negative.all()):
        counted = emit("Add", constant, length)
    else:
        shift = emit("Mul", emit.const(negative.astype(index.dtype)), length)
        counted = emit("Add", constant, shift)
    return emit.rewrite(node, emit("Gather", x, counted, axis=axis))


def _length(emit: Emitter, x: gs.Tensor, axis: int, size: int | None, dtype: int) -> gs.Tensor:
    if size is not None:
        return emit.const(size, dtype)
    length = emit("Gather", emit.shape(x), emit.const(axis), axis=0)
    return length if dtype == TensorProto.INT64 else emit.cast(length, dtype)
