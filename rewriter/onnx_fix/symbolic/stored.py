"""Tell trained weights from tables that an exporter computed from sizes."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnx_fix.model import Model

SEEN = 1024
"""Elements that are looked at; more where rows are long, up to four times as many."""

MOST = 1 << 24
"""Tensors of more elements than this are taken for weights without being read."""

_FEW = 0.5
"""The share of distinct numbers below which a tensor may follow a rule."""


def may_be_table(model: Model, tensor: gs.Tensor) -> bool:
    """Whether a stored tensor may have been computed from sizes: positions, masks, zeros, ones.

    Tables repeat themselves: few distinct values, or few distinct steps from one value to a later
    one. Weights do not. Small tensors and integers may always be tables.
    """
    array = model.value_if_there(tensor, limit=MOST)
    return array is not None and repeats(array)


def repeats(array: NDArray[np.generic]) -> bool:
    """Whether the numbers of an array, or the steps between them, come again and again."""
    if array.dtype.kind in "iub":
        return True
    rows = [int(d) for d in array.shape[-2:]]
    wanted = min(max(SEEN, *(3 * d for d in rows)), 4 * SEEN) if rows else SEEN
    try:
        seen = array.reshape(-1)[:wanted].astype(np.float64)
    except (TypeError, ValueError):
        return False
    if array.size < 16:
        # Too few to see a pattern: equal steps between halves of whole numbers, or one number.
        steps, halves = np.diff(seen), bool((seen * 2 == np.round(seen * 2)).all())
        return not steps.any() or (halves and bool((steps == steps[0]).all()))
    if _distinct(seen) < _FEW:
        return True
    lags = {1, 2, 3, 4, *rows}
    return any(
        _distinct(np.round(seen[lag:] - seen[:-lag], 6)) < _FEW
        for lag in lags
        if 0 < lag < seen.size // 2
    )


def _distinct(values: NDArray[np.float64]) -> float:
    ordered = np.sort(values)
    return float((1 + np.count_nonzero(ordered[1:] != ordered[:-1])) / max(1, values.size))
