"""The pass ``replace-scatter-elements``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, is_standard
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
from onnx_fix_passes._scatter_runs import END, Region, Run, run_of, run_of_values, write_start

_OPS = ("ScatterElements", "Scatter")
_GROWS = (
    "compares every update with every element of its row: memory grows with the product of the "
    "updates and the size of the data along the axis"
)


@dataclass(frozen=True)
class ReplaceScatterElements(Pass):
    """Write ScatterElements, and Scatter as it was called before, by ops that every release has.

    1. The same consecutive indices in every row (``x.select_scatter``, ``x.slice_scatter``: one
       index or a Range, expanded along the other axes, or constants): the updates stand between
       two Slices of the data.
    2. Otherwise every element is compared with the indices of its row, and takes the last update
       that hits it, or its old value. With a ``reduction`` it takes all that do. Where all rows
       have the same indices, and there is no reduction, one row of places is compared for all.

    Where the updates are not known to be as large as the data along the other axes, the part of
    the data that they cover is cut out first, and the rest is joined to it again.

    Before:
        y = ScatterElements <axis = 1> (x, i, v)
    After:
        y = Concat <axis = 1> (Slice (x, 0, a), v, Slice (x, a + M, end))
        or, with x of shape [B, A] and i of shape [B, M]:
        hit = Equal (i, [0 .. A-1]) of [B, 1 + M, A], with a first index of -1, which hits nothing;
        last = ReduceMax <axes = 1> (Where (hit, [0 .. M], 0));
        v1 = ReduceSum <axes = 1> (Where (last == [0 .. M], v, 0)) of [B, A];
        y = Where (last > 0, v1, x)
    Exact:
        Yes, but that a reduction by add or mul of floats orders them otherwise (rounding only),
        and that NaN under max or min may win or lose. Where indices repeat without a reduction,
        which ONNX leaves open, the last one wins, as in onnxruntime. Form 2 needs memory for B
        times M times A numbers (M times A where the rows are alike). Left alone: more numbers
        than ``limit``; shapes of unknown rank; an axis that is a parameter of the enclosing
        function; element types that are not taken in Where, even as INT32.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("attribute_allowed_values", "ScatterElements", "the ranks are known"),
        Mends("ignored_attribute", "ScatterElements", "the ranks are known"),
        Mends("no_importer", "ScatterElements", "the ranks are known"),
        Mends("no_importer", "Scatter", "the ranks are known"),
    )

    limit: int = 1 << 24
    """The most numbers that form 2 may compute in one tensor, counting the dims that are static."""

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a rewrite of every node that the target refuses."""
        for node in scope.nodes(*_OPS):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node, self.limit)


@dataclass(frozen=True)
class _Site:
    scope: Scope
    node: gs.Node
    kind: Kind
    shape: tuple[Dim, ...]
    of_indices: tuple[Dim, ...]
    axis: int

    @property
    def data(self) -> gs.Tensor:
        return self.node.inputs[0]

    @property
    def indices(self) -> gs.Tensor:
        return self.node.inputs[1]

    @property
    def cut(self) -> list[int]:
        """The other axes along which the updates may cover a part of the data only."""
        pairs = enumerate(zip(self.shape, self.of_indices, strict=True))
        return [k for k, (a, b) in pairs if k != self.axis and (a is None or a != b)]


def _site(scope: Scope, node: gs.Node, limit: int) -> Rewrite | Skip:
    kind = kind_of(scope, node)
    if isinstance(kind, Skip):
        return kind
    data, indices, updates = node.inputs[:3]
    shapes = [scope.shape(t) for t in (data, node.outputs[0], indices, updates)]
    rank = next((len(s) for s in shapes if s is not None), None)
    if rank is None:
        return Skip(node, "the rank of its data is not known")
    axis = attribute(node, "axis", int, 0) or 0
    if (
        not rank
        or not -rank <= axis < rank
        or any(s is not None and len(s) != rank for s in shapes)
    ):
        return Skip(node, "its shapes and its axis do not fit together; onnxruntime refuses it too")
    unknown: tuple[Dim, ...] = (None,) * rank
    shape = _merged(shapes[0] or unknown, shapes[1] or unknown)
    of_indices = _merged(shapes[2] or unknown, shapes[3] or unknown)
    site = _Site(scope, node, kind, shape, of_indices, axis % rank)
    if scope.opset < 10 and not all(isinstance(of_indices[k], int) for k in site.cut):
        return Skip(node, _ASKS_OPSET.format("cutting data at run time", "Slice", 10))
    return _by_region(site) or _by_comparing(site, limit)


_ASKS_OPSET = "{} needs {} of operator set {}: export with a newer one"


def _merged(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """The better known of two descriptions of one shape."""
    return tuple(
        y if x is None or (isinstance(y, int) and not isinstance(x, int)) else x
        for x, y in zip(a, b, strict=True)
    )


# -- the part of the data that the updates cover --------------------------------------------------


def _covered(e: Emitter, site: _Site, data: gs.Tensor) -> gs.Tensor:
    """The data as far as the updates reach along the other axes."""
    if not site.cut:
        return data
    sizes = [size_of(e, site.indices, k) for k in site.cut]
    return e.slice(data, [0] * len(sizes), _bounds(e, sizes), site.cut)


def _whole(e: Emitter, site: _Site, data: gs.Tensor, covered: gs.Tensor) -> gs.Tensor:
    """The result, given what the covered part has become."""
    result = covered
    for done in range(len(site.cut), 0, -1):
        # The data behind the covered part along one axis, as long as it along those before.
        axes = site.cut[:done]
        sizes = [size_of(e, site.indices, k) for k in axes]
        starts = _bounds(e, [*[0] * (done - 1), sizes[-1]])
        rest = e.slice(data, starts, _bounds(e, [*sizes[:-1], END]), axes)
        result = e.concat([result, rest], axes[-1])
    return result


def _bounds(e: Emitter, sizes: list[gs.Tensor | int]) -> gs.Tensor | list[int]:
    known = [s for s in sizes if isinstance(s, int)]
    if len(known) == len(sizes):
        return known
    return e.concat([e.ints([s]) if isinstance(s, int) else s for s in sizes], 0)


# -- form 1 ---------------------------------------------------------------------------------------


def _by_region(site: _Site) -> Rewrite | None:
    run = _run_of_rows(site)
    if run is None:
        return None
    size, length = site.shape[site.axis], site.of_indices[site.axis]
    static = isinstance(length, int) and (run.fixed >= 0 or isinstance(size, int))
    if site.scope.opset < 10 and (run.terms or not static):
        return None
    e = Emitter(site.scope)
    start = write_start(e, run, site.data, site.axis)
    count = length if isinstance(length, int) else size_of(e, site.indices, site.axis)
    data = carried(e, site.kind, site.data)
    updates = carried(e, site.kind, site.node.inputs[2])
    region = Region(e, _covered(e, site, data), site.axis, start, count, size)
    new = updates
    if site.kind.reduction != "none":
        new = joined(e, site.kind, region.inside(), updates)
    result = returned(e, site.kind, _whole(e, site, data, region.around(new)))
    return e.rewrite(site.node, result, exactness=site.kind.exactness)


def _run_of_rows(site: _Site) -> Run | None:
    """The indices of each row, where these are the same consecutive numbers."""
    row = _row(site)
    if isinstance(row, np.ndarray):
        return run_of_values(row)
    return None if row is None else run_of(site.scope, row)


def _row(site: _Site) -> gs.Tensor | NDArray[np.generic] | None:
    """The indices of one row, read in order, where those of all rows are the same."""
    others = [k for k in range(len(site.shape)) if k != site.axis]
    value = site.scope.folded(site.indices)
    if value is not None:
        if not value.size:
            return None
        row = value[tuple(slice(1) if k in others else slice(None) for k in range(value.ndim))]
        return row.reshape(-1) if bool(np.all(value == row)) else None
    if all(site.of_indices[k] == 1 for k in others):
        return site.indices
    node = site.scope.producer(site.indices)
    if node is None or node.op != "Expand" or not is_standard(node):
        return None
    shape = site.scope.shape(node.inputs[0])
    if shape is None or len(shape) > len(site.shape):
        return None
    shape = (1,) * (len(site.shape) - len(shape)) + shape
    length = site.of_indices[site.axis]
    rows = all(shape[k] == 1 for k in others)
    # Expand may repeat one index along the axis itself.
    same = length is not None and shape[site.axis] == length
    return node.inputs[0] if rows and same else None


# -- form 2 ---------------------------------------------------------------------------------------


def _by_comparing(site: _Site, limit: int) -> Rewrite | Skip:
    scope, node, kind, axis = site.scope, site.node, site.kind, site.axis
    size, length = site.shape[axis], site.of_indices[axis]
    if scope.opset < 11 and not (isinstance(size, int) and isinstance(length, int)):
        return Skip(node, _ASKS_OPSET.format("counting at run time", "Range", 11))
    # The places that updates go to are found once where they are the same in every row.
    row = _row(site) if kind.reduction == "none" else None
    much = too_large((length, size) if row is not None else (*site.of_indices, size), limit)
    if much is not None:
        return Skip(node, f"comparing makes {much} numbers, more than limit = {limit}")
    e = Emitter(scope)
    whole = carried(e, kind, site.data)
    data, updates = _covered(e, site, whole), carried(e, kind, node.inputs[2])
    trailing = len(site.shape) - 1 - axis
    if row is not None:
        result = _whole(e, site, whole, _picked(e, site, row, data, updates))
        return e.rewrite(node, returned(e, kind, result), note=_GROWS)
    places = ramp(e, size_of(e, site.data, axis), trailing)
    if length == 1 and kind.reduction == "none":
        # One index in each row: of it and the row of places, Equal makes the whole row.
        hit = e("Equal", _counted(e, site), places)
        result = _whole(e, site, whole, e("Where", hit, updates, data))
        return e.rewrite(node, returned(e, kind, result))
    sizes = [1 if k == axis else size_of(e, site.indices, k) for k in range(len(site.shape))]
    nothing = filled(e, -1, TensorProto.INT64, sizes)
    indices = e.concat([nothing, _counted(e, site)], axis)
    updates = e.concat([filled(e, 0, kind.carrier, sizes), updates], axis)
    hit = e("Equal", e.unsqueeze(indices, [axis + 1]), places)
    apart = e.unsqueeze(updates, [axis + 1])
    if kind.reduction == "none":
        numbers = ramp(e, one_more(e, size_of(e, site.indices, axis)), trailing + 1)
        last = e.reduce("ReduceMax", e("Where", hit, numbers, e.const(0)), [axis])
        chosen = e("Equal", numbers, e.unsqueeze(last, [axis]))
        shown = e("Where", chosen, apart, e.const(0, kind.carrier))
        value = e.reduce("ReduceSum", shown, [axis])
        result = e("Where", e("Greater", last, e.const(0)), value, data)
    else:
        result = reduced(e, kind, hit, apart, data, axis)
    result = returned(e, kind, _whole(e, site, whole, result))
    return e.rewrite(node, result, exactness=kind.exactness, note=_GROWS)


def _picked(
    e: Emitter,
    site: _Site,
    row: gs.Tensor | NDArray[np.generic],
    data: gs.Tensor,
    updates: gs.Tensor,
) -> gs.Tensor:
    """The updates where one hits, given the indices of every row, and else the data."""
    axis, rank = site.axis, len(site.shape)
    counted = _from_front(e, site, row)
    if isinstance(row, gs.Tensor) and site.scope.rank(row) != 1:
        counted = e.reshape(counted, [-1])
    apart = e.unsqueeze(e.concat([e.ints([-1]), counted], 0), [1])
    hit = e("Equal", apart, ramp(e, size_of(e, site.data, axis), 0))
    numbers = ramp(e, one_more(e, size_of(e, site.indices, axis)), 1)
    last = e.reduce("ReduceMax", e("Where", hit, numbers, e.const(0)), [0])
    sizes = [1 if k == axis else size_of(e, site.indices, k) for k in range(rank)]
    given = e.concat([filled(e, 0, site.kind.carrier, sizes), updates], axis)
    mask = e.unsqueeze(e("Greater", last, e.const(0)), range(1, rank - axis))
    return e("Where", mask, e("Gather", given, last, axis=axis), data)


def _counted(e: Emitter, site: _Site) -> gs.Tensor:
    """The indices, counted from the front."""
    value: NDArray[np.generic] | None = site.scope.folded(site.indices)
    return _from_front(e, site, site.indices if value is None else value)


def _from_front(e: Emitter, site: _Site, indices: gs.Tensor | NDArray[np.generic]) -> gs.Tensor:
    if isinstance(indices, np.ndarray):
        return from_front(e, indices, site.data, site.axis, True)
    size = site.shape[site.axis]
    sure = Signs(site.scope, size if isinstance(size, int) else None).nonnegative(indices)
    if site.scope.dtype(indices) != TensorProto.INT64:
        indices = e.cast(indices, TensorProto.INT64)
    return from_front(e, indices, site.data, site.axis, sure)
