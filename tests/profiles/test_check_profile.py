"""What is said of a profile before anything is built: by running, and by inference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from onnx import ModelProto, load, parser

from onnx_fix.profiles import parse_profile, profile_from, profile_of
from onnx_fix.profiles.check import ProfileFinding, check_profile, spelled_bytes
from onnx_fix.profiles.points import points, probes
from onnx_fix.target import load_target

FIXTURES = Path(__file__).parents[2] / "fixtures"
TARGET = load_target("trt-8.6")


def model(text: str) -> ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')


def findings(text: str, ranges: str, **options: object) -> list[ProfileFinding]:
    proto = model(text)
    profile = profile_from(proto, parse_profile(ranges))
    return check_profile(proto, profile, TARGET, **options)  # type: ignore[arg-type]


def worst(text: str, ranges: str, **options: object) -> ProfileFinding:
    return findings(text, ranges, **options)[0]


@pytest.mark.parametrize(
    "name",
    [
        "detector.dynamo18",
        "lightglue_match.dynamo18",
        "pair_matcher.dynamo18",
        "superglue_match.legacy13",
        "unet.legacy11",
    ],
)
def test_the_profiles_of_fixtures_work(name: str) -> None:
    proto = load(FIXTURES / f"{name}.onnx")
    side = json.loads((FIXTURES / f"{name}.onnx.json").read_text())
    # A smaller largest size than the sidecar's: the same points, in less time.
    ranges = {s: (d["min"], min(d["opt"], 128), 160) for s, d in side["dims"].items() if s != "B"}
    ranges |= {"B": (1, 1, 2)} if "B" in side["dims"] else {}
    found = check_profile(proto, profile_of(proto, ranges), TARGET)
    assert [f.severity for f in found] == ["note"]
    assert "the largest tensor at max is" in found[0].message


EIGHTS = """g (float[N, H] x) => (float[A, B, C] y)
{ s = Constant <value_ints = [0, -1, 8]> ()  [cut] y = Reshape (x, s) }"""


def test_a_size_that_must_be_a_multiple() -> None:
    found = worst(EIGHTS, "N=1:2:4,H=64:240:480")
    assert (found.severity, found.op, found.node) == ("warning", "Reshape", "cut")
    assert "H must be a multiple of 8 (run at " in found.message
    assert "N = 2, H = 155" in found.at and "feed H by this rule" in found.mend


def test_ends_that_are_no_multiples() -> None:
    found = worst(EIGHTS, "N=1:2:4,H=60:241:479")
    assert found.severity == "error" and "multiple of 8" in found.message
    assert found.at.startswith("min: N = 1, H = 60; opt: ") and found.mend == "set H=64:240:472"


TWO = """g (float[B, H, W] x) => (float[A, C, D, E] y, float[F, G, I, J] z)
{ s = Constant <value_ints = [0, 0, -1, 8]> ()
  y = Reshape (x, s)
  t = Transpose <perm = [0, 2, 1]> (x)
  u = Constant <value_ints = [0, 0, -1, 12]> ()
  z = Reshape (t, u) }"""


def test_two_sizes_with_rules_of_their_own() -> None:
    found = worst(TWO, "B=1:2:4,H=60:240:480,W=64:320:640")
    assert found.severity == "warning" and "feed H and W by this rule" in found.mend
    assert "H must be a multiple of 12" in found.message
    assert "W must be a multiple of 8" in found.message
    found = worst(TWO, "B=1:2:4,H=61:241:479,W=65:321:641")
    assert found.severity == "error"
    assert found.mend == "set H=72:240:468; set W=72:320:640"


def test_a_modulus_larger_than_a_window() -> None:
    text = EIGHTS.replace("8]", "96]")
    assert "H must be a multiple of 96" in worst(text, "N=1,H=96:192:960").message


GAP = """g (float[N] x) => (float[A] y) {
  lo = Constant <value_ints = [100]> ()
  hi = Constant <value_ints = [200]> ()
  s = Shape (x)
  a = Greater (s, lo)
  b = Less (s, hi)
  c = And (a, b)
  z = Constant <value_ints = [7]> ()
  w = Where (c, z, s)
  y = Reshape (x, w) }"""


def test_a_range_that_breaks_in_its_middle_alone() -> None:
    found = worst(GAP, "N=2:90:400")
    assert found.severity == "error" and found.node == "y"
    assert "N may not lie between 100 and 200" in found.message
    assert "two profiles: N=2..100 and 200..400" in found.mend
    assert all(f.severity == "note" for f in findings(GAP, "N=2:90:100"))
    assert all(f.severity == "note" for f in findings(GAP, "N=200:250:400"))


def test_the_middle_is_found_without_running() -> None:
    found = worst(GAP, "N=2:90:400", run=False)
    assert (found.severity, found.op, found.node) == ("warning", "Reshape", "y")
    assert "has 7" in found.message


def test_sizes_that_must_be_equal() -> None:
    text = "g (float[N] x, float[M] z) => (float[A] y) { y = Add (x, z) }"
    found = worst(text, "N=2:16:64,M=2:16:64")
    assert found.severity == "warning" and "N and M must be equal" in found.message
    assert "one name for both" in found.mend


def test_a_frozen_size() -> None:
    text = """g (float[N] x) => (float[A] y)
    { w = Constant <value_floats = [1.0, 2.0, 3.0, 4.0]> ()  y = Add (x, w) }"""
    found = worst(text, "N=1:4:64")
    assert found.severity == "error" and "of N only 1 and 4 were found to work" in found.message
    assert "set N=4" in found.mend


def test_bounds() -> None:
    text = """g (float[N] x) => (float[A] y)
    { k = Constant <value_ints = [100]> ()  y, i = TopK (x, k) }"""
    found = worst(text, "N=2:400:1000")
    assert "N must be at least 100" in found.message and found.mend == "set N=100:400:1000"
    text = """g (float[N] x) => (float[A] y) { w = Constant <value_ints = [50]> ()
    s = Shape (x)  d = Sub (w, s)  o = ConstantOfShape (d)  y = Concat <axis = 0> (x, o) }"""
    found = worst(text, "N=2:40:64")
    assert "N must be at most 50" in found.message and found.mend == "set N=2:40:50"


def test_a_limit_of_the_release() -> None:
    text = "g (float[N] x) => (float[A] y) { k = Shape (x)  y, i = TopK (x, k) }"
    found = worst(text, "N=2:400:5000", run=False)
    assert (found.severity, found.op, found.at) == ("error", "TopK", "max: N = 5000")
    assert "5000, more than 3840: trt-8.6 refuses it" in found.message


HUGE = """g (float[N] x) => (float[A, B] y) {
  s = Shape (x)
  t = Constant <value_ints = [-1, 1]> ()
  c = Reshape (x, t)
  n = Mul (s, s)
  y = Expand (c, s) }"""


def test_what_is_too_large_is_not_run() -> None:
    found = findings(HUGE, "N=2:400:100000", memory=2**20)
    errors = {f.node: f.message for f in found if f.severity == "error"}
    assert "10000000000 elements" in errors["y"] and "does not fit INT32" in errors["n"]
    unseen = [f for f in found if "was not seen to run at max" in f.message]
    assert len(unseen) == 1 and "needs about 74.5 GiB" in unseen[0].message
    proto = model(HUGE)
    newer = load_target("trt-10.3")
    profile = profile_from(proto, parse_profile("N=2:400:100000"))
    found = check_profile(proto, profile, newer, run=False)
    assert [f.severity for f in found if f.node == "n"] == ["warning"]


def test_empty_sizes_and_shape_tensors_are_warned_of() -> None:
    text = """g (float[N] x, float z, int64 k) => (float[A] y)
    { a = Add (x, z)  e = Range (z, z, z)  y = Concat <axis = 0> (a, e) }"""
    found = findings(text, "N=0:2:4,k=3", run=False)
    texts = [f.message for f in found if f.severity == "warning"]
    assert any("N may be 0" in t for t in texts)
    assert any("values of input z decide sizes" in t and "FLOAT" in t for t in texts)
    assert any("values for input k, and they decide no size" in t for t in texts)


SHAPED = "g (float[N] x, int64[2] s) => (float[A, B] y) { y = Reshape (x, s) }"


def test_values_of_shape_tensors_are_fed() -> None:
    found = findings(SHAPED, "N=16:16:16,s=[4,4]")
    assert [f.severity for f in found] == ["note"]
    found = findings(SHAPED, "N=4:16:64,s=[2,2]:[4,4]:[8,9]")
    assert found[0].severity == "error" and "max: N = 64, s = [8,9]" in found[0].at
    assert "must suit each other" in found[0].message


def test_a_model_that_does_not_run_at_all() -> None:
    text = """g (float[N] x, float[3] w) => (float[A] y)
    { a = Concat <axis = 0> (x, w, x)  y = Add (a, w) }"""
    found = worst(text, "N=5:6:7")
    assert found.severity == "error" and "does not run at any of the" in found.message


def test_a_model_that_does_not_load() -> None:
    proto = load(FIXTURES / "superpoint_points.legacy17.onnx")
    profile = profile_of(proto, {"H": (64, 96, 128), "W": (64, 96, 128)})
    found = check_profile(proto, profile, TARGET)
    assert found[0].severity == "error" and "does not load it" in found[0].message
    assert "onnx-fix:" not in found[0].message
    faults = [f for f in found if f.op == "MaxPool"]
    assert len(faults) == 1 and "min: H = 64" in faults[0].at


def test_a_process_that_takes_too_long_is_stopped() -> None:
    found = findings(SHAPED, "N=16,s=[4,4]", timeout_s=0.01)
    assert any("in time" in f.message or "was stopped" in f.message for f in found)


def test_weights_beside_the_model_are_found(tmp_path: Path) -> None:
    import numpy as np
    import onnx
    from onnx import numpy_helper

    proto = model("g (float[N, 64] x) => (float[N, 64] y) { y = MatMul (x, w) }")
    weight = numpy_helper.from_array(np.zeros((64, 64), np.float32), "w")
    proto.graph.initializer.append(weight)
    path = tmp_path / "m.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    light = load(path, load_external_data=False)
    profile = profile_of(light, {"N": (1, 2, 3)})
    found = check_profile(light, profile, TARGET, base_dir=tmp_path)
    assert [f.severity for f in found] == ["note"] and "weights 16.0 KiB" in found[0].message


def test_points_lie_in_the_ranges() -> None:
    proto = model("g (float[N, M, K, 1] x) => (float[N, M, K, 1] y) { y = Abs (x) }")
    profile = profile_of(proto, {"N": (1, 1, 1), "M": (2, 3, 3), "K": (16, 10000, 20000)})
    chosen = points(profile)
    assert [c.place for c in chosen] == [
        "min",
        "opt",
        "max",
        "between",
        "between",
        "corner",
        "corner",
    ]
    for one in (*chosen, *probes(profile)):
        for name, size in one.point.sizes:
            low, _, high = profile.ranges[name]
            assert low <= size <= high
    between = dict(chosen[3].point.sizes)
    assert between["K"] % 2 == 1 and 16 < between["K"] < 10000
    static = profile_of(model("g (float[2] x) => (float[2] y) { y = Abs (x) }"), {})
    assert [c.place for c in points(static)] == ["min"]


def test_bytes_are_spelled() -> None:
    assert [spelled_bytes(n) for n in (0, 1023, 1024, 3 * 2**20, 5 * 2**40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "3.0 MiB",
        "5120.0 GiB",
    ]
