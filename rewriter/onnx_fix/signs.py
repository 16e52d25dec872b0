"""Whether index tensors can hold negative values, judged by where they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.op_names import REARRANGING

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
_SAME_VALUES = REARRANGING | {
    "Cast",
    "Ceil",
    "CumSum",
    "Floor",
    "GatherElementsPlugin",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
}
"""Ops without a negative output where the first input has no negative element."""

_IF_ALL = frozenset({"Add", "Concat", "Min", "Mul"})
"""Ops without a negative output where no input has a negative element."""

_ONE_VALUE = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""Ops that pass on the one element that they are given."""

_MOST_NODES = 64
_MOST_PASSED = 8


class Signs:
    """Proofs for tensors that index a dim of ``size``; None where the size is not static.

    ``dim`` names the tensor that is indexed and the axis, where its run-time size may be told from
    others. What is not proven counts as possibly negative. Sums and products are taken not to
    overflow: indices that do are out of range anyway.
    """

    def __init__(self, scope: Scope, size: int | None, dim: tuple[str, int] | None = None) -> None:
        self._scope = scope
        self._size = size
        self._dim = dim
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
        if op == "Add" and len(inputs) == 2 and self._is_last(inputs):
            return True
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
        """``Where(i < 0, Add(i, size), i)``: indices counted from the front."""
        index, wrapped = where.inputs[2], self._scope.producer(where.inputs[1])
        if wrapped is None or wrapped.op != "Add" or not self._tells(where.inputs[0], index):
            return False
        added = [t for t in wrapped.inputs if t is not index]
        return len(added) == 1 and self._is_size(added[0])

    def _tells(self, condition: gs.Tensor, index: gs.Tensor) -> bool:
        """Whether a condition is ``index < 0``."""
        scope = self._scope
        value, given = scope.folded(condition), scope.folded(index)
        if value is not None and given is not None:
            return bool(np.array_equal(value, np.less(given, 0)))
        node = scope.producer(condition)
        if node is None or node.op != "Less" or node.inputs[0] is not index:
            return False
        zero = scope.folded(node.inputs[1])
        return zero is not None and not bool(np.any(zero))

    def _is_size(self, tensor: gs.Tensor) -> bool:
        """Whether a tensor holds nothing but the size of the dim that is indexed."""
        scope = self._scope
        value = scope.folded(tensor)
        if value is not None:
            return self._size is not None and bool(np.all(np.equal(value, self._size)))
        node = scope.producer(tensor)
        for _ in range(_MOST_PASSED):
            if node is None or node.op not in _ONE_VALUE:
                break
            node = scope.producer(node.inputs[0])
        if node is None or node.op != "Gather" or self._dim is None:
            return False
        shape, place = scope.producer(node.inputs[0]), scope.folded(node.inputs[1])
        if shape is None or shape.op != "Shape" or set(shape.attrs) & {"start", "end"}:
            return False
        if place is None or place.size != 1:
            return False
        return self._is_dim(shape.inputs[0], int(place.reshape(-1)[0]))

    def _is_dim(self, tensor: gs.Tensor, axis: int) -> bool:
        """Whether a dim of a tensor is the one that is indexed."""
        if self._dim is None or tensor.name != self._dim[0]:
            return False
        rank, indexed = self._scope.rank(tensor), self._dim[1]
        if rank is None:
            return axis == indexed
        return axis % rank == indexed % rank

    def _is_last(self, inputs: list[gs.Tensor]) -> bool:
        """The sum of the size and a number from -1 on: a dim without a last element has none to
        index."""
        for number, size in (inputs, inputs[::-1]):
            value = self._scope.folded(number)
            if value is not None and not bool(np.any(np.less(value, -1))) and self._is_size(size):
                return True
        return False
