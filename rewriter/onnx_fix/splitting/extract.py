"""Write one section of a network as a model of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable

from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper

from onnx_fix.dim_names import symbol_of
from onnx_fix.errors import UsageError
from onnx_fix.scope import is_standard
from onnx_fix.splitting.divide import Section
from onnx_fix.splitting.network import Network, is_nameless
from onnx_fix.target.facts import Dim
from onnx_fix.verify.symbols import fed_inputs

_OPEN = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})
"""Ops that give as many elements as the data has."""

_WORD = re.compile(r"[A-Za-z_][\w.]*")
_ARITHMETIC = frozenset({"floor", "ceil", "min", "max", "Min", "Max"})


class Extractor:
    """Makes the models of sections, with one declaration for a tensor wherever it enters."""

    def __init__(self, network: Network) -> None:
        self._network = network
        graph = network.model.proto.graph
        self._inputs = {v.name: v for v in graph.input}
        self._declared = {v.name: v for v in (*graph.input, *graph.output)}
        self._weights = {t.name: t for t in graph.initializer}
        self._sparse = {s.values.name: s for s in graph.sparse_initializer}
        self._known = _symbols((*graph.input, *graph.output, *graph.value_info))
        self._of_inputs = _symbols(graph.input)
        self._taken = set(self._known)
        self._renamed: dict[object, str] = {}
        self._between: dict[str, ValueInfoProto] = {}
        starts = [
            n
            for number in range(len(network.nodes))
            if (node := network.nodes[number]).op in _OPEN and is_standard(node)
            for n in network.makes(number)
        ]
        self._from_data = self._downstream(starts)

    def model(self, section: Section) -> ModelProto:
        """The section with its initializers; everything else of the model is kept as it is.

        Raises:
            UsageError: the type of a tensor between is not known, or it is no tensor.
        """
        network = self._network
        origin = network.model.proto
        made = ModelProto()
        for field, value in origin.ListFields():
            if field.name in ("graph", "functions", "training_info"):
                continue
            if isinstance(value, int | str):
                setattr(made, field.name, value)
            else:
                getattr(made, field.name).MergeFrom(value)
        graph = made.graph
        graph.name = origin.graph.name
        graph.doc_string = origin.graph.doc_string
        graph.metadata_props.extend(origin.graph.metadata_props)
        graph.node.extend(network.proto(n) for n in section.nodes)
        tensors = {n for k in section.nodes for n in network.makes(k)} | set(section.inputs)
        self._fill_weights(section, tensors, graph)
        graph.input.extend(self._declaration(n, section) for n in section.inputs)
        graph.input.extend(self._with_default(graph))
        graph.output.extend(self._declaration(n, section) for n in section.outputs)
        bound = {v.name for v in (*graph.input, *graph.output)}
        graph.value_info.extend(
            v for v in origin.graph.value_info if v.name in tensors and v.name not in bound
        )
        return made

    def is_data_dependent(self, value: ValueInfoProto) -> bool:
        """Whether a declared tensor has a size that no size of an input tells."""
        if value.name not in self._from_data:
            return False
        for dim in value.type.tensor_type.shape.dim:
            words = set(_WORD.findall(dim.dim_param))
            if not dim.HasField("dim_value") and not (
                words and words <= self._of_inputs | _ARITHMETIC
            ):
                return True
        return False

    # -- what belongs to a part --------------------------------------------------------------------

    def _fill_weights(self, section: Section, tensors: set[str], graph: GraphProto) -> None:
        origin = self._network.model.proto.graph
        wanted = {n for k in section.nodes for n in self._network.weights[k]}
        wanted |= {n for n in section.outputs if n in self._weights}
        annotations = [a for a in origin.quantization_annotation if a.tensor_name in tensors]
        for annotation in annotations:
            wanted |= {e.value for e in annotation.quant_parameter_tensor_names}
        graph.initializer.extend(t for t in origin.initializer if t.name in wanted)
        graph.sparse_initializer.extend(s for n, s in self._sparse.items() if n in wanted)
        graph.quantization_annotation.extend(annotations)

    def _with_default(self, graph: GraphProto) -> Iterable[ValueInfoProto]:
        """Initializers that are inputs, too: before IR version 4 all are, later a caller may feed
        them."""
        listed = {v.name for v in graph.input}
        held = [t.name for t in graph.initializer]
        return [self._inputs[n] for n in held if n in self._inputs and n not in listed]

    def _declaration(self, name: str, section: Section) -> ValueInfoProto:
        """How a tensor is declared at the border of a part."""
        if name in self._inputs:
            return self._inputs[name]
        if name in self._declared and name in section.outputs:
            return self._declared[name]
        if name not in self._between:
            self._between[name] = self._new(name)
        return self._between[name]

    def _new(self, name: str) -> ValueInfoProto:
        network = self._network
        if name in self._weights:
            weight = self._weights[name]
            return helper.make_tensor_value_info(name, weight.data_type, tuple(weight.dims))
        info = network.type_of(name)
        maker = network.maker[name]
        at = f"'{name}', which {network.nodes[maker].op} '{network.label(maker)}' makes,"
        if info.dtype is None or info.dtype == TensorProto.UNDEFINED:
            raise UsageError(
                f"{at} would go between two parts, and its element type is not known (or it is no "
                "tensor); export with shape inference, or cut at another node with --at"
            )
        if info.shape is None:
            raise UsageError(
                f"{at} would go between two parts, and its rank is not known, without which no "
                "engine has it as an input; export with shape inference, or cut at another node "
                "with --at"
            )
        open_axes = [k for k, d in enumerate(info.shape) if self._is_nameless(d)]
        dims = [
            self._symbol(maker, name, axis, dim, len(open_axes)) if axis in open_axes else dim
            for axis, dim in enumerate(info.shape)
        ]
        return helper.make_tensor_value_info(name, info.dtype, dims)

    # -- symbols -----------------------------------------------------------------------------------

    def _is_nameless(self, dim: Dim) -> bool:
        return is_nameless(dim) and dim not in self._known

    def _symbol(self, maker: int, name: str, axis: int, dim: Dim, count: int) -> str:
        """A new name for a size that has none; sizes that inference found equal share it."""
        key: object = (name, axis) if dim is None else dim
        if key not in self._renamed:
            node = self._network.nodes[maker]
            if node.op in _OPEN and count == 1:
                base = f"{_plain(self._network.label(maker))}_count"
            else:
                base = f"{_plain(name)}_dim_{axis}"
            fresh, number = base, 1
            while fresh in self._taken:
                number += 1
                fresh = f"{base}_{number}"
            self._taken.add(fresh)
            self._renamed[key] = fresh
        return self._renamed[key]

    def _downstream(self, starts: Iterable[str]) -> frozenset[str]:
        found = set(starts)
        for number in range(len(self._network.nodes)):
            if found.intersection(self._network.needs[number]):
                found.update(self._network.makes(number))
        return frozenset(found)


def _plain(name: str) -> str:
    """A name of letters, digits and underscores, which every tool takes on its command line."""
    text = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "size"
    return text if not text[0].isdigit() else f"n{text}"


def _symbols(values: Iterable[ValueInfoProto]) -> frozenset[str]:
    return frozenset(
        d.dim_param for v in values for d in v.type.tensor_type.shape.dim if symbol_of(d)
    )


def defaults(model: ModelProto) -> list[ValueInfoProto]:
    """The inputs of a model that need not be fed, where that is more than an old way to list
    weights."""
    fed = {v.name for v in fed_inputs(model)}
    return [] if model.ir_version < 4 else [v for v in model.graph.input if v.name not in fed]
