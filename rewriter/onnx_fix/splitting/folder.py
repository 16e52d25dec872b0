"""Put a folder in its place: whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from onnx_fix.errors import UsageError
from onnx_fix.save import clone_or_copy
from onnx_fix.splitting.manifest import NAME


def check_folder(output: Path, source: Path | None, *, force: bool) -> None:
    """Refuse a folder that may not be written, before any work is done.

    Only a folder with a manifest is ever replaced: what else it holds goes with it.

    Raises:
        UsageError: it is a file or a link, holds something (without ``force``, or something that
            onnx-fix did not write), holds the input, or cannot be made.
    """
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        what = "a link" if output.is_symlink() else "no folder"
        raise UsageError(f"{output} is {what}; name a new folder for the parts")
    if Path.cwd().is_relative_to(output.resolve()):
        raise UsageError(f"{output} is the folder you are in, or one above; name a new folder")
    if output.is_dir() and any(output.iterdir()):
        if not force:
            raise UsageError(
                f"{output} exists and is not empty; pass --force to replace it, or name another"
            )
        if not (output / NAME).is_file():
            raise UsageError(
                f"{output} has no {NAME}, so onnx-fix did not write it, and --force would delete "
                "what is in it; name another folder"
            )
        if source is not None and source.resolve().is_relative_to(output.resolve()):
            raise UsageError(f"{output} holds the input; name another folder")
    parent = output.resolve().parent
    if not parent.is_dir():
        raise UsageError(f"{parent}: there is no such folder; make it first")
    if not os.access(parent, os.W_OK):
        raise UsageError(f"{parent} is not writable; name another folder")


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A hidden folder beside the output, which becomes the output where nothing is raised.

    A folder that is there already is moved away first and deleted last; it is put back where the
    new one cannot take its place.

    Raises:
        UsageError: something cannot be written.
    """
    place = output.resolve()
    try:
        staging = Path(tempfile.mkdtemp(prefix=".onnx-fix-", dir=place.parent))
    except OSError as error:
        raise UsageError(f"{place.parent} is not writable ({error.strerror})") from error
    aside = staging / "old"
    try:
        inside = staging / "new"
        inside.mkdir()
        yield inside
        _swap(inside, place, aside)
    except OSError as error:
        raise UsageError(f"writing {output} failed: {error.strerror or error}") from error
    finally:
        if place.exists() or not aside.exists():
            shutil.rmtree(staging, ignore_errors=True)


def _swap(new: Path, place: Path, aside: Path) -> None:
    had = place.exists()
    if had:
        os.rename(place, aside)
    try:
        os.rename(new, place)
    except BaseException:
        if had:
            os.rename(aside, place)
        raise


def copy_data(folder: Path, files: Mapping[str, Path]) -> None:
    """Put files of weights into a folder, by their locations; the bytes are not read by us."""
    for location, file in files.items():
        place = folder / location
        place.parent.mkdir(parents=True, exist_ok=True)
        clone_or_copy(file, place)
