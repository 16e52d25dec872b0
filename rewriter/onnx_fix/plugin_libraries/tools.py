"""The programs that building a plugin library takes: CMake, make or Ninja, nvcc, a C++ compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from onnx_fix.errors import UsageError

CMAKE_SINCE = (3, 18)
"""The first version of CMake that reads the project."""

_TIMEOUT_S = 60.0
_WHEELS = ("tensorrt_libs", "tensorrt_rtx_libs")


@dataclass(frozen=True, slots=True)
class Tools:
    """Paths of the programs. ``generator`` is CMake's name of what runs the compilers."""

    cmake: str
    nvcc: str
    compiler: str
    generator: str


def find_tools(cuda_root: Path | None) -> Tools:
    """The programs of this machine.

    Raises:
        UsageError: one is missing or too old; the message says how to get it.
    """
    cmake = shutil.which("cmake")
    if cmake is None:
        raise UsageError(
            "cmake is not on PATH; install it (apt install cmake, or pip install cmake)"
        )
    version = _version(cmake)
    if version < CMAKE_SINCE:
        have, wanted = (".".join(map(str, v)) for v in (version, CMAKE_SINCE))
        raise UsageError(f"{cmake} is CMake {have}; install {wanted} or later (pip install cmake)")
    generator = "Ninja" if shutil.which("ninja") else "Unix Makefiles"
    if generator != "Ninja" and shutil.which("make") is None:
        raise UsageError("neither ninja nor make is on PATH; install one (apt install make)")
    compiler = next(filter(None, map(shutil.which, _compilers())), None)
    if compiler is None:
        raise UsageError("there is no C++ compiler; install one (apt install g++), or set CXX")
    return Tools(cmake, _nvcc(cuda_root), compiler, generator)


def wheel_folders() -> list[Path]:
    """The folders of the libraries in NVIDIA's Python wheels, which have no headers."""
    specs = (find_spec(name) for name in _WHEELS)
    return [Path(place) for s in specs if s for place in s.submodule_search_locations or ()]


def _compilers() -> Iterator[str]:
    if os.environ.get("CXX"):
        yield os.environ["CXX"]
    yield from ("c++", "g++", "clang++")


def _version(cmake: str) -> tuple[int, ...]:
    try:
        said = subprocess.run(
            [cmake, "--version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
            stdin=subprocess.DEVNULL, errors="replace",
        ).stdout  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    found = re.search(r"version (\d+)\.(\d+)", said)
    if found is None:
        raise UsageError(f"{cmake} does not say its version; install CMake anew")
    return int(found.group(1)), int(found.group(2))


def _nvcc(root: Path | None) -> str:
    if root is not None:
        for path in (root / "bin" / "nvcc", root / "nvcc", root):
            if path.is_file() and path.name.startswith("nvcc"):
                return str(path)
        raise UsageError(f"--cuda-root {root}: there is no bin/nvcc in it")
    for place in _cuda_places():
        found = shutil.which(place)
        if found is not None:
            return found
    raise UsageError(
        "nvcc was not found; install the CUDA toolkit that the TensorRT release was made for, and "
        "put nvcc on PATH or pass --cuda-root"
    )


def _cuda_places() -> Iterator[str]:
    if os.environ.get("CUDACXX"):
        yield os.environ["CUDACXX"]
    yield "nvcc"
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(name):
            yield str(Path(os.environ[name], "bin", "nvcc"))
    yield "/usr/local/cuda/bin/nvcc"
    spec = find_spec("nvidia")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield from map(str, sorted(Path(place).glob("*/bin/nvcc"), reverse=True))
