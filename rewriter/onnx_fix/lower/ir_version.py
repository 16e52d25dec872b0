"""The IR version that a lowered model gets: readers of the older operator set know no newer one.

Fields that say nothing about what is computed (``metadata_props``, device configurations) are kept
and do not hold the version up: older readers skip them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TypeProto, helper
from onnx.onnx_pb import TensorProto

from onnx_fix.scope import STANDARD_DOMAINS

_LOWEST = 4
"""Since then initializers need not be inputs, and those that are inputs may be fed."""

_QUANTIZATION_ANNOTATION = 5
_SPARSE_TENSOR = 6
_TRAINING = 7
_FUNCTION = _OPTIONAL = _SPARSE_TYPE = _TYPE_ATTRIBUTE = 8
_DEFAULT_OF_A_FUNCTION = 9
_OVERLOAD = 10

_ELEMENT_TYPES = {
    "FLOAT8E4M3FN": 9,
    "FLOAT8E4M3FNUZ": 9,
    "FLOAT8E5M2": 9,
    "FLOAT8E5M2FNUZ": 9,
    "UINT4": 10,
    "INT4": 10,
    "FLOAT4E2M1": 11,
    "FLOAT8E8M0": 12,
    "UINT2": 13,
    "INT2": 13,
    "FLOAT6E2M3": 14,
    "FLOAT6E3M2": 14,
}
_SINCE = {
    number: _ELEMENT_TYPES[name]
    for name, number in TensorProto.DataType.items()
    if name in _ELEMENT_TYPES
}
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")


def lowered_ir_version(model: ModelProto, opset: int) -> int:
    """The IR version that goes with the operator set ``opset``.

    It is never above that of the model, and not below what the model needs besides.
    """
    needs = [_LOWEST, *_of_imports(model, opset), *_of_graph(model.graph)]
    if model.training_info:
        needs.append(_TRAINING)
        for info in model.training_info:
            needs += [*_of_graph(info.initialization), *_of_graph(info.algorithm)]
    for function in model.functions:
        needs += _of_function(function)
    return min(int(model.ir_version), max(needs))


def _of_imports(model: ModelProto, opset: int) -> Iterator[int]:
    for entry in model.opset_import:
        standard = entry.domain in STANDARD_DOMAINS
        key = ("ai.onnx", opset) if standard else (entry.domain, entry.version)
        yield helper.OP_SET_ID_VERSION_MAP.get(key, _LOWEST)


def _of_graph(graph: GraphProto) -> Iterator[int]:
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield from _of_type(value.type)
    yield from (_of_element(t.data_type) for t in graph.initializer)
    if graph.quantization_annotation:
        yield _QUANTIZATION_ANNOTATION
    for sparse in graph.sparse_initializer:
        yield from (_SPARSE_TENSOR, _of_element(sparse.values.data_type))
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[NodeProto]) -> Iterator[int]:
    for node in nodes:
        if node.overload:
            yield _OVERLOAD
        for attribute in node.attribute:
            yield from _of_attribute(attribute)


def _of_attribute(attribute: AttributeProto) -> Iterator[int]:
    if attribute.name in _TYPE_ATTRIBUTES and attribute.type == AttributeProto.INT:
        yield _of_element(attribute.i)
    tensors = [attribute.t] if attribute.HasField("t") else []
    yield from (_of_element(t.data_type) for t in (*tensors, *attribute.tensors))
    sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
    for tensor in (*sparse, *attribute.sparse_tensors):
        yield from (_SPARSE_TENSOR, _of_element(tensor.values.data_type))
    types = [attribute.tp] if attribute.HasField("tp") else []
    for kind in (*types, *attribute.type_protos):
        yield from (_TYPE_ATTRIBUTE, *_of_type(kind))
    graphs = [attribute.g] if attribute.HasField("g") else []
    for graph in (*graphs, *attribute.graphs):
        yield from _of_graph(graph)


def _of_function(function: FunctionProto) -> Iterator[int]:
    yield _FUNCTION
    if function.attribute_proto:
        yield _DEFAULT_OF_A_FUNCTION
    if function.overload:
        yield _OVERLOAD
    for attribute in function.attribute_proto:
        yield from _of_attribute(attribute)
    yield from _of_nodes(function.node)


def _of_type(kind: TypeProto) -> Iterator[int]:
    which = kind.WhichOneof("value")
    if which == "tensor_type":
        yield _of_element(kind.tensor_type.elem_type)
    elif which == "sparse_tensor_type":
        yield from (_SPARSE_TYPE, _of_element(kind.sparse_tensor_type.elem_type))
    elif which == "optional_type":
        yield from (_OPTIONAL, *_of_type(kind.optional_type.elem_type))
    elif which == "sequence_type":
        yield from _of_type(kind.sequence_type.elem_type)
    elif which == "map_type":
        yield from _of_type(kind.map_type.value_type)


def _of_element(dtype: int) -> int:
    return _SINCE.get(dtype, _LOWEST)
