"""Reductions whose axes input the target does not read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip
from onnx_fix.emit import Emitter
from onnx_fix.op_names import REDUCTIONS
from onnx_fix.scope import Scope, TypeInfo, attribute, has_unresolved
from onnx_fix_passes._reductions import (
    FLOATS,
    Reducer,
    axes_of,
    in_float,
    is_non_negative,
    keeps_dims,
    normalized,
)

_OF_INTEGERS = frozenset({"ReduceL1", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceSumSquare"})
_ROUNDED = frozenset(REDUCTIONS) - {"ReduceMax", "ReduceMin"}
_MINE = frozenset({"ignored_input", "ignored_attribute"})
_NO_WAY = "; export with opset 17 or lower, or lower the opset: axes are an attribute there"


@dataclass(frozen=True)
class ReduceAxesInput(Pass):
    """Write a reduction whose axes input the target ignores by ops whose axes it reads.

    Since opset 18 (ReduceSum: 13) the axes of a reduction are an input. TensorRT before 10.0
    (ReduceSum: before 8.0) does not read it and reduces over all axes, without a message.

    Rules, for constant axes:

    1. ReduceL1, ReduceL2, ReduceSumSquare, ReduceLogSum, ReduceMean and ReduceLogSumExp (less its
       maximum, so that nothing overflows) by way of ReduceSum.
    2. ReduceMax and ReduceMin by TopK with K = 1, along one axis after the other.
    3. ReduceSum of floating-point numbers by ReduceL1: of the data where they cannot be negative,
       else of their positive part less that of their negative part.
    4. No axes at all and ``noop_with_empty_axes``: what is left of the op without reducing.

    Half precision is summed in float32 where several nodes replace one.

    Before:
        y = ReduceL2 (x, axes)
    After:
        a = Mul (x, x)
        b = ReduceSum (a, axes)
        y = Sqrt (b)
    Exact:
        ReduceMax and ReduceMin: yes, NaN aside, of which ONNX says nothing; an axis of length 0
        would make TopK fail, which a note says where the length is dynamic. The others: rounding
        only. Left alone: axes that name every dimension anyway (ignoring them is right), axes
        computed at run time, ReduceProd (no other op multiplies), integers where an op is for
        floating-point numbers.
    Since: 0.1
    """

    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends(kind, op, "the axes are constant and other ops give the same")
        for kind in ("ignored_attribute", "ignored_input")
        for op in REDUCTIONS
    )

    everywhere: bool = False
    """Also rewrite reductions that the target takes, but for ReduceSum and ReduceProd."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose another form for every reduction whose axes are not read."""
        for node in scope.nodes(*REDUCTIONS):
            everywhere = self.everywhere and node.op not in ("ReduceProd", "ReduceSum")
            if node.inputs and (everywhere or _ignored(scope, node)):
                yield _site(scope, node)


def _ignored(scope: Scope, node: gs.Node) -> bool:
    findings = scope.judge(node).findings
    return any(f.kind in _MINE and (f.refuses or f.in_doubt) for f in findings)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    x = node.inputs[0]
    if has_unresolved(node, "axes", "keepdims", "noop_with_empty_axes"):
        return Skip(node, "an attribute comes from a function parameter: inline it")
    axes = axes_of(scope, node)
    if axes is None:
        return Skip(node, f"the axes '{node.inputs[1].name}' are computed at run time{_NO_WAY}")
    known = TypeInfo(scope.dtype(x), scope.shape(x))
    if known.dtype is None:
        return Skip(node, f"the element type of '{x.name}' is not known")
    if not axes and not attribute(node, "noop_with_empty_axes", int, 0):
        if known.shape is None:
            return Skip(node, f"all axes are reduced, and the rank of '{x.name}' is not known")
        axes = tuple(range(len(known.shape)))
    axes = normalized(axes, known.shape)
    if known.shape is not None and any(known.shape[axis] == 0 for axis in axes):
        return Skip(node, f"'{x.name}' is empty along the axes {list(axes)}")
    if axes and node.op == "ReduceProd":
        return Skip(node, f"no other op multiplies along an axis{_NO_WAY}")
    if axes and known.dtype == TensorProto.BOOL:
        return Skip(node, f"{node.op} of booleans has no form by other ops{_NO_WAY}")
    if axes and known.dtype not in FLOATS and node.op not in _OF_INTEGERS:
        return Skip(node, f"{node.op} of integers has no form by other ops{_NO_WAY}")
    e = Emitter(scope)
    r = Reducer(e, known, axes, keeps_dims(node))
    result = _form(node, r, x)
    if result is None or any(new.op == node.op for new in e.rewrite(node, result).new):
        return Skip(node, f"the target reads the axes of no op that would do{_NO_WAY}")
    note = ""
    if axes and node.op in ("ReduceMax", "ReduceMin", "ReduceLogSumExp"):
        shape = known.shape
        if shape is None or not all(isinstance(shape[axis], int) for axis in axes):
            note = f"'{x.name}' is taken not to be empty along the axes {list(axes)}"
    rounded = known.dtype in FLOATS and node.op in _ROUNDED and result is not x
    exactness = Exactness.ROUNDING if rounded else Exactness.EXACT
    return e.rewrite(node, result, exactness=exactness, note=note)


def _form(node: gs.Node, r: Reducer, x: gs.Tensor) -> gs.Tensor | None:
    op, e = node.op, r.e
    if op == "ReduceProd":
        return x
    if op in ("ReduceMax", "ReduceMin"):
        return r.extremum(x, largest=op == "ReduceMax") if r.axes else x
    if not r.axes and op in ("ReduceSum", "ReduceMean", "ReduceLogSumExp"):
        return x

    def body(data: gs.Tensor) -> gs.Tensor | None:
        if op == "ReduceSum":
            return r.sum(data, non_negative=is_non_negative(e.scope, x))
        if op == "ReduceL1":
            return r.l1(data)
        if op == "ReduceL2":
            return r.l2(data)
        if op == "ReduceSumSquare":
            return r.square(data)
        if op == "ReduceLogSumExp":
            return _log_sum_exp(r, data)
        total = r.sum(data)
        if total is None:
            return None
        if op == "ReduceLogSum":
            return e("Log", total)
        count = r.count(x, TensorProto.FLOAT if r.half else int(r.known.dtype or 0))
        return None if count is None else e("Div", total, count)

    return in_float(e, x, r.known.dtype, body)


def _log_sum_exp(r: Reducer, x: gs.Tensor) -> gs.Tensor | None:
    """``log(sum(exp(x - m))) + m`` with m the maximum, made finite so that Inf - Inf never occurs.

    A row of -Inf gives log(0) = -Inf, a row with +Inf gives +Inf, one with NaN gives NaN.
    """
    e = r.e
    dtype = TensorProto.FLOAT if r.half else int(r.known.dtype or 0)
    inner = Reducer(e, TypeInfo(dtype, r.known.shape), r.axes, True)
    largest = inner.extremum(x, largest=True)
    if largest is None:
        return None
    most = float(np.finfo(onnx.helper.tensor_dtype_to_np_dtype(dtype)).max)
    low, high = e.const(-most, dtype), e.const(most, dtype)
    finite = e("Min", e("Max", largest, low), high)
    total = inner.sum(e("Exp", e("Sub", x, finite)), non_negative=True)
    if total is None:
        return None
    result = e("Add", e("Log", total), finite)
    return result if r.keepdims else r.drop(result)
