"""Follow the small integer tensors from which exporters assemble shapes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.scope import Scope, TypeInfo, is_standard
from onnx_fix.target.facts import Dim

if TYPE_CHECKING:
    from onnx_fix.model import Model

_MOST = 64
"""Tensors of more elements than this are no shapes."""

_INTEGERS = (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)

Value = tuple[Dim, ...]
"""Elements of a 0-D or 1-D integer tensor: numbers, sizes by symbol, None for unknown."""


class ShapeValues:
    """Symbolic values in one scope, given the types found so far (by identity of the tensor)."""

    def __init__(self, model: Model, scope: Scope, types: dict[int, TypeInfo]) -> None:
        self._model = model
        self._scope = scope
        self._types = types
        self._values: dict[int, Value | None] = {}

    def follow(self, node: gs.Node) -> TypeInfo | None:
        """Take in the next node; the type of its output where a shape operand decides on it."""
        if not is_standard(node):
            return None
        result = _RESULT.get(node.op)
        driven = None
        if result is not None:
            shape = result(self, node)
            dtype = self._dtype(node)
            if shape is not None and dtype is not None:
                driven = TypeInfo(dtype, shape)
        follow = _FOLLOW.get(node.op)
        if follow is not None:
            self._values[id(node.outputs[0])] = follow(self, node)
        return driven

    # -- access -----------------------------------------------------------------------------------

    def info(self, tensor: gs.Tensor) -> TypeInfo:
        """The type of a tensor as far as it is known by now."""
        if isinstance(tensor, gs.Constant):
            return self._model.type_of(tensor)
        return self._types.get(id(tensor)) or TypeInfo()

    def value(self, tensor: gs.Tensor) -> Value | None:
        """The elements of a small integer tensor of rank 0 or 1, or None."""
        if id(tensor) in self._values:
            return self._values[id(tensor)]
        value: Value | None = None
        array = None
        if self.info(tensor).dtype in _INTEGERS:
            array = self._model.value_if_there(tensor, limit=_MOST)
        if array is not None and array.ndim <= 1:
            value = tuple(int(v) for v in array.reshape(-1))
        self._values[id(tensor)] = value
        return value

    def numbers(self, tensor: gs.Tensor) -> list[int] | None:
        """Like ``value`` where every element is a number."""
        value = self.value(tensor)
        if value is None or not all(isinstance(v, int) for v in value):
            return None
        return [v for v in value if isinstance(v, int)]

    def axes(self, node: gs.Node) -> list[int] | None:
        """The axes of a Squeeze or Unsqueeze, by input or attribute."""
        if "axes" in node.attrs:
            return list(node.attrs["axes"])
        return self.numbers(node.inputs[1]) if len(node.inputs) > 1 else None

    def _dtype(self, node: gs.Node) -> int | None:
        if node.op == "ConstantOfShape":
            value = node.attrs.get("value")
            if isinstance(value, gs.Constant):
                return self._model.type_of(value).dtype
            return int(TensorProto.FLOAT)
        return self.info(node.inputs[0]).dtype


# -- values ------------------------------------------------------------------------------------


def _shape(values: ShapeValues, node: gs.Node) -> Value | None:
    shape = values.info(node.inputs[0]).shape
    if shape is None:
        return None
    return shape[slice(node.attrs.get("start", 0), node.attrs.get("end"))]


def _size(values: ShapeValues, node: gs.Node) -> Value | None:
    shape = values.info(node.inputs[0]).shape or ()
    sizes = [d for d in shape if isinstance(d, int)]
    if values.info(node.inputs[0]).shape is None or len(sizes) != len(shape):
        return None
    return (math.prod(sizes),)


def _same(values: ShapeValues, node: gs.Node) -> Value | None:
    return values.value(node.inputs[0])


def _cast(values: ShapeValues, node: gs.Node) -> Value | None:
    to, value = node.attrs.get("to"), values.value(node.inputs[0])
    if value is None or to not in (*_INTEGERS, TensorProto.FLOAT):
        return None
    if to == TensorProto.BOOL:
        return tuple(int(v != 0) if isinstance(v, int) else None for v in value)
    return value


def _gather(values: ShapeValues, node: gs.Node) -> Value | None:
    data, index = values.value(node.inputs[0]), values.numbers(node.inputs[1])
    if data is None or index is None or node.attrs.get("axis", 0) not in (0, -1):
        return None
    if any(not -len(data) <= i < len(data) for i in index):
        return None
    return tuple(data[i] for i in index)


def _slice(values: ShapeValues, node: gs.Node) -> Value | None:
    data = values.value(node.inputs[0])
    if data is None:
        return None
    steps: list[int] | None
    if "starts" in node.attrs:
        starts, ends, steps = node.attrs["starts"], node.attrs["ends"], [1]
    else:
        given = [values.numbers(t) if t.name else None for t in node.inputs[1:]]
        starts, ends, steps = given[0], given[1], [1]
        if len(given) > 3 and node.inputs[4].name:
            steps = given[3]
    if not starts or not ends or not steps or len(starts) != 1 or steps[0] == 0:
        return None
    start, end, step = starts[0], ends[0], steps[0]
    # The most negative number stands for "past the first element" when the step is negative.
    last = None if step < 0 and end < -len(data) else end
    return data[start:last:step]


def _concat(values: ShapeValues, node: gs.Node) -> Value | None:
    joined: list[Dim] = []
    for tensor in node.inputs:
        value = values.value(tensor)
        if value is None:
            shape = values.info(tensor).shape
            if shape is None or len(shape) != 1 or not isinstance(shape[0], int):
                return None
            value = (None,) * shape[0]
        joined.extend(value)
        if len(joined) > _MOST:
            return None
    return tuple(joined)


def _reshaped(values: ShapeValues, node: gs.Node) -> Value | None:
    value = values.value(node.inputs[0])
    out = values.info(node.outputs[0]).shape
    one = node.op == "Reshape" and len(_reshape(values, node) or (0, 0)) <= 1
    return value if one or (out is not None and len(out) <= 1) else None


def _squeezed(values: ShapeValues, node: gs.Node) -> Value | None:
    value = values.value(node.inputs[0])
    return value if value is not None and len(value) == 1 else None


def _constant_of_shape(values: ShapeValues, node: gs.Node) -> Value | None:
    size = values.numbers(node.inputs[0])
    if size is None or len(size) > 1 or math.prod(size) > _MOST:
        return None
    fill = node.attrs.get("value")
    array = values._model.value(fill, limit=1) if isinstance(fill, gs.Constant) else None
    if array is None or array.dtype.kind not in "iub":
        return None
    return (int(array.reshape(-1)[0]),) * math.prod(size)


def _binary(op: Callable[[int, int], int]) -> Callable[[ShapeValues, gs.Node], Value | None]:
    def follow(values: ShapeValues, node: gs.Node) -> Value | None:
        a, b = values.value(node.inputs[0]), values.value(node.inputs[1])
        if a is None or b is None:
            return None
        if len(a) != len(b):
            if 1 not in (len(a), len(b)):
                return None
            a, b = a * max(1, len(b) // len(a)), b * max(1, len(a) // len(b))
        return tuple(_apply(node.op, op, x, y) for x, y in zip(a, b, strict=True))

    return follow


def _apply(name: str, op: Callable[[int, int], int], x: Dim, y: Dim) -> Dim:
    if isinstance(x, int) and isinstance(y, int):
        return op(x, y)
    neutral = {"Mul": 1, "Div": 1, "Add": 0, "Sub": 0}.get(name)
    if y == neutral and neutral is not None:
        return x
    if x == neutral and name in ("Mul", "Add"):
        return y
    if name == "Equal":
        # A size is never negative.
        for size, number in ((x, y), (y, x)):
            if isinstance(size, str) and isinstance(number, int) and number < 0:
                return 0
        return 1 if isinstance(x, str) and x == y else None
    return None


def _not(values: ShapeValues, node: gs.Node) -> Value | None:
    value = values.value(node.inputs[0])
    return value and tuple(int(not v) if isinstance(v, int) else None for v in value)


def _divide(x: int, y: int) -> int:
    # ONNX divides integers towards zero.
    return int(abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)) if y else 0


def _where(values: ShapeValues, node: gs.Node) -> Value | None:
    cond, x, y = (values.value(t) for t in node.inputs)
    if cond is None or x is None or y is None or not len(cond) == len(x) == len(y):
        return None
    return tuple(
        (a if c else b) if isinstance(c, int) else (a if a == b else None)
        for c, a, b in zip(cond, x, y, strict=True)
    )


_FOLLOW: dict[str, Callable[[ShapeValues, gs.Node], Value | None]] = {
    "Shape": _shape,
    "Size": _size,
    "Identity": _same,
    "Cast": _cast,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Unsqueeze": _reshaped,
    "Squeeze": _squeezed,
    "Reshape": _reshaped,
    "ConstantOfShape": _constant_of_shape,
    "Add": _binary(lambda x, y: x + y),
    "Sub": _binary(lambda x, y: x - y),
    "Mul": _binary(lambda x, y: x * y),
    "Div": _binary(_divide),
    "Equal": _binary(lambda x, y: int(x == y)),
    "Greater": _binary(lambda x, y: int(x > y)),
    "GreaterOrEqual": _binary(lambda x, y: int(x >= y)),
    "Less": _binary(lambda x, y: int(x < y)),
    "LessOrEqual": _binary(lambda x, y: int(x <= y)),
    "And": _binary(lambda x, y: int(x and y)),
    "Or": _binary(lambda x, y: int(x or y)),
    "Not": _not,
    "Where": _where,
}


# -- shapes ------------------------------------------------------------------------------------


def _length(values: ShapeValues, tensor: gs.Tensor) -> int | None:
    """How many elements a 1-D shape operand has."""
    value = values.value(tensor)
    if value is not None:
        return len(value)
    shape = values.info(tensor).shape
    return shape[0] if shape is not None and len(shape) == 1 and isinstance(shape[0], int) else None


def _reshape(values: ShapeValues, node: gs.Node) -> tuple[Dim, ...] | None:
    if len(node.inputs) < 2:
        return None
    value = values.value(node.inputs[1])
    if value is None:
        length = _length(values, node.inputs[1])
        return None if length is None else (None,) * length
    data = values.info(node.inputs[0]).shape
    dims: list[Dim] = list(value)
    for k, dim in enumerate(dims):
        if dim == 0 and not node.attrs.get("allowzero", 0):
            dims[k] = data[k] if data is not None and k < len(data) else None
        elif isinstance(dim, int) and dim < -1:
            return None
    if -1 in dims:
        k = dims.index(-1)
        dims[k] = _rest(data, [*dims[:k], *dims[k + 1 :]])
    return tuple(dims)


def _rest(data: Sequence[Dim] | None, others: Sequence[Dim]) -> Dim:
    """The size that -1 stands for, where symbols cancel."""
    if data is None or None in data or None in others:
        return None
    left = Counter(d for d in data if isinstance(d, str))
    left.subtract(d for d in others if isinstance(d, str))
    number = math.prod(d for d in data if isinstance(d, int))
    divisor = math.prod(d for d in others if isinstance(d, int))
    if divisor == 0 or any(n < 0 for n in left.values()) or number % divisor:
        return None
    symbols = list(left.elements())
    if not symbols:
        return number // divisor
    return symbols[0] if len(symbols) == 1 and number == divisor else None


def _expand(values: ShapeValues, node: gs.Node) -> tuple[Dim, ...] | None:
    data = values.info(node.inputs[0]).shape
    length = _length(values, node.inputs[1])
    if data is None or length is None:
        return None
    to = values.value(node.inputs[1]) or (None,) * length
    rank = max(len(data), len(to))
    a = (1,) * (rank - len(data)) + tuple(data)
    b = (1,) * (rank - len(to)) + tuple(to)
    return tuple(_broadcast(x, y) for x, y in zip(a, b, strict=True))


def _broadcast(x: Dim, y: Dim) -> Dim:
    if x == y or y == 1:
        return x
    if x == 1 or isinstance(y, int):
        return y
    return x if isinstance(x, int) else None


def _filled(values: ShapeValues, node: gs.Node) -> tuple[Dim, ...] | None:
    value = values.value(node.inputs[0])
    if value is not None:
        return value
    length = _length(values, node.inputs[0])
    return None if length is None else (None,) * length


_RESULT: dict[str, Callable[[ShapeValues, gs.Node], tuple[Dim, ...] | None]] = {
    "Reshape": _reshape,
    "Expand": _expand,
    "ConstantOfShape": _filled,
}
