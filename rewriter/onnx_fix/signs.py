"""Whether index tensors can hold negative values, judged by where they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

if TYPE_CHECKING:
    from onnx_fix.scope import Scope

_UNSIGNED = frozenset(
    {
        TensorProto.BOOL,
        TensorProto.UINT8,
        TensorProto.UINT16,
        TensorProto.UINT32,
        TensorProto.UINT64,
    }
)
_ALWAYS = frozenset({"Abs", "ArgMax", "ArgMin", "NonZero", "Relu", "Shape", "Size"})
_SAME_VALUES = frozenset(
    {
        "Cast",
        "Ceil",
        "CumSum",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "GatherElements",
        "GatherElementsPlugin",
        "GatherND",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
"""Ops without a negative output where the first input has no negative element."""

_IF_ALL = frozenset({"Add", "Concat", "Min", "Mul"})
"""Ops without a negative output where no input has a negative element."""

_MOST_NODES = 64


class Signs:
    """Proofs for tensors that index a dim of ``size``; None where the size is not static.

    What is not proven counts as possibly negative. Sums and products are taken not to overflow:
    indices that do are out of range anyway.
    """

    def __init__(self, scope: Scope, size: int | None) -> None:
        self._scope = scope
        self._size = size
        self._left = _MOST_NODES
        self._known: dict[int, bool] = {}

    def nonnegative(self, tensor: gs.Tensor) -> bool:
        """Whether no element is negative, whatever the inputs of the model hold."""
        if id(tensor) not in self._known:
            self._known[id(tensor)] = False
            self._known[id(tensor)] = self._prove(tensor)
        return self._known[id(tensor)]

    def _prove(self, tensor: gs.Tensor) -> bool:
        scope = self._scope
        if scope.dtype(tensor) in _UNSIGNED:
            return True
        value = scope.folded(tensor)
        if value is not None:
            return value.dtype.kind in "biuf" and not bool(np.any(np.less(value, 0)))
        node = scope.producer(tensor)
        self._left -= 1
        if node is None or self._left < 0:
            return False
        if (node.domain or "") not in ("", "ai.onnx") and node.op != "GatherElementsPlugin":
            return False
        return self._by_op(node, tensor)

    def _by_op(self, node: gs.Node, tensor: gs.Tensor) -> bool:
        op, inputs = node.op, node.inputs
        if op in _ALWAYS:
            return True
        if op == "TopK":
            return any(tensor is t for t in node.outputs[1:])
        if op in _SAME_VALUES:
            return self.nonnegative(inputs[0])
        if op in _IF_ALL:
            return all(self.nonnegative(t) for t in inputs)
        if op == "Max":
            return any(self.nonnegative(t) for t in inputs)
        if op == "Clip":
            return self._clip(node)
        if op == "Mod":
            # Without fmod the result has the sign of the divisor.
            whole = "fmod" not in node.attrs
            return self.nonnegative(inputs[1]) and (whole or self.nonnegative(inputs[0]))
        if op == "Div":
            return self.nonnegative(inputs[0]) and self.nonnegative(inputs[1])
        if op == "Range":
            return self.nonnegative(inputs[0]) and self.nonnegative(inputs[2])
        if op == "Where":
            if self._is_wrapped(node) or self._is_floored(node):
                return True
            return all(self.nonnegative(t) for t in inputs[1:3])
        return False

    def _clip(self, node: gs.Node) -> bool:
        given = [t if t.name else None for t in node.inputs] + [None, None]
        low, high = given[1], given[2]
        floor = self.nonnegative(node.inputs[0]) or (low is not None and self.nonnegative(low))
        return floor and (high is None or self.nonnegative(high))

    def _is_floored(self, where: gs.Node) -> bool:
        """``Where(Less(i, 0), n, i)`` with an n that is not negative."""
        index, condition = where.inputs[2], self._scope.producer(where.inputs[0])
        if condition is None or condition.op != "Less" or condition.inputs[0] is not index:
            return False
        zero = self._scope.folded(condition.inputs[1])
        return zero is not None and not bool(np.any(zero)) and self.nonnegative(where.inputs[1])

    def _is_wrapped(self, where: gs.Node) -> bool:
        """``Where(Less(i, 0), Add(i, size), i)``: indices counted from the front."""
        scope, index = self._scope, where.inputs[2]
        condition, wrapped = scope.producer(where.inputs[0]), scope.producer(where.inputs[1])
        if condition is None or wrapped is None or condition.op != "Less" or wrapped.op != "Add":
            return False
        added = [scope.folded(t) for t in wrapped.inputs if t is not index]
        zero = scope.folded(condition.inputs[1])
        return (
            condition.inputs[0] is index
            and zero is not None
            and not bool(np.any(zero))
            and len(added) == 1
            and added[0] is not None
            and self._size is not None
            and bool(np.all(np.equal(added[0], self._size)))
        )
