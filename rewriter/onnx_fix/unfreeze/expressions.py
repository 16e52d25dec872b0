"""Tensors as expressions over sizes: computed with numpy, or written as nodes, by the same tree.

Shapes broadcast from the last axis, as in ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper

from onnx_fix.contract import Exactness
from onnx_fix.errors import UsageError
from onnx_fix.symbolic import Size, size
from onnx_fix.unfreeze.emit_sizes import Nodes

Array = NDArray[np.generic]
Values = Mapping[str, int]
Dims = tuple[Size, ...]

RANGE_SINCE = 11
"""The operator set that brought Range (ONNX operator changelog)."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant tensor; ``dtype`` is a ``TensorProto.DataType`` number."""

    data: bytes
    dtype: int
    shape: tuple[int, ...]

    @property
    def array(self) -> Array:
        """Its value."""
        kind = helper.tensor_dtype_to_np_dtype(self.dtype)
        return np.frombuffer(self.data, kind).reshape(self.shape)

    def __str__(self) -> str:
        return str(self.array.item()) if self.shape == () else f"table{list(self.shape)}"


@dataclass(frozen=True, slots=True)
class Number:
    """A size as an int64 scalar."""

    value: Size

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Index:
    """0, 1, ... along an axis that ``after`` others follow: int64."""

    length: Size
    after: int

    def __str__(self) -> str:
        return f"arange({self.length})" + (f"[{'None, ' * self.after}]" if self.after else "")


@dataclass(frozen=True, slots=True)
class Call:
    """An elementwise op of ONNX. Div is of floats, or of integers from 0 on."""

    op: str
    args: tuple[Expression, ...]

    def __str__(self) -> str:
        return f"{self.op}({', '.join(map(str, self.args))})"


@dataclass(frozen=True, slots=True)
class Cast:
    """Another element type."""

    of: Expression
    dtype: int

    def __str__(self) -> str:
        return f"{TensorProto.DataType.Name(self.dtype).lower()}({self.of})"


@dataclass(frozen=True, slots=True)
class Spread:
    """Broadcast to a shape."""

    of: Expression
    dims: Dims

    def __str__(self) -> str:
        return f"expand({self.of}, [{', '.join(map(str, self.dims))}])"


@dataclass(frozen=True, slots=True)
class Reshaped:
    """Another shape of as many elements; axis ``free`` is what the others leave."""

    of: Expression
    dims: Dims
    free: int

    def __str__(self) -> str:
        return f"reshape({self.of}, [{', '.join(map(str, self.dims))}])"


@dataclass(frozen=True, slots=True)
class Join:
    """One after the other along an axis; all have the same rank."""

    parts: tuple[Expression, ...]
    axis: int

    def __str__(self) -> str:
        return f"concat({', '.join(map(str, self.parts))}; axis {self.axis})"


Expression = Literal | Number | Index | Call | Cast | Spread | Reshaped | Join

_OPS: Mapping[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "FloorDiv": np.floor_divide,
    "Neg": np.negative,
    "Abs": np.abs,
    "Sqrt": np.sqrt,
    "Log": np.log,
    "Exp": np.exp,
    "Sin": np.sin,
    "Cos": np.cos,
    "Less": np.less,
    "Equal": np.equal,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Not": np.logical_not,
    "Where": np.where,
}


def literal(value: ArrayLike, dtype: int | None = None) -> Literal:
    """A constant; of the type of the array where ``dtype`` does not say otherwise."""
    array = np.asarray(value)
    if dtype is not None:
        array = array.astype(helper.tensor_dtype_to_np_dtype(dtype))
    return Literal(array.tobytes(), helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def call(op: str, *args: Expression) -> Call:
    """An elementwise op."""
    return Call(op, args)


def cast(of: Expression, dtype: int) -> Expression:
    """Another element type; the expression itself where it has it."""
    return of if dtype_of(of) == dtype else Cast(of, dtype)


def spread(of: Expression, dims: Dims) -> Expression:
    """Broadcast to a shape; the expression itself where it has it."""
    return of if dims_of(of) == dims else Spread(of, dims)


def dtype_of(expression: Expression) -> int:
    """The element type, a ``TensorProto.DataType`` number."""
    match expression:
        case Literal() | Cast():
            return expression.dtype
        case Number() | Index():
            return int(TensorProto.INT64)
        case Call(op, args):
            if op in ("Less", "Equal", "And", "Or", "Not"):
                return int(TensorProto.BOOL)
            return dtype_of(args[-1])
        case Join(parts):
            return dtype_of(parts[0])
        case Spread() | Reshaped():
            return dtype_of(expression.of)


def dims_of(expression: Expression) -> Dims:
    """The shape."""
    match expression:
        case Literal():
            return tuple(map(size, expression.shape))
        case Number():
            return ()
        case Index(length, after):
            return (length, *[size(1)] * after)
        case Call(_, args):
            shapes = [dims_of(a) for a in args]
            rank = max(map(len, shapes))
            padded = [(size(1),) * (rank - len(s)) + s for s in shapes]
            return tuple(
                next((d for d in column if d != 1), size(1)) for column in zip(*padded, strict=True)
            )
        case Cast(of):
            return dims_of(of)
        case Spread() | Reshaped():
            return expression.dims
        case Join(parts, axis):
            dims = list(dims_of(parts[0]))
            dims[axis] = sum((dims_of(p)[axis] for p in parts), size(0))
            return tuple(dims)


def children(expression: Expression) -> tuple[Expression, ...]:
    """What an expression is made from."""
    match expression:
        case Call(_, args):
            return args
        case Join(parts):
            return parts
        case Cast() | Spread() | Reshaped():
            return (expression.of,)
    return ()


def symbols_of(expression: Expression) -> frozenset[str]:
    """The symbols that a tensor depends on, in its numbers or its shape."""
    own: list[Size] = []
    match expression:
        case Number(value):
            own = [value]
        case Index(length, _):
            own = [length]
        case Spread(_, dims) | Reshaped(_, dims, _):
            own = list(dims)
    inner = (symbols_of(child) for child in children(expression))
    return frozenset().union(*(d.symbols for d in own), *inner)


def compute(expression: Expression, values: Values) -> Array:
    """The tensor for these values of the symbols."""
    match expression:
        case Literal():
            return expression.array
        case Number(value):
            return np.asarray(value.at(values), np.int64)
        case Index(length, after):
            return np.arange(length.at(values), dtype=np.int64).reshape(-1, *[1] * after)
        case Call(op, args):
            given = [compute(a, values) for a in args]
            whole = op == "Div" and given[0].dtype.kind in "iu"
            with np.errstate(all="ignore"):
                return np.asarray(_OPS["FloorDiv" if whole else op](*given))
        case Cast(of, dtype):
            return compute(of, values).astype(helper.tensor_dtype_to_np_dtype(dtype))
        case Spread(of, dims):
            return np.broadcast_to(compute(of, values), [d.at(values) for d in dims])
        case Reshaped(of, dims):
            return compute(of, values).reshape([d.at(values) for d in dims])
        case Join(parts, axis):
            return np.concatenate([compute(p, values) for p in parts], axis=axis)


def written(expression: Expression, nodes: Nodes) -> str:
    """The expression as nodes; the name of the tensor."""
    match expression:
        case Literal():
            return nodes.constant(expression.array)
        case Number(value):
            return nodes.scalar(value)
        case Index(length, after):
            line = nodes("Range", nodes.scalar(0), nodes.scalar(length), nodes.scalar(1))
            return nodes("Reshape", line, nodes.ints([-1] + [1] * after)) if after else line
        case Call(op, args):
            return nodes(op, *(written(a, nodes) for a in args))
        case Cast(of, dtype):
            return nodes("Cast", written(of, nodes), to=dtype)
        case Spread(of, dims):
            return nodes("Expand", written(of, nodes), nodes.vector(dims))
        case Reshaped(of, dims, free):
            wanted = [size(-1) if k == free else d for k, d in enumerate(dims)]
            return nodes("Reshape", written(of, nodes), nodes.vector(wanted))
        case Join(parts, axis):
            return nodes("Concat", *(written(p, nodes) for p in parts), axis=axis)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a tensor is made from sizes. ``exactness`` is ROUNDING where a last bit may differ.

    ``assumed`` are the floats with many digits that were taken for parameters of the network since
    no function of a size that is tried gives them; learned from exports at several sizes there are
    none.
    """

    expression: Expression
    dims: Dims
    exactness: Exactness = Exactness.EXACT
    assumed: tuple[float, ...] = ()

    @property
    def opset(self) -> int:
        """The least operator set that can say it."""
        return RANGE_SINCE if _has_index(self.expression) else 9

    def make(self, values: Values) -> Array:
        """The tensor for these values of the symbols."""
        return compute(self.expression, values)

    def emit(self, nodes: Nodes) -> str:
        """Nodes that make the tensor; the name of it.

        Raises:
            UsageError: the operator set is older than ``opset``.
            KeyError: a symbol has no source.
        """
        if nodes.opset < self.opset:
            raise UsageError(
                f"a table that counts along an axis needs Range, which operator set {nodes.opset} "
                f"lacks; export with operator set {self.opset} or later"
            )
        return written(self.expression, nodes)

    def __str__(self) -> str:
        return str(self.expression)


@dataclass(frozen=True, slots=True)
class Unknown:
    """No recipe, and why: a sentence that names the table."""

    reason: str


def _has_index(expression: Expression) -> bool:
    if isinstance(expression, Index):
        return True
    return any(map(_has_index, children(expression)))
