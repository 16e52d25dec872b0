"""The function body of an op, less what is known of the node that it stands for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TypeProto, helper, numpy_helper

from onnx_fix.constants import RANDOM, evaluate_proto
from onnx_fix.functions import has_bodies
from onnx_fix.lower.rules.bodies import reads
from onnx_fix.scope import STANDARD_DOMAINS
from onnx_fix_passes._body_rounds import Array, rename

_MOST = 64
"""Values of at most this many elements are computed."""

_ROUNDED_ONCE = frozenset(
    {
        "Abs",
        "Add",
        "Cast",
        "Ceil",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Div",
        "Expand",
        "Floor",
        "Gather",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Reshape",
        "Slice",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
        "Where",
    }
)
"""Ops that give the same floats everywhere."""

_MOVES = frozenset({"Expand", "Reshape"})


class Folding:
    """The nodes of a body that are left, and what the other tensors of it are.

    Sizes that are known, and what is computed from them alone, become ``constants``. What passes a
    tensor on as it is (Identity, a Cast to its own type, an Expand or Reshape to its own shape) is
    an alias. CastLike becomes Cast where the type is known. ``types`` holds what is known of the
    tensors of the body. With ``exact`` floats are computed only where they are the same everywhere.
    """

    def __init__(
        self, body: GraphProto, opset: int, given: dict[str, Array], *, exact: bool = False
    ) -> None:
        self._opset = opset
        self._exact = exact
        self.constants: dict[str, Array] = dict(given)
        self._aliases: dict[str, str] = {}
        self.types = _types(body, opset, given)
        made = [node for node in map(self._node, body.node) if node is not None]
        wanted = {self.name(value.name) for value in body.output}
        self.nodes: list[NodeProto] = []
        for node in reversed(made):
            if wanted & set(node.output):
                self.nodes.append(node)
                wanted.update(reads(node))
        self.nodes.reverse()

    def name(self, name: str) -> str:
        """The tensor that carries a value."""
        while name in self._aliases:
            name = self._aliases[name]
        return name

    def dtype(self, name: str) -> int:
        """The element type of a tensor, 0 where it is not known."""
        if name in self.constants:
            return int(helper.np_dtype_to_tensor_dtype(self.constants[name].dtype))
        return int(self.types.get(name, TypeProto()).tensor_type.elem_type)

    def shape(self, name: str) -> tuple[int | str | None, ...] | None:
        """What is known of the shape of a tensor."""
        if name in self.constants:
            return tuple(self.constants[name].shape)
        known = self.types.get(name, TypeProto()).tensor_type
        if not known.HasField("shape"):
            return None
        return tuple(
            d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in known.shape.dim
        )

    def _node(self, given: NodeProto) -> NodeProto | None:
        """The node that is left of one of the body, if any."""
        node = NodeProto()
        node.CopyFrom(given)
        rename(node, self.name)
        if (node.domain or "") not in STANDARD_DOMAINS:
            return node
        if node.op_type == "CastLike" and (to := self.dtype(node.input[1])):
            node.op_type = "Cast"
            del node.input[1:]
            node.attribute.append(helper.make_attribute("to", to))
        if self._passes_on(node):
            self._aliases[node.output[0]] = node.input[0]
            return None
        value = self._value(node)
        if value is not None:
            self.constants[node.output[0]] = value
            return None
        return node

    def _passes_on(self, node: NodeProto) -> bool:
        if node.op_type == "Identity":
            return True
        if node.op_type == "Cast":
            to = next((a.i for a in node.attribute if a.name == "to"), 0)
            return bool(to) and self.dtype(node.input[0]) == to
        if node.op_type not in _MOVES:
            return False
        before, after = self.shape(node.input[0]), self.shape(node.output[0])
        return before is not None and before == after and None not in before

    def _value(self, node: NodeProto) -> Array | None:
        if len(node.output) != 1:
            return None
        if node.op_type in ("Shape", "Size"):
            found = self._sizes(node)
            if found is None or node.op_type == "Shape":
                return found
            return np.asarray(math.prod(found.tolist()), np.int64)
        sizes = [d for d in self.shape(node.output[0]) or () if isinstance(d, int)]
        if math.prod(sizes) > _MOST:
            return None
        inputs = [self.constants.get(name) for name in node.input]
        if not all(v is not None or not name for v, name in zip(inputs, node.input, strict=True)):
            return None
        return self.evaluated(node, [v for v in inputs if v is not None])

    def evaluated(self, node: NodeProto, values: Sequence[Array]) -> Array | None:
        """The result of a node whose inputs have these values, where it may be computed here."""
        if node.op_type in RANDOM or (node.domain or "") not in STANDARD_DOMAINS:
            return None
        if has_bodies(node):
            return None
        value = _evaluated(node, values, self._opset)
        if value is None or value.dtype.kind in "iub" or not self._exact:
            return value
        same = node.op_type in _ROUNDED_ONCE and value.dtype in (np.float32, np.float64)
        return value if same else None

    def _sizes(self, node: NodeProto) -> Array | None:
        shape = self.shape(node.input[0])
        if shape is None:
            return None
        ends = {a.name: a.i for a in node.attribute}
        part = shape[ends.get("start") : ends.get("end")]
        known = [d for d in part if isinstance(d, int)]
        return np.asarray(known, np.int64) if len(known) == len(part) else None


def _evaluated(node: NodeProto, values: Sequence[Array], opset: int) -> Array | None:
    feeds = dict(zip((name for name in node.input if name), values, strict=True))
    with np.errstate(all="ignore"):
        found = evaluate_proto(node, feeds, opset, onnx.IR_VERSION)
    if len(found) != 1 or found[0].size > _MOST or found[0].dtype.kind in "OSU":
        return None
    return found[0]


def _types(body: GraphProto, opset: int, given: dict[str, Array]) -> dict[str, TypeProto]:
    """The types of the tensors of a body as onnx infers them."""
    graph = GraphProto()
    graph.CopyFrom(body)
    made = {name for node in graph.node for name in node.output}
    typed = [v for v in graph.input if v.type.WhichOneof("value")]
    outputs = [v for v in graph.output if v.name in made]
    del graph.input[:]
    del graph.output[:]
    graph.input.extend(typed)
    graph.output.extend(outputs)
    for name, value in given.items():
        if value.size <= _MOST:
            graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        elif name not in {v.name for v in typed}:
            element = int(helper.np_dtype_to_tensor_dtype(value.dtype))
            graph.input.append(helper.make_tensor_value_info(name, element, value.shape))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        inferred = graph
    known = {
        v.name: v.type
        for v in (*inferred.value_info, *inferred.output, *inferred.input)
        if v.type.WhichOneof("value") == "tensor_type"
    }
    for kind in known.values():
        for dim in kind.tensor_type.shape.dim:
            if dim.dim_param.startswith("unk__"):
                dim.ClearField("dim_param")
    return known
