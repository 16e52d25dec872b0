"""Feed and compare a model whose inputs and outputs are of other element types than they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from onnx_fix.contract import Retyped
from onnx_fix.verify.compare import Tolerance, default_tolerance, widest
from onnx_fix.verify.feeds import Value


class Ends:
    """The inputs and outputs that are of another type now."""

    def __init__(self, retyped: Sequence[Retyped]) -> None:
        self._inputs = {r.name: r for r in retyped if r.is_input}
        self._outputs = {r.name: r for r in retyped if not r.is_input}

    def fixed(self, feeds: Mapping[str, Value]) -> Mapping[str, Value]:
        """What the rewritten model is fed: the same numbers in its own types."""
        if not self._inputs:
            return feeds
        return {k: self._cast(k, v, back=False) for k, v in feeds.items()}

    def original(self, feeds: Mapping[str, Value]) -> Mapping[str, Value]:
        """What the original is fed: numbers that the new types hold, too."""
        if not self._inputs:
            return feeds
        return {k: self._cast(k, v, back=True) for k, v in feeds.items()}

    def _cast(self, name: str, value: Value, *, back: bool) -> Value:
        one = self._inputs.get(name)
        if one is None or isinstance(value, list):
            return value
        now = np.asarray(value).astype(_numpy(one.now))
        return now.astype(_numpy(one.was)) if back else now

    def output(
        self, name: str, wanted: object, limits: Tolerance | None
    ) -> tuple[object, Tolerance | None]:
        """An output of the original in the new type, and what may differ: the wider of both."""
        one = self._outputs.get(name)
        if one is None or not isinstance(wanted, np.ndarray | np.generic):
            return wanted, limits
        now: NDArray[np.generic] = np.asarray(wanted).astype(_numpy(one.now))
        if limits is not None:
            limits = widest(limits, default_tolerance(now.dtype))
        return now, limits


def _numpy(dtype: int) -> np.dtype[np.generic]:
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(dtype))
