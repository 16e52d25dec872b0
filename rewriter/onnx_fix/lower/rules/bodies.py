"""Ops that did not exist, written as the body that the ONNX schema itself gives for them.

A schema may give its body for several operator sets. The highest below the op's own whose ops mean
the same there is spliced in as it is; otherwise the lowest one is lowered with the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import onnx
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
)

from onnx_fix.functions import bodies_of, every_node
from onnx_fix.lower import lower
from onnx_fix.lower.node import LowNode, Refused, Rule, since
from onnx_fix.lower.rules._steps import keep, known_dtype, same
from onnx_fix.scope import TypeInfo


def body(low: LowNode) -> list[NodeProto]:
    """Write a node as the function body of its schema.

    Raises:
        Refused: the schema gives none for these types, or an op of it cannot be lowered.
    """
    graph = body_at(low, low.opset - 1)
    if graph is None:
        raise Refused(f"{low.op} does not exist before opset {low.opset}, and has no function body")
    return _spliced(low, graph)


def body_at(low: LowNode, opset: int) -> GraphProto | None:
    """The function body that the schema of a node gives, in ops of ``opset``.

    Its inputs and outputs stand in the order of the node's, under names of its own; outputs that
    the node omits are made by nothing. None where the schema gives no body for these types.

    Raises:
        Refused: there is one, but an op of it cannot be written for ``opset``.
    """
    found = list(_bodies(low))
    if not found:
        return None
    below = [(k, f) for k, f in found if k <= opset and _unchanged(f, k, opset)]
    if below:
        return _graph(low, max(below, key=lambda item: item[0])[1])
    older = [(k, f) for k, f in found if k < opset]
    for version, function in sorted(older, key=lambda item: -item[0]):
        if _means_the_same(low, version, function, opset):
            return _graph(low, function)
    above = [(k, f) for k, f in found if k > opset]
    if not above:
        raise Refused(
            f"the function body of {low.op} has ops that changed before opset {opset + 1}"
        )
    return _lowered(low, *min(above, key=lambda item: item[0]), opset)


def _bodies(low: LowNode) -> Iterator[tuple[int, FunctionProto]]:
    # The stubs of onnx know neither these four members nor their types.
    schema: Any = onnx.defs.get_schema(low.op, low.opset, "")
    for opset in schema.function_opset_versions:
        yield opset, FunctionProto.FromString(schema.get_function_with_opset_version(opset))
    if schema.context_dependent_function_opset_versions:
        node = low.copy().SerializeToString()
        types = [_type(low, i).SerializeToString() for i in range(len(low.proto.input))]
        for opset in schema.context_dependent_function_opset_versions:
            text = schema.get_context_dependent_function_with_opset_version(opset, node, types)
            function = FunctionProto.FromString(text)
            if function.node:
                yield opset, function


def _type(low: LowNode, index: int) -> onnx.TypeProto:
    if not low.input(index):
        return onnx.TypeProto()
    full = low.full(low.input(index))
    if full is not None and full.WhichOneof("value") != "tensor_type":
        return full
    known_dtype(low, index)
    return type_proto(low.types(low.input(index)))


def type_proto(info: TypeInfo) -> onnx.TypeProto:
    """What is known of a tensor as ONNX writes it."""
    return helper.make_tensor_type_proto(info.dtype or 0, info.shape)


def _unchanged(function: FunctionProto, opset: int, below: int) -> bool:
    return all(
        since(n.op_type, opset) == since(n.op_type, below) for _, n in every_node(function.node)
    )


def _means_the_same(low: LowNode, version: int, function: FunctionProto, opset: int) -> bool:
    """Whether the nodes of a body, read by the rules of a later operator set, stay what they are
    when they are lowered to that of the body."""
    graph = _closed(low, function)
    wanted = list(graph.node)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    lowered = lower(model, version)
    return not lowered.refusals and list(lowered.model.graph.node) == wanted


def _filled(low: LowNode, function: FunctionProto) -> list[NodeProto]:
    """The nodes of a body, the parameters in their attributes filled in from the node."""
    given = {a.name: a for a in function.attribute_proto}
    for name, formal in onnx.defs.get_schema(low.op, low.opset, "").attributes.items():
        if formal.default_value.name:
            given.setdefault(name, formal.default_value)
    for actual in low.proto.attribute:
        low.attr(actual.name)
        given[actual.name] = actual
    nodes = [NodeProto.FromString(n.SerializeToString()) for n in function.node]
    for _, node in every_node(nodes):
        filled = []
        for attribute in node.attribute:
            value = AttributeProto.FromString(attribute.SerializeToString())
            if attribute.ref_attr_name:
                if attribute.ref_attr_name not in given:
                    continue
                value.CopyFrom(given[attribute.ref_attr_name])
                value.name = attribute.name
            filled.append(value)
        del node.attribute[:]
        node.attribute.extend(filled)
    return nodes


def _graph(low: LowNode, function: FunctionProto) -> GraphProto:
    """The body as a graph."""
    graph = GraphProto(name=low.op)
    graph.node.extend(_filled(low, function))
    for index, name in enumerate(function.input):
        known = low.input(index)
        value = onnx.ValueInfoProto(name=name)
        if known:
            value.type.CopyFrom(_type(low, index))
        graph.input.append(value)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in function.output)
    _without_dead(graph, len(low.proto.output), [bool(o) for o in low.proto.output])
    return graph


def _without_dead(graph: GraphProto, count: int, wanted: list[bool]) -> None:
    """Drop nodes that only omitted outputs read."""
    needed = {v.name for v, w in zip(graph.output[:count], wanted, strict=True) if w}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(reads(node))
    nodes = [NodeProto.FromString(n.SerializeToString()) for n in reversed(kept)]
    del graph.node[:]
    graph.node.extend(nodes)


def reads(node: NodeProto) -> Iterator[str]:
    """All names that a node and the graphs inside it read."""
    yield from (name for name in node.input if name)
    for inner in bodies_of(node):
        for child in inner.node:
            yield from reads(child)
        yield from (value.name for value in inner.output)


def _closed(low: LowNode, function: FunctionProto) -> GraphProto:
    """The body as a graph that stands by itself: constants as initializers, no omitted input."""
    graph = _graph(low, function)
    inputs = {v.name: low.input(i) for i, v in enumerate(graph.input)}
    alive = {name for node in graph.node for name in reads(node)}
    for name, actual in inputs.items():
        value = low.value(actual) if actual else None
        if value is not None and name in alive:
            graph.initializer.append(numpy_helper.from_array(value, name))
    omitted = {name for name, actual in inputs.items() if not actual}
    for _, node in every_node(graph.node):
        node.input[:] = ["" if name in omitted else name for name in node.input]
    kept = [v for v in graph.output if any(v.name in n.output for n in graph.node)]
    del graph.output[:]
    graph.output.extend(kept)
    return graph


def _lowered(low: LowNode, version: int, function: FunctionProto, opset: int) -> GraphProto:
    outputs = list(function.output)
    graph = _closed(low, function)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    lowered = lower(model, opset, ir_version=low.ir_version)
    if lowered.refusals:
        first = lowered.refusals[0]
        raise Refused(
            f"{low.op} is written as other ops; of these {first.op} cannot be lowered: "
            f"{first.reason}"
        )
    result = lowered.model.graph
    del result.initializer[:]
    del result.output[:]
    result.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return result


def _spliced(low: LowNode, graph: GraphProto) -> list[NodeProto]:
    names = {v.name: low.input(i) for i, v in enumerate(graph.input)}
    for index, value in enumerate(graph.output):
        actual = low.proto.output[index] if index < len(low.proto.output) else ""
        if actual:
            if value.name in names:
                raise Refused(f"an output of the function body of {low.op} is an input of it")
            names[value.name] = actual
    base = low.proto.output[0]

    def renamed(name: str) -> str:
        if name and name not in names:
            names[name] = low.fresh(f"{base}/{name}")
        return names[name] if name else ""

    nodes = [NodeProto.FromString(n.SerializeToString()) for n in graph.node]
    _rename(nodes, renamed)
    for node in nodes:
        if node.output[0] in low.proto.output:
            node.name = low.proto.name if base in node.output else ""
    return nodes


def _rename(nodes: Iterable[NodeProto], renamed: Callable[[str], str]) -> None:
    for node in nodes:
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
        node.name = next((name for name in node.output if name), "")
        for inner in bodies_of(node):
            for value in (*inner.input, *inner.output, *inner.value_info):
                value.name = renamed(value.name)
            for tensor in inner.initializer:
                tensor.name = renamed(tensor.name)
            _rename(inner.node, renamed)


def _attention_windows(low: LowNode) -> list[NodeProto]:
    """25 to 24: the windows were added; -1 leaves a side open."""
    if low.attr("left_window_size", -1) == -1 and low.attr("right_window_size", -1) == -1:
        return keep(low, drop=["left_window_size", "right_window_size"])
    return body(low)


def _celu(low: LowNode) -> list[NodeProto]:
    """28 to 12: other types than float32 were added."""
    return keep(low) if low.dtype(0) == TensorProto.FLOAT else body(low)


def _space_to_depth(low: LowNode) -> list[NodeProto]:
    """28 to 13: the order CRD was added; the blocks are moved by hand."""
    return keep(low, drop=["mode"]) if low.attr("mode", "DCR") == "DCR" else body(low)


_NEW = {
    "AffineGrid": (20,),
    "Attention": (23, 24),
    "Bernoulli": (15,),
    "BlackmanWindow": (17,),
    "CausalConvWithState": (27,),
    "Celu": (12,),
    "CenterCropPad": (18,),
    "DynamicQuantizeLinear": (11,),
    "Gelu": (20,),
    "GreaterOrEqual": (12,),
    "GroupNormalization": (18, 21),
    "HammingWindow": (17,),
    "HannWindow": (17,),
    "HardSwish": (14,),
    "LessOrEqual": (12,),
    "LinearAttention": (27,),
    "Mish": (18,),
    "NegativeLogLikelihoodLoss": (12,),
    "RotaryEmbedding": (23,),
    "SequenceMap": (17,),
    "SoftmaxCrossEntropyLoss": (12,),
    "SwiGLU": (28,),
    "Swish": (24,),
}

RULES: dict[tuple[str, int], Rule] = {
    **{(op, version): body for op, versions in _NEW.items() for version in versions},
    ("Attention", 25): _attention_windows,
    ("Celu", 28): _celu,
    ("SpaceToDepth", 28): _space_to_depth,
    ("DepthToSpace", 28): same(),
    ("Bernoulli", 22): same(widen=True),
    ("GreaterOrEqual", 16): same(widen=True),
    ("LessOrEqual", 16): same(widen=True),
    ("HardSwish", 22): same(widen=True),
    ("Mish", 22): same(widen=True),
    ("MeanVarianceNormalization", 13): same(widen=True),
    ("NegativeLogLikelihoodLoss", 22): same(widen=True),
    ("NegativeLogLikelihoodLoss", 13): same(),
    ("SoftmaxCrossEntropyLoss", 13): same(),
}
