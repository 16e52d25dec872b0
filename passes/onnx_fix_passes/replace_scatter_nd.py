"""The pass ``replace-scatter-nd``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix.signs import Signs
from onnx_fix.target import Dim
from onnx_fix_passes._scatter_forms import (
    Kind,
    carried,
    filled,
    from_front,
    joined,
    kind_of,
    one_more,
    ramp,
    reduced,
    returned,
    size_of,
    too_large,
)
from onnx_fix_passes._scatter_runs import Region, run_of, write_start

_MOST_CONSTANT = 1 << 20
"""Places of constant indices are worked out here for at most this many rows."""

_GROWS = (
    "compares every update with every row of the data: memory grows with the product of their "
    "numbers"
)


@dataclass(frozen=True)
class ReplaceScatterND(Pass):
    """Write ScatterND by ops that every release has.

    1. Rows that follow each other (``x[a:b] = v`` or ``x[i] = v``: constants, a Range or a Slice
       of one, a single index): the updates stand between two Slices of the data.
    2. Otherwise every row of the data is compared with the indices of every update, and takes the
       last update that hits it, or its old value. With a ``reduction`` it takes all that do.
       Constant indices are compared beforehand, where the indexed dims are static.

    Before:
        y = ScatterND (x, i, v)
    After:
        y = Concat <axis = 0> (Slice (x, 0, a), v, Slice (x, a + N, end))
        or, with x of shape [A, B, C] and i of shape [N, 2]:
        hit = And (Equal (i[:, 0], [0 .. A-1]), Equal (i[:, 1], [0 .. B-1])) of [1 + N, A, B],
        with a first index of -1, which hits nothing;
        last = ReduceMax <axes = 0> (Where (hit, [0 .. N], 0)) of [A, B];
        y = Where (last > 0, Gather (Concat (0, v), last), x)
    Exact:
        Yes, but that a reduction by add or mul of floats orders them otherwise (rounding only),
        and that NaN under max or min may win or lose. Where updates overlap without a reduction,
        which ONNX leaves open, the last one wins, as in onnxruntime. Form 2 needs memory for N
        times A times B numbers (with a reduction: times C). Left alone: more numbers than
        ``limit``; data or indices of unknown rank; an unknown number of indexed dims; element
        types that are not taken in Where, even as INT32.
    Since: 0.1
    """

    name: ClassVar[str] = "replace-scatter-nd"
    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends(kind, "ScatterND", "ranks and the number of indexed dims are known")
        for kind in (
            "attribute_allowed_values",
            "attribute_must_be_absent",
            "ignored_attribute",
            "no_importer",
        )
    )

    limit: int = 1 << 24
    """The most numbers that form 2 may compute in one tensor, counting the dims that are static."""

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a rewrite of every ScatterND that the target refuses."""
        for node in scope.nodes("ScatterND"):
            if self.everywhere or (scope.refused(node) and not _takes_bare(scope, node)):
                yield _site(scope, node, self.limit)


def _takes_bare(scope: Scope, node: gs.Node) -> bool:
    """Whether only the attribute, which has its default, is in the way."""
    return node.attrs.get("reduction") == "none" and scope.accepts("ScatterND", node.inputs)


@dataclass
class _Site:
    scope: Scope
    node: gs.Node
    kind: Kind
    shape: tuple[Dim, ...]
    of_indices: tuple[Dim, ...]
    depth: int

    def __post_init__(self) -> None:
        self.data, self.indices, self.updates = self.node.inputs[:3]
        self.front = len(self.of_indices) - 1
        """The number of dims that count updates."""
        self.behind = len(self.shape) - self.depth
        """The number of dims of a row."""


def _site(scope: Scope, node: gs.Node, limit: int) -> Rewrite | Skip:
    kind = kind_of(scope, node)
    if isinstance(kind, Skip):
        return kind
    shape, of_indices = scope.shape(node.inputs[0]), scope.shape(node.inputs[1])
    if shape is None or of_indices is None or not of_indices:
        return Skip(node, "the rank of its data or of its indices is not known")
    depth = of_indices[-1]
    if not isinstance(depth, int):
        return Skip(node, f"the last size of its indices '{node.inputs[1].name}' is not known")
    if not 1 <= depth <= len(shape):
        return Skip(node, f"its indices of {depth} numbers do not fit data of rank {len(shape)}")
    site = _Site(scope, node, kind, shape, of_indices, depth)
    return _by_region(site) or _by_comparing(site, limit)


# -- form 1 ---------------------------------------------------------------------------------------


def _by_region(site: _Site) -> Rewrite | None:
    if site.depth != 1 or site.front > 1:
        return None
    run = run_of(site.scope, site.indices)
    if run is None:
        return None
    size = site.shape[0]
    static = isinstance(site.of_indices[0], int) and (run.fixed >= 0 or isinstance(size, int))
    if site.scope.opset < 10 and (run.terms or not static):
        return None
    e = Emitter(site.scope)
    start = write_start(e, run, site.data, 0)
    count = size_of(e, site.indices, 0) if site.front else 1
    data = carried(e, site.kind, site.data)
    updates = carried(e, site.kind, site.updates)
    if not site.front:
        updates = e.unsqueeze(updates, [0])
    region = Region(e, data, 0, start, count, size)
    new = updates
    if site.kind.reduction != "none":
        new = joined(e, site.kind, region.inside(), updates)
    result = returned(e, site.kind, region.around(new))
    return e.rewrite(site.node, result, exactness=site.kind.exactness)


# -- form 2 ---------------------------------------------------------------------------------------


def _by_comparing(site: _Site, limit: int) -> Rewrite | Skip:
    scope, node, kind = site.scope, site.node, site.kind
    behind = site.shape[site.depth :]
    if site.front > 1 and len(behind) > 1 and not all(isinstance(d, int) and d for d in behind):
        return Skip(
            node,
            "its indices have several dims in front, and a size of the rows that they replace is "
            "known at run time only: fix it, or flatten the indices",
        )
    fixed = _constant_last(site) if kind.reduction == "none" else None
    if fixed is None:
        counted = (*site.of_indices[:-1], *site.shape[: site.depth])
        if scope.opset < 11 and not all(isinstance(d, int) for d in counted):
            return Skip(
                node,
                "its sizes are known at run time only, and counting them needs Range: export with "
                "operator set 11",
            )
        much = too_large(counted if kind.reduction == "none" else (*counted, *behind), limit)
        if much is not None:
            return Skip(node, f"comparing makes {much} numbers, more than limit = {limit}")
    e = Emitter(scope)
    data = carried(e, kind, site.data)
    updates = _with_nothing(e, site, carried(e, kind, site.updates))
    if fixed is not None:
        hit: gs.Tensor = e.const(np.greater(fixed, 0))
        result = _picked(e, site, data, updates, hit, e.const(fixed))
    elif kind.reduction == "none":
        count = one_more(e, _count(e, site))
        numbers = ramp(e, count, site.depth)
        last = e.reduce("ReduceMax", e("Where", _hits(e, site), numbers, e.const(0)), [0])
        result = _picked(e, site, data, updates, e("Greater", last, e.const(0)), last)
    else:
        rows = range(1 + site.depth, 1 + site.depth + site.behind)
        hit = e.unsqueeze(_hits(e, site), rows)
        apart = e.unsqueeze(updates, range(1, 1 + site.depth))
        result = reduced(e, kind, hit, apart, data, 0)
    note = _GROWS if fixed is None else ""
    return e.rewrite(node, returned(e, kind, result), exactness=kind.exactness, note=note)


def _constant_last(site: _Site) -> NDArray[np.int64] | None:
    """For each row the number of the last update that hits it, from 1 on, and 0 for none."""
    value = site.scope.folded(site.indices)
    sizes = [d for d in site.shape[: site.depth] if isinstance(d, int)]
    if value is None or len(sizes) < site.depth or math.prod(sizes) > _MOST_CONSTANT:
        return None
    last = np.zeros(sizes, np.int64)
    for number, place in enumerate(value.reshape(-1, site.depth).tolist(), 1):
        if not all(-size <= i < size for i, size in zip(place, sizes, strict=True)):
            return None
        last[tuple(place)] = number
    return last


def _count(e: Emitter, site: _Site) -> gs.Tensor | int:
    """The number of updates."""
    sizes = [size_of(e, site.indices, k) for k in range(site.front)]
    count = math.prod(s for s in sizes if isinstance(s, int))
    total: gs.Tensor | None = None
    for size in sizes:
        if isinstance(size, gs.Tensor):
            total = size if total is None else e("Mul", total, size)
    if total is None or count == 0:
        return count
    return total if count == 1 else e("Mul", total, e.ints([count]))


def _with_nothing(e: Emitter, site: _Site, updates: gs.Tensor) -> gs.Tensor:
    """The updates in a row, behind a row of zeros that stands for no update."""
    if site.front == 0:
        updates = e.unsqueeze(updates, [0])
    elif site.front > 1 and site.behind == 1:
        updates = e("Flatten", updates, axis=site.front)
    elif site.front > 1:
        updates = e.reshape(updates, [-1, *(d for d in site.shape[site.depth :] if d)])
    sizes = [size_of(e, site.data, k) for k in range(site.depth, len(site.shape))]
    return e.concat([filled(e, 0, site.kind.carrier, [1, *sizes]), updates], 0)


def _picked(
    e: Emitter, site: _Site, data: gs.Tensor, updates: gs.Tensor, hit: gs.Tensor, last: gs.Tensor
) -> gs.Tensor:
    """Rows of the updates by number, where one hits, and else of the data."""
    apart = e.unsqueeze(hit, range(site.depth, len(site.shape)))
    return e("Where", apart, e("Gather", updates, last, axis=0), data)


def _hits(e: Emitter, site: _Site) -> gs.Tensor:
    """Whether an update hits a row: BOOL, of the number of updates and one, and the indexed dims.
    The first update stands for none and hits nothing."""
    value = site.scope.folded(site.indices)
    row: gs.Tensor | NDArray[np.generic]
    if value is None:
        row = site.indices
        if site.front == 0:
            row = e.unsqueeze(row, [0])
        elif site.front > 1:
            row = e.reshape(row, [-1, site.depth])
        if site.scope.dtype(site.indices) != TensorProto.INT64:
            row = e.cast(row, TensorProto.INT64)
    hit: gs.Tensor | None = None
    for place in range(site.depth):
        size = site.shape[place]
        if value is not None:
            given = from_front(e, value.reshape(-1, site.depth)[:, place], site.data, place, True)
        else:
            sure = Signs(site.scope, size if isinstance(size, int) else None)
            column = e("Gather", row, e.const(place), axis=1)
            given = from_front(e, column, site.data, place, sure.nonnegative(site.indices))
        apart = e.unsqueeze(e.concat([e.ints([-1]), given], 0), range(1, 1 + site.depth))
        numbers = ramp(e, size_of(e, site.data, place), site.depth - 1 - place)
        same = e("Equal", apart, numbers)
        hit = same if hit is None else e("And", hit, same)
    assert hit is not None
    return hit
