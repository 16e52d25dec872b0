"""Reductions over given axes, written by ops whose axes the target reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, TypeInfo, attribute
from onnx_fix.target import TensorFacts
from onnx_fix.target.facts import Dim

HALF = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
FLOATS = HALF | {TensorProto.FLOAT, TensorProto.DOUBLE}

AXES_INPUT_SINCE = {"ReduceSum": 13}
"""The operator set in which ``axes`` became an input; 18 for the other reductions."""

_NON_NEGATIVE = frozenset({"Abs", "Exp", "Relu", "ReduceL1", "ReduceL2", "ReduceSumSquare"})
_NON_NEGATIVE |= {"Sigmoid", "Softmax", "Softplus", "Sqrt"}


@dataclass(frozen=True)
class Reducer:
    """Writes reductions of one tensor of a known element type.

    ``axes`` may be empty: then nothing is reduced, and only the rest of the op is done. Methods
    give None where the target has no op that would do.
    """

    e: Emitter
    known: TypeInfo
    axes: tuple[int, ...]
    keepdims: bool

    @property
    def scope(self) -> Scope:
        """The scope that the nodes are written for."""
        return self.e.scope

    @property
    def half(self) -> bool:
        """Whether sums are better taken in float32."""
        return self.known.dtype in HALF

    def facts(self, dtype: int | None = None) -> TensorFacts:
        """The tensor as the target is asked about it.

        Where the rank is not known it is taken to be higher than the axes show, so that an op that
        ignores its axes is refused, not in doubt.
        """
        shape = self.known.shape
        if shape is None:
            highest = max((a if a >= 0 else -a - 1 for a in self.axes), default=0)
            shape = (None,) * (max(highest, len(self.axes)) + 1)
        return TensorFacts("x", dtype=dtype or self.known.dtype, shape=shape)

    def takes(self, op: str) -> bool:
        """Whether the target takes this op with these axes, in the spelling of the model."""
        facts = self.facts(TensorProto.FLOAT if self.half else None)
        attrs = {"keepdims": int(self.keepdims)}
        if self.scope.opset >= AXES_INPUT_SINCE.get(op, 18):
            return self.scope.accepts(op, [facts, self.e.ints(self.axes)], attrs)
        return self.scope.accepts(op, [facts], {**attrs, "axes": list(self.axes)})

    def direct(self, op: str, x: gs.Tensor) -> gs.Tensor:
        """The op itself."""
        return self.e.reduce(op, x, self.axes, keepdims=self.keepdims)

    def sum(self, x: gs.Tensor, *, non_negative: bool = False) -> gs.Tensor | None:
        """The sum. Without ReduceSum: of absolute values, of the positive and negative part.

        Sums of integers that floating-point numbers hold exactly stay exact.
        """
        if not self.axes:
            return x
        if self.takes("ReduceSum"):
            return self.direct("ReduceSum", x)
        if self.known.dtype not in FLOATS or not self.takes("ReduceL1"):
            return None
        if non_negative:
            return self.direct("ReduceL1", x)
        zero = self.e.const(0.0, TensorProto.FLOAT if self.half else self.known.dtype)
        up = self.direct("ReduceL1", self.e("Max", x, zero))
        down = self.direct("ReduceL1", self.e("Min", x, zero))
        return self.e("Sub", up, down)

    def l1(self, x: gs.Tensor) -> gs.Tensor | None:
        """The sum of absolute values."""
        return self.sum(self.e("Abs", x), non_negative=True)

    def square(self, x: gs.Tensor) -> gs.Tensor | None:
        """The sum of squares."""
        return self.sum(self.e("Mul", x, x), non_negative=True)

    def l2(self, x: gs.Tensor) -> gs.Tensor | None:
        """The Euclidean norm."""
        total = self.square(x)
        return None if total is None else self.e("Sqrt", total)

    def extremum(self, x: gs.Tensor, *, largest: bool) -> gs.Tensor | None:
        """The largest or smallest element, by TopK with K = 1 along one axis after the other.

        TopK of the negated data where the target takes the largest only; from opset 11 on.
        """
        one = self.e.ints([1])
        for axis in self.axes if self.scope.opset >= 11 else ():
            attrs: dict[str, Any] = {"axis": axis, "largest": int(largest), "sorted": 1}
            if self._top(one, attrs):
                x = self.e.many("TopK", 2, x, one, **attrs)[0]
                continue
            attrs["largest"] = 1
            # The smallest integer has no negative.
            if largest or self.known.dtype not in FLOATS or not self._top(one, attrs):
                return None
            x = self.e("Neg", self.e.many("TopK", 2, self.e("Neg", x), one, **attrs)[0])
        if self.scope.opset < 11:
            return None
        return x if self.keepdims else self.drop(x)

    def _top(self, one: gs.Tensor, attrs: dict[str, Any]) -> bool:
        return self.scope.accepts("TopK", [self.facts(), one], attrs)

    def drop(self, x: gs.Tensor) -> gs.Tensor | None:
        """Take off the axes, which have size 1."""
        facts = self.facts()
        if self.scope.opset < 13:
            return self.e.squeeze(x, self.axes)
        if self.scope.accepts("Squeeze", [facts, self.e.ints(self.axes)]):
            return self.e.squeeze(x, self.axes)
        if min(self.axes) < 0:
            return None
        for axis in sorted(self.axes, reverse=True):
            x = self.e("Gather", x, self.e.const(0), axis=axis)
        return x

    def count(self, x: gs.Tensor, dtype: int) -> gs.Tensor | None:
        """The number of elements that one result is made of, a scalar of the element type."""
        shape = self.known.shape
        sizes = None if shape is None else [shape[axis] for axis in self.axes]
        if sizes is not None and all(isinstance(size, int) for size in sizes):
            whole = int(np.prod([size for size in sizes if isinstance(size, int)], dtype=np.int64))
            return self.e.const(whole, dtype)
        if shape is None and min(self.axes) < 0:
            return None
        every = self.e.shape(x)
        total: gs.Tensor | None = None
        for axis in self.axes:
            at = axis if shape is None else axis % len(shape)
            size = self.e("Gather", every, self.e.const(at), axis=0)
            total = size if total is None else self.e("Mul", total, size)
        return None if total is None else self.e.cast(total, dtype)


def in_float(
    e: Emitter, x: gs.Tensor, dtype: int | None, body: Callable[[gs.Tensor], gs.Tensor | None]
) -> gs.Tensor | None:
    """Do the work in float32 where the tensor is of half precision, as onnxruntime does."""
    if dtype not in HALF:
        return body(x)
    result = body(e.cast(x, TensorProto.FLOAT))
    return None if result is None else e.cast(result, int(dtype))


def normalized(axes: Sequence[int], shape: tuple[Dim, ...] | None) -> tuple[int, ...]:
    """The axes, each once and counted from the front where the rank is known."""
    if shape is None:
        return tuple(dict.fromkeys(axes))
    return tuple(sorted({axis % len(shape) if shape else axis for axis in axes}))


def axes_of(scope: Scope, node: gs.Node) -> tuple[int, ...] | None:
    """The axes that a reduction names; () where it names none, None where they are not known."""
    written = node.attrs.get("axes")
    if isinstance(written, list):
        return tuple(int(axis) for axis in written)
    if written is not None:
        return None
    if len(node.inputs) < 2 or not node.inputs[1].name:
        return ()
    value = scope.folded(node.inputs[1])
    return None if value is None else tuple(int(axis) for axis in value.reshape(-1))


def is_non_negative(scope: Scope, x: gs.Tensor) -> bool:
    """Whether a tensor surely holds no negative number."""
    node = scope.producer(x)
    if node is None:
        return False
    if node.op in _NON_NEGATIVE:
        return True
    if node.op == "Mul":
        return len(node.inputs) == 2 and node.inputs[0] is node.inputs[1]
    if node.op == "Cast":
        return scope.dtype(node.inputs[0]) == TensorProto.BOOL
    if node.op == "Pow":
        exponent = scope.constant(node.inputs[1])
        return exponent is not None and bool((np.asarray(exponent, np.float64) % 2 == 0).all())
    return False


def keeps_dims(node: gs.Node) -> bool:
    """Whether a reduction keeps its axes with size 1."""
    return attribute(node, "keepdims", int, 1) != 0
