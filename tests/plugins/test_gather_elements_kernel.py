"""The CUDA kernel of GatherElementsPlugin: it compiles, and its index arithmetic is right.

The arithmetic is compiled for the host, so that it is tested where no GPU is. The kernel itself
is tested on a GPU by the harness beside it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from onnx_fix_plugins import gather_elements
from onnx_fix_plugins.gather_elements.cuda.harness import build
from onnx_fix_plugins.gather_elements.cuda.harness.__main__ import table

CUDA = build.HERE.parent
CXX = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
NVCC = build.nvcc()

needs_nvcc = pytest.mark.skipif(NVCC is None, reason="nvcc is not on the PATH")
needs_cxx = pytest.mark.skipif(CXX is None, reason="no C++ compiler")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index arithmetic as a program of the host."""
    program = tmp_path_factory.mktemp("host") / "host_index"
    assert CXX is not None
    flags = ["-std=c++14", "-O1", "-Wall", "-Wextra", "-Werror"]
    source = build.HERE / "host_index.cpp"
    subprocess.run([CXX, *flags, str(source), "-o", str(program)], check=True)
    return program


class Question:
    """One case for the program, and what it must answer."""

    def __init__(
        self,
        data: tuple[int, ...],
        indices: NDArray[np.int64],
        axis: int,
        offset_bits: int,
        index_bits: int,
    ) -> None:
        self.data, self.indices, self.axis = data, indices, axis
        numbers = [offset_bits, index_bits, axis, len(data), *data, *indices.shape]
        flat = indices.ravel().tolist()
        self.line = " ".join(map(str, [*numbers, len(flat), *flat]))

    def answer(self) -> tuple[int, list[int]]:
        """How many indices are out of range, and the place in data of every output."""
        size = self.data[self.axis]
        outside = (self.indices < -size) | (self.indices >= size)
        inside = np.clip(self.indices, -size, size - 1)
        # Data that holds its own places, gathered by the reference, says which place is read.
        places = np.arange(int(np.prod(self.data)), dtype=np.int64).reshape(self.data)
        inside = np.where((self.indices < -size), -size, inside)
        return int(outside.sum()), (
            gather_elements.reference(places, inside, self.axis).ravel().tolist()
        )


def ask(host: Path, questions: list[Question]) -> list[str]:
    lines = "\n".join(q.line for q in questions) + "\n"
    done = subprocess.run([host], input=lines, capture_output=True, text=True, check=True)
    first, *answers = done.stdout.splitlines()
    assert all(int(tried) > 10000 for tried in first.split()), first
    assert len(answers) == len(questions)
    return answers


def drawn(rng: np.random.Generator) -> Question:
    rank = int(rng.integers(1, 9))
    axis = int(rng.integers(rank))
    most = [200, 20, 9, 6, 4, 4, 3, 3][rank - 1]
    data = [int(rng.integers(1, most + 1)) for _ in range(rank)]
    narrow = rng.integers(3) == 0
    shape = [int(rng.integers(1, d + 1)) if narrow and rng.integers(2) else d for d in data]
    shape[axis] = int(rng.integers(0, 2 * most))
    size = data[axis]
    indices = rng.integers(-size, size, shape)
    index_bits = int(rng.choice([32, 64]))
    if rng.integers(3) == 0:
        ends = np.iinfo(np.int32 if index_bits == 32 else np.int64)
        far = np.array([ends.min, ends.max, -size - 1, size, size + 7], np.int64)
        indices = np.where(rng.integers(2, size=shape), rng.choice(far, shape), indices)
    return Question(tuple(data), indices, axis, int(rng.choice([32, 64])), index_bits)


@needs_cxx
def test_index_arithmetic_against_the_reference(host: Path) -> None:
    rng = np.random.default_rng(20)
    questions = [drawn(rng) for _ in range(600)]
    forms = set()
    for question, line in zip(questions, ask(host, questions), strict=True):
        form, bad, *places = map(int, line.split())
        assert (bad, places) == question.answer(), question.line[:200]
        forms.add(form)
    assert forms == {0, 1, 2}


@needs_cxx
@pytest.mark.parametrize(
    ("data", "indices", "axis", "form"),
    [
        ((4, 5), (4, 9), 1, 0),  # rows x K
        ((2, 3, 5), (2, 3, 7), 2, 0),  # leading dims merge
        ((6,), (3,), 0, 0),
        ((4, 5, 1), (4, 2, 1), 1, 0),  # a trailing 1 goes
        ((4, 5, 3), (4, 2, 1), 1, 0),  # so does a dim of which the indices take one place
        ((4, 5), (3, 5), 0, 1),
        ((2, 4, 5, 6), (2, 9, 5, 6), 1, 1),
        ((4, 5, 6), (4, 2, 3), 1, 1),  # a narrower inner dim is still contiguous
        ((3, 4, 5), (2, 4, 2), 2, 0),  # as is a narrower outermost one
        ((4, 3, 5), (4, 2, 2), 2, 2),
        ((5, 3, 4), (2, 3, 2), 0, 2),
        ((5, 3, 4), (2, 2, 1), 0, 2),  # one inner dim, but not contiguous
    ],
)
def test_dims_are_merged_to_the_form_the_kernels_serve(
    host: Path, data: tuple[int, ...], indices: tuple[int, ...], axis: int, form: int
) -> None:
    question = Question(data, np.zeros(indices, np.int64), axis, 32, 64)
    (line,) = ask(host, [question])
    assert int(line.split()[0]) == form
    assert [int(p) for p in line.split()[2:]] == question.answer()[1]


@needs_cxx
@pytest.mark.parametrize(
    "line",
    [
        "32 64 0 0",  # rank 0
        "32 64 2 2 3 4 3 4",  # axis out of range
        "32 64 -1 2 3 4 3 4",
        "32 64 1 2 3 4 4 4",  # indices wider than data
        "32 64 1 2 -3 4 3 4",
        "32 64 1 2 3 0 3 4",  # an empty axis that indices point into
        f"32 64 1 2 {1 << 40} {1 << 40} 1 1",  # more than can be counted
    ],
)
def test_shapes_that_are_refused(host: Path, line: str) -> None:
    done = subprocess.run([host], input=line + " 0\n", capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == ["refused"]


def compiled(tmp_path: Path, architectures: list[int], *more: str) -> None:
    assert NVCC is not None
    known = build.known_architectures(NVCC)
    wanted = [a for a in architectures if a in known]
    if not wanted:
        pytest.skip(f"this nvcc takes none of {architectures}, but {known}")
    try:
        objects = build.compile_objects(NVCC, wanted, tmp_path, *more)
    except subprocess.CalledProcessError as failed:
        pytest.fail(f"{failed.stdout}{failed.stderr}")
    assert len(objects) > 1 and all(made.stat().st_size > 0 for made in objects)


@needs_nvcc
def test_the_kernel_compiles_without_a_warning(tmp_path: Path) -> None:
    compiled(tmp_path, [75])


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("architecture", [72, *build.ARCHITECTURES])
def test_the_kernel_compiles_for_every_architecture(tmp_path: Path, architecture: int) -> None:
    compiled(tmp_path, [architecture])


@needs_nvcc
@pytest.mark.slow
def test_the_kernel_compiles_as_newer_standards_too(tmp_path: Path) -> None:
    compiled(tmp_path, [90], "-std=c++20")


@needs_nvcc
@pytest.mark.slow
def test_the_harness_builds(tmp_path: Path) -> None:
    assert NVCC is not None
    assert all(made.exists() for made in build.compile_all(NVCC, [90], tmp_path))


def test_cmake_compiles_every_source_of_the_kernel() -> None:
    """The list in CMakeLists.txt is written by hand, that of the harness is not."""
    listed = re.findall(r"gather_elements\w*\.cu\b", (CUDA / "CMakeLists.txt").read_text())
    assert sorted(listed) == [source.name for source in build.SOURCES]


def test_no_source_of_the_kernel_is_long() -> None:
    lengths = {p.name: p.read_text().count("\n") for p in CUDA.glob("gather_elements*")}
    assert max(lengths.values()) <= 400, lengths


def test_the_launch_header_is_plain() -> None:
    """The plugin classes compile against it; nothing of TensorRT and no kernel is in it."""
    text = (CUDA / "gather_elements.h").read_text()
    includes = [line for line in text.splitlines() if line.startswith("#include")]
    assert includes == ["#include <cstdint>", "#include <cuda_runtime_api.h>"]


def test_timings_as_a_table() -> None:
    row = {
        "group": "2-D",
        "name": "4x5 axis 1",
        "dtype": "float16",
        "index_type": "int32",
        "expand": None,
        "hot": False,
        "auto": 2.0,
        "ceiling": 0.5,
    }
    other = {**row, "dtype": "float32", "torch": 3.0}
    assert table({"rows": [row, other, {**other, "expand": 0, "hot": True}]}).splitlines() == [
        "| case | fp16, int32 | fp32, int32 |",
        "|---|---|---|",
        "| 2-D: 4x5 axis 1 | 2.0 µs, 50% | 2.0 µs, 50%, 1.50x |",
        "| 2-D: 4x5 axis 1, expanded, in cache |  | 2.0 µs, 50%, 1.50x |",
    ]
