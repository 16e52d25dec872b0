"""The plugin classes, compiled against TensorRT's headers and called as TensorRT would call them.

The kernel is a stand-in that notes what it was asked; nothing of TensorRT itself is needed.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from plugin_builds import CPP, SOURCES, compile_cpp, header_releases, headers_of, nvcc

CLASSES = {*((2, major) for major in range(7, 11)), *((3, major) for major in range(10, 20))}
"""Which of the two classes releases take, by their major version."""


def major(release: str) -> int:
    return int(release.partition(".")[0])


def run_classes(release: str, api: int, folder: Path) -> None:
    program = folder / "classes"
    arguments = [
        *(["-DONNX_FIX_PLUGIN_V2"] if api == 2 else []),
        "-DONNX_FIX_REGISTER_ON_LOAD",
        f"-I{CPP}",
        str(CPP / f"classes_v{api}_main.cpp"),
        *(str(SOURCES / f"{name}.cpp") for name in (f"plugin_v{api}", "logging", "registration")),
    ]
    compile_cpp(headers_of(release), arguments, program)
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0 failures\n"), done.stdout + done.stderr


@pytest.mark.parametrize("release", header_releases("7.2", "8.6", "10.14"))
def test_plugin_v2(release: str, tmp_path: Path) -> None:
    headers_of(release)
    if (2, major(release)) not in CLASSES:
        pytest.skip(f"the registry of TensorRT {release} takes no IPluginV2")
    run_classes(release, 2, tmp_path)


@pytest.mark.parametrize("release", header_releases("10.14"))
def test_plugin_v3(release: str, tmp_path: Path) -> None:
    headers_of(release)
    if (3, major(release)) not in CLASSES:
        pytest.skip(f"TensorRT {release} has no IPluginV3")
    run_classes(release, 3, tmp_path)


GPU = bool(list(Path("/dev").glob("nvidia[0-9]*")))


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The real kernel, compiled for the GPU of this machine, for Hopper where there is none."""
    folder = tmp_path_factory.mktemp("kernel")
    arch = "native" if GPU else "sm_90"
    objects = []
    for source in sorted(SOURCES.glob("*.cu")):
        objects.append(str(folder / f"{source.stem}.o"))
        run_nvcc(f"-arch={arch}", f"-I{SOURCES}", "-c", str(source), "-o", objects[-1])
    return objects


@pytest.mark.slow
@pytest.mark.parametrize("api", [2, 3])
@pytest.mark.parametrize("release", header_releases("10.14"))
def test_gathers_on_a_gpu(release: str, api: int, kernel: list[str], tmp_path: Path) -> None:
    """enqueue with the real kernel against the definition on the host, also from eight threads on
    streams of their own, and in CUDA graphs."""
    include = headers_of(release)
    if (api, major(release)) not in CLASSES:
        pytest.skip(f"TensorRT {release} has no plugins of this class")
    program = tmp_path / "classes"
    names = [f"plugin_v{api}.cpp", "logging.cpp", "registration.cpp"]
    run_nvcc(
        "-DONNX_FIX_ON_GPU", *(["-DONNX_FIX_PLUGIN_V2"] if api == 2 else []), f"-I{SOURCES}",
        f"-I{CPP}", "-isystem", str(include), str(CPP / f"classes_v{api}_main.cpp"),
        *(str(SOURCES / name) for name in names), *kernel, "-o", str(program),
    )  # fmt: skip
    if not GPU:
        pytest.skip("compiled, not run: there is no NVIDIA GPU")
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0 and done.stdout.endswith("\n0 failures\n"), done
    print(done.stdout)


def run_nvcc(*arguments: str) -> None:
    done = subprocess.run(
        [nvcc(), "-std=c++17", "-O2", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
