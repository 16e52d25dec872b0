"""``onnx-fix trtexec``: what goes where, and the exit codes."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto
from trtexec_models import keypoints, voxels
from typer.testing import CliRunner, Result

from onnx_fix.cli import app

NAMES = ("kpts0", "kpts1", "desc0", "desc1")
SAVE = 'for a; do case "$a" in --saveEngine=*) echo plan > "${a#--saveEngine=}";; esac; done'


def run(*args: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["trtexec", *map(str, args)], input=stdin)


def write(folder: Path, model: ModelProto, name: str = "m.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def static(tmp_path: Path) -> Path:
    return write(tmp_path, voxels())


def script(folder: Path, text: str, name: str = "trtexec") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_command_alone_is_on_standard_output(static: Path) -> None:
    args = ("-t", "trt-7.2", "--fp16", "--workspace", "10240", "--one-line")
    result = run(static, *args)
    assert result.exit_code == 0 and result.stderr == ""
    engine = static.with_suffix(".engine")
    assert result.stdout == (
        f"trtexec --onnx={static} --saveEngine={engine} --fp16 --workspace=10240\n"
    )


def test_notes_are_on_standard_error(static: Path) -> None:
    result = run(static, "-t", "rtx-1.7", "--fp16")
    assert result.exit_code == 1
    assert shlex.split(result.stdout)[0] == "tensorrt_rtx" and "fp16" not in result.stdout
    assert result.stderr.startswith("error: rtx-1.7 has no --fp16: networks are strongly typed")
    assert "modelopt.onnx.autocast" in result.stderr


def test_several_lines_run_in_a_shell(tmp_path: Path) -> None:
    path = write(tmp_path, keypoints(), "key points.onnx")
    result = run(path, "-t", "trt-8.6", "--profile", "N=300:400:512")
    assert result.exit_code == 0 and result.stdout.count("\\\n") == 5
    program = script(tmp_path, f"{SAVE}")
    done = subprocess.run(
        ["sh", "-c", result.stdout], env={"PATH": f"{program.parent}:/usr/bin:/bin"}, check=True
    )
    assert done.returncode == 0 and (tmp_path / "key points.engine").read_text() == "plan\n"


def test_profiles_of_both_kinds(tmp_path: Path) -> None:
    path = write(tmp_path, keypoints())
    by_dim = run(path, "-t", "trt-10.3", "--profile", "N=1", "--profile", "N=300:400:512")
    assert by_dim.exit_code == 0 and by_dim.stdout.count("--profile=") == 2
    missing = run(path, "-t", "trt-10.3")
    assert missing.exit_code == 2 and missing.stdout == "" and "--profile 'N=" in missing.stderr
    wrong = run(path, "-t", "trt-10.3", "--profile", "M=3")
    assert wrong.exit_code == 2 and "M" in wrong.stderr


def test_shapes_from_a_pipeline_file_and_from_samples(tmp_path: Path) -> None:
    path = write(tmp_path, keypoints())
    file = tmp_path / "p.yaml"
    file.write_text("target: trt-8.6\ndims:\n  N: {min: 300, opt: 400, max: 512}\n")
    expected = run(path, "-t", "trt-8.6", "-p", "N=300:400:512").stdout
    assert "--maxShapes=kpts0:1x512x2," in expected
    assert run(path, "-c", file).stdout == expected
    assert run(path, "-t", "trt-8.6", "-p", f"@{file}").stdout == expected
    samples = tmp_path / "samples"
    samples.mkdir()
    for n in (300, 400, 512):
        feed: dict[str, Any] = {
            name: np.zeros((1, n, 2 if name[0] == "k" else 48), np.float32) for name in NAMES
        }
        np.savez(samples / f"{n}.npz", **feed)
    seen = run(path, "-t", "trt-8.6", "--inputs", samples)
    assert seen.stdout == expected and "3 samples" in seen.stderr


def test_options_of_trtexec_after_two_dashes(static: Path) -> None:
    result = run(static, "-t", "trt-8.6", "--one-line", "--", "--noTF32", "--refit")
    assert result.exit_code == 0 and result.stdout.rstrip().endswith("--noTF32 --refit")
    unknown = run(static, "-t", "trt-8.6", "--", "--noTF23")
    assert unknown.exit_code == 1 and "did you mean --noTF32?" in unknown.stderr
    second = run(static, "other.onnx", "-t", "trt-8.6")
    assert second.exit_code == 2 and "'other.onnx' is no option" in second.stderr


def test_json(static: Path) -> None:
    result = run(static, "-t", "trt-11.0", "--best", "--format", "json")
    data = json.loads(result.stdout)
    assert data["program"] == "trtexec" and data["arguments"][0] == f"--onnx={static}"
    assert shlex.split(data["text"]) == [data["program"], *data["arguments"]]
    assert data["notes"][0]["code"] == "precision-of-the-model" and result.exit_code == 1
    lint = run(static, "-t", "trt-11.0", "--lint", "trtexec --fp16", "--format", "json")
    assert {one["code"] for one in json.loads(lint.stdout)} == {
        "precision-of-the-model",
        "no-model",
    }


def test_lint(static: Path) -> None:
    good = f"trtexec --onnx={static} --saveEngine=m.trt --workspace=10"
    assert run(static, "-t", "trt-7.2", "--lint", good).stdout == (
        "nothing is wrong with it at trt-7.2\n"
    )
    noted = run(static, "-t", "trt-8.6", "--lint", good)
    assert noted.exit_code == 0 and noted.stdout.startswith("note: --workspace is deprecated")
    bad = run(static, "-t", "trt-10.3", "--lint", good)
    assert bad.exit_code == 1 and "write --memPoolSize=workspace:N" in bad.stdout
    piped = run(static, "-t", "trt-10.3", "--lint", "-", stdin=good)
    assert piped.stdout == bad.stdout and piped.exit_code == 1
    assert run(static, "-t", "trt-10.3", "--lint", "echo").exit_code == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--format", "yaml"), "choose human or json"),
        (("--run", "--lint", "trtexec"), "one of the two"),
        (("--fp16", "--lint", "trtexec"), "give no options of it"),
        (("--profile", "N=1", "--lint", "trtexec"), "give no options of it"),
        (("--run", "--format", "json"), "streams a log"),
        (("--trtexec", "x"), "--trtexec is for --run"),
        (("--log", "x"), "--log is for --run"),
        (("-t", "trt-6.0"), "no target"),
    ],
)
def test_wrong_usage(static: Path, args: tuple[str, ...], said: str) -> None:
    result = run(static, *(("-t", "trt-8.6") if "-t" not in args else ()), *args)
    assert result.exit_code == 2 and said in result.stderr and result.stdout == ""


def test_no_model(tmp_path: Path) -> None:
    result = run(tmp_path / "none.onnx", "-t", "trt-8.6")
    assert result.exit_code == 2 and "there is no such file" in result.stderr


BANNER = 'echo "&&&& RUNNING TensorRT.trtexec [TensorRT v{}] # trtexec $*"'


def test_run(static: Path, tmp_path: Path) -> None:
    script(tmp_path, f"{BANNER.format(8601)}\n{SAVE}")
    log = tmp_path / "build.log"
    args = (static, "-t", "trt-8.6", "--run", "--trtexec", tmp_path, "--log", log)
    result = run(*args)
    assert result.exit_code == 0, result.output
    assert result.stdout == log.read_text() and "RUNNING TensorRT.trtexec" in result.stdout
    assert "trtexec \\\n" in result.stderr or "trtexec --onnx=" in result.stderr
    assert f"the engine is {static.with_suffix('.engine')}" in result.stderr


def test_run_that_fails(static: Path, tmp_path: Path) -> None:
    error = '[E] Cannot find input tensor with name "voxel" in the network inputs!'
    script(tmp_path, f"{BANNER.format(100300)}\necho '{error}'\nexit 1")
    result = run(static, "-t", "trt-8.6", "--run", "--trtexec", tmp_path)
    assert result.exit_code == 1 and error in result.stdout
    assert "warning: this is the program of trt-10.3" in result.stderr
    assert "ended with exit code 1, and no engine was written" in result.stderr
    assert "do: " in result.stdout


def test_what_is_not_sound_is_not_run(static: Path, tmp_path: Path) -> None:
    script(tmp_path, f"touch '{tmp_path}/ran'")
    result = run(static, "-t", "trt-11.0", "--fp16", "--run", "--trtexec", tmp_path)
    assert result.exit_code == 1 and "was not run" in result.stderr
    assert not (tmp_path / "ran").exists()


def test_run_without_a_program(static: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    result = run(static, "-t", "trt-8.6", "--run")
    assert result.exit_code == 2 and "trtexec is not on PATH" in result.stderr
