"""Which elements of a small tensor are constant, where others are computed at run time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnx_fix.scope import Scope, attribute, is_standard

_MOST = 64
_DEEPEST = 24

Elements = NDArray[Any]
"""Numbers, and None where an element is not known."""


def elements(scope: Scope, tensor: gs.Tensor, depth: int = 0) -> Elements | None:
    """The elements of a tensor of known size, followed through what only moves them."""
    value = scope.folded(tensor)
    if value is not None:
        return value.astype(object) if value.size <= _MOST else None
    node = scope.producer(tensor)
    if node is not None and is_standard(node) and depth < _DEEPEST:
        moved = _moved(scope, node, depth + 1)
        if moved is not None:
            return moved
    shape = scope.shape(tensor)
    sizes = [d for d in shape or () if isinstance(d, int)]
    if shape is None or len(sizes) != len(shape) or math.prod(sizes) > _MOST:
        return None
    return np.full(sizes, None, object)


def _moved(scope: Scope, node: gs.Node, depth: int) -> Elements | None:
    if node.op == "Concat":
        parts = [elements(scope, t, depth) for t in node.inputs]
        axis = attribute(node, "axis", int)
        known = [p for p in parts if p is not None]
        if axis is None or len(known) != len(parts) or len({p.ndim for p in known}) != 1:
            return None
        return np.concatenate(known, axis=axis)
    if node.op not in ("Cast", "Identity", "Reshape", "Slice", "Transpose"):
        return None
    given = elements(scope, node.inputs[0], depth)
    if given is None or node.op in ("Cast", "Identity"):
        return given
    if node.op == "Transpose":
        perm = attribute(node, "perm", list)
        return given.transpose(perm) if perm is None or len(perm) == given.ndim else None
    values = [scope.folded(t) if t.name else None for t in node.inputs[1:]]
    if node.op == "Reshape":
        return _reshaped(given, values[0] if values else None)
    return _sliced(given, values)


def _reshaped(given: Elements, shape: NDArray[np.generic] | None) -> Elements | None:
    if shape is None or np.equal(shape, 0).any():
        return None
    try:
        return given.reshape([int(d) for d in shape.reshape(-1)])
    except ValueError:
        return None


def _sliced(given: Elements, values: list[NDArray[np.generic] | None]) -> Elements | None:
    if len(values) < 2 or any(v is None for v in values):
        return None
    rows = [[int(n) for n in v.reshape(-1)] for v in values if v is not None]
    starts, ends = rows[:2]
    axes = rows[2] if len(rows) > 2 else list(range(len(starts)))
    steps = rows[3] if len(rows) > 3 else [1] * len(starts)
    cut = [slice(None)] * given.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = given.shape[axis]
        # Python counts an end before the first element from the back, ONNX does not.
        stop = None if step < 0 and end + size < 0 else end
        cut[axis] = slice(start, stop, step)
    return given[tuple(cut)]
