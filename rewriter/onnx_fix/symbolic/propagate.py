"""Follow sizes through a model, from declared symbols to every tensor.

Numbers that an exporter wrote (elements of constants that steer shapes, dims of stored tensors that
may be tables) are unknowns on the way; what the nodes demand decides them (``solver``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnx_fix.errors import UsageError
from onnx_fix.model import Model
from onnx_fix.scope import Scope, is_standard
from onnx_fix.symbolic.rules import SHAPES, VALUES
from onnx_fix.symbolic.size import Size, parse_size, size
from onnx_fix.symbolic.solver import Hints, Solver
from onnx_fix.symbolic.step import ENDLESS, MOST, Shape, Step, Values, values_of
from onnx_fix.symbolic.stored import may_be_table

_TAKE_WEIGHTS = frozenset(
    (
        *("MatMul", "MatMulInteger", "MatMulNBits", "QLinearMatMul", "Gemm", "Einsum"),
        *("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv"),
        *("RNN", "GRU", "LSTM", "PRelu", "Gather", "QuantizeLinear", "DequantizeLinear"),
        *("LayerNormalization", "BatchNormalization", "GroupNormalization"),
        *("InstanceNormalization", "RMSNormalization"),
    )
)
"""Operators whose stored operands are weights, unless their numbers repeat themselves."""


KEPT = size("constant")
"""What the user says of a number that is always the same."""


@dataclass(frozen=True, slots=True)
class Place:
    """A number of the model that may derive from a dim.

    ``kind`` is ``input`` for element ``element`` (None for a scalar) of the constant that ``node``
    reads at ``index``; ``attribute`` for an attribute of it; ``dim`` for a dim of a stored tensor
    that ``node`` reads; ``declared`` for a dim of a network input that the user left a number.
    """

    kind: str
    node: gs.Node | None
    index: int
    element: int | None
    tensor: str
    attribute: str = ""

    def __str__(self) -> str:
        inner = "" if self.element is None else f"[{self.element}]"
        if self.kind == "declared":
            return f"{self.tensor}:{self.element}"
        if self.kind == "dim":
            return f"{self.tensor}:{self.element}"
        return f"{self.tensor or self.attribute}{inner}"


@dataclass
class Propagation:
    """The sizes of all tensors of a model.

    ``dynamic`` gives symbols to dims of network inputs, by input name and axis, over what the model
    declares. ``others`` gives, for constants that differ between exports, their arrays in the
    others, by the node (its identity) and the input that reads them, or its attribute.
    """

    model: Model
    dynamic: Mapping[tuple[str, int], str] = field(default_factory=dict)
    solver: Solver = field(default_factory=Solver)
    others: Mapping[tuple[int, int | str], Sequence[NDArray[np.generic]]] = field(
        default_factory=dict
    )
    places: dict[str, Place] = field(default_factory=dict)
    """By unknown."""
    shapes: dict[int, Shape | None] = field(default_factory=dict)
    values: dict[int, Values | None] = field(default_factory=dict)
    reads: dict[tuple[int, int], Values | None] = field(default_factory=dict)
    """What constants mean at the inputs that read them, by node (identity) and index."""
    attributes: dict[tuple[int, str, int | None], Size] = field(default_factory=dict)
    dims: dict[tuple[int, int], Shape] = field(default_factory=dict)
    """Dims of stored tensors at the inputs that read them, likewise: one that exporters merged may
    have a meaning for each reader."""
    axes: dict[str, Size] = field(default_factory=dict)
    """Sizes of the axes that unknowns are positions on."""
    parts: dict[str, Size] = field(default_factory=dict)
    """Sizes of the axes of which unknowns may be a part: how many of the largest, what is added."""
    assumed: Mapping[str, Size] = field(default_factory=dict)
    """What the user says that numbers are, by place."""
    heard: set[str] = field(default_factory=set)
    """Places of ``assumed`` that were met."""
    tables: bool = True
    """Whether dims of stored tensors may be sizes; else they are the numbers they are."""
    unfollowed: dict[str, list[str]] = field(default_factory=dict)
    """Nodes that no rule follows, by op."""

    def run(self) -> None:
        """Follow the main graph and everything inside it, then decide what can be decided."""
        self.follow()
        self.solver.solve()

    def follow(self) -> None:
        """Follow the main graph and everything inside it."""
        for tensor in self.model.main.graph.inputs:
            self.shapes[id(tensor)] = self._declared(tensor)
        self.scope(self.model.main)

    def scope(self, scope: Scope) -> None:
        """Follow the nodes of one scope."""
        standard = list(scope.nodes())
        for node in standard:
            if node.op != "Constant":
                self._follow(Step(self, scope, node))
        rest = tuple(scope.graph.nodes) if len(standard) < len(scope.graph.nodes) else ()
        for node in rest:
            if not is_standard(node) and self.model.alive(node):
                self._leave(Step(self, scope, node))

    def _follow(self, step: Step) -> None:
        node = step.node
        rule = SHAPES.get(node.op)
        if rule is None:
            self._leave(step)
            return
        shapes = list(rule(step) or ())
        for k, out in enumerate(node.outputs):
            shape = shapes[k] if k < len(shapes) else None
            self.shapes[id(out)] = self._checked(out, shape)
        value = VALUES.get(node.op)
        if value is not None:
            self.values[id(node.outputs[0])] = value(step)

    def _leave(self, step: Step) -> None:
        self.unfollowed.setdefault(step.node.op, []).append(step.label)
        for out in step.node.outputs:
            self.shapes[id(out)] = self.opaque_shape(out)

    def _checked(self, tensor: gs.Tensor, shape: Shape | None) -> Shape | None:
        """A shape as found, where it agrees with the static one; opaque where nothing was found."""
        static = self.model.type_of(tensor).shape
        if shape is None:
            return self.opaque_shape(tensor)
        if static is None:
            return shape
        if len(static) != len(shape):
            return self.opaque_shape(tensor)
        for axis, (was, found) in enumerate(zip(static, shape, strict=True)):
            if isinstance(was, int) and self._differs(found, was):
                shape = (*shape[:axis], self.opaque(tensor, axis), *shape[axis + 1 :])
        return shape

    def _differs(self, found: Size, number: int) -> bool:
        """Whether a size surely was another number."""
        hint = found.number
        if hint is None:
            hint = self.solver.hint(self.solver.now(found))
        return hint is not None and hint != number

    def nodes_of(self, op: str) -> list[gs.Node]:
        """The nodes of one operator, in all scopes."""
        return [n for s in self.model.scopes for n in s.graph.nodes if n.op == op]

    # -- what steps ask ---------------------------------------------------------------------------

    def shape(self, tensor: gs.Tensor, step: Step, index: int) -> Shape | None:
        """The sizes of a tensor that a node reads."""
        if self.is_constant(tensor):
            return self._stored(tensor, step, index)
        if id(tensor) not in self.shapes:
            self.shapes[id(tensor)] = self.opaque_shape(tensor)
        found = self.shapes[id(tensor)]
        return None if found is None else self.solver.all_now(found)

    def is_constant(self, tensor: gs.Tensor) -> bool:
        """Whether a tensor is an initializer or comes of a Constant node."""
        if isinstance(tensor, gs.Constant):
            return not self.model.is_overridable(tensor)
        producer = self.model.producer(tensor)
        return producer is not None and producer.op == "Constant"

    def array(self, tensor: gs.Tensor) -> NDArray[np.generic] | None:
        """The elements of a small constant."""
        return self.model.value_if_there(tensor, limit=MOST) if self.is_constant(tensor) else None

    def value(self, step: Step, index: int) -> Values | None:
        """The elements of an integer tensor as sizes; those of constants may be unknowns."""
        tensor = step.node.inputs[index]
        if self.is_constant(tensor):
            key = (id(step.node), index)
            if key not in self.reads:
                self.reads[key] = self._read(step, index, tensor)
            found = self.reads[key]
        else:
            found = self.values.get(id(tensor))
        if found is None:
            return None
        flat = tuple(found.reshape(-1))
        now = self.solver.all_now(flat)
        return found if now is flat else values_of(now).reshape(found.shape)

    def _read(self, step: Step, index: int, tensor: gs.Tensor) -> Values | None:
        array = self.array(tensor)
        if array is None or array.dtype.kind not in "iub":
            return None
        others = self.others.get((id(step.node), index), ())
        if any(o.shape != array.shape for o in others):
            return None
        rows = [array.reshape(-1), *(o.reshape(-1) for o in others)]
        out: list[Size] = []
        for k, number in enumerate(rows[0]):
            numbers = tuple(int(r[k]) for r in rows)
            element = k if array.ndim else None
            place = Place("input", step.node, index, element, str(tensor.name))
            out.append(self._unknown(int(number), numbers, place))
        return values_of(out).reshape(array.shape)

    def _unknown(self, number: int, numbers: Hints, place: Place) -> Size:
        """An unknown for a number that may be a size, else the number itself."""
        if self.assumed and str(place) in self.assumed:
            return self.said(str(place), number)
        if len(numbers) < self.solver.exports:
            # The others have the same number there.
            numbers = (number,) * self.solver.exports
        padded = number == 1 and place.node is not None and place.node.op == "Pad"
        could_be = padded or 1 < number < ENDLESS or len(set(numbers)) > 1
        if not could_be:
            return size(number)
        unknown = self.solver.fresh(numbers)
        assert unknown.symbol is not None
        self.places[unknown.symbol] = place
        return unknown

    def said(self, place: str, number: float) -> Size:
        """What the user says that the number at a place is.

        Raises:
            UsageError: it was another number at the export.
        """
        value = self.assumed[place]
        self.heard.add(place)
        if value == KEPT and KEPT.symbol not in self.solver.hints:
            return size(int(number))
        unnamed = value.symbols - set(self.solver.hints)
        if unnamed:
            raise UsageError(f"'{place}={value}': no dim is called {', '.join(sorted(unnamed))}")
        was = self.solver.hint(value)
        if was is not None and was != number:
            raise UsageError(f"'{place}={value}': that was {was} at the export, not {number:g}")
        return value

    def attribute(self, step: Step, name: str, element: int | None, number: int) -> Size:
        """An element of an attribute, which may be a size."""
        key = (id(step.node), name, element)
        if key not in self.attributes:
            place = Place("attribute", step.node, -1, element, "", name)
            others = self.others.get((id(step.node), name), ())
            flat = [o.reshape(-1) for o in others]
            numbers = (number, *(int(f[element or 0]) for f in flat if f.size > (element or 0)))
            self.attributes[key] = self._unknown(number, numbers, place)
        return self.solver.now(self.attributes[key])

    def _stored(self, tensor: gs.Tensor, step: Step, index: int) -> Shape | None:
        """The dims of a stored tensor; each may be the size of a table."""
        key = (id(step.node), index)
        if key not in self.dims:
            shape = self.model.type_of(tensor).shape
            if shape is None or not all(isinstance(d, int) for d in shape):
                array = self.model.value_if_there(tensor, limit=MOST)
                if array is None:
                    return None
                shape = array.shape
            numbers = tuple(d for d in shape if isinstance(d, int))
            self.dims[key] = self._dims_of(tensor, step, index, numbers)
        return self.solver.all_now(self.dims[key])

    def _dims_of(
        self, tensor: gs.Tensor, step: Step, index: int, shape: Sequence[int]
    ) -> tuple[Size, ...]:
        others = self.others.get((id(step.node), index), ())
        weight = not self.tables or (
            any(d > 1 for d in shape)
            and not others
            and step.node.op in _TAKE_WEIGHTS
            and not may_be_table(self.model, tensor)
        )
        if weight:
            return tuple(map(size, shape))
        dims = []
        for axis, number in enumerate(shape):
            numbers = (number, *(o.shape[axis] for o in others if o.ndim == len(shape)))
            place = Place("dim", step.node, index, axis, str(tensor.name))
            dims.append(self._unknown(number, numbers, place))
        return tuple(dims)

    # -- unknown sizes ----------------------------------------------------------------------------

    def opaque(self, tensor: gs.Tensor, axis: int) -> Size:
        """A size that nothing is known of but its number in the export."""
        static = self.model.type_of(tensor).shape
        number = static[axis] if static is not None and axis < len(static) else None
        return self.solver.fresh(number if isinstance(number, int) else None)

    def opaque_shape(self, tensor: gs.Tensor) -> Shape | None:
        """A shape of unknown sizes; None where the rank is not known."""
        static = self.model.type_of(tensor).shape
        if static is None:
            return None
        # A size of 1 that nothing makes larger is a number.
        return tuple(
            size(1) if d == 1 else self.opaque(tensor, axis) for axis, d in enumerate(static)
        )

    def _named(self, dim: str) -> Size:
        """The size that a declared dim names: a symbol, or arithmetic over known ones."""
        if not dim.isidentifier() and dim not in self.solver.hints:
            try:
                found = parse_size(dim)
            except UsageError:
                found = size(dim)
            if found.symbols <= set(self.solver.hints):
                return found
        self.solver.hints.setdefault(dim, (None,) * self.solver.exports)
        return size(dim)

    def _declared(self, tensor: gs.Tensor) -> Shape | None:
        static = self.model.type_of(tensor).shape
        if static is None:
            return None
        out: list[Size] = []
        for axis, dim in enumerate(static):
            symbol = self.dynamic.get((str(tensor.name), axis))
            if symbol is not None:
                out.append(size(symbol))
            elif isinstance(dim, str):
                out.append(self._named(dim))
            elif dim is None:
                out.append(self.solver.fresh(None))
            elif dim > 1:
                unknown = self.solver.fresh(dim)
                assert unknown.symbol is not None
                self.places[unknown.symbol] = Place("declared", None, -1, axis, str(tensor.name))
                out.append(unknown)
            else:
                out.append(size(dim))
        return tuple(out)
