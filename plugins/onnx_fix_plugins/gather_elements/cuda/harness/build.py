"""The commands that compile the kernel and its harness."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
KERNEL = HERE.parent / "gather_elements.cu"

ARCHITECTURES = (75, 80, 86, 87, 89, 90, 100, 120)
"""What the plugin is compiled for; sm_72 as well where the toolkit is older than 13.0."""

STRICT = ["-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra"]


def nvcc() -> str | None:
    """The path of nvcc, or None."""
    usual = Path("/usr/local/cuda/bin/nvcc")
    return shutil.which("nvcc") or (str(usual) if usual.exists() else None)


def known_architectures(compiler: str) -> list[int]:
    """What this nvcc compiles for."""
    shown = subprocess.run(
        [compiler, "--list-gpu-code"], capture_output=True, text=True, check=True
    )
    names = [line.removeprefix("sm_") for line in shown.stdout.split()]
    return sorted(int(name) for name in names if name.isdigit())


def flags(architectures: Sequence[int], standard: str = "c++14") -> list[str]:
    """The flags common to every compilation of the kernel."""
    targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in architectures]
    return ["-O3", f"-std={standard}", *targets, *STRICT]


def compile_object(compiler: str, architectures: Sequence[int], to: Path, *more: str) -> None:
    """The kernel as an object file.

    Raises:
        subprocess.CalledProcessError: with what the compiler wrote; a warning is an error.
    """
    _run([compiler, *flags(architectures), *more, "-c", str(KERNEL), "-o", str(to)])


def compile_harness(compiler: str, architectures: Sequence[int], to: Path) -> Path:
    """The program ``gather_harness`` in the folder ``to``."""
    program = to / "gather_harness"
    sources = [str(HERE / "harness.cu"), str(KERNEL)]
    _run([compiler, *flags(architectures), *sources, "-o", str(program)])
    return program


def compile_library(compiler: str, architectures: Sequence[int], to: Path) -> Path:
    """The library ``libgather_elements.so`` in the folder ``to``, with the C interface."""
    library = to / "libgather_elements.so"
    sources = [str(HERE / "bindings.cpp"), str(KERNEL)]
    shared = ["-shared", "-Xcompiler", "-fPIC"]
    _run([compiler, *flags(architectures), *shared, *sources, "-o", str(library)])
    return library


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise subprocess.CalledProcessError(
            done.returncode, command, output=done.stdout, stderr=done.stderr
        )
