"""Write a model back: the protos that the user gave, and what passes made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs
from google.protobuf.message import Message
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
)

from onnx_fix.scope import STANDARD_DOMAINS, Scope
from onnx_fix.weights import constant_proto, is_heavy, stub

if TYPE_CHECKING:
    from onnx_fix.model import Model


class Assembler:
    """Assembles the proto of a model as it stands.

    With a limit, tensors of more elements (and external ones) are left out: ``stubbed`` lists them
    in the order of the numbers of their stubs. Without one the model is complete.
    """

    def __init__(self, model: Model, limit: int | None) -> None:
        self._model = model
        self._limit = limit
        self.stubbed: list[TensorProto] = []

    def assemble(self) -> ModelProto:
        """The model; everything that no rewrite touched is field by field as it was."""
        origin = self._model.proto
        proto = ModelProto()
        if self._limit is None:
            proto.CopyFrom(origin)
        else:
            _copy_fields(origin, proto, leave_out=("graph", "functions", "training_info"))
            proto.functions.extend(origin.functions)
        self._write_graph(self._model.main, origin.graph, proto.graph)
        self._write_outputs(proto.graph)
        self._write_functions(proto)
        self._import_domains(proto)
        return proto

    def node(self, node: gs.Node) -> NodeProto:
        """A node as it stands, with the graphs inside it; not to be changed."""
        return self._node_proto(node)

    def _import_domains(self, model: ModelProto) -> None:
        """Import version 1 of every domain that new nodes are of and that is not imported yet.

        TensorRT 7.0 to 8.2 find the default domain by the name '' alone once there are two
        imports, so its other spelling, ai.onnx, is given up then.
        """
        functions = (id(s) for s in self._model.scopes if s.kind == "function")
        bodies = dict(zip(functions, model.functions, strict=True))
        for made, scope in self._model.made():
            if made.domain in STANDARD_DOMAINS:
                continue
            while scope.parent is not None:
                scope = scope.parent
            _import(model, made.domain)
            if id(scope) in bodies:
                _import(bodies[id(scope)], made.domain)

    def _write_functions(self, model: ModelProto) -> None:
        functions = (s for s in self._model.scopes if s.kind == "function")
        for scope, origin, target in zip(
            functions, self._model.proto.functions, model.functions, strict=True
        ):
            del target.node[:]
            for constant in self._model.added(scope):
                node = target.node.add()
                node.op_type, node.name = "Constant", constant.name
                node.output.append(constant.name)
                attr = node.attribute.add()
                attr.name, attr.type = "value", AttributeProto.TENSOR
                attr.t.CopyFrom(constant_proto(constant))
            target.node.extend(self._node_protos(scope))
            self._keep_value_info(scope, origin, target)

    def _write_graph(self, scope: Scope, origin: GraphProto, target: GraphProto) -> None:
        """Fill ``target``; with a limit it starts empty, without one as a copy of the origin."""
        limit = self._limit
        if limit is not None:
            _copy_fields(origin, target, leave_out=("node", "initializer"))
        del target.node[:]
        target.node.extend(self._node_protos(scope))
        added = self._model.added(scope)
        dropped = any(self._model.is_dropped(scope.tensors[t.name]) for t in origin.initializer)
        if limit is not None or dropped:
            del target.initializer[:]
            for tensor in origin.initializer:
                if not self._model.is_dropped(scope.tensors[tensor.name]):
                    light = limit is not None and is_heavy(tensor, limit)
                    target.initializer.append(self._stub(tensor) if light else tensor)
        for constant in added:
            tensor = constant_proto(constant)
            light = limit is not None and is_heavy(tensor, limit)
            target.initializer.append(self._stub(tensor) if light else tensor)
        self._keep_value_info(scope, origin, target)
        if limit is None:
            self._declare_foreign(scope, target)

    def _write_outputs(self, graph: GraphProto) -> None:
        """Declare the outputs that passes added, and the sizes that they gave to others."""
        for value in graph.output:
            shape = value.type.tensor_type.shape
            for axis, size in self._model.resized_outputs.get(value.name, {}).items():
                if axis < len(shape.dim):
                    shape.dim[axis].dim_value = size
        for tensor in self._model.added_outputs:
            graph.output.append(helper.make_tensor_value_info(tensor.name, TensorProto.INT64, ()))

    def _stub(self, tensor: TensorProto) -> TensorProto:
        self.stubbed.append(tensor)
        return stub(tensor, len(self.stubbed) - 1)

    def _keep_value_info(
        self,
        scope: Scope,
        origin: GraphProto | FunctionProto,
        target: GraphProto | FunctionProto,
    ) -> None:
        """Drop the value infos (and annotations) of tensors that were rewritten away."""
        gone = {name for name, t in scope.tensors.items() if self._is_gone(t)}
        if not gone:
            return
        if any(v.name in gone for v in origin.value_info):
            del target.value_info[:]
            target.value_info.extend(v for v in origin.value_info if v.name not in gone)
        if not (isinstance(origin, GraphProto) and isinstance(target, GraphProto)):
            return
        if any(a.tensor_name in gone for a in origin.quantization_annotation):
            del target.quantization_annotation[:]
            target.quantization_annotation.extend(
                a for a in origin.quantization_annotation if a.tensor_name not in gone
            )

    def _declare_foreign(self, scope: Scope, target: GraphProto) -> None:
        """Declare the types that no schema tells: those of new nodes of other domains (plugins)."""
        declared = {v.name for v in (*target.value_info, *target.output)}
        for made, home in self._model.made():
            if home is not scope or made.domain in STANDARD_DOMAINS:
                continue
            for name in made.output:
                known = self._model.type_of(scope.tensors[name])
                if name not in declared and known.dtype is not None and known.shape is not None:
                    target.value_info.append(
                        helper.make_tensor_value_info(name, known.dtype, known.shape)
                    )

    def _is_gone(self, tensor: gs.Tensor) -> bool:
        if isinstance(tensor, gs.Constant):
            return self._model.is_dropped(tensor)
        return self._model.producer(tensor) is None and not self._model.is_input(tensor)

    def _node_protos(self, scope: Scope) -> Iterator[NodeProto]:
        for node in scope.graph.nodes:
            if self._model.alive(node):
                yield self._node_proto(node)

    def _node_proto(self, node: gs.Node) -> NodeProto:
        limit = self._limit
        origin = self._model.named_proto(node)
        assert origin is not None, node.op
        holds = heavy = False
        for attribute in origin.attribute:
            kind = attribute.type
            if kind in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
                holds = True
            elif limit is not None and kind == AttributeProto.TENSOR:
                heavy = heavy or is_heavy(attribute.t, limit)
        if not (holds or heavy):
            return origin
        proto = NodeProto()
        proto.CopyFrom(origin)
        inner = iter(self._model.inner_scopes(node)) if holds else iter(())
        for before, after in zip(origin.attribute, proto.attribute, strict=True):
            if before.type == AttributeProto.GRAPH:
                pairs = [(before.g, after.g)]
            elif before.type == AttributeProto.GRAPHS:
                pairs = list(zip(before.graphs, after.graphs, strict=True))
            else:
                if limit is not None and after.HasField("t") and is_heavy(before.t, limit):
                    after.t.CopyFrom(self._stub(before.t))
                continue
            for graph, copy in pairs:
                if limit is not None:
                    copy.Clear()
                self._write_graph(next(inner), graph, copy)
        return proto


def _import(place: ModelProto | FunctionProto, domain: str) -> None:
    imported = {o.domain for o in place.opset_import}
    if domain in imported:
        return
    for entry in place.opset_import:
        if entry.domain == "ai.onnx" and "" not in imported:
            entry.domain = ""
    place.opset_import.add(domain=domain, version=1)


def _copy_fields(origin: Message, target: Message, leave_out: Sequence[str]) -> None:
    """Copy the set fields of a proto into an empty one of its type, but for some."""
    for descriptor, value in origin.ListFields():
        if descriptor.name in leave_out:
            continue
        if isinstance(value, int | str | bytes):
            setattr(target, descriptor.name, value)
        else:
            getattr(target, descriptor.name).MergeFrom(value)
