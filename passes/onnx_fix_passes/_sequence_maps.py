"""SequenceMap: the body once for every element."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from onnx_fix.contract import Rewrite
from onnx_fix.emit import Emitter
from onnx_fix.lower.rules.bodies import type_proto
from onnx_fix.scope import Scope, TypeInfo
from onnx_fix.shape_values import ShapeValues
from onnx_fix_passes._body_flattening import Emission, flattened
from onnx_fix_passes._body_rounds import Limits, Rounds, Unresolved
from onnx_fix_passes._isolated_node import isolated
from onnx_fix_passes._sequence_contents import Element, Part, Pieces, Reader, Unknown, written


def mapped(scope: Scope, reader: Reader, node: gs.Node, values: ShapeValues) -> Rewrite:
    """A SequenceConstruct of what the body gives for every element.

    Raises:
        Unknown: it is not known what the sequences hold.
        Unresolved: the body cannot be written out.
    """
    lists = [_elements(scope, reader, tensor) for tensor in node.inputs]
    count = len(lists[0] or ())
    if not count:
        raise Unknown("it goes over an empty sequence; leave it out of the network")
    if any(len(held) != count for held in lists if held is not None):
        raise Unknown("it goes over sequences of different lengths")
    alone = isolated(scope, node, values)
    body = next(a.g for a in alone.proto.attribute if a.name == "body")
    rounds = Rounds(scope.opset, Limits(rounds=count))
    copy = rounds.copies(body, alone.read)
    e = Emitter(scope)
    tensors = dict(alone.tensors)
    types: dict[str, TypeInfo] = {}
    nodes, results = [], []
    for k in range(count):
        names = []
        for tensor, held in zip(node.inputs, lists, strict=True):
            element = tensor if held is None else held[k]
            name = rounds.fresh("element")
            tensors[name] = written(e, element)
            if not isinstance(element, Part):
                types[name] = TypeInfo(scope.dtype(element), scope.shape(element))
            names.append(name)
        made, outputs = copy(names)
        nodes += made
        results.append(outputs)
    every = dict.fromkeys(name for outputs in results for name in outputs)
    graph = alone.graph(nodes, every, node.op)
    for name, info in types.items():
        if info.dtype is not None:
            graph.input.add(name=name).type.CopyFrom(type_proto(info))
    given = {**alone.given, **rounds.constants}
    flat = flattened(graph, scope.opset, given, exact=True, read=alone.read)
    emission = Emission(e, flat, tensors, alone.read)
    final = dict(zip(every, flat.outputs, strict=True))
    pairs = []
    for place, out in enumerate(node.outputs):
        if not out.name:
            continue
        parts = [emission.tensor(final[outputs[place]]) for outputs in results]
        if any(part is None for part in parts):
            raise Unresolved(f"nothing makes the elements of '{out.name}'")
        pairs.append((out, e("SequenceConstruct", *parts)))
    return e.rewrite(node, pairs)


def _elements(scope: Scope, reader: Reader, tensor: gs.Tensor) -> tuple[Element, ...] | None:
    """The elements of a sequence; None for a tensor."""
    if isinstance(tensor, gs.Constant) or scope.dtype(tensor) is not None:
        return None
    held = reader.contents(tensor)
    if isinstance(held, Pieces):
        raise Unknown("it goes over a split along a dim of unknown size; fix the dim (--static)")
    return held
