"""A builder that crashes, hangs, eats memory or lies, and a disk that takes no engine.

Stand-ins play the process that builds; `test_rtx_engines` asks the real one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import pytest

from onnx_fix.building import BuildResult, BuildSettings, Progress, build
from onnx_fix.building import builders as builders_module
from onnx_fix.building.attempt import WORKER
from onnx_fix.check.live.process import measures_memory
from onnx_fix.errors import ModelError, UsageError

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals are of POSIX")
HEAD = """
import json, os, signal, subprocess, sys, time
request = json.load(sys.stdin)
def say(event, **facts): print(json.dumps({"event": event, **facts}), flush=True)
def at(stage, where=""):
    with open(request["progress"], "r+b") as file:
        file.write(f"{stage}\\n1000\\n{where}".encode() + b"\\0")
def parsed(**facts): say("parsed", ok=True, errors=[], layers=["a", "b", "c"], **facts)
say("ready", version="1.7.1.116")
"""
WRITTEN = """
say("built", ok=True, notes=[], seconds=1.5)
open(request["engine"], "wb").write(b"engine"); say("written", size=6)
"""


@pytest.fixture(autouse=True)
def one_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has: the stand-ins are in its place."""
    builder = builders_module.Builder("tensorrt_rtx", "1.7.1.116")
    monkeypatch.setattr(builders_module, "installed_builders", lambda: iter([builder]))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    onnx.save(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 17]> g (float[3] x) => (float[3] y)'
            " { t = Relu(x) y = Exp(t) }"
        ),
        path,
    )
    return path


def run(model: Path, script: str, *, progress: Any = None, **settings: Any) -> BuildResult:
    settings.setdefault("time_limit", 30.0)
    return build(
        model,
        model.parent / "e.plan",
        settings=BuildSettings(**settings),
        progress=progress,
        worker=(sys.executable, "-c", HEAD + script),
    )


def left(model: Path) -> list[str]:
    return sorted(os.listdir(model.parent))


def ended(pid: int) -> bool:
    """Whether a process is gone, or only waits to be collected."""
    for _ in range(50):
        try:
            os.kill(pid, 0)
            stat = Path(f"/proc/{pid}/stat").read_text()
            if stat.rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.1)
    return False


def test_a_builder_that_works(model: Path) -> None:
    result = run(model, "parsed()" + WRITTEN)
    assert result.ok and result.last.build_seconds == 1.5
    assert (model.parent / "e.plan").read_bytes() == b"engine"
    assert left(model) == ["e.plan", "e.plan.json", "m.onnx"]


@POSIX
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGFPE", "SIGKILL"])
def test_a_builder_that_kills_itself(model: Path, name: str) -> None:
    result = run(
        model,
        "parsed(); at('building', 'Timing tactics'); open(request['engine'], 'wb').write(b'half')\n"
        "sys.stderr.write('the last word'); sys.stderr.flush()\n"
        f"os.kill(os.getpid(), signal.{name})",
    )
    assert (result.status, result.exit_code) == ("died", 5)
    assert name in result.last.detail and "the last word" in result.last.detail
    assert (result.last.stage, result.last.at) == ("building", "Timing tactics")
    assert ("lack of memory" in result.last.detail) == (name == "SIGKILL")
    assert left(model) == ["m.onnx"]


@POSIX
def test_a_crash_of_the_parser_names_the_node(model: Path) -> None:
    result = run(model, "at('parsing', 'node_of_y [Exp]'); os.kill(os.getpid(), signal.SIGSEGV)")
    assert result.status == "died" and result.last.at == "Exp 'y'"


def test_a_builder_that_hangs_is_ended_with_what_it_started(model: Path) -> None:
    start = time.monotonic()
    told = model.parent / "pid"
    result = run(
        model,
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(told)!r}, 'w').write(str(p.pid)); parsed(); at('building'); time.sleep(60)",
        time_limit=2.0,
    )
    assert time.monotonic() - start < 20
    assert (result.status, result.exit_code) == ("timed out", 5)
    assert ended(int(told.read_text()))
    told.unlink()
    assert left(model) == ["m.onnx"]


@pytest.mark.skipif(not measures_memory(), reason="this system does not tell the memory of others")
@pytest.mark.parametrize("where", ["itself", "a child"])
def test_a_builder_that_fills_the_memory(model: Path, where: str) -> None:
    eat = "import time; x = []\nwhile True: x.append(bytearray(2**22)); time.sleep(0.01)"
    script = f"parsed(); at('building')\nexec({eat!r})"
    if where == "a child":
        script = f"at('building')\nsubprocess.run([sys.executable, '-c', {eat!r}])"
    start = time.monotonic()
    result = run(model, script, memory_limit=200 * 2**20)
    assert time.monotonic() - start < 25
    assert (result.status, result.exit_code) == ("out of memory", 5)
    assert "200 MiB" in result.last.detail
    assert 200 * 2**20 < result.peak_bytes < 600 * 2**20
    assert left(model) == ["m.onnx"]


def test_what_cannot_be_measured_is_said(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx_fix.building.run.measures_memory", lambda: False)
    result = run(model, "parsed()" + WRITTEN, memory_limit=2**30)
    assert result.ok and "limit is not held" in result.notes[0]


@pytest.mark.parametrize(
    "script",
    [
        "print('hello')",
        "sys.stdout.buffer.write(b'\\xff\\x00\\xfe' * 1000)",
        "print('[' * 100000)",
        "print('[1, 2]'); print('{')",
        "say('parsed')",
        "say('parsed', ok=True, errors=3)",
        "say('parsed', ok=True, errors=[{}])",
        "parsed(); say('built', ok='perhaps')",
        "parsed(); say('built', ok=True, seconds='long')",
        "parsed(); say('built', ok=True); say('written', size=6)",
        "parsed(); say('built', ok=True); say('written', size='six')",
        "parsed(); say('built', ok=True); open(request['engine'], 'wb'); say('written', size=0)",
        "parsed(); say('built', ok=True); open(request['engine'], 'w').write('e'); "
        "say('written', size=6)",
        "parsed(); say('built', ok=True)",
        "say('plugins', failed=5)",
        "say('unsupported')",
        "say('lacking', what=None)",
        "sys.exit(3)",
        "os._exit(0)",
    ],
    ids=lambda text: text[:50],
)
def test_garbage_makes_no_engine(model: Path, script: str) -> None:
    result = run(model, script)
    assert result.status in ("died", "refused"), result.last
    assert result.last.detail and not result.ok
    assert left(model) == ["m.onnx"]


def test_a_flood_is_cut_off(model: Path) -> None:
    result = run(model, "while True: print('x' * 65536)")
    assert result.status == "died" and "more than the limit" in result.last.detail


def test_garbage_among_the_progress_is_passed_over(model: Path) -> None:
    told: list[Progress] = []
    lines = (
        'print(\'{"event": "progress"}\'); print(\'"progress"\'); '
        "say('progress', phase='p', step='x', steps=2, depth=0, done=False); "
        "say('progress', phase='p', step=1, steps=2, depth=0, done=False); parsed()"
    )
    result = run(model, lines + WRITTEN, progress=told.append)
    assert result.ok and told == [Progress("p", 1, 2, 0, False)]


def test_a_fault_of_the_one_who_is_told(model: Path) -> None:
    def wrong(_progress: Progress) -> None:
        raise ZeroDivisionError("mine")

    step = "say('progress', phase='p', step=1, steps=2, depth=0, done=False); "
    with pytest.raises(ZeroDivisionError, match="mine"):
        run(model, step + "parsed()" + WRITTEN, progress=wrong)
    assert left(model) == ["m.onnx"]


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is of Linux")
def test_a_builder_dies_with_the_one_who_waits_for_it(model: Path) -> None:
    """Where that one is killed, nobody is left to end it."""
    told = model.parent / "pid"
    script = (
        "import os, time\n"
        "from onnx_fix.worker_parts import guard\n"
        f"guard(60); open({str(told) + '.new'!r}, 'w').write(str(os.getpid()))\n"
        f"os.rename({str(told) + '.new'!r}, {str(told)!r}); time.sleep(60)"
    )
    text = SLEEPER.format(script=script, model=str(model), engine=str(model.parent / "e.plan"))
    # Nobody is left to remove the folder of the builder either.
    environment = {**child_environment(), "TMPDIR": str(model.parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", text], stderr=subprocess.PIPE, env=environment
    )
    for _ in range(300):
        if told.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    process.communicate(timeout=30)
    assert ended(int(told.read_text()))


def test_a_builder_that_cannot_be_started(model: Path) -> None:
    result = build(model, model.parent / "e.plan", worker=("/no/such/program",))
    assert (result.status, result.exit_code) == ("unusable", 2)
    assert left(model) == ["m.onnx"]


def test_a_package_that_cannot_be_loaded(model: Path) -> None:
    result = run(model, "at('loading'); say('failed', text='ImportError: libcudart.so.12')")
    assert (result.status, result.exit_code) == ("unusable", 2)
    assert "libcudart" in result.last.detail


@pytest.mark.parametrize("engine", ["no/such/e.plan", ".", "m.onnx"])
def test_an_engine_that_cannot_be_written_is_refused_at_once(model: Path, engine: str) -> None:
    with pytest.raises(UsageError):
        build(model, model.parent / engine, force=True, worker=("/no/such/program",))
    assert left(model) == ["m.onnx"]


def test_a_folder_that_may_not_be_written(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model.parent / "closed"
    folder.mkdir()
    if os.access(folder, os.W_OK) and hasattr(os, "geteuid") and os.geteuid() == 0:
        # Root may write anywhere: let the folder that is made first be refused.
        def refuse(**_options: Any) -> str:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("onnx_fix.save.tempfile.mkdtemp", refuse)
    else:
        folder.chmod(0o500)
    with pytest.raises(UsageError, match="not writable"):
        build(model, folder / "e.plan", worker=("/no/such/program",))
    assert os.listdir(folder) == []


def test_an_engine_that_is_there_stays_unless_asked(model: Path) -> None:
    engine, record = model.parent / "e.plan", model.parent / "e.plan.json"
    engine.write_bytes(b"old")
    with pytest.raises(UsageError, match="--force"):
        run(model, "parsed()" + WRITTEN)
    record.write_text("old")
    crash = (sys.executable, "-c", "import os; os.abort()")
    assert build(model, engine, force=True, worker=crash).status == "died"
    assert (engine.read_bytes(), record.read_text()) == (b"old", "old")
    engine.unlink()
    with pytest.raises(UsageError, match=r"e\.plan\.json exists"):
        run(model, "parsed()" + WRITTEN)


def test_a_disk_that_is_full_while_the_engine_is_written(model: Path) -> None:
    result = run(
        model,
        "parsed(); say('built', ok=True, notes=[], seconds=1)\n"
        "open(request['engine'], 'wb').write(b'half')\n"
        "say('not written', text='No space left on device')",
    )
    assert (result.status, result.exit_code) == ("not written", 2)
    assert "No space left" in result.last.detail
    assert left(model) == ["m.onnx"]


@POSIX
@pytest.mark.rtx
def test_the_real_worker_with_a_limit_on_files(model: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
    worker = (WORKER[0], "-c", limited + WORKER[2], *WORKER[3:])
    result = build(model, model.parent / "e.plan", worker=worker)
    assert (result.status, result.exit_code) == ("not written", 2)
    assert "too large" in result.last.detail
    assert left(model) == ["m.onnx"]


def test_a_disk_that_is_full_for_the_record(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.write_text

    def full(self: Path, *args: Any, **options: Any) -> int:
        if self.name == "record":
            raise OSError(28, "No space left on device")
        return real(self, *args, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UsageError, match="No space left"):
        run(model, "parsed()" + WRITTEN)
    assert left(model) == ["m.onnx"]


def test_a_model_that_is_none(model: Path) -> None:
    model.write_bytes(b"no model")
    with pytest.raises(ModelError):
        run(model, "parsed()" + WRITTEN)
    with pytest.raises(ModelError):
        build(model.parent / "no.onnx", model.parent / "e.plan")


SLEEPER = """
import os, sys, time
from pathlib import Path
from onnx_fix.building import attempt, builders, run
from onnx_fix.cli import app
script = {script!r}
builder = builders.Builder("tensorrt_rtx", "1.7.1")
builders.installed_builders = lambda: iter([builder])
run.build.__kwdefaults__["worker"] = (sys.executable, "-c", script)
app(["build", {model!r}, "-o", {engine!r}])
"""


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_the_builder_and_leaves_nothing(model: Path, number: Any) -> None:
    told = model.parent / "pid"
    script = HEAD + (
        f"open({str(told) + '.new'!r}, 'w').write(str(os.getpid()))\n"
        f"os.rename({str(told) + '.new'!r}, {str(told)!r})\n"
        "open(request['engine'], 'wb').write(b'half'); time.sleep(60)"
    )
    text = SLEEPER.format(script=script, model=str(model), engine=str(model.parent / "e.plan"))
    process = subprocess.Popen(
        [sys.executable, "-c", text], stderr=subprocess.PIPE, text=True, env=child_environment()
    )
    for _ in range(300):
        if told.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    # Python drops an interruption that comes while a finalizer runs; a person presses again.
    for _ in range(30):
        process.send_signal(number)
        try:
            process.wait(timeout=1)
            break
        except subprocess.TimeoutExpired:
            continue
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "interrupted" in stderr and "Traceback" not in stderr
    assert ended(int(told.read_text()))
    told.unlink()
    assert left(model) == ["m.onnx"]


def child_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
