"""Check that a rewritten model computes what the original does.

`verify` runs both models on the same feeds and compares every output. Importing this package
does not import onnxruntime; that happens when a model is run.
"""

from __future__ import annotations

from onnx_fix.verify.check import OracleChoice, Progress, verify
from onnx_fix.verify.compare import Comparison, Tolerance, compare, default_tolerance
from onnx_fix.verify.feeds import make_feeds
from onnx_fix.verify.result import Case, Verification, describe
from onnx_fix.verify.sizes import plan_sizes
from onnx_fix.verify.symbols import symbols
from onnx_fix.verify.user_feeds import load_user_feeds

__all__ = [
    "Case",
    "Comparison",
    "OracleChoice",
    "Progress",
    "Tolerance",
    "Verification",
    "compare",
    "default_tolerance",
    "describe",
    "load_user_feeds",
    "make_feeds",
    "plan_sizes",
    "symbols",
    "verify",
]
