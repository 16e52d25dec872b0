"""What becomes of a parser that crashes, hangs, floods or talks nonsense: stand-ins for it.

The parser itself is not imitated for what it says of models; `test_live` asks the real one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import onnx.parser
import pytest
from onnx import ModelProto

from onnx_fix.check.finding import Severity
from onnx_fix.check.live import LIVE_CODES, LiveParser, LiveResult, available, merge, run_live
from onnx_fix.check.live.nodes import NodeIndex
from onnx_fix.check.live.result import LiveError, LiveMessage
from onnx_fix.errors import ModelError, UsageError
from onnx_fix.target import load_target

RTX = LiveParser("tensorrt_rtx", "1.7.1")
READY = '{"event": "ready", "version": "1.7.1.116", "peak": 5000000}'


def model() -> ModelProto:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N] x) => (float[N] y)'
        " { t = Relu(x) y = Exp(t) }"
    )
    proto.graph.node[0].name = "first"
    return proto


def ask(script: str, timeout_s: float = 30.0, **options: object) -> LiveResult:
    head = "import json, os, signal, sys, time, subprocess; request = json.load(sys.stdin)\n"
    head += "def at(t): open(request['progress'], 'r+b').write(t.encode() + b'\\0')\n"
    worker = (sys.executable, "-c", head + script)
    return run_live(model(), parser=RTX, worker=worker, timeout_s=timeout_s, **options)  # type: ignore[arg-type]


def findings(said: LiveResult) -> list[tuple[str, Severity, str]]:
    found = merge([], said, load_target("rtx-1.7"))
    return [(f.code.code, f.severity, f.node) for f in found]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are of POSIX")
def test_a_crash_is_a_finding_at_the_node() -> None:
    said = ask(
        f"print('{READY}', flush=True); at('parsing\\n7000000\\nnode_of_y [Exp]')\n"
        "os.kill(os.getpid(), signal.SIGSEGV)"
    )
    assert (said.status, said.phase, said.peak_bytes) == ("crashed", "parsing", 7000000)
    assert "SIGSEGV" in said.detail
    assert findings(said) == [("OF903", Severity.ERROR, "y")]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are of POSIX")
def test_a_death_for_memory_is_told_as_one() -> None:
    said = ask("at('building\\n9\\n'); os.kill(os.getpid(), signal.SIGKILL)", build=True)
    assert said.status == "crashed" and "lack of memory" in said.detail


def test_a_crash_before_parsing_says_nothing_of_the_model() -> None:
    said = ask(
        "at('loading\\n9\\n'); sys.stderr.write('no such library'); "
        "sys.stderr.flush(); os._exit(127)"
    )
    assert said.status == "crashed" and "127" in said.detail and "no such library" in said.detail
    assert findings(said) == [("OF903", Severity.UNKNOWN, "")]


def test_a_hang_is_ended_with_what_it_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    start = time.monotonic()
    said = ask(
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(child)!r}, 'w').write(str(p.pid)); at('parsing\\n5\\nfirst [Relu]')\n"
        "time.sleep(60)",
        timeout_s=2.0,
    )
    assert time.monotonic() - start < 15
    assert said.status == "timed out"
    assert findings(said) == [("OF904", Severity.UNKNOWN, "first")]
    assert ended(int(child.read_text()))


def ended(pid: int) -> bool:
    """Whether a process is gone, or only waits to be collected."""
    for _ in range(50):
        stat = Path(f"/proc/{pid}/stat")
        try:
            os.kill(pid, 0)
            if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    "written",
    [
        "hello",
        "[1, 2]",
        "{",
        '{"event": 5}',
        "[" * 100000,
        '{"event": "parsed"}',
        '{"event": "parsed", "ok": true, "errors": 3, "outputs": 1, "plugins_failed": []}',
        '{"event": "parsed", "ok": true, "errors": [{}], "outputs": 1, "plugins_failed": []}',
        '{"event": "ready", "version": "1", "messages": [5]}',
        '{"event": "ready", "version": "1", "peak": "much"}',
        '{"event": "built", "built": "perhaps"}',
    ],
    ids=lambda text: text[:40],
)
def test_garbage_is_no_answer(written: str) -> None:
    said = ask(f"at('parsing\\n5\\n'); sys.stdout.write({written!r} + '\\n')")
    assert said.status == "crashed"
    assert findings(said) == [("OF903", Severity.ERROR, "")]


def test_bytes_that_are_no_text_are_no_answer() -> None:
    said = ask("sys.stdout.buffer.write(b'\\xff\\x00\\xfe' * 1000)")
    assert said.status == "crashed"


def test_noise_around_the_answers_is_passed_over() -> None:
    parsed = {"event": "parsed", "ok": True, "errors": [], "outputs": 1, "plugins_failed": []}
    said = ask(f"print('noise'); print('{READY}'); print({json.dumps(parsed)!r})")
    assert (said.status, said.parser.version) == ("parsed", "1.7.1.116")
    assert said.taken == {("", "first"), ("", "y")}


def test_a_flood_is_cut_off() -> None:
    start = time.monotonic()
    said = ask(f"print('{READY}')\nwhile True: sys.stdout.write('x' * 65536)", output_limit=1 << 20)
    assert time.monotonic() - start < 20
    assert said.status == "crashed" and "more than the limit" in said.detail


def test_a_crash_while_building_keeps_what_was_parsed() -> None:
    parsed = {"event": "parsed", "ok": True, "errors": [], "outputs": 1, "plugins_failed": []}
    said = ask(
        f"print('{READY}'); print({json.dumps(parsed)!r}, flush=True); at('building\\n5\\n')\n"
        "os._exit(3)",
        build=True,
    )
    assert (said.status, said.phase) == ("crashed", "building")
    assert said.taken == {("", "first"), ("", "y")}


def test_a_package_without_a_gpu_is_unusable_not_wrong() -> None:
    failed = {
        "event": "failed",
        "text": "factory function returned nullptr",
        "messages": [{"severity": "ERROR", "text": "CUDA initialization failure: 35", "count": 1}],
    }
    script = f"print('{READY}'); at('starting\\n5\\n'); print({json.dumps(failed)!r})"
    said = ask(script)
    assert said.status == "not available"
    assert findings(said) == [("OF905", Severity.WARNING, "")]
    assert findings(ask(script, build=True)) == [("OF905", Severity.UNKNOWN, "")]


def test_a_worker_that_cannot_be_started() -> None:
    said = run_live(model(), parser=RTX, worker=("no-such-program-anywhere",))
    assert said.status == "not available" and "cannot be started" in said.detail


def test_a_package_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classic = LiveParser("tensorrt")
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10 is missing')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert classic in [available("8.6")]
    said = run_live(model(), parser=classic)
    assert said.status == "not available" and "libnvinfer.so.10 is missing" in said.detail


def test_a_folder_of_the_name_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    found = available("8.6")
    assert found is None or found.package == "tensorrt_rtx" or found.version


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such file"):
        run_live(tmp_path / "none.onnx", parser=RTX)
    with pytest.raises(UsageError, match="dim N"):
        run_live(model(), parser=RTX, dims={"N": (4, 2, 8)})
    with pytest.raises(UsageError, match="must be positive"):
        run_live(model(), parser=RTX, timeout_s=0)


@pytest.mark.parametrize(
    ("package", "version", "release", "same"),
    [
        ("tensorrt_rtx", "1.7.1.116", "rtx-1.7", True),
        ("tensorrt_rtx", "1.8.0", "rtx-1.7", False),
        ("tensorrt_rtx", "10.3.0", "10.3", False),
        ("tensorrt", "10.3.0.26", "10.3", True),
        ("tensorrt", "10.13.0", "10.1", False),
        ("tensorrt", "1.7.1", "rtx-1.7", False),
        ("tensorrt", "", "8.6", False),
    ],
)
def test_which_release_a_package_is(package: str, version: str, release: str, same: bool) -> None:
    assert LiveParser(package, version).is_release(release) is same  # type: ignore[arg-type]


def test_older_parsers_say_the_node_by_its_index_alone() -> None:
    error = LiveError(code="UNSUPPORTED_NODE", text="Assertion failed", index=1)
    place, exact = NodeIndex(model()).find(error)
    assert place is not None and (place.node, exact) == ("y", True)
    assert NodeIndex(model()).find(LiveError(code="", text="", index=99)) == (None, True)


def test_a_graph_out_of_order_proves_nothing_by_the_index() -> None:
    proto = model()
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(nodes))
    error = LiveError(code="", text="", index=1)
    assert NodeIndex(proto).taken([error], parsed=False) == frozenset()
    assert NodeIndex(model()).taken([error], parsed=False) == {("", "first")}


def test_many_warnings_are_summed_up() -> None:
    messages = tuple(LiveMessage("WARNING", f"odd thing {i}") for i in range(60))
    said = LiveResult("parsed", RTX, messages=messages)
    found = merge([], said, load_target("rtx-1.7"))
    assert len(found) == 21 and "40 more" in found[-1].why


def test_codes_are_told_apart_and_explained() -> None:
    numbers = [code.code for code in LIVE_CODES]
    assert numbers == [f"OF9{i:02d}" for i in range(1, len(numbers) + 1)]
    assert len({code.name for code in LIVE_CODES}) == len(LIVE_CODES)
    assert all(code.meaning and code.mend and code.summary for code in LIVE_CODES)
