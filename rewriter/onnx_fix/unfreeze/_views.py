"""Graphs by their tensors: what makes a name, Identity apart, in the scope where it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
)

from onnx_fix.functions import has_bodies

Array = NDArray[np.generic]
_MOST_FOLDED = 200
"""How many nodes are computed at most to find the value of a tensor."""
_PLAIN = ("", "ai.onnx")


@dataclass(frozen=True, slots=True)
class Made:
    """What makes a tensor: a node (its output number), or a constant, or an input (its number)."""

    view: View
    name: str
    node: NodeProto | None = None
    number: int = 0
    tensor: TensorProto | None = None


@dataclass(eq=False, slots=True)
class View:
    """A graph or the body of a function, with what lies around it."""

    model: ModelProto
    nodes: Sequence[NodeProto]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parent: View | None = None
    initializers: dict[str, TensorProto] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    """The bodies and functions on the way here; empty for the main graph."""
    order: dict[str, int] = field(default_factory=dict)
    """The place of the node that makes a tensor."""
    constants: dict[str, TensorProto | None] = field(default_factory=dict)
    folded: dict[str, Array | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.order = {o: k for k, node in enumerate(self.nodes) for o in node.output if o}

    def made(self, name: str) -> Made | None:
        """What makes a tensor, Identity apart; None for a name that nothing makes."""
        view: View | None = self
        while view is not None:
            if name in view.order:
                node = view.nodes[view.order[name]]
                if node.op_type == "Identity" and node.domain in _PLAIN:
                    return view.made(node.input[0])
                if name not in view.constants:
                    view.constants[name] = constant_of(node)
                constant = view.constants[name]
                if constant is not None:
                    return Made(view, name, tensor=constant)
                return Made(view, name, node, list(node.output).index(name))
            if name in view.initializers:
                return Made(view, name, tensor=view.initializers[name])
            if name in view.inputs:
                return Made(view, name, number=view.inputs.index(name))
            view = view.parent
        return None

    def value(self, made: Made) -> Array | None:
        """The value of a tensor that constants alone make; None where inputs take part."""
        view = made.view
        if made.node is None:
            return None if made.tensor is None else numpy_helper.to_array(made.tensor)
        if made.name not in view.folded:
            view.folded[made.name] = _folded(made)
        return view.folded[made.name]


def view_of(model: ModelProto) -> View:
    """The main graph."""
    return body_view(model, model.graph, None, ())


def body_view(
    model: ModelProto, graph: GraphProto, parent: View | None, path: tuple[str, ...]
) -> View:
    """A graph inside another one."""
    initializers = {t.name: t for t in graph.initializer}
    return View(
        model,
        list(graph.node),
        tuple(v.name for v in graph.input if v.name not in initializers),
        tuple(v.name for v in graph.output),
        parent,
        initializers,
        path,
    )


def function_view(model: ModelProto, function: FunctionProto) -> View:
    """The body of a function."""
    inputs, outputs = tuple(function.input), tuple(function.output)
    return View(model, list(function.node), inputs, outputs, path=(function.name,))


def constant_of(node: NodeProto) -> TensorProto | None:
    """The tensor that a Constant node holds; None for another node, and for other spellings."""
    if node.op_type != "Constant" or node.domain not in _PLAIN or len(node.attribute) != 1:
        return None
    (attribute,) = node.attribute
    if attribute.ref_attr_name:
        return None
    if attribute.name == "value":
        return attribute.t
    kinds = {"value_int": np.int64, "value_ints": np.int64}
    kinds |= {"value_float": np.float32, "value_floats": np.float32}  # type: ignore[dict-item]
    if attribute.name not in kinds:
        return None
    value = np.asarray(helper.get_attribute_value(attribute), kinds[attribute.name])
    return numpy_helper.from_array(value, node.output[0])


def default_of(model: ModelProto, node: NodeProto, name: str) -> AttributeProto | None:
    """What the standard says of an attribute that is left out."""
    versions = {o.domain: o.version for o in model.opset_import}
    domain = "" if node.domain in _PLAIN else node.domain
    try:
        schema = onnx.defs.get_schema(node.op_type, versions.get(domain, 1), domain)
    except onnx.defs.SchemaError:
        return None
    if name not in schema.attributes or not schema.attributes[name].default_value.name:
        return None
    return schema.attributes[name].default_value


def _folded(made: Made) -> Array | None:
    """The value of a tensor of which no input of the network is an ancestor."""
    view, nodes, constants = made.view, dict[int, NodeProto](), dict[str, TensorProto]()
    todo = [made.name]
    while todo:
        name = todo.pop()
        if name in constants or not name:
            continue
        if name not in view.order:
            outer = view.made(name)
            if outer is None or outer.tensor is None:
                return None
            constants[name] = outer.tensor
            continue
        place = view.order[name]
        if place in nodes:
            continue
        node = view.nodes[place]
        plain = node.domain in _PLAIN and not node.op_type.startswith("Random")
        referring = any(a.ref_attr_name for a in node.attribute)
        if not plain or has_bodies(node) or referring or len(nodes) >= _MOST_FOLDED:
            return None
        nodes[place] = node
        todo += node.input
    graph = helper.make_graph(
        [nodes[k] for k in sorted(nodes)], "g", [], [onnx.ValueInfoProto(name=made.name)]
    )
    for name, tensor in constants.items():
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = name
    opsets = [o for o in view.model.opset_import if o.domain in _PLAIN]
    model = helper.make_model(graph, opset_imports=opsets)
    try:
        from onnx.reference import ReferenceEvaluator

        (value,) = ReferenceEvaluator(model).run(None, {})
    except Exception:  # The reference refuses in many ways; then nothing is known.
        return None
    return np.asarray(value)
