"""NonZero where what is done with its result needs no list of coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix_passes import _non_zero_ends as ends
from onnx_fix_passes._uniform import length, sizes, uniform_value

_LARGEST = 2**20
"""Coordinates of constant masks are stored up to this many numbers (8 MiB)."""


@dataclass(frozen=True)
class ReplaceNonZero(Pass):
    """Replaces NonZero where its coordinates are constant, a grid, or only a way to a mask's work.

    Before:
        n = NonZero(mask); i = Transpose <perm = [1, 0]> (n);
        v = Expand(value, count); y = ScatterND(x, i, v)
    After:
        y = Where(mask, value, x)

    1. A constant mask: its coordinates are a constant.
    2. A mask filled with one value: an empty list for zero, else the grid of all coordinates, one
       Range for each dimension, expanded and joined. The shape may be known at run time only.
    3. ``x[mask] = v``: ScatterND at the coordinates becomes Where. ``v`` may be a scalar, a row for
       each selected row, gathered by the same mask from a tensor of the shape of ``x``
       (``x[mask] = y[mask]``), or computed from these element by element (``x[mask] *= 2``). A
       ``reduction`` of ScatterND becomes its op, since no coordinate occurs twice. Booleans are
       selected by And, Or and Not.
    4. A sum over ``y[mask]`` becomes the sum of Where(mask, y, 0), and so do other reductions over
       all of it, each with what it gives for nothing: the maximum with the lowest number, a
       product with 1. A mean of floats is their sum by the count, and 0 of nothing, which ONNX
       leaves open and onnxruntime has.
    5. Only counted, by Shape or Size of the coordinates or of what is gathered at them: the sum of
       the mask as integers.

    Rules 3 to 5 apply where they cover every use of the coordinates; else the node is left.

    Exact: rules 1, 2, 3 and 5, and 4 for integers and extremes; floats are summed in another order
        (rounding only). NaN counts as not zero. Rule 3 takes the mask to broadcast to ``x``, as
        indexing demands, where the exporter expanded it to the shape of ``x``. Left alone: what
        needs the coordinates themselves, because their number depends on the data (bound-non-zero
        bounds it where it is asked to); means of integers and of halfs; masks of rank 0, for which
        the specification and onnxruntime differ.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends(kind, "NonZero", "what is done with the coordinates has another form")
        for kind in ("dtype", "needs_plugin", "no_importer")
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        done: set[int] = set()
        for node in scope.nodes("NonZero"):
            if self.everywhere or scope.judge(node).status != "supported":
                for site in _sites(scope, node):
                    key = id(site.old[0]) if isinstance(site, Rewrite) else id(site.node)
                    if key not in done:
                        done.add(key)
                        yield site


def _sites(scope: Scope, node: gs.Node) -> Iterator[Rewrite | Skip]:
    mask = node.inputs[0]
    rank = scope.rank(mask)
    if rank is None:
        yield Skip(node, "the rank of its input is not known")
        return
    if rank == 0:
        yield Skip(
            node,
            "its input is a scalar, for which the ONNX specification and onnxruntime give results "
            "of different shapes",
        )
        return
    whole = scope.folded(mask)
    if whole is not None:
        found = np.stack(np.nonzero(whole)).astype(np.int64)
        if found.size <= _LARGEST:
            e = Emitter(scope)
            yield e.rewrite(node, e.const(found))
            return
    value = uniform_value(scope, mask)
    if value is not None:
        yield _uniform(scope, node, rank, nought=bool(value == 0))
        return
    yield from ends.sites(scope, node)


def _uniform(scope: Scope, node: gs.Node, rank: int, *, nought: bool) -> Rewrite | Skip:
    """All coordinates of a tensor, in row-major order, or none."""
    e, mask = Emitter(scope), node.inputs[0]
    if nought:
        return e.rewrite(node, e.const(np.zeros((rank, 0), np.int64)))
    if scope.opset < 11:
        return Skip(node, "the grid of its coordinates needs Range: export with operator set 11")
    shape = scope.shape(mask) or ()
    known = [d for d in shape if isinstance(d, int)]
    if len(known) == rank and rank * math.prod(known) <= _LARGEST // 16:
        grid = np.indices(known).reshape(rank, math.prod(known))
        return e.rewrite(node, e.const(grid.astype(np.int64)))
    lines = []
    for axis in range(rank):
        zero, one = np.asarray(0, np.int64), np.asarray(1, np.int64)
        line: gs.Tensor = e("Range", zero, length(scope, e, mask, axis), one)
        if rank > 1:
            tail = rank - 1 - axis
            column = e.reshape(line, [-1] + [1] * tail) if tail else line
            line = e("Expand", column, sizes(scope, e, mask))
        lines.append(e.reshape(line, [1, -1]))
    return e.rewrite(node, e.concat(lines, 0))
