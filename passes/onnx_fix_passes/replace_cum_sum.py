"""CumSum as ops that the target takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, elem_type, has_unresolved
from onnx_fix.target.facts import TensorFacts
from onnx_fix_passes import _cum_sum_forms as forms
from onnx_fix_passes import _cum_sum_ones as ones
from onnx_fix_passes._uniform import uniform_value

_TYPES = frozenset(
    {
        int(TensorProto.BFLOAT16),
        int(TensorProto.DOUBLE),
        int(TensorProto.FLOAT),
        int(TensorProto.FLOAT16),
        int(TensorProto.INT32),
        int(TensorProto.INT64),
        int(TensorProto.UINT32),
        int(TensorProto.UINT64),
    }
)
"""What ONNX lets CumSum sum (operator set 14)."""


@dataclass(frozen=True)
class ReplaceCumSum(Pass):
    """Replaces CumSum where the target lacks it: by Range when it counts, else by other sums.

    Before:
        n = Shape(x); ones = ConstantOfShape <value = int64[1] {1}> (n);
        c = CumSum(ones, axis); i = Sub(c, one)
    After:
        i = Range(zero, n, one)

    1. Everything constant: the sums become a constant.
    2. Several sums that differ in axis or direction, on a target that computes them all as one:
       those that differ from the first take the forms that follow.
    3. An axis that is computed from constants, on a target that has CumSum but wants the axis as
       an initializer: CumSum stays, and its axis becomes one.
    4. A tensor filled with one value (ones of both exporters: ConstantOfShape, Expand, Cast
       between): a Range of integers, with the Add, Sub and Cast behind the CumSum taken in, Cast
       to the type of the result, and Expand when there are other axes. A value that is no whole
       number multiplies the Range. Zeros: the tensor itself.
    5. A length known at build time: log-step, ``ceil(log2 n)`` times Slice, Add and Concat.
    6. A length known at run time only: a masked sum, which compares two Ranges, selects with Where
       and sums with ReduceSum. It needs memory for length squared times the other sizes: 16 MiB
       for a single row of 2048 floats. Where the target misreads the axes of ReduceSum
       (TensorRT 7 from operator set 13 on) floats are summed by a MatMul with ones instead, and
       booleans that were cast to integers as floats; other integers are left.
    7. An axis that is known at run time only: the sums along all axes, and Where between them.
    8. ``method: matmul``: floats by one MatMul with a triangular matrix of ones, in place of the
       many small nodes of form 5; but zero times infinity is NaN in it.

    Exact: integers are, and so are constants and counts in integers. Sums that leave their type
        wrap around in forms 4 and 5 as CumSum's do; form 6 does what the ReduceSum of the runtime
        does (onnxruntime adds integers in double precision: exact up to 2**53). Floats are summed
        in another order (rounding only, and a sum of finite numbers may then overflow earlier or
        later). Infinities and NaNs come out where they did, which is why form 8 is not the
        default. Ones counted in floats are exact as far as the type counts: 2**24 in float32,
        2**11 in float16, 2**8 in bfloat16. Beyond that a running sum stalls where a Range goes on,
        so a longer static length takes form 5, and a dynamic one carries the limit in its note.
        Left alone: an unknown rank, sums of booleans (which ONNX does not have, though an exporter
        writes them).
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends(kind, "CumSum", "the rank is known")
        for kind in (
            "differs_from_first",
            "input_must_be_constant",
            "no_importer",
            "static_shape_only",
        )
    )

    method: Literal["auto", "log_step", "masked_sum", "matmul"] = "auto"
    """How sums are made that are no counts: ``auto`` is ``log_step`` for a static length and
    ``masked_sum`` for a dynamic one. ``matmul`` holds for floats, and only where no infinity and
    no NaN is summed; integers go on as under ``auto``."""

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("CumSum"):
            verdict = scope.judge(node).status
            if self.everywhere or verdict != "supported":
                yield self._site(scope, node)

    def _site(self, scope: Scope, node: gs.Node) -> Rewrite | Skip:
        data, out = node.inputs[0], node.outputs[0]
        shape, dtype = scope.shape(data), scope.dtype(data)
        if has_unresolved(node, "exclusive", "reverse"):
            return Skip(node, "exclusive or reverse is a parameter of the function around it")
        e = Emitter(scope)
        whole = scope.folded(out)
        if whole is not None:
            return e.rewrite(node, e.const(whole))
        given = scope.folded(node.inputs[1])
        if given is None or given.size != 1:
            return self._selected(scope, e, node)
        if not self.everywhere and _takes_constant_axis(scope, node):
            kept = {k: v for k, v in node.attrs.items() if k in ("exclusive", "reverse")}
            return e.rewrite(node, e("CumSum", data, given.reshape(()), **kept))
        if shape is None:
            return Skip(node, "the rank of its input is not known")
        if dtype is None:
            return Skip(node, "the element type of its input is not known")
        if dtype not in _TYPES:
            name = TensorProto.DataType.Name(dtype)
            return Skip(node, f"ONNX has no CumSum of {name}: cast its input to INT64 first")
        axis = int(given.reshape(-1)[0])
        if not -len(shape) <= axis < len(shape):
            return Skip(node, f"its axis {axis} does not exist in a tensor of rank {len(shape)}")
        s = forms.Sum(
            data,
            axis % len(shape),
            len(shape),
            bool(attribute(node, "exclusive", int, 0)),
            bool(attribute(node, "reverse", int, 0)),
            dtype,
        )
        return self._count(scope, e, node, s) or self._sum(scope, e, node, s)

    def _selected(self, scope: Scope, e: Emitter, node: gs.Node) -> Rewrite | Skip:
        """The sums along every axis, and that one of them that the axis names."""
        data, axis = node.inputs[:2]
        shape, dtype = scope.shape(data), scope.dtype(data)
        if not shape or dtype not in _TYPES:
            return Skip(node, "the axis is known at run time only, and the rank of the data is not")
        rank = len(shape)
        if rank > 1 and not scope.refused(node):
            return Skip(node, "the axis is known at run time only, which the target may take")
        kept = {k: v for k, v in node.attrs.items() if k in ("exclusive", "reverse")}
        flags = (bool(attribute(node, k, int, 0)) for k in ("exclusive", "reverse"))
        exclusive, reverse = flags
        stays = not self.everywhere and _takes_axis(scope, node, np.asarray(0, np.int64))
        sums: list[gs.Tensor] = []
        for k in range(rank):
            if stays:
                sums.append(e("CumSum", data, np.asarray(k, np.int64), **kept))
                continue
            made = _written(scope, e, forms.Sum(data, k, rank, exclusive, reverse, dtype))
            if made is None:
                return Skip(node, "the axis is known at run time only, and other sums are misread")
            sums.append(made)
        result = sums[0]
        if rank > 1:
            kind = scope.dtype(axis) or int(TensorProto.INT64)
            front = e("Add", axis, e.const(rank, kind))
            axis = e("Where", e("Less", axis, e.const(0, kind)), front, axis)
        for k, one in enumerate(sums[1:], 1):
            result = e("Where", e("Equal", axis, e.const(k, kind)), one, result)
        rounds = forms.is_float(dtype) and not stays
        return e.rewrite(
            node,
            result,
            exactness=Exactness.ROUNDING if rounds else Exactness.EXACT,
            note=f"the axis is known at run time only: all {rank} are summed" if rank > 1 else "",
        )

    def _count(self, scope: Scope, e: Emitter, node: gs.Node, s: forms.Sum) -> Rewrite | None:
        value = uniform_value(scope, s.data)
        if value is None:
            return None
        if value == 0:
            return e.rewrite(node, s.data)
        found = ones.progression(
            scope, node, s.axis, value, exclusive=s.exclusive, reverse=s.reverse
        )
        if found is None:
            return None
        exactness, note = ones.exactness(scope, found)
        return e.rewrite(found.chain, ones.emit(scope, e, found), exactness=exactness, note=note)

    def _sum(self, scope: Scope, e: Emitter, node: gs.Node, s: forms.Sum) -> Rewrite | Skip:
        count = (scope.shape(s.data) or ())[s.axis]
        floats = forms.is_float(s.dtype)
        rounds = Exactness.ROUNDING if floats else Exactness.EXACT
        if isinstance(count, int) and count - s.exclusive <= 1:
            return e.rewrite(node, forms.log_step(scope, e, s, count))
        if self.method == "matmul" and floats:
            return e.rewrite(
                node,
                forms.matmul(scope, e, s),
                exactness=Exactness.CONTRACT,
                note="an infinity or NaN makes every sum along its row NaN",
                asked_by="method",
            )
        if isinstance(count, int) and self.method != "masked_sum":
            return e.rewrite(node, forms.log_step(scope, e, s, count), exactness=rounds)
        if self.method == "log_step":
            return Skip(
                node,
                "method log_step needs a length that is known at build time: fix the dim "
                "(--static), or use method masked_sum",
            )
        size = " x ".join("?" if d is None else str(d) for d in scope.shape(s.data) or ())
        note = f"all prefixes of ({size}) side by side: memory grows with the square of the axis"
        result = forms.masked_sum(scope, e, s)
        if result is None:
            result = forms.truth_sum(scope, e, s)
            rounds = Exactness.ROUNDING
            note += "; exact up to 16,777,216 elements along it"
        if result is None:
            return Skip(
                node,
                f"the axes of ReduceSum are misread by {scope.target.name} in operator set "
                f"{scope.opset}, and integers of a dynamic length have no other sum: "
                "fix the dim (--static), or export with operator set 12 or lower",
            )
        return e.rewrite(node, result, exactness=rounds, note=note)


def _takes_constant_axis(scope: Scope, node: gs.Node) -> bool:
    """Whether the axis is all that is wrong: the target has the op, and the axis can be folded."""
    if scope.constness(node.inputs[1]) == "initializer":
        return False
    axis = scope.folded(node.inputs[1])
    return axis is not None and _takes_axis(scope, node, axis)


def _written(scope: Scope, e: Emitter, s: forms.Sum) -> gs.Tensor | None:
    """A sum in other ops, None where the target has none for it."""
    count = (scope.shape(s.data) or ())[s.axis]
    if isinstance(count, int):
        return forms.log_step(scope, e, s, count)
    made = forms.masked_sum(scope, e, s)
    return forms.truth_sum(scope, e, s) if made is None else made


def _takes_axis(scope: Scope, node: gs.Node, axis: NDArray[np.generic]) -> bool:
    """Whether the target takes the node with a constant axis."""
    if not scope.target.has_importer("CumSum"):
        return False
    dtype = elem_type(axis.dtype)
    constant = TensorFacts("axis", dtype, (), "initializer", lambda: np.asarray(axis))
    attrs = {k: v for k, v in node.attrs.items() if k in ("exclusive", "reverse")}
    return scope.accepts("CumSum", [node.inputs[0], constant], attrs)
