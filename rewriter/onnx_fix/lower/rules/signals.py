"""DFT and STFT: products with matrices of cosines and sines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._steps import (
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

_INT64 = TensorProto.INT64
_MOST = 1 << 22
"""A matrix of more elements is not written into a model."""


def _work(low: LowNode) -> int:
    """The type of the computation: half precision goes through float32."""
    kind = known_dtype(low, 0)
    if kind not in FLOATS:
        raise Refused(f"{low.op} of {dtype_name(kind)} is not written in older ops")
    return int(TensorProto.DOUBLE if kind == TensorProto.DOUBLE else TensorProto.FLOAT)


def _scalar(low: LowNode, index: int, what: str) -> int | None:
    """The value of a constant input; None where it is omitted.

    Raises:
        Refused: it is computed at run time.
    """
    if not low.input(index):
        return None
    value = low.value(low.input(index))
    if value is None or value.size != 1:
        raise Refused(f"{what} '{low.input(index)}' is computed at run time")
    return int(value.reshape(-1)[0])


def _parts(low: LowNode, rank: int) -> int:
    """1 for real data, 2 for complex data."""
    parts = dim(low, 0, rank - 1)
    if parts not in (1, 2):
        raise Refused(f"whether '{low.input(0)}' is real or complex is not known")
    return parts


def _angles(rows: int, columns: int, length: int) -> NDArray[np.float64]:
    """2 pi i j / length, reduced before it is rounded."""
    turns = np.arange(rows, dtype=np.int64)[:, None] * np.arange(columns, dtype=np.int64)
    angles: NDArray[np.float64] = 2 * np.pi * (turns % length) / length
    return angles


def _transform(low: LowNode, axis: int) -> list[NodeProto]:
    """A DFT along an axis of known size, counted from the front."""
    kind, rank = _work(low), known_rank(low, 0)
    parts, size = _parts(low, rank), dim(low, 0, axis)
    inverse, onesided = bool(low.attr("inverse", 0)), bool(low.attr("onesided", 0))
    if size is None:
        raise Refused(f"the size of axis {axis}, along which DFT goes, is not known")
    length = _scalar(low, 1, "dft_length")
    if length is None:
        length = 2 * (size - 1) if inverse and onesided else size
    if length < 1 or size < 1:
        raise Refused(f"a DFT of length {length} along an axis of size {size} is not defined")
    there = length // 2 + 1 if inverse and onesided else length
    columns = length // 2 + 1 if onesided and not inverse else length
    rows = min(size, there)
    if rows * columns > _MOST:
        raise Refused(
            f"a DFT as a product takes a matrix of {rows} x {columns}, which is too large"
        )
    angles = _angles(rows, columns, length)
    scale = np.full((rows, 1), 1 / length if inverse else 1.0)
    if inverse and onesided:  # the other half is the conjugate of this one
        mirrored = [0 < k < length - k for k in range(rows)]
        scale[mirrored] *= 2
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    cosines = low.const((np.cos(angles) * scale).astype(dtype))
    sines = low.const((np.sin(angles) * scale * (-1 if inverse else 1)).astype(dtype))
    data = low.input(0) if known_dtype(low, 0) == kind else low.add("Cast", low.input(0), to=kind)
    if rows < size:
        ends = (low.const([v], _INT64) for v in (0, rows, axis))
        data = low.add("Slice", data, *ends)
    order = [a for a in range(rank - 1) if a != axis] + [axis]
    back = [int(i) for i in np.argsort(order)]
    real, *imaginary = (_part(low, data, i, rank, order) for i in range(parts))
    results = [low.add("MatMul", real, cosines)]
    if imaginary:
        results[0] = low.add("Add", results[0], low.add("MatMul", imaginary[0], sines))
    if not (inverse and onesided):
        other = low.add("MatMul", real, sines)
        if imaginary:
            results.append(low.add("Sub", low.add("MatMul", imaginary[0], cosines), other))
        else:
            results.append(low.add("Neg", other))
    turned = [unsqueeze(low, low.add("Transpose", r, perm=back), [rank - 1]) for r in results]
    whole = turned[0] if len(turned) == 1 else low.add("Concat", *turned, axis=rank - 1)
    return _out(low, whole, kind)


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
    axis = int(low.constant(2, "axis").reshape(-1)[0]) if low.input(2) else -2
    if axis < 0:
        axis += known_rank(low, 0)
    if low.attr("inverse", 0) and low.attr("onesided", 0):
        return _transform(low, axis)
    view = replace(low, proto=low.copy(inputs=list(low.proto.input[:2])))
    return keep(view, axis=axis)


def _dft(low: LowNode) -> list[NodeProto]:
    """17: the op did not exist."""
    axis = integer(low, "axis", 1)
    return _transform(low, axis + known_rank(low, 0) if axis < 0 else axis)


def _stft(low: LowNode) -> list[NodeProto]:
    """17: the op did not exist. A Conv along the signal multiplies each frame with the window and
    the cosines and sines at once."""
    if _work(low) == TensorProto.DOUBLE:
        raise Refused("STFT of float64 is not written as a Conv, which runtimes have for float32")
    parts = _parts(low, 3)
    step = _scalar(low, 1, "frame_step")
    length = _scalar(low, 3, "frame_length")
    window = np.ones(length or 0)
    if low.input(2):
        value = low.value(low.input(2))
        if value is None:
            raise Refused(f"the window '{low.input(2)}' is computed at run time")
        window = value.astype(np.float64).reshape(-1)
        length = window.size if length is None else length
    if not step or not length or window.size != length:
        raise Refused("STFT has no frame_step, or no frame_length that is the size of the window")
    bins = length // 2 + 1 if integer(low, "onesided", 1) else length
    if 2 * bins * parts * length > _MOST:
        raise Refused(f"STFT as a Conv takes {2 * bins} kernels of {length}, which is too large")
    angles = _angles(bins, length, length)
    cosines, sines = np.cos(angles) * window, np.sin(angles) * window
    kernel = np.stack([cosines, -sines])[:, :, None]
    if parts == 2:
        kernel = np.concatenate([kernel, np.stack([sines, cosines])[:, :, None]], axis=2)
    weights = low.const(kernel.reshape(2 * bins, parts, length).astype(np.float32))
    done = known_dtype(low, 0) == TensorProto.FLOAT
    data = low.input(0) if done else low.add("Cast", low.input(0), to=TensorProto.FLOAT)
    data = low.add("Transpose", data, perm=[0, 2, 1])
    frames = low.add("Conv", data, weights, kernel_shape=[length], strides=[step])
    apart = low.add("Reshape", frames, low.const([0, 2, bins, -1], _INT64))
    return _out(low, low.add("Transpose", apart, perm=[0, 3, 2, 1]), TensorProto.FLOAT)


RULES: dict[tuple[str, int], Rule] = {
    ("DFT", 20): _dft_axis,
    ("DFT", 17): _dft,
    ("STFT", 17): _stft,
    ("MelWeightMatrix", 17): missing("it is folded first where its inputs are constant"),
}
