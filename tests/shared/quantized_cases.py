"""Help for the tests of quantised models."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper, parser

from onnx_fix.contract import PassResult
from onnx_fix.target import load_target
from onnx_fix.testing import Feeds, assert_same_outputs

TARGETS = ("trt-7.2", "trt-8.2", "trt-8.6", "trt-10.3", "rtx-1.7")


def model(text: str, opset: int = 13, more: str = "", ir: int = 10) -> ModelProto:
    """A model of the main graph given as text."""
    return parser.parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}{more}]> g {text}')


def feeds_of(proto: ModelProto, size: int, seed: int = 0, scale: float = 60.0) -> Feeds:
    """Random numbers for every input; dims that are no numbers get ``size``."""
    random = np.random.default_rng(seed)
    made: dict[str, NDArray[Any]] = {}
    for value in proto.graph.input:
        kind = np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        dims = value.type.tensor_type.shape.dim
        shape = [d.dim_value if d.HasField("dim_value") else size for d in dims]
        if kind.kind in "iu":
            info = np.iinfo(kind)
            low, high = max(info.min, -70000), min(info.max, 70000)
            made[value.name] = np.asarray(random.integers(low, high + 1, shape), kind)
        elif kind.kind == "b":
            made[value.name] = np.asarray(random.random(shape) < 0.5)
        elif value.name.startswith("s"):
            made[value.name] = np.asarray(random.random(shape) + 0.25, kind)
        else:
            made[value.name] = np.asarray(random.standard_normal(shape) * scale, kind)
    return made


def assert_same(
    before: ModelProto, after: ModelProto, sizes: tuple[int, ...] = (5, 1, 0), **more: Any
) -> None:
    """Both give the same numbers at several sizes."""
    for size in sizes:
        assert_same_outputs(before, after, feeds_of(before, size, seed=size), **more)


def halves(proto: ModelProto, scale: float) -> NDArray[Any]:
    """Numbers in the middle of two levels, and what is beyond all of them."""
    levels = np.arange(-300, 301, dtype=np.float32)
    return np.concatenate([(levels + 0.5) * scale, levels * scale]).astype(np.float32)


def exactness(results: list[PassResult]) -> set[str]:
    """How exact the changes say they are."""
    return {c.exactness.name for r in results for c in r.changes}


def notes(results: list[PassResult]) -> list[str]:
    """What the changes tell the user."""
    return [c.note for r in results for c in r.changes if c.note]


def refused_ops(proto: ModelProto, target: str) -> list[str]:
    """The ops that the static check has something against."""
    from onnx_fix.check import check

    load_target(target)
    found = check(proto, target=target).findings
    return [f.op for f in found if f.severity.value != "warning"]
