"""The installed TensorRT as a witness: what its parser and builder make of a model.

`run_live` asks it in a process of its own, `merge` puts the answer beside the facts.
"""

from __future__ import annotations

from onnx_fix.check.live.codes import LIVE_CODES
from onnx_fix.check.live.merge import merge
from onnx_fix.check.live.result import LiveError, LiveMessage, LiveParser, LiveResult, Place
from onnx_fix.check.live.run import available, installed, run_live

__all__ = [
    "LIVE_CODES",
    "LiveError",
    "LiveMessage",
    "LiveParser",
    "LiveResult",
    "Place",
    "available",
    "installed",
    "merge",
    "run_live",
]
