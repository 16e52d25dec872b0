"""``onnx-fix build`` and ``--engine``: exit codes, messages, and what is on disk afterwards."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from typer.testing import CliRunner, Result

from onnx_fix.building import builders as builders_module
from onnx_fix.building import run as run_module
from onnx_fix.building.result import Progress
from onnx_fix.cli import app
from onnx_fix.render_build import PLAIN_EVERY, _Lines, show_progress, size_of

RTX = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt_rtx is not installed (extra `rtx`)",
)
HEAD = '<ir_version: 8, opset_import: ["" : 17]> '
TINY = "g (float[N,4] x) => (float[N,4] y) { y = Softmax(x) }"
EINSUM = 'g (float[B,4] x) => (float[B] y) { y = Einsum<equation = "Bi->B">(x) }'


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in args])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path)


def write(tmp_path: Path, text: str = TINY) -> Path:
    path = tmp_path / "m.onnx"
    onnx.save(onnx.parser.parse_model(HEAD + text), path)
    return path


def left(tmp_path: Path) -> set[str]:
    return set(os.listdir(tmp_path))


def stand_in(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Another builder in the place of whatever this machine has."""
    builder = builders_module.Builder("tensorrt_rtx", "1.7.1")
    monkeypatch.setattr(builders_module, "installed_builders", lambda: iter([builder]))
    head = (
        "import json, os, sys, time; request = json.load(sys.stdin)\n"
        "def say(event, **facts): print(json.dumps({'event': event, **facts}), flush=True)\n"
        "def at(stage): open(request['progress'], 'r+b').write(stage.encode() + b'\\n9\\n\\0')\n"
    )
    defaults: Any = run_module.build.__kwdefaults__
    monkeypatch.setitem(defaults, "worker", (sys.executable, "-c", head + script))


WRITTEN = (
    "say('parsed', ok=True, errors=[], layers=['a'] if request['name_layers'] else [])\n"
    "say('built', ok=True, notes=[], seconds=1)\n"
    "if request['engine']: open(request['engine'], 'w').write('e'); say('written', size=1)"
)


@RTX
@pytest.mark.rtx
def test_an_engine_for_several_gpus(tmp_path: Path, model: Path) -> None:
    engine, report = tmp_path / "e.plan", tmp_path / "r.json"
    told = ["--profile", "N=1:4:8", "--compute-capability", "8.6", "8.9", "--report", report]
    result = run("build", model, "-o", engine, *told)
    assert result.exit_code == 0, result.output
    assert "e.plan for rtx-1.7" in result.stdout and "profile: x=1x4:4x4:8x4" in result.stdout
    record = json.loads((tmp_path / "e.plan.json").read_text())
    assert record["settings"]["compute_capabilities"] == ["8.6", "8.9"]
    assert json.loads(report.read_text()) == record
    assert left(tmp_path) == {"m.onnx", "e.plan", "e.plan.json", "r.json"}


@RTX
@pytest.mark.rtx
def test_the_command_in_the_record_repeats_the_build(tmp_path: Path, model: Path) -> None:
    engine = tmp_path / "e.plan"
    options = ["--profile", "N=1:4:8", "--compute-capability", "8.6,12.0", "--workspace", "64"]
    assert run("build", model, "-o", engine, *options).exit_code == 0
    first = json.loads((tmp_path / "e.plan.json").read_text())
    assert run(*first["command"][1:]).exit_code == 2  # the engine is there
    assert run(*first["command"][1:], "--force").exit_code == 0
    again = json.loads((tmp_path / "e.plan.json").read_text())
    for key in ("model", "profiles", "settings", "command", "precision", "builder", "target"):
        assert again[key] == first[key]
    assert shlex.split(shlex.join(first["command"])) == first["command"]


@RTX
@pytest.mark.rtx
def test_the_whole_road_in_one_command(tmp_path: Path) -> None:
    model = write(tmp_path, EINSUM)
    fixed, engine, report = tmp_path / "f.onnx", tmp_path / "e.plan", tmp_path / "r.json"
    result = run(
        *(model, "-o", fixed, "--engine", engine, "--target", "auto", "--profile", "B=1:4:8"),
        *("--compute-capability", "8.6", "8.9", "--report", report),
    )
    assert result.exit_code == 0, result.output
    assert run("check", model, "--target", "rtx-1.7", "--live", "off").exit_code == 1
    assert run("check", fixed, "--target", "rtx-1.7", "--live", "off").exit_code == 0
    assert left(tmp_path) == {"m.onnx", "f.onnx", "e.plan", "e.plan.json", "r.json"}
    said = json.loads(report.read_text())
    assert said["engine"]["status"] == "built" and said["changes"]
    record = json.loads((tmp_path / "e.plan.json").read_text())
    assert record["model"]["path"] == str(fixed)


@RTX
@pytest.mark.rtx
def test_dims_that_become_dynamic_on_the_road(tmp_path: Path) -> None:
    model = write(tmp_path, "g (float[5,4] x) => (float[5,4] y) { y = Softmax(x) }")
    result = run(
        *(model, "-o", tmp_path / "f.onnx", "--dynamic", "x:0=N", "-t", "auto"),
        *("--engine", tmp_path / "e.plan", "--profile", "N=1:4:8"),
    )
    assert result.exit_code == 0, result.output
    assert "N=8" in result.output  # the fixed model ran there
    record = json.loads((tmp_path / "e.plan.json").read_text())
    assert record["profiles"][0][0]["max"] == [8, 4]


@RTX
@pytest.mark.rtx
def test_the_ranges_of_a_pipeline_file_are_the_profile(tmp_path: Path, model: Path) -> None:
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text(
        "version: 1\ntarget: rtx-1.7\npasses: []\ndims: {N: {min: 2, opt: 3, max: 4}}"
    )
    result = run(model, "-o", tmp_path / "f.onnx", "-c", pipeline, "--engine", tmp_path / "e.plan")
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "e.plan.json").read_text())
    assert record["profiles"][0][0]["max"] == [4, 4]


@RTX
@pytest.mark.rtx
@pytest.mark.parametrize("road", [False, True])
def test_samples_make_the_profile(tmp_path: Path, model: Path, road: bool) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    for n in (2, 5, 9):
        np.savez(samples / f"{n}.npz", x=np.ones((n, 4), np.float32))
    told = ("-o", tmp_path / "f.onnx", "--engine", tmp_path / "e.plan", "-t", "auto")
    command = (model, *told) if road else ("build", model, "-o", tmp_path / "e.plan")
    result = run(*command, "--inputs", samples)
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "e.plan.json").read_text())
    (entry,) = record["profiles"][0]
    assert [entry[k] for k in ("min", "opt", "max")] == [[2, 4], [5, 4], [9, 4]]


@RTX
@pytest.mark.rtx
def test_a_refusal_keeps_the_fixed_model(tmp_path: Path) -> None:
    model = write(tmp_path, "g (float[N,4] x) => (float[3,M] y) {s = Constant<value_ints=[3,-1]>() "
                  "y = Reshape(x, s)}")  # fmt: skip
    result = run(
        model, "-o", tmp_path / "f.onnx", "--engine", tmp_path / "e.plan", "--profile", "N=4:5:7"
    )
    assert result.exit_code == 1
    assert "does not work out" in result.output and "f.onnx is written, and no" in result.output
    assert left(tmp_path) == {"m.onnx", "f.onnx"}


@RTX
@pytest.mark.rtx
def test_fp16_is_not_ignored(tmp_path: Path, model: Path) -> None:
    result = run("build", model, "-o", tmp_path / "e.plan", "--profile", "N=1:2:3", "--fp16")
    assert result.exit_code == 2 and "Convert the model itself to fp16" in result.output
    assert left(tmp_path) == {"m.onnx"}


def test_what_is_missing_is_found_before_anything_is_built(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, "os.abort()")
    engine = tmp_path / "e.plan"
    for told, words in (
        ((), "N"),
        (("--profile", "M=1:2:3"), "no dim or input called 'M'"),
        (("--profile", "N=3:2:1"), "min <= opt <= max"),
        (("--profile", "N=1:2:3", "--target", "trt-8.6"), "built by that very release"),
        (("--profile", "N=1:2:3", "--workspace", "much"), "--workspace"),
        (("--profile", "N=1:2:3", "--fp16", "--precision", "bf16"), "contradict"),
        (("--profile", "N=1:2:3", "--precision", "int8"), "choose as-is"),
        (("--profile", "N=1:2:3", "--compute-capability", "sm86"), "8.6"),
        (("--profile", "N=1:2:3", "--timing-cache", "/no/such/folder/c"), "timing cache"),
    ):
        result = run("build", model, "-o", engine, *told)
        assert result.exit_code == 2 and words in result.output, result.output
    assert run("build", model, "-o", tmp_path / "no" / "e.plan").exit_code == 2
    assert run("build", tmp_path / "no.onnx", "-o", engine).exit_code == 2
    for told in (
        ("--profile", "N=1:2:3"),
        ("--precision", "fp16"),
        ("--compute-capability", "8.6"),
    ):
        result = run(model, "-o", tmp_path / "f.onnx", *told)
        assert result.exit_code == 2 and "--engine" in result.output
    for told in ((), ("--target", "trt-8.6", "--profile", "N=1:2:3"), ("--profile", "M=1:2:3")):
        result = run(model, "-o", tmp_path / "f.onnx", "--engine", engine, *told)
        assert result.exit_code == 2, result.output
    both = ("--engine", tmp_path / "f.onnx", "--profile", "N=1:2:3")
    assert run(model, "-o", tmp_path / "f.onnx", *both).exit_code == 2
    assert left(tmp_path) == {"m.onnx"}


def test_a_crash_has_its_own_exit_code_and_leaves_the_report(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, "at('building'); os._exit(9)")
    report = tmp_path / "r.json"
    told = ("-o", tmp_path / "e.plan", "--profile", "N=1:2:3", "--report", report)
    result = run("build", model, *told)
    assert result.exit_code == 5 and "exit code 9 while building" in result.output
    assert left(tmp_path) == {"m.onnx", "r.json"}
    assert json.loads(report.read_text())["status"] == "died"
    road = (model, "-o", tmp_path / "f.onnx", "--engine", tmp_path / "e.plan", "--report", report)
    result = run(*road, "--profile", "N=1:2:3")
    assert result.exit_code == 5
    assert left(tmp_path) == {"m.onnx", "f.onnx", "r.json"}
    assert json.loads(report.read_text())["engine"]["status"] == "died"


def test_an_interruption_keeps_the_fixed_model(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, WRITTEN)

    def interrupt(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("onnx_fix.building.attempt.run_limited", interrupt)
    road = (model, "-o", tmp_path / "f.onnx", "--engine", tmp_path / "e.plan")
    result = run(*road, "--profile", "N=1:2:3")
    assert result.exit_code == 130 and "f.onnx is written, and no engine" in result.output
    assert left(tmp_path) == {"m.onnx", "f.onnx"}


def test_ranges_that_do_not_suit_the_fixed_model(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --freeze the inputs are those of the fixed model, so that it shows only then."""
    stand_in(monkeypatch, WRITTEN)
    model = write(tmp_path, "g (float[N] x, float[N] k) => (float[N] y) { y = Add(x, k) }")
    road = (model, "-o", tmp_path / "f.onnx", "--engine", tmp_path / "e.plan")
    result = run(*road, "--freeze", "k=[1,2]", "--profile", "k=1:2:3", "--no-verify")
    assert result.exit_code == 2
    assert "called 'k'" in result.output and "f.onnx is written, and no engine" in result.output
    assert left(tmp_path) == {"m.onnx", "f.onnx"}


def test_fp32_in_the_place_of_fp16_is_said_even_when_quiet(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "at('building')\nif request['precision'] == 'fp16': os._exit(9)\n" + WRITTEN
    stand_in(monkeypatch, script)
    told = ("-o", tmp_path / "e.plan", "--profile", "N=1:2:3", "--fp16", "--quiet")
    result = run("build", model, *told)
    assert result.exit_code == 0
    assert "not fp16" in result.output and "exit code 9 while building" in result.output
    assert "built in fp32" in result.output and "fp16 fails at a" not in result.output


def test_quiet_says_nothing_of_what_went_well(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, WRITTEN)
    result = run("build", model, "-o", tmp_path / "e.plan", "--profile", "N=1:2:3", "--quiet")
    assert result.exit_code == 0 and result.output == ""


def test_progress_in_plain_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("onnx_fix.render_build.time.monotonic", lambda: now)
    tell = _Lines()
    for step in range(5):
        tell(Progress("Building engine", step, 6, 0))
    tell(Progress("Timing", 0, 9, 1))
    tell(Progress("inner", 0, 9, 2))
    now = PLAIN_EVERY
    tell(Progress("Timing", 5, 9, 1))
    tell(Progress("Timing", 9, 9, 1, done=True))
    said = capsys.readouterr()
    assert said.err.splitlines() == ["Building engine", "  Timing", "  Timing: 5 of 9"]
    assert said.out == ""
    with show_progress(quiet=True) as nothing:
        assert nothing is None


def test_progress_in_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with show_progress(quiet=False) as tell:
        assert tell is not None and not isinstance(tell, _Lines)
        for event in (
            Progress("Building engine", 0, 6, 0),
            Progress("[Timing]", 0, 9, 1),
            Progress("inner", 3, 9, 2),
            Progress("[Timing]", 5, 9, 1),
            Progress("Other", 0, 3, 1),
            Progress("inner", 9, 9, 2, done=True),
            Progress("Building engine", 6, 6, 0, done=True),
        ):
            tell(event)


def test_sizes_in_words() -> None:
    assert [size_of(n) for n in (5, 2048, 3 * 2**20, 5 * 2**29)] == [
        "5 bytes",
        "2.0 KiB",
        "3.0 MiB",
        "2.5 GiB",
    ]


@RTX
@pytest.mark.rtx
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["superglue.legacy17", "lightglue.dynamo18", "point_matcher.legacy17"]
)
def test_from_a_frozen_export_to_an_engine(tmp_path: Path, fixtures: Path, name: str) -> None:
    """One command makes the dims dynamic, fixes the graph, and builds."""
    frozen = fixtures / "frozen"
    sidecar = json.loads((frozen / f"{name}.free.onnx.json").read_text())
    dynamic = {
        f"{tensor}:{axis}": size
        for tensor, facts in sidecar["inputs"].items()
        for axis, size in enumerate(facts["shape"])
        if isinstance(size, str)
    }
    told = [word for place, s in dynamic.items() for word in ("--dynamic", f"{place}={s}")]
    ranges = ",".join(f"{symbol}=16:64:128" for symbol in dict.fromkeys(dynamic.values()))
    result = run(
        *(frozen / f"{name}.a.onnx", "--also", frozen / f"{name}.b.onnx", *told),
        *("-o", tmp_path / "f.onnx", "--engine", tmp_path / "e.plan", "--target", "auto"),
        *("--profile", ranges, "--compute-capability", "8.6", "8.9"),
    )
    assert result.exit_code == 0, result.output
    assert "=128" in result.output  # the fixed model ran at the largest size
    record = json.loads((tmp_path / "e.plan.json").read_text())
    assert record["status"] == "built" and record["engine"]["bytes"] > 10**6
    entries = {entry["name"]: entry for entry in record["profiles"][0]}
    for place in dynamic:
        tensor, _, axis = place.rpartition(":")
        sizes = [entries[tensor][k][int(axis)] for k in ("min", "opt", "max")]
        assert sizes == [16, 64, 128]
