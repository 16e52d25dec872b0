"""What the element types of a model ask of a builder that is not strongly typed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from onnx_fix.functions import all_graphs, all_nodes

_FLAGS: dict[int, str] = {
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.FLOAT8E4M3FN: "FP8",
    TensorProto.INT4: "INT4",
}
_QUANTIZED = frozenset(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"))
_NARROW = frozenset((TensorProto.INT8, TensorProto.UINT8))


def needs(model: ModelProto) -> list[str]:
    """The flags of the builder, by name, without which the types in the model are not allowed."""
    nodes = list(all_nodes(model))
    types = {*_declared(all_graphs(model)), *_written(nodes)}
    found = {_FLAGS[t] for t in types if t in _FLAGS}
    if any(n.op_type in _QUANTIZED for n in nodes) and types & _NARROW:
        found.add("INT8")
    return sorted(found)


def _declared(graphs: Iterable[GraphProto]) -> Iterator[int]:
    for graph in graphs:
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield value.type.tensor_type.elem_type
        for tensor in graph.initializer:
            yield tensor.data_type


def _written(nodes: Iterable[NodeProto]) -> Iterator[int]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t.data_type
            elif attribute.name in ("to", "dtype", "output_dtype"):
                yield attribute.i
