"""Constant nodes whose value stands in an attribute that the target does not read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, numpy_helper

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, has_unresolved

_NUMBERS = ("value_float", "value_floats", "value_int", "value_ints")
_TEXT = ("value_string", "value_strings")


@dataclass(frozen=True)
class ConstantValue(Pass):
    """Write the value of a Constant node as the attribute ``value``.

    TensorRT 7 fails on the shorter attributes; 8.0 to 9.1 read ``value_int`` as 0 and
    ``value_ints`` as an empty list, without a message; no release reads ``sparse_value``.

    Rules:

    1. ``value_int``, ``value_ints`` become an int64 tensor of rank 0 or 1, ``value_float`` and
       ``value_floats`` a float32 one.
    2. ``sparse_value`` becomes the dense tensor, zeros filled in.

    Before:
        k = Constant <value_ints = [1, 2]> ()
    After:
        k = Constant <value = int64[2] {1, 2}> ()
    Exact:
        Yes. Left alone: strings, which no TensorRT has; values that are parameters of the
        enclosing function; sparse values kept in another file or larger than ``limit_mib``.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.FOLD
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("attribute_allowed_names", "Constant", "the value is numbers, not text"),
        Mends("attribute_must_be_absent", "Constant", "the value is numbers, not text"),
        Mends("attribute_value_misread", "Constant"),
    )

    everywhere: bool = False
    """Also rewrite Constant nodes that the target reads rightly."""

    limit_mib: float = 16.0
    """Largest dense tensor made of a sparse one, in MiB."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a Constant with ``value`` for every other one that the target misreads."""
        for node in scope.nodes("Constant"):
            name = next((k for k in (*_NUMBERS, *_TEXT, "sparse_value") if k in node.attrs), None)
            if name is None or not (self.everywhere or scope.refused(node)):
                continue
            value = self._value(node, name)
            if isinstance(value, str):
                yield Skip(node, value)
            else:
                e = Emitter(scope)
                yield e.rewrite(node, e("Constant", value=gs.Constant("", value)))

    def _value(self, node: gs.Node, name: str) -> NDArray[np.generic] | str:
        """The value as a tensor, or why there is none."""
        if has_unresolved(node, name):
            return f"{name} comes from a parameter of the function: inline it"
        held = node.attrs[name]
        if name in _TEXT:
            return "TensorRT has no strings; leave them out of the exported part of the model"
        if name != "sparse_value":
            return np.asarray(held, np.int64 if "int" in name else np.float32)
        if not isinstance(held, AttributeProto):
            return "the sparse value cannot be read"
        return _dense(held, self.limit_mib)


def _dense(attribute: AttributeProto, limit_mib: float) -> NDArray[np.generic] | str:
    """The dense form of a sparse tensor.

    Its indices are places in the flat tensor, of shape (n,), or coordinates, of shape (n, rank)
    (``SparseTensorProto`` of onnx.proto).
    """
    sparse = attribute.sparse_tensor
    stored, indices = (dict(_fields(sparse)).get(k) for k in ("values", "indices"))
    shape = tuple(sparse.dims)
    if stored is None or stored.data_type == TensorProto.STRING:
        return "the sparse value holds no numbers"
    if any(t is not None and t.data_location == TensorProto.EXTERNAL for t in (stored, indices)):
        return "the sparse value is kept in another file"
    values = numpy_helper.to_array(stored)
    if math.prod(shape) * values.itemsize > limit_mib * 2**20:
        return f"the dense value is larger than limit_mib = {limit_mib:g}"
    dense = np.zeros(shape, values.dtype)
    places = np.zeros(0, np.int64) if indices is None else numpy_helper.to_array(indices)
    if places.ndim == 2:
        dense[tuple(places.T)] = values
    elif places.size:
        dense.reshape(-1)[places] = values
    return dense


def _fields(sparse: object) -> Iterator[tuple[str, TensorProto]]:
    for descriptor, value in sparse.ListFields():  # type: ignore[attr-defined]
        if isinstance(value, TensorProto):
            yield descriptor.name, value
