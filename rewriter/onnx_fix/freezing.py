"""Inputs of a model that become constants: their values, checked, and the models with them."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from onnx_fix.dim_names import symbol_of
from onnx_fix.errors import UsageError

Arrays = dict[str, NDArray[np.generic]]


def parse_freezes(texts: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` as a mapping; VALUE is a number, nested lists of numbers, or ``@FILE.npy``.

    Raises:
        UsageError: it is not of this form, or a name comes twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=@")
        if sign:
            value = "@" + value
        else:
            name, _, value = text.rpartition("=")
        if not name or not value:
            raise UsageError(f"'{text}': NAME=VALUE is wanted, such as axes=[0,1] or k=@k.npy")
        if name in found:
            raise UsageError(f"'{text}': the input '{name}' is given a value twice")
        found[name] = value if value.startswith("@") else _literal(text, value)
    return found


def _literal(text: str, value: str) -> object:
    for read in (json.loads, ast.literal_eval, float):
        try:
            found: object = read(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(found, bool | int | float | list | tuple):
            return found
    raise UsageError(
        f"'{text}': '{value}' is no number and no list of numbers; a file is written @FILE.npy"
    )


def resolve(proto: ModelProto, freeze: Mapping[str, object]) -> Arrays:
    """The values as arrays of the type and shape that the inputs declare.

    A value is an array, numbers in nested lists, or ``@FILE.npy`` (relative to the working
    folder). A number alone serves for an input of one element.

    Raises:
        UsageError: there is no such input, or the value is not of its type or shape.
    """
    if not freeze:
        return {}
    from onnx_fix.verify.symbols import symbols

    inputs = {value.name: value for value in proto.graph.input}
    opaque = symbols(proto)
    sizes: dict[str, int] = {}
    found: Arrays = {}
    for name, value in freeze.items():
        if name not in inputs:
            has = ", ".join(inputs) or "none"
            raise UsageError(f"the model has no input '{name}' to freeze; it has: {has}")
        found[name] = _as_declared(inputs[name], value, sizes, opaque)
    return found


def _as_declared(
    declared: onnx.ValueInfoProto,
    value: object,
    sizes: dict[str, int],
    opaque: Mapping[str, object],
) -> NDArray[np.generic]:
    from onnx_fix.verify.feeds import DTYPES
    from onnx_fix.verify.symbols import input_dims
    from onnx_fix.verify.user_feeds import check_array

    where = f"the value for input '{declared.name}'"
    elem = declared.type.tensor_type.elem_type
    if not declared.type.HasField("tensor_type") or elem not in DTYPES:
        raise UsageError(f"input '{declared.name}' is no tensor, and cannot be frozen")
    dtype = np.dtype(DTYPES[elem])
    if dtype == np.object_:
        raise UsageError(f"input '{declared.name}' is of strings, and cannot be frozen")
    if isinstance(value, str):
        where = f"{value.removeprefix('@')}: {where}"
        array = _read(value)
    elif isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
    else:
        array = _converted(where, value, dtype)
        dims = input_dims(declared)
        if dims is not None:
            shape = tuple(d if isinstance(d, int) else 1 for d in dims)
            alone = array.ndim == 0 and all(d == 1 for d in shape)
            if alone or (array.size == 0 and 0 in shape):
                array = array.reshape(shape)
    return check_array(where, declared, array, sizes, opaque)


def _read(value: str) -> NDArray[np.generic]:
    if not value.startswith("@"):
        raise UsageError(f"'{value}' is no value; a file is written @FILE.npy")
    path = Path(value[1:])
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{path}: cannot be read as a numpy file: {error}") from error
    if not isinstance(loaded, np.ndarray):
        raise UsageError(f"{path}: holds several arrays; a file of one (.npy) is wanted")
    return loaded


def _converted(where: str, value: object, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Numbers as they were written, where the type has them."""
    try:
        plain = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{where} is ragged: rows differ in length") from error
    if plain.size == 0:
        return plain.astype(dtype)
    kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    name = onnx.TensorProto.DataType.Name(kind)
    whole = dtype.kind in "iu" or "int" in dtype.name
    allowed = "b" if dtype.kind == "b" else "iu" if whole else "iuf"
    if plain.dtype.kind not in allowed:
        raise UsageError(f"{where} has elements that are no {name}: {value}")
    with np.errstate(all="ignore"):
        made = plain.astype(dtype)
        same = made.astype(plain.dtype) if whole else made
    if whole and not np.array_equal(same, plain):
        raise UsageError(f"{where} is out of the range of {name}: {value}")
    if not whole and dtype.kind != "b":
        finite = np.isfinite(plain.astype(np.float64))
        if not np.array_equal(np.isfinite(made.astype(np.float64)), finite):
            raise UsageError(f"{where} is out of the range of {name}: {value}")
    return made


def bound(proto: ModelProto, values: Mapping[str, NDArray[np.generic]]) -> ModelProto:
    """The model with the shapes that the values give its inputs, symbols included; a copy."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    sizes: dict[str, int] = {}
    for declared in copy.graph.input:
        if declared.name not in values:
            continue
        given = values[declared.name].shape
        tensor = declared.type.tensor_type
        for dim, size in zip(tensor.shape.dim, given, strict=False):
            if symbol_of(dim):
                sizes.setdefault(dim.dim_param, size)
        tensor.shape.Clear()
        for size in given:
            tensor.shape.dim.add(dim_value=size)
    for declared in (*copy.graph.input, *copy.graph.output, *copy.graph.value_info):
        for dim in declared.type.tensor_type.shape.dim if sizes else ():
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
    return copy


def frozen(proto: ModelProto, values: Mapping[str, NDArray[np.generic]]) -> ModelProto:
    """The model with the values as initializers in the place of the inputs; a copy."""
    copy = bound(proto, values)
    inputs = [v for v in copy.graph.input if v.name not in values]
    del copy.graph.input[:]
    copy.graph.input.extend(inputs)
    kept = [t for t in copy.graph.initializer if t.name not in values]
    if len(kept) != len(copy.graph.initializer):
        del copy.graph.initializer[:]
        copy.graph.initializer.extend(kept)
    for name, value in values.items():
        copy.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    return copy


def told(name: str, value: NDArray[np.generic]) -> str:
    """An input that was frozen, in a line of the report."""
    kind = onnx.TensorProto.DataType.Name(onnx.helper.np_dtype_to_tensor_dtype(value.dtype))
    shape = ", ".join(map(str, value.shape))
    shown = np.array2string(value, threshold=8, separator=", ").replace("\n", "")
    return f"input '{name}' is no more; it is the constant {kind}[{shape}] {shown}"
