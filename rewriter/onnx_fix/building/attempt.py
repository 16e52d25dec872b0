"""One run of the builder, in a process of its own with limits."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onnx_fix import python_plugins
from onnx_fix.building import _worker as worker_module
from onnx_fix.building.result import Attempt, Progress, Status, range_to_dict
from onnx_fix.building.settings import BuildSettings
from onnx_fix.building.task import Task, Tell, how_stopped
from onnx_fix.building.with_trtexec import attempt_trtexec
from onnx_fix.check.live.nodes import NodeIndex
from onnx_fix.check.live.process import Ended, run_limited, worker_command
from onnx_fix.check.live.run import events_of
from onnx_fix.worker_parts import PROGRESS_SIZE

WORKER = worker_command(worker_module.__file__)
"""The command that builds; another one is for tests."""

_SAID: tuple[Status, ...] = ("unusable", "not written", "unsupported", "lacking")
"""Ends that the process says itself, under the same names."""


def attempt(
    task: Task,
    settings: BuildSettings,
    *,
    fp32_layers: Collection[int] | None = None,
    keep: bool = True,
    name_layers: bool = False,
) -> Attempt:
    """Build once. Whatever becomes of the builder, crash and hang included, comes back as a result.

    Args:
        task: What to build.
        settings: How.
        fp32_layers: Numbers of layers that have to compute in FP32.
        keep: Whether to write the engine.
        name_layers: Whether to say which layers there are.
    """
    if task.builder.kind == "trtexec":
        return attempt_trtexec(task, settings)
    mark = task.work / "progress"
    mark.write_bytes(b"\0" * PROGRESS_SIZE)
    request = task.work / "request.json"
    data = _request(task, settings, mark)
    data["fp32_layers"] = None if fp32_layers is None else sorted(fp32_layers)
    data["engine"] = str(task.engine) if keep else None
    data["name_layers"] = name_layers
    request.write_text(json.dumps(data), encoding="utf-8")
    teller = None if task.tell is None else _Teller(task.tell)
    try:
        ended = run_limited(
            task.worker, request, timeout_s=settings.time_limit, cwd=task.work,
            env=task.environment(), memory_limit=task.memory_limit, on_line=teller,
        )  # fmt: skip
    except OSError as error:
        detail = f"its process cannot be started: {error.strerror or error}"
        return Attempt(settings.precision, "unusable", detail)
    if teller is not None and teller.fault is not None:
        raise teller.fault
    return _Reading(task, settings, ended, mark.read_bytes(), keep).attempt()


def _request(task: Task, settings: BuildSettings, mark: Path) -> dict[str, Any]:
    cache = settings.timing_cache
    return {
        "package": task.builder.kind,
        "model": str(task.model),
        "plugins": [str(path.resolve()) for path in settings.plugins],
        "python_plugins": {op: str(p) for op, p in python_plugins.wanted(task.proto).items()},
        "profiles": [[range_to_dict(e) for e in profile.inputs] for profile in task.profiles],
        "needs": list(task.needs),
        "precision": settings.precision,
        "workspace": settings.workspace,
        "timing_cache": None if cache is None else str(cache.resolve()),
        "cache_out": str(task.cache),
        "optimization_level": settings.optimization_level,
        "version_compatible": settings.version_compatible,
        "compute_capabilities": list(settings.compute_capabilities),
        "seconds": settings.time_limit,
        "progress": str(mark),
    }


class _Teller:
    """Reads the lines about progress; whatever else comes is passed over.

    ``fault`` is what the one who is told raised; then he is told no more.
    """

    def __init__(self, tell: Tell) -> None:
        self.fault: Exception | None = None
        self._tell = tell

    def __call__(self, line: bytes) -> None:
        if b'"progress"' not in line or self.fault is not None:
            return
        try:
            entry = json.loads(line)
            if entry["event"] == "progress":
                progress = Progress(
                    str(entry["phase"]),
                    int(entry["step"]),
                    int(entry["steps"]),
                    int(entry["depth"]),
                    entry["done"] is True,
                )
            else:
                return
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        try:
            self._tell(progress)
        except Exception as error:  # a fault here must not stop the reading
            self.fault = error


@dataclass
class _Reading:
    """Makes a result of how the process ended and of what it wrote before."""

    task: Task
    settings: BuildSettings
    ended: Ended
    mark: bytes
    keep: bool

    def attempt(self) -> Attempt:
        """The outcome; answers that make no sense count as a death."""
        text = self.mark.split(b"\0", 1)[0].decode(errors="replace")
        stage, peak, at = [*text.split("\n", 2), "", "", ""][:3]
        if stage == "parsing" and at:
            place = NodeIndex(self.task.proto).labelled(at)
            at = at if place is None else f"{place.op} '{place.node}'"
        known = max(self.ended.peak_bytes, int(peak) if peak.isdigit() else 0)
        base = Attempt(
            self.settings.precision, "died", stage=stage, at=at, seconds=self.ended.seconds,
            peak_bytes=known,
        )  # fmt: skip
        try:
            return self._read(base, events_of(self.ended.stdout))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return replace(base, detail=f"wrote an answer that makes no sense ({error!r})")

    def _read(self, base: Attempt, events: Mapping[str, Mapping[str, Any]]) -> Attempt:
        base = self._with_messages(base, events)
        for status in _SAID:
            if status in events:
                event = events[status]
                what = event["what"] if "what" in event else [event["text"]]
                return _ended(base, status, "; ".join(map(str, what)))
        if "plugins" in events:
            failed = [f"{p['path']}: {p['text']}" for p in events["plugins"]["failed"]]
            return _ended(base, "unusable", f"cannot load a plugin: {'; '.join(failed)}")
        if "failed" in events:
            return self._failed(base, str(events["failed"]["text"]))
        parsed, built = events.get("parsed"), events.get("built")
        if parsed is not None and parsed["ok"] is not True:
            return _ended(base, "refused", "refuses the model")
        if built is not None and built["ok"] is not True:
            return _ended(base, "refused", "parses the model and builds no engine")
        if built is not None and not self.keep:
            return _ended(base, "built", "")
        if "written" in events:
            return self._written(base, int(events["written"]["size"]))
        return self._stopped(base)

    def _with_messages(self, base: Attempt, events: Mapping[str, Mapping[str, Any]]) -> Attempt:
        said: list[str] = []
        warnings: list[str] = []
        for event in events.values():
            for message in event.get("messages", ()):
                into = warnings if message["severity"] == "WARNING" else said
                into.append(str(message["text"]))
        parsed, built = events.get("parsed", {}), events.get("built", {})
        for error in parsed.get("errors", ()):
            text = str(error["text"])
            # The parser logs most of its errors, too, with more words around them.
            if not any(text in line for line in said):
                said.append(text)
        return replace(
            base,
            version=str(events.get("ready", {}).get("version", "")),
            said=tuple(said),
            warnings=tuple(warnings),
            notes=tuple(map(str, built.get("notes", ()))),
            layers=tuple(map(str, parsed.get("layers", ()))),
            build_seconds=float(built.get("seconds", 0.0)),
            peak_bytes=max([base.peak_bytes, *(int(e.get("peak", 0)) for e in events.values())]),
        )

    def _failed(self, base: Attempt, text: str) -> Attempt:
        """A fault that Python raised: of loading, of a setting, or of the builder."""
        if base.stage in ("loading", "starting"):
            return _ended(base, "unusable", text)
        if text.startswith("MemoryError"):
            return _ended(base, "out of memory", "ran out of memory")
        return _ended(replace(base, said=(*base.said, text)), "refused", f"raised {text}")

    def _written(self, base: Attempt, size: int) -> Attempt:
        try:
            there = self.task.engine.stat().st_size
        except OSError:
            there = -1
        if size <= 0 or there != size:
            return _ended(
                base, "died", "said that it wrote an engine, and there is none of that size"
            )
        return _ended(base, "built", "")

    def _stopped(self, base: Attempt) -> Attempt:
        """No full answer: a limit, a signal, an exit code, or just silence."""
        status, detail = how_stopped(self.ended, self.task, self.settings)
        return _ended(base, status, detail)


def _ended(base: Attempt, status: Status, detail: str) -> Attempt:
    return replace(base, status=status, detail=detail)
