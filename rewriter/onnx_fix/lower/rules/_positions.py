"""Positions in a tensor, written with the ops of any operator set."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from onnx_fix.lower.node import LowNode, Refused
from onnx_fix.lower.rules._steps import dims_of, known_rank

INT64 = int(TensorProto.INT64)


def wrapped(low: LowNode, indices: str, size: str) -> str:
    """Indices counted from the end as indices from the front; ``size`` broadcasts to them."""
    value = low.value(indices)
    if value is not None and np.all(value.astype(np.int64) >= 0):
        return indices
    negative = low.add("Less", indices, low.const(0, INT64))
    return low.add("Where", negative, low.add("Add", indices, size), indices)


def int64(low: LowNode, index: int) -> str:
    name = low.input(index)
    return name if low.dtype(index) == INT64 else low.add("Cast", name, to=INT64)


def width_of(low: LowNode, index: int) -> int:
    """The size of the last axis of an input."""
    shape = low.types(low.input(index)).shape
    if not shape or not isinstance(shape[-1], int):
        raise Refused(f"the last axis of '{low.input(index)}' has no known size")
    return shape[-1]


def flat_index(low: LowNode, indices: str, width: int) -> str:
    """The rows of ``indices`` as positions in data whose first ``width`` axes are flattened."""
    sizes = [dims_of(low, low.input(0), [axis]) for axis in range(width)]
    last = known_rank(low, 1) - 1
    flat = ""
    for axis, size in enumerate(sizes):
        part = low.add("Gather", indices, low.const(axis, INT64), axis=last)
        part = wrapped(low, part, size)
        flat = part if not flat else low.add("Add", low.add("Mul", flat, size), part)
    return flat
