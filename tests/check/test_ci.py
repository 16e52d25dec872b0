"""What CI uses: the hook of pre-commit, and a baseline from the first run to a stale line."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import onnx
import pytest
import yaml
from typer.testing import CliRunner, Result

from onnx_fix.cli import app

ROOT = Path(__file__).parents[2]

REFUSED = """<ir_version: 8, opset_import: ["" : 13]>
g (float[2,3] x, float[3,4] y) => (float[2,4] z) { z = Einsum <equation = "ij,jk->ik"> (x, y) }"""
TAKEN = (
    """<ir_version: 8, opset_import: ["" : 13]> g (float[2] x) => (float[2] y) { y = Relu(x) }"""
)


def write(path: Path, text: str) -> Path:
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    return path


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_hook_of_pre_commit_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["id"] == "onnx-fix-check" and hook["language"] == "python"
    assert re.search(hook["files"], "models/m.onnx")
    assert not re.search(hook["files"], "models/m.onnx.json")
    monkeypatch.chdir(tmp_path)
    bad, good = write(Path("bad.onnx"), REFUSED), write(Path("good.onnx"), TAKEN)
    program, *entry = shlex.split(hook["entry"])
    assert program == "onnx-fix"
    done = call(*entry, "--target", "trt-7.2", bad, good)
    assert done.exit_code == 1, done.output
    assert "bad.onnx for trt-7.2: blocked" in done.output
    assert "good.onnx for trt-7.2: ready" in done.output
    assert call(*entry, "--target", "trt-7.2", good).exit_code == 0


def test_a_baseline_from_first_to_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = write(Path("m.onnx"), REFUSED)
    check = ("check", model, "--target", "trt-7.2", "--live", "off")
    assert call(*check).exit_code == 1
    assert call(*check, "--write-baseline", "accepted.txt").exit_code == 0
    text = Path("accepted.txt").read_text()
    assert "[m.onnx for trt-7.2]\n" in text and "error OF101 :z" in text

    done = call(*check, "--baseline", "accepted.txt")
    assert done.exit_code == 0 and "accepted by the baseline" in done.output
    assert "no longer" not in done.output and "not found any more" not in done.output
    again = call(*check, "--baseline", "accepted.txt", "--write-baseline", "accepted.txt")
    assert again.exit_code == 0 and Path("accepted.txt").read_text() == text

    # What select leaves out is not mended.
    narrow = call(*check, "--baseline", "accepted.txt", "--select", "OF8")
    assert "not found any more" not in narrow.output

    write(model, TAKEN)
    mended = call(*check, "--baseline", "accepted.txt", "--format", "json")
    assert mended.exit_code == 0
    [only] = json.loads(mended.stdout)["models"]
    assert any(line.startswith("error OF101 :z") for line in only["stale"])

    Path("accepted.txt").write_text(text.replace("error OF101", "oops OF101"))
    broken = call(*check, "--baseline", "accepted.txt")
    assert broken.exit_code == 2
    line = text[: text.index("error OF101")].count("\n") + 1
    assert f"accepted.txt:{line}: 'oops' is no severity" in broken.output


@pytest.mark.parametrize("form", ["json", "sarif"])
def test_the_forms_for_programs_are_alone_on_standard_output(tmp_path: Path, form: str) -> None:
    model = write(tmp_path / "m.onnx", REFUSED)
    done = call("check", model, "--target", "trt-7.2", "--live", "off", "--format", form)
    assert done.exit_code == 1
    json.loads(done.stdout)
