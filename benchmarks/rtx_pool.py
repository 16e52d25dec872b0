"""Ask the real TensorRT-RTX about many small models: workers that live on, with time limits.

The parser and the builder are native code that may crash or hang, so they run in processes of
their own; one that dies or stalls is an answer, and a fresh one goes on with the rest. No GPU is
needed: engines are built ahead of time, for compute capability 8.9.

Run as a program, this file is such a worker: one JSON object a line on stdin (``model`` in base64,
``values`` of the inputs that decide shapes, ``shapes`` to build for), one JSON object a line on
stdout.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["accepted", "parse refused", "build refused", "crashed", "not built"]
"""``not built``: parsed, and an input that decides shapes has no value to build for."""

Values = Mapping[str, Sequence[int | float]]
Shapes = Mapping[str, Sequence[int]]

START_LIMIT = 120.0
LONGEST = 300
DYNAMIC_SIZES = (1, 8, 16)
"""Smallest, usual and largest size of every dynamic dim in the optimisation profile."""


@dataclass(frozen=True)
class Answer:
    """What TensorRT-RTX said of one model. ``message`` is the first error, ``op`` the one named."""

    outcome: Outcome
    message: str = ""
    op: str = ""


@dataclass(frozen=True)
class Job:
    """One model to ask about: serialised, with values for inputs that may decide shapes.

    ``shapes`` are those to build for; dims of other inputs get `DYNAMIC_SIZES`.
    """

    key: str
    model: bytes
    values: Values
    shapes: Shapes = field(default_factory=dict)


class Worker:
    """One process that answers; started again after it died."""

    def __init__(self) -> None:
        self.version = ""
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, args=(self._process, self._lines), daemon=True).start()
        first = self._lines.get(timeout=START_LIMIT)
        if first is None:
            raise RuntimeError("tensorrt_rtx does not start; is the extra `rtx` installed?")
        self.version = json.loads(first)["version"]

    @staticmethod
    def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                lines.put(line)
        lines.put(None)

    def ask(self, job: Job, limit: float) -> Answer:
        """The answer, or that there was none within ``limit`` seconds or before the end."""
        request = {
            "model": base64.b64encode(job.model).decode(),
            "values": dict(job.values),
            "shapes": dict(job.shapes),
        }
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._lines.get(timeout=limit)
        except BrokenPipeError:
            line = None
        except queue.Empty:
            self._process.kill()
            self._process.wait()
            self._start()
            return Answer("crashed", f"no answer within {limit:.0f} s")
        if line is None:
            code = self._process.wait()
            self._start()
            return Answer("crashed", f"the process ended with {code}")
        return Answer(**json.loads(line))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def ask_all(
    jobs: Sequence[Job],
    *,
    workers: int,
    limit: float,
    said: Callable[[str, Answer], None],
) -> str:
    """Ask about every job, ``said`` is told each answer as it comes; gives TensorRT's version.

    Raises:
        RuntimeError: TensorRT-RTX does not start.
    """
    left: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        left.put(job)
    lock, versions, faults = threading.Lock(), [], []

    def run() -> None:
        try:
            worker = Worker()
        except (RuntimeError, queue.Empty) as error:
            faults.append(error)
            return
        versions.append(worker.version)
        try:
            while True:
                try:
                    job = left.get_nowait()
                except queue.Empty:
                    return
                answer = worker.ask(job, limit)
                with lock:
                    said(job.key, answer)
        finally:
            worker.close()

    threads = [threading.Thread(target=run) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise RuntimeError(str(faults[0]))
    return versions[0] if versions else ""


# The worker -------------------------------------------------------------------------------------


def judge(trt: Any, builder: Any, log: Any, model: bytes, values: Values, shapes: Shapes) -> Answer:
    """Parse and build one model in this process."""
    log.errors.clear()
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        first = parser.get_error(0) if parser.num_errors else None
        text = first.desc() if first else "\n".join(log.errors)
        return Answer("parse refused", telling(text), first.node_operator() if first else "")
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    profile, used = builder.create_optimization_profile(), False
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        if tensor.is_shape_tensor:
            held = values.get(tensor.name)
            if held is None:
                return Answer("not built", f"input '{tensor.name}' decides shapes, no value given")
            used = True
            profile.set_shape_input(tensor.name, held, held, held)
        elif -1 in tensor.shape:
            used = True
            ranges = [[size if d == -1 else d for d in tensor.shape] for size in DYNAMIC_SIZES]
            if tensor.name in shapes:
                ranges = [list(shapes[tensor.name])] * 3
            profile.set_shape(tensor.name, *ranges)
    if used:
        config.add_optimization_profile(profile)
    log.errors.clear()
    if builder.build_serialized_network(network, config) is not None:
        return Answer("accepted")
    return Answer("build refused", telling("\n".join(log.errors)) or "no engine, and no message")


def telling(message: str) -> str:
    """The first line that says something of the model, without places in TensorRT's source."""
    for line in message.splitlines():
        text = re.sub(r"\.? In \w+ at /[\w./]+:\d+", "", line.strip())
        if (
            text
            and not text.startswith(("Invalid Node", "In node "))
            and "Cuda Runtime" not in text
        ):
            return text if len(text) <= LONGEST else text[:LONGEST].rstrip() + "..."
    return message.strip()[:LONGEST]


def work() -> None:
    """Answer until stdin ends."""
    import tensorrt_rtx as trt

    class Log(trt.ILogger):  # type: ignore[misc, name-defined, unused-ignore]
        """Keeps the errors and prints nothing."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)

    log = Log()
    builder = trt.Builder(log)
    print(json.dumps({"version": trt.__version__}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        model = base64.b64decode(request["model"])
        try:
            answer = judge(trt, builder, log, model, request["values"], request["shapes"])
        except (RuntimeError, TypeError, ValueError) as error:
            answer = Answer("crashed", f"{type(error).__name__}: {error}"[:LONGEST])
        print(json.dumps(asdict(answer)), flush=True)
    os._exit(0)  # destructors of native objects may crash, and have nothing to say any more


if __name__ == "__main__":
    work()
