"""0, 1, 2 and so on: the places along an axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from onnx_fix.emit import Emitter


def places(e: Emitter, size: gs.Tensor, shape: Sequence[int]) -> gs.Tensor:
    """0, 1, ... size - 1 in a shape that has one -1; ``size`` is int64 of shape (1,).

    A constant where the size is one. Before operator set 11, which has no Range, they are the
    indices of ones.
    """
    known = known_sizes(size)
    if known is not None:
        return e.const(np.arange(known[0]).reshape(shape))
    if e.opset >= 11:
        flat = e("Range", e.const(0), e.squeeze(size, [0]), e.const(1))
    else:
        one = gs.Constant("", np.ones(1, np.int64))
        flat = e.squeeze(e("NonZero", e("ConstantOfShape", size, value=one)), [0])
    return flat if list(shape) == [-1] else e.reshape(flat, shape)


def known_sizes(made: gs.Tensor) -> list[int] | None:
    """The sizes that an emitter made a constant of; None for those computed at run time."""
    if not isinstance(made, gs.Constant):
        return None
    return [int(v) for v in np.asarray(made.values).reshape(-1)]
