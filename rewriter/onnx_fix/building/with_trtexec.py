"""Build by the program trtexec, where no package of TensorRT is installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from onnx_fix.building.result import Attempt
from onnx_fix.building.settings import BuildSettings
from onnx_fix.building.task import Task, how_stopped
from onnx_fix.check.live.process import run_limited
from onnx_fix.target.trtexec import options
from onnx_fix.trtexec import Options, command

_ERRORS = ("[E]", "[F]", "Error", "error:", "terminate called", "what():")


def attempt_trtexec(task: Task, settings: BuildSettings) -> Attempt:
    """Build once by trtexec; its errors are those of its log."""
    if settings.compute_capabilities:
        detail = "compute capabilities: trtexec builds for the GPU at hand only"
        return Attempt(settings.precision, "unsupported", detail)
    made = command(task.proto, task.model, task.target, task.profiles, _options(task, settings))
    if not made.sound:
        wrong = [f"{n.argument} {n.message}".strip() for n in made.notes if n.severity == "error"]
        return Attempt(settings.precision, "unsupported", "; ".join(wrong))
    cache = settings.timing_cache
    if cache is not None and cache.exists():
        # trtexec writes the file that it reads.
        shutil.copyfile(cache, task.cache)
    request = task.work / "request"
    request.touch()
    try:
        ended = run_limited(
            [task.builder.program, *made.arguments], request, timeout_s=settings.time_limit,
            cwd=task.work, env=task.environment(), memory_limit=task.memory_limit,
        )  # fmt: skip
    except OSError as error:
        detail = f"its process cannot be started: {error.strerror or error}"
        return Attempt(settings.precision, "unusable", detail)
    lines = (ended.stdout + b"\n" + ended.stderr).decode(errors="replace").splitlines()
    stopped = ended.over_memory or ended.timed_out or ended.flooded or ended.returncode < 0
    status, detail = how_stopped(ended, task, settings)
    if not stopped and ended.returncode == 0 and _size(task) > 0:
        status, detail = "built", ""
    elif not stopped and ended.returncode > 0:
        status, detail = "refused", f"builds no engine (exit code {ended.returncode})"
    return Attempt(
        settings.precision,
        status,
        detail,
        stage="building",
        version=task.builder.version,
        said=tuple(_with(lines, _ERRORS)) if status != "built" else (),
        warnings=tuple(_with(lines, ("[W]",))),
        seconds=ended.seconds,
        build_seconds=ended.seconds,
        peak_bytes=ended.peak_bytes,
    )


def _options(task: Task, settings: BuildSettings) -> Options:
    wanted = set(task.needs)
    extra: tuple[str, ...] = ()
    if settings.precision == "as-is" and "--stronglyTyped" in options(task.target.release):
        wanted, extra = set(), ("--stronglyTyped",)
    elif settings.precision == "fp32":
        wanted -= {"FP16", "BF16"}
    elif settings.precision != "as-is":
        wanted.add(settings.precision.upper())
    workspace = settings.workspace
    return Options(
        output=task.engine,
        precisions=tuple(f"--{name.lower()}" for name in sorted(wanted)),
        workspace=None if workspace is None else max(1, workspace // 2**20),
        build_only=True,
        timing_cache=None if settings.timing_cache is None else task.cache,
        version_compatible=settings.version_compatible,
        optimization_level=settings.optimization_level,
        plugin_libraries=tuple(path.resolve() for path in settings.plugins),
        extra=extra,
    )


def _with(lines: Iterable[str], marks: tuple[str, ...]) -> list[str]:
    return [line for line in lines if any(mark in line for mark in marks)]


def _size(task: Task) -> int:
    return task.engine.stat().st_size if task.engine.exists() else 0
