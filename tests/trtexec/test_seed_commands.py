"""The command lines that this project began with, from models with those inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import ModelProto
from trtexec_models import keypoints, voxels

from onnx_fix.profiles import Profile, parse_profile, profile_from
from onnx_fix.target import load_target
from onnx_fix.trtexec import Command, Options, command

PATH = Path("m.onnx")
ENGINE = "--onnx=m.onnx --saveEngine=m.trt"


def profile(model: ModelProto, text: str) -> Profile:
    return profile_from(model, parse_profile(text))


def made(target: str, model: ModelProto, *texts: str, **more: object) -> Command:
    options = Options(output=Path("m.trt"), **more)  # type: ignore[arg-type]
    return command(model, PATH, load_target(target), [profile(model, t) for t in texts], options)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("trt-7.2", f"trtexec {ENGINE} --fp16 --workspace=10240"),
        ("trt-8.6", f"trtexec {ENGINE} --fp16 --memPoolSize=workspace:10240"),
        ("trt-10.3", f"trtexec {ENGINE} --fp16 --memPoolSize=workspace:10240"),
        ("trt-11.0", f"trtexec {ENGINE} --memPoolSize=workspace:10240"),
        ("trt-11.5", f"trtexec {ENGINE} --memPoolSize=workspace:10240"),
        ("rtx-1.7", f"tensorrt_rtx {ENGINE} --memPoolSize=workspace:10240"),
    ],
)
def test_static(target: str, expected: str) -> None:
    found = made(target, voxels(), precisions=("--fp16",), workspace=10240)
    assert found.text(one_line=True) == expected
    typed = target in ("trt-11.0", "trt-11.5", "rtx-1.7")
    assert [note.code for note in found.notes] == ["precision-of-the-model"] * typed
    assert found.sound is not typed
    if typed:
        assert "modelopt.onnx.autocast" in found.notes[0].mend


@pytest.mark.parametrize(
    ("target", "start"),
    [
        ("trt-7.0", f"trtexec {ENGINE} --explicitBatch"),
        ("trt-7.2", f"trtexec {ENGINE} --explicitBatch"),
        ("trt-8.6", f"trtexec {ENGINE}"),
        ("trt-10.3", f"trtexec {ENGINE}"),
        ("trt-11.1", f"trtexec {ENGINE}"),
        ("rtx-1.7", f"tensorrt_rtx {ENGINE}"),
    ],
)
def test_dynamic_voxels(target: str, start: str) -> None:
    found = made(target, voxels(dynamic=True), "V=100:5000:5000")
    assert found.text(one_line=True) == (
        f"{start} --minShapes=voxels:100x20x5,num_points:100,coors:100x4"
        " --optShapes=voxels:5000x20x5,num_points:5000,coors:5000x4"
        " --maxShapes=voxels:5000x20x5,num_points:5000,coors:5000x4"
    )
    assert found.notes == ()


@pytest.mark.parametrize("target", ["trt-7.2", "trt-8.6", "trt-10.3", "trt-11.1", "rtx-1.7"])
@pytest.mark.parametrize(
    "text",
    [
        "N=300:400:512",
        "kpts0=1x300x2:1x400x2:1x512x2,kpts1=1x300x2:1x400x2:1x512x2,"
        "desc0=1x300x48:1x400x48:1x512x48,desc1=1x300x48:1x400x48:1x512x48",
    ],
    ids=["symbol", "inputs"],
)
def test_dynamic_keypoints(target: str, text: str) -> None:
    found = made(target, keypoints(), text)
    assert [a for a in found.arguments if "Shapes" in a] == [
        f"--{bound}Shapes=kpts0:1x{n}x2,kpts1:1x{n}x2,desc0:1x{n}x48,desc1:1x{n}x48"
        for bound, n in (("min", 300), ("opt", 400), ("max", 512))
    ]
    assert found.notes == ()


def test_long_commands_stand_on_several_lines() -> None:
    found = made("trt-7.2", voxels(dynamic=True), "V=5000")
    assert found.text() == (
        "trtexec \\\n    --onnx=m.onnx \\\n    --saveEngine=m.trt \\\n    --explicitBatch \\\n"
        "    --minShapes=voxels:5000x20x5,num_points:5000,coors:5000x4 \\\n"
        "    --optShapes=voxels:5000x20x5,num_points:5000,coors:5000x4 \\\n"
        "    --maxShapes=voxels:5000x20x5,num_points:5000,coors:5000x4"
    )
