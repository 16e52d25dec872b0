"""Build the GraphSurgeon view that passes read from the protos that the user gave.

GraphSurgeon's own importer is not used: it drops data, reads external tensors relative to the
working directory, and copies the outer name table for every subgraph.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_graphsurgeon as gs
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto

from onnx_fix.errors import ModelError
from onnx_fix.functions import label_of
from onnx_fix.weights import stored_constant

_SCALARS = {
    AttributeProto.FLOAT: "f",
    AttributeProto.INT: "i",
}
_LISTS = {
    AttributeProto.FLOATS: "floats",
    AttributeProto.INTS: "ints",
}


@dataclass(eq=False)
class RawScope:
    """One name space, freshly read: its GraphSurgeon graph and where everything came from."""

    path: str
    kind: str
    graph: gs.Graph
    opset: int
    parent: RawScope | None
    proto: GraphProto | FunctionProto
    tensors: dict[str, gs.Tensor]
    origins: list[tuple[gs.Node, NodeProto]]
    owner: gs.Node | None = None
    """The node that holds a subgraph."""


class Reader:
    """Reads one model; ``scopes`` is filled outer before inner."""

    def __init__(self, base_dir: Path | None, opset: int) -> None:
        self.base_dir = base_dir
        self.opset = opset
        self.scopes: list[RawScope] = []

    def graph(self, proto: GraphProto, path: str, parent: RawScope | None) -> RawScope:
        """Read the main graph or a subgraph.

        Raises:
            ModelError: a node reads a tensor that nothing makes, or a name is made twice.
        """
        kind = "main" if parent is None else "subgraph"
        scope = self._scope(proto, path, kind, parent)
        for tensor in proto.initializer:
            scope.tensors[tensor.name] = self._constant(tensor)
        for sparse in proto.sparse_initializer:
            scope.tensors[sparse.values.name] = gs.Variable(sparse.values.name)
        for value in proto.input:
            tensor_in = scope.tensors.setdefault(value.name, gs.Variable(value.name))
            scope.graph.inputs.append(tensor_in)
        self._nodes(proto.node, scope)
        for value in proto.output:
            scope.graph.outputs.append(self._lookup(value.name, scope, "the graph's outputs"))
        return scope

    def function(self, proto: FunctionProto, opset: int) -> RawScope:
        """Read the body of a local function.

        Raises:
            ModelError: as ``graph``.
        """
        overload = f":{proto.overload}" if proto.overload else ""
        path = f"function {proto.domain}::{proto.name}{overload}"
        outer, self.opset = self.opset, opset
        scope = self._scope(proto, path, "function", None)
        for name in proto.input:
            scope.graph.inputs.append(scope.tensors.setdefault(name, gs.Variable(name)))
        self._nodes(proto.node, scope)
        for name in proto.output:
            scope.graph.outputs.append(self._lookup(name, scope, "the function's outputs"))
        self.opset = outer
        return scope

    def _scope(
        self, proto: GraphProto | FunctionProto, path: str, kind: str, parent: RawScope | None
    ) -> RawScope:
        graph = gs.Graph(name=proto.name, opset=self.opset)
        scope = RawScope(path, kind, graph, self.opset, parent, proto, {}, [])
        self.scopes.append(scope)
        return scope

    def _constant(self, tensor: TensorProto) -> gs.Constant:
        return stored_constant(tensor, self.base_dir)

    def _lookup(self, name: str, scope: RawScope, where: str) -> gs.Tensor:
        looked: RawScope | None = scope
        while looked is not None:
            if name in looked.tensors:
                return looked.tensors[name]
            looked = looked.parent
        inside = f" in {scope.path}" if scope.path else ""
        raise ModelError(
            f"'{name}', read by {where}{inside}, is made by no earlier node and is no input or "
            "initializer; the graph has a cycle, is out of order, or lacks an input"
        )

    def _nodes(self, protos: Iterable[NodeProto], scope: RawScope) -> None:
        for proto in protos:
            label = label_of(proto)
            where = f"{proto.op_type} '{label}'"
            inputs = [
                self._lookup(name, scope, where) if name else gs.Variable.empty()
                for name in proto.input
            ]
            outputs = []
            for name in proto.output:
                if name in scope.tensors:
                    raise ModelError(
                        f"'{name}' is made twice, the second time by {where}; names must be unique"
                    )
                tensor = gs.Variable(name)
                outputs.append(tensor)
            node = gs.Node(
                op=proto.op_type,
                name=proto.name,
                inputs=inputs,
                outputs=outputs,
                domain=proto.domain or None,
            )
            node.attrs = self._attributes(proto, node, label, scope)
            if proto.op_type == "Einsum":
                _check_equation(node.attrs.get("equation"), where)
            scope.tensors.update((t.name, t) for t in outputs if t.name)
            scope.graph.nodes.append(node)
            scope.origins.append((node, proto))

    def _attributes(
        self, proto: NodeProto, node: gs.Node, label: str, scope: RawScope
    ) -> dict[str, Any]:
        attrs: dict[str, Any] = {}
        for attr in proto.attribute:
            if attr.ref_attr_name:
                attrs[attr.name] = gs.Node.AttributeRef(attr.ref_attr_name, object)
            elif attr.type in _SCALARS:
                attrs[attr.name] = getattr(attr, _SCALARS[attr.type])
            elif attr.type in _LISTS:
                attrs[attr.name] = list(getattr(attr, _LISTS[attr.type]))
            elif attr.type == AttributeProto.STRING:
                attrs[attr.name] = attr.s.decode("utf-8", errors="replace")
            elif attr.type == AttributeProto.STRINGS:
                attrs[attr.name] = [s.decode("utf-8", errors="replace") for s in attr.strings]
            elif attr.type == AttributeProto.TENSOR:
                attrs[attr.name] = self._constant(attr.t)
            elif attr.type == AttributeProto.GRAPH:
                prefix = f"{scope.path}/" if scope.path else ""
                inner = self.graph(attr.g, f"{prefix}{label}/{attr.name}", scope)
                inner.owner = node
                attrs[attr.name] = inner.graph
            elif attr.type == AttributeProto.GRAPHS:
                for k, graph in enumerate(attr.graphs):
                    prefix = f"{scope.path}/" if scope.path else ""
                    inner = self.graph(graph, f"{prefix}{label}/{attr.name}[{k}]", scope)
                    inner.owner = node
            else:
                attrs[attr.name] = attr
        return attrs


def _check_equation(equation: object, where: str) -> None:
    """Refuse an equation with stray dots: onnx's shape inference never returns from one.

    Raises:
        ModelError: dots that are no ellipsis.
    """
    if isinstance(equation, str) and "." in equation.replace("...", ""):
        raise ModelError(
            f"{where} has the equation '{equation}', in which dots stand that are no ellipsis "
            "(three in a row); correct the export"
        )
