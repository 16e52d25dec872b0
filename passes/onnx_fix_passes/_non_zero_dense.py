"""Values of the selected elements, written as values of all elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved, is_standard
from onnx_fix.target.facts import Dim
from onnx_fix_passes._non_zero_points import KEEPS_SHAPE, gathered_at, numbers
from onnx_fix_passes._uniform import is_single

_DEPTH = 24
_INTEGER_FREE = frozenset({"Div"})
"""Ops that may fault on integers that the mask would have left out (division by zero)."""


@dataclass(frozen=True)
class Dense:
    """An expression over whole tensors: a tensor, or an op over expressions (None: no input)."""

    tensor: gs.Tensor | None = None
    op: str = ""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Dense | None, ...] = ()


@dataclass(frozen=True)
class Selection:
    """Which elements are selected out of what.

    ``mask`` selects by its elements that are not zero; ``shape`` is that of the tensor ``like``
    that they are selected from, whose first dimensions are those of the mask. ``fits`` says that
    selected values are surely (K, ...) as the ScatterND that reads them demands.
    """

    mask: gs.Tensor
    rank: int
    shape: tuple[Dim, ...]
    like: gs.Tensor
    fits: bool

    @property
    def rest(self) -> tuple[Dim, ...]:
        """The dimensions that are selected whole."""
        return self.shape[self.rank :]


def dense(scope: Scope, tensor: gs.Tensor, s: Selection, *, top: bool = True) -> Dense | None:
    """The expression E for which ``tensor[k]`` is E at the k-th selected element; None if unknown.

    ``tensor`` has the shape (K, ...) of selected values. What is gathered at the selected elements
    becomes what it was gathered from, and ops element by element are applied to all elements.
    ``top``: nothing but a rearrangement follows, so that a Slice must have kept all K.
    """
    return _dense(scope, tensor, s, top, _DEPTH)


def _dense(scope: Scope, tensor: gs.Tensor, s: Selection, top: bool, depth: int) -> Dense | None:
    node = scope.producer(tensor)
    if node is None or not is_standard(node) or depth == 0:
        return None
    if node.op in ("GatherND", "Gather"):
        mask = gathered_at(scope, node, whole=True)
        same = mask is not None and bare(scope, mask) is s.mask
        data = node.inputs[0]
        return Dense(data) if same and same_shape(scope, data, s.like) else None
    if node.op == "Expand" and s.fits:
        return _expanded(scope, node, s, top, depth)
    if node.op == "Reshape" and len(s.rest) == 0 and scope.rank(node.inputs[0]) == 1:
        shape = scope.folded(node.inputs[1])
        flat = shape is not None and shape.shape == (1,) and int(shape[0]) == -1
        return _dense(scope, node.inputs[0], s, top, depth - 1) if flat else None
    if node.op == "Slice" and s.fits and top and _from_start(scope, node):
        return _dense(scope, node.inputs[0], s, top, depth - 1)
    if node.op in KEEPS_SHAPE:
        return _elementwise(scope, node, s, depth)
    return None


def _expanded(scope: Scope, node: gs.Node, s: Selection, top: bool, depth: int) -> Dense | None:
    """Expand to (K, ...): of a scalar, of a row, or of values that are (K, ...) already."""
    data = node.inputs[0]
    rank, whole = scope.rank(data), 1 + len(s.rest)
    if rank is None or rank > whole:
        return None
    plain = _broadcast(scope, data, s)
    if plain is not None:
        return plain
    return _dense(scope, data, s, top, depth - 1) if rank == whole else None


def _broadcast(scope: Scope, tensor: gs.Tensor, s: Selection) -> Dense | None:
    """A tensor that is the same for every selected element."""
    shape = scope.shape(tensor)
    if is_single(scope, tensor):
        return Dense(tensor) if shape is not None and len(shape) <= 1 + len(s.rest) else None
    if shape is None or len(shape) > len(s.rest):
        return None
    tail = s.rest[len(s.rest) - len(shape) :]
    fits = all(a == 1 or (a is not None and a == b) for a, b in zip(shape, tail, strict=True))
    return Dense(tensor) if fits else None


def _from_start(scope: Scope, node: gs.Node) -> bool:
    """Whether a Slice cuts nothing but the end of a tensor of rank 1."""
    if scope.rank(node.inputs[0]) != 1:
        return False
    start = numbers(scope, node, 1, "starts")
    return start == [0] and numbers(scope, node, 4, "steps", [1]) == [1]


def _elementwise(scope: Scope, node: gs.Node, s: Selection, depth: int) -> Dense | None:
    if has_unresolved(node, *node.attrs) or len(node.outputs) != 1:
        return None
    if node.op in _INTEGER_FREE and not _is_float(scope, node.outputs[0]):
        return None
    parts: list[Dense | None] = []
    for operand in node.inputs:
        if not operand.name:
            parts.append(None)
            continue
        part = _broadcast(scope, operand, s) or _dense(scope, operand, s, False, depth - 1)
        if part is None:
            return None
        parts.append(part)
    return Dense(op=node.op, attrs=dict(node.attrs), inputs=tuple(parts))


def _is_float(scope: Scope, tensor: gs.Tensor) -> bool:
    return scope.dtype(tensor) in (
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.DOUBLE,
        TensorProto.BFLOAT16,
    )


def write(e: Emitter, what: Dense) -> gs.Tensor:
    """Emit the nodes of an expression."""
    if what.tensor is not None:
        return what.tensor
    inputs = [None if part is None else write(e, part) for part in what.inputs]
    return e(what.op, *inputs, **what.attrs)


# -- masks ----------------------------------------------------------------------------------------


def bare(scope: Scope, mask: gs.Tensor) -> gs.Tensor:
    """The tensor behind nodes that surely leave a mask as it is."""
    for _ in range(_DEPTH):
        node = scope.producer(mask)
        if node is None or not is_standard(node):
            break
        data = node.inputs[0] if node.inputs else None
        boolean = node.op == "Cast" and attribute(node, "to", int) == TensorProto.BOOL
        if data is not None and (
            node.op == "Identity"
            or (boolean and scope.dtype(data) == TensorProto.BOOL)
            or (node.op == "Expand" and proven(scope.shape(data), scope.shape(mask)))
        ):
            mask = data
        else:
            break
    return mask


def proven(a: tuple[Dim, ...] | None, b: tuple[Dim, ...] | None) -> bool:
    """Whether two shapes are surely the same."""
    return a is not None and a == b and None not in a


def same_shape(scope: Scope, a: gs.Tensor, b: gs.Tensor) -> bool:
    """Whether two tensors surely have one shape, their dims known or not."""
    return a is b or proven(scope.shape(a), scope.shape(b)) or _root(scope, a) is _root(scope, b)


def _root(scope: Scope, tensor: gs.Tensor) -> gs.Tensor:
    """The tensor that gave an elementwise result its shape."""
    for _ in range(_DEPTH):
        node = scope.producer(tensor)
        if node is None or not is_standard(node) or node.op not in KEEPS_SHAPE:
            break
        ranks = [scope.rank(t) for t in node.inputs if t.name]
        wide = [t for t in node.inputs if t.name and not is_single(scope, t)]
        if len(wide) != 1 or None in ranks or scope.rank(wide[0]) != max(r or 0 for r in ranks):
            break
        tensor = wide[0]
    return tensor


def as_bool(scope: Scope, e: Emitter, mask: gs.Tensor) -> gs.Tensor:
    """Where a tensor is not zero, NaN included.

    By comparison, since TensorRT 7 makes BOOL of floats through integers; by Cast where the model's
    operator set compares no floats (before 11).
    """
    dtype = scope.dtype(mask)
    if dtype == TensorProto.BOOL:
        return mask
    compared = dtype in (TensorProto.INT32, TensorProto.INT64) or e.opset >= 11
    if dtype is None or not compared:
        return e.cast(mask, TensorProto.BOOL)
    return e("Not", e("Equal", mask, e.const(np.zeros(()), dtype)))
