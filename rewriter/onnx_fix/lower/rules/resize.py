"""Resize: axes, sizes, coordinate modes, and Upsample before it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._steps import integer, known_rank
from onnx_fix.lower.rules._types import types_fit
from onnx_fix.lower.rules.axes import axes_attribute, from_front

_INT64 = TensorProto.INT64
_HALF_PIXEL = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
_NEW_IN_18 = ["antialias", "axes", "keep_aspect_ratio_policy"]
_NEW_IN_11 = [
    "coordinate_transformation_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "extrapolation_value",
    "nearest_mode",
]


def _given(low: LowNode, index: int) -> bool:
    """Whether scales or sizes are given: an empty tensor is none."""
    name = low.input(index)
    value = low.value(name) if name else None
    return bool(name) and (value is None or value.size > 0) and low.types(name).shape != (0,)


def _scales(low: LowNode, index: int) -> NDArray[np.float32] | None:
    value = low.value(low.input(index)) if _given(low, index) else None
    return None if value is None else value.reshape(-1).astype(np.float32)


def _dims(low: LowNode, axes: Sequence[int] | None = None) -> list[int] | None:
    shape = low.types(low.input(0)).shape
    if shape is None:
        return None
    chosen = [shape[a] for a in axes] if axes is not None else list(shape)
    known = [d for d in chosen if isinstance(d, int)]
    return known if len(known) == len(chosen) else None


def _resize_19(low: LowNode) -> list[NodeProto]:
    """``half_pixel_symmetric`` differs from ``half_pixel`` where scaled sizes are rounded down."""
    types_fit(low)
    if low.attr("coordinate_transformation_mode", "half_pixel") != "half_pixel_symmetric":
        return low.result(low.copy())
    if not _given(low, 3) or low.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        scales, dims = _scales(low, 2), _dims(low, axes_attribute(low))
        whole = scales is not None and (scales == np.floor(scales)).all()
        if not whole and (scales is None or dims is None or not _exact_sizes(scales, dims)):
            raise Refused(
                "half_pixel_symmetric moves the centre where a scaled size is no integer, and that "
                "cannot be ruled out"
            )
    return low.result(low.copy(coordinate_transformation_mode="half_pixel"))


def _exact_sizes(scales: NDArray[np.float32], dims: Sequence[int]) -> bool:
    return all((Fraction(float(s)) * d).denominator == 1 for s, d in zip(scales, dims, strict=True))


def _resize_18(low: LowNode) -> list[NodeProto]:
    """``axes``, ``antialias`` and ``keep_aspect_ratio_policy``."""
    types_fit(low)
    mode = low.attr("mode", "nearest")
    axes = axes_attribute(low)
    front = from_front(low, axes) if axes is not None else None
    scales = _scales(low, 2)
    if integer(low, "antialias", 0) and mode != "nearest" and not _enlarges(low, scales, front):
        raise Refused("antialias matters where a size shrinks, and Resize has it from opset 18")
    inputs = [low.input(i) for i in range(4)]
    if _given(low, 3) and low.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        inputs[2], inputs[3] = _kept_ratio(low, front)
    if front is None:
        return low.result(low.copy(inputs=inputs, drop=_NEW_IN_18))
    rank = known_rank(low, 0)
    count = len(front)
    place = [count + a for a in range(rank)]
    for i, axis in enumerate(front):
        place[axis] = i
    if inputs[2] and (_given(low, 2) or inputs[2] != low.input(2)):
        ones = low.const(np.ones(rank, np.float32))
        every = low.add("Concat", inputs[2], ones, axis=0)
        known = scales if inputs[2] == low.input(2) else None
        inputs[2] = (
            low.const(np.concatenate([known, np.ones(rank, np.float32)])[place])
            if known is not None
            else low.add("Gather", every, low.const(place, _INT64), axis=0)
        )
    if inputs[3] and (_given(low, 3)):
        every = low.add("Concat", inputs[3], low.add("Shape", low.input(0)), axis=0)
        inputs[3] = low.add("Gather", every, low.const(place, _INT64), axis=0)
    if _given(low, 1) and low.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        inputs[1] = _whole_roi(low, front, rank)
    else:
        inputs[1] = ""
    return low.result(low.copy(inputs=inputs, drop=_NEW_IN_18))


def _enlarges(low: LowNode, scales: NDArray[np.float32] | None, axes: Sequence[int] | None) -> bool:
    if scales is not None:
        return bool((scales >= 1).all())
    dims = _dims(low, axes)
    sizes = low.value(low.input(3)) if _given(low, 3) else None
    if dims is None or sizes is None:
        return False
    return all(int(s) >= d for s, d in zip(sizes.reshape(-1), dims, strict=True))


def _kept_ratio(low: LowNode, axes: Sequence[int] | None) -> tuple[str, str]:
    """Scales or sizes that mean what the policy does with the sizes.

    The policy uses one scale for all axes, to round the sizes and to place the samples.
    """
    policy = low.attr("keep_aspect_ratio_policy", "stretch")
    sizes, dims = low.value(low.input(3)), _dims(low, axes)
    if sizes is None or dims is None or not all(dims):
        raise Refused(f"keep_aspect_ratio_policy={policy} needs sizes that are known")
    ratios = [Fraction(int(s), d) for s, d in zip(sizes.reshape(-1), dims, strict=True)]
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    wanted = [int(ratio * d + Fraction(1, 2)) for d in dims]
    if all(ratio * d == w for d, w in zip(dims, wanted, strict=True)):
        return "", low.const(wanted, _INT64)
    scale = np.float32(float(ratio))
    if any(int(np.floor(np.float32(d) * scale)) != w for d, w in zip(dims, wanted, strict=True)):
        raise Refused(f"keep_aspect_ratio_policy={policy} rounds a size up")
    return low.const(np.full(len(dims), scale)), ""


def _whole_roi(low: LowNode, axes: Sequence[int], rank: int) -> str:
    """The region of all axes: from 0 to 1 where the node does not name the axis."""
    count = len(axes)
    place = [*[2 * count] * rank, *[2 * count + 1] * rank]
    for i, axis in enumerate(axes):
        place[axis], place[rank + axis] = i, count + i
    dtype = low.dtype(1)
    if dtype is None:
        raise Refused(f"the element type of '{low.input(1)}' is not known")
    every = low.add("Concat", low.input(1), low.const(np.asarray([0.0, 1.0]), dtype), axis=0)
    return low.add("Gather", every, low.const(place, _INT64), axis=0)


def _resize_13(low: LowNode) -> list[NodeProto]:
    """``roi`` and ``scales`` were required: empty tensors."""
    types_fit(low)
    inputs = [low.input(i) for i in range(4)]
    for index in (1, 2):
        inputs[index] = inputs[index] or low.const(np.zeros(0, np.float32))
    return low.result(low.copy(inputs=inputs))


def _resize_11(low: LowNode) -> list[NodeProto]:
    """Only what Resize 10 does: asymmetric coordinates, and for ``nearest`` rounding down.

    With whole scales half-pixel coordinates round to the same sample: (k q + r + 1/2) / k - 1/2 is
    less than 1/2 from q for every r from 0 to k - 1.
    """
    types_fit(low)
    mode = str(low.attr("mode", "nearest"))
    coordinates = str(low.attr("coordinate_transformation_mode", "half_pixel"))
    if mode not in ("nearest", "linear"):
        raise Refused(f"Resize has no mode {mode} before opset 11")
    scales = _scales(low, 2) if _given(low, 2) else _scales_of_sizes(low)
    name = low.input(2) if _given(low, 2) else ""
    if scales is not None and (scales == 1).all() and coordinates != "tf_crop_and_resize":
        return low.result(low.input(0))
    if mode == "linear" and coordinates != "asymmetric":
        raise Refused(f"Resize has asymmetric coordinates only before opset 11, not {coordinates}")
    if mode == "nearest" and (scales is None or not _rounds_down(low, scales, coordinates)):
        raise Refused(
            f"Resize 10 takes the sample before, in asymmetric coordinates; with {coordinates}, "
            f"{low.attr('nearest_mode', 'round_prefer_floor')} and these scales it is another one"
        )
    name = name or low.const(scales if scales is not None else [])
    return low.result(low.copy(inputs=[low.input(0), name], drop=_NEW_IN_11))


def _scales_of_sizes(low: LowNode) -> NDArray[np.float32]:
    sizes = low.value(low.input(3)) if _given(low, 3) else None
    dims = _dims(low)
    if sizes is None or dims is None or not all(dims):
        raise Refused("Resize takes scales only before opset 11, and the sizes are not known")
    wanted = sizes.reshape(-1).astype(np.int64)
    scales = wanted.astype(np.float32) / np.asarray(dims, np.float32)
    if (np.floor(np.asarray(dims, np.float32) * scales) != wanted).any():
        raise Refused(f"no float32 scales give the sizes {wanted.tolist()}")
    return scales.astype(np.float32)


def _rounds_down(low: LowNode, scales: NDArray[np.float32], coordinates: str) -> bool:
    rounding = str(low.attr("nearest_mode", "round_prefer_floor"))
    if coordinates == "asymmetric" and rounding == "floor":
        return bool((scales >= 1).all())
    whole = bool((scales == np.floor(scales)).all() and (scales >= 1).all())
    if coordinates == "asymmetric" and rounding == "round_prefer_floor":
        return whole and bool((scales <= 2).all())
    return coordinates in _HALF_PIXEL and rounding.startswith("round_prefer") and whole


def _resize_10(low: LowNode) -> list[NodeProto]:
    """Resize did not exist: Upsample, which only enlarges.

    Resize 10 and Upsample 9 take the same sample where no scale is below 1.
    """
    scales = _scales(low, 1)
    if scales is None:
        raise Refused("Upsample only enlarges, and the scales are computed at run time")
    if (scales < 1).any():
        raise Refused(f"Upsample only enlarges, and the scales are {scales.tolist()}")
    return low.result(low.copy(op="Upsample"))


RULES: dict[tuple[str, int], Rule] = {
    ("Resize", 19): _resize_19,
    ("Resize", 18): _resize_18,
    ("Resize", 13): _resize_13,
    ("Resize", 11): _resize_11,
    ("Resize", 10): _resize_10,
}
