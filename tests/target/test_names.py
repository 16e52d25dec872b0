"""Which release a name means."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from onnx_fix.errors import UsageError
from onnx_fix.target import default_target, detect, known_targets, load_target
from onnx_fix.target.data import main_line


@pytest.mark.parametrize(
    ("name", "canonical", "noted"),
    [
        ("trt-7.2", "trt-7.2", False),
        ("7.2", "trt-7.2", False),
        ("7.2.1.6", "trt-7.2", True),
        ("trt-8.0.3", "trt-8.0", True),
        ("8.1", "trt-8.0", True),
        ("8.5.2", "trt-8.5", True),
        ("8.3", "trt-8.2", True),
        ("8", "trt-8.0", True),
        ("7", "trt-7.0", True),
        ("TRT-8.6", "trt-8.6", False),
        ("tensorrt-10.3", "trt-10.3", True),
        ("v10.3.0.26", "trt-10.3", True),
        ("10.10", "trt-10.10", False),
        ("10.1", "trt-10.1", False),
        ("10.17", "trt-10.16", True),
        ("11.9", "trt-11.5", True),
        ("13.0", "trt-11.5", True),
        ("7.2-tip", "trt-7.2-tip", False),
        ("trt-8.0-tip", "trt-8.0-tip", False),
        ("rtx-1.7", "rtx-1.7", False),
        ("rtx-1.7.1.116", "rtx-1.7", True),
        ("rtx-2.0", "rtx-1.7", True),
    ],
)
def test_names(name: str, canonical: str, noted: bool) -> None:
    target = load_target(name)
    assert target.name == canonical
    assert bool(target.resolved_note) is noted
    assert load_target(name) is target


def test_a_newer_release_says_so() -> None:
    assert "newer than all that is known" in load_target("trt-13.1").resolved_note
    assert "newer" not in load_target("11.5.2").resolved_note


@pytest.mark.parametrize("name", ["trt-6.0", "tensorflow", "", "trt-", "8.x", "rtx"])
def test_unknown_names_list_the_known(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_target(name)
    assert "trt-7.2" in str(caught.value) and "rtx-1.7" in str(caught.value)


def test_did_you_mean() -> None:
    with pytest.raises(UsageError, match=r"Did you mean trt-8\.6\?"):
        load_target("trt8..6")


def test_known_and_default() -> None:
    known = known_targets()
    assert known[: len(main_line())] == [f"trt-{release}" for release in main_line()]
    assert known[-3:] == ["trt-7.2-tip", "trt-8.0-tip", "rtx-1.7"]
    assert default_target().name == "trt-7.2"
    assert all(load_target(name).name == name for name in known)


def test_facts_of_a_release() -> None:
    old, new = load_target("trt-7.2"), load_target("trt-9.0")
    assert old.opset_range == (7, 11)
    assert not old.reads_functions and new.reads_functions
    assert old.release == "7.2" and old.resolved_note == ""
    assert old.has_importer("Clip") and old.has_importer("Clip", "com.example")
    assert not old.has_importer("Einsum") and load_target("8.2").has_importer("Einsum")
    assert not old.has_importer("CumSum") and load_target("7.2-tip").has_importer("CumSum")
    assert "BatchedNMS_TRT" in old.plugins
    assert "BatchedNMS_TRT" not in load_target("11.0").plugins
    assert load_target("rtx-1.7").plugins == frozenset()


def _say(version: str) -> str:
    return f"__version__ = {version!r}\n"


def test_auto_asks_tensorrt_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text(_say("8.5.3.1"))
    (tmp_path / "tensorrt_rtx.py").write_text(_say("1.7.1.116"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    target = load_target("auto")
    assert target.name == "trt-8.5"
    assert "8.5.3.1" in target.resolved_note
    (tmp_path / "tensorrt.py").write_text("raise ImportError('no CUDA here')\n")
    assert load_target("auto").name == "rtx-1.7"


@pytest.mark.parametrize(
    ("banner", "name"),
    [("v7201", "trt-7.2"), ("v8601", "trt-8.6"), ("v100300", "trt-10.3"), ("v101501", "trt-10.15")],
)
def test_auto_asks_trtexec_last(
    banner: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "trtexec"
    program.write_text(f"#!/bin/sh\necho '&&&& RUNNING TensorRT.trtexec [TensorRT {banner}] #'\n")
    program.chmod(0o755)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert load_target("auto").name == name


def test_auto_without_any_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"--target trt-8\.6"):
        load_target("auto")


def test_auto_gives_up_on_a_program_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "trtexec"
    program.write_text("#!/bin/sh\nexec /bin/sleep 30\n")
    program.chmod(0o755)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(detect, "TIMEOUT_S", 0.2)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="trtexec did not say its version"):
        load_target("auto")


def test_importing_is_light() -> None:
    script = (
        "import sys, onnx_fix.target as t; t.load_target('trt-7.2'); "
        "bad = {'tensorrt', 'tensorrt_rtx', 'onnxruntime', 'onnxsim', 'yaml'} & set(sys.modules); "
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
