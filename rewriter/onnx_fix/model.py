"""A model: the protos that the user gave, and beside them the view that passes read.

The protos stay the truth for everything that no rewrite touched: ``to_proto`` puts the original
node, tensor and value protos back, field by field, and adds only what is new.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from onnx_fix import constants, shapes
from onnx_fix.assemble import Assembler
from onnx_fix.errors import ModelError
from onnx_fix.load import opset_of, stored_tensors
from onnx_fix.scope import STANDARD_DOMAINS, Scope, TypeInfo, node_label
from onnx_fix.shape_values import ShapeValues
from onnx_fix.target.facts import Constness, NodeFacts
from onnx_fix.view import RawScope, Reader
from onnx_fix.weights import is_stub, retyped, stored_proto, stub_number

if TYPE_CHECKING:
    from onnx_fix.target import Target, Verdict

SKELETON_LIMIT = 1024
"""Tensors of more elements than this are left out of skeletons (shape inference needs no more)."""


class Model:
    """One model under work.

    ``proto`` is never changed. ``base_dir`` is the folder that external data lies below; None
    when the model came without a file.
    """

    def __init__(self, proto: ModelProto, base_dir: Path | None, target: Target) -> None:
        """Read the graphs.

        Raises:
            ModelError: the graph is not one: out of order, cyclic, a name twice, an input missing.
        """
        self.proto = proto
        self.base_dir = base_dir
        self.target = target
        self.opset = opset_of(proto.opset_import)
        reader = Reader(base_dir, self.opset)
        reader.graph(proto.graph, "", None)
        for function in proto.functions:
            reader.function(function, opset_of(function.opset_import) or self.opset)
        self.scopes: list[Scope] = []
        self._scope_of: dict[int, Scope] = {}
        self._origin: dict[int, NodeProto] = {}
        self._made: dict[int, NodeProto] = {}
        self._dead: dict[int, gs.Node] = {}
        self._outputs: dict[int, int] = {}
        self._added_outputs: list[gs.Tensor] = []
        self._resized: dict[str, dict[int, int]] = {}
        self._dropped: set[int] = set()
        self._added: dict[int, list[gs.Constant]] = {}
        self._settled: set[int] = set()
        self._names: set[str] = set()
        self._counts: dict[str, int] = {}
        self._stubbed: list[TensorProto] = []
        self._inputs: set[int] = set()
        self._overridable: set[str] = set()
        if proto.ir_version >= 4:
            inputs = {v.name for v in proto.graph.input}
            self._overridable = {t.name for t in proto.graph.initializer} & inputs
        self._inner: dict[int, list[Scope]] = {}
        self._take_in(reader.scopes, {})
        self.main = self.scopes[0]
        self._types: dict[int, TypeInfo] = {}
        self._types_stale = True
        self.verdicts: dict[int, Verdict] = {}
        """What the target said of nodes, by identity, as long as the graph is as it was."""
        self._firsts: dict[tuple[str, str], NodeFacts | None] = {}
        self._const = constants.Constness(self)

    def _take_in(self, found: Iterable[RawScope], by_raw: dict[int, Scope]) -> None:
        """Take in scopes freshly read, outer ones first."""
        for raw in found:
            scope = Scope(
                model=self,
                path=raw.path,
                kind=cast(Literal["main", "subgraph", "function"], raw.kind),
                graph=raw.graph,
                opset=raw.opset,
                parent=by_raw[id(raw.parent)] if raw.parent is not None else None,
                tensors=raw.tensors,
                nodes_alive=self.alive,
            )
            by_raw[id(raw)] = scope
            self.scopes.append(scope)
            for node, origin in raw.origins:
                self._scope_of[id(node)] = scope
                self._origin[id(node)] = origin
                self._names.add(origin.name)
            self._names.update(raw.tensors)
            self._inputs.update(id(t) for t in raw.graph.inputs)
            if isinstance(raw.proto, GraphProto):
                sparse = raw.proto.sparse_initializer
                self._inputs.update(id(raw.tensors[s.values.name]) for s in sparse)
            for tensor in raw.graph.outputs:
                self._outputs[id(tensor)] = self._outputs.get(id(tensor), 0) + 1
            if raw.owner is not None:
                self._inner.setdefault(id(raw.owner), []).append(scope)

    # -- what the engine tells us ----------------------------------------------------------------

    def alive(self, node: gs.Node) -> bool:
        """Whether a node is still part of the model."""
        return id(node) not in self._dead

    def scope_of(self, node: gs.Node) -> Scope:
        """The scope that a node stands in."""
        return self._scope_of[id(node)]

    def first_of(self, node: gs.Node) -> NodeFacts | None:
        """What the target may know of the first node of the same op: in the main graph, if there is
        one there, else in the first graph that has one."""
        key = (node.op, node.domain or "")
        if key not in self._firsts:
            found = (
                scope.facts(other)
                for scope in self.scopes
                for other in scope.graph.nodes
                if self.alive(other) and (other.op, other.domain or "") == key
            )
            self._firsts[key] = next(found, None)
        return self._firsts[key]

    def origin(self, node: gs.Node) -> NodeProto | None:
        """The proto that a node was read from or made as."""
        return self._origin.get(id(node)) or self._made.get(id(node))

    def named_proto(self, node: gs.Node) -> NodeProto | None:
        """The proto of a node with the names that its tensors have now; not to be changed."""
        proto = self.origin(node)
        if proto is None or not (self._made or self._dead):
            return proto
        inputs, outputs = [t.name for t in node.inputs], [t.name for t in node.outputs]
        if list(proto.input) == inputs and list(proto.output) == outputs:
            return proto
        renamed = NodeProto()
        renamed.CopyFrom(proto)
        del renamed.input[:]
        renamed.input.extend(inputs)
        del renamed.output[:]
        renamed.output.extend(outputs)
        return renamed

    def whole_proto(self, node: gs.Node) -> NodeProto:
        """The proto of a node as it stands, with the graphs inside it; not to be changed."""
        return Assembler(self, None).node(node)

    def add_node(self, node: gs.Node, proto: NodeProto, scope: Scope) -> None:
        """Take in a new node with the proto that it will be saved as."""
        self._scope_of[id(node)] = scope
        self._made[id(node)] = proto
        for tensor in node.outputs:
            if tensor.name:
                scope.tensors[tensor.name] = tensor

    def add_body(self, node: gs.Node, attribute: str, graph: GraphProto, scope: Scope) -> gs.Graph:
        """Take in the body of a new Loop, whose types are declared, and what the Loop gives."""
        around: RawScope | None = None
        by_raw: dict[int, Scope] = {}
        outer: list[Scope] = [scope]
        while outer[0].parent is not None:
            outer.insert(0, outer[0].parent)
        for each in outer:
            kind, tensors = each.kind, each.tensors
            around = RawScope(each.path, kind, each.graph, each.opset, around, graph, tensors, [])
            by_raw[id(around)] = each
        reader = Reader(self.base_dir, scope.opset)
        prefix = f"{scope.path}/" if scope.path else ""
        raw = reader.graph(graph, f"{prefix}{node_label(node)}/{attribute}", around)
        raw.owner = node
        self._take_in(reader.scopes, by_raw)
        self._type_loop(node, graph, raw)
        return raw.graph

    def _type_loop(self, node: gs.Node, graph: GraphProto, raw: RawScope) -> None:
        """Note the types of a new Loop and its body: sweeps do not look into nodes with bodies."""
        if not self._types:
            return
        for value in (*graph.input, *graph.output):
            self._types[id(raw.tensors[value.name])] = shapes.type_info(value.type)
        states = len(graph.input) - 2
        times = self.value(node.inputs[0], limit=1)
        for k, (out, value) in enumerate(zip(node.outputs, graph.output[1:], strict=True)):
            info = shapes.type_info(value.type)
            if k >= states and info.shape is not None:
                lead = None if times is None else int(times.reshape(-1)[0])
                info = TypeInfo(info.dtype, (lead, *info.shape))
            self._types[id(out)] = info

    def add_constant(self, constant: gs.Constant, scope: Scope) -> None:
        """Take in a new initializer (a Constant node where the scope is a function body)."""
        self._settled.add(id(constant))
        self._added.setdefault(id(scope), []).append(constant)
        scope.tensors[constant.name] = constant

    def add_output(self, tensor: gs.Tensor) -> None:
        """Make a new tensor, an int64 scalar, an output of the model."""
        self._added_outputs.append(tensor)
        self._outputs[id(tensor)] = self._outputs.get(id(tensor), 0) + 1
        list.append(self.main.graph.outputs, tensor)

    def resize_output(self, name: str, axis: int, size: int) -> None:
        """Declare one dim of an output of the model as a size."""
        self._resized.setdefault(name, {})[axis] = size

    def is_settled(self, constant: gs.Constant) -> bool:
        """Whether a constant made by a pass is among the initializers already."""
        return id(constant) in self._settled

    def is_input(self, tensor: gs.Tensor) -> bool:
        """Whether the tensor is an input of a graph or body."""
        return id(tensor) in self._inputs

    def replace(self, skeleton: ModelProto) -> None:
        """Go on with what a transformer of whole models made of ``skeleton()``.

        The bytes of heavy tensors are put back by name, and converted where the transformer gave a
        tensor another element type.
        """
        proto = ModelProto()
        proto.CopyFrom(skeleton)
        for tensor in stored_tensors(proto):
            number = stub_number(tensor)
            if number is not None:
                name, dtype, stored = tensor.name, tensor.data_type, self._stubbed[number]
                if dtype != stored.data_type:
                    stored = retyped(stored, dtype, self.base_dir)
                tensor.CopyFrom(stored)
                tensor.name = name
        # Skeletons leave it out.
        proto.training_info.extend(self.proto.training_info)
        self.__init__(proto, self.base_dir, self.target)  # type: ignore[misc]

    def kill(self, node: gs.Node) -> None:
        """Take a node out, with everything inside it. Its place in the list goes at ``compact``."""
        self._dead[id(node)] = node
        for value in node.attrs.values():
            if isinstance(value, gs.Graph):
                for inner in value.nodes:
                    if self.alive(inner):
                        self.kill(inner)
                for tensor in value.outputs:
                    self._outputs[id(tensor)] -= 1
                    if self._outputs[id(tensor)] == 0:
                        del self._outputs[id(tensor)]

    def inner_scopes(self, node: gs.Node) -> list[Scope]:
        """The scopes of a node's subgraphs, in the order of its attributes."""
        return self._inner.get(id(node), [])

    def fresh_name(self, base: str) -> str:
        """A name that nothing in the model has: the base itself, or with a number."""
        name = base
        while name in self._names or not name:
            self._counts[base] = self._counts.get(base, 0) + 1
            name = f"{base}_{self._counts[base]}"
        self._names.add(name)
        return name

    def drop_constant(self, constant: gs.Constant) -> None:
        """Leave out an initializer that nobody reads any more."""
        self._dropped.add(id(constant))

    def stale(self) -> None:
        """Shapes and constness have to be found anew: the engine says so after each pass."""
        self._types_stale = True
        self.verdicts.clear()
        self._firsts.clear()
        self._const.reset()

    # -- what passes ask -------------------------------------------------------------------------

    def producer(self, tensor: gs.Tensor) -> gs.Node | None:
        """The live node that makes a tensor, or None."""
        for node in tensor.inputs:
            if id(node) not in self._dead:
                return node
        return None

    def consumers(self, tensor: gs.Tensor) -> list[gs.Node]:
        """The live nodes that read a tensor, each once for every input it reads it by."""
        return [n for n in tensor.outputs if self.alive(n)]

    def is_output(self, tensor: gs.Tensor) -> bool:
        """Whether the tensor is an output of the graph or body that makes it."""
        return id(tensor) in self._outputs

    def type_of(self, tensor: gs.Tensor) -> TypeInfo:
        """Type and shape of a tensor as far as inference reaches."""
        if isinstance(tensor, gs.Constant):
            return self._type_of_constant(tensor)
        if self._types_stale:
            self._types_stale = False
            if not self._types:
                self._types.update(shapes.infer_all(self))
            shapes.Sweep(self, self._types).run()
        found = self._types.get(id(tensor))
        return found if found is not None else TypeInfo()

    def _type_of_constant(self, tensor: gs.Constant) -> TypeInfo:
        stored = stored_proto(tensor)
        if stored is not None:
            return TypeInfo(stored.data_type, tuple(stored.dims))
        values = np.asarray(tensor.values)
        return TypeInfo(
            int(onnx.helper.np_dtype_to_tensor_dtype(values.dtype)), tuple(values.shape)
        )

    def constness(self, tensor: gs.Tensor) -> Constness:
        """Whether a tensor is an initializer, foldable, or a run-time value."""
        return self._const.of(tensor)

    def is_overridable(self, tensor: gs.Tensor) -> bool:
        """Whether a caller may feed an initializer (it is an input too, IR version 4 or later)."""
        return isinstance(tensor, gs.Constant) and tensor.name in self._overridable

    def value(self, tensor: gs.Tensor, *, limit: int | None) -> NDArray[np.generic] | None:
        """The value of an initializer or of a Constant node's output, or None."""
        if isinstance(tensor, gs.Constant):
            if self.is_overridable(tensor):
                return None
            stored = stored_proto(tensor)
            if stored is None:
                return np.asarray(tensor.values)
            if limit is not None and math.prod(stored.dims) > limit:
                return None
            if is_stub(stored):
                return None
            return np.asarray(tensor.values)
        node = self.producer(tensor)
        if node is None or node.op != "Constant" or (node.domain or "") not in STANDARD_DOMAINS:
            return None
        return self._constant_node(node, limit)

    def value_if_there(self, tensor: gs.Tensor, *, limit: int) -> NDArray[np.generic] | None:
        """As ``value``, and None where the bytes cannot be read: shapes are then less known, and
        whoever truly needs the bytes says what is wrong with them."""
        try:
            return self.value(tensor, limit=limit)
        except ModelError:
            return None

    def _constant_node(self, node: gs.Node, limit: int | None) -> NDArray[np.generic] | None:
        attrs = node.attrs
        if isinstance(attrs.get("value"), gs.Constant):
            return self.value(attrs["value"], limit=limit)
        return constants.spelled(attrs)

    def folded(self, tensor: gs.Tensor) -> NDArray[np.generic] | None:
        """The value of a small tensor computed from constants alone, or None."""
        return self._const.folded(tensor)

    def shape_values(self, scope: Scope) -> ShapeValues:
        """What is known of the small integers in a scope, and in those around it."""
        if scope.graph.nodes:
            self.type_of(scope.graph.nodes[0].outputs[0])
        values = ShapeValues(self, scope, self._types)
        around = [scope]
        while around[0].parent is not None:
            around.insert(0, around[0].parent)
        for each in around:
            for node in each.nodes():
                values.follow(node)
        return values

    def range_length(self, node: gs.Node) -> int | None:
        """How many elements a Range over small constants has, or None."""
        return constants.range_length(self._const, node)

    # -- back to protos --------------------------------------------------------------------------

    def to_proto(self) -> ModelProto:
        """The whole model as it stands, weights included where the original holds them inline."""
        return Assembler(self, None).assemble()

    def skeleton(self, limit: int = SKELETON_LIMIT) -> ModelProto:
        """The model as it stands, with stubs in the place of heavy tensors."""
        assembler = Assembler(self, limit)
        proto = assembler.assemble()
        self._stubbed = assembler.stubbed
        return proto

    def made(self) -> Iterator[tuple[NodeProto, Scope]]:
        """The live nodes that passes made, with their scopes."""
        for key, proto in self._made.items():
            if key not in self._dead:
                yield proto, self._scope_of[key]

    def added(self, scope: Scope) -> list[gs.Constant]:
        """The constants that passes made in a scope and that somebody reads."""
        return [c for c in self._added.get(id(scope), []) if id(c) not in self._dropped]

    @property
    def added_outputs(self) -> tuple[gs.Tensor, ...]:
        """The outputs that passes added to the model."""
        return tuple(self._added_outputs)

    @property
    def resized_outputs(self) -> dict[str, dict[int, int]]:
        """The sizes that passes gave to outputs of the model, by name and axis."""
        return self._resized

    def is_dropped(self, tensor: gs.Tensor) -> bool:
        """Whether an initializer is left out because its last reader went."""
        return id(tensor) in self._dropped
