"""onnx-fix: rewrite an exported ONNX model so that TensorRT builds it.

``fix`` is the main job; ``Pass`` and what it yields are for those who write passes. Everything is
imported on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "BuildResult": "onnx_fix.building",
    "BuildSettings": "onnx_fix.building",
    "Change": "onnx_fix.contract",
    "Emitter": "onnx_fix.emit",
    "Exactness": "onnx_fix.contract",
    "FixResult": "onnx_fix.api",
    "ModelPass": "onnx_fix.contract",
    "OnnxFixError": "onnx_fix.errors",
    "Parts": "onnx_fix.parts",
    "Pass": "onnx_fix.contract",
    "Pipeline": "onnx_fix.pipeline",
    "Rewrite": "onnx_fix.contract",
    "Scope": "onnx_fix.scope",
    "Skip": "onnx_fix.contract",
    "SplitResult": "onnx_fix.splitting",
    "Target": "onnx_fix.target",
    "build": "onnx_fix.building",
    "fix": "onnx_fix.api",
    "load_target": "onnx_fix.target",
    "plan": "onnx_fix.api",
    "read_pipeline": "onnx_fix.pipeline",
    "run_parts": "onnx_fix.parts",
    "split": "onnx_fix.splitting",
}

if TYPE_CHECKING:
    from onnx_fix.api import FixResult, fix, plan
    from onnx_fix.building import BuildResult, BuildSettings, build
    from onnx_fix.contract import Change, Exactness, ModelPass, Pass, Rewrite, Skip
    from onnx_fix.emit import Emitter
    from onnx_fix.errors import OnnxFixError
    from onnx_fix.parts import Parts, run_parts
    from onnx_fix.pipeline import Pipeline, read_pipeline
    from onnx_fix.scope import Scope
    from onnx_fix.splitting import SplitResult, split
    from onnx_fix.target import Target, load_target

__all__ = [
    "BuildResult",
    "BuildSettings",
    "Change",
    "Emitter",
    "Exactness",
    "FixResult",
    "ModelPass",
    "OnnxFixError",
    "Parts",
    "Pass",
    "Pipeline",
    "Rewrite",
    "Scope",
    "Skip",
    "SplitResult",
    "Target",
    "build",
    "fix",
    "load_target",
    "plan",
    "read_pipeline",
    "run_parts",
    "split",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'onnx_fix' has no attribute '{name}'")
