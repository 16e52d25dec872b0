"""The pass ``replace-affine-grid``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import helper

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix.shape_values import ShapeValues

_NOTE = "where a size is 1, align_corners has no agreed meaning: its coordinate is taken as -1"


@dataclass(frozen=True)
class ReplaceAffineGrid(Pass):
    """Write AffineGrid as a sum of products along every axis.

    The coordinates along an axis are a constant row where the size is known, and are counted by a
    Range where it is not. The function body that ONNX gives for the op is not used: it has some
    sixty nodes and fails for a batch of one.

    Before:
        grid = AffineGrid (theta, [N, C, H, W])
    After:
        a = Gather <axis = 2> (theta, 0)  b = Gather (theta, 1)  c = Gather (theta, 2)
        grid = Add (Add (Mul (a, xs), Mul (b, ys)), c) with dims of size 1 put in
    Exact:
        Rounding only: the products are summed along another way. With align_corners and a size
        known at run time only, a size of 1 gives -1 as in onnx.reference, which the note says.
        Left alone: align_corners with a constant size of 1, for which onnx.reference, onnxruntime
        and the function body give -1, 1 and NaN; a rank of the grid that is not known.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "AffineGrid", "it is known whether the grid is 2-D or 3-D"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose the sum for every AffineGrid that the target refuses."""
        values: ShapeValues | None = None
        for node in scope.nodes("AffineGrid"):
            if self.everywhere or scope.refused(node):
                values = values or scope.model.shape_values(scope)
                yield _site(scope, node, values)


def _site(scope: Scope, node: gs.Node, values: ShapeValues) -> Rewrite | Skip:
    theta, size = node.inputs
    if has_unresolved(node, "align_corners"):
        return Skip(node, "align_corners is a parameter of the function around it; inline it first")
    aligned = bool(attribute(node, "align_corners", int, 0))
    dims = _dims(scope, node, values)
    dtype = scope.dtype(theta)
    if dims is None:
        return Skip(
            node,
            f"the number of sizes in '{size.name}' is not known, nor the shape of "
            f"'{theta.name}': whether the grid is 2-D or 3-D follows from either",
        )
    if dtype is None:
        return Skip(node, f"the element type of '{theta.name}' is not known")
    if aligned and 1 in dims:
        return Skip(
            node,
            "a size is 1 and align_corners is set: onnx.reference, onnxruntime and ONNX's function "
            "body give other coordinates each; leave align_corners out in the network",
        )
    e = Emitter(scope)
    count = len(dims)
    total: gs.Tensor | None = None
    # The last axis is the first coordinate.
    for place in range(count):
        axis = count - 1 - place
        row = _row(e, size, axis, dims[axis], dtype, aligned)
        row = e.unsqueeze(row, [k for k in range(count + 2) if k != axis + 1])
        term = e("Mul", _column(e, theta, place, count), row)
        total = term if total is None else e("Add", total, term)
    assert total is not None
    result = e("Add", total, _column(e, theta, count, count))
    run_time = aligned and any(d is None for d in dims)
    note = _NOTE if run_time else ""
    return e.rewrite(node, result, exactness=Exactness.ROUNDING, note=note)


def _dims(scope: Scope, node: gs.Node, values: ShapeValues) -> list[int | None] | None:
    """The sizes of the grid, None where one is known at run time only; None for an unknown rank."""
    theta, size = node.inputs
    folded = scope.folded(size)
    if folded is not None:
        return [int(n) for n in folded.reshape(-1)[2:]]
    known = values.value(size)
    if known is not None:
        return [d if isinstance(d, int) else None for d in known[2:]]
    length = (scope.shape(size) or (None,))[0]
    if isinstance(length, int):
        return [None] * (length - 2)
    rows = (scope.shape(theta) or (None, None))[1]
    return [None] * rows if isinstance(rows, int) else None


def _column(e: Emitter, theta: gs.Tensor, place: int, count: int) -> gs.Tensor:
    """The factors of one coordinate: [N, 1, .., 1, count]."""
    column = e("Gather", theta, np.asarray(place, np.int64), axis=2)
    return e.unsqueeze(column, list(range(1, count + 1)))


def _row(
    e: Emitter, size: gs.Tensor, axis: int, known: int | None, dtype: int, aligned: bool
) -> gs.Tensor:
    """The coordinates along an axis, from -1 to 1."""
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    one, two, minus = (np.asarray(n, kind) for n in (1, 2, -1))
    if known is not None:
        step = two / np.asarray(max(known - 1, 1) if aligned else known or 1, kind)
        start = minus if aligned else minus + step / two
        return e.const((start + np.arange(known).astype(kind) * step).astype(kind))
    count = e("Gather", size, np.asarray(axis + 2, np.int64), axis=0)
    zero, unit = np.asarray(0, np.int64), np.asarray(1, np.int64)
    places = e.cast(e("Range", zero, count, unit), dtype)
    if not aligned:
        step_ = e("Div", two, e.cast(count, dtype))
        return e("Add", e("Add", minus, e("Div", step_, two)), e("Mul", places, step_))
    gaps = e.cast(count, dtype)
    gaps = e("Max", e("Sub", gaps, one), one)
    return e("Add", minus, e("Mul", places, e("Div", two, gaps)))
