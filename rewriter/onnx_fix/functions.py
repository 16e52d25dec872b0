"""The local functions of a model, and the calls of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto

from onnx_fix.errors import ModelError

Key = tuple[str, str, str]
"""Domain, name and overload of a function."""


def key_of(function: FunctionProto) -> Key:
    """What a function is called by."""
    return function.domain, function.name, function.overload


def called(node: NodeProto) -> Key:
    """What a node would call if there were such a function."""
    return node.domain, node.op_type, node.overload


def spelled(key: Key) -> str:
    """A function as messages call it."""
    return f"{key[0]}::{key[1]}" + (f":{key[2]}" if key[2] else "")


def label_of(node: NodeProto) -> str:
    """A node as messages call it."""
    return node.name or next((name for name in node.output if name), node.op_type)


def graphs_of(node: NodeProto) -> Iterator[tuple[str, GraphProto]]:
    """The graphs inside a node, with the names that reports give them."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield f"{label_of(node)}/{attribute.name}", attribute.g
        for k, graph in enumerate(attribute.graphs):
            yield f"{label_of(node)}/{attribute.name}[{k}]", graph


def bodies_of(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs inside a node."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def has_bodies(node: NodeProto) -> bool:
    """Whether there are graphs inside a node."""
    return any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute)


def every_node(nodes: Iterable[NodeProto], path: str = "") -> Iterator[tuple[str, NodeProto]]:
    """The nodes and those inside them, each with the path of its scope."""
    for node in nodes:
        yield path, node
        for inner, graph in graphs_of(node):
            yield from every_node(graph.node, f"{path}/{inner}" if path else inner)


def all_nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Every node: of the main graph, of graphs inside nodes, of functions."""
    for nodes in (model.graph.node, *(f.node for f in model.functions)):
        for _, node in every_node(nodes):
            yield node


def all_graphs(model: ModelProto) -> Iterator[GraphProto]:
    """The main graph and those inside nodes, of functions too."""
    yield model.graph
    for node in all_nodes(model):
        yield from bodies_of(node)


def default_opset(imports: Iterable[onnx.OperatorSetIdProto]) -> int | None:
    """The version of the default operator set, None where it is not imported."""
    return next((o.version for o in imports if o.domain in ("", "ai.onnx")), None)


@dataclass(frozen=True)
class Calls:
    """The functions of a model that its graph calls, directly or through others."""

    model: ModelProto
    functions: dict[Key, FunctionProto]
    order: tuple[Key, ...]
    """Those called, a function after all that it calls."""

    @classmethod
    def of(cls, model: ModelProto) -> Calls:
        """Find the calls.

        Raises:
            ModelError: functions call each other in a circle.
        """
        functions = {key_of(f): f for f in model.functions}
        order: dict[Key, None] = {}

        def visit(nodes: Sequence[NodeProto], above: tuple[Key, ...]) -> None:
            for _, node in every_node(nodes):
                key = called(node)
                if key not in functions or key in order:
                    continue
                if key in above:
                    circle = " -> ".join(spelled(k) for k in (*above[above.index(key) :], key))
                    raise ModelError(
                        f"the local functions call each other in a circle: {circle}; ONNX does not "
                        "allow that, so export the model again"
                    )
                visit(functions[key].node, (*above, key))
                order[key] = None

        visit(model.graph.node, ())
        return cls(model, functions, tuple(order))

    def sites(self) -> Iterator[tuple[Key, NodeProto, frozenset[str]]]:
        """Every call with the names of tensors that are known around it."""
        if not self.order:
            return
        outside = frozenset(_names(self.model.graph))
        for _, node in every_node(self.model.graph.node):
            if called(node) in self.functions:
                yield called(node), node, outside
        for key in self.order:
            body = self.functions[key]
            inside = outside | {n for _, node in every_node(body.node) for n in node.output}
            inside |= set(body.input)
            for _, node in every_node(body.node):
                if called(node) in self.functions:
                    yield called(node), node, inside

    def calls_made_by(self, key: Key) -> set[Key]:
        """The functions that a function calls itself."""
        found = {called(node) for _, node in every_node(self.functions[key].node)}
        return found & set(self.functions)

    def changed_ops(self, key: Key) -> list[str]:
        """The ops of a body that mean something else at the operator set of the model."""
        function = self.functions[key]
        mine = default_opset(function.opset_import)
        ours = default_opset(self.model.opset_import)
        if mine is None or ours is None or mine == ours:
            return []
        ops = {n.op_type for _, n in every_node(function.node) if n.domain in ("", "ai.onnx")}
        return sorted(op for op in ops if _since(op, mine) != _since(op, ours))

    def depth(self) -> int:
        """How deep functions and subgraphs stand inside each other."""
        known: dict[Key, int] = {}

        def deep(nodes: Iterable[NodeProto]) -> int:
            most = 0
            for node in nodes:
                most = max(most, known.get(called(node), 0))
                for graph in bodies_of(node):
                    most = max(most, 1 + deep(graph.node))
            return most

        for key in self.order:
            known[key] = 1 + deep(self.functions[key].node)
        return deep(self.model.graph.node)


def _names(graph: GraphProto) -> Iterator[str]:
    yield from (v.name for v in graph.input)
    yield from (t.name for t in graph.initializer)
    for node in graph.node:
        yield from node.output
        for inner in bodies_of(node):
            yield from _names(inner)


def _since(op: str, opset: int) -> int | None:
    try:
        return int(onnx.defs.get_schema(op, opset, "").since_version)
    except onnx.defs.SchemaError:
        return None
