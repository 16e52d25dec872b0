"""Run a program that may crash, hang or flood: with limits, and without leftovers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

OUTPUT_LIMIT = 16 * 2**20
"""Bytes that a program may write to stdout before it is stopped."""

_STDERR_KEPT = 4000


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended. ``returncode`` is negative for a signal, as in `subprocess`."""

    returncode: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    flooded: bool
    seconds: float


class _Reader(threading.Thread):
    """Reads a pipe to its end: keeps the first bytes, or the last where ``tail`` is set."""

    def __init__(self, pipe: IO[bytes], limit: int, tail: bool = False) -> None:
        super().__init__(daemon=True)
        self.kept = b""
        self.flooded = threading.Event()
        self._pipe, self._limit, self._tail = pipe, limit, tail
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


def run_limited(
    command: Sequence[str],
    request: Path,
    *,
    timeout_s: float,
    cwd: Path,
    env: dict[str, str],
    output_limit: int = OUTPUT_LIMIT,
) -> Ended:
    """Run a command with a file as its stdin until it ends, the time is up or it floods.

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
    out = _Reader(process.stdout, output_limit)
    err = _Reader(process.stderr, _STDERR_KEPT, tail=True)
    timed_out = False
    try:
        out.start()
        err.start()
        while process.poll() is None:
            left = timeout_s - (time.monotonic() - start)
            if left <= 0 or out.flooded.is_set():
                timed_out = not out.flooded.is_set()
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
    )
