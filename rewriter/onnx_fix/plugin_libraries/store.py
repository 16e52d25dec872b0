"""The libraries that were built on this machine, each with a note of what it was built for."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from onnx import ModelProto

from onnx_fix.plugin_libraries.shipped import PluginSource
from onnx_fix.target import Target
from onnx_fix.target.trtexec import is_rtx

Fit = Literal["fits", "unknown", "foreign"]
FOLDER_VARIABLE = "ONNX_FIX_PLUGINS"
"""Environment variable that names another folder for built libraries."""

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class BuiltLibrary:
    """A library and what it is for.

    ``target`` is the release whose headers it was compiled against, ``api`` the plugin class (V2 or
    V3), ``architectures`` the GPUs by number (86 for compute capability 8.6), ``linked`` the
    TensorRT library that it names as needed or empty, ``digest`` that of the sources.
    """

    path: Path
    target: str
    api: str
    architectures: tuple[str, ...]
    ops: tuple[str, ...]
    linked: str
    compiler: str
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        known = asdict(self)
        return {"schema_version": SCHEMA_VERSION, **known, "path": str(self.path)}

    def fit(self, target: Target) -> Fit:
        """Whether a release takes it: TensorRT-RTX by its class, TensorRT by the major version.

        From TensorRT 10 on libraries have one entry point and one class; whether a release takes
        those that were built for another major version is not known.
        """
        if is_rtx(target.release):
            return "fits" if self.api == "V3" else "foreign"
        major = int(target.release.partition(".")[0])
        if self.target.startswith("trt-") and self._version[0] == major:
            return "fits"
        return "unknown" if self.api == "V3" and major >= 10 else "foreign"

    @property
    def has_entry_points(self) -> bool:
        """Whether the plugin registry can load it, which it does since 8.6 and in TensorRT-RTX."""
        return self.target.startswith("rtx-") or self._version >= (8, 6)

    @property
    def _version(self) -> tuple[int, int]:
        found = re.match(r"[a-z]+-(\d+)\.(\d+)", self.target)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def is_current(self, plugin: PluginSource) -> bool:
        """Whether it was built of the sources that are installed now."""
        return plugin.op in self.ops and self.digest == digest(plugin.folder)


def default_folder() -> Path:
    """Where libraries are kept unless another folder is named, one folder a target."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "onnx-fix" / "plugins"


def digest(folder: Path) -> str:
    """A digest of the sources that CMake builds."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".cpp", ".cu", ".cuh", ".h") or path.name == "CMakeLists.txt":
            total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]


def record(built: BuiltLibrary) -> None:
    """Write the note beside the library."""
    text = json.dumps({**built.to_dict(), "path": built.path.name}, indent=1) + "\n"
    _note(built.path).write_text(text, encoding="utf-8")


def built_in(folder: Path) -> list[BuiltLibrary]:
    """The libraries with a note in a folder and in its folders; notes that make no sense aside."""
    notes = sorted([*folder.glob("*.so.json"), *folder.glob("*/*.so.json")])
    return [one for note in notes for one in _read(note)]


def noted(library: Path) -> BuiltLibrary | None:
    """What a library is for, where ``plugins build`` made it."""
    return next(_read(_note(library)), None)


def built_for(target: str, op: str) -> BuiltLibrary | None:
    """The library in the default folder that brings an op to a target."""
    found = [b for b in built_in(default_folder()) if b.target == target and op in b.ops]
    return found[0] if found else None


def built_of(model: ModelProto, target: Target) -> tuple[Path, ...]:
    """The libraries in the default folder that a model needs on a target."""
    # Here, since the plugins are loaded wherever passes are.
    from onnx_fix.trtexec.needs import plugin_needs

    needed = [need.op for need in plugin_needs(model, target) if need.own]
    found = [built_for(target.name, op) for op in needed]
    return tuple(dict.fromkeys(one.path for one in found if one is not None))


def _note(library: Path) -> Path:
    return library.with_name(f"{library.name}.json")


def _read(note: Path) -> Iterator[BuiltLibrary]:
    try:
        said = json.loads(note.read_text(encoding="utf-8"))
        path = note.with_name(note.name.removesuffix(".json"))
        if said["schema_version"] == SCHEMA_VERSION and path.is_file():
            yield BuiltLibrary(
                path=path,
                target=str(said["target"]),
                api=str(said["api"]),
                architectures=tuple(map(str, said["architectures"])),
                ops=tuple(map(str, said["ops"])),
                linked=str(said["linked"]),
                compiler=str(said["compiler"]),
                digest=str(said["digest"]),
            )
    except (OSError, ValueError, KeyError, TypeError):
        return
