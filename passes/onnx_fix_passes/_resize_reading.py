"""What a Resize or Upsample says: all axes in order, scales and sizes as far as they are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix.target import Dim
from onnx_fix_passes._resize_taps import Axis, Manner, manner_of

ATTRIBUTES = (
    "antialias",
    "axes",
    "coordinate_transformation_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "extrapolation_value",
    "keep_aspect_ratio_policy",
    "mode",
    "nearest_mode",
)


@dataclass(frozen=True)
class Read:
    """A Resize or Upsample, read: all axes in order, scales and sizes as far as they are known."""

    node: gs.Node
    manner: Manner
    shape: tuple[Dim, ...]
    dtype: int
    scales: tuple[float | None, ...]
    """By axis; None where the size decides."""
    sizes: tuple[int | None, ...]
    regions: tuple[tuple[float, float], ...]

    def axes(self) -> list[Axis | None]:
        """What becomes of each axis; None of one whose length is not known."""
        return [self._axis(k) for k in range(len(self.shape))]

    def _axis(self, k: int) -> Axis | None:
        length = self.shape[k]
        if not isinstance(length, int):
            return None
        scale, size = self.scales[k], self.sizes[k]
        if size is None:
            assert scale is not None
            size = int(np.float32(scale) * np.float32(length))
        if scale is None:
            scale = float(np.float32(size) / np.float32(length)) if length else 1.0
        return Axis(length, size, scale, *self.regions[k])


def _value(scope: Scope, node: gs.Node, place: int) -> NDArray[Any] | str | None:
    """An input: None where it is not given, its name where its value is not known."""
    if place >= len(node.inputs) or not node.inputs[place].name:
        return None
    tensor = node.inputs[place]
    value = scope.folded(tensor)
    if value is not None:
        return value.reshape(-1) if value.size else None
    if scope.shape(tensor) == (0,):
        return None
    return str(tensor.name)


_SAME = -1
"""In the place of a size: that of the input, whatever it is."""


def _seen(scope: Scope, sizes: gs.Tensor, lengths: list[Dim]) -> NDArray[np.int64] | None:
    """Sizes of which some are those of the input, as ``Shape`` gives them; None where others are
    not known."""
    values = scope.model.shape_values(scope).value(sizes)
    if values is None or len(values) != len(lengths):
        return None
    found: list[int] = []
    for value, length in zip(values, lengths, strict=True):
        if isinstance(value, int):
            found.append(value)
        elif value is not None and value == length:
            found.append(_SAME)
        else:
            return None
    return np.asarray(found, np.int64)


def read_node(scope: Scope, node: gs.Node) -> Read | str:
    """The node, or a sentence on what is not known of it."""
    if has_unresolved(node, *ATTRIBUTES, "scales"):
        return "an attribute is a parameter of the function; inline it first"
    x = node.inputs[0]
    shape, dtype = scope.shape(x), scope.dtype(x)
    if shape is None or dtype is None:
        return "the rank or element type of its input is not known"
    old = node.op == "Upsample" or scope.opset == 10
    scales = _value(scope, node, 1 if old else 2)
    sizes = None if old else _value(scope, node, 3)
    roi = None if old else _value(scope, node, 1)
    manner = manner_of(node, old=old)
    if manner.coordinates != "tf_crop_and_resize":
        roi = None
    rank = len(shape)
    axes = [int(a) % rank for a in attribute(node, "axes", list) or range(rank)]
    policy = attribute(node, "keep_aspect_ratio_policy", str, "stretch") or "stretch"
    if isinstance(sizes, str) and policy == "stretch":
        seen = _seen(scope, node.inputs[3], [shape[a] for a in axes])
        sizes = sizes if seen is None else seen
    unknown = [given for given in (scales, sizes, roi) if isinstance(given, str)]
    if unknown:
        return (
            f"{' and '.join(map(repr, unknown))} known at run time only: make it a constant "
            "(--freeze, where it is an input of the model)"
        )
    assert not isinstance(scales, str) and not isinstance(sizes, str) and not isinstance(roi, str)
    if sizes is None and scales is None:
        return "it has neither scales nor sizes that are known"
    count = len(axes)
    of = sizes if sizes is not None else scales
    if of is None or len(of) != count or (roi is not None and len(roi) != 2 * count):
        return "the numbers of axes and of scales or sizes do not go together"
    if old and manner.mode == "nearest" and scales is not None and (scales < 1).any():
        return "how Resize 10 rounds where it makes smaller was never said"
    all_scales: list[float | None] = [1.0] * rank
    all_sizes: list[int | None] = [None] * rank
    regions = [(0.0, 1.0)] * rank
    for k, axis in enumerate(axes):
        if roi is not None:
            regions[axis] = (float(roi[k]), float(roi[count + k]))
        if sizes is not None and sizes[k] != _SAME:
            all_scales[axis], all_sizes[axis] = None, int(sizes[k])
        elif scales is not None:
            all_scales[axis] = float(scales[k])
    if sizes is not None and policy != "stretch":
        lengths = [shape[a] for a in axes]
        known = [d for d in lengths if isinstance(d, int) and d]
        if len(known) != count:
            return f"keep_aspect_ratio_policy is {policy}, and the lengths are not known"
        ratios = [np.float32(s) / np.float32(d) for s, d in zip(sizes, known, strict=True)]
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        for axis, length in zip(axes, known, strict=True):
            all_scales[axis] = float(ratio)
            all_sizes[axis] = int(np.floor(ratio * np.float32(length) + np.float32(0.5)))
    return Read(node, manner, shape, dtype, tuple(all_scales), tuple(all_sizes), tuple(regions))
