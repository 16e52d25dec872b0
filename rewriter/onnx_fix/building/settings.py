"""What a build is asked for, apart from the model and its profiles."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from onnx_fix.errors import UsageError

Precision = Literal["as-is", "fp32", "fp16", "bf16"]
"""``as-is``: the types of the model. ``fp16`` and ``bf16`` let the builder lower FP32, ``fp32``
forbids it; only releases that have such flags know the three."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
HIGHEST_LEVEL = 5
TIME_LIMIT = 3600.0
BISECT_LIMIT = 600.0

_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*(B|K|M|G|T|)(?:i?B)?", re.IGNORECASE)
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|)", re.IGNORECASE)
_CAPABILITY = re.compile(r"\d{1,2}\.\d")
_SCALE = {"B": 1, "K": 2**10, "M": 2**20, "": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """How an engine is built.

    ``workspace`` is in bytes, None for the builder's own default. ``compute_capabilities`` such as
    ``8.6`` name the GPUs that TensorRT-RTX builds for, without one at hand; ``current`` is the one
    at hand. ``time_limit`` and ``bisect_limit`` are in seconds; ``memory_limit`` in bytes of
    resident memory, None for nine tenths of what is free at the start, 0 for no limit.
    """

    precision: Precision = "as-is"
    workspace: int | None = None
    timing_cache: Path | None = None
    optimization_level: int | None = None
    version_compatible: bool = False
    compute_capabilities: tuple[str, ...] = ()
    plugins: tuple[Path, ...] = ()
    time_limit: float = TIME_LIMIT
    memory_limit: int | None = None
    bisect_limit: float = BISECT_LIMIT

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision {self.precision}: choose {', '.join(PRECISIONS)}")
        if self.workspace is not None and self.workspace <= 0:
            raise UsageError(f"a workspace of {self.workspace} bytes: it must be positive")
        level = self.optimization_level
        if level is not None and not 0 <= level <= HIGHEST_LEVEL:
            raise UsageError(f"optimization level {level}: it is a number from 0 to 5")
        if not self.time_limit > 0:
            raise UsageError(f"a time limit of {self.time_limit} s: it must be positive")
        if self.bisect_limit < 0:
            raise UsageError(f"a bisect limit of {self.bisect_limit} s: it must not be negative")
        if self.memory_limit is not None and self.memory_limit < 0:
            raise UsageError(f"a memory limit of {self.memory_limit} bytes: it must be positive")
        capabilities = self.compute_capabilities
        for text in capabilities:
            if text != "current" and not _CAPABILITY.fullmatch(text):
                raise UsageError(f"compute capability {text}: write 8.6, 8.9 or current")
        if len(set(capabilities)) < len(capabilities):
            raise UsageError(f"a compute capability is named twice: {', '.join(capabilities)}")
        if "current" in capabilities and len(capabilities) > 1:
            raise UsageError("compute capability current cannot stand beside others")
        for path in self.plugins:
            if not path.is_file():
                raise UsageError(f"{path}: there is no such plugin library")

    def with_precision(self, precision: Precision) -> BuildSettings:
        """The same with another precision."""
        return replace(self, precision=precision)

    def options(self) -> list[str]:
        """The options of ``onnx-fix build`` that say the same; defaults are left out."""
        said: list[str] = []
        if self.precision != "as-is":
            said += ["--precision", self.precision]
        if self.workspace is not None:
            said += ["--workspace", f"{self.workspace}B"]
        if self.timing_cache is not None:
            said += ["--timing-cache", str(self.timing_cache)]
        if self.optimization_level is not None:
            said += ["--optimization-level", str(self.optimization_level)]
        if self.version_compatible:
            said += ["--version-compatible"]
        for text in self.compute_capabilities:
            said += ["--compute-capability", text]
        for path in self.plugins:
            said += ["--plugin-library", str(path)]
        if self.time_limit != TIME_LIMIT:
            said += ["--time-limit", f"{self.time_limit:g}"]
        if self.memory_limit is not None:
            said += ["--memory-limit", f"{self.memory_limit}B" if self.memory_limit else "none"]
        if self.bisect_limit != BISECT_LIMIT:
            said += ["--bisect-limit", f"{self.bisect_limit:g}"]
        return said

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "precision": self.precision,
            "workspace_bytes": self.workspace,
            "timing_cache": None if self.timing_cache is None else str(self.timing_cache),
            "optimization_level": self.optimization_level,
            "version_compatible": self.version_compatible,
            "compute_capabilities": list(self.compute_capabilities),
            "plugins": [str(path) for path in self.plugins],
            "time_limit_s": self.time_limit,
            "memory_limit_bytes": self.memory_limit,
            "bisect_limit_s": self.bisect_limit,
        }


def parse_bytes(text: str, option: str) -> int:
    """``4G``, ``512M``, ``4096B`` or a number of MiB as trtexec has it; units are powers of 1024.

    Raises:
        UsageError: the text has another form.
    """
    found = _BYTES.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{option} {text}: write a number of MiB, or 512M, 4G")
    return int(float(found.group(1)) * _SCALE[found.group(2).upper()])


def parse_seconds(text: str, option: str) -> float:
    """``90``, ``90s``, ``15m`` or ``2h`` in seconds.

    Raises:
        UsageError: the text has another form.
    """
    found = _SECONDS.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{option} {text}: write seconds, or 90s, 15m, 2h")
    scale = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
    return float(found.group(1)) * scale[found.group(2).lower()]
