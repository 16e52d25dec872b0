"""``onnx-fix profile``: what it prints, and what it ends with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

from onnx_fix.cli import app
from onnx_fix.errors import UsageError
from onnx_fix.pipeline import read_pipeline
from onnx_fix.profiles import parse_profile, profile_from
from onnx_fix.profiles.collect import collect, profiles_yaml

FINE = """<ir_version: 8, opset_import: ["" : 13]>
g (float[B, N] x, float[N] w) => (float[B, N] y) { y = Add (x, w) }"""
EIGHTS = """<ir_version: 8, opset_import: ["" : 13]>
g (float[N] x) => (float[A, B] y)
{ s = Constant <value_ints = [-1, 8]> ()  [cut] y = Reshape (x, s) }"""
SHAPED = """<ir_version: 8, opset_import: ["" : 13]>
g (float[N] x, int64[2] s) => (float[A, B] y) { y = Reshape (x, s) }"""


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise UsageError("nothing is installed")

    monkeypatch.setattr("onnx_fix.target.detect.installed_target", refuse)


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["profile", *(str(a) for a in args)])


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    return path


def test_a_profile_that_works(tmp_path: Path) -> None:
    result = run(write(tmp_path, FINE), "-p", "B=1:1:2,N=4:8:16")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert ["N", "4", "8", "16"] in lines
    assert ["x", "(shape)", "1x4", "1x8", "2x16"] in lines
    assert "note: the largest tensor at max is " in result.output
    assert run(write(tmp_path, FINE), "-p", "B=1,N=4:8:16", "--quiet").output == ""


def test_a_profile_that_cannot_work(tmp_path: Path) -> None:
    path = write(tmp_path, EIGHTS)
    result = run(path, "-p", "N=8:16:32", "-p", "N=9:16:32")
    assert result.exit_code == 1
    assert "profile 0" in result.output and "profile 1" in result.output
    assert "warning: Reshape cut: " in result.output and "error: Reshape cut: " in result.output
    assert "N must be a multiple of 8" in result.output and "mend: set N=16:16:32" in result.output
    assert run(path, "-p", "N=8:16:32").exit_code == 0


@pytest.mark.parametrize(
    ("args", "what"),
    [
        ((), "no range is given for B (of x), N (of x, w)"),
        (("-p", "B=1"), "no range is given for N"),
        (("-p", "B=1", "-p", "N=4:8:16"), "one with all of these is\n  B=1,N=4:8:16"),
        (("-p", "B=1,N=4:2:1"), "min <= opt <= max"),
        (("-p", "B=1,n=4"), "did you mean N?"),
        (("-p", "nowhere.yaml"), "no such file"),
        (("--inputs", "nowhere"), "no such folder"),
        (("-p", "B=1,N=4", "-t", "trt-x"), "trt-x"),
    ],
)
def test_wrong_usage(tmp_path: Path, args: tuple[str, ...], what: str) -> None:
    result = run(write(tmp_path, FINE), *args)
    assert result.exit_code == 2 and what in result.output


def test_samples_fill_in_and_yaml_reads_back(tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    folder.mkdir()
    for n in (4, 6, 9):
        arrays = {"x": np.zeros((1, n), np.float32), "w": np.zeros(n, np.float32)}
        np.savez(folder / f"{n}.npz", **arrays)  # type: ignore[arg-type]
    path = write(tmp_path, FINE)
    result = run(path, "--inputs", folder, "-p", "B=1:2:4", "--yaml")
    assert result.exit_code == 0, result.output
    assert result.stdout == "dims:\n  B: {min: 1, opt: 2, max: 4}\n  N: {min: 4, opt: 6, max: 9}\n"
    assert "3 samples" in result.stderr and "largest tensor" in result.stderr
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text(result.stdout)
    again = run(path, "-c", pipeline, "--yaml", "--no-run")
    assert again.exit_code == 0 and again.stdout == result.stdout
    assert "it was not run: as asked" in again.stderr


def test_several_profiles_with_values_read_back(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(SHAPED)
    texts = ("N=4:16:64,s=[2,2]:[4,4]:[8,8]", "N=6,s=[2,3]")
    profiles = collect(model, texts).profiles
    assert [profile_from(model, parse_profile(t)) for t in texts] == list(profiles)
    path = tmp_path / "p.yaml"
    path.write_text(profiles_yaml(model, profiles))
    assert path.read_text().startswith("profiles:\n- N: {min: 4, opt: 16, max: 64}\n")
    assert collect(model, (), read_pipeline(path)).profiles == profiles
    assert collect(model, (str(path),)).profiles == profiles
    assert collect(model, ("N=6,s=[2,3]",), read_pipeline(path)).profiles == profiles[1:]


def test_a_static_model_needs_no_profile(tmp_path: Path) -> None:
    text = FINE.replace("B, N", "2, 3").replace("float[N]", "float[3]")
    result = run(write(tmp_path, text), "--yaml")
    assert result.exit_code == 0 and result.stdout == ""
    assert "no input is dynamic" in result.stderr
