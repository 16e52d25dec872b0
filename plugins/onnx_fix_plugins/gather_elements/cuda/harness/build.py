"""The commands that compile the kernel and its harness."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
SOURCES = tuple(sorted(HERE.parent.glob("gather_elements*.cu")))
"""The kernel: the choice among the paths, and one file for each of them."""

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


def compile_objects(
    compiler: str, architectures: Sequence[int], to: Path, *more: str
) -> list[Path]:
    """The kernel as object files in the folder ``to``.

    Raises:
        subprocess.CalledProcessError: with what the compiler wrote; a warning is an error.
    """

    def one(source: Path) -> Path:
        made = to / f"{source.stem}.o"
        _run([compiler, *flags(architectures), *more, "-c", str(source), "-o", str(made)])
        return made

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, SOURCES))


def compile_all(compiler: str, architectures: Sequence[int], to: Path) -> tuple[Path, Path]:
    """The program ``gather_harness`` and ``libgather_elements.so``, which has the C interface."""
    with TemporaryDirectory() as folder:
        shared = ["-Xcompiler", "-fPIC"]
        objects = map(str, compile_objects(compiler, architectures, Path(folder), *shared))
        kernel = [*flags(architectures), *objects]
        program, library = to / "gather_harness", to / "libgather_elements.so"
        _run([compiler, *kernel, str(HERE / "harness.cu"), "-o", str(program)])
        bindings = [*shared, "-shared", str(HERE / "bindings.cpp")]
        _run([compiler, *kernel, *bindings, "-o", str(library)])
    return program, library


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise subprocess.CalledProcessError(
            done.returncode, command, output=done.stdout, stderr=done.stderr
        )
