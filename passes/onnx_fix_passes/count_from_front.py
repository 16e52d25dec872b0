"""The pass ``count-from-front``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnx_fix.contract import Mends, Pass, Rewrite, Skip
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, elem_type, has_unresolved

_KIND = "negative_indices_unsupported"


@dataclass(frozen=True)
class CountFromFront(Pass):
    """Write the constant negative indices of a Gather as indices from the front.

    Before: `y = Gather <axis = 1> (x, {-1})` with x of shape [N, 4]
    After: `y = Gather <axis = 1> (x, {3})`
    Exact: yes. Where the size is known at run time only, it is added to the index there: nothing
    else changes. Indices computed at run time are left alone.
    Since: 0.1

    TensorRT before 8.2 reads a negative index as it stands, without a message.
    """

    mends: ClassVar[tuple[Mends, ...]] = (Mends(_KIND, "Gather", "the indices are constant"),)

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose other indices for every Gather with constant negative ones."""
        for node in scope.nodes("Gather"):
            index = scope.folded(node.inputs[1])
            if index is None or not bool(np.any(np.less(index, 0))):
                continue
            if not self.everywhere and not any(
                f.kind == _KIND and f.refuses for f in scope.judge(node).findings
            ):
                continue
            yield self._site(scope, node, index)

    @staticmethod
    def _site(scope: Scope, node: gs.Node, index: NDArray[np.generic]) -> Rewrite | Skip:
        x = node.inputs[0]
        shape, axis = scope.shape(x), attribute(node, "axis", int, 0) or 0
        if has_unresolved(node, "axis"):
            return Skip(node, "its axis is a parameter of the function; inline it first")
        if axis < 0 and shape is None:
            return Skip(node, f"the rank of '{x.name}' is not known, and the axis counts from it")
        emit = Emitter(scope)
        axis = axis if axis >= 0 or shape is None else axis + len(shape)
        size = shape[axis] if shape is not None and axis < len(shape) else None
        negative = np.less(index, 0)
        if isinstance(size, int):
            counted: gs.Tensor = emit.const(np.where(negative, index + size, index), index.dtype)
        else:
            length = emit("Gather", emit.shape(x), emit.const(axis), axis=0)
            length = (
                length if index.dtype == np.int64 else emit.cast(length, elem_type(index.dtype))
            )
            if bool(negative.all()):
                counted = emit("Add", emit.const(index), length)
            else:
                shift = emit("Mul", emit.const(negative.astype(index.dtype)), length)
                counted = emit("Add", emit.const(index), shift)
        return emit.rewrite(node, emit("Gather", x, counted, axis=axis))
