"""Run a model at chosen sizes in a process that may be stopped, run out of memory or crash."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from onnx import ModelProto

from onnx_fix.check.live.process import kill_group
from onnx_fix.errors import ModelError
from onnx_fix.profiles._trial_worker import MARK
from onnx_fix.scope import STANDARD_DOMAINS

Kind = Literal["node", "feeds", "memory", "time", "crash", "lacks"]
"""Why a run failed: at a node; no feeds could be made; memory or time were out; the process ended;
onnxruntime lacks a kernel, which says nothing about the sizes."""


@dataclass(frozen=True, slots=True)
class Point:
    """Sizes by symbol, and values by shape tensor."""

    sizes: tuple[tuple[str, int], ...] = ()
    values: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @classmethod
    def of(
        cls, sizes: Mapping[str, int], values: Mapping[str, Sequence[int]] | None = None
    ) -> Point:
        """A point from mappings."""
        given = {name: tuple(v) for name, v in (values or {}).items()}
        return cls(tuple(sizes.items()), tuple(given.items()))

    def at(self, sizes: Mapping[str, int]) -> Point:
        """The point with other sizes of some symbols."""
        return Point(tuple((dict(self.sizes) | dict(sizes)).items()), self.values)

    def is_within(self, other: Point) -> bool:
        """Whether no size is larger than at another point of the same values."""
        sizes = dict(other.sizes)
        return self.values == other.values and all(s <= sizes.get(n, -1) for n, s in self.sizes)

    def __str__(self) -> str:
        parts = [f"{name} = {size}" for name, size in self.sizes]
        parts += [f"{name} = [{','.join(map(str, v))}]" for name, v in self.values]
        return ", ".join(parts) or "the sizes of the model"


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a run; ``node`` and ``op`` are where it failed, as far as is known."""

    ok: bool
    kind: Kind = "node"
    message: str = ""
    node: str = ""
    op: str = ""
    seconds: float = 0.0

    @property
    def fails(self) -> bool:
        """Whether the model itself fails at this point."""
        return not self.ok and self.kind == "node"


@dataclass(slots=True)
class Trial:
    """A model that is loaded once and run at many points; a context manager.

    Nothing of the model is changed. When the process ends in a run, the next one starts another.
    """

    model: ModelProto
    base_dir: Path | None = None
    timeout_s: float = 120.0
    memory: int | None = None
    too_large: Callable[[Point], str] = lambda _point: ""
    """Why a point is not run; empty where it may be."""
    known: dict[Point, Ran] = field(default_factory=dict)
    deadline: float | None = None
    """When no more runs are started, in the time of ``time.monotonic``."""
    refused: str = ""
    """Why the model does not load, once that is known."""
    lacks: bool = False
    """Whether it does not load because onnxruntime lacks a kernel."""
    _folder: tempfile.TemporaryDirectory[str] | None = None
    _process: subprocess.Popen[bytes] | None = None
    _lines: queue.Queue[bytes] = field(default_factory=queue.Queue)

    def __enter__(self) -> Trial:
        self._folder = tempfile.TemporaryDirectory(prefix="onnx-fix-profile-")
        try:
            data = self.model.SerializeToString()
        except ValueError as error:
            self._folder.cleanup()
            raise ModelError("the model is too large to be run from memory") from error
        Path(self._folder.name, "model.onnx").write_bytes(data)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def out_of_time(self) -> bool:
        """Whether the time for all runs together is over."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def run(self, point: Point) -> Ran:
        """Run the model at a point; what was run before is not run again."""
        if point not in self.known:
            if self.out_of_time:
                return Ran(False, "time", "the time for all runs is over")
            reason = self.too_large(point)
            self.known[point] = Ran(False, "memory", reason) if reason else self._run(point)
        return self.known[point]

    def _run(self, point: Point) -> Ran:
        if not self._started():
            kind: Kind = "lacks" if self.lacks else "crash"
            return Ran(False, kind, self.refused)
        assert self._process is not None and self._process.stdin is not None
        asked = {"sizes": dict(point.sizes), "values": dict(point.values), "seed": 0}
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            self._process.stdin.flush()
        left = self.timeout_s
        if self.deadline is not None:
            left = max(0.1, min(left, self.deadline - time.monotonic()))
        said = self._answer(left)
        if said is None:
            code = self._process.poll()
            self._stop()
            if code is None:
                return Ran(False, "time", f"it was stopped after {left:.0f} s")
            if code == -9:
                return Ran(False, "memory", "the process was killed, as if memory had run out")
            return Ran(False, "crash", f"onnxruntime ended the process (exit code {code})")
        if said["ok"]:
            return Ran(True, seconds=said["seconds"])
        name, op = self._node(said.get("node", ""), said.get("op", ""))
        return Ran(False, said["kind"], self._named(said["message"]), name, op)

    def _node(self, told: str, op: str) -> tuple[str, str]:
        """A node of the main graph by its number, one inside another by the name that it has."""
        number = told.removeprefix(MARK)
        if told == number or not number.isdigit():
            return told, op
        node = self.model.graph.node[int(number)]
        kind = node.op_type if node.domain in STANDARD_DOMAINS else f"{node.domain}.{node.op_type}"
        return node.name or next((o for o in node.output if o), ""), kind

    def _named(self, text: str) -> str:
        """A message with the names of nodes in the place of their numbers."""
        return re.sub(f"{MARK}[0-9]+", lambda found: self._node(found.group(), "")[0], text)

    # -- the process ------------------------------------------------------------------------------

    def _started(self) -> bool:
        if self._process is not None and self._process.poll() is None:
            return True
        if self.refused or self._folder is None:
            return False
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(p) for p in sys.path if p)
        # Arenas of threads reserve address space, which is limited.
        environment["MALLOC_ARENA_MAX"] = "2"
        self._lines = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "onnx_fix.profiles._trial_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder.name,
            env=environment,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        reader = threading.Thread(target=_read, args=(self._process, self._lines), daemon=True)
        reader.start()
        task = {
            "model": str(Path(self._folder.name, "model.onnx")),
            "base_dir": None if self.base_dir is None else str(self.base_dir.resolve()),
            "memory": self.memory,
        }
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(task).encode() + b"\n")
            self._process.stdin.flush()
        said = self._answer(self.timeout_s)
        if said is None:
            self.refused = "onnxruntime did not load it in time, or ended while loading it"
        elif not said["loaded"]:
            self.refused, self.lacks = self._named(said["message"]), said["lacks"]
        if self.refused:
            self._stop()
        return not self.refused

    def _answer(self, timeout_s: float) -> dict[str, Any] | None:
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if not line:
            assert self._process is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5.0)
            return None
        found: dict[str, Any] = json.loads(line)
        return found

    def _stop(self) -> None:
        if self._process is not None:
            kill_group(self._process)
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        self._process = None


def _read(process: subprocess.Popen[bytes], lines: queue.Queue[bytes]) -> None:
    """Put the lines of a process into a queue, and an empty one at its end."""
    assert process.stdout is not None
    with contextlib.suppress(OSError, ValueError):
        for line in process.stdout:
            lines.put(line)
    lines.put(b"")
