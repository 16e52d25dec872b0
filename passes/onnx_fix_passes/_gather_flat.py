"""GatherElements as one plain Gather: along the axis where all rows ask for the same indices, else
from flattened data.

With D the shape of the data, I that of the indices and s[k] = D[k+1] * ... * D[r-1] the stride of
axis k in row-major order, element (i0, ..., ir-1) of the output stands at position

    index * s[axis] + sum of ik * s[k] over k != axis

of the flattened data. The term of axis k vanishes where D[k] or I[k] is 1: then ik is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, is_standard
from onnx_fix.signs import Signs
from onnx_fix.target import Dim, TensorFacts

_MOST_OFFSETS = 1 << 12
"""A constant grid of positions of at most this many elements is written as one initializer."""

_POSITIONS_INT32 = 1 << 31


@dataclass(frozen=True, slots=True)
class Site:
    """One GatherElements: its inputs, their shapes of one rank r >= 1, its axis in [0, r)."""

    scope: Scope
    data: gs.Tensor
    indices: gs.Tensor
    data_shape: tuple[Dim, ...]
    index_shape: tuple[Dim, ...]
    axis: int

    @property
    def rank(self) -> int:
        """The number of dims of data, indices and output."""
        return len(self.data_shape)

    @property
    def size(self) -> int | None:
        """The length of the data along the axis, where it is static."""
        size = self.data_shape[self.axis]
        return size if isinstance(size, int) else None

    def others(self) -> list[int]:
        """The axes but for the gathered one along which positions differ."""
        return [
            k
            for k in range(self.rank)
            if k != self.axis and self.data_shape[k] != 1 and self.index_shape[k] != 1
        ]

    def too_large(self) -> bool:
        """Whether a position is known not to fit the integers that the target computes with."""
        if self.scope.target.dtype_names[TensorProto.INT64] != "INT32":
            return False
        return math.prod(d for d in self.data_shape if isinstance(d, int)) >= _POSITIONS_INT32


class Lengths:
    """Sizes at run time: INT64 scalars. Each Shape and each size is written once."""

    def __init__(self, e: Emitter) -> None:
        self.emitter = e
        self._shapes: dict[int, gs.Tensor] = {}
        self._sizes: dict[tuple[int, int], gs.Tensor] = {}

    def __call__(self, tensor: gs.Tensor, axis: int) -> gs.Tensor:
        """The size of a tensor of the model along an axis."""
        if id(tensor) not in self._shapes:
            self._shapes[id(tensor)] = self.emitter.shape(tensor)
        if (id(tensor), axis) not in self._sizes:
            at = self.emitter.const(axis, np.int64)
            size = self.emitter("Gather", self._shapes[id(tensor)], at, axis=0)
            self._sizes[id(tensor), axis] = size
        return self._sizes[id(tensor), axis]


Indices: TypeAlias = gs.Tensor | NDArray[np.generic]
"""Indices as far as they are known: a tensor, or the values of a constant."""


def takes_negative(scope: Scope, op: str, dtype: int | None) -> bool:
    """Whether the target counts negative indices of ``op`` from the end, as ONNX says."""
    value: NDArray[np.generic] = np.asarray([-1])
    negative = TensorFacts("i", TensorProto.INT64, (1,), "initializer", lambda: value)
    return scope.accepts(op, [TensorFacts("x", dtype, (2,)), negative], {"axis": 0})


def known_indices(site: Site, indices: gs.Tensor) -> Indices:
    """The values of indices that are constant, else the tensor itself."""
    value = site.scope.folded(indices)
    return indices if value is None else value


def from_front(
    lengths: Lengths, site: Site, indices: Indices, dtype: int, *, wrap: bool = True
) -> Indices:
    """Indices of the axis, of type ``dtype``, counted from the front: Where(i < 0, i + size, i).

    They are not wrapped where none can be negative, or where ``wrap`` is False.
    """
    e = lengths.emitter
    if isinstance(indices, np.ndarray):
        negative = np.less(indices, 0)
        if not wrap or not negative.any():
            return indices
        if site.size is not None:
            return np.where(negative, np.add(indices, site.size), indices)
        indices = e.const(indices, dtype)
    else:
        wrap = wrap and not Signs(site.scope, site.size).nonnegative(indices)
        if site.scope.dtype(indices) != dtype:
            indices = e.cast(indices, dtype)
        if not wrap:
            return indices
    size: gs.Tensor
    if site.size is not None:
        size = e.const(site.size, dtype)
    else:
        size = lengths(site.data, site.axis)
        if dtype != TensorProto.INT64:
            size = e.cast(size, dtype)
    wrapped = e("Add", indices, size)
    return e("Where", e("Less", indices, e.const(0, dtype)), wrapped, indices)


# -- the same indices in every row ----------------------------------------------------------------


def common_indices(site: Site) -> Indices | None:
    """Indices (one per place along the axis) that all rows of the indices are copies of, or None.

    Only where the output is as large as the data along every other axis, since Gather has no
    smaller one.
    """
    others = [k for k in range(site.rank) if k != site.axis]
    if not others or not all(_same(site.index_shape[k], site.data_shape[k]) for k in others):
        return None
    value = site.scope.folded(site.indices)
    if value is not None:
        if value.ndim != site.rank or not value.size:
            return None
        row = value[tuple(slice(1) if k in others else slice(None) for k in range(site.rank))]
        return row if bool(np.all(value == row)) else None
    if all(site.index_shape[k] == 1 for k in others):
        return site.indices
    node = site.scope.producer(site.indices)
    if node is None or node.op != "Expand" or not is_standard(node):
        return None
    shape = site.scope.shape(node.inputs[0])
    if shape is None or len(shape) > site.rank:
        return None
    shape = (1,) * (site.rank - len(shape)) + shape
    rows = all(shape[k] == 1 for k in others)
    same_length = _same(shape[site.axis], site.index_shape[site.axis])
    return node.inputs[0] if rows and same_length else None


def _same(a: Dim, b: Dim) -> bool:
    """Whether two dims are known to be equal: one number, or one symbol."""
    return a is not None and a == b


# -- the general case -----------------------------------------------------------------------------


class Positions:
    """Writes the positions in flattened data that a site reads."""

    def __init__(self, lengths: Lengths, site: Site, dtype: int) -> None:
        self._e = lengths.emitter
        self._lengths = lengths
        self._site = site
        self._dtype = dtype
        self._strides: dict[int, int | gs.Tensor] = {site.rank - 1: 1}

    def write(self, indices: Indices) -> gs.Tensor:
        """Positions of the shape of the indices, given indices that count from the front."""
        e = self._e
        fixed, moving = self._offsets()
        stride = self._stride(self._site.axis)
        if isinstance(indices, np.ndarray) and isinstance(stride, int) and not moving:
            total: NDArray[np.generic] = np.multiply(indices.astype(np.int64), stride)
            for part in fixed:
                total = np.add(total, part)
            return e.const(total, self._dtype)
        if isinstance(indices, np.ndarray):
            indices = e.const(indices, self._dtype)
        if not isinstance(stride, int) or stride != 1:
            indices = e("Mul", indices, self._tensor(stride))
        offsets = moving + [e.const(part, self._dtype) for part in fixed]
        if not offsets:
            return indices
        # Small tensors first, so that one addition has the size of the output.
        offset = offsets[0]
        for more in offsets[1:]:
            offset = e("Add", offset, more)
        return e("Add", indices, offset)

    def _offsets(self) -> tuple[list[NDArray[np.generic]], list[gs.Tensor]]:
        """The terms of the other axes: constant grids, and those computed at run time."""
        fixed: list[NDArray[np.generic]] = []
        moving: list[gs.Tensor] = []
        for k in self._site.others():
            size, stride = self._site.index_shape[k], self._stride(k)
            trailing = (1,) * (self._site.rank - 1 - k)
            if isinstance(size, int):
                steps = np.arange(size, dtype=np.int64).reshape(size, *trailing)
                if isinstance(stride, int):
                    fixed.append(steps * stride)
                else:
                    moving.append(self._e("Mul", self._e.const(steps, self._dtype), stride))
                continue
            zero, one = self._e.const(0, np.int64), self._e.const(1, np.int64)
            ramp = self._e("Range", zero, self._lengths(self._site.indices, k), one)
            if not isinstance(stride, int) or stride != 1:
                ramp = self._e("Mul", ramp, self._tensor(stride))
            moving.append(self._e.reshape(ramp, [-1, *trailing]) if trailing else ramp)
        whole = math.prod(part.size for part in fixed)
        if len(fixed) > 1 and whole <= _MOST_OFFSETS:
            grid = fixed[0]
            for part in fixed[1:]:
                grid = np.add(grid, part)
            fixed = [grid]
        return fixed, moving

    def _stride(self, k: int) -> int | gs.Tensor:
        """Elements of the data from one place along axis k to the next."""
        if k not in self._strides:
            size, stride = self._site.data_shape[k + 1], self._stride(k + 1)
            if isinstance(size, int) and isinstance(stride, int):
                self._strides[k] = size * stride
            elif size == 1:
                self._strides[k] = stride
            else:
                length = size if isinstance(size, int) else self._lengths(self._site.data, k + 1)
                if isinstance(stride, int) and stride == 1:
                    self._strides[k] = length
                else:
                    self._strides[k] = self._e("Mul", self._tensor(stride), self._tensor(length))
        return self._strides[k]

    def _tensor(self, number: int | gs.Tensor) -> gs.Tensor:
        return self._e.const(number, self._dtype) if isinstance(number, int) else number


def position_type(site: Site, index_type: int | None) -> int:
    """INT32 where the indices are INT32 and nothing is computed from a Shape, else INT64."""
    static = all(isinstance(d, int) for d in (*site.data_shape, *site.index_shape))
    fits = static and math.prod(d for d in site.data_shape if isinstance(d, int)) < _POSITIONS_INT32
    return TensorProto.INT32 if index_type == TensorProto.INT32 and fits else TensorProto.INT64


# -- the node -------------------------------------------------------------------------------------


def write_gather(e: Emitter, site: Site, data: gs.Tensor, data_type: int | None) -> gs.Tensor:
    """The output of GatherElements by plain Gather.

    ``data`` is the data of the site or a cast of it, of type ``data_type``.
    """
    scope, lengths = site.scope, Lengths(e)
    wrap = not takes_negative(scope, "Gather", data_type)
    index_type = scope.dtype(site.indices)
    common = common_indices(site)
    if common is not None:
        dtype = index_type or TensorProto.INT64
        flat = isinstance(common, np.ndarray) or scope.rank(common) == 1
        line = _as_tensor(e, from_front(lengths, site, common, dtype, wrap=wrap), dtype)
        return e("Gather", data, line if flat else e.reshape(line, [-1]), axis=site.axis)
    dtype = position_type(site, index_type)
    # A negative index is a negative position where nothing but the axis is flattened.
    alone = all(d == 1 for k, d in enumerate(site.data_shape) if k != site.axis)
    given = known_indices(site, site.indices)
    indices = from_front(lengths, site, given, dtype, wrap=wrap or not alone)
    positions = Positions(lengths, site, dtype).write(indices)
    return e("Gather", data if site.rank == 1 else e.reshape(data, [-1]), positions, axis=0)


def _as_tensor(e: Emitter, indices: Indices, dtype: int) -> gs.Tensor:
    return e.const(indices.reshape(-1), dtype) if isinstance(indices, np.ndarray) else indices
