"""What came of a build."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from onnx_fix.building.builders import Builder
from onnx_fix.building.settings import BuildSettings, Precision
from onnx_fix.explain import Explanation
from onnx_fix.profiles import InputRange, Profile

Status = Literal[
    "built",
    "refused",
    "died",
    "timed out",
    "out of memory",
    "not written",
    "lacking",
    "unsupported",
    "unusable",
]
"""``refused``: the parser or the builder says no. ``died``: every end without a full answer, of a
signal, an exit code or garbage. ``timed out`` and ``out of memory``: stopped at a limit. ``not
written``: built, and the file could not be written. ``lacking``: a profile lacks something.
``unsupported``: an option that this TensorRT has no means for. ``unusable``: TensorRT cannot be
loaded or started here."""

EXIT_CODES: dict[Status, int] = {
    "built": 0,
    "refused": 1,
    "died": 5,
    "timed out": 5,
    "out of memory": 5,
    "not written": 2,
    "lacking": 2,
    "unsupported": 2,
    "unusable": 2,
}

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Progress:
    """A phase of the builder: ``step`` of ``steps``, nested ``depth`` phases deep."""

    phase: str
    step: int
    steps: int
    depth: int
    done: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of the builder.

    ``detail`` says how it ended, in words that follow "it"; ``stage`` what was being done last and
    ``at`` the node of the model or the phase of the builder that it had come to. ``said`` are the
    errors of parser and builder, ``warnings`` what else was logged. ``seconds`` count the whole
    process, ``build_seconds`` the call that builds. ``peak_bytes`` is 0 where it is not known.
    """

    precision: Precision
    status: Status
    detail: str = ""
    stage: str = ""
    at: str = ""
    version: str = ""
    said: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    seconds: float = 0.0
    build_seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def built(self) -> bool:
        """Whether there is an engine."""
        return self.status == "built"

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "precision": self.precision,
            "status": self.status,
            "detail": self.detail,
            "stage": self.stage,
            "at": self.at,
            "errors": list(self.said),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 2),
            "build_seconds": round(self.build_seconds, 2),
            "peak_bytes": self.peak_bytes,
        }


@dataclass(frozen=True, slots=True)
class Guilty:
    """The layers that keep an engine from being built in a lower precision.

    With all of ``layers`` in FP32 the rest builds, unless ``complete`` is False: then the time was
    up, and there may be more. ``builds`` is how many builds it took.
    """

    layers: tuple[str, ...]
    complete: bool
    builds: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {"layers": list(self.layers), "complete": self.complete, "builds": self.builds}


@dataclass(frozen=True)
class BuildResult:
    """What ``build`` gives back.

    ``attempts`` are in order; the last one decides. There are two where the precision that was
    asked for failed and FP32 was tried. ``explanations`` say what the errors of the attempts that
    failed mean.
    """

    model: Path
    engine: Path
    sidecar: Path
    target: str
    builder: Builder
    settings: BuildSettings
    profiles: tuple[Profile, ...]
    attempts: tuple[Attempt, ...]
    command: tuple[str, ...]
    model_sha256: str
    external_sha256: dict[str, str]
    engine_bytes: int = 0
    engine_sha256: str = ""
    explanations: tuple[Explanation, ...] = ()
    guilty: Guilty | None = None
    notes: tuple[str, ...] = ()

    @property
    def last(self) -> Attempt:
        """The attempt that decided."""
        return self.attempts[-1]

    @property
    def status(self) -> Status:
        """How it ended."""
        return self.last.status

    @property
    def ok(self) -> bool:
        """Whether there is an engine."""
        return self.last.built

    @property
    def fell_back(self) -> bool:
        """Whether another precision was built than the one that was asked for."""
        return self.ok and self.last.precision != self.settings.precision

    @property
    def exit_code(self) -> int:
        """What the command line ends with."""
        return EXIT_CODES[self.status]

    @property
    def seconds(self) -> float:
        """All attempts together."""
        return sum(attempt.seconds for attempt in self.attempts)

    @property
    def peak_bytes(self) -> int:
        """The most memory of any attempt; 0 where it is not known."""
        return max(attempt.peak_bytes for attempt in self.attempts)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data. Keys are only ever added within a schema version."""
        from onnx_fix import __version__

        version = self.last.version or self.builder.version
        return {
            "schema_version": SCHEMA_VERSION,
            "onnx_fix": __version__,
            "status": self.status,
            "model": {
                "path": str(self.model),
                "sha256": self.model_sha256,
                "external_data": dict(self.external_sha256),
            },
            "engine": {
                "path": str(self.engine),
                "bytes": self.engine_bytes,
                "sha256": self.engine_sha256,
            }
            if self.ok
            else None,
            "builder": {"package": self.builder.kind, "version": version},
            "target": self.target,
            "profiles": [profile_to_dict(profile) for profile in self.profiles],
            "precision": {
                "asked": self.settings.precision,
                "built": self.last.precision if self.ok else None,
            },
            "settings": self.settings.to_dict(),
            "command": list(self.command),
            "attempts": [attempt.to_dict() for attempt in self.attempts],
            "fp32_layers": None if self.guilty is None else self.guilty.to_dict(),
            "explanations": [one.to_dict() for one in self.explanations],
            "notes": list(self.notes),
            "seconds": round(self.seconds, 2),
            "peak_bytes": self.peak_bytes,
        }


def range_to_dict(entry: InputRange) -> dict[str, Any]:
    """What a profile says of one input, as JSON-able data."""
    return {
        "name": entry.name,
        "kind": entry.kind,
        "min": list(entry.min),
        "opt": list(entry.opt),
        "max": list(entry.max),
    }


def profile_to_dict(profile: Profile) -> list[dict[str, Any]]:
    """A profile as JSON-able data."""
    return [range_to_dict(entry) for entry in profile.inputs]
