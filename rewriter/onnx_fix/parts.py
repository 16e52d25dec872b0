"""Run a model in parts, as ``onnx-fix split`` wrote it: each part on what those before it made."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onnx_fix.errors import ModelError, UsageError
from onnx_fix.splitting.manifest import NUMPY, Manifest, Part, Tensor, hash_of, read_manifest

Backend = Literal["onnxruntime", "tensorrt"]

Arrays = Mapping[str, NDArray[Any]]
Runnable = Callable[[Arrays], Mapping[str, Any]]
"""A part that is ready: takes its inputs by name, gives its outputs by name."""


class Parts:
    """The parts of a folder, loaded once and run as often as needed.

    With the backend ``onnxruntime`` every part runs there, on the CPU, as in the comparison that
    ``split`` made (in ``onnx.reference`` where onnxruntime has no kernel). With ``tensorrt`` the
    parts for the target run as the engines that lie beside them (``part-0-engine.plan`` for
    ``part-0-engine.onnx``), and those for the host as before; what goes between the parts passes
    through host memory.
    """

    def __init__(self, folder: str | Path, backend: Backend = "onnxruntime") -> None:
        """Load the parts.

        Raises:
            UsageError: there is no manifest, or an engine or a package that TensorRT needs is
                missing.
            ModelError: a part is missing, is not the one that the manifest means, or does not
                load.
        """
        self.folder = Path(folder)
        self.manifest: Manifest = read_manifest(self.folder)
        if backend not in ("onnxruntime", "tensorrt"):
            raise UsageError(f"backend {backend}: choose onnxruntime or tensorrt")
        open_engine: Callable[[Part], Runnable] = self._in_onnxruntime
        if backend == "tensorrt":
            from onnx_fix.run_engines import Engines

            open_engine = Engines(self.folder, self.manifest).open
        self._parts: list[tuple[Part, Runnable]] = []
        for part in self.manifest.parts:
            self._check_file(part)
            opened = open_engine if part.kind == "engine" else self._in_onnxruntime
            self._parts.append((part, opened(part)))

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """Return every output of the original model by name.

        Raises:
            UsageError: an input is missing, unknown, or of another type or shape than declared.
            ModelError: a part does not run.
        """
        original = self.manifest.original
        there: dict[str, Any] = dict(_checked(feeds, original.inputs))
        last = {t.name for t in original.outputs}
        for number, (part, run) in enumerate(self._parts):
            given = {
                t.name: there[t.name] for t in part.inputs if t.name in there or not t.has_default
            }
            there.update(run(given))
            later = {t.name for p, _ in self._parts[number + 1 :] for t in p.inputs}
            there = {name: value for name, value in there.items() if name in later | last}
        return {t.name: there[t.name] for t in original.outputs}

    def _check_file(self, part: Part) -> None:
        path = self.folder / part.file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
        if hash_of(data) != part.sha256:
            raise ModelError(
                f"{path} is not the file that the manifest names; split the model again"
            )

    def _in_onnxruntime(self, part: Part) -> Runnable:
        from onnx_fix.load import load_proto, opset_of
        from onnx_fix.plugin_bodies import plugin_bodies
        from onnx_fix.verify.runner import RunError, open_oracle
        from onnx_fix.verify.source import ModelSource

        path = self.folder / part.file
        bodies = plugin_bodies(opset_of(load_proto(path).opset_import))
        source = ModelSource.of(path, plugin_bodies=bodies)
        try:
            try:
                session = open_oracle(source, "onnxruntime")
            except RunError as error:
                if not error.lacks_kernel:
                    raise
                session = open_oracle(source, "onnx.reference")
        except RunError as error:
            raise ModelError(f"{path} does not load: {error}") from error

        def run(feeds: Arrays) -> Mapping[str, Any]:
            try:
                return session.run(dict(feeds))
            except RunError as error:
                raise ModelError(f"{path} does not run: {error}") from error

        return run


def run_parts(
    folder: str | Path, feeds: Arrays, backend: Backend = "onnxruntime"
) -> dict[str, NDArray[Any]]:
    """Load the parts of a folder and run them once; see `Parts`.

    Raises:
        UsageError: as `Parts` and its ``run``.
        ModelError: likewise.
    """
    return Parts(folder, backend).run(feeds)


def _checked(feeds: Arrays, inputs: tuple[Tensor, ...]) -> dict[str, NDArray[Any]]:
    """The feeds, if they are what the model declares."""
    known = {t.name: t for t in inputs}
    for name in feeds:
        if name not in known:
            has = ", ".join(known) or "none"
            raise UsageError(f"the model has no input '{name}'; it has: {has}")
    found: dict[str, NDArray[Any]] = {}
    sizes: dict[str, tuple[int, str]] = {}
    for name, tensor in known.items():
        if name in feeds:
            found[name] = _fitting(np.asarray(feeds[name]), tensor, sizes)
        elif not tensor.has_default:
            raise UsageError(f"no value for the input '{name}', {_spelled(tensor)}")
    return found


def _fitting(
    array: NDArray[Any], tensor: Tensor, sizes: dict[str, tuple[int, str]]
) -> NDArray[Any]:
    wanted = NUMPY.get(tensor.dtype)
    if wanted is not None and wanted == np.object_ and array.dtype.kind in "US":
        array = array.astype(str).astype(object)
    if wanted is not None and array.dtype.kind == "V" and array.dtype.itemsize == wanted.itemsize:
        # Files of numpy keep bfloat16 and its like as raw bytes.
        array = array.view(wanted)
    has = f"the input '{tensor.name}' is {array.dtype.name} of shape {list(array.shape)}"
    if wanted is not None and array.dtype != wanted:
        raise UsageError(f"{has}, expected {_spelled(tensor)}")
    if tensor.shape is None:
        return array
    if len(tensor.shape) != array.ndim:
        raise UsageError(f"{has}, expected {_spelled(tensor)}")
    for dim, size in zip(tensor.shape, array.shape, strict=True):
        if isinstance(dim, int):
            if dim != size:
                raise UsageError(f"{has}, expected {_spelled(tensor)}")
            continue
        first, where = sizes.setdefault(dim, (size, tensor.name))
        if first != size:
            raise UsageError(f"{has}, but {dim} is {first} in '{where}'")
    return array


def _spelled(tensor: Tensor) -> str:
    shape = "any shape" if tensor.shape is None else f"shape [{', '.join(map(str, tensor.shape))}]"
    return f"{tensor.dtype} of {shape}"


def read_feeds(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file by name.

    Raises:
        UsageError: it cannot be read, or is no npz file.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise UsageError(f"{path} holds one array without a name; save it with numpy.savez")
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} cannot be read as an npz file: {error}") from error


def write_results(path: Path, results: Arrays) -> None:
    """Write arrays into an npz file, whole or not at all; a name may hold any character.

    Raises:
        UsageError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.onnx-fix")
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, value in results.items():
                array = value.astype(str) if value.dtype == np.object_ else np.asarray(value)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
        os.replace(temporary, path)
    except (OSError, ValueError) as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {error}") from error


__all__ = ["Backend", "Parts", "read_feeds", "run_parts", "write_results"]
