"""Build an engine: checks before, attempts, and files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from onnx import ModelProto

from onnx_fix.building.attempt import WORKER, attempt
from onnx_fix.building.builders import choose_builder
from onnx_fix.building.command import asked, command_of
from onnx_fix.building.memory import memory_limit
from onnx_fix.building.needs import needs
from onnx_fix.building.precision import TimeIsUp, find_guilty
from onnx_fix.building.result import Attempt, BuildResult, Guilty
from onnx_fix.building.settings import BuildSettings
from onnx_fix.building.task import Task, Tell
from onnx_fix.check.live.process import measures_memory
from onnx_fix.errors import ModelError, OnnxFixError, UsageError
from onnx_fix.explain import Explanation, explain_log
from onnx_fix.load import load_proto
from onnx_fix.model import Model
from onnx_fix.plugin_libraries import built_of, noted
from onnx_fix.profiles import Profile, profile_from
from onnx_fix.profiles.check import ProfileFinding, check_profile
from onnx_fix.save import check_output, external_files, staging_folder
from onnx_fix.target import Target

SUFFIX = ".json"
"""What is put behind the name of an engine to name its record."""


def sidecar_of(engine: Path) -> Path:
    """The file that records how an engine was built."""
    return engine.with_name(engine.name + SUFFIX)


def check_engine_path(engine: Path, model: Path | None, *, force: bool) -> None:
    """Refuse an engine that may not be written, before minutes are spent.

    Raises:
        UsageError: the path, or that of its record, may not be written.
    """
    check_output(engine, model, force=force)
    check_output(sidecar_of(engine), model, force=force)


def checked_profiles(model: ModelProto, profiles: Sequence[Profile]) -> tuple[Profile, ...]:
    """The profiles, once they are known to suit the model.

    Raises:
        UsageError: a dynamic input has no range, or a range does not fit its input.
    """
    found = [profile_from(model, asked(profile)) for profile in profiles or (Profile(()),)]
    return tuple(profile for profile in found if profile.inputs)


def build(
    model: str | Path,
    engine: str | Path,
    *,
    target: str | Target | None = None,
    profiles: Sequence[Profile] = (),
    settings: BuildSettings | None = None,
    force: bool = False,
    progress: Tell | None = None,
    worker: Sequence[str] = WORKER,
) -> BuildResult:
    """Build an engine from a model file, with the TensorRT of this machine.

    Whatever becomes of the builder comes back as a result, crash and hang included. The engine and
    its record (``engine.plan.json``) appear once they are complete; a build that fails leaves
    nothing. Where FP16 or BF16 fails or kills the builder, FP32 is tried, and the layers at fault
    are looked for within ``settings.bisect_limit``.

    Args:
        model: The fixed model.
        engine: The file to write.
        target: The release to build for, which must be the installed one; by default that.
        profiles: Optimization profiles; every dynamic input needs a range in each.
        settings: Precision, limits and so on.
        force: Replace an engine that is there.
        progress: Is told of the phases of the builder, in another thread.
        worker: The command that builds; another one than the default is for tests.

    Raises:
        ModelError: the model cannot be read, or its external data is not there.
        UsageError: there is no such builder, the engine may not be written, or a profile does not
            suit the model.
    """
    # Not resolved: the external data of a linked model lie beside the link.
    path, output = Path(os.path.abspath(model)), Path(engine)
    how = settings or BuildSettings()
    proto = load_proto(path)
    files = external_files(proto, path.parent)
    check_engine_path(output, path, force=force)
    builder, chosen = choose_builder(target)
    suited = checked_profiles(proto, profiles)
    notes: tuple[str, ...] = ()
    if not how.plugins:
        own = built_of(proto, chosen)
        how = replace(how, plugins=own)
        notes = tuple(f"with the plugin library built for {chosen.name}, {path}" for path in own)
    notes += _of_other_releases(how.plugins, chosen)
    if how.timing_cache is not None:
        _check_cache(how.timing_cache)
    stamps = _stamps(path, files)
    result = BuildResult(
        model=Path(model),
        engine=output,
        sidecar=sidecar_of(output),
        target=chosen.name,
        builder=builder,
        settings=how,
        profiles=suited,
        attempts=(),
        command=command_of(Path(model), output, chosen.name, suited, how),
        model_sha256=sha256(path),
        external_sha256={location: sha256(file) for location, file in files.items()},
        notes=notes,
    )
    limit = memory_limit(how.memory_limit)
    if limit and not measures_memory():
        note = "this system does not say how much memory a process has: the limit is not held"
        result = replace(result, notes=(*result.notes, note))
    with (
        staging_folder(Path(os.path.abspath(output.parent))) as staging,
        # The builder's own temporary files may be large, and need not lie beside the engine.
        tempfile.TemporaryDirectory(prefix="onnx-fix-build-", ignore_cleanup_errors=True) as work,
    ):
        task = Task(
            path, proto, builder, chosen, suited, needs(proto), Path(work), staging / "engine",
            staging / "cache", limit, worker, progress,
        )  # fmt: skip
        result = _attempts(task, result)
        result = replace(result, explanations=_explained(task, result, chosen))
        if result.status == "refused" and result.last.stage == "building":
            result = replace(result, notes=(*result.notes, *_against(task)))
        if result.ok:
            if _stamps(path, files) != stamps:
                raise ModelError(f"{path} was changed while it was built; build it again")
            result = _place(task, result)
    return result


def _of_other_releases(libraries: Sequence[Path], target: Target) -> tuple[str, ...]:
    """A note for each library of which it is not known whether the release takes it.

    Raises:
        UsageError: one that it does not take, for the plugin in Python would stand in silently.
    """
    notes = []
    for own in filter(None, map(noted, libraries)):
        text = f"the plugin library {own.path} was built for {own.target}, and {target.name}"
        fit = own.fit(target)
        if fit == "foreign":
            mend = f"onnx-fix plugins build compiles it with the headers of {target.name}"
            raise UsageError(f"{text} does not take it; {mend}")
        if fit == "unknown":
            notes.append(f"{text} may not take it")
    return tuple(notes)


def _attempts(task: Task, result: BuildResult) -> BuildResult:
    """Build, and where a lower precision fails build in FP32."""
    how = result.settings
    first = attempt(task, how)
    lowered = how.precision in ("fp16", "bf16")
    # What the parser refuses, and what runs into a limit, is no matter of precision.
    failed = first.status in ("refused", "died") and first.stage == "building"
    if not (lowered and failed):
        return replace(result, attempts=(first,))
    second = attempt(task, how.with_precision("fp32"), name_layers=True)
    result = replace(result, attempts=(first, second))
    if not second.built or how.bisect_limit == 0:
        return result
    return replace(result, guilty=_guilty(task, how, second))


def _guilty(task: Task, how: BuildSettings, built: Attempt) -> Guilty | None:
    """The layers that do not build in the precision that was asked for."""
    if not built.layers:
        return None
    end = time.monotonic() + how.bisect_limit

    def fails(fp32: Collection[int]) -> bool:
        left = end - time.monotonic()
        # A build that is cut short says nothing.
        if left < built.seconds:
            raise TimeIsUp
        tried = attempt(task, replace(how, time_limit=left), fp32_layers=fp32, keep=False)
        if tried.status not in ("built", "refused", "died"):
            raise TimeIsUp
        return not tried.built

    return find_guilty(built.layers, fails)


def _place(task: Task, result: BuildResult) -> BuildResult:
    """Move the engine, then its record and the timing cache, to where they are wanted."""
    result = replace(
        result,
        engine_bytes=task.engine.stat().st_size,
        engine_sha256=sha256(task.engine),
    )
    record = task.engine.with_name("record")
    record.write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")
    # An old record does not belong to the new engine.
    result.sidecar.unlink(missing_ok=True)
    os.replace(task.engine, result.engine)
    os.replace(record, result.sidecar)
    if result.settings.timing_cache is None or not task.cache.exists():
        return result
    try:
        _move(task.cache, result.settings.timing_cache)
    except OSError as error:
        note = f"the timing cache could not be written: {error.strerror or error}"
        return replace(result, notes=(*result.notes, note))
    return result


def _move(source: Path, target: Path) -> None:
    """Have a file appear whole, on another file system too."""
    beside = target.with_name(f".{target.name}.onnx-fix")
    try:
        beside.write_bytes(source.read_bytes())
        os.replace(beside, target)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _explained(task: Task, result: BuildResult, target: Target) -> tuple[Explanation, ...]:
    """What the errors of the attempts that failed mean, and the warnings about the engine."""
    lines = [line for tried in result.attempts if not tried.built for line in tried.said]
    lines += result.last.warnings if result.ok else ()
    if not lines:
        return ()
    text = "\n".join(dict.fromkeys(lines))
    try:
        found = explain_log(text, Model(task.proto, task.model.parent, target), target=target)
    except OnnxFixError:
        # What no parser takes may be no model to us either; the message stands for itself.
        found = explain_log(text, target=target)
    # What is not known of a warning says no more than the warning itself.
    silent = ("harmless", "unknown") if all(a.built for a in result.attempts) else ("harmless",)
    return tuple(one for one in found if one.severity not in silent)


def _against(task: Task) -> Iterator[str]:
    """What inference of sizes finds wrong with the profiles, where the builder refused one."""
    for number, profile in enumerate(task.profiles, 1):
        which = f"profile {number}" if len(task.profiles) > 1 else "the profile"
        findings: list[ProfileFinding] = []
        with suppress(OnnxFixError):
            findings = check_profile(task.proto, profile, task.target, run=False)
        for finding in findings:
            if finding.severity == "error":
                node = f" (at {finding.op} {finding.node})" if finding.node else ""
                yield f"{which}: {finding.message}{node}; {finding.mend}"


def _check_cache(path: Path) -> None:
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"the timing cache {path} can be neither read nor written")


def _stamps(path: Path, files: Mapping[str, Path]) -> list[tuple[int, int]]:
    try:
        found = [file.stat() for file in (path, *files.values())]
    except OSError:
        return []
    return [(stat.st_size, stat.st_mtime_ns) for stat in found]


def sha256(path: Path) -> str:
    """The SHA-256 of a file, which is never read whole."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
