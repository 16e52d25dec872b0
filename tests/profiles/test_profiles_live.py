"""What is said of profiles, against the builder of a live TensorRT-RTX (no GPU needed)."""

from __future__ import annotations

import pytest
from onnx import ModelProto, parser

from onnx_fix.profiles import Profile, parse_profile, profile_from
from onnx_fix.profiles.check import check_profile
from onnx_fix.target import load_target

trt = pytest.importorskip("tensorrt_rtx", reason="needs the extra `rtx`")
pytestmark = pytest.mark.rtx

SHAPED = "g (float[N] x, int64[2] s) => (float[A, B] y) { y = Reshape (x, s) }"
EIGHTS = """g (float[N, H] x) => (float[A, B, C] y)
{ s = Constant <value_ints = [0, -1, 8]> ()  y = Reshape (x, s) }"""


def model(text: str) -> ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')


def builds(proto: ModelProto, profile: Profile, *, values: bool = True) -> bool:
    log = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(log)
    network = builder.create_network()
    assert trt.OnnxParser(network, log).parse(proto.SerializeToString())
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    made = builder.create_optimization_profile()
    for one in profile.inputs:
        if one.kind == "shape":
            made.set_shape(one.name, *one.shapes)
        elif values:
            made.set_shape_input(one.name, *one.shapes)
    config.add_optimization_profile(made)
    return builder.build_serialized_network(network, config) is not None


def test_the_values_of_shape_tensors_are_what_the_builder_asks_for() -> None:
    proto = model(SHAPED)
    profile = profile_from(proto, parse_profile("N=4:16:64,s=[2,2]:[4,4]:[8,8]"))
    assert builds(proto, profile)
    assert not builds(proto, profile, values=False)


@pytest.mark.parametrize(
    ("ranges", "built"), [("64:240:480", True), ("64:241:480", False), ("64:240:481", True)]
)
def test_the_builder_looks_at_opt_alone_and_we_at_all_sizes(ranges: str, built: bool) -> None:
    proto = model(EIGHTS)
    profile = profile_from(proto, parse_profile(f"N=1:2:4,H={ranges}"))
    assert builds(proto, profile) == built
    found = check_profile(proto, profile, load_target("rtx-1.7"))[0]
    assert "H must be a multiple of 8" in found.message
    assert found.severity == ("warning" if ranges == "64:240:480" else "error")


def test_a_shape_tensor_of_dynamic_length_is_refused() -> None:
    proto = model("g (float[1] x, int64[M] s) => (float[A] y) { y = Expand (x, s) }")
    log = trt.Logger(trt.Logger.INTERNAL_ERROR)
    network = trt.Builder(log).create_network()
    assert not trt.OnnxParser(network, log).parse(proto.SerializeToString())
    profile = profile_from(proto, parse_profile("M=1:2:3"))
    found = check_profile(proto, profile, load_target("rtx-1.7"), run=False)[0]
    assert found.severity == "error" and "dynamic length" in found.message
