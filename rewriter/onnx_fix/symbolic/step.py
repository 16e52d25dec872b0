"""What a rule sees of one node: the sizes of its inputs, and the numbers of its constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnx_fix.scope import Scope, node_label
from onnx_fix.symbolic.size import Size, SizeLike, size

if TYPE_CHECKING:
    from onnx_fix.symbolic.propagate import Propagation

Shape = tuple[Size, ...]
"""Sizes of a tensor."""

Values = NDArray[np.object_]
"""The elements of a small integer tensor, as sizes."""

MOST = 64
"""Tensors of more elements than this are not followed as values."""

ENDLESS = 10**9
"""Numbers from here on stand for "to the end": JAX writes 10**9, others the largest integer."""


@dataclass(slots=True)
class Step:
    """One node and what is known of its inputs.

    Rules return the shapes of the outputs, None for a tensor of which nothing is known, and demand
    that sizes be equal with ``same``.
    """

    owner: Propagation
    scope: Scope
    node: gs.Node

    @property
    def opset(self) -> int:
        """The operator set that the node is written in."""
        return self.scope.opset

    @property
    def label(self) -> str:
        """How the node is called in reports."""
        return node_label(self.node)

    # -- inputs -----------------------------------------------------------------------------------

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.node.inputs) and bool(self.node.inputs[index].name)

    def shape(self, index: int = 0) -> Shape | None:
        """The sizes of an input."""
        if not self.has(index):
            return None
        return self.owner.shape(self.node.inputs[index], self, index)

    def rank(self, index: int = 0) -> int | None:
        """The rank of an input."""
        shape = self.shape(index)
        return None if shape is None else len(shape)

    def values(self, index: int) -> Values | None:
        """The elements of a small integer input, as sizes."""
        return self.owner.value(self, index) if self.has(index) else None

    def all_values(self) -> list[Values] | None:
        """The elements of all inputs; None where those of one are not followed.

        Constants are taken for sizes only where everything else is.
        """
        owner, found = self.owner, {}
        order = sorted(range(len(self.node.inputs)), key=self._is_constant)
        for index in order:
            values = owner.value(self, index)
            if values is None:
                return None
            found[index] = values
        return [found[k] for k in range(len(found))]

    def _is_constant(self, index: int) -> bool:
        return self.owner.is_constant(self.node.inputs[index])

    def value(self, index: int) -> Shape | None:
        """The elements of a small integer input of rank 0 or 1, as sizes."""
        found = self.values(index)
        return None if found is None or found.ndim > 1 else tuple(found.reshape(-1))

    def numbers(self, index: int) -> list[int] | None:
        """The elements of a small constant input that is no size: axes, permutations, modes."""
        array = self.array(index)
        if array is None or array.dtype.kind not in "iub" or array.ndim > 1:
            return None
        return [int(v) for v in array.reshape(-1)]

    def array(self, index: int) -> NDArray[np.generic] | None:
        """A small constant input."""
        if not self.has(index):
            return None
        return self.owner.array(self.node.inputs[index])

    # -- attributes -------------------------------------------------------------------------------

    def number(self, name: str, default: int) -> int:
        """An integer attribute."""
        value = self.node.attrs.get(name, default)
        return value if isinstance(value, int) else default

    def ints(self, name: str) -> list[int] | None:
        """A list attribute."""
        value = self.node.attrs.get(name)
        return [int(v) for v in value] if isinstance(value, Sequence) else None

    def text(self, name: str, default: str = "") -> str:
        """A string attribute."""
        value = self.node.attrs.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def axes(self, index: int) -> list[int] | None:
        """Axes by attribute or input; None where there are none, or none that is constant."""
        found = self.ints("axes")
        return found if found is not None else self.numbers(index)

    # -- sizes ------------------------------------------------------------------------------------

    def same(self, a: SizeLike, b: SizeLike) -> Size:
        """Demand that two sizes be equal."""
        return self.owner.solver.same(size(a), size(b), self.label)

    def now(self, value: SizeLike) -> Size:
        """A size by what is known so far."""
        return self.owner.solver.now(size(value))

    def hint(self, value: SizeLike) -> int | None:
        """The number that a size was in the export."""
        return self.owner.solver.hint(self.now(value))

    def attribute(self, name: str, element: int | None, number: int) -> Size:
        """An element of an attribute that is a size."""
        return self.owner.attribute(self, name, element, number)

    def note_axis(self, value: Size, dim: Size) -> None:
        """Say that an unknown is a position on an axis of size ``dim``."""
        if value.symbol is not None:
            self.owner.axes.setdefault(value.symbol, dim)

    def note_part(self, value: Size, dim: Size) -> None:
        """Say that an unknown may be a part of ``dim``, or what it is padded by."""
        if value.symbol is not None:
            self.owner.parts.setdefault(value.symbol, dim)

    def fresh(self, output: int, axis: int) -> Size:
        """A size that is not followed; its number is that of the static shape."""
        return self.owner.opaque(self.node.outputs[output], axis)

    def opaque(self, output: int = 0) -> Shape | None:
        """The shape of an output of which only the rank is known."""
        return self.owner.opaque_shape(self.node.outputs[output])

    def broadcast(self, *shapes: Shape | None) -> Shape | None:
        """The shape that shapes broadcast to. Sizes that were not 1 must be equal."""
        given = [s for s in shapes if s is not None]
        if len(given) < len(shapes):
            return None
        if given and all(shape == given[0] for shape in given[1:]):
            return self.owner.solver.all_now(given[0])
        rank = max((len(s) for s in given), default=0)
        out: list[Size] = []
        for axis in range(-rank, 0):
            found = size(1)
            for shape in given:
                if len(shape) >= -axis:
                    found = self.wider(found, shape[axis])
            out.append(found)
        return tuple(out)

    def wider(self, a: Size, b: Size) -> Size:
        """What two sizes broadcast to."""
        now = self.owner.solver.now
        a, b = now(a), now(b)
        if a == b or b == 1:
            return a
        if a == 1:
            return b
        left, right = self.hint(a), self.hint(b)
        if left == 1 and right != 1:
            return b
        if right == 1 and left != 1:
            return a
        return self.same(a, b)


def normalized(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    return axis + rank if axis < 0 else axis


def values_of(sizes: Sequence[Size]) -> Values:
    """Sizes as a 1-D array of objects."""
    found = np.empty(len(sizes), dtype=object)
    found[:] = list(sizes)
    return found
