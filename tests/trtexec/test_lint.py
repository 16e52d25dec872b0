"""Faults in command lines, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import ModelProto
from trtexec_models import PLUGIN, RESIZED, keypoints, parsed, voxels, with_inputs

from onnx_fix.target import load_target
from onnx_fix.trtexec import LintFinding, lint

PATH = Path("m.onnx")
GOOD = "trtexec --onnx=m.onnx --saveEngine=m.engine"


def found(text: str, target: str = "trt-8.6", model: ModelProto | None = None) -> list[LintFinding]:
    return lint(text, model or voxels(), PATH, load_target(target))


def said(text: str, target: str = "trt-8.6", model: ModelProto | None = None) -> list[str]:
    """Severity and code of each finding."""
    return [f"{one.severity} {one.code}" for one in found(text, target, model)]


def only(text: str, target: str = "trt-8.6", model: ModelProto | None = None) -> LintFinding:
    every = found(text, target, model)
    assert len(every) == 1, [str(one) for one in every]
    return every[0]


def three(shapes: str) -> str:
    return f" --minShapes={shapes} --optShapes={shapes} --maxShapes={shapes}"


X = with_inputs({"x": ["N", 3], "fixed": [2, 3]})
XY = with_inputs({"x": ["N", 3], "y": ["N"]})


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6", "trt-10.3", "trt-11.1", "rtx-1.7"])
def test_nothing_is_wrong(target: str) -> None:
    program = "tensorrt_rtx" if target == "rtx-1.7" else "trtexec"
    text = GOOD.replace("trtexec", program)
    assert found(text, target) == []
    assert found(text + three("x:2x3"), target, X) == []


@pytest.mark.parametrize(
    ("target", "flag", "message", "mend"),
    [
        ("trt-10.0", "--workspace=1024", "trtexec has it: 7.0 to 9.3", "write --memPoolSize="),
        ("trt-7.2", "--memPoolSize=workspace:9", "since 8.4", "write --workspace=N"),
        ("trt-8.2", "--skipInference", "since 8.6", "write --buildOnly"),
        ("trt-10.3", "--buildOnly", "7.0 to 9.3", "write --skipInference"),
        ("trt-8.5", "--staticPlugins=a.so", "since 8.6", "write --plugins=N"),
        ("trt-10.3", "--explicitBatch", "7.0 to 9.3", ""),
        ("trt-8.6", "--bf16", "9.0 to 10.16", ""),
        ("trt-11.0", "--fp16", "strongly typed", "modelopt.onnx.autocast"),
        ("trt-11.5", "--int8", "strongly typed", "QuantizeLinear"),
        ("trt-11.0", "--calib=c.bin", "strongly typed", "QuantizeLinear"),
        ("trt-8.6", "--layerPrecision=a:fp16", "no release has it", "--layerPrecisions"),
        ("trt-8.6", "--serialized=m.bin", "no release has it", "trtexec_safe"),
        ("trt-8.6", "--fp61", "neither has any other release", "did you mean --fp16?"),
        ("trt-8.6", "--minShape=x:1", "neither has any other", "did you mean --minShapes?"),
        ("trt-8.6", "--saveengine=m.trt", "neither has any", "did you mean --saveEngine?"),
        ("trt-11.5", "--saveengine=m.trt", "not known to have", "did you mean --saveEngine?"),
    ],
)
def test_options_that_are_not_there(target: str, flag: str, message: str, mend: str) -> None:
    one = only(f"{GOOD} {flag}", target)
    assert one.severity == "error" and one.argument == flag
    assert one.code in ("unknown-flag", "precision-of-the-model")
    assert message in one.message and mend in one.mend


def test_options_that_may_be_there() -> None:
    later = only(f"{GOOD} --quiteNewThing", "trt-11.5")
    assert later.severity == "warning" and "11.1" in later.mend
    rtx = GOOD.replace("trtexec", "tensorrt_rtx")
    shared = only(f"{rtx} --iterations=3", "rtx-1.7")
    assert (shared.severity, shared.code) == ("warning", "not-confirmed")
    other = only(f"{rtx} --quiteNewThing", "rtx-1.7")
    assert other.severity == "warning" and "tensorrt_rtx --help" in other.mend
    gone = only(f"{rtx} --workspace=3", "rtx-1.7")
    assert gone.severity == "error" and "--memPoolSize" in gone.mend
    typed = only(f"{rtx} --best", "rtx-1.7")
    assert typed.severity == "error" and "strongly typed" in typed.message


def test_the_other_program() -> None:
    assert said(GOOD, "rtx-1.7") == ["error other-program"]
    assert said(GOOD.replace("trtexec", "tensorrt_rtx")) == ["error other-program"]
    assert said("--onnx=m.onnx --saveEngine=m.engine", "rtx-1.7") == []


@pytest.mark.parametrize(
    ("target", "flag", "mend"),
    [
        ("trt-8.6", "--workspace=1024", "--memPoolSize=workspace:N"),
        ("trt-8.6", "--buildOnly", "--skipInference"),
        ("trt-8.2", "--explicitBatch", "implied for ONNX"),
        ("trt-10.13", "--fp16", "mixed precision"),
        ("trt-11.1", "--stronglyTyped", "without effect"),
    ],
)
def test_deprecated_options(target: str, flag: str, mend: str) -> None:
    one = only(f"{GOOD} {flag}", target)
    assert (one.severity, one.code) == ("note", "deprecated") and mend in one.mend


@pytest.mark.parametrize(
    ("text", "code", "mend"),
    [
        ("trtexec --onnx m.onnx --saveEngine=m.trt", "no-value", "write --onnx=VALUE"),
        ("trtexec --onnx= --saveEngine=m.trt", "no-value", "write --onnx=VALUE"),
        (f"{GOOD} \u2013fp16", "typographic-dash", "write --fp16"),
        (f"{GOOD} \u2014fp16", "typographic-dash", "write --fp16"),
        (f"{GOOD} -fp16", "stray-argument", "write --fp16"),
        (f"{GOOD} fp16", "stray-argument", "write --fp16"),
        (f"{GOOD} other.onnx", "stray-argument", "--NAME=VALUE"),
        (f"{GOOD} --saveEngine=b.trt", "given-twice", "leave one"),
        (f"{GOOD} --memPoolSize=1024", "bad-value", "workspace:1024"),
        (f"{GOOD} --memPoolSize=workspace:many", "bad-value", "workspace:1024"),
        (f"{GOOD} --memPoolSize=ram:2", "bad-value", "workspace:1024"),
        (f"{GOOD} --builderOptimizationLevel=high", "bad-value", "Level=3"),
        ("trtexec --saveEngine=m.trt", "no-model", "--onnx=FILE"),
        (f"{GOOD} --loadEngine=a.trt", "load-and-save", "leave one"),
        (f"{GOOD} --maxBatch=8", "batch-of-onnx", "--optShapes"),
    ],
)
def test_wrong_use_of_options(text: str, code: str, mend: str) -> None:
    one = only(text)
    assert one.severity == "error" and one.code == code and mend in one.mend


def test_units_of_memory_pools() -> None:
    assert said(f"{GOOD} --memPoolSize=workspace:2G,dlaSRAM:512K", "trt-10.3") == []
    assert said(f"{GOOD} --memPoolSize=workspace:2G", "trt-8.6") == ["warning unit-not-read"]
    assert said(f"{GOOD} --workspace=2GB", "trt-7.2") == ["error bad-value"]


def test_max_batch_with_shapes() -> None:
    text = f"{GOOD} --maxBatch=8"
    assert said(text, "trt-7.2") == []
    assert said(f"{text} --explicitBatch", "trt-7.2") == ["error batch-of-onnx"]
    assert said(text + three("x:2x3"), "trt-8.0", X) == ["error batch-of-onnx"]
    assert said(text, "trt-9.0") == ["error unknown-flag"]


def test_a_switch_cannot_be_turned_off() -> None:
    assert said(f"{GOOD} --fp16=false") == ["warning switch-with-value"]
    assert said(f"{GOOD} --fp16=true") == []


def test_plugins_may_be_given_twice() -> None:
    assert said(f"{GOOD} --staticPlugins=a.so --staticPlugins=b.so") == []


def test_the_engine_is_not_kept() -> None:
    assert said("trtexec --onnx=m.onnx") == ["note no-engine"]


def test_explicit_batch_in_the_oldest_releases() -> None:
    for target in ("trt-7.0", "trt-7.1"):
        assert said(GOOD, target) == ["warning no-explicit-batch"]
        assert said(f"{GOOD} --explicitBatch", target) == []
        assert said(GOOD + three("x:1x3"), target, X) == []
    assert said(GOOD, "trt-7.2") == []


def test_another_model(tmp_path: Path) -> None:
    assert said("trtexec --onnx=other.onnx --saveEngine=m.trt") == ["warning other-model"]
    assert said("trtexec --onnx=/elsewhere/m.onnx --saveEngine=m.trt") == []
    one, two = tmp_path / "a/m.onnx", tmp_path / "b/m.onnx"
    for path in (one, two):
        path.parent.mkdir()
        path.touch()
    target = load_target("trt-8.6")
    text = f"trtexec --onnx={one} --saveEngine=m.trt"
    assert [f.code for f in lint(text, voxels(), two, target)] == ["other-model"]
    assert lint(text, voxels(), one.parent / "../a/m.onnx", target) == []


@pytest.mark.parametrize("target", ["trt-7.0", "trt-7.2", "trt-8.2", "trt-10.3", "rtx-1.7"])
def test_misspelt_inputs(target: str) -> None:
    program = "tensorrt_rtx" if target == "rtx-1.7" else "trtexec"
    every = found(GOOD.replace("trtexec", program) + three("voxel:3x20x5"), target, voxels(True))
    misspelt = [one for one in every if one.code == "unknown-input"]
    refused = target not in ("trt-7.0", "trt-7.2")
    assert [one.severity for one in misspelt] == ["error" if refused else "warning"] * 3
    assert all(one.mend == "did you mean voxels?" for one in misspelt)
    assert [one.argument for one in every if one.code == "no-shapes"] == [
        "voxels",
        "num_points",
        "coors",
    ]


def test_outputs_have_no_shapes() -> None:
    shapes = "kpts0:1x4x2,kpts1:1x4x2,desc0:1x4x48,desc1:1x4x48,matches0:1x4x2"
    every = found(GOOD + three(shapes), "trt-7.2", keypoints())
    assert {one.code for one in every} == {"unknown-input"}
    assert {one.mend for one in every} == {"it is an output: leave it out"}


def test_wildcards() -> None:
    shapes = "kpts*:1x4x2,desc*:1x4x48"
    assert said(GOOD + three(shapes), "trt-9.0", keypoints()) == []
    assert "error unknown-input" in said(GOOD + three(shapes), "trt-8.6", keypoints())


@pytest.mark.parametrize(
    ("shapes", "code", "message"),
    [
        ("x:3", "rank", "x has 2 dims [N, 3], and 1 sizes are given"),
        ("x:4x4", "fixed-dim", "axis 1 of x is always 3, not 4"),
        ("x:-1x3", "negative", "negative size"),
        ("x:4X3", "bad-shape", "sizes are separated by x"),
        ("x:4*3", "bad-shape", "sizes are separated by x"),
        ("x:[4,3]", "bad-shape", "write numbers separated by x"),
        ("x:", "bad-shape", "no sizes after the colon"),
        ("x", "bad-shape", "write NAME:AxBxC"),
        ("'x:4x3", "bad-shape", "single quote"),
        ("'x'4x3", "bad-shape", "write NAME:AxBxC"),
        ("x:4x3,fixed:2x4", "static-input", "always has the shape [2, 3], not 2x4"),
    ],
)
def test_wrong_shapes(shapes: str, code: str, message: str) -> None:
    quoted = f'"--optShapes={shapes}"'
    every = [one for one in found(f"{GOOD} {quoted}", "trt-8.6", X) if one.severity == "error"]
    assert every and every[0].code == code and message in every[0].message


def test_static_inputs_need_no_shapes() -> None:
    assert said(GOOD + three("x:4x3,fixed:2x3"), "trt-8.6", X) == ["warning static-input"]
    whole = three("voxels:5000x20x5")
    assert said(GOOD + whole, "trt-7.2") == ["error static-model"]
    assert said(GOOD + whole, "trt-7.1") == ["warning static-input"]
    assert said(GOOD + " --shapes=voxels:5000x20x5") == ["error static-model"]


def test_bounds_out_of_order() -> None:
    text = f"{GOOD} --minShapes=x:4x3 --optShapes=x:2x3 --maxShapes=x:8x3"
    one = only(text, "trt-8.6", X)
    assert one.code == "order" and "axis 0: min <= opt <= max must hold, not 4, 2, 8" in one.message


@pytest.mark.parametrize(
    ("target", "given", "expected"),
    [
        ("trt-7.0", "min", "warning"),
        ("trt-7.2", "opt", "warning"),
        ("trt-7.2", "min max", "error"),
        ("trt-8.4", "max", "error"),
        ("trt-8.5", "max", "warning"),
        ("trt-8.6", "min max", "warning"),
        ("trt-11.1", "opt", "warning"),
    ],
)
def test_bounds_that_are_missing(target: str, given: str, expected: str) -> None:
    flags = " ".join(f"--{bound}Shapes=x:4x3" for bound in given.split())
    one = only(f"{GOOD} {flags}", target, X)
    assert (one.severity, one.code) == (expected, "bounds-missing")
    sources = {"min": "min", "opt": "opt", "min max": "max", "max": "max"}
    assert (f"is that of --{sources[given]}Shapes" in one.message) is (expected == "warning")


def test_an_input_that_only_some_bounds_name() -> None:
    text = f"{GOOD} --minShapes=x:4x3 --optShapes=x:4x3,y:4 --maxShapes=x:4x3,y:4"
    one = only(text, "trt-8.6", XY)
    assert one.code == "bound-of-input-missing" and "y is not in --minShapes" in one.message
    assert said(text, "trt-7.0", XY) == []


def test_one_symbol_has_one_size() -> None:
    every = found(GOOD + three("x:4x3,y:5"), "trt-8.6", XY)
    assert [f"{f.severity} {f.code}" for f in every] == [
        "warning symbol",
        "error symbol",
        "warning symbol",
    ]
    assert said(GOOD + three("x:4x3,y:5"), "trt-8.4", XY) == ["warning symbol"] * 3
    assert "--minShapes: N is 4 in x and 5 in y" in every[0].message


def test_dynamic_inputs_without_shapes() -> None:
    every = found(GOOD, "trt-7.2", XY)
    assert [f"{f.severity} {f.code} {f.argument}" for f in every] == [
        "warning no-shapes x",
        "warning no-shapes y",
    ]
    assert "every dynamic dim is 1" in every[0].message


def test_shapes_of_the_inference_build_too() -> None:
    assert said(f"{GOOD} --shapes=x:4x3,y:4", "trt-7.2", XY) == []
    mixed = f"{GOOD} --shapes=y:4{three('x:4x3')}"
    assert said(mixed, "trt-8.6", XY) == []
    assert said(mixed, "trt-7.2", XY) == ["warning no-shapes"]
    outside = only(f"{GOOD} --shapes=x:9x3{three('x:4x3')}", "trt-8.6", X)
    assert (outside.severity, outside.code) == ("error", "outside-profile")


def test_shape_tensors() -> None:
    model = parsed(RESIZED)
    assert said(GOOD + three("x:1x4,size:2x2"), "trt-8.6", model) == []
    assert said(GOOD + three("x:1x4,size:2"), "trt-8.6", model) == ["error value-count"] * 3
    one = only(GOOD + three("x:1x4"), "trt-8.6", model)
    assert one.code == "no-shapes" and "every value is 1" in one.message


def test_several_profiles() -> None:
    two = f"{GOOD} --profile=0{three('x:1x3')} --profile=1{three('x:4x3')}"
    assert said(two, "trt-10.3", X) == []
    assert said(two, "rtx-1.7", X)[:2] == ["error other-program", "warning not-confirmed"]
    old = said(two, "trt-8.6", X)
    assert "error unknown-flag" in old and "error given-twice" in old
    apart = two.replace("--profile=1", "--profile=1 --noTF32")
    assert "error shapes-outside-profile" in said(apart, "trt-10.3", X)
    bare = f"{GOOD} --profile=0 --noTF32"
    assert said(bare, "trt-10.3", X) == ["error profile-empty", "warning no-shapes"]
    assert said(two.replace("=1 ", "=2 "), "trt-10.3", X) == ["error profile-numbers"]
    assert said(two.replace("4x3", "4x4"), "trt-10.3", X) == ["error fixed-dim"] * 3


def test_shapes_given_twice() -> None:
    twice = f"{GOOD}{three('x:1x3')} --minShapes=y:1"
    one = next(f for f in found(twice, "trt-8.6", XY) if f.code == "given-twice")
    assert "separated by commas" in one.mend and "--profile" not in one.mend
    newer = next(f for f in found(twice, "trt-10.3", XY) if f.code == "given-twice")
    assert "--profile=K" in newer.mend
    assert "warning named-twice" in said(GOOD + three("x:1x3,x:2x3"), "trt-8.6", X)


def test_names_with_colons_in_7_0() -> None:
    model = with_inputs({"in:0": ["N", 3]})
    assert said(GOOD + three("in:0:1x3"), "trt-7.1", model) == []
    bad = found(GOOD + three("in:0:1x3"), "trt-7.0", model)[0]
    assert bad.code == "bad-shape" and "write 'in:0':" in bad.message
    assert said(GOOD + three("\\'in:0\\':1x3"), "trt-7.0", model) == []


def test_plugins() -> None:
    model = parsed(PLUGIN)
    assert said(GOOD, "trt-8.6", model) == ["error plugin-library-needed"]
    assert said(f"{GOOD} --plugins=libours.so", "trt-7.2", model) == []
    gone = said(f"{GOOD} --plugins=/nowhere/libours.so", "trt-7.2", model)
    assert gone == ["error plugin-library-missing"]


def test_variables_are_not_guessed() -> None:
    text = "$TRT/trtexec --onnx=$M --saveEngine=$M.trt --minShapes=$S $MORE"
    every = found(text, "trt-8.6", X)
    assert every[0].code == "not-expanded" and "--onnx=$M" in every[0].message
    assert "$MORE" in every[0].message
    assert not any("\0" in str(one) for one in every)
    assert {one.code for one in every} <= {"not-expanded", "bounds-missing", "no-shapes"}


@pytest.mark.parametrize("flag", ["--int8", "--best"])
@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6", "trt-10.3"])
def test_int8_needs_scales(flag: str, target: str) -> None:
    assert said(f"{GOOD} {flag}", target) == ["warning int8-without-scales"]
    assert said(f"{GOOD} {flag} --calib=c.cache", target) == []
    model = parsed(
        '<ir_version: 8, opset_import: ["" : 13]> main (float[2] x) => (float[2] y)'
        " <float s = {0.5}> { q = QuantizeLinear (x, s) y = DequantizeLinear (q, s) }"
    )
    assert said(f"{GOOD} {flag}", target, model) == []


def test_int8_and_fp8() -> None:
    codes = [one.code for one in found(f"{GOOD} --int8 --fp8 --calib=c", "trt-8.6")]
    assert codes == ["int8-and-fp8"]
