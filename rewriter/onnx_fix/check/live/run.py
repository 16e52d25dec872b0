"""Ask the installed TensorRT what it makes of a model, in a process of its own."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from google.protobuf.message import DecodeError, EncodeError
from onnx import ModelProto

from onnx_fix import python_plugins
from onnx_fix.check import _live_worker as worker_module
from onnx_fix.check.live.libraries import with_plain_names
from onnx_fix.check.live.nodes import NodeIndex, text_of
from onnx_fix.check.live.process import (
    OUTPUT_LIMIT,
    Ended,
    environment,
    run_limited,
    worker_command,
)
from onnx_fix.check.live.result import LiveError, LiveMessage, LiveParser, LiveResult, Status
from onnx_fix.dim_names import symbol_of
from onnx_fix.errors import ModelError, UsageError
from onnx_fix.worker_parts import PROGRESS_SIZE

Dims = Mapping[str, tuple[int, int, int]]
"""Smallest, usual and largest size of each symbolic dim."""

_DISTRIBUTIONS: Mapping[Literal["tensorrt", "tensorrt_rtx"], tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu11"),
    "tensorrt_rtx": ("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12"),
}

WORKER = worker_command(worker_module.__file__)
"""The command that answers a request."""


def installed() -> list[LiveParser]:
    """The TensorRT packages that can be imported, without importing any."""
    found = []
    for package, names in _DISTRIBUTIONS.items():
        spec = importlib.util.find_spec(package)
        # A folder that happens to have the name is a namespace package, without an origin.
        if spec is not None and spec.origin is not None:
            found.append(LiveParser(package, _version(names)))
    return found


def available(release: str = "") -> LiveParser | None:
    """The TensorRT to ask: that of a release (``8.6``, ``rtx-1.7``) if installed, else any."""
    found = installed()
    family = "tensorrt_rtx" if release.startswith("rtx-") else "tensorrt"
    found.sort(key=lambda p: (not p.is_release(release), p.package != family) if release else ())
    return found[0] if found else None


def _version(names: Sequence[str]) -> str:
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def run_live(
    model: ModelProto | str | Path,
    *,
    base_dir: Path | None = None,
    build: bool = False,
    dims: Dims | None = None,
    timeout_s: float = 120.0,
    fp16: bool = False,
    plugin_libraries: Sequence[str | Path] = (),
    parser: LiveParser | None = None,
    worker: Sequence[str] = WORKER,
    output_limit: int = OUTPUT_LIMIT,
) -> LiveResult:
    """Let an installed TensorRT parse a model and, where asked, build an engine from it.

    Whatever becomes of the parser, crash and hang included, comes back as a result.

    Args:
        model: A path, parsed in place with its external data, or a model in memory.
        base_dir: Where the external data of a model in memory lie.
        build: Whether to build, too: TensorRT-RTX without a GPU for compute capability 8.6, the
            classic TensorRT for the GPU at hand.
        dims: Sizes of symbolic dims of the inputs, for the profile of a build.
        timeout_s: Seconds for everything together.
        fp16: Whether the builder may use half precision, where a release has that flag.
        plugin_libraries: Shared libraries to load before parsing.
        parser: Which package to ask; by default `available`.
        worker: The command that answers; another one than `WORKER` is for tests.
        output_limit: Bytes after which an answer is cut off and the process ended.

    Raises:
        ModelError: there is no such file, or the model in memory is too large to be written.
        UsageError: the time limit is not positive, or the smallest, usual and largest size of a
            dim are not in that order.
    """
    if not timeout_s > 0:
        raise UsageError(f"the time limit of the live parser is {timeout_s} s; it must be positive")
    for name, sizes in (dims or {}).items():
        if not 0 <= sizes[0] <= sizes[1] <= sizes[2]:
            raise UsageError(f"dim {name}: min, opt, max are {sizes}; they must not decrease")
    chosen = parser or available()
    if chosen is None:
        detail = "neither tensorrt nor tensorrt_rtx is installed"
        nobody = LiveParser("tensorrt")
        return LiveResult("not available", nobody, detail=detail, build_asked=build)
    with tempfile.TemporaryDirectory(prefix="onnx-fix-live-") as folder:
        work = Path(folder)
        path, data_path = _place(model, base_dir, work)
        proto = model if isinstance(model, ModelProto) else _read(path)
        in_python = {op: str(p) for op, p in python_plugins.wanted(proto or ModelProto()).items()}
        progress = work / "progress"
        progress.write_bytes(b"\0" * PROGRESS_SIZE)
        request = work / "request.json"
        request.write_text(
            json.dumps(
                {
                    "package": chosen.package,
                    "model": str(path),
                    "data_path": data_path,
                    "plugins": [str(Path(p).resolve()) for p in plugin_libraries],
                    "python_plugins": in_python,
                    "build": build,
                    "fp16": fp16,
                    "ranges": {} if proto is None else ranges_of(proto, dims or {}),
                    "seconds": timeout_s,
                    "progress": str(progress),
                }
            ),
            encoding="utf-8",
        )
        env = with_plain_names(environment(), chosen.package, work / "libraries")
        try:
            ended = run_limited(
                worker, request, timeout_s=timeout_s, cwd=work, env=env, output_limit=output_limit,
            )  # fmt: skip
        except OSError as error:
            detail = f"its process cannot be started: {error.strerror or error}"
            return LiveResult("not available", chosen, detail=detail, build_asked=build)
        reached = progress.read_bytes()
    index = NodeIndex(proto if proto is not None else ModelProto())
    return _Reading(chosen, build, ended, reached, index).result()


def ranges_of(model: ModelProto, dims: Dims) -> dict[str, list[list[int] | str | None]]:
    """For each axis of each input the three sizes, else the name of the dim, else None."""
    found: dict[str, list[list[int] | str | None]] = {}
    for value in model.graph.input:
        axes = found.setdefault(text_of(value.name), [])
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            name = symbol_of(dim) or f"{value.name}[{axis}]"
            if dim.HasField("dim_value"):
                axes.append([dim.dim_value] * 3)
            elif name in dims:
                axes.append(list(dims[name]))
            else:
                axes.append(text_of(symbol_of(dim)) or None)
    return found


def _place(
    model: ModelProto | str | Path, base_dir: Path | None, work: Path
) -> tuple[Path, str | None]:
    """The file to parse and, for a model in memory, the path its external data are relative to."""
    if not isinstance(model, ModelProto):
        # Not resolved: the external data of a linked model lie beside the link.
        path = Path(os.path.abspath(model))
        if not path.is_file():
            raise ModelError(f"{model}: there is no such file")
        return path, None
    path = work / "model.onnx"
    try:
        path.write_bytes(model.SerializeToString())
    except (EncodeError, ValueError) as error:
        raise ModelError(
            "the model is too large to be handed to the live parser from memory (2 GiB); save it "
            "with external data and pass its path"
        ) from error
    return path, str((base_dir or work).resolve() / "model.onnx")


def _read(path: Path) -> ModelProto | None:
    """The model, None where it is none: then the parser says so."""
    proto = ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except (DecodeError, OSError):
        return None
    return proto


@dataclass
class _Reading:
    """Makes a result of how the process ended and of what it wrote before."""

    parser: LiveParser
    build: bool
    ended: Ended
    progress: bytes
    index: NodeIndex

    def result(self) -> LiveResult:
        """The outcome; answers that make no sense count as a crash."""
        phase, peak, label = self._reached()
        base = LiveResult(
            "crashed", self.parser, build_asked=self.build, phase=phase, peak_bytes=peak,
            seconds=self.ended.seconds, at=self.index.labelled(label) if label else None,
        )  # fmt: skip
        events = events_of(self.ended.stdout)
        try:
            return self._read(base, events)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return replace(base, detail=f"wrote an answer that makes no sense ({error!r})")

    def _read(self, base: LiveResult, events: Mapping[str, Mapping[str, Any]]) -> LiveResult:
        if "ready" in events:
            version = str(events["ready"]["version"])
            base = replace(base, parser=LiveParser(self.parser.package, version))
        messages: list[LiveMessage] = []
        for event in events.values():
            messages += map(self._message, event.get("messages", ()))
        peak = max([base.peak_bytes, *(int(e.get("peak", 0)) for e in events.values())])
        base = replace(base, messages=tuple(messages), peak_bytes=peak)
        if "parsed" in events:
            base = self._parsed(base, events["parsed"])
        if "failed" in events:
            detail = str(events["failed"]["text"])
            if base.phase in ("loading", "starting"):
                return replace(base, status="not available", detail=detail)
            return replace(base, detail=f"raised {detail}")
        if self.ended.flooded:
            return replace(base, status="crashed", detail="wrote more than the limit of its answer")
        if "parsed" in events and base.status == "refused":
            return base
        if "built" in events:
            return self._built(base, events["built"])
        if self.ended.timed_out:
            return replace(base, status="timed out", detail="was stopped at the time limit")
        if "parsed" in events and not (self.build and base.phase == "building"):
            return base
        return replace(base, status="crashed", detail=self._end())

    def _parsed(self, base: LiveResult, event: Mapping[str, Any]) -> LiveResult:
        status: Status = "parsed" if event["ok"] is True else "refused"
        errors = tuple(self._error(entry) for entry in event["errors"])
        detail = ""
        if status == "parsed" and event["outputs"] == 0:
            status, detail = "refused", "it finds a network without outputs, so this is no model"
        elif status == "refused" and not errors:
            detail = "it gives no reason"
        taken = self.index.taken(errors, status == "parsed")
        failed = tuple((str(p["path"]), str(p["text"])) for p in event["plugins_failed"])
        return replace(
            base, status=status, errors=errors, detail=detail, taken=taken, plugins_failed=failed,
            python_plugins=tuple(map(str, event.get("python_plugins", ()))),
        )  # fmt: skip

    def _built(self, base: LiveResult, event: Mapping[str, Any]) -> LiveResult:
        lacking = tuple(str(text) for text in event.get("lacking", ()))
        outcome: Mapping[bool | None, Status] = {
            True: "built", False: "build failed", None: "parsed",
        }  # fmt: skip
        notes = [LiveMessage("WARNING", str(text)) for text in event.get("notes", ())]
        return replace(
            base,
            status=outcome[event["built"]],
            lacking=lacking,
            messages=(*base.messages, *notes),
            at=None,
        )

    def _error(self, entry: Mapping[str, Any]) -> LiveError:
        error = LiveError(
            code=str(entry["code"]),
            text=str(entry["text"]),
            index=int(entry["index"]),
            name=str(entry["name"]),
            op=str(entry["op"]),
            file=str(entry["file"]),
            line=int(entry["line"]),
            func=str(entry["func"]),
            stack=tuple(map(str, entry["stack"])),
        )
        place, exact = self.index.find(error)
        return replace(error, place=place, exact=exact)

    def _message(self, entry: Mapping[str, Any]) -> LiveMessage:
        text = str(entry["text"])
        place = self.index.mentioned(text)
        return LiveMessage(str(entry["severity"]), text, int(entry["count"]), place)

    def _reached(self) -> tuple[str, int, str]:
        text = self.progress.split(b"\0", 1)[0].decode(errors="replace")
        phase, peak, label = [*text.split("\n", 2), "", "", ""][:3]
        return phase, int(peak) if peak.isdigit() else 0, label

    def _end(self) -> str:
        """How the process ended, in the words that follow 'when it'."""
        last = self.ended.last_line
        said = f"; its last line was: {last}" if last else ""
        if self.ended.signal:
            memory = ", as for lack of memory" if self.ended.signal == "SIGKILL" else ""
            return f"died of {self.ended.signal}{memory}{said}"
        if self.ended.returncode > 0:
            return f"ended with exit code {self.ended.returncode}{said}"
        return f"ended without an answer{said}"


def events_of(stdout: bytes) -> dict[str, Mapping[str, Any]]:
    """The answers by their event; other lines are no answers."""
    found: dict[str, Mapping[str, Any]] = {}
    for line in stdout.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("event"), str):
            found[entry["event"]] = entry
    return found
