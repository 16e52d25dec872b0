"""A model: the protos that the user gave, and beside them the view that passes read.

The protos stay the truth for everything that no rewrite touched: ``to_proto`` puts the original
node, tensor and value protos back, field by field, and adds only what is new.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

from onnx_fix import constants, shapes
from onnx_fix.errors import ModelError
from onnx_fix.scope import STANDARD_DOMAINS, Scope, TypeInfo
from onnx_fix.target.facts import Constness
from onnx_fix.view import Reader
from onnx_fix.weights import (
    StoredValues,
    constant_proto,
    is_heavy,
    read_tensor,
    stored_proto,
    stub,
    stub_number,
)

if TYPE_CHECKING:
    from onnx_fix.target import Target

SKELETON_LIMIT = 1024
"""Tensors of more elements than this are left out of skeletons (shape inference needs no more)."""


def opset_of(imports: Iterable[onnx.OperatorSetIdProto]) -> int:
    """The version of the default operator set among some imports, 1 when none is named."""
    return max((o.version for o in imports if o.domain in STANDARD_DOMAINS), default=1)


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
        main = reader.graph(proto.graph, "", None)
        for function in proto.functions:
            reader.function(function, opset_of(function.opset_import) or self.opset)
        self.scopes: list[Scope] = []
        self._scope_of: dict[int, Scope] = {}
        self._origin: dict[int, NodeProto] = {}
        self._made: dict[int, NodeProto] = {}
        self._dead: dict[int, gs.Node] = {}
        self._outputs: dict[int, int] = {}
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
        by_raw: dict[int, Scope] = {}
        for raw in reader.scopes:
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
        self.main = by_raw[id(main)]
        self._inner: dict[int, list[Scope]] = {}
        for raw in reader.scopes:
            if raw.owner is not None:
                self._inner.setdefault(id(raw.owner), []).append(by_raw[id(raw)])
        self._types: dict[int, TypeInfo] = {}
        self._types_stale = True
        self._const = constants.Constness(self)

    # -- what the engine tells us ----------------------------------------------------------------

    def alive(self, node: gs.Node) -> bool:
        """Whether a node is still part of the model."""
        return id(node) not in self._dead

    def scope_of(self, node: gs.Node) -> Scope:
        """The scope that a node stands in."""
        return self._scope_of[id(node)]

    def origin(self, node: gs.Node) -> NodeProto | None:
        """The proto that a node was read from or made as."""
        return self._origin.get(id(node)) or self._made.get(id(node))

    def add_node(self, node: gs.Node, proto: NodeProto, scope: Scope) -> None:
        """Take in a new node with the proto that it will be saved as."""
        self._scope_of[id(node)] = scope
        self._made[id(node)] = proto
        for tensor in node.outputs:
            if tensor.name:
                scope.tensors[tensor.name] = tensor

    def add_constant(self, constant: gs.Constant, scope: Scope) -> None:
        """Take in a new initializer (a Constant node where the scope is a function body)."""
        self._settled.add(id(constant))
        self._added.setdefault(id(scope), []).append(constant)
        scope.tensors[constant.name] = constant

    def is_settled(self, constant: gs.Constant) -> bool:
        """Whether a constant made by a pass is among the initializers already."""
        return id(constant) in self._settled

    def is_input(self, tensor: gs.Tensor) -> bool:
        """Whether the tensor is an input of a graph or body."""
        return id(tensor) in self._inputs

    def replace(self, skeleton: ModelProto) -> None:
        """Go on with what a transformer of whole models made of ``skeleton()``.

        The bytes of heavy tensors are put back by name.
        """
        proto = ModelProto()
        proto.CopyFrom(skeleton)
        for tensor in stored_tensors(proto):
            number = stub_number(tensor)
            if number is not None:
                name = tensor.name
                tensor.CopyFrom(self._stubbed[number])
                tensor.name = name
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
        self._const.reset()

    # -- what passes ask -------------------------------------------------------------------------

    def producer(self, tensor: gs.Tensor) -> gs.Node | None:
        """The live node that makes a tensor, or None."""
        return next((n for n in tensor.inputs if self.alive(n)), None)

    def consumers(self, tensor: gs.Tensor) -> list[gs.Node]:
        """The live nodes that read a tensor, each once for every input it reads it by."""
        return [n for n in tensor.outputs if self.alive(n)]

    def is_output(self, tensor: gs.Tensor) -> bool:
        """Whether the tensor is an output of the graph or body that makes it."""
        return id(tensor) in self._outputs

    def type_of(self, tensor: gs.Tensor) -> TypeInfo:
        """Type and shape of a tensor as far as inference reaches."""
        if isinstance(tensor, gs.Constant):
            stored = stored_proto(tensor)
            if stored is not None:
                return TypeInfo(stored.data_type, tuple(stored.dims))
            values = np.asarray(tensor.values)
            return TypeInfo(
                int(onnx.helper.np_dtype_to_tensor_dtype(values.dtype)), tuple(values.shape)
            )
        if self._types_stale:
            self._types_stale = False
            if not self._types:
                self._types.update(shapes.infer_all(self))
            shapes.Sweep(self, self._types).run()
        found = self._types.get(id(tensor))
        return found if found is not None else TypeInfo()

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
            return read_tensor(stored, self.base_dir)
        node = self.producer(tensor)
        if node is None or node.op != "Constant" or (node.domain or "") not in STANDARD_DOMAINS:
            return None
        return self._constant_node(node, limit)

    def _constant_node(self, node: gs.Node, limit: int | None) -> NDArray[np.generic] | None:
        attrs = node.attrs
        if isinstance(attrs.get("value"), gs.Constant):
            return self.value(attrs["value"], limit=limit)
        for name, dtype in (
            ("value_int", np.int64),
            ("value_ints", np.int64),
            ("value_float", np.float32),
            ("value_floats", np.float32),
        ):
            if isinstance(attrs.get(name), int | float | list):
                return np.asarray(attrs[name], dtype=dtype)
        return None

    def folded(self, tensor: gs.Tensor) -> NDArray[np.generic] | None:
        """The value of a small tensor computed from constants alone, or None."""
        return self._const.folded(tensor)

    # -- back to protos --------------------------------------------------------------------------

    def to_proto(self) -> ModelProto:
        """The whole model as it stands, weights included where the original holds them inline."""
        model = ModelProto()
        model.CopyFrom(self.proto)
        self._write_graph(self.main, self.proto.graph, model.graph, None)
        self._write_functions(model)
        self._import_domains(model)
        return model

    def skeleton(self, limit: int = SKELETON_LIMIT) -> ModelProto:
        """The model as it stands, with stubs in the place of heavy tensors."""
        self._stubbed.clear()
        model = ModelProto()
        _copy_fields(self.proto, model, leave_out=("graph", "functions", "training_info"))
        self._write_graph(self.main, self.proto.graph, model.graph, limit)
        model.functions.extend(self.proto.functions)
        self._write_functions(model)
        self._import_domains(model)
        return model

    def _import_domains(self, model: ModelProto) -> None:
        """Import version 1 of every domain that new nodes are of and that is not imported yet.

        TensorRT 7.0 to 8.2 find the default domain by the name '' alone once there are two
        imports, so its other spelling, ai.onnx, is given up then.
        """
        functions = (id(s) for s in self.scopes if s.kind == "function")
        bodies = dict(zip(functions, model.functions, strict=True))
        for key, made in self._made.items():
            if made.domain in STANDARD_DOMAINS or key in self._dead:
                continue
            scope = self._scope_of[key]
            while scope.parent is not None:
                scope = scope.parent
            _import(model, made.domain)
            if id(scope) in bodies:
                _import(bodies[id(scope)], made.domain)

    def _write_functions(self, model: ModelProto) -> None:
        functions = (s for s in self.scopes if s.kind == "function")
        for scope, origin, target in zip(
            functions, self.proto.functions, model.functions, strict=True
        ):
            del target.node[:]
            for constant in self._live_added(scope):
                node = target.node.add()
                node.op_type, node.name = "Constant", constant.name
                node.output.append(constant.name)
                attr = node.attribute.add()
                attr.name, attr.type = "value", AttributeProto.TENSOR
                attr.t.CopyFrom(constant_proto(constant))
            target.node.extend(self._node_protos(scope, None))
            self._keep_value_info(scope, origin, target)

    def _write_graph(
        self, scope: Scope, origin: GraphProto, target: GraphProto, limit: int | None
    ) -> None:
        """Fill ``target``; with a limit it starts empty, without one as a copy of the origin."""
        if limit is not None:
            _copy_fields(origin, target, leave_out=("node", "initializer"))
        del target.node[:]
        target.node.extend(self._node_protos(scope, limit))
        added = self._live_added(scope)
        dropped = any(id(scope.tensors.get(t.name)) in self._dropped for t in origin.initializer)
        if limit is not None or dropped:
            del target.initializer[:]
            for tensor in origin.initializer:
                if id(scope.tensors[tensor.name]) not in self._dropped:
                    light = limit is not None and is_heavy(tensor, limit)
                    target.initializer.append(self._stub(tensor) if light else tensor)
        for constant in added:
            tensor = constant_proto(constant)
            light = limit is not None and is_heavy(tensor, limit)
            target.initializer.append(self._stub(tensor) if light else tensor)
        self._keep_value_info(scope, origin, target)

    def _stub(self, tensor: TensorProto) -> TensorProto:
        self._stubbed.append(tensor)
        return stub(tensor, len(self._stubbed) - 1)

    def _live_added(self, scope: Scope) -> list[gs.Constant]:
        return [c for c in self._added.get(id(scope), []) if id(c) not in self._dropped]

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
        if isinstance(origin, GraphProto) and isinstance(target, GraphProto):
            if any(a.tensor_name in gone for a in origin.quantization_annotation):
                del target.quantization_annotation[:]
                target.quantization_annotation.extend(
                    a for a in origin.quantization_annotation if a.tensor_name not in gone
                )

    def _is_gone(self, tensor: gs.Tensor) -> bool:
        if isinstance(tensor, gs.Constant):
            return id(tensor) in self._dropped
        return self.producer(tensor) is None and not self.is_input(tensor)

    def _node_protos(self, scope: Scope, limit: int | None) -> Iterator[NodeProto]:
        for node in scope.graph.nodes:
            if self.alive(node):
                yield self._node_proto(node, limit)

    def _node_proto(self, node: gs.Node, limit: int | None) -> NodeProto:
        origin = self.origin(node)
        assert origin is not None, node.op
        inputs = [t.name for t in node.inputs]
        outputs = [t.name for t in node.outputs]
        renamed = list(origin.input) != inputs or list(origin.output) != outputs
        holds = [
            a for a in origin.attribute if a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS)
        ]
        heavy = limit is not None and any(
            a.type == AttributeProto.TENSOR and is_heavy(a.t, limit) for a in origin.attribute
        )
        if not (renamed or holds or heavy):
            return origin
        proto = NodeProto()
        proto.CopyFrom(origin)
        if renamed:
            del proto.input[:]
            del proto.output[:]
            proto.input.extend(inputs)
            proto.output.extend(outputs)
        inner = iter(self.inner_scopes(node)) if holds else iter(())
        for before, after in zip(origin.attribute, proto.attribute, strict=True):
            if before.type == AttributeProto.GRAPH:
                pairs = [(before.g, after.g)]
            elif before.type == AttributeProto.GRAPHS:
                pairs = list(zip(before.graphs, after.graphs, strict=True))
            else:
                if limit is not None and before.type == AttributeProto.TENSOR:
                    if is_heavy(before.t, limit):
                        after.t.CopyFrom(self._stub(before.t))
                continue
            for graph, copy in pairs:
                if limit is not None:
                    copy.Clear()
                self._write_graph(next(inner), graph, copy, limit)
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


def load_proto(path: Path) -> ModelProto:
    """Read a model file; external data stays on disk.

    Raises:
        ModelError: there is no such file, it cannot be read, or it is not an ONNX model.
    """
    if not path.exists():
        raise ModelError(f"{path}: there is no such file")
    if path.is_dir():
        raise ModelError(f"{path} is a folder; pass the .onnx file in it")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    if not data:
        raise ModelError(f"{path} is empty; export the model again")
    proto = ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(
            f"{path} is not an ONNX model (no valid protobuf); it may be truncated, a text file, "
            "or a pointer of Git LFS: export or download it again"
        ) from error
    check_loaded(proto, str(path))
    return proto


def check_loaded(proto: ModelProto, where: str) -> None:
    """Refuse what cannot be worked on, before anything else looks at it.

    Raises:
        ModelError: no graph, an IR version or opset from the future, no default opset.
    """
    if not proto.HasField("graph") or proto.ir_version == 0:
        raise ModelError(
            f"{where} is not an ONNX model (it has no {'graph' if proto.ir_version else 'IR version'}"
            "); it may be truncated or of another format: export it again"
        )
    if proto.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"{where} has IR version {proto.ir_version}, and the installed onnx {onnx.__version__} "
            f"knows {onnx.IR_VERSION}: upgrade onnx, or export with an older exporter"
        )
    known = onnx.defs.onnx_opset_version()
    opset = opset_of(proto.opset_import)
    if opset > known:
        raise ModelError(
            f"{where} uses opset {opset}, and the installed onnx {onnx.__version__} knows {known}: "
            "upgrade onnx, or export with a lower opset_version"
        )
    if not any(o.domain in STANDARD_DOMAINS for o in proto.opset_import) and any(
        n.domain in STANDARD_DOMAINS for n in proto.graph.node
    ):
        raise ModelError(f"{where} imports no version of the default operator set; export it again")
    if not proto.graph.node and not proto.graph.output:
        raise ModelError(f"{where} has an empty graph: no nodes and no outputs")


def stored_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every TensorProto of a model: initializers and attributes, in subgraphs and functions too."""

    def of_nodes(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
        for node in nodes:
            for attr in node.attribute:
                if attr.type == AttributeProto.TENSOR:
                    yield attr.t
                yield from attr.tensors
                if attr.type == AttributeProto.GRAPH:
                    yield from of_graph(attr.g)
                for graph in attr.graphs:
                    yield from of_graph(graph)

    def of_graph(graph: GraphProto) -> Iterator[TensorProto]:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield sparse.values
            yield sparse.indices
        yield from of_nodes(graph.node)

    yield from of_graph(model.graph)
    for function in model.functions:
        yield from of_nodes(function.node)


__all__ = ["Model", "StoredValues", "check_loaded", "load_proto", "opset_of", "stored_tensors"]
