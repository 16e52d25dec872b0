"""The plugin classes, compiled against TensorRT's headers and called as TensorRT would call them.

The kernel is a stand-in that notes what it was asked; nothing of TensorRT itself is needed.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from plugin_builds import CPP, SOURCES, compile_cpp, header_releases, headers_of, nvcc


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
    if major(release) >= 11:
        pytest.skip(f"the registry of TensorRT {release} takes no IPluginV2")
    run_classes(release, 2, tmp_path)


@pytest.mark.parametrize("release", header_releases("10.14"))
def test_plugin_v3(release: str, tmp_path: Path) -> None:
    headers_of(release)
    if major(release) < 10:
        pytest.skip(f"TensorRT {release} has no IPluginV3")
    run_classes(release, 3, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("api", [2, 3])
def test_gathers_on_a_gpu(api: int, tmp_path: Path) -> None:
    """The real kernel through enqueue, against the definition on the host."""
    program = compile_for_gpu("10.14", api, tmp_path)
    if not list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("compiled, not run: there is no NVIDIA GPU")
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0 and done.stdout.endswith("0 failures\n"), done.stdout + done.stderr


def compile_for_gpu(release: str, api: int, folder: Path) -> Path:
    program = folder / f"gpu_v{api}"
    names = [f"plugin_v{api}.cpp", "logging.cpp", "registration.cpp"]
    names += sorted(path.name for path in SOURCES.glob("gather_elements*.cu"))
    done = subprocess.run(
        [nvcc(), "-std=c++17", "-O2", "-arch=sm_90", "-DONNX_FIX_ON_GPU",
         *(["-DONNX_FIX_PLUGIN_V2"] if api == 2 else []), f"-I{SOURCES}", f"-I{CPP}",
         "-isystem", str(headers_of(release)), str(CPP / f"classes_v{api}_main.cpp"),
         *(str(SOURCES / name) for name in names), "-o", str(program)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return program
