"""Which builder there is on this machine, and which is meant."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from onnx_fix.check.live.result import PRODUCTS, LiveParser
from onnx_fix.check.live.run import installed
from onnx_fix.errors import UsageError
from onnx_fix.target import Target, load_target
from onnx_fix.target.detect import package_version, trtexec_version
from onnx_fix.target.releases import target_name

Kind = Literal["tensorrt", "tensorrt_rtx", "trtexec"]

_HOW = (
    "install TensorRT-RTX, which needs no GPU (pip install 'onnx-fix[rtx]'), or TensorRT "
    "(pip install 'onnx-fix[tensorrt]'), or put trtexec on PATH"
)


@dataclass(frozen=True, slots=True)
class Builder:
    """A package that can be imported, or the program trtexec."""

    kind: Kind
    version: str
    program: str = ""

    @property
    def label(self) -> str:
        """How it is called in messages, such as ``TensorRT-RTX 1.7.1``."""
        if self.kind == "trtexec":
            return f"trtexec of TensorRT {self.version}"
        return LiveParser(self.kind, self.version).label

    @property
    def product(self) -> str:
        """The name without the version."""
        return "trtexec" if self.kind == "trtexec" else PRODUCTS[self.kind]

    def target(self) -> Target:
        """The target that it builds for."""
        prefix = "rtx" if self.kind == "tensorrt_rtx" else "trt"
        return load_target(f"{prefix}-{self.version}")

    def is_release(self, release: str) -> bool:
        """Whether it is a release of the facts, patch levels aside."""
        package = "tensorrt" if self.kind == "trtexec" else self.kind
        return LiveParser(package, self.version).is_release(release)


def installed_builders() -> Iterator[Builder]:
    """The builders of this machine: the classic TensorRT, TensorRT-RTX, then trtexec."""
    for parser in installed():
        version = parser.version or package_version(parser.package)
        if version:
            yield Builder(parser.package, version)
    program = shutil.which("trtexec")
    if program is not None:
        version = trtexec_version(program)
        if version:
            yield Builder("trtexec", version, program)


def choose_builder(target: str | Target | None) -> tuple[Builder, Target]:
    """The builder for a target; for ``auto`` or None the first there is.

    Raises:
        UsageError: there is none, or none of that release: an engine is built by the release that
            runs it.
    """
    if target is None or target == "auto":
        for builder in installed_builders():
            return builder, builder.target()
        raise UsageError(f"no builder is installed: {_HOW}")
    wanted = load_target(target) if isinstance(target, str) else target
    found = list(installed_builders())
    for builder in found:
        if builder.is_release(wanted.release):
            return builder, wanted
    if not found:
        raise UsageError(f"no builder is installed: {_HOW}")
    has = ", ".join(builder.label for builder in found)
    raise UsageError(
        f"an engine for {target_name(wanted.release)} is built by that very release, and this "
        f"machine has {has}: install that release, or name --target auto"
    )
