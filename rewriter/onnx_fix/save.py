"""Write a model: whole or not at all, weights beside it, the input never touched."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx import ModelProto

from onnx_fix.errors import ModelError, UsageError
from onnx_fix.load import stored_tensors
from onnx_fix.weights import data_path, external_location, is_external

_FICLONE = 0x40049409
"""ioctl request of Linux (ioctl_ficlone(2)); other systems refuse it."""

LARGEST = 2**31 - 1
"""Bytes that one protobuf message may have; larger weights must lie in files of their own."""


def external_files(model: ModelProto, base_dir: Path | None) -> dict[str, Path]:
    """The data files of a model: location as written to the file that is meant.

    Raises:
        ModelError: a location is missing or leaves the model's folder.
    """
    files: dict[str, Path] = {}
    for tensor in stored_tensors(model):
        if is_external(tensor):
            location = external_location(tensor)
            if location not in files:
                files[location] = data_path(tensor, base_dir)
    return files


def check_output(output: Path, source: Path | None, *, force: bool) -> None:
    """Refuse an output that may not be written, before any work is done.

    Raises:
        UsageError: the output is the input, exists (without ``force``), or lies in no writable
            folder.
    """
    if source is not None and output.exists() and output.resolve() == source.resolve():
        raise UsageError(
            f"{output} is the input; choose another output (the input is never changed)"
        )
    if source is not None and output.exists() and os.path.samefile(output, source):
        raise UsageError(f"{output} is a link to the input; choose another output")
    if output.is_dir():
        raise UsageError(
            f"{output} is a folder; name the file to write, such as {output / 'fixed.onnx'}"
        )
    if output.exists() and not force:
        raise UsageError(f"{output} exists; pass --force to replace it")
    folder = output.parent
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder; make it first")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{folder} is not writable; choose another output folder")


def save(
    model: ModelProto | bytes,
    output: Path,
    *,
    files: dict[str, Path],
    source: Path | None = None,
    force: bool = False,
) -> None:
    """Write a model (or the bytes of one) with its external data beside it.

    Data files in another folder are cloned where the file system can, else copied by the operating
    system; their bytes never pass through Python objects. Everything is prepared under temporary
    names and renamed, the data before the model, so that no reader sees half a model.

    Args:
        model: What to write; external tensors keep their locations.
        output: The model file.
        files: The data files, as ``external_files`` gives them.
        source: The file the model came from, which is never touched.
        force: Replace what is there.

    Raises:
        UsageError: the output may not be written.
        ModelError: the model needs more than 2 GiB in one file.
    """
    check_output(output, source, force=force)
    if isinstance(model, ModelProto):
        if model.ByteSize() > LARGEST:
            raise ModelError(
                "the rewritten model has more than 2 GiB of weights inside the model file, which "
                "protobuf cannot write; export it with external data"
            )
        data = model.SerializeToString(deterministic=True)
    else:
        data = model
    wanted = {}
    for location, file in files.items():
        place = output.parent / location
        if place.exists() and os.path.samefile(place, file):
            continue
        if source is not None and place.exists() and os.path.samefile(place, source):
            raise UsageError(f"{place} is the input model; choose another output folder")
        if place.exists() and not force:
            raise UsageError(
                f"{place} exists and is no data file of this model; choose another output folder, "
                "or pass --force to replace it"
            )
        wanted[place] = file
    with staging_folder(output.parent) as staging:
        staged: list[tuple[Path, Path]] = []
        for number, (place, file) in enumerate(wanted.items()):
            temporary = staging / str(number)
            clone_or_copy(file, temporary)
            staged.append((temporary, place))
        temporary = staging / "model"
        temporary.write_bytes(data)
        staged.append((temporary, output))
        for temporary, place in staged:
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, place)


@contextmanager
def staging_folder(folder: Path) -> Iterator[Path]:
    """A hidden temporary folder beside the output, so that renaming stays on one file system."""
    try:
        path = Path(tempfile.mkdtemp(prefix=".onnx-fix-", dir=folder))
    except OSError as error:
        raise UsageError(f"{folder} is not writable ({error.strerror}); choose another") from error
    try:
        yield path
    except OSError as error:
        raise UsageError(f"writing to {folder} failed: {error.strerror or error}") from error
    finally:
        shutil.rmtree(path, ignore_errors=True)


def clone_or_copy(source: Path, target: Path) -> None:
    """Share the blocks where the file system can, else let the operating system copy.

    Neither hard nor symbolic links are made: onnx refuses to load weights through either.
    """
    with source.open("rb") as read, target.open("wb") as written:
        if _clone(read.fileno(), written.fileno()):
            return
    shutil.copyfile(source, target)


def _clone(source: int, target: int) -> bool:
    """Clone a file by its blocks (FICLONE of Linux); False where that is not possible."""
    try:
        import fcntl

        fcntl.ioctl(target, _FICLONE, source)
    except (ImportError, OSError):
        return False
    return True
