"""Build the library of a plugin with CMake, for the TensorRT whose headers are found."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx_fix.errors import OnnxFixError, UsageError
from onnx_fix.plugin_libraries.shipped import PluginSource
from onnx_fix.plugin_libraries.store import BuiltLibrary, default_folder, digest, record
from onnx_fix.plugin_libraries.tools import Tools, find_tools, wheel_folders

_NO_SUCH_GPU = re.compile(r"[Uu]nsupported gpu architecture .compute_(\w+)")
_ARCHITECTURE = re.compile(r"(?:sm_?)?(\d+)\.?(\d)([af]?)")
_SAID = re.compile(r"^-- (TensorRT|TensorRT library|plugin class|CUDA architectures): (.*)$", re.M)
_CMAKE_ERROR = re.compile(
    r"^CMake Error[^\n]*:\n(.*?)(?=\n\n\n|\n-- |\Z)", re.MULTILINE | re.DOTALL
)
_SHOWN = 40
"""Lines of a compiler's log that a message quotes at most."""


class CompileError(OnnxFixError):
    """The compiler does not take the sources with these headers; the message ends in its log."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Request:
    """What to build with; ``output`` None means the default folder and there the target's name."""

    tensorrt_root: Path | None = None
    tensorrt_library: Path | None = None
    cuda_root: Path | None = None
    architectures: tuple[str, ...] = ()
    api: str = ""
    output: Path | None = None
    jobs: int = 0


def build(
    plugin: PluginSource, request: Request, tell: Callable[[str], None] = lambda _line: None
) -> BuiltLibrary:
    """Build the library and write it, with a note of what it is, into the folder asked for.

    Args:
        plugin: Its sources.
        request: What to build with.
        tell: Is given every line that CMake and the compilers write.

    Raises:
        UsageError: a program or the headers of TensorRT are missing, or an option is wrong.
        CompileError: compiling or linking fails.
    """
    if request.tensorrt_root is not None and not request.tensorrt_root.is_dir():
        raise UsageError(f"--tensorrt-root {request.tensorrt_root}: there is no such folder")
    if request.tensorrt_library is not None and not request.tensorrt_library.is_file():
        raise UsageError(f"--tensorrt-library {request.tensorrt_library}: there is no such file")
    if request.output is not None and request.output.exists() and not request.output.is_dir():
        raise UsageError(f"--output {request.output}: this is a file; name a folder")
    named = [part for text in request.architectures for part in text.split(",")]
    architectures = [architecture(text) for text in named]
    tools = find_tools(request.cuda_root)
    with tempfile.TemporaryDirectory(prefix="onnx-fix-plugins-") as name:
        work = Path(name)
        code, log = _run(_configure(plugin, request, tools, architectures, work), tell)
        if code:
            raise _refusal(log)
        said = dict(_SAID.findall(log))
        jobs = str(request.jobs or os.cpu_count() or 1)
        code, log = _run([tools.cmake, "--build", str(work), "--parallel", jobs], tell)
        made = work / plugin.library
        unknown = _NO_SUCH_GPU.search(log) if code else None
        if unknown is not None:
            raise UsageError(
                f"--arch {unknown[1]}: {tools.nvcc} compiles for no such GPU; take a CUDA toolkit "
                f"that does ({tools.nvcc} --list-gpu-arch prints what this one knows)"
            )
        if code or not made.is_file():
            raise CompileError(f"{plugin.library} could not be compiled:\n{_last(log)}")
        target = said["TensorRT"].partition(" in ")[0]
        folder = request.output if request.output is not None else default_folder() / target
        linked = said.get("TensorRT library", "")
        built = BuiltLibrary(
            path=folder / plugin.library,
            target=target,
            api=said["plugin class"],
            architectures=tuple(said["CUDA architectures"].split(";")),
            ops=(plugin.op,),
            linked="" if linked.endswith("NOTFOUND") or linked == "NONE" else linked,
            compiler=tools.nvcc,
            digest=digest(plugin.folder),
        )
        _place(made, built)
    return built


def architecture(text: str) -> str:
    """The number of a GPU's architecture: 86 of ``86``, ``8.6``, ``sm_86``.

    Raises:
        UsageError: it is none.
    """
    found = _ARCHITECTURE.fullmatch(text.strip().lower())
    if found is None:
        raise UsageError(f"--arch {text}: write a compute capability, such as 86, 8.6 or sm_86")
    return "".join(found.groups())


def _configure(
    plugin: PluginSource,
    request: Request,
    tools: Tools,
    architectures: Sequence[str],
    work: Path,
) -> list[str]:
    defined = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_CXX_COMPILER": tools.compiler,
        "CMAKE_CUDA_COMPILER": tools.nvcc,
        "CMAKE_CUDA_HOST_COMPILER": tools.compiler,
        "ONNX_FIX_LIBRARY_DIRS": ";".join(map(str, wheel_folders())),
        "ONNX_FIX_CUDA_ARCHITECTURES": ";".join(architectures),
        "ONNX_FIX_PLUGIN_API": request.api,
    }
    if request.tensorrt_root is not None:
        defined["TENSORRT_ROOT"] = str(request.tensorrt_root.absolute())
    if request.tensorrt_library is not None:
        defined["TENSORRT_LIBRARY"] = str(request.tensorrt_library.absolute())
    return [
        tools.cmake, "-G", tools.generator, "-S", str(plugin.folder), "-B", str(work),
        *(f"-D{name}={value}" for name, value in defined.items()),
    ]  # fmt: skip


def _run(command: Sequence[str], tell: Callable[[str], None]) -> tuple[int, str]:
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise UsageError(f"{command[0]} cannot be started: {error.strerror or error}") from error
    assert process.stdout is not None
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            tell(line)
    finally:
        process.stdout.close()
        if process.poll() is None:
            process.terminate()
        process.wait()
    return process.returncode, "".join(lines)


def _refusal(log: str) -> OnnxFixError:
    """What CMake has against the machine: the project's own message, or the end of the log."""
    found = _CMAKE_ERROR.search(log)
    text = " ".join(found.group(1).split()) if found else ""
    # For CMake's words those of a person who never called CMake.
    text = text.replace("-DTENSORRT_ROOT=FOLDER", "--tensorrt-root FOLDER")
    text = re.sub(r"; build (V[23])$", r"; pass --api \1", text)
    if "CMakeLists.txt" in log and text and "compiler" not in text.lower():
        return UsageError(text)
    return UsageError(f"CMake cannot configure the build:\n{_last(log)}")


def _last(log: str) -> str:
    lines = log.splitlines()
    # The first errors matter, and Ninja writes the command of a failed step before them.
    first = next((k for k, line in enumerate(lines) if re.search(r"\berror\b", line)), None)
    shown: Iterable[str] = lines[-_SHOWN:] if first is None else lines[first : first + _SHOWN]
    return "\n".join(shown)


def _place(made: Path, built: BuiltLibrary) -> None:
    temporary = built.path.with_name(f".{built.path.name}.new")
    try:
        built.path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, temporary)
        temporary.chmod(0o755)
        # Not in place: a process may have the old one mapped.
        os.replace(temporary, built.path)
        record(built)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(
            f"{built.path} cannot be written: {error.strerror or error}; name another --output"
        ) from error
