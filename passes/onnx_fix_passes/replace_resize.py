"""The pass ``replace-resize``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, elem_type, has_unresolved
from onnx_fix.target import TensorFacts
from onnx_fix_passes._resize_at_run_time import at_run_time
from onnx_fix_passes._resize_reading import ATTRIBUTES, Read, read_node
from onnx_fix_passes._resize_taps import Axis, Manner, Taps, coordinates, is_open, manner_of, taps

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16})
_CLOSE = 1e-4
"""Coordinates that differ by less, in samples, are the same up to rounding."""


@dataclass(frozen=True)
class ReplaceResize(Pass):
    """Write Resize and Upsample in a mode that the target has, or as gathered samples.

    Rules:

    1. Another spelling that means the same with these sizes: coordinates that coincide, rounding
       that never decides, ``sizes`` in the place of ``scales`` or the reverse.
    2. ``nearest``: a Gather along each axis that changes.
    3. ``linear``, ``cubic`` and ``antialias``: along each axis that changes a Gather of the samples
       of every new element, their products with constant weights, and the sum of these.
    4. ``linear`` and ``cubic`` where a length or size is known at run time only: the same with
       places and weights that are computed from a Range.

    Before:
        y = Resize <mode = cubic> (x, scales) with x of [1, 3, 4, 4] and scales of 1, 1, 2, 2
    After:
        a = Gather <axis = 2> (x, places of [8, 4])
        h = ReduceSum <axes = [3]> (Mul (a, weights of [8, 4, 1]))
        b = Gather <axis = 3> (h, places of [8, 4])
        y = ReduceSum <axes = [4]> (Mul (b, weights of [8, 4]))
    Exact:
        ``nearest`` is; the places are rounded in float32, as onnxruntime does. Sums are rounding
        only. Left alone: scales known at run time only; ``nearest``, ``antialias`` and
        ``exclude_outside`` with lengths or sizes known at run time only, where rule 1 does not hold
        for all of them; a scaled length that is no whole number with corners aligned, where
        runtimes differ.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends(
            kind,
            "Resize",
            "lengths and scales are known, or rule 4 writes it",
        )
        for kind in (
            "attribute_allowed_values",
            "attribute_combination",
            "ignored_attribute",
            "spatial_dims",
        )
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("Resize", "Upsample"):
            if self.everywhere or scope.refused(node):
                yield self._site(scope, node)

    def _site(self, scope: Scope, node: gs.Node) -> Rewrite | Skip:
        read = read_node(scope, node)
        if isinstance(read, str):
            return _computed(scope, node, read)
        e = Emitter(scope)
        spelled = _respelled(scope, e, read)
        if spelled is not None:
            return spelled
        plan = _plan(read)
        if isinstance(plan, str):
            return _computed(scope, node, plan)
        reason = _unfit(scope, read, plan)
        if reason:
            return Skip(node, reason)
        result: gs.Tensor = node.inputs[0]
        for axis, each in sorted(plan.items(), key=lambda item: _growth(read, item[0])):
            result = _along(e, result, axis, len(read.shape), each, read)
        if result is node.inputs[0]:
            result = e("Identity", result)
        exact = all(each.places.shape[1] == 1 for each in plan.values())
        exactness = Exactness.EXACT if exact else Exactness.ROUNDING
        return e.rewrite(node, result, exactness=exactness)


def _computed(scope: Scope, node: gs.Node, reason: str) -> Rewrite | Skip:
    """The form for what is known at run time only; without one, why there is no other."""
    e = Emitter(scope)
    old = node.op == "Upsample" or scope.opset == 10
    if old or has_unresolved(node, *ATTRIBUTES):
        return Skip(node, reason)
    made = at_run_time(scope, e, node, manner_of(node, old=False))
    if isinstance(made, str):
        return Skip(node, f"{reason}; {made}")
    return e.rewrite(node, made, exactness=Exactness.ROUNDING)


def _growth(read: Read, axis: int) -> float:
    made = read.axes()[axis]
    return made.resized / max(made.length, 1) if made is not None else 1.0


# -- rule 1 ----------------------------------------------------------------------------------------


def _respelled(scope: Scope, e: Emitter, read: Read) -> Rewrite | None:
    """A Resize that the target takes and that takes the same samples; None if there is none."""
    manner, x = read.manner, read.node.inputs[0]
    if scope.opset < 11 or manner.mode == "cubic" or manner.exclude_outside:
        return None
    if manner.antialias and not all(s is not None and s >= 1 for s in read.scales):
        return None
    axes = read.axes()
    known = [a for a in axes if a is not None]
    whole = [s for s in read.scales if s is not None and s >= 1 and s == int(s)]
    if len(known) < len(axes) and len(whole) < len(axes):
        return None
    if any(a.length == 0 for a in known):
        return None
    for kind in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
        other = replace(manner, coordinates=kind, nearest="floor", antialias=False)
        for rounding in ("floor", "round_prefer_floor") if manner.mode == "nearest" else ("",):
            other = replace(other, nearest=rounding or "round_prefer_floor")
            if not _coincide(read, axes, other):
                continue
            attrs: dict[str, Any] = {
                "mode": manner.mode,
                "coordinate_transformation_mode": kind,
            }
            if rounding:
                attrs["nearest_mode"] = rounding
            for by_size in (False, True):
                inputs = _scaling(e, scope, read, axes, by_size=by_size)
                facts = None if inputs is None else [x, *map(_facts, inputs)]
                if facts is not None and scope.accepts("Resize", facts, attrs):
                    assert inputs is not None
                    given = [_tensor(e, scope, t, x) for t in inputs]
                    exactness = Exactness.EXACT if rounding else Exactness.ROUNDING
                    made = e("Resize", x, *given, **attrs)
                    return e.rewrite(read.node, made, exactness=exactness)
    return None


def _coincide(read: Read, axes: list[Axis | None], other: Manner) -> bool:
    """Whether another manner takes the same samples along every axis, of any length not known."""
    for axis, scale in zip(axes, read.scales, strict=True):
        if axis is None:
            assert scale is not None
            lengths = [1] if scale == 1 and read.manner.coordinates != "tf_crop_and_resize" else []
            if lengths:
                continue
            if not _coincide_at_any_length(read.manner, other, int(scale)):
                return False
            continue
        if not axis.is_whole and axis.resized != axis.length:
            return False
        if read.manner.mode == "nearest":
            if is_open(read.manner, axis) or is_open(other, axis):
                return False
            mine, its = taps(read.manner, axis), taps(other, axis)
            if mine.outside.any() or not np.array_equal(mine.places, its.places):
                return False
            continue
        top = axis.length - 1
        x, y = coordinates(read.manner, axis), coordinates(other, axis)
        if read.manner.coordinates == "tf_crop_and_resize" and ((x < 0) | (x > top)).any():
            return False
        if (np.abs(np.clip(x, 0, top) - np.clip(y, 0, top)) > _CLOSE).any():
            return False
    return True


_CENTRED = frozenset({"half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"})


def _coincide_at_any_length(mine: Manner, other: Manner, scale: int) -> bool:
    """For a whole scale: with these every sample stands for ``scale`` of the new ones.

    ``pytorch_half_pixel`` differs for one new element alone, which is the first of one.
    """
    if mine.mode == "nearest":
        return _repeats(mine, scale) and _repeats(other, scale)
    if mine.coordinates == other.coordinates:
        return True
    return mine.coordinates in _CENTRED and other.coordinates in _CENTRED


def _repeats(manner: Manner, scale: int) -> bool:
    if manner.coordinates == "asymmetric":
        return manner.nearest == "floor" or (manner.nearest == "round_prefer_floor" and scale <= 2)
    return manner.coordinates in _CENTRED and manner.nearest.startswith("round_prefer")


@dataclass(frozen=True)
class _Sizes:
    """Sizes as whole multiples of those of the input, at run time."""

    times: tuple[int, ...]


_Input = NDArray[Any] | _Sizes | None


def _scaling(
    e: Emitter, scope: Scope, read: Read, axes: list[Axis | None], *, by_size: bool
) -> list[_Input] | None:
    """roi, scales and sizes; None where they cannot be said."""
    nothing: _Input = None if scope.opset >= 13 else np.zeros(0, np.float32)
    known = [a for a in axes if a is not None]
    if by_size:
        if len(known) == len(axes):
            return [nothing, nothing, np.asarray([a.resized for a in known], np.int64)]
        if all(s is not None and s == int(s) for s in read.scales):
            return [nothing, nothing, _Sizes(tuple(int(s or 1) for s in read.scales))]
        return None
    scales: list[float] = []
    for axis, scale in zip(axes, read.scales, strict=True):
        if axis is not None:
            scale = float(np.float32(axis.resized) / np.float32(axis.length))
            if int(np.float32(scale) * np.float32(axis.length)) != axis.resized:
                return None
        if scale is None:
            return None
        scales.append(scale)
    return [nothing, np.asarray(scales, np.float32)]


def _facts(given: _Input) -> TensorFacts:
    if given is None:
        return TensorFacts("")
    if isinstance(given, _Sizes):
        return TensorFacts("sizes", int(TensorProto.INT64), (len(given.times),), "runtime")
    return TensorFacts("given", elem_type(given.dtype), given.shape, "initializer", lambda: given)


def _tensor(e: Emitter, scope: Scope, given: _Input, x: gs.Tensor) -> gs.Tensor | None:
    if isinstance(given, _Sizes):
        return e("Mul", e.shape(x), e.ints(given.times))
    return None if given is None else e.const(given)


# -- rules 2 and 3 ---------------------------------------------------------------------------------


def _plan(read: Read) -> dict[int, Taps] | str:
    """The axes that change, and how; a sentence where that is not known."""
    manner = read.manner
    if manner.mode not in ("nearest", "linear", "cubic"):
        return f"its mode is {manner.mode}, which ONNX does not know"
    if manner.exclude_outside and manner.mode != "cubic":
        return "exclude_outside goes with the mode cubic alone"
    cropped = manner.coordinates == "tf_crop_and_resize"
    found: dict[int, Taps] = {}
    for k, axis in enumerate(read.axes()):
        if axis is None:
            if read.scales[k] == 1 and not (cropped and read.regions[k] != (0.0, 1.0)):
                continue
            return f"the length of axis {k} is not known: fix the dim (--static)"
        if axis.length == 0 or axis.resized == 0:
            return "it has no elements"
        tied = manner.coordinates in ("align_corners", "tf_crop_and_resize")
        if tied and not axis.is_whole and axis.resized != axis.length:
            return (
                f"{axis.length} times {axis.scale:g} is no whole number along axis {k}, and "
                f"runtimes differ in what {manner.coordinates} means then: give sizes"
            )
        if is_open(manner, axis):
            return (
                f"along axis {k} a sample is as good as halfway between two, which runtimes round "
                "differently"
            )
        each = taps(manner, axis)
        if not each.is_same:
            found[k] = each
    return found


def _unfit(scope: Scope, read: Read, plan: dict[int, Taps]) -> str:
    """Why the target does not take the nodes of rules 2 and 3; empty where it does."""
    name, x = scope.target.name, TensorFacts("x", read.dtype, read.shape)
    called = TensorProto.DataType.Name(read.dtype)
    index = TensorFacts("i", int(TensorProto.INT64), (2, 2), "initializer")
    if not scope.accepts("Gather", [x, index], {"axis": 0}):
        return f"{name} takes no Gather of {called}"
    sums = any(each.places.shape[1] > 1 for each in plan.values())
    if sums and read.dtype not in _FLOATS:
        return f"weights of {called} round as each runtime likes"
    if sums and not scope.accepts("Mul", [x, x]):
        return f"{name} takes no Mul of {called}"
    outside = any(each.outside.any() for each in plan.values())
    if outside and not scope.accepts("Where", [TensorFacts("c", int(TensorProto.BOOL)), x, x]):
        return f"{name} takes no Where of {called}"
    return ""


def _along(e: Emitter, x: gs.Tensor, axis: int, rank: int, each: Taps, read: Read) -> gs.Tensor:
    tail = [1] * (rank - 1 - axis)
    width = each.places.shape[1]
    result: gs.Tensor
    if width == 1:
        result = e("Gather", x, e.const(each.places[:, 0]), axis=axis)
    else:
        weights = e.const(each.weights.reshape(*each.weights.shape, *tail), read.dtype)
        products = e("Mul", e("Gather", x, e.const(each.places), axis=axis), weights)
        result = e.reduce("ReduceSum", products, [axis + 1])
    if each.outside.any():
        mask = e.const(each.outside.reshape(-1, *tail))
        beyond = e.const(np.asarray(read.manner.extrapolation), read.dtype)
        result = e("Where", mask, beyond, result)
    return result
