"""The plugin ``GatherElementsPlugin``: ONNX GatherElements where a release has no layer for it.

A node of it has two inputs and one output, and three attributes, all of which are written out
because TensorRT 7.x asks for every field that a creator declares:

* ``data``: rank r >= 1, shape D, of one of ``DATA_TYPES``
* ``indices``: rank r, shape I with ``I[k] <= D[k]`` for every k but ``axis``; INT32 or INT64;
  values in ``[-D[axis], D[axis] - 1]``, negative ones counting from the end
* output: shape I, the element type of ``data``;
  ``output[i0, ..., ir] = data[i0, ..., indices[i0, ..., ir], ..., ir]`` with the index in place
  ``axis``
* ``axis`` (int) in ``[-r, r - 1]``, ``plugin_version`` ("1"), ``plugin_namespace`` ("")

That is GatherElements of opset 13 (ONNX operator specification). The op bears a name of its own
because the parser takes the built-in importer of a name before any plugin.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, FunctionProto, TensorProto, helper

from onnx_fix.errors import ModelError
from onnx_fix.plugin_libraries import PluginSource
from onnx_fix.target.facts import Dim, NodeFacts, TensorFacts

OP = "GatherElementsPlugin"
"""The op type, which is also the name that the plugin creator registers."""

DOMAIN = "trt.plugins"
"""The ONNX domain of the node. TensorRT before 10.10 does not read it."""

DOMAIN_VERSION = 1
"""The version of ``DOMAIN`` that a model with such nodes imports."""

VERSION = "1"
NAMESPACE = ""

DATA_TYPES = frozenset(
    {
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.BFLOAT16,
        TensorProto.INT8,
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.BOOL,
    }
)
"""Element types of ``data``. Before TensorRT 9.0 an INT64 tensor reaches the plugin as INT32."""

INDEX_TYPES = frozenset({TensorProto.INT32, TensorProto.INT64})
"""Element types of ``indices``."""

_GATHER_ELEMENTS_SINCE = 11


def attributes(axis: int) -> dict[str, object]:
    """The attributes of a node, as the plugin look-up of the ONNX parser wants them."""
    return {"axis": axis, "plugin_version": VERSION, "plugin_namespace": NAMESPACE}


def reference(
    data: NDArray[np.generic], indices: NDArray[np.generic], axis: int
) -> NDArray[np.generic]:
    """The output for one pair of inputs, by numpy; shapes and types as in the module's docstring.

    Raises:
        ModelError: the types, the shapes or the axis are not what the plugin takes.
        IndexError: an index lies outside ``[-D[axis], D[axis] - 1]``.
    """
    output_type(
        helper.np_dtype_to_tensor_dtype(data.dtype),
        data.shape,
        helper.np_dtype_to_tensor_dtype(indices.dtype),
        indices.shape,
        axis,
    )
    place = axis % data.ndim
    window = tuple(
        slice(None) if k == place else slice(size) for k, size in enumerate(indices.shape)
    )
    picked: NDArray[np.generic] = np.take_along_axis(
        data[window], indices.astype(np.int64), axis=place
    )
    return picked


def output_type(
    data_type: int,
    data_shape: Sequence[Dim],
    index_type: int,
    index_shape: Sequence[Dim],
    axis: int,
) -> tuple[int, tuple[Dim, ...]]:
    """The ``TensorProto.DataType`` and the shape of the output; dims may be symbols or None.

    Raises:
        ModelError: the plugin does not take inputs of these types and shapes.
    """
    if data_type not in DATA_TYPES:
        raise ModelError(f"{OP}: data of type {_name(data_type)}; cast it to {_names(DATA_TYPES)}")
    if index_type not in INDEX_TYPES:
        raise ModelError(
            f"{OP}: indices of type {_name(index_type)}; cast them to {_names(INDEX_TYPES)}"
        )
    rank = len(data_shape)
    if rank == 0 or len(index_shape) != rank:
        raise ModelError(
            f"{OP}: data of rank {rank} and indices of rank {len(index_shape)}; "
            "both must be of one rank, at least 1"
        )
    if not -rank <= axis < rank:
        raise ModelError(f"{OP}: axis {axis} of data of rank {rank}; it must be in [-r, r - 1]")
    for k, (size, most) in enumerate(zip(index_shape, data_shape, strict=True)):
        if k != axis % rank and isinstance(size, int) and isinstance(most, int) and size > most:
            raise ModelError(
                f"{OP}: dimension {k} of the indices is {size}, more than the {most} of the data; "
                "only the axis may be longer"
            )
    return data_type, tuple(index_shape)


def function_body(opset: int) -> FunctionProto:
    """The op as an ONNX function whose body is GatherElements of the default operator set.

    ``opset`` is the version that the body imports, at least 11, where GatherElements came.
    """
    node = helper.make_node("GatherElements", ["data", "indices"], ["output"])
    axis = node.attribute.add()
    axis.name, axis.type, axis.ref_attr_name = "axis", AttributeProto.INT, "axis"
    return helper.make_function(
        DOMAIN,
        OP,
        ["data", "indices"],
        ["output"],
        [node],
        [helper.make_opsetid("", max(opset, _GATHER_ELEMENTS_SINCE))],
        attributes=list(attributes(0)),
    )


def source() -> PluginSource:
    """The plugin in C++, and a node that it stands in for: sizes not known, indices of any sign."""
    data = TensorFacts("data", TensorProto.FLOAT, ("B", "N"))
    indices = TensorFacts("indices", TensorProto.INT64, ("B", "M"))
    output = TensorFacts("output", TensorProto.FLOAT, ("B", "M"))

    def node(op: str, domain: str, attrs: dict[str, object]) -> NodeFacts:
        return NodeFacts(op, domain, op, "", 13, (data, indices), (output,), attrs)

    return PluginSource(
        version=VERSION,
        namespace=NAMESPACE,
        replaces=node("GatherElements", "", {"axis": 1}),
        node=node(OP, DOMAIN, attributes(1)),
        folder=Path(__file__).with_name("cuda"),
        library="libonnx_fix_plugins.so",
    )


def _name(dtype: int) -> str:
    return str(TensorProto.DataType.Name(dtype))


def _names(dtypes: frozenset[int]) -> str:
    return ", ".join(_name(d) for d in sorted(dtypes))


__all__ = [
    "DATA_TYPES",
    "DOMAIN",
    "DOMAIN_VERSION",
    "INDEX_TYPES",
    "NAMESPACE",
    "OP",
    "VERSION",
    "attributes",
    "function_body",
    "output_type",
    "reference",
    "source",
]
