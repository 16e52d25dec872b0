"""Follow the graph inputs of a model to the nodes that ask something of their values."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import onnx
import onnx.inliner
from numpy.typing import NDArray
from onnx import numpy_helper

from onnx_fix.functions import all_graphs, bodies_of
from onnx_fix.verify.demands import VALUE_BLIND, Demand, carries, demand
from onnx_fix.verify.symbols import dim_size, fed_inputs, input_dims

_INLINE_LIMIT = 1024
_COMPARISONS = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})


@dataclass(frozen=True, slots=True)
class Affine:
    """``scale * x + offset`` of an input x, with the offset anywhere in [low, high]."""

    scale: Fraction = Fraction(1)
    low: Fraction = Fraction(0)
    high: Fraction = Fraction(0)
    direct: bool = True
    """Whether nothing but casts lies between, so that the input has the value's own layout."""


@dataclass(frozen=True, slots=True)
class Traced:
    """What the graph asks of one input: demands with the way there; ``tainted`` says that an index
    or a shape is computed from the input in a way that was not followed."""

    demands: tuple[tuple[Demand, Affine], ...] = ()
    tainted: bool = False


class Tracer:
    """A model without its big constants, ready to be asked about its inputs.

    Weights that stay on disk are never read.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = without_weights(model)
        self._uses: dict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
        self._aliases: dict[str, list[str]] = defaultdict(list)
        self._constants: dict[str, NDArray[np.generic]] = {}
        self._visit(self._model.graph)

    def trace(self, name: str) -> Traced:
        """Follow the input ``name`` forward, through nested graphs too."""
        demands: list[tuple[Demand, Affine]] = []
        seen = {name}
        queue = deque([(name, Affine())])
        while queue:
            value, way = queue.popleft()
            for alias in self._aliases.get(value, ()):
                if alias not in seen:
                    seen.add(alias)
                    queue.append((alias, way))
            for node, position in self._uses.get(value, ()):
                asked = demand(node, position) or self._as_mask(node, position)
                if asked is not None:
                    demands.append((asked, way))
                onward = self._step(node, position, way)
                if onward is None:
                    continue
                outputs = node.output if node.op_type in ("Split", "Identity") else node.output[:1]
                for output in outputs:
                    if output and output not in seen:
                        seen.add(output)
                        queue.append((output, onward))
        return Traced(tuple(demands), not demands and self._is_tainted(name))

    def shapes(self, sizes: Mapping[str, int]) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes that onnx infers with the input dims set to ``sizes``.

        Only fully known shapes are listed.
        """
        bound = onnx.ModelProto()
        bound.CopyFrom(self._model)
        for value in bound.graph.input:
            dims = input_dims(value)
            if dims is None or not value.type.HasField("tensor_type"):
                continue
            for dim, size in zip(value.type.tensor_type.shape.dim, dims, strict=True):
                dim.dim_value = dim_size(size, sizes)
        try:
            inferred = onnx.shape_inference.infer_shapes(bound, data_prop=True)
        except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
            inferred = bound
        shapes: dict[str, tuple[int, ...]] = {}
        for graph in all_graphs(inferred):
            for value in (*graph.input, *graph.value_info, *graph.output):
                tensor = value.type.tensor_type
                if tensor.HasField("shape") and all(
                    d.HasField("dim_value") for d in tensor.shape.dim
                ):
                    shapes[value.name] = tuple(d.dim_value for d in tensor.shape.dim)
            for constant in graph.initializer:
                shapes[constant.name] = tuple(constant.dims)
        return shapes

    def _visit(self, graph: onnx.GraphProto) -> None:
        for tensor in graph.initializer:
            self._constants[tensor.name] = numpy_helper.to_array(tensor)
        for node in graph.node:
            for position, name in enumerate(node.input):
                if name:
                    self._uses[name].append((node, position))
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                value = _constant_value(node)
                if value is not None:
                    self._constants[node.output[0]] = value
            for body in bodies_of(node):
                self._link(node, body)
                self._visit(body)

    def _link(self, node: onnx.NodeProto, body: onnx.GraphProto) -> None:
        """Record which values of a nested graph are those of the node around it."""
        inner = [value.name for value in body.input]
        results = [value.name for value in body.output]
        if node.op_type == "If":
            pairs = list(zip(results, node.output, strict=False))
        elif node.op_type == "Loop":
            pairs = list(zip(node.input[1:], inner[1:], strict=False))
            pairs += list(zip(results[1:], node.output, strict=False))
            pairs += list(zip(results, inner[1:], strict=False))
        elif node.op_type == "Scan":
            pairs = list(zip(node.input, inner, strict=False))
            pairs += list(zip(results, node.output, strict=False))
        else:
            pairs = []
        for source, target in pairs:
            if source and target:
                self._aliases[source].append(target)

    def _step(self, node: onnx.NodeProto, position: int, way: Affine) -> Affine | None:
        if carries(node, position):
            return way if node.op_type in ("Cast", "Identity") else replace(way, direct=False)
        if node.op_type not in ("Add", "Sub", "Mul", "Div") or node.domain not in ("", "ai.onnx"):
            return None
        way = replace(way, direct=False)
        other = self._constants.get(node.input[1 - position])
        if other is None or not other.size or other.dtype.kind not in "iuf":
            # Something computed is added: most often a small offset; nothing better is known.
            return way if node.op_type == "Add" else None
        low, high = Fraction(float(other.min())), Fraction(float(other.max()))
        if node.op_type == "Add":
            return replace(way, low=way.low + low, high=way.high + high)
        if node.op_type == "Sub" and position == 0:
            return replace(way, low=way.low - high, high=way.high - low)
        if low == high and low > 0 and (node.op_type == "Mul" or position == 0):
            factor = low if node.op_type == "Mul" else 1 / low
            return replace(
                way, scale=way.scale * factor, low=way.low * factor, high=way.high * factor
            )
        return None

    def _as_mask(self, node: onnx.NodeProto, position: int) -> Demand | None:
        """See a mask where a value is cast to bool, compared to 0 or 1, or taken from 1."""
        if node.domain not in ("", "ai.onnx"):
            return None
        mask = Demand("mask")
        if node.op_type == "Cast":
            return None if carries(node, position) else mask
        compares = node.op_type in _COMPARISONS
        if compares or (node.op_type == "Sub" and position == 1):
            other = self._constants.get(node.input[1 - position])
            if other is not None and other.size == 1 and other.dtype.kind in "iuf":
                number = float(other.ravel()[0])
                if number == 1 or (compares and 0 <= number < 1):
                    return mask
        return None

    def readers(
        self, name: str, onward: Callable[[onnx.NodeProto, int], Iterable[str]]
    ) -> Iterator[tuple[onnx.NodeProto, int]]:
        """Every node that reads ``name`` or what becomes of it, with the place of its input.

        ``onward`` says which outputs of such a node to go on with.
        """
        seen = {name}
        queue = deque([name])
        while queue:
            value = queue.popleft()
            targets = list(self._aliases.get(value, ()))
            for node, position in self._uses.get(value, ()):
                yield node, position
                targets += onward(node, position)
            fresh = [target for target in targets if target and target not in seen]
            seen.update(fresh)
            queue.extend(fresh)

    def _is_tainted(self, name: str) -> bool:
        """Whether any index, count or shape depends on the values of ``name``."""
        readers = self.readers(name, lambda n, _: () if n.op_type in VALUE_BLIND else n.output)
        return any(demand(node, position) is not None for node, position in readers)


def _constant_value(node: onnx.NodeProto) -> NDArray[np.generic] | None:
    for attribute in node.attribute:
        if attribute.name == "value":
            if attribute.t.data_location == onnx.TensorProto.EXTERNAL:
                return None
            return numpy_helper.to_array(attribute.t)
        if attribute.name in ("value_int", "value_ints", "value_float", "value_floats"):
            return np.asarray(onnx.helper.get_attribute_value(attribute))
    return None


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model, its big constants replaced by inputs of their type, its functions inlined."""
    light = onnx.ModelProto(ir_version=max(model.ir_version, 4))
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph, source = light.graph, model.graph
    graph.name = source.name or "graph"
    graph.input.extend(fed_inputs(model))
    graph.output.extend(onnx.helper.make_empty_tensor_value_info(v.name) for v in source.output)
    for tensor in source.initializer:
        if _is_big(tensor):
            graph.input.append(_as_input(tensor.name, tensor))
        else:
            graph.initializer.append(tensor)
    for node in source.node:
        if node.op_type == "Constant" and node.attribute and _is_big(node.attribute[0].t):
            graph.input.append(_as_input(node.output[0], node.attribute[0].t))
        else:
            graph.node.append(node)
    if light.functions:
        try:
            light = onnx.inliner.inline_local_functions(light)
        except (RuntimeError, ValueError):
            # A call that cannot be inlined stays; values are then not followed into it.
            del light.functions[:]
    return light


def _is_big(tensor: onnx.TensorProto) -> bool:
    return (
        tensor.data_location == onnx.TensorProto.EXTERNAL
        or int(np.prod(tensor.dims, dtype=np.int64)) > _INLINE_LIMIT
    )


def _as_input(name: str, tensor: onnx.TensorProto) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
