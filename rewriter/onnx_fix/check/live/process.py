"""Run a program that may crash, hang or flood: with limits, and without leftovers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

OUTPUT_LIMIT = 16 * 2**20
"""Bytes that a program may write to stdout before it is stopped."""

_STDERR_KEPT = 4000
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


_BOOT = (
    "import runpy, sys; sys.path[:] = [p for p in sys.path if p]; "
    "runpy.run_path(sys.argv[1], run_name='__main__')"
)
"""Runs the worker by its path: neither onnx nor protobuf is loaded beside TensorRT, and nothing in
the working directory can take the place of a module."""


def worker_command(path: str | Path) -> tuple[str, ...]:
    """The command that runs a worker by the path of its module."""
    return (sys.executable, "-c", _BOOT, str(Path(path).resolve()))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended. ``returncode`` is negative for a signal, as in `subprocess`.

    ``peak_bytes`` is the most memory that it and what it started were seen to have resident at
    once, 0 where the system does not say or nobody asked.
    """

    returncode: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    flooded: bool
    seconds: float
    over_memory: bool = False
    peak_bytes: int = 0

    @property
    def signal(self) -> str:
        """The name of the signal that ended it, empty where none did."""
        if self.returncode >= 0:
            return ""
        try:
            return signal.Signals(-self.returncode).name
        except ValueError:
            return f"signal {-self.returncode}"

    @property
    def last_line(self) -> str:
        """The last line that it wrote to stderr."""
        lines = self.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else ""


class _Reader(threading.Thread):
    """Reads a pipe to its end: keeps the first bytes, or the last where ``tail`` is set.

    Each whole line is handed to ``on_line`` as it comes.
    """

    def __init__(
        self,
        pipe: IO[bytes],
        limit: int,
        tail: bool = False,
        on_line: Callable[[bytes], None] | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self.kept = b""
        self.flooded = threading.Event()
        self._pipe, self._limit, self._tail = pipe, limit, tail
        self._on_line = on_line
        self._begun = b""
        self._chunks: list[bytes] = []

    def run(self) -> None:
        size = 0
        with contextlib.suppress(OSError, ValueError):  # the pipe was closed under our hands
            while chunk := self._pipe.read1(65536):  # type: ignore[attr-defined]
                if self._tail:
                    self.kept = (self.kept + chunk)[-self._limit :]
                    continue
                size += len(chunk)
                if size > self._limit:
                    self.flooded.set()
                    continue
                self._chunks.append(chunk)
                self._lines(chunk)

    def _lines(self, chunk: bytes) -> None:
        if self._on_line is None:
            return
        *whole, self._begun = (self._begun + chunk).split(b"\n")
        for line in whole:
            self._on_line(line)

    def taken(self) -> bytes:
        """What was read so far."""
        return self.kept if self._tail else b"".join(self._chunks)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a program and everything that it started in its process group."""
    if sys.platform == "win32":
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def resident_bytes(session: int) -> int:
    """The memory that all processes of a session have resident; 0 where the system does not say.

    Limits of the address space are no help: CUDA reserves more of it than there is memory.
    """
    total = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name of the program stands in parentheses and may hold anything.
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == session:
                total += int(fields[21]) * _PAGE
    return total


def measures_memory() -> bool:
    """Whether this system says how much memory a process has."""
    return resident_bytes(os.getsid(0)) > 0 if hasattr(os, "getsid") else False


def environment() -> dict[str, str]:
    """The environment for a process that imports what this one can."""
    found = dict(os.environ)
    found["PYTHONPATH"] = os.pathsep.join(os.path.abspath(p) for p in sys.path if p)
    return found


def run_limited(
    command: Sequence[str],
    request: Path,
    *,
    timeout_s: float,
    cwd: Path,
    env: dict[str, str],
    output_limit: int = OUTPUT_LIMIT,
    memory_limit: int | None = None,
    on_line: Callable[[bytes], None] | None = None,
) -> Ended:
    """Run a command with a file as its stdin until it ends or a limit is reached.

    Args:
        command: The program and its arguments.
        request: What it reads from stdin.
        timeout_s: Seconds that it may take.
        cwd: Its working directory.
        env: Its environment.
        output_limit: Bytes that it may write to stdout.
        memory_limit: Bytes that it and what it starts may have resident; 0 only measures, None
            does not even that.
        on_line: Is given each line of stdout as it comes, in another thread.

    Raises:
        OSError: the program cannot be started.
    """
    start = time.monotonic()
    with request.open("rb") as stdin:
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )
    assert process.stdout is not None and process.stderr is not None
    out = _Reader(process.stdout, output_limit, on_line=on_line)
    err = _Reader(process.stderr, _STDERR_KEPT, tail=True)
    timed_out = over_memory = False
    peak, look = 0, start
    try:
        out.start()
        err.start()
        while process.poll() is None:
            left = timeout_s - (time.monotonic() - start)
            if left <= 0 or out.flooded.is_set():
                timed_out = not out.flooded.is_set()
                break
            if memory_limit is not None and time.monotonic() >= look:
                begun = time.monotonic()
                peak = max(peak, resident_bytes(process.pid))
                # Among very many processes the look around costs some time itself.
                look = time.monotonic() + 10 * (time.monotonic() - begun)
                if 0 < memory_limit < peak:
                    over_memory = True
                    break
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(min(left, 0.05))
    finally:
        # Also when the program has ended: what it started may go on.
        kill_group(process)
        process.wait()
        # A process that left the group may hold the pipes open.
        out.join(5.0)
        err.join(5.0)
        for reader, pipe in ((out, process.stdout), (err, process.stderr)):
            if not reader.is_alive():
                pipe.close()
    return Ended(
        process.returncode,
        out.taken(),
        err.taken(),
        timed_out,
        out.flooded.is_set(),
        time.monotonic() - start,
        over_memory,
        peak,
    )
