"""The main graph of a model as nodes that read tensors and make others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import onnx_graphsurgeon as gs
from onnx import NodeProto

from onnx_fix.constants import is_pure
from onnx_fix.model import Model
from onnx_fix.order import reads
from onnx_fix.scope import TypeInfo, is_standard, node_label
from onnx_fix.shapes import better
from onnx_fix.target.facts import Dim

_VIEWS = frozenset(
    {
        "ConstantOfShape",
        "Expand",
        "Flatten",
        "Identity",
        "Range",
        "Reshape",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
"""Ops that only put elements elsewhere, or make them of sizes, and give no fewer than they get."""

_SIZES = frozenset(
    {
        "Abs",
        "Add",
        "Cast",
        "Ceil",
        "Concat",
        "Div",
        "Equal",
        "Floor",
        "Gather",
        "Greater",
        "Less",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "Pow",
        "Reciprocal",
        "ReduceProd",
        "Round",
        "Slice",
        "Sqrt",
        "Split",
        "Sub",
        "Where",
    }
)
"""Ops that sizes of tensors are computed with."""


class Network:
    """The nodes of the main graph that an output depends on, by their number in execution order.

    A tensor goes by its name. Initializers are no tensors here: a part simply gets those it reads.
    What a subgraph reads from outside is read by the node that the subgraph belongs to. ``hint``
    says what is known elsewhere of the types of tensors that nothing is known of here.
    """

    def __init__(self, model: Model, hint: Callable[[str], TypeInfo]) -> None:
        self.model = model
        self._hint = hint
        scope = model.main
        self.nodes: list[gs.Node] = [n for n in scope.graph.nodes if model.alive(n)]
        self.maker: dict[str, int] = {}
        self.needs: list[tuple[str, ...]] = []
        self.weights: list[tuple[str, ...]] = []
        for number, node in enumerate(self.nodes):
            for tensor in node.outputs:
                if tensor.name:
                    self.maker[str(tensor.name)] = number
        graph = model.proto.graph
        sparse = {s.values.name for s in graph.sparse_initializer}
        self.stored = frozenset({t.name for t in graph.initializer} | sparse)
        for node in self.nodes:
            mine = [t for t in reads(node) if t.name and id(scope.tensors.get(t.name)) == id(t)]
            self.needs.append(_names(t for t in mine if t.name not in self.stored))
            self.weights.append(_names(t for t in mine if t.name in self.stored))
        self.inputs = frozenset(v.name for v in graph.input)
        self.outputs = tuple(v.name for v in graph.output)
        self.live = self._live()
        self._const: list[bool] = []
        self._sizes: list[bool] = []
        for number in range(len(self.nodes)):
            self._const.append(self._is_constant(number))
            self._sizes.append(self._makes_sizes(number))

    def label(self, number: int) -> str:
        """How a node is called in messages."""
        return node_label(self.nodes[number])

    def proto(self, number: int) -> NodeProto:
        """The node as the model has it; not to be changed."""
        found = self.model.origin(self.nodes[number])
        assert found is not None
        return found

    def makes(self, number: int) -> list[str]:
        """The names of the tensors that a node makes."""
        return [str(t.name) for t in self.nodes[number].outputs if t.name]

    def type_of(self, name: str) -> TypeInfo:
        """What is known of a tensor."""
        known = self.model.type_of(self.model.main.tensors[name])
        open_dims = known.shape is None or any(is_nameless(d) for d in known.shape)
        return better(known, self._hint(name)) if known.dtype is None or open_dims else known

    def is_constant(self, number: int) -> bool:
        """Whether a node computes the same whatever the inputs of the model are."""
        return self._const[number]

    def is_size(self, name: str) -> bool:
        """Whether a tensor is computed from sizes of other tensors, and has rank 1 at most."""
        return name in self.maker and self._sizes[self.maker[name]]

    def is_cheap(self, number: int) -> bool:
        """Whether a node may be computed in two parts: a constant, sizes, or a view of data."""
        node = self.nodes[number]
        view = is_standard(node) and node.op in _VIEWS and is_pure(node)
        return view or self._const[number] or self._sizes[number]

    def _is_constant(self, number: int) -> bool:
        if not is_pure(self.nodes[number]) or any(
            self.model.is_overridable(self.model.main.tensors[name])
            for name in self.weights[number]
        ):
            return False
        return all(n in self.maker and self._const[self.maker[n]] for n in self.needs[number])

    def _makes_sizes(self, number: int) -> bool:
        node = self.nodes[number]
        if not is_pure(node):
            return False
        if node.op in ("Shape", "Size"):
            return True
        if node.op not in _SIZES | _VIEWS or not self.needs[number]:
            return False
        if any((r := self._rank(name)) is None or r > 1 for name in self.makes(number)):
            return False
        made = [self.maker.get(name) for name in self.needs[number]]
        return all(m is not None and (self._sizes[m] or self._const[m]) for m in made)

    def _rank(self, name: str) -> int | None:
        shape = self.type_of(name).shape
        return None if shape is None else len(shape)

    def _live(self) -> frozenset[int]:
        """The nodes that an output depends on."""
        return frozenset(self.behind(self.outputs))

    def behind(self, tensors: Iterable[str]) -> set[int]:
        """The nodes that some tensors are computed by, near and far."""
        found: set[int] = set()
        todo = [n for n in tensors if n in self.maker]
        while todo:
            number = self.maker[todo.pop()]
            if number not in found:
                found.add(number)
                todo += [n for n in self.needs[number] if n in self.maker]
        return found


_ANONYMOUS = "unk__"
"""Start of the symbols that shape inference invents."""


def is_nameless(dim: Dim) -> bool:
    """Whether nothing is known of a size, or only a symbol that inference has invented."""
    return dim is None or (isinstance(dim, str) and dim.startswith(_ANONYMOUS))


def apart(info: TypeInfo) -> TypeInfo:
    """A type of another run of inference: its inventions are no symbols of ours."""
    if info.shape is None:
        return info
    dims = tuple(f"{_ANONYMOUS}apart_{d}" if d and is_nameless(d) else d for d in info.shape)
    return TypeInfo(info.dtype, dims)


def _names(tensors: Iterable[gs.Tensor]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(t.name) for t in tensors))


def stages(network: Network, cuts: Sequence[int]) -> dict[int, int]:
    """How many cuts in a row lie before each live node.

    A cut node of stage s runs after everything of stage s that is no cut node, and before all of
    stage s + 1; cuts of one stage do not depend on each other, unless nothing lies between them.
    """
    cut = frozenset(cuts)
    found: dict[int, int] = {}
    for number in range(len(network.nodes)):
        if number in network.live:
            before = [network.maker[n] for n in network.needs[number] if n in network.maker]
            found[number] = max((found[m] + (m in cut) for m in before), default=0)
    return found
