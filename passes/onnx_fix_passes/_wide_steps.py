"""The nodes that are written into one graph in the place of others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, numpy_helper

from onnx_fix.functions import bodies_of
from onnx_fix.scope import Scope
from onnx_fix.sign import sign
from onnx_fix.target import TensorFacts
from onnx_fix_passes._wide_types import Carrier


class Names:
    """The names that a model has, and new ones."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken
        self._counts: dict[str, int] = {}

    @classmethod
    def of(cls, graph: GraphProto) -> Names:
        """The names of all tensors and nodes of a graph, and of those inside it."""
        taken: set[str] = set()
        graphs = [graph]
        while graphs:
            inner = graphs.pop()
            taken.update(v.name for v in (*inner.input, *inner.output))
            taken.update(t.name for t in inner.initializer)
            taken.update(s.values.name for s in inner.sparse_initializer)
            for node in inner.node:
                taken.update((node.name, *node.output))
                graphs.extend(bodies_of(node))
        return cls(taken)

    def fresh(self, base: str) -> str:
        """A name that nothing has: the base itself, or with a number."""
        name = base
        while name in self._taken:
            self._counts[base] = self._counts.get(base, 0) + 1
            name = f"{base}_{self._counts[base]}"
        self._taken.add(name)
        return name


class Steps:
    """Collects the nodes of one graph, new constants included.

    ``label`` and ``origin`` are those of the node that is being written otherwise.
    """

    def __init__(self, scope: Scope, graph: GraphProto, names: Names, pass_name: str) -> None:
        self.scope = scope
        self.nodes: list[NodeProto] = []
        self._graph = graph
        self._names = names
        self._pass_name = pass_name
        self._ir_version = scope.model.proto.ir_version
        self._constants: dict[tuple[int, tuple[int, ...], bytes], str] = {}
        self._first: list[NodeProto] = []
        self._origin: NodeProto | None = None
        self._label = ""
        self._takes_mod: dict[int, bool] = {}

    def begin(self, origin: NodeProto, label: str) -> None:
        """From now on nodes are written in the place of this one."""
        self._origin, self._label = origin, label

    def all(self) -> list[NodeProto]:
        """Every node, in order."""
        return [*self._first, *self.nodes]

    def fresh(self, base: str) -> str:
        """A name for a tensor or node that nothing has."""
        return self._names.fresh(base)

    def const(self, values: object, dtype: int) -> str:
        """The name of a constant; equal ones are made once in a graph."""
        kind = onnx.helper.tensor_dtype_to_np_dtype(dtype)
        array: NDArray[np.generic] = np.asarray(values, kind)
        key = (dtype, array.shape, array.tobytes())
        if key not in self._constants:
            name = self.fresh(f"{self._label}/constant")
            self._constants[key] = name
            tensor = numpy_helper.from_array(array, name)
            if self._ir_version >= 4:
                self._graph.initializer.append(tensor)
            else:
                node = onnx.helper.make_node("Constant", [], [name], name, value=tensor)
                self._first.append(self._signed(node))
        return self._constants[key]

    def add(self, op: str, *inputs: str, out: str = "", **attrs: int) -> str:
        """One node with one output, whose name is given back."""
        made = out or self.fresh(f"{self._label}/{op}")
        name = self.fresh(f"{self._label}/{op}") if out else made
        node = onnx.helper.make_node(op, list(inputs), [made], name)
        node.attribute.extend(onnx.helper.make_attribute(k, v) for k, v in attrs.items())
        self.nodes.append(self._signed(node))
        return made

    def cast(self, x: str, given: int, to: int, out: str = "") -> str:
        """Another element type; nothing, or an Identity, where it is the same."""
        if given != to:
            return self.add("Cast", x, out=out, to=to)
        return self.add("Identity", x, out=out) if out else x

    def keep(self, node: NodeProto) -> None:
        """A node that stands as it is, or with other types."""
        self.nodes.append(node)

    def _signed(self, node: NodeProto) -> NodeProto:
        if self._origin is not None:
            node.metadata_props.extend(self._origin.metadata_props)
        where = f"{self.scope.path}:{self._label}" if self.scope.path else self._label
        sign(node, pass_name=self._pass_name, came_from=where, ir_version=self._ir_version)
        return node

    # -- numbers that start again at the other end -------------------------------------------------

    def wrap(self, x: str, carrier: Carrier, out: str, low: int | None = None) -> str:
        """The number of the type that is equal modulo the number of its values.

        ``low`` is the least that ``x`` can be, where that is known: a division then does where the
        target lacks Mod.
        """
        kind, span = carrier.to, carrier.span
        if self._mod(kind):
            moved = self._plus(x, -carrier.low, kind)
            rest = self.add("Mod", moved, self.const(span, kind), out="" if carrier.low else out)
            return self._plus(rest, carrier.low, kind, out)
        if low is not None:
            turns = max(0, -(-(carrier.low - low) // span))
            rest = self._rest(
                self._plus(x, turns * span - carrier.low, kind),
                span,
                kind,
                "" if carrier.low else out,
            )
            return self._plus(rest, carrier.low, kind, out)
        either = self._rest(self._plus(x, -carrier.low, kind), span, kind)
        moved = self.add("Add", either, self.const(span, kind))
        rest = self._rest(moved, span, kind, "" if carrier.low else out)
        return self._plus(rest, carrier.low, kind, out)

    def _plus(self, x: str, number: int, kind: int, out: str = "") -> str:
        return self.add("Add", x, self.const(number, kind), out=out) if number else x

    def _rest(self, x: str, span: int, kind: int, out: str = "") -> str:
        """What a division towards zero leaves."""
        by = self.const(span, kind)
        whole = self.add("Mul", self.add("Div", x, by), by)
        return self.add("Sub", x, whole, out=out)

    def _mod(self, kind: int) -> bool:
        if kind not in self._takes_mod:
            facts = [TensorFacts("a", kind, (1,)), TensorFacts("b", kind, (), "initializer")]
            takes = self.scope.accepts("Mod", facts, {}, [TensorFacts("y", kind, (1,))])
            self._takes_mod[kind] = takes and self.scope.opset >= 10
        return self._takes_mod[kind]


def other_attribute(node: NodeProto, name: str, value: object) -> None:
    """Give an attribute of a node another value."""
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])


def converted(tensor: TensorProto, carrier: Carrier) -> TensorProto:
    """A stored tensor in the type of its carrier."""
    values = carrier.of(np.asarray(numpy_helper.to_array(tensor)))
    return numpy_helper.from_array(values, tensor.name)


def renamed(names: Sequence[str], places: dict[int, str]) -> list[str]:
    """Names with others in some places."""
    return [places.get(place, name) for place, name in enumerate(names)]
