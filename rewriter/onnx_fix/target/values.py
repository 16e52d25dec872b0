"""Reading attributes, constants and dimensions of a node, where any of them may be unknown."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from onnx_fix.target.facts import NodeFacts, TensorFacts


class Unknown(Enum):
    """The type of UNKNOWN, the value of an attribute that nobody can tell yet."""

    VALUE = 0


UNKNOWN: Final = Unknown.VALUE


def given(node: NodeFacts, index: int) -> TensorFacts | None:
    """The input at ``index``, or None where it is left out or empty."""
    if 0 <= index < len(node.inputs) and node.inputs[index].name:
        return node.inputs[index]
    return None


def attribute(node: NodeFacts, name: str, default: object = None) -> object:
    """An attribute, its default, or UNKNOWN where it refers to a function parameter."""
    if name in node.unresolved:
        return UNKNOWN
    value = node.attributes.get(name, default)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def integer(value: object) -> int | None:
    """The value as an int, None if it is not one."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    return None


def integers(value: object) -> list[int] | None:
    """The value as a list of ints, None if it is not one."""
    if isinstance(value, np.ndarray):
        return [int(item) for item in value.reshape(-1)]
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        numbers = [integer(item) for item in value]
        return None if None in numbers else [number for number in numbers if number is not None]
    return None


def constant(tensor: TensorFacts | None) -> NDArray[np.generic] | None:
    """The elements of a small constant, flat; None elsewhere."""
    if tensor is None or tensor.constness == "runtime":
        return None
    value = tensor.value()
    return None if value is None else np.asarray(value).reshape(-1)


def same(left: object, right: object) -> bool:
    """Equality of attribute values: numbers by value, FP32 rounding forgiven; text as it is."""
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return abs(float(left) - float(right)) <= 1e-6 * max(1.0, abs(float(right)))
    return left == right


def rank(tensor: TensorFacts | None) -> int | None:
    """The number of dimensions, None where unknown or where there is no tensor."""
    return None if tensor is None or tensor.shape is None else len(tensor.shape)


def normalized(axis: int, dims: int) -> int:
    """A negative axis counted from the front."""
    return axis + dims if axis < 0 else axis


def axes_of(node: NodeFacts, index: int) -> list[int] | Unknown | None:
    """The axes of a node, by attribute ``axes`` or by input ``index``.

    None where none are given, UNKNOWN where they are given but cannot be read.
    """
    written = attribute(node, "axes")
    if written is UNKNOWN:
        return UNKNOWN
    if written is not None:
        listed = integers(written)
        return UNKNOWN if listed is None else listed or None
    tensor = given(node, index)
    if tensor is None:
        return None
    if tensor.shape is not None and tensor.shape == (0,):
        return None
    value = constant(tensor)
    if value is None:
        return UNKNOWN
    return [int(axis) for axis in value] or None


def label(index: int, tensor: TensorFacts | None, name: str = "") -> str:
    """How a message calls an input: its place, its ONNX name where known, its tensor."""
    text = f"input {index}"
    if name:
        text += f" ({name})"
    if tensor is not None and tensor.name:
        text += f" '{tensor.name}'"
    return text
