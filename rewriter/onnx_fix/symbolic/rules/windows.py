"""Convolution, pooling, padding and resampling."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from onnx_fix.symbolic.size import Size, size
from onnx_fix.symbolic.step import Shape, Step, normalized


def _window(step: Step, dim: Size, axis: int, kernel: Size) -> Size:
    """The size after sliding a window, by the formula of the Conv and pooling operators."""
    stride = (step.ints("strides") or [1] * 8)[axis]
    dilation = (step.ints("dilations") or [1] * 8)[axis]
    auto = step.text("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        return -(-dim // stride)
    rank = len(step.ints("kernel_shape") or ()) or (step.rank() or 2) - 2
    pads = step.ints("pads") or [0] * (2 * rank)
    both = 0 if auto == "VALID" else pads[axis] + pads[axis + rank]
    top = dim + both - (kernel - 1) * dilation - 1
    return (-((-top) // stride) if step.number("ceil_mode", 0) else top // stride) + 1


def _conv(step: Step) -> list[Shape | None]:
    # The quantised form has scales and zero points between.
    second = 3 if step.node.op == "QLinearConv" else 1
    data, weight = step.shape(0), step.shape(second)
    if data is None or weight is None or len(data) < 3 or len(data) != len(weight):
        return [step.opaque()]
    step.same(data[1], weight[1] * step.number("group", 1))
    kernel = step.ints("kernel_shape")
    sizes = [size(k) for k in kernel] if kernel else list(weight[2:])
    spatial = [_window(step, d, k, sizes[k]) for k, d in enumerate(data[2:])]
    if step.node.op == "Conv" and step.has(2):
        bias = step.shape(2)
        if bias is not None and len(bias) == 1:
            step.same(bias[0], weight[0])
    return [(data[0], weight[0], *spatial)]


def _conv_transpose(step: Step) -> list[Shape | None]:
    data, weight = step.shape(0), step.shape(1)
    if data is None or weight is None or len(data) != len(weight) or step.ints("output_shape"):
        return [step.opaque()]
    step.same(data[1], weight[0])
    rank = len(data) - 2
    strides = step.ints("strides") or [1] * rank
    dilations = step.ints("dilations") or [1] * rank
    more = step.ints("output_padding") or [0] * rank
    pads = step.ints("pads") or [0] * (2 * rank)
    kernel = step.ints("kernel_shape")
    sizes = [size(k) for k in kernel] if kernel else list(weight[2:])
    spatial = []
    for k, dim in enumerate(data[2:]):
        if step.text("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
            spatial.append(dim * strides[k])
            continue
        full = (dim - 1) * strides[k] + (sizes[k] - 1) * dilations[k] + 1
        spatial.append(full + more[k] - pads[k] - pads[k + rank])
    return [(data[0], weight[1] * step.number("group", 1), *spatial)]


def _pool(step: Step) -> list[Shape | None]:
    data, kernel = step.shape(), step.ints("kernel_shape")
    # PyTorch pools without a batch axis too, and exports it as it is.
    if data is None or kernel is None or not 1 <= len(data) - len(kernel) <= 2:
        return [step.opaque(k) for k in range(len(step.node.outputs))]
    first = len(data) - len(kernel)
    spatial = [_window(step, d, k, size(kernel[k])) for k, d in enumerate(data[first:])]
    return [(*data[:first], *spatial)] * len(step.node.outputs)


def _global_pool(step: Step) -> list[Shape | None]:
    data = step.shape()
    return [None if data is None else (*data[:2], *(size(1) for _ in data[2:]))]


def _pad(step: Step) -> list[Shape | None]:
    data = step.shape()
    if data is None:
        return [None]
    given = step.ints("pads")
    pads: Shape | None
    if given is not None:
        pads = tuple(step.attribute("pads", k, number) for k, number in enumerate(given))
    else:
        pads = step.value(1)
    axes = step.numbers(3) if step.has(3) else list(range(len(data)))
    if pads is None or axes is None or len(pads) != 2 * len(axes):
        return [step.opaque()]
    out = list(data)
    for k, axis in enumerate(axes):
        place = normalized(axis, len(data))
        step.note_part(pads[k], data[place])
        step.note_part(pads[k + len(axes)], data[place])
        out[place] += pads[k] + pads[k + len(axes)]
    return [tuple(out)]


def _resize(step: Step) -> list[Shape | None]:
    data = step.shape()
    if data is None:
        return [None]
    axes = step.ints("axes") or list(range(len(data)))
    axes = [normalized(a, len(data)) for a in axes]
    out = list(data)
    place = 1 if step.node.op == "Upsample" or step.opset < 11 else 2
    if step.has(3):
        sizes = step.value(3)
        stretched = step.text("keep_aspect_ratio_policy", "stretch") == "stretch"
        if sizes is None or len(sizes) != len(axes) or not stretched:
            return [step.opaque()]
        for axis, dim in zip(axes, sizes, strict=True):
            out[axis] = dim
        return [tuple(out)]
    scales = step.array(place)
    if scales is None and step.node.attrs.get("scales") is not None:
        scales = np.asarray(step.node.attrs["scales"], np.float32)
    if scales is None or scales.size != len(axes):
        return [step.opaque()]
    for axis, scale in zip(axes, scales.reshape(-1), strict=True):
        ratio = Fraction(float(scale)).limit_denominator(64)
        if float(np.float32(float(ratio))) != float(scale):
            if scale != 1:
                out[axis] = step.fresh(0, axis)
            continue
        out[axis] = out[axis] * ratio.numerator // ratio.denominator
    return [tuple(out)]


def _grid_sample(step: Step) -> list[Shape | None]:
    data, grid = step.shape(0), step.shape(1)
    if data is None or grid is None or len(data) != len(grid):
        return [step.opaque()]
    step.same(data[0], grid[0])
    return [(*data[:2], *grid[1:-1])]


def _roi_align(step: Step) -> list[Shape | None]:
    data, rois = step.shape(0), step.shape(1)
    if data is None or rois is None:
        return [step.opaque()]
    return [
        (
            rois[0],
            data[1],
            size(step.number("output_height", 1)),
            size(step.number("output_width", 1)),
        )
    ]


SHAPES = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "LpPool": _pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "GlobalLpPool": _global_pool,
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _resize,
    "GridSample": _grid_sample,
    "RoiAlign": _roi_align,
}
