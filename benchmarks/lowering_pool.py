"""Lower models with several tools in processes of their own, which may crash or hang.

A process that dies or stalls is an answer, and a fresh one goes on with the rest.
"""

from __future__ import annotations

import importlib
import io
import multiprocessing
import queue
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from lowering_judge import Verdict, compare
from onnx import ModelProto

OURS = "onnx-fix"
PEERS = ("onnx version_converter", "onnxsim", "onnxifier")
START_LIMIT = 120.0


class NoEquivalent(Exception):
    """A tool says that it does not lower a model."""


def by_onnx_fix(model: ModelProto, opset: int) -> ModelProto:
    """Lower with this repository."""
    from onnx_fix.lower import lower

    done = lower(model, opset)
    if done.refusals:
        first = done.refusals[0]
        raise NoEquivalent(f"{first.op} of opset {first.opset}: {first.reason}")
    return done.model


def by_onnx(model: ModelProto, opset: int) -> ModelProto:
    """Lower with the converter of the onnx package."""
    from onnx.version_converter import convert_version

    return convert_version(model, opset)


def by_onnxsim(model: ModelProto, opset: int) -> ModelProto:
    """Lower with onnxsim, which simplifies, too."""
    import onnxsim

    done: ModelProto = onnxsim.simplify(model, target_opset_version=opset)[0]
    return done


def by_onnxifier(model: ModelProto, opset: int) -> ModelProto:
    """Lower with onnxifier, without its other passes."""
    convert = importlib.import_module("onnxifier").convert
    done: ModelProto = convert(model, passes=[], target_opset=opset, print_passes=False)
    return done


TOOLS: dict[str, Callable[[ModelProto, int], ModelProto]] = {
    OURS: by_onnx_fix,
    PEERS[0]: by_onnx,
    PEERS[1]: by_onnxsim,
    PEERS[2]: by_onnxifier,
}


@dataclass(frozen=True)
class Job:
    """A case to lower to some opsets with a tool."""

    tool: str
    case: int
    model: bytes
    feeds: dict[str, Any]
    expected: dict[str, list[Any]]
    opsets: tuple[int, ...]


def lowered(job: Job, opset: int) -> Verdict:
    """Lower a case in this process and judge the result."""
    model = ModelProto.FromString(job.model)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            done = TOOLS[job.tool](model, opset)
    except NoEquivalent as error:
        return Verdict("refused", str(error))
    except Exception as error:  # peers say in many ways that they cannot
        message = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return Verdict("crash" if job.tool == OURS else "refused", message)
    return compare(done, job.feeds, job.expected, opset)


def serve(connection: Connection, extra: str) -> None:
    """Answer jobs until there are no more."""
    warnings.simplefilter("ignore")
    if extra:
        sys.path.append(extra)
    connection.send("ready")
    while (job := connection.recv()) is not None:
        for opset in job.opsets:
            connection.send((opset, lowered(job, opset)))


class Worker:
    """One process; started again after it died."""

    def __init__(self, extra: str) -> None:
        self._extra = extra
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self._extra), daemon=True)
        self._process.start()
        theirs.close()
        if not self._connection.poll(START_LIMIT) or self._connection.recv() != "ready":
            raise RuntimeError("the process does not start")

    def ask(self, job: Job, limit: float) -> dict[int, Verdict]:
        """The verdict for every opset of a job."""
        found: dict[int, Verdict] = {}
        left = job.opsets
        while left:
            self._connection.send(Job(job.tool, job.case, job.model, job.feeds, job.expected, left))
            for opset in left:
                answer = self._answer(limit)
                if isinstance(answer, str):
                    found[opset] = Verdict("crash", answer)
                    break
                found[answer[0]] = answer[1]
            left = tuple(opset for opset in left if opset not in found)
        return found

    def _answer(self, limit: float) -> tuple[int, Verdict] | str:
        try:
            if self._connection.poll(limit):
                answer: tuple[int, Verdict] = self._connection.recv()
                return answer
            message = f"no answer within {limit:.0f} s"
            self._process.kill()
            self._process.join()
        except EOFError:
            self._process.join()
            message = f"the process ended with {self._process.exitcode}"
        self._start()
        return message

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def ask_all(
    jobs: Sequence[Job],
    said: Callable[[Job, dict[int, Verdict]], None],
    *,
    workers: int = 2,
    limit: float = 20,
    extra: str = "",
) -> None:
    """Do all jobs; ``said`` is told each answer as it comes.

    Args:
        jobs: What to do, in this order.
        said: Called by one thread at a time.
        workers: Processes at once.
        limit: Seconds for a model and an opset.
        extra: A folder with more packages.
    """
    left: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        left.put(job)
    lock = threading.Lock()
    faults: list[Exception] = []

    def work() -> None:
        try:
            worker = Worker(extra)
        except (RuntimeError, OSError, EOFError) as error:
            faults.append(error)
            return
        try:
            while True:
                try:
                    job = left.get_nowait()
                except queue.Empty:
                    return
                answer = worker.ask(job, limit)
                with lock:
                    said(job, answer)
        finally:
            worker.close()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise RuntimeError(str(faults[0]))
