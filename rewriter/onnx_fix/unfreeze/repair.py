"""Put sizes back in the place of the numbers that an export made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx_graphsurgeon as gs
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

from onnx_fix.functions import bodies_of
from onnx_fix.model import Model
from onnx_fix.scope import Scope, node_label
from onnx_fix.shapes import paired
from onnx_fix.symbolic import Size, size
from onnx_fix.symbolic.step import Shape
from onnx_fix.unfreeze.analysis import Analysis, Table, Vector
from onnx_fix.unfreeze.emit_sizes import Nodes, names_of
from onnx_fix.unfreeze.tables import Recipe


@dataclass
class Repair:
    """Writes what an analysis found into a model.

    ``recipes`` says for each table (by node and input) how it is computed. ``lines`` tells what was
    done, a line for each operand.
    """

    model: Model
    analysis: Analysis
    recipes: Mapping[tuple[int, int], Recipe]
    lines: list[str] = field(default_factory=list)

    def run(self, proto: ModelProto) -> ModelProto:
        """The model with dynamic dims, from what ``Model.skeleton`` gave."""
        main = self.model.main
        sources = {symbol: place for place, symbol in reversed(self._symbols().items()) if symbol}
        nodes = Nodes(main.opset, sources, taken=names_of(proto))
        protos = {
            id(node): written
            for scope, graph in paired(self.model, proto)
            for node, written in zip(self._alive(scope), graph.node, strict=True)
        }
        for vector in self.analysis.vectors:
            protos[id(vector.node)].input[vector.index] = self._vector(nodes, vector)
            shown = ", ".join(str(v) for v in vector.values.reshape(-1))
            self._tell(vector, f"[{shown}]")
        for table in self.analysis.tables:
            recipe = self.recipes.get((id(table.node), table.index))
            if recipe is None:
                continue
            protos[id(table.node)].input[table.index] = recipe.emit(nodes)
            shown = "x".join(str(d) for d in table.dims)
            self._tell(table, f"{recipe} of {shown}")
        nodes.insert(proto.graph, proto.ir_version)
        self._declare(proto.graph)
        _drop_unread(proto.graph, proto.ir_version)
        return proto

    def _alive(self, scope: Scope) -> list[gs.Node]:
        return [n for n in scope.graph.nodes if self.model.alive(n)]

    def _symbols(self) -> dict[tuple[str, int], str]:
        """The symbols of the inputs, by input and axis."""
        found: dict[tuple[str, int], str] = {}
        for tensor in self.model.main.graph.inputs:
            for axis, dim in enumerate(self.analysis.shape(tensor) or ()):
                if dim.symbol is not None and dim.symbol not in self.analysis.solver.unknown:
                    found[str(tensor.name), axis] = dim.symbol
        return found

    def _tell(self, what: Vector | Table, shown: str) -> None:
        why = f" ({what.why})" if what.why else ""
        node = f"{what.node.op} '{node_label(what.node)}'"
        self.lines.append(f"{what.tensor}, read by {node}, is {shown}{why}")

    # -- operands that steer shapes ----------------------------------------------------------------

    def _vector(self, nodes: Nodes, vector: Vector) -> str:
        flat = self._spelled(vector)
        if vector.values.ndim == 0:
            name = nodes.scalar(flat[0])
        else:
            name = nodes.vector(flat)
            if vector.values.ndim > 1:
                name = nodes("Reshape", name, nodes.ints(vector.values.shape))
        dtype = self.model.type_of(vector.node.inputs[vector.index]).dtype
        if dtype is not None and dtype != TensorProto.INT64:
            name = nodes("Cast", name, to=dtype)
        return name

    def _spelled(self, vector: Vector) -> list[Size]:
        """The numbers, with 0, -1 and 1 where these mean the size that is there already."""
        values = [size(v) for v in vector.values.reshape(-1)]
        data = self.analysis.shape(vector.node.inputs[0]) if vector.node.inputs else None
        if vector.index != 1:
            return values
        if vector.node.op == "Reshape":
            return _reshape(values, data, bool(vector.node.attrs.get("allowzero", 0)))
        if vector.node.op == "Expand" and data is not None:
            return _expand(values, data)
        return values

    # -- declarations ------------------------------------------------------------------------------

    def _declare(self, graph: GraphProto) -> None:
        """Give inputs and outputs their dims, and drop the shapes beside the graph."""
        tensors: dict[str, gs.Tensor] = {}
        for tensor in (*self.model.main.graph.inputs, *self.model.main.graph.outputs):
            tensors[str(tensor.name)] = tensor
        for value in (*graph.input, *graph.output):
            shape = self.analysis.shape(tensors[value.name]) if value.name in tensors else None
            if shape is not None and value.type.HasField("tensor_type"):
                _write_dims(value, shape, self.analysis.solver.unknown)
        _drop_annotations(graph)


def _reshape(values: list[Size], data: Shape | None, allowzero: bool) -> list[Size]:
    spelled = list(values)
    open_ = [k for k, v in enumerate(spelled) if v.number is None]
    inferred = any(v == -1 for v in spelled)
    if len(open_) > 1 and data is not None and not allowzero:
        for k in open_:
            if k < len(data) and data[k] == spelled[k]:
                spelled[k] = size(0)
        open_ = [k for k, v in enumerate(spelled) if v.number is None]
        if not open_ and not inferred:
            return spelled
    if len(open_) == 1 and not inferred and all(v != 0 for v in values):
        spelled[open_[0]] = size(-1)
    return spelled


def _expand(values: list[Size], data: Shape) -> list[Size]:
    spelled = list(values)
    for k in range(1, min(len(data), len(values)) + 1):
        if values[-k].number is None and values[-k] == data[-k]:
            spelled[-k] = size(1)
    return spelled


def _write_dims(value: ValueInfoProto, shape: Shape, unknown: set[str]) -> None:
    dims = value.type.tensor_type.shape.dim
    if len(dims) != len(shape):
        return
    for dim, now in zip(dims, shape, strict=True):
        if now.number is None and not all(name.isidentifier() for name in now.symbols - unknown):
            # A dim that has no name, or one that reads as arithmetic, keeps what it has.
            continue
        dim.Clear()
        if now.number is not None:
            dim.dim_value = now.number
        elif now.symbols.isdisjoint(unknown):
            dim.dim_param = str(now)


def _drop_annotations(graph: GraphProto) -> None:
    del graph.value_info[:]
    for node in graph.node:
        for body in bodies_of(node):
            for value in body.output:
                value.type.tensor_type.ClearField("shape")
            _drop_annotations(body)


def _drop_unread(graph: GraphProto, ir_version: int) -> None:
    """Drop the constants of the main graph that nobody reads any more.

    Before IR version 4 they are inputs, too; later, one that is an input may be fed and stays.
    """
    read = set(_reads(graph))
    if ir_version >= 4:
        read.update(value.name for value in graph.input)
    gone = {t.name for t in graph.initializer if t.name not in read}
    if gone:
        _keep(graph.initializer, lambda tensor: tensor.name not in gone)
        _keep(graph.input, lambda value: value.name not in gone)
    _keep(graph.node, lambda n: n.op_type != "Constant" or not read.isdisjoint(n.output))


def _keep(items: Any, wanted: Callable[[Any], bool]) -> None:
    """Drop all others in one go, and copy none where all are wanted."""
    kept = [item for item in items if wanted(item)]
    if len(kept) < len(items):
        del items[:]
        items.extend(kept)


def _reads(graph: GraphProto) -> Iterator[str]:
    """The tensors that the nodes of a graph and those inside them read, and its outputs."""
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for body in bodies_of(node):
            yield from _reads(body)
