"""Tensors whose elements are all one known value, such as ``new_ones`` and ``full``."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from onnx.helper import tensor_dtype_to_np_dtype

from onnx_fix.emit import Emitter
from onnx_fix.op_names import REARRANGING
from onnx_fix.scope import Scope, attribute, has_unresolved, is_standard

_DEPTH = 32
"""How many nodes are followed upwards; exporters write chains of at most a handful."""

_ELEMENTWISE = frozenset({"Cast", "Identity", "Neg", "Not"})
_ARITHMETIC = frozenset({"Add", "Mul", "Sub"})


def uniform_value(scope: Scope, tensor: gs.Tensor, depth: int = _DEPTH) -> np.generic | None:
    """The value that every element of a tensor of any size has, or None where it is not known.

    Seen through constants, ConstantOfShape, Expand and its kin, Cast, and the sums and products
    of such tensors. A small constant counts when its elements agree in every bit, or are all NaN.
    """
    array = scope.constant(tensor)
    if array is not None:
        if array.size == 0 or array.dtype == object:
            return None
        first: np.generic = array.reshape(-1)[0]
        same = array == first if first == first else array != array
        return first if bool(np.all(same)) else None
    node = scope.producer(tensor)
    if node is None or not is_standard(node) or depth == 0:
        return None
    if node.op == "ConstantOfShape":
        return _fill(scope, node)
    if node.op in REARRANGING:
        return uniform_value(scope, node.inputs[0], depth - 1)
    if node.op == "Cast":
        return _cast(node, uniform_value(scope, node.inputs[0], depth - 1))
    if node.op in ("Concat", "Where"):
        return _common(scope, node.inputs[1 if node.op == "Where" else 0 :], depth)
    if node.op in _ARITHMETIC:
        return _arithmetic(scope, node, depth)
    return None


def _fill(scope: Scope, node: gs.Node) -> np.generic | None:
    if has_unresolved(node, "value"):
        return None
    fill = node.attrs.get("value")
    if fill is None:
        return np.float32(0.0)
    array = scope.constant(fill) if isinstance(fill, gs.Constant) else None
    if array is None or array.size != 1:
        return None
    value: np.generic = array.reshape(-1)[0]
    return value


def _cast(node: gs.Node, value: np.generic | None) -> np.generic | None:
    to = attribute(node, "to", int)
    if value is None or to is None:
        return None
    dtype = np.dtype(tensor_dtype_to_np_dtype(to))
    if dtype.kind not in "biufV":
        return None
    number = float(value)
    if dtype.kind in "iu" and not (np.isfinite(number) and abs(number) < 2**31):
        return None
    if dtype.kind == "u" and number < 0:
        return None
    result: np.generic = np.asarray(value).reshape(1).astype(dtype)[0]
    return result


def _common(scope: Scope, tensors: list[gs.Tensor], depth: int) -> np.generic | None:
    values = [uniform_value(scope, t, depth - 1) for t in tensors]
    first = values[0]
    if first is None or any(v is None or v != first for v in values):
        return None
    return first


def _arithmetic(scope: Scope, node: gs.Node, depth: int) -> np.generic | None:
    a = uniform_value(scope, node.inputs[0], depth - 1)
    b = uniform_value(scope, node.inputs[1], depth - 1) if a is not None else None
    if a is None or b is None or a.dtype != b.dtype:
        return None
    x, y = np.asarray(a).reshape(1), np.asarray(b).reshape(1)
    with np.errstate(all="ignore"):
        result = x + y if node.op == "Add" else x - y if node.op == "Sub" else x * y
    value: np.generic = result.astype(a.dtype)[0]
    return value


def is_single(scope: Scope, tensor: gs.Tensor) -> bool:
    """Whether a tensor surely has exactly one element."""
    shape = scope.shape(tensor)
    return shape is not None and all(d == 1 for d in shape)


def shape_source(scope: Scope, tensor: gs.Tensor) -> gs.Tensor | None:
    """The 1-D tensor that a filled tensor got its shape from, or None where there is none.

    With it the sizes can be had without computing the filled tensor.
    """
    for _ in range(_DEPTH):
        node = scope.producer(tensor)
        if node is None or not is_standard(node):
            return None
        if node.op == "ConstantOfShape":
            source: gs.Tensor = node.inputs[0]
            return source
        if node.op == "Expand":
            data, rank = node.inputs[0], scope.rank(tensor)
            fits = is_single(scope, data) and scope.shape(node.inputs[1]) == (rank,)
            return node.inputs[1] if fits and (scope.rank(data) or 0) <= (rank or 0) else None
        wide = _widest(scope, node)
        if wide is None:
            return None
        tensor = wide
    return None


def _widest(scope: Scope, node: gs.Node) -> gs.Tensor | None:
    """The input that has the shape of an elementwise node's output."""
    if node.op in _ELEMENTWISE:
        tensor: gs.Tensor = node.inputs[0]
        return tensor
    if node.op in _ARITHMETIC:
        for wide, other in ((0, 1), (1, 0)):
            a, b = scope.rank(node.inputs[wide]), scope.rank(node.inputs[other])
            if a is not None and b is not None and a >= b and is_single(scope, node.inputs[other]):
                tensor = node.inputs[wide]
                return tensor
    return None


def sizes(scope: Scope, e: Emitter, tensor: gs.Tensor) -> gs.Tensor:
    """All sizes of a tensor of known rank: int64, 1-D; a constant where they are known."""
    shape = scope.shape(tensor)
    known = [d for d in shape or () if isinstance(d, int)]
    if shape is not None and len(known) == len(shape):
        return e.ints(known)
    source = shape_source(scope, tensor)
    return e.shape(tensor) if source is None else source


def length(scope: Scope, e: Emitter, tensor: gs.Tensor, axis: int) -> gs.Tensor:
    """One size of a tensor of known rank: an int64 scalar, a constant where it is known.

    ``axis`` counts from the front. The scalar that an exporter assembled the shape from is used
    where there is one.
    """
    shape = scope.shape(tensor)
    if shape is not None and isinstance(shape[axis], int):
        return e.const(np.asarray(shape[axis], dtype=np.int64))
    source = shape_source(scope, tensor)
    if source is None:
        return e("Gather", e.shape(tensor), np.asarray(axis, np.int64), axis=0)
    source, axis = _part(scope, source, axis)
    scalar = _scalar_behind(scope, source)
    if scalar is not None:
        return scalar
    return e("Gather", source, np.asarray(axis, np.int64), axis=0)


def _part(scope: Scope, source: gs.Tensor, index: int) -> tuple[gs.Tensor, int]:
    """The operand of a Concat that holds an element, and where in it."""
    node = scope.producer(source)
    if node is None or not is_standard(node) or node.op != "Concat":
        return source, index
    offset = 0
    for part in node.inputs:
        size = scope.shape(part)
        if size is None or len(size) != 1 or not isinstance(size[0], int):
            return source, index
        if index < offset + size[0]:
            return _part(scope, part, index - offset)
        offset += size[0]
    return source, index


def _scalar_behind(scope: Scope, vector: gs.Tensor) -> gs.Tensor | None:
    """The rank-0 tensor that was made a vector of one element, or None."""
    node = scope.producer(vector)
    if node is None or not is_standard(node) or node.op not in ("Unsqueeze", "Reshape"):
        return None
    scalar: gs.Tensor = node.inputs[0]
    return scalar if scope.shape(scalar) == () and is_single(scope, vector) else None
