"""Compare an output that has become longer with what it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from onnx_fix.contract import Padded
from onnx_fix.verify.compare import Comparison, Tolerance, compare, missing


def compare_padded(
    padded: Padded,
    expected: object,
    actual: object,
    counts: Mapping[str, object],
    tolerance: Tolerance | None,
) -> Comparison:
    """Compare what is no padding with the original, and the count with its size.

    Args:
        padded: Which axis is padded, and which outputs say how far it is filled.
        expected: What the original gave.
        actual: What the rewritten model gave.
        counts: The values of the counts that the rewritten model gave, by name.
        tolerance: As for ``compare``.
    """
    name, axis = padded.output, padded.axis
    if not (isinstance(expected, np.ndarray) and isinstance(actual, np.ndarray)):
        return missing(name, "it is padded, and no tensor")
    if expected.ndim != actual.ndim or not 0 <= axis < actual.ndim:
        return compare(name, expected, actual, tolerance)
    values: list[int] = []
    for count, _ in padded.counts:
        value = np.asarray(counts.get(count))
        if value.size != 1 or value.dtype.kind != "i":
            return missing(name, f"the fixed model has no count '{count}' of what it fills")
        values.append(int(value.reshape(-1)[0]))
    filled, size, room = values[0], expected.shape[axis], actual.shape[axis]
    full = any(v == most for v, (_, most) in zip(values, padded.counts, strict=True))
    if not 0 <= filled <= min(size, room) or (filled < size and not full):
        return missing(
            name,
            f"'{padded.counts[0][0]}' says that {filled} of {room} are filled; "
            f"the original has {size}",
        )
    part = (slice(None),) * axis + (slice(filled),)
    found = compare(name, expected[part], actual[part], tolerance)
    if not found.ok:
        return found
    kept = f"the first {filled} of {size}" if filled < size else f"{filled}"
    return replace(found, note=f"{kept} compared, {room - filled} more are padding")
