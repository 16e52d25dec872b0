"""``onnx-fix split`` and ``onnx-fix run``: exit codes, messages, and what is on disk afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

from onnx_fix.cli import app

POINTS = """<ir_version: 8, opset_import: ["" : 13]>
main (float[A, B] x) => (int64[K, 2] y) <float half = {0.5}> {
  m = Greater (x, half)  [nz] n = NonZero (m)  y = Transpose (n) }"""
FINE = """<ir_version: 8, opset_import: ["" : 11]>
main (float[N] x) => (float[N] y) { [relu] a = Relu (x)  y = Neg (a) }"""


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in args])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path, POINTS)


def write(folder: Path, text: str, name: str = "m.onnx") -> Path:
    path = folder / name
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    return path


def test_split_and_run(model: Path, tmp_path: Path) -> None:
    before = model.read_bytes()
    out = tmp_path / "parts"
    result = run("split", model, "-o", out, "-t", "trt-7.2")
    assert result.exit_code == 0, result.output
    assert f"{model} for trt-7.2: 3 parts" in result.output
    assert "part-1-host.onnx: nz on the host" in result.output
    assert "      m -> n" in result.output
    assert "nothing is left in a part that trt-7.2 is known to refuse" in result.output
    assert "verification: equal to the original in" in result.output
    assert model.read_bytes() == before
    x = np.random.default_rng(0).random((3, 4), dtype=np.float32)
    np.savez(tmp_path / "f.npz", x=x)
    ran = run("run", out, "--inputs", tmp_path / "f.npz", "-o", tmp_path / "r.npz")
    assert ran.exit_code == 0, ran.output
    found = np.load(tmp_path / "r.npz")["y"]
    np.testing.assert_array_equal(found, np.argwhere(x > 0.5))
    assert f"y: int64 [{len(found)}, 2]" in ran.output
    again = run("run", out, "--inputs", tmp_path / "f.npz", "-o", tmp_path / "r.npz")
    assert again.exit_code == 2 and "pass --force" in again.output
    forced = run("run", out, "--inputs", tmp_path / "f.npz", "-o", tmp_path / "r.npz", "-f")
    assert forced.exit_code == 0


def test_verbose_and_quiet(model: Path, tmp_path: Path) -> None:
    result = run("split", model, "-o", tmp_path / "a", "-t", "trt-7.2", "-v")
    assert "out n: int64 [2, nz_count], its size depends on the data" in result.output
    result = run("split", model, "-o", tmp_path / "b", "-t", "trt-7.2", "-q")
    assert result.exit_code == 0 and result.output == ""


def test_what_is_left_gives_exit_code_1(tmp_path: Path) -> None:
    text = POINTS.replace("y = Transpose (n)", "[more] o = NonZero (n)  y = Transpose (o)")
    model = write(tmp_path, text)
    result = run("split", model, "-o", tmp_path / "p", "-t", "trt-7.2", "--at", "more", "-q")
    assert result.exit_code == 1
    assert "1 node is left in part-0-engine.onnx that trt-7.2 refuses" in result.output
    assert (tmp_path / "p" / "manifest.json").exists()


def test_wrong_usage_gives_exit_code_2(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    fine = write(tmp_path, FINE, "fine.onnx")
    for args, said in (
        ((fine, "-o", out, "-t", "trt-7.2"), "there is nothing to cut"),
        ((model, "-o", out, "-t", "trt-7.2", "--at", "mz"), "did you mean"),
        ((model, "-o", tmp_path / "no" / "p", "-t", "trt-7.2"), "there is no such folder"),
        ((model, "-o", out, "-t", "trt-6"), "trt-6"),
        ((tmp_path / "none.onnx", "-o", out, "-t", "trt-7.2"), "there is no such file"),
    ):
        result = run("split", *args)
        assert result.exit_code == 2, result.output
        assert said in result.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fine.onnx", "m.onnx"]


def test_a_folder_is_replaced_with_force_alone(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    assert run("split", model, "-o", out, "-t", "trt-7.2").exit_code == 0
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    refused = run("split", model, "-o", out, "-t", "trt-7.2", "--at", "m")
    assert refused.exit_code == 2 and "not empty; pass --force" in refused.output
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    # The same input gives the same bytes.
    assert run("split", model, "-o", out, "-t", "trt-7.2", "--force").exit_code == 0
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_other_numbers_give_exit_code_3(tmp_path: Path, fixtures: Path) -> None:
    model = fixtures / "superpoint_points.legacy17.onnx"
    result = run("split", model, "-o", tmp_path / "p", "-t", "trt-7.2")
    assert result.exit_code == 3 and "the original does not run" in result.output
    assert list(tmp_path.iterdir()) == []
    unchecked = run("split", model, "-o", tmp_path / "p", "-t", "trt-7.2", "--no-verify")
    assert unchecked.exit_code == 0 and "not verified, as asked" in unchecked.output


def test_run_says_what_is_wrong(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    assert run("split", model, "-o", out, "-t", "trt-7.2").exit_code == 0
    np.savez(tmp_path / "f.npz", z=np.zeros(3))
    for args, said in (
        ((tmp_path, "--inputs", tmp_path / "f.npz"), "onnx-fix split wrote"),
        ((out, "--inputs", tmp_path / "none.npz"), "cannot be read as an npz file"),
        ((out, "--inputs", tmp_path / "f.npz"), "no input 'z'; it has: x"),
        ((out, "--inputs", tmp_path / "f.npz", "--backend", "tensorrt"), "trtexec --onnx="),
        ((out, "--inputs", tmp_path / "f.npz", "--backend", "cuda"), "cuda"),
    ):
        result = run("run", *args, "-o", tmp_path / "r.npz")
        assert result.exit_code == 2, result.output
        assert said in result.output
    assert not (tmp_path / "r.npz").exists()


def test_the_model_named_split_still_takes_the_default_command(tmp_path: Path) -> None:
    """Commands win over files; a path says that a file is meant."""
    write(tmp_path, FINE, "split")
    result = run(tmp_path / "split", "-o", tmp_path / "f.onnx", "-t", "trt-7.2")
    assert result.exit_code == 0, result.output
