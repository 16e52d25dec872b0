"""The recorded inputs and outputs of ONNX's node tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper


def array(recorded: object) -> NDArray[np.generic]:
    """A recorded tensor as an array."""
    if isinstance(recorded, TensorProto):
        return np.asarray(numpy_helper.to_array(recorded))
    return np.asarray(recorded)
