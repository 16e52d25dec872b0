"""The pass ``replace-affine-grid``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved

_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


@dataclass(frozen=True)
class ReplaceAffineGrid(Pass):
    """Write AffineGrid as sums of its coordinates times the columns of its matrix.

    The function body that ONNX gives for the op has an If for images and volumes; which of them it
    is, is known from the shape of the matrix.

    Before:
        grid = AffineGrid (theta, size)
    After:
        c0, c1, c2: Unsqueeze (Gather <axis = 2> (theta, k));
        grid = Add (Add (Mul (x, c0), c2), Mul (y, c1)) with the coordinates x and y
    Exact:
        Rounding only. Half precision is computed in float32. Sizes may be computed at run time.
        Left alone: a matrix of which neither the shape nor the number of sizes is known; an axis of
        size 1 with align_corners, which runtimes place differently (an axis of dynamic size is NaN
        there, as in the function body of the op).
    Since: 0.2
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "AffineGrid", "the rank of the grid is known"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("AffineGrid"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    if has_unresolved(node, "align_corners"):
        return Skip(node, "align_corners is a parameter of the enclosing function; inline it first")
    theta = node.inputs[0]
    dtype, dims = scope.dtype(theta), _dims(scope, node)
    if dtype is None:
        return Skip(node, "the element type of its matrix is not known")
    if dims is None:
        return Skip(
            node, "whether it is of images or volumes is not known: state the shape of theta"
        )
    aligned = bool(attribute(node, "align_corners", int, 0))
    sizes = _sizes(scope, node, dims)
    if aligned and 1 in sizes:
        return Skip(node, "runtimes differ in where an axis of size 1 is with align_corners")
    e = Emitter(scope)
    work = int(TensorProto.FLOAT) if dtype in _HALVES else dtype
    matrix = theta if work == dtype else e.cast(theta, work)
    columns = [
        e.unsqueeze(e("Gather", matrix, e.const(k), axis=2), list(range(1, dims + 1)))
        for k in range(dims + 1)
    ]
    result: gs.Tensor = columns[dims]
    for k in range(dims):  # x, the last axis, comes first
        at = _coordinates(e, node, sizes, dims - 1 - k, work, aligned=aligned)
        result = e("Add", result, e("Mul", at, columns[k]))
    if work != dtype:
        result = e.cast(result, dtype)
    taken = scope.folded(node.inputs[1]) is None and any(s is not None for s in sizes)
    note = f"'{node.inputs[1].name}' is as the stated shape of the grid has it" if taken else ""
    return e.rewrite(node, result, exactness=Exactness.ROUNDING, note=note)


def _dims(scope: Scope, node: gs.Node) -> int | None:
    """2 for images, 3 for volumes."""
    theta, size = (scope.shape(t) for t in node.inputs[:2])
    rank = scope.rank(node.outputs[0])
    given = [
        theta[1] if theta is not None and len(theta) == 3 else None,
        theta[2] - 1
        if theta is not None and len(theta) == 3 and isinstance(theta[2], int)
        else None,
        size[0] - 2 if size and isinstance(size[0], int) else None,
        None if rank is None else rank - 2,
    ]
    return next((d for d in given if d in (2, 3) and isinstance(d, int)), None)


def _sizes(scope: Scope, node: gs.Node, dims: int) -> list[int | None]:
    """The spatial sizes of the grid, as far as they are known."""
    value = scope.folded(node.inputs[1])
    if value is not None and value.size == dims + 2:
        return [int(v) for v in value.reshape(-1)[2:]]
    out = scope.shape(node.outputs[0])
    if out is None or len(out) != dims + 2:
        return [None] * dims
    return [d if isinstance(d, int) else None for d in out[1:-1]]


def _coordinates(
    e: Emitter, node: gs.Node, sizes: list[int | None], k: int, work: int, *, aligned: bool
) -> gs.Tensor:
    """Where the elements along an axis are, between -1 and 1: one behind the other along it."""
    dims, size = len(sizes), sizes[k]
    if size is not None:
        steps = np.arange(size)
        at = 2 * steps / max(1, size - 1) - 1 if aligned else (2 * steps + 1) / max(1, size) - 1
        return e.const(at.reshape(-1, *[1] * (dims - k)), work)
    length = e("Gather", node.inputs[1], e.const(2 + k), axis=0)
    numbers = e.cast(e("Range", e.const(0), length, e.const(1)), work)
    twice, one = e("Mul", numbers, e.const(2, work)), e.const(1, work)
    count = e.cast(length, work)
    if aligned:
        count = e("Sub", count, one)
    else:
        twice = e("Add", twice, one)
    at_ = e("Sub", e("Div", twice, count), one)
    return e.unsqueeze(at_, list(range(1, dims - k + 1)))
