"""Check that a rewritten model computes what the original does.

`verify` runs both models on the same feeds and compares every output. Everything is imported on
first use, since most of the program reads no more than the dims of inputs; onnxruntime only when a
model is run. What a module here is called too (`compare`, `symbols`) is imported from that module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

_HOME = {
    "Case": "result",
    "Comparison": "compare",
    "OracleChoice": "check",
    "Progress": "check",
    "Tolerance": "compare",
    "Verification": "result",
    "default_tolerance": "compare",
    "describe": "result",
    "load_user_feeds": "user_feeds",
    "make_feeds": "feeds",
    "plan_sizes": "sizes",
    "verify": "check",
}

if TYPE_CHECKING:
    from onnx_fix.verify.check import OracleChoice, Progress, verify
    from onnx_fix.verify.compare import Comparison, Tolerance, default_tolerance
    from onnx_fix.verify.feeds import make_feeds
    from onnx_fix.verify.result import Case, Verification, describe
    from onnx_fix.verify.sizes import plan_sizes
    from onnx_fix.verify.user_feeds import load_user_feeds

__all__ = [
    "Case",
    "Comparison",
    "OracleChoice",
    "Progress",
    "Tolerance",
    "Verification",
    "default_tolerance",
    "describe",
    "load_user_feeds",
    "make_feeds",
    "plan_sizes",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(f"onnx_fix.verify.{_HOME[name]}"), name)
    raise AttributeError(f"module 'onnx_fix.verify' has no attribute '{name}'")
