"""Which floats are provably whole numbers, and between which bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto, helper

from onnx_fix.op_names import REARRANGING
from onnx_fix.scope import Scope, attribute, is_standard

MOVES = REARRANGING | {"MaxPool"}
"""Ops whose first input is of the type of the outputs, which hold elements of it alone."""

_ROUNDING = frozenset({"Ceil", "Floor", "Round"})
_MOST = 96
"""How many tensors are looked at for one answer."""


@dataclass(frozen=True)
class Range:
    """Bounds of the numbers in a tensor, and whether all of them are whole."""

    low: float
    high: float
    whole: bool

    def within(self, low: int, high: int) -> bool:
        """Whether they are whole numbers between two bounds."""
        return self.whole and low <= self.low and self.high <= high


_ANY = Range(-math.inf, math.inf, False)


def range_of(scope: Scope, tensor: gs.Tensor) -> Range:
    """What is known of the numbers in a tensor; NaNs are not looked for."""
    return _Search(scope).of(tensor)


class _Search:
    """One search backwards through the nodes that make a tensor."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._known: dict[tuple[int, bool], Range] = {}

    def of(self, tensor: gs.Tensor, ends_only: bool = False) -> Range:
        """The range of a tensor, that of its type once the search has gone far enough.

        With ``ends_only`` it does not matter whether the numbers are whole.
        """
        key = id(tensor), ends_only
        if key not in self._known:
            if len(self._known) >= _MOST:
                return _of_type(self.scope, tensor)
            self._known[key] = _of_type(self.scope, tensor)
            self._known[key] = self._find(tensor, ends_only)
        return self._known[key]

    def _find(self, tensor: gs.Tensor, ends_only: bool) -> Range:
        value = self.scope.constant(tensor)
        if value is not None:
            return _of_value(value)
        node = self.scope.producer(tensor)
        if node is None or not is_standard(node):
            return _of_type(self.scope, tensor)
        if node.op in _ROUNDING:
            inner = self.of(node.inputs[0], True)
            return Range(_step(math.floor, inner.low), _step(math.ceil, inner.high), True)
        if node.op == "Clip":
            # Beyond a Clip of two bounds lies nothing that would be known better.
            inner = _clipped(self.scope, node, _ANY)
            if ends_only and math.isfinite(inner.low) and math.isfinite(inner.high):
                return inner
            return _clipped(self.scope, node, self.of(node.inputs[0], ends_only))
        if node.op == "Cast":
            inner, own = self.of(node.inputs[0]), _of_type(self.scope, tensor)
            return inner if inner.whole and own.low <= inner.low <= inner.high <= own.high else own
        if node.op in ("Add", "Mul", "Sub"):
            first, second = (self.of(t, ends_only) for t in node.inputs)
            return _combined(node.op, first, second)
        if node.op == "Concat":
            parts = [self.of(t, ends_only) for t in node.inputs]
            whole = all(p.whole for p in parts)
            return Range(min(p.low for p in parts), max(p.high for p in parts), whole)
        if node.op in MOVES:
            return self.of(node.inputs[0], ends_only)
        return _of_type(self.scope, tensor)


def _combined(op: str, a: Range, b: Range) -> Range:
    whole = a.whole and b.whole
    if op == "Add":
        return Range(a.low + b.low, a.high + b.high, whole)
    if op == "Sub":
        return Range(a.low - b.high, a.high - b.low, whole)
    ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    if any(math.isnan(end) for end in ends):
        return Range(-math.inf, math.inf, whole)
    return Range(min(ends), max(ends), whole)


def _step(round_: Any, bound: float) -> float:
    return float(round_(bound)) if math.isfinite(bound) else bound


def _of_value(value: NDArray[Any]) -> Range:
    wide = value.astype(np.float64)
    if not wide.size:
        return Range(0, 0, True)
    return Range(float(wide.min()), float(wide.max()), bool((wide == np.floor(wide)).all()))


def _of_type(scope: Scope, tensor: gs.Tensor) -> Range:
    dtype = scope.dtype(tensor)
    if dtype is None or dtype == TensorProto.STRING:
        return _ANY
    if dtype == TensorProto.BOOL:
        return Range(0, 1, True)
    kind = np.dtype(helper.tensor_dtype_to_np_dtype(dtype))
    if kind.kind not in "iu":
        return _ANY
    info = np.iinfo(kind)
    return Range(float(info.min), float(info.max), True)


def _clipped(scope: Scope, node: gs.Node, inner: Range) -> Range:
    ends = [-math.inf, math.inf]
    whole = inner.whole
    for k, name in enumerate(("min", "max")):
        given = attribute(node, name, float)
        if given is not None:
            ends[k] = given
        elif len(node.inputs) > k + 1 and node.inputs[k + 1].name:
            bound = scope.folded(node.inputs[k + 1])
            if bound is None or bound.size != 1:
                return Range(inner.low, inner.high, False)
            ends[k] = float(bound.reshape(-1)[0])
        whole = whole and (math.isinf(ends[k]) or ends[k] == math.floor(ends[k]))
    low, high = ends
    if low > high:
        return _ANY
    return Range(min(max(inner.low, low), high), min(max(inner.high, low), high), whole)
