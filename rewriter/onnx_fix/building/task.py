"""What is the same in every run of a builder, and how a run was stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto

from onnx_fix.building.builders import Builder
from onnx_fix.building.result import Progress, Status
from onnx_fix.building.settings import BuildSettings
from onnx_fix.check.live.libraries import with_plain_names
from onnx_fix.check.live.process import Ended, environment
from onnx_fix.profiles import Profile
from onnx_fix.target import Target

Tell = Callable[[Progress], None]


@dataclass(frozen=True)
class Task:
    """What to build.

    ``work`` is a folder for what the process leaves, ``engine`` and ``cache`` the temporary names
    of what is built, on the file system where it is to lie. ``needs`` are the flags that the types
    in the model ask for, ``memory_limit`` is in bytes, 0 for none. ``worker`` is the command that
    builds.
    """

    model: Path
    proto: ModelProto
    builder: Builder
    target: Target
    profiles: Sequence[Profile]
    needs: Sequence[str]
    work: Path
    engine: Path
    cache: Path
    memory_limit: int
    worker: Sequence[str]
    tell: Tell | None = None

    def environment(self) -> dict[str, str]:
        """That of the process: what a killed builder leaves behind goes with the folder."""
        work = str(self.work)
        own = {**environment(), "TMPDIR": work, "TEMP": work, "TMP": work}
        return with_plain_names(own, self.builder.kind, self.work / "libraries")


def how_stopped(ended: Ended, task: Task, settings: BuildSettings) -> tuple[Status, str]:
    """Why a process gave no full answer: a limit, a signal, an exit code, or just silence."""
    if ended.over_memory:
        limit = task.memory_limit / 2**20
        return "out of memory", f"was stopped at the limit of {limit:.0f} MiB"
    if ended.timed_out:
        return "timed out", f"was stopped after {settings.time_limit:g} s"
    if ended.flooded:
        return "died", "wrote more than the limit of its answer"
    last = f"; its last line was: {ended.last_line}" if ended.last_line else ""
    if ended.signal:
        memory = ", as for lack of memory" if ended.signal == "SIGKILL" else ""
        return "died", f"died of {ended.signal}{memory}{last}"
    if ended.returncode > 0:
        return "died", f"ended with exit code {ended.returncode}{last}"
    return "died", f"ended without an answer{last}"
