"""Run a command, stream its log, and explain a failure."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from onnx_fix.errors import UsageError
from onnx_fix.explain import Explanation, explain_log, release_in
from onnx_fix.model import Model
from onnx_fix.target import Target
from onnx_fix.trtexec.command import Command

_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended.

    ``exit_code`` is that of the program, negative for a signal; ``explanations`` say what its log
    means, of a run that failed; ``wrote`` whether it left an engine; ``says`` the release that the
    log names, None where it names none.
    """

    exit_code: int
    log: str
    wrote: bool
    says: Target | None
    explanations: tuple[Explanation, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is an engine now."""
        return self.exit_code == 0 and self.wrote


def find_program(name: str, given: Path | None = None) -> str:
    """The program to run: the file that is given, or the one on PATH.

    Raises:
        UsageError: it is not there, or cannot be run.
    """
    if given is not None:
        found = given / name if given.is_dir() else given
        if not found.is_file():
            raise UsageError(f"{found}: there is no such program")
        if not os.access(found, os.X_OK):
            raise UsageError(f"{found} is not executable")
        return str(found.resolve())
    there = shutil.which(name)
    if there is None:
        raise UsageError(
            f"{name} is not on PATH; pass --trtexec FILE, or run the command where TensorRT is "
            "installed"
        )
    return there


def run(
    command: Command,
    program: str,
    tell: Callable[[str], None],
    *,
    model: Model | None = None,
    target: Target | None = None,
) -> Ran:
    """Run a command to its end.

    Args:
        command: The command; its arguments are used.
        program: The file of the program.
        tell: Gets every line of the log as it comes, its line break included.
        model: The model, to name its nodes where the run fails.
        target: The release, where the log does not name it.

    Raises:
        UsageError: the program cannot be started.
        KeyboardInterrupt: the user stops it; the program is stopped too.
    """
    output = command.output
    before = _stamp(output)
    log: list[str] = []
    try:
        process = subprocess.Popen(
            [program, *command.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, ValueError) as error:
        raise UsageError(f"{program} cannot be started: {error}") from error
    assert process.stdout is not None
    try:
        for line in process.stdout:
            log.append(line)
            tell(line)
        code = process.wait()
    except BaseException:
        _stop(process)
        raise
    text = "".join(log)
    after = _stamp(output)
    wrote = output is None or (after is not None and after != before)
    says = release_in(text)
    explained: tuple[Explanation, ...] = ()
    if code != 0 or not wrote:
        explained = tuple(explain_log(text, model, target=says or target))
    return Ran(code, text, wrote, says, explained)


def _stop(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(OSError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _stamp(path: Path | None) -> tuple[int, int] | None:
    """What changes when a file is written."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def ended(code: int) -> str:
    """How a program ended, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
