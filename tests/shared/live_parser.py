"""The benchmark script ``rtx.py``, which asks the real TensorRT-RTX, as a module."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_spec = importlib.util.spec_from_file_location(
    "rtx", Path(__file__).parents[2] / "benchmarks" / "rtx.py"
)
assert _spec is not None and _spec.loader is not None
rtx = importlib.util.module_from_spec(_spec)
sys.modules["rtx"] = rtx  # dataclasses look their own module up
_spec.loader.exec_module(rtx)
