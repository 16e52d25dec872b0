"""From a fixed model to an engine: the builder in a process of its own, with limits.

`build` is the door; `BuildSettings` says how, `BuildResult` what came of it.
"""

from onnx_fix.building.builders import Builder, choose_builder, installed_builders
from onnx_fix.building.result import Attempt, BuildResult, Guilty, Progress, Status
from onnx_fix.building.run import build
from onnx_fix.building.settings import BuildSettings, Precision

__all__ = [
    "Attempt",
    "BuildResult",
    "BuildSettings",
    "Builder",
    "Guilty",
    "Precision",
    "Progress",
    "Status",
    "build",
    "choose_builder",
    "installed_builders",
]
