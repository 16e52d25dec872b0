"""Which tensors are constant, and what small constant expressions are worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import NodeProto

from onnx_fix.scope import SMALL, is_standard
from onnx_fix.target import facts

if TYPE_CHECKING:
    from onnx_fix.model import Model

RANDOM = frozenset(
    {
        "Bernoulli",
        "Dropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
"""Ops whose result is not determined by their inputs (Dropout: in training mode)."""

_EXPANDING = frozenset({"ConstantOfShape", "Expand", "Range", "Tile", "Resize", "Pad", "EyeLike"})
_SIZES = frozenset({"Shape", "Size"})
_MOST_NODES = 256


def is_pure(node: gs.Node) -> bool:
    """Whether a node's outputs follow from its inputs alone, and nothing is inside it."""
    if node.op in RANDOM or not is_standard(node):
        return False
    for value in node.attrs.values():
        if isinstance(value, (gs.Graph, gs.Node.AttributeRef)):
            return False
    return True


class Constness:
    """Constness of tensors, found on demand and kept until ``reset``."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._kept: dict[int, facts.Constness] = {}
        self._held: list[gs.Tensor] = []
        """Keeps what was asked about alive, so that no id comes back for another tensor."""
        self._values: dict[int, NDArray[np.generic] | None] = {}

    def reset(self) -> None:
        """Forget: the graph has changed."""
        self._kept.clear()
        self._held.clear()
        self._values.clear()

    def of(self, tensor: gs.Tensor) -> facts.Constness:
        """``initializer``, ``foldable`` or ``runtime``; linear in the nodes, whatever the order."""
        verdict = self._at_once(tensor)
        stack = [] if verdict is not None else [tensor]
        while stack:
            top = stack[-1]
            node = self._model.producer(top)
            assert node is not None, top.name
            missing = [t for t in node.inputs if t.name and self._at_once(t) is None]
            if missing and not self._is_fixed_shape(node):
                stack.extend(missing)
                continue
            # Only tensors that a node makes are kept by identity: those live as long as the graph.
            self._kept[id(top)] = self._of_node(node)
            stack.pop()
        return verdict if verdict is not None else self._kept[id(tensor)]

    def _at_once(self, tensor: gs.Tensor) -> facts.Constness | None:
        """The answer where no other tensor has to be looked at first."""
        if isinstance(tensor, gs.Constant):
            return "initializer"
        kept = self._kept.get(id(tensor))
        if kept is not None:
            return kept
        node = self._model.producer(tensor)
        if node is None:
            return "runtime"
        verdict: facts.Constness
        if not is_pure(node):
            verdict = "runtime"
        elif node.op == "Constant":
            verdict = "initializer"
        else:
            return None
        self._kept[id(tensor)] = verdict
        return verdict

    def _of_node(self, node: gs.Node) -> facts.Constness:
        if self._is_fixed_shape(node):
            return "foldable"
        given = [t for t in node.inputs if t.name]
        if not given or any(
            self._at_once(t) == "runtime" or self._model.is_overridable(t) for t in given
        ):
            return "runtime"
        return "foldable"

    def _is_fixed_shape(self, node: gs.Node) -> bool:
        """Whether the node gives sizes that are all known: of the rank, Size asks no more."""
        return bool(node.op in _SIZES and is_standard(node) and self._static(node.inputs[0]))

    def _static(self, tensor: gs.Tensor) -> bool:
        shape = self._model.type_of(tensor).shape
        return shape is not None and all(isinstance(d, int) for d in shape)

    def folded(self, tensor: gs.Tensor) -> NDArray[np.generic] | None:
        """The value of a constant, or of a small expression over small constants.

        Evaluated by ``onnx.reference``, which follows the ONNX specification literally.
        """
        if self.of(tensor) == "runtime":
            return None
        value = self._model.value(tensor, limit=SMALL)
        if value is not None or self.of(tensor) == "initializer":
            return value
        if id(tensor) not in self._values:
            self._evaluate(tensor)
        return self._values.get(id(tensor))

    def _evaluate(self, tensor: gs.Tensor) -> None:
        cone: list[gs.Node] = []
        seen: set[int] = set()
        stack: list[tuple[gs.Tensor, bool]] = [(tensor, False)]
        while stack:
            top, done = stack.pop()
            node = self._model.producer(top)
            if node is None or id(top) in self._values:
                continue
            if done:
                cone.append(node)
                continue
            if id(node) in seen or node.op == "Constant":
                continue
            seen.add(id(node))
            stack.append((top, True))
            if not self._is_fixed_shape(node):
                stack.extend((t, False) for t in node.inputs if t.name)
        if len(cone) <= _MOST_NODES:
            for node in cone:
                self._run(node)
        self._values.setdefault(id(tensor), None)

    def _run(self, node: gs.Node) -> None:
        """Evaluate one node, or leave its outputs unknown."""
        for t in node.outputs:
            self._values.setdefault(id(t), None)
        if self._is_fixed_shape(node):
            dims = np.asarray(self._model.type_of(node.inputs[0]).shape or (), dtype=np.int64)
            cut = slice(node.attrs.get("start", 0), node.attrs.get("end"))
            self._values[id(node.outputs[0])] = (
                dims[cut] if node.op == "Shape" else np.asarray(dims.prod(), dtype=np.int64)
            )
            return
        if node.op in _EXPANDING and not all(self._small(t) for t in node.outputs):
            length = range_length(self, node) if node.op == "Range" else None
            if length is None or length > SMALL:
                return
        feeds: dict[str, NDArray[np.generic]] = {}
        for t in node.inputs:
            if t.name:
                value = self._model.value(t, limit=SMALL)
                value = self._values.get(id(t)) if value is None else value
                if value is None:
                    return
                feeds[t.name] = value
        for t, value in zip(node.outputs, evaluate(self._model, node, feeds), strict=False):
            if value is not None and value.size <= SMALL:
                self._values[id(t)] = value

    def _small(self, tensor: gs.Tensor) -> bool:
        shape = self._model.type_of(tensor).shape
        if shape is None:
            return False
        sizes = [d for d in shape if isinstance(d, int)]
        return len(sizes) == len(shape) and int(np.prod(sizes, dtype=np.int64)) <= SMALL


def range_length(constness: Constness, node: gs.Node) -> int | None:
    """How many elements a Range of constants has, or None: max(ceil((limit - start) / delta), 0)
    (ONNX, Range)."""
    given = [constness.folded(t) for t in node.inputs]
    if len(given) != 3 or any(v is None or v.size != 1 for v in given):
        return None
    start, limit, delta = (float(np.asarray(v).reshape(-1)[0]) for v in given)
    if delta == 0 or not all(math.isfinite(v) for v in (start, limit, delta)):
        return None
    return max(math.ceil((limit - start) / delta), 0)


def evaluate(
    model: Model, node: gs.Node, feeds: dict[str, NDArray[np.generic]]
) -> list[NDArray[np.generic] | None]:
    """Run one node on values with ``onnx.reference``; Nones where it cannot."""
    proto = model.named_proto(node)
    if proto is None:
        return []
    results = evaluate_proto(proto, feeds, model.scope_of(node).opset, model.proto.ir_version)
    named = iter(results)
    return [next(named) if t.name else None for t in node.outputs] if results else []


NOT_EVALUATED = (
    ArithmeticError,
    AttributeError,
    IndexError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What the reference evaluator raises where it lacks an op or refuses the values."""


def evaluate_proto(
    proto: NodeProto, feeds: Mapping[str, NDArray[np.generic]], opset: int, ir_version: int
) -> list[NDArray[np.generic]]:
    """Run one node on values with ``onnx.reference``: its named outputs; none where it cannot."""
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    inputs = [
        helper.make_tensor_value_info(
            name, int(helper.np_dtype_to_tensor_dtype(value.dtype)), value.shape
        )
        for name, value in feeds.items()
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None)
        for name in proto.output
        if name
    ]
    graph = helper.make_graph([proto], "one", inputs, outputs)
    single = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    single.ir_version = ir_version
    try:
        results = ReferenceEvaluator(single).run(None, dict(feeds))
    except NOT_EVALUATED:
        return []
    return [np.asarray(value) for value in results]


_SPELLED = {
    "value_int": np.int64,
    "value_ints": np.int64,
    "value_float": np.float32,
    "value_floats": np.float32,
}


def spelled(attributes: Mapping[str, object]) -> NDArray[np.generic] | None:
    """The value of a Constant node that stands in its attributes as numbers, or None."""
    for name, dtype in _SPELLED.items():
        if isinstance(attributes.get(name), int | float | list):
            return np.asarray(attributes[name], dtype=dtype)
    return None
