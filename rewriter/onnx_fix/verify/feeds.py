"""Random feeds for a model: right dtypes and shapes, and integers that stay in range."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from math import ceil, floor, prod

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray

from onnx_fix.errors import UsageError
from onnx_fix.verify.demands import Demand
from onnx_fix.verify.symbols import dim_size, fed_inputs, input_dims, tensor_type
from onnx_fix.verify.tracing import Affine, Traced, Tracer

Value = NDArray[np.generic] | list[NDArray[np.generic]]
"""A tensor, or the elements of a sequence."""

Shapes = Mapping[str, tuple[int, ...]]

_T = onnx.TensorProto
DTYPES: dict[int, DTypeLike] = {
    _T.FLOAT: np.float32,
    _T.DOUBLE: np.float64,
    _T.FLOAT16: np.float16,
    _T.BFLOAT16: ml_dtypes.bfloat16,
    _T.FLOAT8E4M3FN: ml_dtypes.float8_e4m3fn,
    _T.FLOAT8E4M3FNUZ: ml_dtypes.float8_e4m3fnuz,
    _T.FLOAT8E5M2: ml_dtypes.float8_e5m2,
    _T.FLOAT8E5M2FNUZ: ml_dtypes.float8_e5m2fnuz,
    _T.INT8: np.int8,
    _T.INT16: np.int16,
    _T.INT32: np.int32,
    _T.INT64: np.int64,
    _T.UINT8: np.uint8,
    _T.UINT16: np.uint16,
    _T.UINT32: np.uint32,
    _T.UINT64: np.uint64,
    _T.INT4: ml_dtypes.int4,
    _T.UINT4: ml_dtypes.uint4,
    _T.BOOL: np.bool_,
    _T.STRING: np.object_,
    _T.COMPLEX64: np.complex64,
    _T.COMPLEX128: np.complex128,
}
"""numpy dtype of each tensor element type that can be fed."""

_INTEGERS: dict[int, tuple[int, int]] = {
    _T.INT4: (-8, 8),
    _T.UINT4: (0, 16),
    _T.INT8: (-128, 128),
    _T.UINT8: (0, 256),
    _T.INT16: (-9, 10),
    _T.INT32: (-9, 10),
    _T.INT64: (-9, 10),
    _T.UINT16: (0, 10),
    _T.UINT32: (0, 10),
    _T.UINT64: (0, 10),
}
"""Range [low, high) of integers that only take part in arithmetic."""

# Types that only later releases of onnx and ml_dtypes know.
for _name, _scalar, _range in (
    ("FLOAT4E2M1", "float4_e2m1fn", None),
    ("FLOAT8E8M0", "float8_e8m0fnu", None),
    ("INT2", "int2", (-2, 2)),
    ("UINT2", "uint2", (0, 4)),
):
    if hasattr(_T, _name) and hasattr(ml_dtypes, _scalar):
        DTYPES[_T.DataType.Value(_name)] = getattr(ml_dtypes, _scalar)
        if _range:
            _INTEGERS[_T.DataType.Value(_name)] = _range

_WORDS = ("", "a", "B", "cat", "the", "Zürich", "0", "-1.5")
_SEQUENCE_LENGTH = 2
_VECTORS = ("axes", "reshape", "expand", "split", "scales")


def make_feeds(model: onnx.ModelProto, sizes: Mapping[str, int], seed: int = 0) -> dict[str, Value]:
    """Return one random value for each input of ``model`` that is not an initializer.

    Floats are standard normal. An integer that reaches an index of Gather and its relatives (also
    through reshapes, casts, slices, additions of constants, nested graphs) lies in the range of the
    indexed axis; one that is a count, an axis, a shape or a mask gets values that serve as such.
    External weights are not read.

    Args:
        model: The model; weights may be external.
        sizes: A size for each symbol of the inputs, as `plan_sizes` gives them.
        seed: With equal arguments the feeds are equal, input by input.

    Returns:
        By input name, an array of the declared dtype and shape; for a sequence a list of two.

    Raises:
        UsageError: A symbol has no size, or an input declares no shape or has a type that cannot
            be made up.
    """
    return FeedMaker(model).make(sizes, seed)


class FeedMaker:
    """Makes feeds for one model at many sizes; the graph is walked once."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._inputs = fed_inputs(model)
        self._tracer: Tracer | None = None
        self._traced: dict[str, Traced] = {}
        for value in self._inputs:
            if _wants_tracing(value):
                self._tracer = self._tracer or Tracer(model)
                self._traced[value.name] = self._tracer.trace(value.name)

    def make(self, sizes: Mapping[str, int], seed: int = 0) -> dict[str, Value]:
        """Return feeds at ``sizes``; see `make_feeds`."""
        shapes: Shapes = {}
        if self._tracer and any(traced.demands for traced in self._traced.values()):
            shapes = self._tracer.shapes(sizes)
        unknown = 1 if sizes and all(size <= 1 for size in sizes.values()) else 2
        feeds: dict[str, Value] = {}
        for value in self._inputs:
            dtype, shape = _signature(value, sizes)
            rng = np.random.default_rng([seed, zlib.crc32(value.name.encode())])
            traced = self._traced.get(value.name, Traced())
            count = _SEQUENCE_LENGTH if _is_sequence(value) else 1
            made = [
                _fill(value.name, dtype, shape, traced, shapes, unknown, rng) for _ in range(count)
            ]
            feeds[value.name] = made if _is_sequence(value) else made[0]
        return feeds


def _is_sequence(value: onnx.ValueInfoProto) -> bool:
    kind = value.type
    if kind.HasField("optional_type"):
        kind = kind.optional_type.elem_type
    return bool(kind.HasField("sequence_type"))


def _wants_tracing(value: onnx.ValueInfoProto) -> bool:
    found = tensor_type(value.type)
    if found is None:
        return False
    if found.elem_type in _INTEGERS or found.elem_type == _T.BOOL:
        return True
    # Floats matter where they are bounds of Range or scales of Resize: scalars and short vectors.
    dims = input_dims(value)
    if found.elem_type not in (_T.FLOAT, _T.DOUBLE, _T.FLOAT16) or dims is None:
        return False
    return not dims or (len(dims) == 1 and dims[0] in range(9))


def _signature(value: onnx.ValueInfoProto, sizes: Mapping[str, int]) -> tuple[int, tuple[int, ...]]:
    found = tensor_type(value.type)
    if found is None or found.elem_type not in DTYPES:
        what = "no type" if found is None else f"type {_T.DataType.Name(found.elem_type)}"
        raise UsageError(
            f"input '{value.name}' has {what} that random values could be made for; "
            "give your own values with --inputs"
        )
    dims = input_dims(value)
    if dims is None:
        raise UsageError(
            f"input '{value.name}' declares no shape, so no random values can be made for it; "
            "give your own values with --inputs"
        )
    return found.elem_type, tuple(dim_size(dim, sizes) for dim in dims)


def _fill(
    name: str,
    elem: int,
    shape: tuple[int, ...],
    traced: Traced,
    shapes: Shapes,
    unknown: int,
    rng: np.random.Generator,
) -> NDArray[np.generic]:
    dtype = DTYPES[elem]
    if elem == _T.STRING:
        return np.asarray(rng.choice(np.array(_WORDS, dtype=object), size=shape), dtype=object)
    if elem == _T.BOOL:
        if "mask" in name.lower():
            return _prefix_mask(shape, rng).astype(np.bool_)
        return np.asarray(rng.random(shape) < 0.5)
    if elem not in _INTEGERS:
        return _fill_float(dtype, shape, traced, shapes, rng)
    for demand, way in traced.demands:
        if demand.kind in _VECTORS:
            return _vector(demand, way, shape, shapes, rng).astype(dtype)
    bounds = _bounds(traced, shapes, unknown)
    masks = "mask" in name.lower() or any(demand.kind == "mask" for demand, _ in traced.demands)
    if bounds is None and masks:
        return _prefix_mask(shape, rng).astype(dtype)
    low, high = bounds or ((0, 3) if traced.tainted else _INTEGERS[elem])
    least, largest = _limits(elem)
    low, high = max(low, least), min(high, largest + 1)
    amount = prod(shape)
    if any(demand.distinct for demand, _ in traced.demands) and 0 < amount <= high - low <= 1 << 20:
        return (low + rng.permutation(high - low)[:amount]).reshape(shape).astype(dtype)
    return np.asarray(rng.integers(low, high, size=shape, dtype=np.int64)).astype(dtype)


def _limits(elem: int) -> tuple[int, int]:
    if np.dtype(DTYPES[elem]).kind not in "iu":
        low, high = _INTEGERS[elem]
        return low, high - 1
    info = np.iinfo(np.dtype(DTYPES[elem]))
    return int(info.min), min(int(info.max), 1 << 62)


def _fill_float(
    dtype: DTypeLike,
    shape: tuple[int, ...],
    traced: Traced,
    shapes: Shapes,
    rng: np.random.Generator,
) -> NDArray[np.generic]:
    for demand, way in traced.demands:
        if demand.kind == "scales":
            return _vector(demand, way, shape, shapes, rng).astype(dtype)
        if demand.kind == "range":
            return np.asarray(rng.integers(demand.low, demand.high, size=shape)).astype(dtype)
    if np.dtype(dtype).kind == "c":
        parts = rng.standard_normal((2, *shape))
        return np.asarray(parts[0] + 1j * parts[1]).astype(dtype)
    return np.asarray(rng.standard_normal(shape)).astype(dtype)


def _prefix_mask(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
    """Ones up to a random length of at least 1 along the last axis, as padded batches have them."""
    if not shape:
        return np.asarray(rng.integers(0, 2))
    lengths = rng.integers(1, shape[-1] + 1 if shape[-1] else 2, size=(*shape[:-1], 1))
    return (np.arange(shape[-1]) < lengths).astype(np.int64)


def _bounds(traced: Traced, shapes: Shapes, unknown: int) -> tuple[int, int] | None:
    """Intersect what is asked into one range [low, high); None where nothing is.

    A demand that contradicts the others is left out: in ``Where(x < 0, x + n, x)`` the values that
    suit one branch do not suit the other.
    """
    result: tuple[int, int] | None = None
    for demand, way in sorted(traced.demands, key=lambda item: item[0].kind not in _STRICT):
        asked = _range_of(demand, shapes, unknown)
        if asked is None or (result is not None and demand.kind not in _STRICT):
            continue
        low = max(ceil((asked[0] - way.low) / way.scale), min(asked[0], 0))
        high = floor((asked[1] - 1 - way.high) / way.scale) + 1
        if result is not None:
            low, high = max(low, result[0]), min(high, result[1])
        if low < high:
            result = low, high
    return result


_STRICT = ("index", "index_nd", "count")


def _range_of(demand: Demand, shapes: Shapes, unknown: int) -> tuple[int, int] | None:
    if demand.kind == "range":
        return demand.low, demand.high
    if demand.kind not in _STRICT:
        return None
    shape = shapes.get(demand.data)
    if shape is None:
        size = unknown
    elif demand.kind == "index_nd":
        size = min(shape[demand.axis :], default=1)
    elif -len(shape) <= demand.axis < len(shape):
        size = shape[demand.axis]
    else:
        size = unknown
    return (1, max(size, 1) + 1) if demand.kind == "count" else (0, max(size, 1))


def _vector(
    demand: Demand,
    way: Affine,
    shape: tuple[int, ...],
    shapes: Shapes,
    rng: np.random.Generator,
) -> NDArray[np.generic]:
    """Return a vector that serves as axes, as a new shape, as split sizes or as scales."""
    length = prod(shape)
    values = np.ones(length, dtype=np.float64)
    data = shapes.get(demand.data, ())
    if demand.kind == "axes":
        values = np.arange(length, dtype=np.float64)
    elif demand.kind == "scales" and length > 2:
        values[2:] = 2
    elif demand.kind == "reshape" and length and way.direct:
        values[0] = -1
    elif demand.kind == "expand" and way.direct:
        for back in range(1, length + 1):
            if back > len(data) or data[-back] == 1:
                values[-back] = rng.integers(1, 4)
    elif demand.kind == "split" and length and -len(data) <= demand.axis < len(data):
        share, rest = divmod(data[demand.axis], length)
        values[:] = share
        values[-1] += rest
    return values.reshape(shape)
