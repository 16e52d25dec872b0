"""The command that repeats a build."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx_fix.building.settings import BuildSettings
from onnx_fix.profiles import InputRange, Profile


def command_of(
    model: Path, engine: Path, target: str, profiles: Sequence[Profile], settings: BuildSettings
) -> tuple[str, ...]:
    """The words of ``onnx-fix build`` for these."""
    said = ["onnx-fix", "build", str(model), "-o", str(engine), "--target", target]
    for profile in profiles:
        said += ["--profile", spelled(profile)]
    return (*said, *settings.options())


def spelled(profile: Profile) -> str:
    """A profile as the option ``--profile`` reads it."""
    return ",".join(f"{entry.name}={_range(entry)}" for entry in profile.inputs)


def _range(entry: InputRange) -> str:
    bounds = [_bound(sizes, entry.kind == "values") for sizes in entry.shapes]
    return bounds[0] if len(set(bounds)) == 1 else ":".join(bounds)


def _bound(sizes: Sequence[int], values: bool) -> str:
    return f"[{','.join(map(str, sizes))}]" if values else "x".join(map(str, sizes))
