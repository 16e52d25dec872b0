"""Between which numbers the elements of a tensor provably lie."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.scope import Scope, attribute, is_standard
from onnx_fix_passes._wide_types import RANGES

Bounds = tuple[float, float]

_DEPTH = 8
_SAME = frozenset(
    {"Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Tile"}
    | {"Transpose", "Unsqueeze", "Split", "DepthToSpace", "SpaceToDepth"}
)
_ROUNDING: dict[str, Callable[[float], float]] = {
    "Floor": math.floor,
    "Ceil": math.ceil,
    "Round": round,
}
_PRECISE = frozenset({int(TensorProto.FLOAT), int(TensorProto.DOUBLE), *RANGES})
"""Types whose rounding is lost in the conversion to an integer of 8 or 16 bits."""
_BETWEEN_0_AND_1 = frozenset({"HardSigmoid", "Sigmoid", "Softmax"})


def bounds(scope: Scope, tensor: gs.Tensor, depth: int = _DEPTH) -> Bounds | None:
    """The ends of a closed interval that holds every number of a tensor, NaN aside, or None.

    Only a few ops are looked through: those that stand before a conversion to 8 bits.
    """
    value = scope.constant(tensor)
    if value is not None:
        return _of_constant(value)
    known = _of_node(scope, tensor, depth) if depth else None
    dtype = scope.dtype(tensor)
    by_type = RANGES.get(dtype) if dtype is not None else None
    return known if known is not None else by_type


def _of_constant(value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Bounds | None:
    try:
        numbers = value.astype(np.float64)
    except (TypeError, ValueError):
        return None
    if not numbers.size or not np.isfinite(numbers).all():
        return None
    return float(numbers.min()), float(numbers.max())


def _of_node(scope: Scope, tensor: gs.Tensor, depth: int) -> Bounds | None:
    node = scope.producer(tensor)
    if node is None or not is_standard(node):
        return None
    if node.op in _BETWEEN_0_AND_1:
        return 0.0, 1.0
    if node.op == "Clip":
        return _of_clip(scope, node, depth)
    if not node.inputs or not node.inputs[0].name:
        return None
    if node.op in _SAME:
        return bounds(scope, node.inputs[0], depth - 1)
    if node.op in _ROUNDING:
        found = bounds(scope, node.inputs[0], depth - 1)
        low, high = found if found is not None else (math.nan, math.nan)
        rounded = _ROUNDING[node.op]
        return None if found is None else (float(rounded(low)), float(rounded(high)))
    made = scope.dtype(tensor)
    if node.op in ("Add", "Mul", "Sub") and made in _PRECISE:
        a, b = (bounds(scope, t, depth - 1) for t in node.inputs)
        return None if a is None or b is None else _within(_combined(node.op, a, b), made)
    if node.op == "Cast" and made is not None:
        found = bounds(scope, node.inputs[0], depth - 1)
        return None if found is None else _within(found, made)
    return None


def _within(found: Bounds, dtype: int) -> Bounds | None:
    """What a type with an end makes of an interval: None where a number would start again."""
    low, high = RANGES.get(dtype, (-math.inf, math.inf))
    return found if low <= found[0] and found[1] <= high else None


def _combined(op: str, a: Bounds, b: Bounds) -> Bounds:
    if op == "Add":
        return a[0] + b[0], a[1] + b[1]
    if op == "Sub":
        return a[0] - b[1], a[1] - b[0]
    ends = [x * y for x in a for y in b]
    return min(ends), max(ends)


def _of_clip(scope: Scope, node: gs.Node, depth: int) -> Bounds | None:
    ends: list[float | None] = []
    for place, name in ((1, "min"), (2, "max")):
        end = attribute(node, name, float)
        if len(node.inputs) > place and node.inputs[place].name:
            value = scope.constant(node.inputs[place])
            end = float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None
        ends.append(end if end is None or math.isfinite(end) else None)
    given = bounds(scope, node.inputs[0], depth - 1)
    low = ends[0] if ends[0] is not None else (given[0] if given is not None else None)
    high = ends[1] if ends[1] is not None else (given[1] if given is not None else None)
    return None if low is None or high is None else (low, high)
