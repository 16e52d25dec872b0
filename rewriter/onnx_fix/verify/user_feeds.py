"""Read the user's own feeds: .npz and .npy files."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from onnx_fix.errors import UsageError
from onnx_fix.verify.feeds import DTYPES, Value
from onnx_fix.verify.symbols import dim_size, fed_inputs, input_dims, symbols, tensor_type


@dataclass(frozen=True, slots=True)
class UserCase:
    """One set of the user's feeds, not read yet: a .npz file, or a folder of .npy files."""

    path: Path

    @property
    def name(self) -> str:
        """The name of the file or folder."""
        return self.path.name


def find_user_feeds(directory: str | Path) -> tuple[UserCase, ...]:
    """Return the cases below ``directory``, sorted by name.

    Each ``.npz`` file is a case with one array per input name. ``.npy`` files, named after inputs,
    make up one case: those in ``directory`` itself, and those in each folder in it. A path of one
    ``.npz`` file is taken too.

    Raises:
        UsageError: There is no such folder, or nothing of the kind in it.
    """
    root = Path(directory)
    if root.suffix == ".npz" and root.is_file():
        return (UserCase(root),)
    if not root.is_dir():
        raise UsageError(f"{root}: there is no such folder of feeds")
    cases = [UserCase(path) for path in sorted(root.glob("*.npz"))]
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        if any(folder.glob("*.npy")):
            cases.append(UserCase(folder))
        if folder != root:
            cases += [UserCase(path) for path in sorted(folder.glob("*.npz"))]
    if not cases:
        raise UsageError(
            f"{root}: holds no feeds; put one .npz per case there (arrays named as the inputs), "
            "or one folder per case with <input>.npy files"
        )
    return tuple(cases)


def load_user_feeds(
    directory: str | Path, model: onnx.ModelProto
) -> Iterator[tuple[str, dict[str, Value]]]:
    """Yield the name and the checked feeds of each case below ``directory``, one at a time.

    Raises:
        UsageError: See `find_user_feeds` and `read_case`.
    """
    for case in find_user_feeds(directory):
        yield case.name, read_case(case, model)


def read_case(
    case: UserCase,
    model: onnx.ModelProto,
    frozen: Mapping[str, NDArray[np.generic]] | None = None,
    passed_over: set[str] | None = None,
) -> dict[str, Value]:
    """Read one case and check it against the inputs that ``model`` declares.

    Dims with the same symbol must agree within the case. Arrays of type bfloat16 and float8, which
    numpy files keep as raw bytes, are taken by their width. An input in ``frozen`` may be left
    out, and has no other value. Where ``passed_over`` is given, only sizes count: it takes the
    names of arrays that are no inputs, and element types are not compared.

    Raises:
        UsageError: A file cannot be read; an input is missing or unknown; a dtype or shape is not
            the declared one; a frozen input has another value. The message names file, input, and
            what was expected.
    """
    arrays = _read(case.path)
    inputs = fed_inputs(model)
    by_key = {value.name: value.name for value in inputs}
    for value in inputs:
        # A file name cannot hold every character that an input name may.
        by_key.setdefault(_file_safe(value.name), value.name)
    feeds: dict[str, Value] = {}
    for key, array in arrays.items():
        if key not in by_key and passed_over is not None:
            passed_over.add(key)
            continue
        if key not in by_key:
            known = ", ".join(value.name for value in inputs) or "none"
            raise UsageError(f"{case.path}: the model has no input '{key}'; it has: {known}")
        feeds[by_key[key]] = array
    for name, fixed in (frozen or {}).items():
        if name in feeds and not np.array_equal(feeds[name], fixed):
            raise UsageError(f"{case.path}: input '{name}' has not the value it is frozen to")
        feeds[name] = fixed
    sizes: dict[str, int] = {}
    opaque = symbols(model)
    for value in inputs:
        if value.name not in feeds:
            raise UsageError(f"{case.path}: holds no '{value.name}', expected {_expected(value)}")
        given = feeds[value.name]
        assert not isinstance(given, list)
        where = f"{case.path}: input '{value.name}'"
        any_type = passed_over is not None
        feeds[value.name] = check_array(where, value, given, sizes, opaque, any_type=any_type)
    for value in inputs:
        _check_computed(case.path, value, feeds[value.name], sizes)
    return feeds


def _read(path: Path) -> dict[str, NDArray[np.generic]]:
    files = [path] if path.is_file() else sorted(path.glob("*.npy"))
    arrays: dict[str, NDArray[np.generic]] = {}
    for file in files:
        try:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                arrays[file.stem] = loaded
            else:
                with loaded:
                    arrays.update({name: loaded[name] for name in loaded.files})
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise UsageError(f"{file}: cannot be read as a numpy file: {error}") from error
    return arrays


def _file_safe(name: str) -> str:
    return re.sub(r"[^\w.\-]", "_", name)


def _expected(value: onnx.ValueInfoProto) -> str:
    found = tensor_type(value.type)
    dtype = np.dtype(DTYPES[found.elem_type]).name if found and found.elem_type in DTYPES else "?"
    dims = input_dims(value)
    shape = "any shape" if dims is None else f"shape [{', '.join(map(str, dims))}]"
    return f"{'string' if dtype == 'object' else dtype} of {shape}"


def check_array(
    where: str,
    value: onnx.ValueInfoProto,
    array: NDArray[np.generic],
    sizes: dict[str, int],
    opaque: Mapping[str, object],
    *,
    any_type: bool = False,
) -> NDArray[np.generic]:
    """An array of the declared type and shape; ``sizes`` takes the symbols met so far.

    With ``any_type`` the type is not looked at.

    Raises:
        UsageError: it is of another type or shape; ``where`` stands for it in the message.
    """
    found = tensor_type(value.type)
    if not value.type.HasField("tensor_type") or found is None or found.elem_type not in DTYPES:
        raise UsageError(f"{where} is no tensor that a numpy file can hold")
    dtype = np.dtype(DTYPES[found.elem_type])
    if dtype == np.object_ and array.dtype.kind in "US":
        array = array.astype(str).astype(object)
    elif array.dtype.kind == "V" and array.dtype.itemsize == dtype.itemsize:
        array = array.view(dtype)
    if array.dtype != dtype and not any_type:
        raise UsageError(f"{where} is {array.dtype.name}, expected {_expected(value)}")
    dims = input_dims(value)
    if dims is None:
        return array
    fits = len(dims) == array.ndim
    for dim, size in zip(dims, array.shape, strict=False):
        if isinstance(dim, int):
            fits &= dim == size
        elif dim in opaque and sizes.setdefault(dim, size) != size:
            raise UsageError(
                f"{where} has shape {list(array.shape)}, expected {_expected(value)} "
                f"with {dim} = {sizes[dim]} as in the inputs before it"
            )
    if not fits:
        raise UsageError(f"{where} has shape {list(array.shape)}, expected {_expected(value)}")
    return array


def _check_computed(
    path: Path, value: onnx.ValueInfoProto, given: Value, sizes: Mapping[str, int]
) -> None:
    """Check the dims that are arithmetic over symbols, once all symbols are known."""
    assert not isinstance(given, list)
    for axis, dim in enumerate(input_dims(value) or ()):
        wanted = dim_size(dim, sizes)
        if wanted != given.shape[axis]:
            raise UsageError(
                f"{path}: input '{value.name}' has size {given.shape[axis]} on axis {axis}, "
                f"expected {dim} = {wanted}"
            )
