"""Write a model for an older operator set.

The model goes down one operator set at a time. A node is touched only where its op got another
version at that step; a rule (``table``) then writes it in the older meaning, or in other ops.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    ValueInfoProto,
    numpy_helper,
)

from onnx_fix.constants import spelled
from onnx_fix.functions import label_of
from onnx_fix.load import opset_of
from onnx_fix.lower.ir_version import lowered_ir_version
from onnx_fix.lower.node import LowNode, Refused, since
from onnx_fix.lower.table import LOWEST, table
from onnx_fix.model import Model
from onnx_fix.scope import STANDARD_DOMAINS, Scope, TypeInfo
from onnx_fix.sign import sign
from onnx_fix.target import default_target

Place = tuple[tuple[str, str], ...]
"""A graph inside a model: the outputs of the nodes that it stands in, and their attributes. Names
of tensors are unique on the way from the main graph to it, and not beyond."""

T = TypeVar("T")

_SMALL_BYTES = 1 << 10


@dataclass(frozen=True, slots=True)
class Refusal:
    """A node that stands in the way: where it is, at which step, and why."""

    scope: str
    node: str
    op: str
    opset: int
    reason: str


@dataclass(frozen=True, slots=True)
class Lowered:
    """The lowered model, how many nodes were rewritten by op, and what stood in the way.

    With refusals ``model`` is the original.
    """

    model: ModelProto
    rewritten: dict[str, int]
    refusals: tuple[Refusal, ...]
    by_other_ops: bool = False
    """Whether a rule said so."""

    @property
    def rounds(self) -> bool:
        """Whether some op was written by its definition, which may round otherwise."""
        return self.by_other_ops or any((since(op, LOWEST) is None) for op in self.rewritten)


def lower(
    model: ModelProto,
    opset: int,
    *,
    pass_name: str = "lower-opset",
    ir_version: int | None = None,
) -> Lowered:
    """Write a model for the operator set ``opset`` of the default domain.

    The IR version goes down with it, as far as the model does not need a newer one.

    Args:
        model: Never changed. Weights may be stubs: only small constants are read. Functions must
            have been inlined.
        opset: ``LOWEST`` (9) or later, and not above that of the model.
        pass_name: What new nodes are signed with.
        ir_version: That of the result, where it is not the one that goes with ``opset``.
    """
    highest = opset_of(model.opset_import)
    if not LOWEST <= opset <= highest:
        raise ValueError(f"cannot lower opset {highest} to {opset}")
    proto = ModelProto()
    proto.CopyFrom(model)
    if opset < highest and ir_version is None:
        ir_version = lowered_ir_version(model, opset)
    work = _Work(proto, pass_name, ir_version or model.ir_version)
    for version in range(highest, opset, -1):
        work.step(version)
    if opset < highest:
        work.state_scans()
    if work.refusals:
        return Lowered(model, {}, tuple(work.refusals))
    for entry in proto.opset_import:
        if entry.domain in STANDARD_DOMAINS:
            entry.version = opset
    proto.ir_version = work.ir_version
    return Lowered(proto, work.rewritten, (), work.by_other_ops)


class _Work:
    """A model on its way down."""

    def __init__(self, proto: ModelProto, pass_name: str, ir_version: int) -> None:
        self.proto = proto
        self.ir_version = ir_version
        self._pass_name = pass_name
        self.rewritten: dict[str, int] = {}
        self.by_other_ops = False
        self.refusals: list[Refusal] = []
        self._names = {n for g in _graphs(proto.graph) for n in _names(g)}
        self._counts: dict[str, int] = {}
        self._types: dict[Place, dict[str, TypeInfo]] = {}
        self._full: dict[Place, dict[str, onnx.TypeProto]] | None = None
        self._constants: dict[Place, dict[str, onnx.TensorProto | NodeProto]] = {}
        self._scopes: dict[Place, Scope] = {}
        self._stuck: set[str] = set()
        self._stale = True
        self._take_in_graph((), proto.graph)

    def step(self, version: int) -> None:
        """From operator set ``version`` to the one below it."""
        for entry in self.proto.opset_import:
            if entry.domain in STANDARD_DOMAINS:
                entry.version = version
        self.state_scans()
        changed = self._graph(self.proto.graph, version, "", ())
        if changed:
            self._stale, self._full = True, None

    def state_scans(self) -> None:
        """State the types of what goes into a Scan, and of what its body gives.

        onnxruntime runs a Scan only where it knows the ranks, and infers less of older ops than of
        newer ones. It is done before each step, while more is known.
        """
        for place, graph in _placed(self.proto.graph):
            for node in graph.node:
                if node.op_type == "Scan" and node.domain in STANDARD_DOMAINS:
                    self._state_inputs(place, graph, node)
                    for inner, body in _inside(node, place):
                        for value in filter(_is_open, body.output):
                            _state(value, self._type(inner, value.name))

    def _state_inputs(self, place: Place, graph: GraphProto, node: NodeProto) -> None:
        stated = {v.name for v in (*graph.input, *graph.output, *graph.value_info)}
        made = {o for n in graph.node for o in n.output}
        for name in node.input:
            value = ValueInfoProto(name=name)
            if name in made - stated:
                _state(value, self._type(place, name))
            if value.HasField("type"):
                graph.value_info.append(value)

    def _graph(self, graph: GraphProto, version: int, path: str, place: Place) -> bool:
        nodes: list[NodeProto] = []
        changed = False
        for node in graph.node:
            for inner, body in _inside(node, place):
                where = f"{label_of(node)}/{inner[-1][1]}"
                where = f"{path}/{where}" if path else where
                changed = self._graph(body, version, where, inner) or changed
            written = self._node(node, version, path, place)
            changed = changed or written is not None
            nodes.extend([node] if written is None else written)
        if changed:
            fresh = [NodeProto.FromString(n.SerializeToString()) for n in nodes]
            del graph.node[:]
            graph.node.extend(fresh)
        return changed

    def _node(
        self, node: NodeProto, version: int, path: str, place: Place
    ) -> list[NodeProto] | None:
        if node.domain not in STANDARD_DOMAINS or since(node.op_type, version) != version:
            return None
        if any(o in self._stuck for o in node.output):
            return None
        label = label_of(node)
        rule = table().get((node.op_type, version))
        low = LowNode(
            node,
            version,
            partial(self._type, place),
            partial(self._value, place),
            self._fresh,
            partial(self._full_type, place),
            partial(self._type_inside, place, node),
            ir_version=self.ir_version,
        )
        try:
            if rule is None:
                raise Refused(f"how {node.op_type} of opset {version} is lowered is not decided")
            written = rule(low)
        except Refused as refused:
            self.refusals.append(Refusal(path, label, node.op_type, version, str(refused)))
            # All that stands in the way is wanted, so the others go on without this one.
            self._stuck.update(o for o in node.output if o)
            return None
        if len(written) == 1 and written[0] == node:
            return None
        self.by_other_ops |= low.rounds
        self._name_apart(written)
        self.rewritten[node.op_type] = self.rewritten.get(node.op_type, 0) + 1
        for made in written:
            if made is not node:
                sign(
                    made,
                    pass_name=self._pass_name,
                    came_from=f"{path}:{label}" if path else label,
                    ir_version=self.ir_version,
                )
        self._take_in(place, written)
        return written

    def _name_apart(self, nodes: list[NodeProto]) -> None:
        seen: set[str] = set()
        for node in reversed(nodes):
            if node.name in seen:
                node.name = self._fresh(node.name)
            seen |= {node.name} - {""}

    def _take_in_graph(self, place: Place, graph: GraphProto) -> None:
        # From IR version 4 on, a caller may feed an initializer that is an input as well.
        fed = {v.name for v in graph.input} if self.proto.ir_version >= 4 else set()
        self._constants.setdefault(place, {}).update(
            (t.name, t) for t in graph.initializer if t.name not in fed
        )
        self._take_in(place, graph.node)

    def _take_in(self, place: Place, nodes: Iterable[NodeProto]) -> None:
        for node in nodes:
            if node.op_type == "Constant" and node.domain in STANDARD_DOMAINS:
                self._constants[place][node.output[0]] = node
            for inner, body in _inside(node, place):
                self._take_in_graph(inner, body)

    # -- what rules ask --------------------------------------------------------------------------

    def _type(self, place: Place, name: str) -> TypeInfo:
        found = _seen_from(place, name, self._types)
        if found is None and self._stale:
            # What is known stays true: a tensor has one type, however its node is written.
            self._infer()
            found = _seen_from(place, name, self._types)
        known = found or TypeInfo()
        return known if known.shape is not None else self._by_onnx(place, name, known)

    def _by_onnx(self, place: Place, name: str, known: TypeInfo) -> TypeInfo:
        """What onnx infers: it follows what a Scan or a Loop hands to a body without types."""
        full = self._full_type(place, name)
        if full is None or full.WhichOneof("value") != "tensor_type":
            return known
        tensor = full.tensor_type
        if known.dtype not in (None, tensor.elem_type):
            return known
        if not tensor.HasField("shape"):
            return TypeInfo(tensor.elem_type or None)
        dims = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
        return TypeInfo(tensor.elem_type or None, dims)

    def _full_type(self, place: Place, name: str) -> onnx.TypeProto | None:
        """A type as onnx infers it: asked by the few rules that meet sequences and optionals."""
        if self._full is None:
            try:
                inferred = onnx.shape_inference.infer_shapes(self._self_contained(), data_prop=True)
            except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
                inferred = self.proto
            self._full = {
                inner: {
                    value.name: value.type
                    for value in (*graph.value_info, *graph.output, *graph.input)
                    if value.type.WhichOneof("value")
                }
                for inner, graph in _placed(inferred.graph)
            }
        return _seen_from(place, name, self._full)

    def _self_contained(self) -> ModelProto:
        """The model, small constants repeated in the bodies that read them: inference does not
        look for values around a body."""
        if len(self._constants) == 1:
            return self.proto
        copy = ModelProto()
        copy.CopyFrom(self.proto)
        for place, graph in _placed(copy.graph):
            inside = {o for n in graph.node for o in n.output} | {v.name for v in graph.input}
            read = {i for n in graph.node for i in n.input} - inside if place else set()
            for name in sorted(read - {""}):
                found = _seen_from(place, name, self._constants)
                if found is None or found.ByteSize() > _SMALL_BYTES:
                    continue
                if isinstance(found, NodeProto):
                    graph.node.insert(0, found)
                else:
                    graph.initializer.append(found)
        return copy

    def _type_inside(
        self, place: Place, node: NodeProto, attribute: str, name: str
    ) -> onnx.TypeProto | None:
        inner = next((p for p, _ in _inside(node, place) if p[-1][1] == attribute), None)
        return None if inner is None else self._full_type(inner, name)

    def _infer(self) -> None:
        """Types of all tensors, by the inference that follows assembled shapes, too."""
        self._stale = False
        view = Model(self.proto, None, default_target())
        # Behind the scopes of the graph stand those of functions that nobody calls.
        for (place, _), scope in zip(_placed(self.proto.graph), view.scopes, strict=False):
            self._scopes[place] = scope
            known = self._types.setdefault(place, {})
            for name, tensor in scope.tensors.items():
                info = view.type_of(tensor)
                if info.dtype is not None:
                    known[name] = info

    def _value(self, place: Place, name: str) -> NDArray[np.generic] | None:
        found = _seen_from(place, name, self._constants)
        if isinstance(found, NodeProto):
            return _constant(found)
        if found is None:
            return self._computed(place, name)
        if found.data_location == onnx.TensorProto.EXTERNAL:
            return None
        return np.asarray(numpy_helper.to_array(found))

    def _computed(self, place: Place, name: str) -> NDArray[np.generic] | None:
        """What is computed from small constants and known sizes alone: axes as a Range, say."""
        if self._stale:
            self._infer()
        for depth in range(len(place), -1, -1):
            scope = self._scopes.get(place[:depth])
            tensor = scope.tensors.get(name) if scope is not None else None
            if scope is not None and tensor is not None:
                return scope.folded(tensor)
        return None

    def _fresh(self, base: str) -> str:
        name = base
        while name in self._names:
            self._counts[base] = self._counts.get(base, 0) + 1
            name = f"{base}_{self._counts[base]}"
        self._names.add(name)
        return name


def _is_open(value: ValueInfoProto) -> bool:
    """Whether a value, as far as it is a tensor, states no shape."""
    kind = value.type.WhichOneof("value")
    return kind is None or (kind == "tensor_type" and not value.type.tensor_type.HasField("shape"))


def _state(value: ValueInfoProto, info: TypeInfo) -> None:
    """Write what is known of a value."""
    if info.dtype is None or info.shape is None:
        return
    if value.type.tensor_type.elem_type not in (0, info.dtype):
        return
    dims = [d if isinstance(d, int) else None for d in info.shape]
    value.type.CopyFrom(onnx.helper.make_tensor_type_proto(info.dtype, dims))


def _constant(node: NodeProto) -> NDArray[np.generic] | None:
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if "value" in given:
        return np.asarray(numpy_helper.to_array(given["value"]))
    return spelled(given)


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in _bodies(attribute):
                yield from _graphs(body)


def _placed(graph: GraphProto, place: Place = ()) -> Iterator[tuple[Place, GraphProto]]:
    """A graph and those inside it, outer ones first, with their places."""
    yield place, graph
    for node in graph.node:
        for inner, body in _inside(node, place):
            yield from _placed(body, inner)


def _inside(node: NodeProto, place: Place) -> Iterator[tuple[Place, GraphProto]]:
    """The graphs inside a node, with their places."""
    for attribute in node.attribute:
        for number, body in enumerate(_bodies(attribute)):
            key = f"{attribute.name}[{number}]" if number else attribute.name
            yield (*place, (next((o for o in node.output if o), ""), key)), body


def _seen_from(place: Place, name: str, known: Mapping[Place, Mapping[str, T]]) -> T | None:
    """What is known of a name in a graph, or else in those around it."""
    for depth in range(len(place), -1, -1):
        found = known.get(place[:depth], {}).get(name)
        if found is not None:
            return found
    return None


def _bodies(attribute: AttributeProto) -> list[GraphProto]:
    return [attribute.g] if attribute.type == AttributeProto.GRAPH else list(attribute.graphs)


def _names(graph: GraphProto) -> Iterator[str]:
    yield from (v.name for v in (*graph.input, *graph.output))
    yield from (t.name for t in graph.initializer)
    for node in graph.node:
        yield node.name
        yield from node.output
