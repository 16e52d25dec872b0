"""Modules that are no part of a package: the scripts of benchmarks and of fixtures."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]


def load(path: Path) -> ModuleType:
    """A module from its file, the same one each time; it has the name of the file."""
    name = path.stem
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


def benchmark(name: str) -> ModuleType:
    """A script of the benchmarks."""
    return load(ROOT / "benchmarks" / f"{name}.py")


def sidecars() -> ModuleType:
    """What reads the description beside an exported model."""
    return load(ROOT / "fixtures" / "export" / "sidecar.py")
