"""The shapes of printed commands, given to the live TensorRT-RTX as its program would give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from onnx import ModelProto
from trtexec_models import RESIZED, keypoints, parsed, voxels, with_inputs

from onnx_fix.profiles import parse_profile, profile_from
from onnx_fix.target import load_target
from onnx_fix.trtexec import command, lint_arguments
from onnx_fix.trtexec.shape_lists import SHAPE_FLAGS, read_list

pytestmark = pytest.mark.rtx
trt: Any = pytest.importorskip("tensorrt_rtx", reason="needs the extra rtx")

COUNTED = """<ir_version: 8, opset_import: ["" : 13]>
main (int64 n) => (int64[A] y) <int64 zero = {0}, int64 one = {1}> {
  y = Range (zero, n, one) }"""


def builds(model: ModelProto, arguments: list[str]) -> bool:
    """Whether the builder makes an engine with the shapes of a command line."""
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(model.SerializeToString())
    inputs = [network.get_input(k) for k in range(network.num_inputs)]
    bounds: dict[str, list[tuple[int, ...]]] = {}
    for flag in SHAPE_FLAGS:
        text = next((a for a in arguments if a.startswith(flag)), "").partition("=")[2]
        for item in read_list(text, "rtx-1.7") if text else ():
            assert item.sizes is not None
            bounds.setdefault(item.name, []).append(item.sizes)
    profile = builder.create_optimization_profile()
    for one in inputs:
        if one.name in bounds:
            give = profile.set_shape_input if one.is_shape_tensor else profile.set_shape
            try:
                give(one.name, *bounds[one.name])
            except (ValueError, RuntimeError):
                return False
    config = builder.create_builder_config()
    if bounds and config.add_optimization_profile(profile) < 0:
        return False
    return builder.build_serialized_network(network, config) is not None


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (voxels(), ""),
        (voxels(dynamic=True), "V=100:5000:5000"),
        (keypoints(), "N=300:400:512"),
        (with_inputs({"in:0": ["N", 3], "two words": ["M"], "$x`y": [1, "N"]}), "N=1:2:4,M=3"),
        (parsed(RESIZED), "N=1:2:4,size=[2,2]:[4,2]:[8,2]"),
        (parsed(COUNTED), "n=[1]:[4]:[9]"),
    ],
    ids=["static", "voxels", "keypoints", "names", "values", "scalar value"],
)
def test_printed_shapes_build(model: ModelProto, text: str) -> None:
    profiles = [profile_from(model, parse_profile(text))] if text else []
    found = command(model, Path("m.onnx"), load_target("rtx-1.7"), profiles)
    assert found.sound
    assert builds(model, list(found.arguments))


ROWS = with_inputs({"x": ["N", 3]})
PAIR = with_inputs({"x": ["N"], "y": ["N"]})


@pytest.mark.parametrize(
    ("model", "bounds", "code"),
    [
        (ROWS, ("x:4x3", "x:2x3", "x:8x3"), "order"),
        (ROWS, ("x:1", "x:2", "x:3"), "rank"),
        (ROWS, ("x:1x4", "x:2x4", "x:3x4"), "fixed-dim"),
        (PAIR, ("x:1,y:1", "x:2,y:3", "x:4,y:4"), "symbol"),
        (parsed(RESIZED), ("x:1x4,size:2", "x:1x4,size:2", "x:1x4,size:2"), "value-count"),
    ],
)
def test_what_is_an_error_does_not_build(
    model: ModelProto, bounds: tuple[str, str, str], code: str
) -> None:
    shapes = [f"{flag}={text}" for flag, text in zip(SHAPE_FLAGS, bounds, strict=True)]
    arguments = ["--onnx=m.onnx", "--saveEngine=m.engine", *shapes]
    found = lint_arguments(arguments, model, Path("m.onnx"), load_target("rtx-1.7"))
    assert {one.code for one in found if one.severity == "error"} == {code}
    assert not builds(model, arguments)


def test_inputs_of_one_symbol_may_have_other_ends() -> None:
    arguments = ["--minShapes=x:1,y:2", "--optShapes=x:2,y:2", "--maxShapes=x:4,y:8"]
    given = ["--onnx=m.onnx", "--saveEngine=m.engine", *arguments]
    found = lint_arguments(given, PAIR, Path("m.onnx"), load_target("rtx-1.7"))
    assert [(one.severity, one.code) for one in found] == [("warning", "symbol")] * 2
    assert builds(PAIR, given)
