"""Targets: what each TensorRT release makes of an ONNX node.

``load_target(name).judge(node)`` answers supported, refused (with the reasons) or unknown. The
facts stand in ``data/``; importing this package imports neither tensorrt nor onnxruntime.
"""

from __future__ import annotations

from onnx_fix.target.choose import choose_target
from onnx_fix.target.facts import Constness, Dim, NodeFacts, Origin, TensorFacts
from onnx_fix.target.kinds import NOT_EVALUATED
from onnx_fix.target.releases import known_targets
from onnx_fix.target.target import Target, default_target, load_target
from onnx_fix.target.verdict import (
    MISREAD,
    REFUSING_EFFECTS,
    SUPPORTED,
    Finding,
    Status,
    Verdict,
)

__all__ = [
    "MISREAD",
    "NOT_EVALUATED",
    "REFUSING_EFFECTS",
    "SUPPORTED",
    "Constness",
    "Dim",
    "Finding",
    "NodeFacts",
    "Origin",
    "Status",
    "Target",
    "TensorFacts",
    "Verdict",
    "choose_target",
    "default_target",
    "known_targets",
    "load_target",
]
