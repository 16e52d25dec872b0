"""One name space of a model (main graph, subgraph, function body) as the passes see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnx_fix.origins import origin_of
from onnx_fix.signs import Signs
from onnx_fix.size_uses import float_ops, size_use
from onnx_fix.target.facts import Constness, Dim, NodeFacts, TensorFacts
from onnx_fix.target.kinds.bodies import InContext
from onnx_fix.target.verdict import SUPPORTED
from onnx_fix.weights import stored_proto

if TYPE_CHECKING:
    from onnx_fix.model import Model
    from onnx_fix.target import Target, Verdict

T = TypeVar("T")

STANDARD_DOMAINS = ("", "ai.onnx")

SMALL = 1 << 16
"""Constants of at most this many elements are read without being asked for explicitly."""


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """What is known of a tensor. ``shape`` is None when the rank is unknown."""

    dtype: int | None = None
    shape: tuple[Dim, ...] | None = None


def attribute(node: gs.Node, name: str, kind: type[T], default: T | None = None) -> T | None:
    """An attribute of a node, or the default where it is absent, of another type, or refers to a
    parameter of the enclosing function (then nothing can be said of its value)."""
    value = node.attrs.get(name)
    if kind is float and isinstance(value, int):
        value = float(value)
    return value if isinstance(value, kind) else default


def has_unresolved(node: gs.Node, *names: str) -> bool:
    """Whether one of the attributes refers to a parameter of the enclosing function."""
    return any(isinstance(node.attrs.get(n), gs.Node.AttributeRef) for n in names)


def is_standard(node: gs.Node) -> bool:
    """Whether the node belongs to the default operator set."""
    return (node.domain or "") in STANDARD_DOMAINS


_OMITTED = TypeInfo()


@dataclass(eq=False)
class Scope:
    """A name space with its nodes in execution order.

    ``path`` is empty for the main graph, ``If_3/then_branch`` for a subgraph, and
    ``function domain::name`` for the body of a local function. Passes read; the engine edits.
    """

    model: Model
    path: str
    kind: Literal["main", "subgraph", "function"]
    graph: gs.Graph
    opset: int
    parent: Scope | None
    tensors: dict[str, gs.Tensor]
    types: dict[str, TypeInfo] = field(default_factory=dict)
    nodes_alive: Callable[[gs.Node], bool] = lambda _node: True

    # -- nodes -------------------------------------------------------------------------------

    def nodes(self, *ops: str, domain: str = "") -> Iterator[gs.Node]:
        """The nodes of these ops (all ops when none is named) in execution order.

        Nodes removed meanwhile are left out; nodes made meanwhile are seen in the next run.
        """
        wanted = frozenset(ops)
        for node in tuple(self.graph.nodes):
            same = is_standard(node) if domain == "" else node.domain == domain
            if same and (not wanted or node.op in wanted) and self.nodes_alive(node):
                yield node

    def producer(self, tensor: gs.Tensor) -> gs.Node | None:
        """The node that computes the tensor, or None for inputs, initializers and loop states."""
        return self.model.producer(tensor)

    def consumers(self, tensor: gs.Tensor) -> list[gs.Node]:
        """The nodes that read the tensor, in this scope and in those inside it."""
        return self.model.consumers(tensor)

    def is_output(self, tensor: gs.Tensor) -> bool:
        """Whether the tensor leaves the scope that makes it."""
        return self.model.is_output(tensor)

    def label(self, node: gs.Node) -> str:
        """How a node is called in reports: its name, or its first named output."""
        return node_label(node)

    # -- tensors -----------------------------------------------------------------------------

    def _type(self, tensor: gs.Tensor) -> TypeInfo:
        return self.model.type_of(tensor)

    def dtype(self, tensor: gs.Tensor) -> int | None:
        """The ``TensorProto.DataType`` of a tensor, or None where it is not known."""
        return self._type(tensor).dtype

    def shape(self, tensor: gs.Tensor) -> tuple[Dim, ...] | None:
        """Sizes, symbols, and None for dims nothing is known of; None where the rank is unknown."""
        return self._type(tensor).shape

    def rank(self, tensor: gs.Tensor) -> int | None:
        """The number of dimensions, or None."""
        shape = self.shape(tensor)
        return None if shape is None else len(shape)

    def constness(self, tensor: gs.Tensor) -> Constness:
        """Whether the tensor is an initializer, could become one, or is a run-time value."""
        return self.model.constness(tensor)

    def constant(
        self, tensor: gs.Tensor, *, limit: int | None = SMALL
    ) -> NDArray[np.generic] | None:
        """The value of an initializer or Constant node, or None.

        Tensors of more than ``limit`` elements are not read (``limit=None`` reads any size).
        """
        return self.model.value(tensor, limit=limit)

    def folded(self, tensor: gs.Tensor) -> NDArray[np.generic] | None:
        """The value of a small tensor that is computed from constants alone, or None."""
        return self.model.folded(tensor)

    # -- the target ----------------------------------------------------------------------------

    @property
    def target(self) -> Target:
        """The release that the model is rewritten for."""
        return self.model.target

    def facts(self, node: gs.Node) -> NodeFacts:
        """What the target may know of a node."""
        attrs = {
            k: self._value(v)
            for k, v in node.attrs.items()
            if not isinstance(v, gs.Node.AttributeRef)
        }
        refs = frozenset(k for k, v in node.attrs.items() if isinstance(v, gs.Node.AttributeRef))
        return NodeFacts(
            op=node.op,
            domain=node.domain or "",
            name=node_label(node),
            scope=self.path,
            opset=self.opset,
            inputs=tuple(self._facts(t) for t in node.inputs),
            outputs=tuple(self._facts(t) for t in node.outputs),
            attributes=attrs,
            unresolved=refs,
            first=lambda: self.model.first_of(node),
        )

    def _value(self, value: object) -> object:
        """The value of an attribute as a target reads it."""
        if isinstance(value, gs.Constant):
            return stored_proto(value)
        return InContext(value, self.shape) if isinstance(value, gs.Graph) else value

    def _facts(self, tensor: gs.Tensor) -> TensorFacts:
        if not tensor.name:
            return TensorFacts("")
        known = self._type(tensor)
        return TensorFacts(
            tensor.name,
            known.dtype,
            known.shape,
            self.constness(tensor),
            lambda: self.constant(tensor),
            lambda size, dim: Signs(self, size, dim).nonnegative(tensor),
            lambda: origin_of(self, tensor),
            self._bound(tensor) if known.dtype == onnx.TensorProto.UINT8 else None,
            lambda: size_use(self, tensor),
            lambda: float_ops(self, tensor),
        )

    def _bound(self, tensor: gs.Tensor) -> bool | None:
        """Whether the tensor is an input or output of the network; None outside the main graph."""
        if self.kind != "main":
            return None
        return self.model.is_input(tensor) or self.model.is_output(tensor)

    def judge(self, node: gs.Node) -> Verdict:
        """What the target says of a node as it stands; kept until the engine says that the graph
        has changed."""
        kept = self.model.verdicts
        verdict = kept.get(id(node))
        if verdict is None:
            verdict = SUPPORTED if self._is_plain(node) else self.target.judge(self.facts(node))
            kept[id(node)] = verdict
        return verdict

    def _is_plain(self, node: gs.Node) -> bool:
        """Whether the node is supported whatever its constants and where they come from."""
        target = self.target
        if not target.is_free(node.op, node.domain or "", node.attrs):
            return False
        inputs = [self._type(t) if t.name else _OMITTED for t in node.inputs]
        return target.fits(
            self.opset, inputs, [self._type(t) if t.name else _OMITTED for t in node.outputs]
        )

    def refused(self, node: gs.Node) -> bool:
        """Whether the target surely refuses the node, or surely computes something else."""
        return self.judge(node).status == "refused"

    def accepts(
        self,
        op: str,
        inputs: Sequence[TensorFacts | gs.Tensor],
        attrs: Mapping[str, object] | None = None,
        outputs: Sequence[TensorFacts | gs.Tensor] = (TensorFacts("y"),),
    ) -> bool:
        """Whether the target takes a node that is not there yet (not surely refused)."""
        return self.proposed(op, inputs, attrs, outputs).status != "refused"

    def proposed(
        self,
        op: str,
        inputs: Sequence[TensorFacts | gs.Tensor],
        attrs: Mapping[str, object] | None = None,
        outputs: Sequence[TensorFacts | gs.Tensor] = (TensorFacts("y"),),
    ) -> Verdict:
        """What the target says of a node that is not there yet."""

        def as_facts(t: TensorFacts | gs.Tensor) -> TensorFacts:
            return t if isinstance(t, TensorFacts) else self._facts(t)

        facts = NodeFacts(
            op=op,
            domain="",
            name="proposed",
            scope=self.path,
            opset=self.opset,
            inputs=tuple(as_facts(t) for t in inputs),
            outputs=tuple(as_facts(t) for t in outputs),
            attributes=dict(attrs or {}),
        )
        return self.target.judge(facts)


def node_label(node: gs.Node) -> str:
    """How a node is called in reports: its name, or its first named output."""
    if node.name:
        return str(node.name)
    return next((str(t.name) for t in node.outputs if t.name), node.op)


def elem_type(dtype: np.dtype[np.generic] | type) -> int:
    """The ``TensorProto.DataType`` of a numpy dtype (ml_dtypes included)."""
    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
