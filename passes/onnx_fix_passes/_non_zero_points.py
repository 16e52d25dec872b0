"""Follow the coordinates that a NonZero found through the nodes that only rearrange them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.scope import Scope, attribute, is_standard
from onnx_fix_passes._uniform import is_single

_DEPTH = 24
"""How many nodes are followed; the longest chain of an exporter has nine."""

KEEPS_SHAPE = frozenset(
    {
        "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Cos", "Div", "Elu", "Equal", "Erf", "Exp",
        "Floor", "Greater", "HardSigmoid", "Identity", "LeakyRelu", "Less", "Log", "Max", "Min",
        "Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign",
        "Sin", "Softplus", "Sqrt", "Sub", "Tanh", "Where",
    }
)  # fmt: skip
"""Ops that work element by element, with broadcasting."""


@dataclass(frozen=True)
class Points:
    """Coordinates of the K elements of ``mask`` that are not zero.

    ``columns`` says which coordinates in which order. ``layout`` is the arrangement: ``rows`` is
    (columns, K) as NonZero gives it, ``points`` is (K, columns), ``flat`` is (K,) of one column.
    """

    mask: gs.Tensor
    columns: tuple[int, ...]
    layout: Literal["rows", "points", "flat"]

    @property
    def coordinate_axis(self) -> int:
        """The dimension that counts coordinates."""
        return 0 if self.layout == "rows" else 1


def points(scope: Scope, tensor: gs.Tensor, depth: int = _DEPTH) -> Points | None:
    """What a tensor holds of the result of a NonZero; None where it is something else."""
    node = scope.producer(tensor)
    if node is None or not is_standard(node) or depth == 0:
        return None
    if node.op == "NonZero":
        rank = scope.rank(node.inputs[0])
        return None if not rank else Points(node.inputs[0], tuple(range(rank)), "rows")
    if node.op == "Concat":
        return _joined(scope, node, depth)
    if node.op not in _STEPS and not (node.op == "Max" and len(node.inputs) == 1):
        return None
    inner = points(scope, node.inputs[0], depth - 1)
    if inner is None:
        return None
    if node.op == "Transpose":
        return _turned(inner, attribute(node, "perm", list))
    if node.op == "Squeeze":
        return _squeezed(inner, axes_of(scope, node))
    if node.op == "Unsqueeze":
        return _unsqueezed(inner, axes_of(scope, node))
    if node.op == "Gather":
        return _gathered(scope, node, inner)
    if node.op == "Slice":
        return _sliced(scope, node, inner)
    if node.op == "Split":
        return _split(scope, node, inner, tensor)
    if node.op == "Expand":
        return inner if _to_own_shape(scope, node.inputs[1], inner, depth - 1) else None
    if node.op == "Cast" and attribute(node, "to", int) != TensorProto.INT64:
        return None
    return inner


_STEPS = frozenset(
    {"Cast", "Expand", "Gather", "Identity", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)


def axes_of(scope: Scope, node: gs.Node) -> list[int] | None:
    """The axes of a Squeeze, Unsqueeze or reduction, by attribute or input; None if not given."""
    if "axes" in node.attrs:
        return attribute(node, "axes", list)
    if len(node.inputs) < 2 or not node.inputs[1].name:
        return None
    value = scope.folded(node.inputs[1])
    return None if value is None else [int(v) for v in value.reshape(-1)]


def _turned(inner: Points, perm: list[int] | None) -> Points | None:
    if inner.layout == "flat" or perm == [0, 1]:
        return inner
    return replace(inner, layout="points" if inner.layout == "rows" else "rows")


def _squeezed(inner: Points, axes: list[int] | None) -> Points | None:
    if inner.layout == "flat" or len(inner.columns) != 1 or axes is None or len(axes) != 1:
        return None
    return replace(inner, layout="flat") if axes[0] % 2 == inner.coordinate_axis else None


def _unsqueezed(inner: Points, axes: list[int] | None) -> Points | None:
    if inner.layout != "flat" or axes is None or len(axes) != 1:
        return None
    return replace(inner, layout="points" if axes[0] % 2 else "rows")


def _gathered(scope: Scope, node: gs.Node, inner: Points) -> Points | None:
    index = scope.folded(node.inputs[1])
    if inner.layout == "flat" or index is None or index.ndim > 1:
        return None
    if (attribute(node, "axis", int, 0) or 0) % 2 != inner.coordinate_axis:
        return None
    count = len(inner.columns)
    picks = [int(i) for i in index.reshape(-1)]
    if any(not -count <= i < count for i in picks):
        return None
    layout: Literal["rows", "points", "flat"] = inner.layout if index.ndim else "flat"
    return replace(inner, columns=tuple(inner.columns[i] for i in picks), layout=layout)


def _sliced(scope: Scope, node: gs.Node, inner: Points) -> Points | None:
    if inner.layout == "flat":
        return None
    cut = slice_of(scope, node)
    if cut is None or cut[0] % 2 != inner.coordinate_axis:
        return None
    return replace(inner, columns=inner.columns[cut[1]])


def slice_of(scope: Scope, node: gs.Node) -> tuple[int, slice] | None:
    """The axis and the bounds of a Slice along one axis, where they are constant."""
    starts = numbers(scope, node, 1, "starts")
    ends = numbers(scope, node, 2, "ends")
    axes = numbers(scope, node, 3, "axes", list(range(len(starts or ()))))
    steps = numbers(scope, node, 4, "steps", [1])
    if starts is None or ends is None or axes is None or not steps or len(starts) != 1:
        return None
    last = None if steps[0] < 0 and ends[0] < -(2**31) else ends[0]
    return axes[0], slice(starts[0], last, steps[0])


def numbers(
    scope: Scope, node: gs.Node, place: int, name: str, default: list[int] | None = None
) -> list[int] | None:
    """A list of integers given as an attribute (before operator set 10) or a constant input."""
    if name in node.attrs:
        return attribute(node, name, list)
    if len(node.inputs) <= place or not node.inputs[place].name:
        return default
    value = scope.folded(node.inputs[place])
    return None if value is None else [int(v) for v in value.reshape(-1)]


def _split(scope: Scope, node: gs.Node, inner: Points, tensor: gs.Tensor) -> Points | None:
    axis = attribute(node, "axis", int, 0) or 0
    if inner.layout == "flat" or axis % 2 != inner.coordinate_axis:
        return None
    start = 0
    for out in node.outputs:
        shape = scope.shape(out)
        size = shape[inner.coordinate_axis] if shape is not None and len(shape) == 2 else None
        if not isinstance(size, int):
            return None
        if out is tensor:
            return replace(inner, columns=inner.columns[start : start + size])
        start += size
    return None


def _joined(scope: Scope, node: gs.Node, depth: int) -> Points | None:
    parts = [points(scope, t, depth - 1) for t in node.inputs]
    first = parts[0]
    axis = attribute(node, "axis", int)
    if first is None or first.layout == "flat" or axis is None:
        return None
    if axis % 2 != first.coordinate_axis:
        return None
    columns: list[int] = []
    for part in parts:
        if part is None or part.mask is not first.mask or part.layout != first.layout:
            return None
        columns.extend(part.columns)
    return replace(first, columns=tuple(columns))


def _to_own_shape(scope: Scope, shape: gs.Tensor, inner: Points, depth: int) -> bool:
    """Whether a tensor is the shape of coordinates like these, so that Expand does nothing."""
    node = scope.producer(shape)
    if node is None or node.op != "Shape" or not is_standard(node):
        return False
    if node.attrs.get("start", 0) != 0 or "end" in node.attrs:
        return False
    other = points(scope, node.inputs[0], depth)
    return (
        other is not None
        and other.mask is inner.mask
        and other.layout == inner.layout
        and len(other.columns) == len(inner.columns)
    )


def rows_of(scope: Scope, tensor: gs.Tensor, depth: int = _DEPTH) -> gs.Tensor | None:
    """The mask whose elements that are not zero the first dimension of a tensor counts.

    That is so for coordinates, for what is gathered at them, and for what is computed from that
    element by element.
    """
    found = points(scope, tensor)
    if found is not None:
        return None if found.layout == "rows" else found.mask
    node = scope.producer(tensor)
    if node is None or not is_standard(node) or depth == 0:
        return None
    if node.op in ("GatherND", "Gather"):
        return gathered_at(scope, node)
    if node.op not in KEEPS_SHAPE:
        return None
    mask, rank = None, scope.rank(tensor)
    for operand in node.inputs:
        if not operand.name:
            continue
        own, size = scope.rank(operand), rows_of(scope, operand, depth - 1)
        if size is None or own != rank:
            if not is_single(scope, operand) or rank is None or (own or 0) > rank:
                return None
        elif mask is None or size is mask:
            mask = size
        else:
            return None
    return mask


def gathered_at(scope: Scope, node: gs.Node, *, whole: bool = False) -> gs.Tensor | None:
    """The mask at whose points a GatherND or Gather reads, or None.

    ``whole``: only where the points have all coordinates of the mask in their order.
    """
    found = points(scope, node.inputs[1])
    if found is None:
        return None
    if node.op == "Gather":
        if found.layout != "flat" or (attribute(node, "axis", int, 0) or 0) != 0:
            return None
    elif found.layout != "points" or (attribute(node, "batch_dims", int, 0) or 0) != 0:
        return None
    if whole and found.columns != tuple(range(scope.rank(found.mask) or 0)):
        return None
    return found.mask
