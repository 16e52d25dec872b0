"""What compiling the plugins takes on this machine, for the tests that do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from onnx_fix_plugins import gather_elements

HEADERS_VARIABLE = "ONNX_FIX_TENSORRT_HEADERS"
"""Environment variable: folders of NvInfer.h, one a release, with ':' between them."""

SOURCES = gather_elements.source().folder
CPP = Path(__file__).parent.parent / "plugins" / "cpp"
STRICT = ("-std=c++14", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror")


@cache
def headers() -> dict[str, Path]:
    """The folders of TensorRT's headers by release, such as 8.6."""
    found: dict[str, Path] = {}
    for text in filter(None, os.environ.get(HEADERS_VARIABLE, "").split(os.pathsep)):
        places = [p for p in (Path(text), Path(text, "include")) if (p / "NvInfer.h").is_file()]
        assert places, f"{HEADERS_VARIABLE}: there is no NvInfer.h in {text}"
        found[_release(places[0])] = places[0].absolute()
    return found


def header_releases(*always: str) -> list[str]:
    """The releases whose headers are at hand, and those that are always worth a skip."""
    return sorted({*headers(), *always}, key=lambda r: tuple(map(int, r.split("."))))


def headers_of(release: str) -> Path:
    """The folder of the headers of a release; the test is skipped where there is none."""
    if release not in headers():
        pytest.skip(f"no headers of TensorRT {release}: name their folder in {HEADERS_VARIABLE}")
    return headers()[release]


def compiler() -> str:
    """A C++ compiler; the test is skipped where there is none."""
    found = shutil.which("c++") or shutil.which("g++")
    if found is None:
        pytest.skip("there is no C++ compiler")
    return found


def nvcc() -> str:
    """CUDA's compiler; the test is skipped where there is none."""
    found = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if found is None:
        pytest.skip("there is no nvcc")
    return found


def cuda() -> Path:
    """The folder of the CUDA toolkit; the test is skipped where it is not found."""
    for root in _cuda_roots():
        if (root / "include" / "cuda_runtime_api.h").is_file():
            return root
    pytest.skip("there are no headers of CUDA")


def compile_cpp(include: Path, arguments: Sequence[str], output: Path) -> None:
    """Compile against headers of TensorRT. A warning of our own sources is an error."""
    root = cuda()
    done = subprocess.run(
        [compiler(), *STRICT, f"-I{SOURCES}", "-isystem", str(include),
         "-isystem", str(root / "include"), *arguments, "-o", str(output),
         f"-L{root / 'lib64'}", f"-L{root / 'lib'}", "-lcudart_static", "-ldl", "-lrt", "-pthread"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _cuda_roots() -> Iterator[Path]:
    found = shutil.which("nvcc")
    if found is not None:
        yield Path(found).parent.parent
        yield Path(found).resolve().parent.parent
    yield Path("/usr/local/cuda")


def _release(folder: Path) -> str:
    text = (folder / "NvInferVersion.h").read_text()
    macros = dict(re.findall(r"#define\s+(\w+)\s+(\w+)", text))
    numbers = []
    for name in ("NV_TENSORRT_MAJOR", "NV_TENSORRT_MINOR"):
        value = macros[name]
        while value in macros:
            value = macros[value]
        numbers.append(value)
    return ".".join(numbers)
