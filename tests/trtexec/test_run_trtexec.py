"""``--run``: a script stands in for the program, which needs a GPU; its logs are like real ones."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from trtexec_models import voxels

from onnx_fix.errors import UsageError
from onnx_fix.explain import explain_log
from onnx_fix.model import Model
from onnx_fix.target import load_target
from onnx_fix.target.data import read
from onnx_fix.trtexec import Command, Options, command, find_program, run
from onnx_fix.trtexec.running import ended

TARGET = load_target("trt-8.6")
BANNER = 'echo "&&&& RUNNING TensorRT.trtexec [TensorRT v8601] # trtexec $*"'
SAVE = 'for a; do case "$a" in --saveEngine=*) echo plan > "${a#--saveEngine=}";; esac; done'
FAILS = f"""{BANNER}
echo '[11/23/2026-16:00:00] [I] === Model Options ==='
echo '[11/23/2026-16:00:01] [E] [TRT] ModelImporter.cpp:732: --- Begin node ---' >&2
echo '[11/23/2026-16:00:01] [E] Cannot find input tensor with name "voxel" in the network inputs!'
echo '[11/23/2026-16:00:02] [E] Engine set up failed'
echo "&&&& FAILED TensorRT.trtexec [TensorRT v8601] # trtexec $*"
exit 1"""


def script(folder: Path, text: str, name: str = "trtexec") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def made(folder: Path) -> Command:
    options = Options(output=folder / "m.engine")
    return command(voxels(), folder / "m.onnx", TARGET, (), options)


def test_a_run_that_builds(tmp_path: Path) -> None:
    program = script(tmp_path, f"{BANNER}\n{SAVE}\necho built\nread line || echo no input")
    lines: list[str] = []
    ran = run(made(tmp_path), str(program), lines.append, target=TARGET)
    assert ran.ok and ran.exit_code == 0 and ran.explanations == ()
    assert lines[1:] == ["built\n", "no input\n"] and "".join(lines) == ran.log
    assert f"--onnx={tmp_path}/m.onnx --saveEngine={tmp_path}/m.engine" in lines[0]
    assert ran.says is not None and ran.says.release == "8.6"


def test_a_run_that_fails_is_explained(tmp_path: Path) -> None:
    program = script(tmp_path, FAILS)
    model = Model(voxels(), tmp_path, TARGET)
    ran = run(made(tmp_path), str(program), lambda _line: None, model=model, target=TARGET)
    assert not ran.ok and ran.exit_code == 1 and not ran.wrote
    known = [e for e in ran.explanations if e.kind == "line"]
    assert [e.subjects for e in known] == [("voxel",)] and "no input" in known[0].why
    assert "--- Begin node ---" in ran.log, "standard error belongs to the log"


@pytest.mark.parametrize("entry", read("trtexec")["behaviour"], ids=lambda e: str(e["id"]))
def test_what_ends_a_run_is_explained(entry: Mapping[str, str]) -> None:
    """The messages of the data are known, with a way out."""
    if "message" in entry:
        found = explain_log(f"[E] {entry['message']} (more)")
        assert [e.kind for e in found] == ["line"] and found[0].mend


def test_success_without_an_engine_is_none(tmp_path: Path) -> None:
    old = tmp_path / "m.engine"
    old.write_text("an old plan")
    ran = run(made(tmp_path), str(script(tmp_path, "echo hm")), lambda _line: None)
    assert ran.exit_code == 0 and not ran.wrote and not ran.ok


def test_lines_come_as_they_are_written(tmp_path: Path) -> None:
    go = tmp_path / "go"
    wait = f"i=0; while [ ! -e '{go}' ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done"
    program = script(tmp_path, f"echo first\n{wait}\n[ -e '{go}' ] || exit 9\n{SAVE}")
    ran = run(made(tmp_path), str(program), lambda _line: go.touch())
    assert ran.ok


def test_an_interrupt_stops_the_program(tmp_path: Path) -> None:
    seen: list[int] = []

    def interrupt(line: str) -> None:
        seen.append(int(line))
        raise KeyboardInterrupt

    program = script(tmp_path, "echo $$\nexec sleep 60")
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(made(tmp_path), str(program), interrupt)
    assert time.monotonic() - start < 30
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], 0)


def test_odd_logs(tmp_path: Path) -> None:
    program = script(tmp_path, "printf 'a\\377b\\r\\nno end'\nkill -9 $$")
    ran = run(made(tmp_path), str(program), lambda _line: None)
    assert ran.exit_code == -9 and ended(ran.exit_code) == "was ended by SIGKILL"
    assert ran.log.startswith("a\ufffdb") and ran.log.endswith("no end")
    assert ended(3) == "ended with exit code 3" and "250" in ended(-250)


def test_finding_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="trtexec is not on PATH; pass --trtexec"):
        find_program("trtexec")
    plain = tmp_path / "trtexec"
    plain.write_text("")
    with pytest.raises(UsageError, match="not executable"):
        find_program("trtexec", plain)
    with pytest.raises(UsageError, match="there is no such program"):
        find_program("tensorrt_rtx", tmp_path)
    program = script(tmp_path, "true")
    assert find_program("trtexec") == str(program)
    assert find_program("trtexec", tmp_path) == str(program)
    assert find_program("trtexec", program) == str(program)
    broken = tmp_path / "broken"
    broken.write_text("#!/nowhere/sh\n")
    broken.chmod(0o755)
    with pytest.raises(UsageError, match="cannot be started"):
        run(made(tmp_path), str(broken), lambda _line: None)
