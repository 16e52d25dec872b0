"""The command that repeats a build."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx_fix.building.settings import BuildSettings
from onnx_fix.profiles import Asked, InputRange, Profile, spell_profile
from onnx_fix.profiles.asked import of_bounds


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
    return spell_profile(asked(profile))


def asked(profile: Profile) -> list[Asked]:
    """What a person would have written for a profile, input by input.

    Raises:
        UsageError: a range is none.
    """
    return [_asked(entry) for entry in profile.inputs]


def _asked(entry: InputRange) -> Asked:
    return of_bounds(entry.name, [(entry.kind, bound) for bound in entry.shapes])
