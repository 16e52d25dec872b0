"""The road by trtexec: a stand-in for the program shows what it is given and how it may end."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import pytest

from onnx_fix.building import BuildResult, BuildSettings, build, choose_builder
from onnx_fix.building import builders as builders_module
from onnx_fix.errors import UsageError
from onnx_fix.profiles import profile_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")

HEAD = """#!{python}
import os, signal, sys, time
given = dict(a.split("=", 1) if "=" in a else (a, "") for a in sys.argv[1:])
if "--help" in given:
    print("&&&& RUNNING TensorRT.trtexec [TensorRT v{number}] # trtexec --help")
    sys.exit(0)
open({log!r}, "w").write("\\n".join(sys.argv[1:]))
"""
WRITTEN = "open(given['--saveEngine'], 'w').write('engine')\n"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a program on PATH that says a version and runs a script."""
    monkeypatch.setattr(builders_module, "installed", lambda: [])
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(script: str, number: str = "8601") -> None:
        program = folder / "trtexec"
        log = str(tmp_path / "bin" / "given")
        program.write_text(HEAD.format(python=sys.executable, number=number, log=log) + script)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    return make


def run(tmp_path: Path, dtype: str = "float", **settings: Any) -> BuildResult:
    model = tmp_path / "m.onnx"
    text = f'<ir_version: 8, opset_import: ["" : 13]> g ({dtype}[N,3] x) => ({dtype}[N,3] y)'
    onnx.save(onnx.parser.parse_model(text + " { y = Exp(x) }"), model)
    return build(
        model,
        tmp_path / "e.plan",
        profiles=[profile_of(onnx.load(model), {"N": (1, 4, 8)})],
        settings=BuildSettings(**{"time_limit": 20.0, **settings}),
    )


def given(tmp_path: Path) -> list[str]:
    return (tmp_path / "bin" / "given").read_text().splitlines()


def left(tmp_path: Path) -> set[str]:
    return {p.name for p in tmp_path.iterdir()} - {"bin"}


def test_it_is_taken_where_nothing_else_is(tmp_path: Path, made: Any) -> None:
    with pytest.raises(UsageError, match="no builder is installed"):
        choose_builder("auto")
    made(WRITTEN)
    builder, target = choose_builder(None)
    assert (builder.kind, builder.version, target.name) == ("trtexec", "8.6.1", "trt-8.6")
    result = run(tmp_path)
    assert result.ok and (tmp_path / "e.plan").read_text() == "engine"
    assert "--minShapes=x:1x3" in given(tmp_path)
    assert result.to_dict()["builder"] == {"package": "trtexec", "version": "8.6.1"}
    assert left(tmp_path) == {"m.onnx", "e.plan", "e.plan.json"}


def test_what_is_asked_becomes_options(tmp_path: Path, made: Any) -> None:
    made(WRITTEN + "open(given['--timingCacheFile'], 'a').write(' and new')\n")
    cache = tmp_path / "cache"
    cache.write_text("old")
    result = run(
        tmp_path,
        precision="fp16",
        workspace=2**30,
        optimization_level=2,
        version_compatible=True,
        timing_cache=cache,
    )
    assert result.ok, result.last
    wanted = {"--fp16", "--versionCompatible", "--builderOptimizationLevel=2"}
    assert wanted | {"--memPoolSize=workspace:1024"} <= set(given(tmp_path))
    assert cache.read_text() == "old and new"
    assert left(tmp_path) == {"m.onnx", "e.plan", "e.plan.json", "cache"}


def test_the_types_of_the_model(tmp_path: Path, made: Any) -> None:
    made(WRITTEN)
    assert run(tmp_path, "float16").ok
    assert "--fp16" in given(tmp_path)
    made(WRITTEN, "101300")
    (tmp_path / "e.plan").unlink()
    (tmp_path / "e.plan.json").unlink()
    assert run(tmp_path, "float16").ok
    assert "--stronglyTyped" in given(tmp_path) and "--fp16" not in given(tmp_path)


def test_what_it_cannot_do_is_said(tmp_path: Path, made: Any) -> None:
    made(WRITTEN)
    result = run(tmp_path, compute_capabilities=("8.6",))
    assert (result.status, result.exit_code) == ("unsupported", 2)
    result = run(tmp_path, precision="bf16")
    assert result.status == "unsupported" and "--bf16" in result.last.detail
    assert left(tmp_path) == {"m.onnx"}


def test_a_refusal_is_explained(tmp_path: Path, made: Any) -> None:
    made("print('[E] [TRT] Could not find any implementation for node {y}.'); sys.exit(1)")
    result = run(tmp_path)
    assert (result.status, result.exit_code) == ("refused", 1)
    assert "no kernel computes" in result.explanations[0].why
    assert left(tmp_path) == {"m.onnx"}


def test_a_failure_in_fp16_is_tried_in_fp32(tmp_path: Path, made: Any) -> None:
    made("if '--fp16' in given: os.kill(os.getpid(), signal.SIGSEGV)\n" + WRITTEN)
    result = run(tmp_path, precision="fp16")
    assert result.fell_back and "SIGSEGV" in result.attempts[0].detail
    assert result.guilty is None and "--fp16" not in given(tmp_path)


@pytest.mark.parametrize(
    ("script", "settings", "status"),
    [
        ("time.sleep(30)", {"time_limit": 2.0}, "timed out"),
        ("x = bytearray(3 * 2**26); time.sleep(30)", {"memory_limit": 2**27}, "out of memory"),
        ("os.kill(os.getpid(), signal.SIGABRT)", {}, "died"),
        ("sys.exit(0)", {}, "died"),
        ("while True: print('x' * 65536)", {}, "died"),
    ],
)
def test_however_it_ends_nothing_is_left(
    tmp_path: Path, made: Any, script: str, settings: dict[str, Any], status: str
) -> None:
    made(script)
    assert run(tmp_path, **settings).status == status
    assert left(tmp_path) == {"m.onnx"}
