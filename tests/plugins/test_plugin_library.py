"""``onnx-fix plugins``: what is listed, what is built, and what is missing."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from plugin_builds import header_releases, headers_of, nvcc
from typer.testing import CliRunner, Result

from onnx_fix.cli import app
from onnx_fix.errors import UsageError
from onnx_fix.plugin_libraries import BuiltLibrary, built_for, built_in, shipped, uses
from onnx_fix.plugin_libraries.building import architecture
from onnx_fix.render_plugins import render_built
from onnx_fix.target import known_targets
from onnx_fix_plugins import gather_elements

Capture = pytest.CaptureFixture[str]
NAME = "libonnx_fix_plugins.so"
ALL = ("72", "75", "80", "86", "87", "89", "90", "100", "120")
"""What the plugin is for, from Xavier to Blackwell."""


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["plugins", *map(str, args)], env={"COLUMNS": "400"})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A default folder of the test's own."""
    monkeypatch.setenv("ONNX_FIX_PLUGINS", str(tmp_path / "cache"))
    monkeypatch.delenv("TENSORRT_ROOT", raising=False)
    return tmp_path / "cache"


# -- list -----------------------------------------------------------------------------------------


def test_which_targets_need_it() -> None:
    (plugin,) = shipped()
    found = {use.target: use for use in uses(plugin)}
    assert list(found) == known_targets()
    assert found["trt-7.0"].need == "useless"
    assert found["trt-7.2"].need == "needed" and "no importer" in found["trt-7.2"].why
    assert found["trt-8.0"].need == "needed" and "dynamic" in found["trt-8.0"].why
    for target in ("trt-8.2", "trt-8.6", "trt-10.3", "trt-11.5", "rtx-1.7"):
        assert found[target].need == "optional", target


def test_list(cache: Path) -> None:
    result = run("list")
    assert result.exit_code == 0
    assert "GatherElementsPlugin version 1, for GatherElements" in result.stdout
    assert re.search(r"needed, since .*: trt-7.1 to trt-8.0, trt-7.2-tip", result.stdout)
    assert re.search(r"no use, .*: trt-7.0\n", result.stdout)
    assert f"no library in {cache}" in result.stdout


def test_list_as_json(tmp_path: Path) -> None:
    (listed,) = json.loads(run("list", "--format", "json").stdout)
    assert (listed["op"], listed["replaces"]) == ("GatherElementsPlugin", "GatherElements")
    assert listed["targets"]["trt-7.2"]["need"] == "needed"
    assert listed["libraries"] == []
    assert run("list", "--format", "yaml").exit_code == 2
    assert run("list", "--in", tmp_path / "none").exit_code == 2


def note(folder: Path, library: Path | None = None, **changes: object) -> Path:
    """A library as ``plugins build`` would leave it in a folder; of no use unless one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {
        "schema_version": 1, "target": "trt-8.6", "api": "V2", "architectures": ["86"],
        "ops": ["GatherElementsPlugin"], "linked": "", "compiler": "nvcc", "digest": "0" * 16,
    }  # fmt: skip
    (folder / NAME).write_bytes(b"library" if library is None else library.read_bytes())
    (folder / f"{NAME}.json").write_text(json.dumps({**said, **changes}))
    return folder / NAME


def test_built_libraries_are_found(cache: Path) -> None:
    library = note(cache / "trt-8.6")
    found = built_for("trt-8.6", "GatherElementsPlugin")
    assert found is not None and found.path == library
    assert built_for("trt-8.5", "GatherElementsPlugin") is None
    assert built_for("trt-8.6", "OtherPlugin") is None
    out = run("list").stdout
    assert f"library: {library} (trt-8.6, IPluginV2DynamicExt, sm 86; older than the" in out


def test_notes_that_make_no_sense_are_passed_over(cache: Path) -> None:
    note(cache / "a", schema_version=9)
    note(cache / "b", architectures=None)
    note(cache / "c").unlink()
    (cache / "d").mkdir()
    (cache / "d" / f"{NAME}.json").write_text("{")
    assert built_in(cache) == []


def plugin_model(folder: Path) -> Path:
    """A file with one plugin node of a dynamic batch."""
    node = helper.make_node(gather_elements.OP, ["x", "i"], ["y"], domain=gather_elements.DOMAIN)
    for name, value in gather_elements.attributes(1).items():
        node.attribute.append(helper.make_attribute(name, value))
    values = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 5)),
        helper.make_tensor_value_info("i", TensorProto.INT64, ("N", 3)),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 3)),
    ]
    graph = helper.make_graph([node], "g", values[:2], values[2:])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(gather_elements.DOMAIN, 1)]
    model = folder / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), model)
    return model


@pytest.mark.parametrize(
    ("target", "flag"),
    [("trt-7.2", "--plugins"), ("trt-8.5", "--plugins"), ("trt-8.6", "--dynamicPlugins")],
)
def test_trtexec_takes_the_library_of_its_release(
    cache: Path, tmp_path: Path, target: str, flag: str
) -> None:
    model = plugin_model(tmp_path)
    note(cache / "trt-9.3", target="trt-9.3")
    arguments = ["trtexec", str(model), "--target", target, "--profile", "N=1:4:8", "--one-line"]
    without = CliRunner().invoke(app, arguments)
    assert without.exit_code == 1 and "onnx-fix plugins build compiles it" in without.stderr
    library = note(cache / target, target=target)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert f" {flag}={library}" in result.stdout
    assert f"note: with the plugin library built for {target}, {library}" in result.stderr
    own = str(note(tmp_path / "own", target=target))
    given = CliRunner().invoke(app, [*arguments, "--plugin-library", own])
    assert f"{flag}={tmp_path / 'own' / NAME}" in given.stdout
    assert str(library) not in given.output


def test_an_older_library_is_opened_and_not_loaded_by_the_registry(tmp_path: Path) -> None:
    """One for 8.5 has no entry points, and trtexec 8.6 can still open it."""
    model = plugin_model(tmp_path)
    library = str(note(tmp_path / "own", target="trt-8.5"))
    arguments = ["trtexec", str(model), "--target", "trt-8.6", "--profile", "N=1:4:8"]
    result = CliRunner().invoke(app, [*arguments, "--plugin-library", library])
    assert result.exit_code == 0 and f"--staticPlugins={library}" in result.stdout


@pytest.mark.parametrize(
    ("built", "api", "target", "told"),
    [
        ("trt-10.14", "V3", "trt-8.6", "does not take it"),
        ("trt-7.2", "V2", "trt-8.0", "does not take it"),
        ("trt-10.3", "V2", "trt-11.1", "does not take it"),
        ("trt-10.14", "V3", "trt-11.1", "may not take it"),
        ("rtx-1.7", "V3", "trt-10.3", "may not take it"),
        ("trt-10.14", "V3", "trt-10.3", ""),
        ("trt-10.14", "V3", "rtx-1.7", ""),
        ("trt-8.6", "V2", "rtx-1.7", "does not take it"),
    ],
)
def test_a_library_of_another_release_is_told(
    built: str, api: str, target: str, told: str, tmp_path: Path
) -> None:
    model = plugin_model(tmp_path)
    library = str(note(tmp_path / "own", target=built, api=api))
    arguments = ["trtexec", str(model), "--target", target, "--profile", "N=1:4:8"]
    result = CliRunner().invoke(app, [*arguments, "--plugin-library", library])
    assert result.exit_code == ("does not" in told), result.output
    assert f"was built for {built}, and {target} {told}" in result.stderr or not told
    assert ("was built for" in result.stderr) == bool(told)


@pytest.mark.rtx
def test_nothing_stands_in_for_a_library_of_another_release(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="the extra rtx is not installed")
    library = note(tmp_path / "own", target="trt-8.6")
    arguments = [
        "build",
        plugin_model(tmp_path),
        "-o",
        tmp_path / "m.engine",
        "--target",
        "rtx-1.7",
    ]
    more = ["--profile", "N=1:4:8", "--plugin-library", library]
    result = CliRunner().invoke(app, [str(a) for a in [*arguments, *more]])
    assert result.exit_code == 2 and "was built for trt-8.6, and rtx-1.7 does not" in result.stderr
    assert not (tmp_path / "m.engine").exists()


@pytest.mark.parametrize(
    ("built", "linked", "flag", "mend"),
    [
        ("trt-8.6", "", "--staticPlugins", "write --dynamicPlugins="),
        ("trt-8.6", "", "--plugins", "write --dynamicPlugins="),
        ("trt-8.5", "", "--staticPlugins", "with the headers of trt-8.6"),
        ("trt-8.6", "", "--dynamicPlugins", ""),
        ("trt-8.6", "x", "--staticPlugins", ""),
    ],
)
def test_a_pasted_command_loads_what_is_not_linked_by_the_registry(
    built: str, linked: str, flag: str, mend: str, tmp_path: Path
) -> None:
    model = plugin_model(tmp_path)
    library = note(tmp_path / "own", target=built, linked=linked)
    shapes = " ".join(f"--{k}Shapes=x:4x5,i:4x3" for k in ("min", "opt", "max"))
    pasted = f"trtexec --onnx={model} --saveEngine=m.engine {shapes} {flag}={library}"
    arguments = ["trtexec", str(model), "--target", "trt-8.6", "--lint", pasted]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == bool(mend), result.output
    assert ("is not linked with TensorRT" in result.output) == bool(mend)
    assert mend in result.output


@pytest.mark.parametrize(
    ("target", "linked", "says", "silent"),
    [
        ("trt-7.2", "x", "loaded by trtexec --plugins=", "not linked"),
        ("trt-8.5", "", "the program, if it is not trtexec, must have loaded", "dynamicPlugins"),
        ("trt-8.6", "x", "loaded by trtexec --dynamicPlugins=", "not linked"),
        ("trt-10.14", "", "a program that merely opens it must have", "--plugins="),
        ("rtx-1.7", "x", "loaded by the plugin registry of a program", "trtexec --dynamicPlugins"),
    ],
)
def test_how_a_library_is_loaded_is_told(
    target: str, linked: str, says: str, silent: str, cache: Path, capsys: Capture
) -> None:
    for folder in (cache / target, cache.parent / "elsewhere"):
        (built,) = built_in(note(folder, target=target, linked=linked).parent)
        render_built(built)
        out = " ".join(capsys.readouterr().out.split())
        assert says in out and silent not in out
        assert ("found there by onnx-fix build" in out) == (folder.parent == cache)
        assert ("FIXED --plugin-library" in out) == (folder.parent != cache)


# -- what is missing ------------------------------------------------------------------------------


def only(monkeypatch: pytest.MonkeyPatch, folder: Path, *programs: str) -> None:
    """A PATH that has these programs alone."""
    folder.mkdir()
    for name in programs:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"there is no {name}")
        (folder / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    for name in ("CXX", "CUDACXX", "CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)


def test_without_cmake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, tmp_path / "bin")
    result = run("build")
    assert result.exit_code == 2 and "cmake is not on PATH; install it" in result.stderr


def test_an_old_cmake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, tmp_path / "bin", "sh")
    old = tmp_path / "bin" / "cmake"
    old.write_text("#!/bin/sh\necho cmake version 3.10.2\n")
    old.chmod(0o755)
    result = run("build")
    assert result.exit_code == 2 and "is CMake 3.10; install 3.18 or later" in result.stderr


def test_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, tmp_path / "bin", "cmake", "make")
    result = run("build")
    assert result.exit_code == 2 and "there is no C++ compiler" in result.stderr


def test_without_nvcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, tmp_path / "bin", "cmake", "make", "c++")
    monkeypatch.setattr("onnx_fix.plugin_libraries.tools._cuda_places", lambda: iter(()))
    result = run("build")
    assert result.exit_code == 2 and "nvcc was not found; install the CUDA" in result.stderr
    result = run("build", "--cuda-root", tmp_path)
    assert result.exit_code == 2 and "there is no bin/nvcc in it" in result.stderr


def test_without_headers(tmp_path: Path) -> None:
    nvcc()
    result = run("build", "--tensorrt-root", tmp_path)
    assert result.exit_code == 2
    assert "The headers of TensorRT (NvInfer.h, NvInferVersion.h) were not found" in result.stderr
    assert "pass --tensorrt-root FOLDER" in result.stderr and "-D" not in result.stderr


def test_headers_of_no_use(tmp_path: Path) -> None:
    nvcc()
    (tmp_path / "NvInfer.h").touch()
    version = tmp_path / "NvInferVersion.h"
    for text, says in (
        ("", "tells no version"),
        ("#define NV_TENSORRT_MAJOR 6\n#define NV_TENSORRT_MINOR 0\n", "trt-6.0 is too old"),
    ):
        version.write_text(text)
        result = run("build", "--tensorrt-root", tmp_path)
        assert result.exit_code == 2 and says in result.stderr


@pytest.mark.parametrize(
    ("macros", "api", "says"),
    [
        (
            "NV_TENSORRT_MAJOR 8",
            "V3",
            "trt-8.2 has no IPluginV3, which came with 10.0; pass --api V2",
        ),
        (
            "NV_TENSORRT_MAJOR 11",
            "V2",
            "trt-11.2 registers no IPluginV2 any more; pass --api V3",
        ),
        ("TRT_MAJOR_RTX 1\n#define NV_TENSORRT_MAJOR TRT_MAJOR_RTX", "V2", "rtx-1.2 registers no"),
    ],
)
def test_a_class_that_a_release_lacks(tmp_path: Path, macros: str, api: str, says: str) -> None:
    nvcc()
    (tmp_path / "NvInfer.h").touch()
    text = f"#define {macros}\n#define NV_TENSORRT_MINOR 2 //!< minor\n"
    (tmp_path / "NvInferVersion.h").write_text(text)
    result = run("build", "--tensorrt-root", tmp_path, "--api", api)
    assert result.exit_code == 2 and says in result.stderr


def test_a_compiler_that_fails(tmp_path: Path) -> None:
    nvcc()
    (tmp_path / "NvInfer.h").write_text("#error these are no headers\n")
    text = "#define NV_TENSORRT_MAJOR 8\n#define NV_TENSORRT_MINOR 6\n"
    (tmp_path / "NvInferVersion.h").write_text(text)
    result = run("build", "--tensorrt-root", tmp_path, "--arch", "75", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert f"{NAME} could not be compiled" in result.stderr
    assert "these are no headers" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_gpu_that_the_toolkit_does_not_know(tmp_path: Path) -> None:
    nvcc()
    (tmp_path / "NvInfer.h").touch()
    text = "#define NV_TENSORRT_MAJOR 8\n#define NV_TENSORRT_MINOR 6\n"
    (tmp_path / "NvInferVersion.h").write_text(text)
    result = run("build", "--tensorrt-root", tmp_path, "--arch", "8.6,10")
    assert result.exit_code == 2
    assert "--arch 10: " in result.stderr and "compiles for no such GPU" in result.stderr
    assert "--list-gpu-arch" in result.stderr


def test_wrong_options(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for options, says in (
        (("--arch", "ampere"), "--arch ampere: write a compute capability"),
        (("--arch", "8.6,x"), "--arch x: write a compute capability"),
        (("--api", "V4"), "--api V4: choose V2 or V3"),
        (("--tensorrt-root", tmp_path / "none"), "there is no such folder"),
        (("--tensorrt-library", tmp_path / "none"), "there is no such file"),
        (("--output", file), "this is a file; name a folder"),
    ):
        result = run("build", *options)
        assert result.exit_code == 2 and says in result.stderr


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("86", "86"),
        ("8.6", "86"),
        ("sm_86", "86"),
        ("12.0", "120"),
        ("90a", "90a"),
        ("SM120", "120"),
    ],
)
def test_architectures(text: str, number: str) -> None:
    assert architecture(text) == number


@pytest.mark.parametrize("text", ["", "8", "x86", "8.6.1", "86;87"])
def test_no_architectures(text: str) -> None:
    with pytest.raises(UsageError, match="write a compute capability"):
        architecture(text)


# -- build ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuiltLibrary]:
    """The library for TensorRT 10.14, linked with TensorRT-RTX where that is installed."""
    nvcc()
    root = headers_of("10.14")
    folder = tmp_path_factory.mktemp("library")
    rtx = rtx_library()
    linked = [] if rtx is None else ["--tensorrt-library", rtx]
    result = run("build", "--tensorrt-root", root, "--arch", "7.5", "-o", folder, *linked)
    assert result.exit_code == 0, result.output
    assert f"{folder / NAME}\n" in result.stdout
    (found,) = built_in(folder)
    yield found


def rtx_library() -> Path | None:
    spec = find_spec("tensorrt_rtx_libs")
    places = list(spec.submodule_search_locations or ()) if spec else []
    found = [path for place in places for path in Path(place).glob("libtensorrt_rtx.so.*")]
    return found[0] if found else None


def test_what_is_built(built: BuiltLibrary) -> None:
    (plugin,) = shipped()
    assert built.is_current(plugin)
    assert (built.target, built.api, built.architectures) == ("trt-10.14", "V3", ("75",))
    assert "trt-10.14, IPluginV3, sm 75)" in run("list", "--in", built.path.parent).stdout
    assert sorted(p.name for p in built.path.parent.iterdir()) == [NAME, f"{NAME}.json"]


def test_it_shows_its_entry_points_alone(built: BuiltLibrary) -> None:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("there is no nm")
    done = subprocess.run(
        [nm, "-D", "--defined-only", built.path], capture_output=True, text=True, check=True
    )
    names = {line.split()[-1] for line in done.stdout.splitlines()}
    assert names == {"getCreators", "setLoggerFinder", "onnxFixRegisterPlugins"}


def test_it_loads_without_tensorrt(built: BuiltLibrary, tmp_path: Path) -> None:
    if built.linked:
        pytest.skip("it was linked with TensorRT-RTX")
    assert ctypes.CDLL(str(built.path)).onnxFixRegisterPlugins() == 0


REGISTRY = """
import ctypes, sys
import tensorrt_rtx as trt
log = trt.Logger(trt.Logger.ERROR)
registry = trt.get_plugin_registry()
def known():
    return sum(c.name == "GatherElementsPlugin" for c in registry.all_creators)
# RTLD_GLOBAL, as for a program that is linked with TensorRT.
opened = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
print(known(), opened.onnxFixRegisterPlugins(), known())
handle = registry.load_library(sys.argv[1])
print(handle is not None, known())
registry.deregister_library(handle)
print(known())
"""


@pytest.mark.rtx
def test_a_registry_of_another_major_version_is_left_alone(built: BuiltLibrary) -> None:
    """TensorRT 10 and TensorRT-RTX lay IPluginRegistry out differently: a call would crash."""
    if not built.linked:
        pytest.skip("the extra rtx is not installed")
    done = subprocess.run(
        [sys.executable, "-c", REGISTRY, built.path], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "0 0 0\nTrue 1\n0\n"), done.stderr


@pytest.mark.rtx
def test_a_model_is_built_with_it(built: BuiltLibrary, cache: Path, tmp_path: Path) -> None:
    if not built.linked:
        pytest.skip("the extra rtx is not installed")
    model = plugin_model(tmp_path)
    engine = tmp_path / "m.engine"
    arguments = ["build", model, "-o", engine, "--target", "rtx-1.7", "--profile", "N=1:4:8"]
    more = ["--compute-capability", "8.6", "--plugin-library", built.path]
    result = CliRunner().invoke(app, [str(a) for a in [*arguments, *more]])
    assert result.exit_code == 0, result.output
    assert b"GatherElementsPlugin" in engine.read_bytes()
    assert "in Python stood in" not in result.output
    # The library of the default folder is taken without being named.
    place = cache / "rtx-1.7"
    note(place, target="rtx-1.7", api="V3", library=built.path)
    result = CliRunner().invoke(app, [str(a) for a in [*arguments, *more[:2], "--force"]])
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "with the plugin library built for rtx-1.7" in said
    assert "in Python stood in" not in said


@pytest.mark.slow
@pytest.mark.parametrize("release", header_releases("7.2", "8.6", "10.14"))
def test_every_release_and_every_gpu(release: str, tmp_path: Path) -> None:
    root = headers_of(release)
    known = subprocess.run([nvcc(), "--help"], capture_output=True, text=True, check=True).stdout
    gpus = [one for one in ALL if re.search(rf"sm_{one}\b", known)]
    arch = [part for one in gpus for part in ("--arch", one)]
    result = run("build", "-v", "--tensorrt-root", root, "-o", tmp_path, *arch)
    assert result.exit_code == 0, result.output
    assert not re.search(r"\bwarning\b", result.output), result.output
    (found,) = built_in(tmp_path)
    assert found.target == f"trt-{release}"
    assert found.api == ("V2" if int(release.partition(".")[0]) < 10 else "V3")
    assert found.architectures == tuple(gpus)
    print(os.linesep, f"{found.target} {found.api}: sm {' '.join(gpus)}, no warnings")
