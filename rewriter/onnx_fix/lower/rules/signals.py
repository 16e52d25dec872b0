"""DFT and STFT: products with matrices of cosines and sines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._steps import (
    counting,
    cut,
    dims_of,
    dtype_name,
    integer,
    keep,
    known_dtype,
    known_rank,
    missing,
    unsqueeze,
)
from onnx_fix.lower.rules._types import FLOATS
from onnx_fix.lower.rules.arithmetic import ending
from onnx_fix.lower.rules.split_slice import dim
from onnx_fix.target.facts import Dim

_INT64 = TensorProto.INT64
_MOST = 1 << 22
"""A matrix of more elements is not written into a model."""


def _work(low: LowNode) -> int:
    """The type of the computation: half precision goes through float32."""
    kind = known_dtype(low, 0)
    if kind not in FLOATS:
        raise Refused(f"{low.op} of {dtype_name(kind)} is not written in older ops")
    return int(TensorProto.DOUBLE if kind == TensorProto.DOUBLE else TensorProto.FLOAT)


def _parts(low: LowNode, rank: int) -> int:
    """1 for real data, 2 for complex data."""
    parts = dim(low, 0, rank - 1)
    if parts not in (1, 2):
        raise Refused(f"whether '{low.input(0)}' is real or complex is not known")
    return parts


def _signal_parts(low: LowNode) -> int:
    """The same of the signal of an STFT: exporters leave the last axis of a real one out."""
    rank = known_rank(low, 0)
    if rank not in (2, 3):
        raise Refused(f"the signal '{low.input(0)}' has rank {rank}, not 3")
    return 1 if rank == 2 else _parts(low, 3)


def _angles(rows: int, columns: int, length: int) -> NDArray[np.float64]:
    """2 pi i j / length, reduced before it is rounded."""
    turns = np.arange(rows, dtype=np.int64)[:, None] * np.arange(columns, dtype=np.int64)
    angles: NDArray[np.float64] = 2 * np.pi * (turns % length) / length
    return angles


@dataclass(frozen=True)
class _Along:
    """A DFT along an axis of known size, counted from the front."""

    axis: int
    size: int
    length: int
    inverse: bool
    onesided: bool

    @property
    def columns(self) -> int:
        """The size of the axis behind it."""
        return self.length // 2 + 1 if self.onesided and not self.inverse else self.length

    @property
    def rows(self) -> int:
        """How many elements along the axis are read."""
        there = self.length // 2 + 1 if self.inverse and self.onesided else self.length
        return min(self.size, there)

    @property
    def is_real(self) -> bool:
        """Whether the result has no imaginary part."""
        return self.inverse and self.onesided


class _Undefined(Refused):
    """A transform of no length."""


def _along(low: LowNode, axis: int, length: int | None) -> _Along:
    """What a node does along an axis; ``length`` is None where dft_length is omitted."""
    size = dim(low, 0, axis)
    inverse, onesided = bool(low.attr("inverse", 0)), bool(low.attr("onesided", 0))
    if size is None:
        raise Refused(f"the size of axis {axis}, along which DFT goes, is not known")
    if length is None:
        length = 2 * (size - 1) if inverse and onesided else size
    if length < 1 or size < 1:
        text = f"a DFT of length {length} along an axis of size {size} is not defined"
        raise _Undefined(text)
    plan = _Along(axis, size, length, inverse, onesided)
    if plan.rows * plan.columns > _MOST:
        raise Refused(
            f"a DFT as a product takes a matrix of {plan.rows} x {plan.columns}, which is too large"
        )
    return plan


def _lengths(low: LowNode, axis: int) -> list[int | None]:
    """The lengths of a DFT along an axis that the known shapes allow."""
    name = low.input(1)
    if not name:
        return [None]
    value = low.value(name)
    if value is not None and value.size == 1:
        return [int(value.reshape(-1)[0])]
    out = low.types(low.proto.output[0]).shape
    made = out[axis] if out is not None and axis < len(out) else None
    if not isinstance(made, int):
        raise Refused(f"dft_length '{name}' is computed at run time")
    half = low.attr("onesided", 0) and not low.attr("inverse", 0)
    low.note = "dft_length is what the shape that is stated of its result has"
    return [n for n in (2 * made - 2, 2 * made - 1) if n > 0] if half else [made]


def _plans(low: LowNode, axes: Sequence[int]) -> list[_Along]:
    """The transforms that give a result of the known shape, one for each axis at most."""
    data, out = (low.types(n).shape for n in (low.input(0), low.proto.output[0]))
    plans: list[_Along] = []
    shapes: set[tuple[Dim, ...]] = set()
    for axis in axes:
        fitting = []
        for length in _lengths(low, axis):
            try:
                plan = _along(low, axis, length)
            except _Undefined:
                if len(axes) == 1:
                    raise
                continue
            made = list(data or ())
            made[axis], made[-1] = plan.columns, 1 if plan.is_real else 2
            if len(axes) == 1 or _agree(made, out):
                fitting.append(plan)
                shapes.add(tuple(made))
        if len(fitting) > 1:
            raise Refused(f"dft_length '{low.input(1)}' is computed at run time")
        plans += fitting
    if len(axes) > 1 and len(plans) < len(axes):
        low.note = "the axis is one that gives the shape that is stated of its result"
    if len(shapes) != 1:
        raise Refused(
            f"the axis '{low.input(2)}' is computed at run time, and the shape of the result goes "
            "by it; make it a constant"
        )
    return plans


def _agree(made: Sequence[Dim], stated: Sequence[Dim] | None) -> bool:
    """Whether a result of these sizes may have the stated shape."""
    if stated is None or len(stated) != len(made):
        return stated is None
    both = zip(made, stated, strict=True)
    return all(a == b for a, b in both if isinstance(a, int) and isinstance(b, int))


def dft(low: LowNode, *, axis_input: bool) -> list[NodeProto]:
    """A DFT as products with matrices of cosines and sines.

    The axis is an input since operator set 20, with the default -2; before, it was an attribute
    with the default 1. Where it is computed at run time, and the result has the same shape for
    every axis, it chooses between the transforms along each.
    """
    kind, rank = _work(low), known_rank(low, 0)
    axis = _scalar_or_none(low, 2, -2) if axis_input else integer(low, "axis", 1)
    if axis is not None and not -rank <= axis < rank - 1:
        raise Refused(f"the axis {axis} of DFT does not exist in a tensor of rank {rank}")
    _parts(low, rank)
    plans = _plans(low, range(rank - 1) if axis is None else [axis % rank])
    data = low.input(0) if known_dtype(low, 0) == kind else low.add("Cast", low.input(0), to=kind)
    result = _transform(low, data, plans[-1], kind)
    for plan in plans[-2::-1] if axis is None else ():
        result = _where(low, plan.axis, rank, _transform(low, data, plan, kind), result)
    return _out(low, result, kind)


def _scalar_or_none(low: LowNode, index: int, default: int) -> int | None:
    """The value of an input; None where it is computed at run time."""
    if not low.input(index):
        return default
    value = low.value(low.input(index))
    return None if value is None or value.size != 1 else int(value.reshape(-1)[0])


def _where(low: LowNode, axis: int, rank: int, yes: str, no: str) -> str:
    """``yes`` where the run-time axis is this one, however it is counted."""
    dtype = known_dtype(low, 2)
    given = [low.add("Equal", low.input(2), low.const(k, dtype)) for k in (axis, axis - rank)]
    return low.add("Where", low.add("Or", *given), yes, no)


def _transform(low: LowNode, data: str, plan: _Along, kind: int) -> str:
    """The result of a DFT along one axis."""
    rank, parts, axis = known_rank(low, 0), _parts(low, known_rank(low, 0)), plan.axis
    angles = _angles(plan.rows, plan.columns, plan.length)
    scale = np.full((plan.rows, 1), 1 / plan.length if plan.inverse else 1.0)
    if plan.is_real:  # the other half is the conjugate of this one
        mirrored = [0 < k < plan.length - k for k in range(plan.rows)]
        scale[mirrored] *= 2
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    cosines = low.const((np.cos(angles) * scale).astype(dtype))
    sines = low.const((np.sin(angles) * scale * (-1 if plan.inverse else 1)).astype(dtype))
    if plan.rows < plan.size:
        data = cut(low, data, 0, plan.rows, axis)
    order = [a for a in range(rank - 1) if a != axis] + [axis]
    back = [int(i) for i in np.argsort(order)]
    real, *imaginary = (_part(low, data, i, rank, order) for i in range(parts))
    results = [low.add("MatMul", real, cosines)]
    if imaginary:
        results[0] = low.add("Add", results[0], low.add("MatMul", imaginary[0], sines))
    if not plan.is_real:
        other = low.add("MatMul", real, sines)
        if imaginary:
            results.append(low.add("Sub", low.add("MatMul", imaginary[0], cosines), other))
        else:
            results.append(low.add("Neg", other))
    turned = [unsqueeze(low, low.add("Transpose", r, perm=back), [rank - 1]) for r in results]
    return turned[0] if len(turned) == 1 else low.add("Concat", *turned, axis=rank - 1)


def _part(low: LowNode, data: str, index: int, rank: int, order: list[int]) -> str:
    """The real or the imaginary part, the axis of the transform last."""
    part = low.add("Gather", data, low.const(index, _INT64), axis=rank - 1)
    return low.add("Transpose", part, perm=order)


def _out(low: LowNode, name: str, kind: int) -> list[NodeProto]:
    low.rounds = True
    wanted = known_dtype(low, 0)
    return low.result(name) if kind == wanted else ending(low, "Cast", name, to=wanted)


def _dft_axis(low: LowNode) -> list[NodeProto]:
    """20 to 17: the axis was an attribute with the default 1, not -2; and there was no inverse of a
    one-sided spectrum, which is written out."""
    axis = _scalar_or_none(low, 2, -2)
    if axis is None or (low.attr("inverse", 0) and low.attr("onesided", 0)):
        return dft(low, axis_input=True)
    if axis < 0:
        axis += known_rank(low, 0)
    view = replace(low, proto=low.copy(inputs=list(low.proto.input[:2])))
    return keep(view, axis=axis)


def _dft(low: LowNode) -> list[NodeProto]:
    """17: the op did not exist."""
    return dft(low, axis_input=False)


_UNSIZED = "STFT has no frame_step, or no frame_length that is the size of the window"


def _steps(low: LowNode) -> tuple[int, int]:
    """frame_step and frame_length: constants, or the only ones that the known shapes allow."""
    step, length = (_scalar_or_none(low, index, 0) for index in (1, 3))
    window = dim(low, 2, 0) if low.input(2) else None
    length = window if not length and window else length
    if not (step and length):
        fitting = _fitting(low, step, length)
        run_time = [(n, low.input(i)) for n, i in _STEPS if low.input(i) and _at_run(low, i)]
        if len(fitting) != 1 and run_time:
            what, name = run_time[0]
            raise Refused(f"{what} '{name}' is computed at run time; make it a constant")
        if len(fitting) != 1:
            raise Refused(_UNSIZED)
        step, length = fitting[0]
        low.note = (
            f"frames of {length} every {step}, as the shape that is stated of its result has it"
        )
    if window is not None and window != length:
        raise Refused(_UNSIZED)
    return step, length


_STEPS = (("frame_step", 1), ("frame_length", 3), ("the window", 2))


def _fitting(low: LowNode, step: int | None, length: int | None) -> list[tuple[int, int]]:
    """The steps and lengths of frames that give a result of the known shape; 0 is omitted, None is
    computed at run time."""
    size, out = dim(low, 0, 1), low.types(low.proto.output[0]).shape
    frames, bins = (out[1], out[2]) if out is not None and len(out) == 4 else (None, None)
    lengths = [length] if length else []
    if length is None and isinstance(bins, int):
        half = integer(low, "onesided", 1)
        lengths = [2 * bins - 2, 2 * bins - 1] if half else [bins]
    found: list[tuple[int, int]] = []
    if size is None or not isinstance(frames, int) or step == 0:
        return found
    for n in lengths:
        steps = [step] if step else range(1, max(1, size - n) + 1)
        same = [(s, n) for s in steps if 0 < n <= size and (size - n) // s + 1 == frames]
        # One frame alone is the same whatever the step.
        found += same[:1] if frames == 1 else same
    return found


def _at_run(low: LowNode, index: int) -> bool:
    return low.value(low.input(index)) is None


def stft(low: LowNode) -> list[NodeProto]:
    """A Conv along the signal multiplies each frame with the window and the cosines and sines at
    once. A window that is computed at run time multiplies the frames, which are then gathered."""
    kind, parts = _work(low), _signal_parts(low)
    step, length = _steps(low)
    window = np.ones(length)
    if low.input(2):
        value = low.value(low.input(2))
        if value is None or kind == TensorProto.DOUBLE:
            return _framed(low, step, length)
        window = value.astype(np.float64).reshape(-1)
    if kind == TensorProto.DOUBLE:
        return _framed(low, step, length)
    kernel = _kernel(low, length, window, parts)
    weights = low.const(kernel.reshape(-1, parts, length).astype(np.float32))
    done = known_dtype(low, 0) == TensorProto.FLOAT
    data = low.input(0) if done else low.add("Cast", low.input(0), to=TensorProto.FLOAT)
    if known_rank(low, 0) == 2:
        data = unsqueeze(low, data, [1])
    else:
        data = low.add("Transpose", data, perm=[0, 2, 1])
    frames = low.add("Conv", data, weights, kernel_shape=[length], strides=[step])
    apart = low.add("Reshape", frames, low.const([0, 2, kernel.shape[1], -1], _INT64))
    return _out(low, low.add("Transpose", apart, perm=[0, 3, 2, 1]), TensorProto.FLOAT)


def _kernel(
    low: LowNode, length: int, window: NDArray[np.float64], parts: int
) -> NDArray[np.float64]:
    """What each element of a frame gives: (2, bins, parts, length)."""
    bins = length // 2 + 1 if integer(low, "onesided", 1) else length
    if 2 * bins * parts * length > _MOST:
        raise Refused(f"STFT as a product takes {2 * bins} rows of {length}, which is too large")
    angles = _angles(bins, length, length)
    cosines, sines = np.cos(angles) * window, np.sin(angles) * window
    kernel = np.stack([cosines, -sines])[:, :, None]
    if parts == 2:
        kernel = np.concatenate([kernel, np.stack([sines, cosines])[:, :, None]], axis=2)
    return kernel


def _framed(low: LowNode, step: int, length: int) -> list[NodeProto]:
    """The frames one by one, times the window, times the cosines and sines."""
    kind, parts, size = _work(low), _signal_parts(low), dim(low, 0, 1)
    kernel = _kernel(low, length, np.ones(length), parts)
    bins = kernel.shape[1]
    inside = np.arange(length, dtype=np.int64)
    if size is not None:
        starts = np.arange(0, max(0, size - length + 1), step, dtype=np.int64)
        index = low.const(starts[:, None] + inside)
    else:
        left = low.add("Sub", dims_of(low, low.input(0), [1]), low.const([length - step], _INT64))
        count = low.add("Div", left, low.const([step], _INT64))
        starts_ = low.add("Mul", counting(low, count), low.const([step], _INT64))
        index = low.add("Add", unsqueeze(low, starts_, [1]), low.const(inside))
    data, window = (
        name if not name or known_dtype(low, i) == kind else low.add("Cast", name, to=kind)
        for i, name in ((0, low.input(0)), (2, low.input(2)))
    )
    frames = low.add("Gather", data, index, axis=1)
    if window:
        factors = window if known_rank(low, 0) == 2 else unsqueeze(low, window, [1])
        frames = low.add("Mul", frames, factors)
    flat = low.add("Reshape", frames, low.const([0, 0, length * parts], _INT64))
    matrix = kernel.transpose(3, 2, 1, 0).reshape(length * parts, 2 * bins)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    spectrum = low.add("MatMul", flat, low.const(matrix.astype(dtype)))
    apart = low.add("Reshape", spectrum, low.const([0, 0, bins, 2], _INT64))
    return _out(low, apart, kind)


RULES: dict[tuple[str, int], Rule] = {
    ("DFT", 20): _dft_axis,
    ("DFT", 17): _dft,
    ("STFT", 17): stft,
    ("MelWeightMatrix", 17): missing("it is folded first where its inputs are constant"),
}
