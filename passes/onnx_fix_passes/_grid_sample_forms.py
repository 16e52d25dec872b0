"""GridSample as one Gather of pixels for every corner around a sampled place.

The data become a table of pixels, one row of all channels each. A place (x, y) in pixels lies
between taps: 1 of mode nearest, 2 of linear, 4 of cubic along every axis. The last axis of the
grid holds one coordinate per axis, x first. All arithmetic on them is done on one tensor, whose
last axis holds every tap of x, then every tap of y (and of z).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto

from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix.target import Dim, TensorFacts

Mode = Literal["nearest", "linear", "cubic"]
Padding = Literal["zeros", "border", "reflection"]

Value: TypeAlias = NDArray[np.generic] | gs.Tensor
"""Numbers as far as they are known: an array, or a tensor that is computed at run time."""

_TAPS: dict[Mode, tuple[int, ...]] = {"nearest": (0,), "linear": (0, 1), "cubic": (-1, 0, 1, 2)}
"""Where the pixels along an axis are, counted from the one at or before the sampled place."""

_A = -0.75
_CUBIC = (
    (_A, _A + 2, _A + 2, _A),
    (-5 * _A, -(_A + 3), -(_A + 3), -5 * _A),
    (8 * _A, 0.0, 0.0, 8 * _A),
    (-4 * _A, 1.0, 1.0, -4 * _A),
)
"""The weights of four taps as polynomials of the distance, highest power first (Keys' convolution
kernel with a = -0.75, which ONNX states for GridSample)."""

_COUNTABLE = 2.0**63
"""Places from here on, infinities and NaN are taken for the lower border, as onnxruntime does."""

POSITIONS_INT32 = 1 << 31

_FOLDS: dict[str, Callable[[NDArray[np.generic], NDArray[np.generic]], NDArray[np.generic]]] = {
    "Add": np.add,
    "Max": np.maximum,
    "Mul": np.multiply,
    "Sub": np.subtract,
}


@dataclass(frozen=True, slots=True)
class Site:
    """One GridSample: inputs of one rank, the shape of its data, its attributes in one spelling."""

    scope: Scope
    data: gs.Tensor
    grid: gs.Tensor
    shape: tuple[Dim, ...]
    mode: Mode
    padding: Padding
    aligned: bool
    dtype: int
    grid_dtype: int

    @property
    def rank(self) -> int:
        """The number of dims of data, grid and output."""
        return len(self.shape)

    @property
    def compute(self) -> int:
        """The type in which places and weights are computed: FLOAT or DOUBLE."""
        double = int(TensorProto.DOUBLE)
        return double if double in (self.dtype, self.grid_dtype) else int(TensorProto.FLOAT)

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes of the data that the coordinates of the grid count along: x, y, z."""
        return tuple(range(self.rank - 1, 1, -1))

    @property
    def rows(self) -> tuple[int, ...]:
        """The same axes in the order in which the rows of the table go through them.

        Depth is the last, so that it can be padded as one of the last two dims, which is all that
        some releases pad.
        """
        return (2, 3) if self.rank == 4 else (3, 4, 2)

    @property
    def rim(self) -> int:
        """Pixels of zeros that are put around the data."""
        return int(self.padding == "zeros")

    def pixels(self) -> int:
        """The number of rows of the table, unknown dims counted as 1."""
        sizes = [d + 2 * self.rim * (k > 1) for k, d in self._known() if k != 1]
        return math.prod(sizes)

    def is_static(self) -> bool:
        """Whether the number of rows of the table is known."""
        return len([k for k, _ in self._known() if k != 1]) == self.rank - 1

    def _known(self) -> list[tuple[int, int]]:
        return [(k, d) for k, d in enumerate(self.shape) if isinstance(d, int)]


class Writer:
    """Writes the nodes of one site."""

    def __init__(self, e: Emitter, site: Site) -> None:
        self._e = e
        self._site = site
        self._taps = _TAPS[site.mode]
        self._last = site.rank - 1
        static = site.is_static() and site.pixels() < POSITIONS_INT32
        self._index = int(TensorProto.INT32 if static else TensorProto.INT64)
        self._shape: gs.Tensor | None = None
        self._padded: dict[int, Value] = {}
        self._strides: dict[int, Value] = {}

    def write(self) -> gs.Tensor:
        """The output of the node."""
        e, site = self._e, self._site
        table = self._table()
        taps, weights = self._places()
        index = self._combined("Add", self._positions(taps))
        offset = self._first_rows(self._last + (weights is not None))
        if offset is not None:
            index = e("Add", index, self._const(offset, self._index))
        if weights is None:
            result = e("Gather", table, index, axis=0)
        else:
            weights = self._combined("Mul", weights)
            result = self._sum(table, index, weights)
        result = e.transpose(result, (0, self._last, *range(1, self._last)))
        same = weights is None or site.dtype == site.compute
        return result if same else e.cast(result, site.dtype)

    # -- the table of pixels -----------------------------------------------------------------------

    def _table(self) -> gs.Tensor:
        """The data as (pixels, channels), with a rim of zeros where places outside count as 0."""
        e, site = self._e, self._site
        table = site.data
        dtype = site.dtype
        if site.mode != "nearest" and dtype != site.compute:
            dtype = site.compute
            table = e.cast(table, dtype)
        order = (0, *site.rows, 1)
        padded: list[tuple[int, ...]] = [tuple(range(2, site.rank))] if site.rim else []
        if padded and not self._pads(padded[0], dtype):
            padded = [site.axes[:2], site.axes[2:]]
        if padded:
            table = self._pad(table, padded[0])
        table = e.transpose(table, order)
        if len(padded) > 1 and padded[1]:
            table = self._pad(table, [order.index(axis) for axis in padded[1]])
        return e("Flatten", table, axis=self._last)

    def _pads(self, axes: Sequence[int], dtype: int) -> bool:
        """Whether the target pads all these axes at once."""
        pads = self._rim_of(axes)
        facts = TensorFacts("pads", TensorProto.INT64, pads.shape, "initializer", lambda: pads)
        return self._site.scope.accepts("Pad", [TensorFacts("x", dtype, self._site.shape), facts])

    def _pad(self, x: gs.Tensor, axes: Sequence[int]) -> gs.Tensor:
        return self._e("Pad", x, self._e.const(self._rim_of(axes)))

    def _rim_of(self, axes: Sequence[int]) -> NDArray[np.int64]:
        one_side = [int(k in axes) for k in range(self._site.rank)]
        return np.asarray(one_side * 2, dtype=np.int64)

    # -- places, in pixels -------------------------------------------------------------------------

    def _places(self) -> tuple[gs.Tensor, gs.Tensor | None]:
        """The taps of every place along each axis, as rows and columns of the table, and their
        weights (None for nearest, which has one tap)."""
        e, site = self._e, self._site
        sizes = self._sizes()
        place = self._place(sizes)
        weights: gs.Tensor | None = None
        if site.mode == "nearest":
            taps = self._rounded(place)
            offsets = self._per_tap([site.rim])
        else:
            taps = e("Floor", place)
            weights = self._weights(e("Sub", place, taps))
            offsets = self._per_tap([k + site.rim for k in self._taps])
        if np.any(offsets):
            taps = e("Add", taps, self._float(offsets))
        if site.padding == "reflection":
            taps = self._reflected(taps, sizes)
        highest = self._calc("Sub", sizes, self._floats(1 - 2 * site.rim))
        taps = e("Min", taps, self._float(highest))
        return e("Max", taps, self._float(0.0)), weights

    def _place(self, sizes: Value) -> gs.Tensor:
        """From the coordinates of the grid, -1 to 1 from end to end, to pixels, 0 for the first."""
        e, site = self._e, self._site
        grid = site.grid
        if site.grid_dtype != site.compute:
            grid = e.cast(grid, site.compute)
        if len(self._taps) > 1:
            axes = np.repeat(np.arange(len(site.axes)), len(self._taps))
            grid = e("Gather", grid, e.const(axes), axis=self._last)
        place = e("Add", grid, self._float(1.0))
        if site.aligned:
            place = e("Mul", place, self._float(0.5))
            place = e("Mul", place, self._float(self._calc("Sub", sizes, self._floats(1))))
        else:
            place = e("Sub", e("Mul", place, self._float(sizes)), self._float(1.0))
            place = e("Mul", place, self._float(0.5))
        countable = e("Less", e("Abs", place), self._float(_COUNTABLE))
        return e("Where", countable, place, self._float(0.0 if site.aligned else -0.5))

    def _rounded(self, place: gs.Tensor) -> gs.Tensor:
        """The nearest whole number, the even one where two are."""
        e, site = self._e, self._site
        if site.scope.accepts("Round", [TensorFacts("x", site.compute, site.shape)]):
            return e("Round", place)
        low = e("Floor", place)
        part = e("Sub", place, low)
        half = e("Floor", e("Mul", low, self._float(0.5)))
        odd = e("Sub", low, e("Add", half, half))
        above = e("Less", self._float(0.5), part)
        step = e("Where", above, self._float(1.0), odd)
        below = e("Less", part, self._float(0.5))
        return e("Add", low, e("Where", below, self._float(0.0), step))

    def _weights(self, part: gs.Tensor) -> gs.Tensor:
        """Weights from how far each place lies behind its first pixel, which is 0 to 1."""
        e = self._e
        if self._site.mode == "linear":
            return e("Abs", e("Sub", part, self._float(self._per_tap([1, 0]))))
        distance = e("Abs", e("Sub", part, self._float(self._per_tap(self._taps))))
        first, *others = (self._float(self._per_tap(c)) for c in _CUBIC)
        weights: gs.Tensor = first
        for more in others:
            weights = e("Add", e("Mul", weights, distance), more)
        return weights

    def _reflected(self, taps: gs.Tensor, sizes: Value) -> gs.Tensor:
        """Mirrored at both ends: at the middle of the outer pixels, or at their outer edges."""
        e, aligned = self._e, self._site.aligned
        length = self._calc("Sub", sizes, self._floats(1)) if aligned else sizes
        period = self._calc("Mul", length, self._floats(2))
        if aligned:
            # A single pixel: everything is reflected to it, and nothing may be divided by zero.
            period = self._calc("Max", period, self._floats(1))
        else:
            taps = e("Add", taps, self._float(0.5))
        whole = e("Floor", e("Div", taps, self._float(period)))
        taps = e("Sub", taps, e("Mul", whole, self._float(period)))
        taps = e("Abs", e("Sub", self._float(length), taps))
        taps = e("Sub", self._float(length), taps)
        return taps if aligned else e("Sub", taps, self._float(0.5))

    # -- from places to rows of the table ----------------------------------------------------------

    def _positions(self, taps: gs.Tensor) -> gs.Tensor:
        """What each tap of each axis adds to the number of a row."""
        e, site = self._e, self._site
        stride: Value = np.ones(1, np.int64)
        for axis in reversed(site.rows):
            if self._strides:
                stride = self._calc(
                    "Mul", stride, self._padded_size(site.rows[-len(self._strides)])
                )
            self._strides[axis] = stride
        parts = [self._strides[axis] for axis in site.axes for _ in self._taps]
        joined = self._joined(parts)
        return e("Mul", e.cast(taps, self._index), self._const(joined, self._index))

    def _first_rows(self, rank: int) -> Value | None:
        """The row at which every image of the batch begins, of shape (N, 1, ...)."""
        e, site = self._e, self._site
        count = self._batch()
        if count == 1:
            return None
        outer = site.rows[0]
        rows = self._calc("Mul", self._strides[outer], self._padded_size(outer))
        numbers: Value
        if count is not None:
            numbers = np.arange(count, dtype=np.int64).reshape(count, *(1,) * (rank - 1))
        else:
            images = e("Gather", self._sizes_at_run_time(), e.const(0), axis=0)
            ramp = e("Range", e.const(0), images, e.const(1))
            numbers = e.reshape(ramp, [-1, *(1,) * (rank - 1)])
        return self._calc("Mul", numbers, rows)

    def _batch(self) -> int | None:
        """The number of images; data and grid have the same."""
        grid = self._site.scope.shape(self._site.grid) or (None,)
        return next((d for d in (self._site.shape[0], grid[0]) if isinstance(d, int)), None)

    def _combined(self, op: str, per_axis: gs.Tensor) -> gs.Tensor:
        """What belongs to every corner, made of what belongs to the taps along each axis.

        The last axis of the result counts corners; it is gone where there is one.
        """
        count = len(self._taps)
        corners = list(itertools.product(range(count), repeat=len(self._site.axes)))
        result: gs.Tensor | None = None
        for k in range(len(self._site.axes)):
            places = np.asarray([k * count + corner[k] for corner in corners])
            chosen = self._e.const(places if count > 1 else places[0])
            part = self._e("Gather", per_axis, chosen, axis=self._last)
            result = part if result is None else self._e(op, result, part)
        assert result is not None
        return result

    def _sum(self, table: gs.Tensor, index: gs.Tensor, weights: gs.Tensor) -> gs.Tensor:
        """The weighted sum of the pixels at all corners."""
        e = self._e
        result: gs.Tensor | None = None
        for k in range(len(self._taps) ** len(self._site.axes)):
            pixels = e("Gather", table, e("Gather", index, e.const(k), axis=self._last), axis=0)
            weight = e("Gather", weights, e.ints([k]), axis=self._last)
            term = e("Mul", pixels, weight)
            result = term if result is None else e("Add", result, term)
        assert result is not None
        return result

    # -- sizes -------------------------------------------------------------------------------------

    def _sizes(self) -> Value:
        """The sizes of the data along the axes of the grid, for every tap, as floats."""
        known = [self._site.shape[axis] for axis in self._site.axes]
        sizes = [size for size in known if isinstance(size, int)]
        if len(sizes) == len(known):
            return np.repeat(self._floats(sizes), len(self._taps))
        axes = self._e.const(np.repeat(self._site.axes, len(self._taps)))
        read = self._e("Gather", self._sizes_at_run_time(), axes, axis=0)
        return self._e.cast(read, self._site.compute)

    def _padded_size(self, axis: int) -> Value:
        """The size of the padded data along an axis, as a vector of one integer."""
        if axis not in self._padded:
            size = self._site.shape[axis]
            rim = np.asarray([2 * self._site.rim], np.int64)
            if isinstance(size, int):
                self._padded[axis] = rim + size
            else:
                at = self._e.ints([axis])
                read = self._e("Gather", self._sizes_at_run_time(), at, axis=0)
                self._padded[axis] = self._e("Add", read, rim) if self._site.rim else read
        return self._padded[axis]

    def _sizes_at_run_time(self) -> gs.Tensor:
        if self._shape is None:
            self._shape = self._e.shape(self._site.data)
        return self._shape

    # -- numbers that may be known -----------------------------------------------------------------

    def _calc(self, op: str, a: Value, b: Value) -> Value:
        """A node, or its value where both inputs are known."""
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            return _FOLDS[op](a, b)
        if op == "Mul":
            for one, other in ((a, b), (b, a)):
                if isinstance(one, np.ndarray) and one.shape == (1,) and one[0] == 1:
                    return other
        return self._e(op, a, b)

    def _joined(self, parts: Sequence[Value]) -> Value:
        known = [part for part in parts if isinstance(part, np.ndarray)]
        if len(known) == len(parts):
            return np.concatenate(known)
        return self._e.concat([self._const(part, TensorProto.INT64) for part in parts], 0)

    def _per_tap(self, values: Sequence[float]) -> NDArray[np.generic]:
        """The same for every axis of the grid."""
        return self._floats(np.tile(np.asarray(values, np.float64), len(self._site.axes)))

    def _floats(self, values: ArrayLike) -> NDArray[np.generic]:
        double = self._site.compute == TensorProto.DOUBLE
        return np.asarray(values, np.float64 if double else np.float32)

    def _float(self, value: Value | float) -> gs.Tensor:
        return value if isinstance(value, gs.Tensor) else self._e.const(self._floats(value))

    def _const(self, value: Value, dtype: int) -> gs.Tensor:
        return self._e.const(value, dtype) if isinstance(value, np.ndarray) else value
