"""The benchmark script ``rtx.py``, which asks the real TensorRT-RTX, as a module."""

from __future__ import annotations

from by_path import benchmark

rtx = benchmark("rtx")
