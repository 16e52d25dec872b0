"""The pass ``freeze-inputs``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from onnx_fix.contract import Exactness, ModelPass, Stage, Transformed
from onnx_fix.freezing import frozen, resolve, told
from onnx_fix.model import Model
from onnx_fix.target import Target


@dataclass(frozen=True)
class FreezeInputs(ModelPass):
    """Makes inputs of the model constants, where an option gives their values.

    For inputs that steer (axes, K, pads, scales, repeats, a training mode) and for weights that an
    exporter left as inputs: TensorRT wants them at build time.

    Before:
        main (float[N, 7] x, int64[1] k): v, i = TopK(x, k)
    After:
        main (float[N, 7] x): v, i = TopK(x, k) with k the initializer 3

    A value is a number, a list of numbers, or ``@FILE.npy``, relative to the working folder. It
    must be of the type and shape that the input declares. A symbol in that shape has the size of
    the value from then on, wherever inputs and outputs name it.

    Exact: no. The model has fewer inputs, and computes what the original does where it is given
        these values, which is how it is compared.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.INLINE

    freeze: dict[str, Any] | None = None
    """The values, by the name of the input."""

    def frozen_inputs(self, model: ModelProto) -> Mapping[str, NDArray[np.generic]]:
        return resolve(model, self.freeze or {})

    def due(self, model: Model) -> bool:
        inputs = {value.name for value in model.proto.graph.input}
        return bool(inputs.intersection(self.freeze or ()))

    def transform(self, model: ModelProto, target: Target) -> Transformed:
        """One line for every input that goes."""
        inputs = {value.name for value in model.graph.input}
        values = resolve(model, {k: v for k, v in (self.freeze or {}).items() if k in inputs})
        if not values:
            return Transformed(model)
        lines = tuple(told(name, value) for name, value in values.items())
        return Transformed(
            frozen(model, values), lines, exactness=Exactness.CONTRACT, asked_by="freeze"
        )
