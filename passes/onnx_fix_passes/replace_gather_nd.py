"""The pass ``replace-gather-nd``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix.signs import Signs
from onnx_fix.target import Dim, TensorFacts
from onnx_fix_passes._gather_flat import Lengths, takes_negative

_POSITIONS_INT32 = 1 << 31

Column: TypeAlias = gs.Tensor | NDArray[np.generic]
"""One coordinate of each element that is read: a tensor, or its values where they are constant."""


@dataclass(frozen=True)
class ReplaceGatherND(Pass):
    """Write GatherND as a Gather of data whose indexed dims are flattened into one.

    The position of an element in the flattened dims is ``(i0 * d1 + i1) * d2 + i2`` and so on, with
    the indices counted from the front. Batch dims are indexed by counting them. BOOL goes through
    INT32 where the target gathers no BOOL.

    Before:
        y = GatherND (x, i) with x of shape [A, B, C] and i of shape [N, 2]
    After:
        f = Flatten <axis = 2> (x)
        p = Add (Mul (Gather <axis = 1> (i, 0), B), Gather <axis = 1> (i, 1))
        y = Gather <axis = 0> (f, p)
    Negative indices are counted from the front by Where, unless none can be negative.
    Exact:
        Yes. Left alone: data or indices of unknown rank; indices whose last size is not known;
        several dims behind the indexed ones of which one but the first may be 0; data of 2**31
        elements or more where the target computes in INT32.
    Since: 0.1
    """

    name: ClassVar[str] = "replace-gather-nd"
    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends(kind, "GatherND", "ranks and the number of indexed dims are known")
        for kind in ("dtype_refused", "no_importer")
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a Gather for every GatherND that the target refuses."""
        for node in scope.nodes("GatherND"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    data, indices = node.inputs
    shape, of_indices = scope.shape(data), scope.shape(indices)
    if has_unresolved(node, "batch_dims"):
        return Skip(node, "batch_dims is a parameter of the enclosing function; inline it first")
    if shape is None or of_indices is None or not of_indices:
        return Skip(node, "the rank of its data or of its indices is not known")
    batch, depth = attribute(node, "batch_dims", int, 0) or 0, of_indices[-1]
    if not isinstance(depth, int):
        return Skip(node, f"the last size of its indices '{indices.name}' is not known")
    if not 1 <= depth <= len(shape) - batch or batch >= len(of_indices):
        return Skip(node, f"its indices of {depth} numbers do not fit data of rank {len(shape)}")
    behind = shape[batch + depth :]
    if not all(isinstance(d, int) and d for d in behind[1:]):
        return Skip(
            node,
            "it reads slices of several dims of which one is known at run time only: fix the size",
        )
    narrow = scope.target.dtype_names[TensorProto.INT64] == "INT32"
    if narrow and math.prod(d for d in shape if isinstance(d, int)) >= _POSITIONS_INT32:
        return Skip(node, "its data has more elements than the integers of the target count")
    dtype = scope.dtype(data)
    through = _carrier(scope, dtype)
    if through is None:
        kind = TensorProto.DataType.Name(dtype or 0)
        return Skip(node, f"{scope.target.name} takes no Gather of {kind} either")
    e = Emitter(scope)
    cast = dtype is not None and through != dtype
    given = e.cast(data, through) if cast else data
    positions = _Positions(scope, e, data, indices, batch, depth).write()
    result = _gathered(e, given, positions, shape, batch + depth, len(of_indices) - 1)
    return e.rewrite(node, e.cast(result, dtype or 0) if cast else result)


def _carrier(scope: Scope, dtype: int | None) -> int | None:
    """The type that the elements are gathered in; None where the target gathers none."""
    index = TensorFacts("i", TensorProto.INT64, (1,))
    for kind in (dtype or 0, int(TensorProto.INT32)):
        data = TensorFacts("x", kind or None, (2,))
        if scope.accepts("Gather", [data, index], {"axis": 0}, [data]):
            return kind
        if dtype != TensorProto.BOOL:
            return None
    return None


def _gathered(
    e: Emitter,
    data: gs.Tensor,
    positions: gs.Tensor,
    shape: tuple[Dim, ...],
    axis: int,
    rank: int,
) -> gs.Tensor:
    """The slices at ``positions`` (of ``rank`` dims) of data whose dims before ``axis`` are one."""
    behind = shape[axis:]
    if not behind:
        line = data if axis == 1 else e.reshape(data, [-1])
        return e("Gather", line, positions, axis=0)
    if axis == 1:
        return e("Gather", data, positions, axis=0)
    rows = e("Gather", e("Flatten", data, axis=axis), positions, axis=0)
    if len(behind) == 1:
        return rows
    # Zeros copy: the dims of the positions stand first, and then all that is behind them in one.
    fixed = [d for d in behind if isinstance(d, int)]
    if len(fixed) == len(behind):
        return e.reshape(rows, [0] * rank + fixed)
    parts = [e.ints([0] * rank)] if rank else []
    sizes = e.concat([*parts, e.dim(data, axis), e.ints(fixed)], 0)
    return e.reshape(rows, sizes)


@dataclass
class _Positions:
    """Writes where in the flattened dims each slice stands."""

    scope: Scope
    e: Emitter
    data: gs.Tensor
    indices: gs.Tensor
    batch: int
    depth: int

    def __post_init__(self) -> None:
        self._lengths = Lengths(self.e)
        self._shape = self.scope.shape(self.data) or ()
        self._rank = (self.scope.rank(self.indices) or 1) - 1
        self._value = self.scope.folded(self.indices)
        alone = self.batch + self.depth == 1
        self._wraps = alone and takes_negative(self.scope, "Gather", self.scope.dtype(self.data))

    def write(self) -> gs.Tensor:
        """One position for each tuple of indices."""
        total = self._column(0)
        for axis in range(1, self.batch + self.depth):
            column, size = self._column(axis), self._shape[axis]
            known = isinstance(total, np.ndarray) and isinstance(column, np.ndarray)
            if known and isinstance(size, int):
                total = np.asarray(total) * size + np.asarray(column)
                continue
            scaled = self.e("Mul", self._tensor(total), self._size(axis))
            total = self.e("Add", scaled, self._tensor(column))
        return self._tensor(total)

    def _tensor(self, column: Column) -> gs.Tensor:
        if isinstance(column, np.ndarray):
            return self.e.const(column, np.int64)
        return column

    def _size(self, axis: int) -> gs.Tensor:
        size = self._shape[axis]
        if isinstance(size, int):
            return self.e.const(size)
        return self._lengths(self.data, axis)

    def _column(self, axis: int) -> Column:
        """The coordinates along an axis of the data, counted from the front."""
        if axis < self.batch:
            return self._counted(axis)
        place, size = axis - self.batch, self._shape[axis]
        if self._value is not None:
            column: NDArray[np.generic] = np.asarray(self._value[..., place], np.int64)
            negative = np.less(column, 0)
            if not negative.any():
                return column
            if isinstance(size, int):
                return np.asarray(np.where(negative, np.add(column, size), column))
            given: gs.Tensor = self.e.const(column)
        else:
            given = self.e("Gather", self.indices, self.e.const(place), axis=self._rank)
            known = size if isinstance(size, int) else None
            if self._wraps or Signs(self.scope, known).nonnegative(self.indices):
                return given
        behind = self.e("Less", given, self.e.const(0))
        return self.e("Where", behind, self.e("Add", given, self._size(axis)), given)

    def _counted(self, axis: int) -> Column:
        """0, 1, 2 and so on along a batch dim, of as many dims as the positions."""
        size, trailing = self._shape[axis], [1] * (self._rank - 1 - axis)
        if isinstance(size, int):
            return np.asarray(np.arange(size, dtype=np.int64).reshape(size, *trailing))
        zero, one = self.e.const(0), self.e.const(1)
        ramp = self.e("Range", zero, self._lengths(self.data, axis), one)
        return self.e.reshape(ramp, [-1, *trailing]) if trailing else ramp
