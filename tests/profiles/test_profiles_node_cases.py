"""Sizes and shape tensors of the ONNX node tests, against their data and a live TensorRT-RTX."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import pytest

from onnx_fix.profiles import shape_inputs
from onnx_fix.profiles.sized import Sizer

DECIDING = (
    "constantofshape", "cumsum", "expand", "onehot", "range", "reshape", "resize", "slice",
    "split", "tile", "top_k", "constant_pad", "reflect_pad", "gather_0", "nonmaxsuppression",
    "add", "concat_1d",
)  # fmt: skip


def node_tests() -> dict[str, Any]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return {t.name: t for t in load_model_tests(kind="node") if t.model is not None}


@pytest.mark.slow
def test_no_size_is_wrong() -> None:
    right = 0
    for name, test in node_tests().items():
        try:
            _, outputs = test.data_sets[0]
        except (ValueError, TypeError, NotImplementedError):
            continue
        sized = Sizer(test.model).at({})
        for value, array in zip(test.model.graph.output, outputs, strict=False):
            if isinstance(array, np.ndarray) and value.name in sized.shapes:
                assert sized.shapes[value.name] == array.shape, name
                right += 1
    assert right > 1000


@pytest.mark.slow
@pytest.mark.rtx
def test_shape_tensors_are_those_of_the_live_parser() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="needs the extra `rtx`")
    log = trt.Logger(trt.Logger.INTERNAL_ERROR)
    asked = found = 0
    for name, test in node_tests().items():
        if not name.removeprefix("test_").startswith(DECIDING):
            continue
        builder = trt.Builder(log)
        network = builder.create_network()
        if not trt.OnnxParser(network, log).parse(test.model.SerializeToString()):
            continue
        inputs = [network.get_input(i) for i in range(network.num_inputs)]
        live = {tensor.name for tensor in inputs if tensor.is_shape_tensor}
        ours = {n for n, given in shape_inputs(test.model).items() if not given.obstacle}
        assert ours == live, name
        asked += 1
        found += bool(live)
    assert asked > 50 and found > 25
