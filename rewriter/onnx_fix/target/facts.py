"""What is known of one node when a target is asked about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Dim = int | str | None
"""One dimension: a size, a symbol, or None where nothing is known."""

Constness = Literal["initializer", "foldable", "runtime"]
"""How constant a tensor is.

``initializer``: an initializer, or the output of a Constant node: TensorRT's parser sees weights.
``foldable``: computed from constants alone, so folding makes it an initializer.
``runtime``: depends on an input of the network.
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the values of a tensor rest on.

    ``ops`` stand between the tensor and constants or network inputs; ``inputs`` are the element
    types of the network inputs whose values it rests on (their shapes do not count).
    """

    ops: frozenset[str]
    inputs: frozenset[int]


def _no_value() -> NDArray[np.generic] | None:
    return None


def _no_origin() -> Origin | None:
    return None


def _alone() -> NodeFacts | None:
    return None


def _no_use() -> str | None:
    return None


def _no_ops() -> frozenset[str]:
    return frozenset()


def _unproven(_size: int | None, _dim: tuple[str, int] | None) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """One input or output of a node.

    ``name`` is empty for an omitted optional input. ``dtype`` is an
    ``onnx.TensorProto.DataType`` number or None when unknown; ``shape`` is None when the rank is
    unknown. ``value`` reads the tensor where it is a small constant, and gives None elsewhere.
    ``nonnegative`` says whether it provably holds no negative number, taken as indices along a
    dim of the given size (None where that is not known) of the tensor of a name along an axis.
    ``origin`` is None where it is not known.
    ``bound`` says whether it is an input or output of the network (None where that is not known;
    asked of UINT8 alone).
    ``size_use`` names an input of a node that takes sizes computed from the tensor, or is None;
    ``float_ops`` are the ops that compute it of integers, as far as their results are floats.
    """

    name: str
    dtype: int | None = None
    shape: tuple[Dim, ...] | None = None
    constness: Constness = "runtime"
    value: Callable[[], NDArray[np.generic] | None] = _no_value
    nonnegative: Callable[[int | None, tuple[str, int] | None], bool] = _unproven
    origin: Callable[[], Origin | None] = _no_origin
    bound: bool | None = None
    size_use: Callable[[], str | None] = _no_use
    float_ops: Callable[[], frozenset[str]] = _no_ops


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node in its context, as a target judges it.

    ``attributes`` holds decoded attribute values: int, float, str, list of those, ``TensorProto``,
    or another object for graphs. An attribute that refers to a function parameter is left out and
    named in ``unresolved``. ``opset`` is the version of the default domain that the model imports.
    ``first`` gives the first node of the op in the network, None where that is not known.
    """

    op: str
    domain: str
    name: str
    scope: str
    opset: int
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    attributes: Mapping[str, object]
    unresolved: frozenset[str] = frozenset()
    first: Callable[[], NodeFacts | None] = _alone

    def with_attributes(self, attributes: Mapping[str, object]) -> NodeFacts:
        """The same node with other attributes."""
        return replace(self, attributes=dict(attributes))
