"""Rows of a NonZero of bounded size, and the numbers of shapes that their size is one of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from onnx_fix.scope import Scope, attribute, has_unresolved, is_standard
from onnx_fix_passes._non_zero_points import numbers

SIZES = frozenset(
    {"Cast", "Concat", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze"}
)
"""Ops that pass sizes on; what else computes with a size wants the number itself."""
_DEPTH = 24
_MOST_SIZES = 64


@dataclass(eq=False)
class Source:
    """One NonZero that gets a bounded size. ``parent`` is what its mask has of another one."""

    node: gs.Node
    most: int
    parent: Rows | None = None
    gathers: list[gs.Node] = field(default_factory=list)
    outputs: list[tuple[gs.Tensor, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Rows:
    """The axis of a tensor along which the selected elements of a NonZero lie."""

    source: Source
    axis: int


Element = int | Source | None
"""One number of a shape: known, the size of a NonZero, or something else."""


class RowSizes:
    """Which tensors of a scope hold rows, and what small tensors of sizes hold."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._rows: dict[int, Rows] = {}
        self.sources: dict[int, Source] = {}

    def _owners(self, tensors: Iterable[gs.Tensor]) -> list[int]:
        """The NonZero nodes whose rows, or whose number of rows, tensors hold."""
        found: dict[int, None] = {}
        for tensor in tensors:
            rows = self._rows.get(id(tensor))
            if rows is not None:
                found[id(rows.source.node)] = None
            elif tensor.name and self.sources:
                for element in self.elements(tensor) or ():
                    if isinstance(element, Source):
                        found[id(element.node)] = None
        return list(found)

    def dims(self, tensor: gs.Tensor) -> tuple[int | str | None, ...] | None:
        """The shape that a tensor will have."""
        shape, rows = self._scope.shape(tensor), self._rows.get(id(tensor))
        if shape is None or rows is None or rows.axis >= len(shape):
            return shape
        most = rows.source.most
        return (*shape[: rows.axis], most, *shape[rows.axis + 1 :])

    def elements(self, tensor: gs.Tensor, depth: int = _DEPTH) -> list[Element] | None:
        """The numbers of a small tensor of sizes, or None where it is something else."""
        scope = self._scope
        value = scope.folded(tensor)
        if value is not None:
            small = value.dtype.kind in "iu" and value.size <= _MOST_SIZES
            return [int(v) for v in value.reshape(-1)] if small else None
        node = scope.producer(tensor)
        if node is None or depth == 0 or not is_standard(node):
            return None
        if node.op == "Shape":
            return self._shape(node)
        if node.op == "Concat":
            parts = [self.elements(t, depth - 1) for t in node.inputs]
            shapes = [scope.shape(t) for t in node.inputs]
            joined: list[Element] = []
            for part, shape in zip(parts, shapes, strict=True):
                if part is None and (shape is None or len(shape) != 1 or shape[0] != 1):
                    return None
                joined.extend([None] if part is None else part)
            return joined
        if node.op not in SIZES:
            return None
        inner = self.elements(node.inputs[0], depth - 1)
        if inner is None:
            return None
        if node.op == "Gather":
            index = scope.folded(node.inputs[1])
            if index is None or any(not -len(inner) <= int(i) < len(inner) for i in index.flat):
                return None
            return [inner[int(i)] for i in index.reshape(-1)]
        if node.op == "Slice":
            starts, ends = numbers(scope, node, 1, "starts"), numbers(scope, node, 2, "ends")
            steps = numbers(scope, node, 4, "steps", [1])
            if not starts or not ends or not steps or len(starts) != 1:
                return None
            last = None if steps[0] < 0 and ends[0] < -(2**31) else ends[0]
            return inner[slice(starts[0], last, steps[0])]
        return inner

    def _shape(self, node: gs.Node) -> list[Element] | None:
        shape, rows = self._scope.shape(node.inputs[0]), self._rows.get(id(node.inputs[0]))
        if shape is None or has_unresolved(node, "start", "end"):
            return None
        found: list[Element] = [d if isinstance(d, int) else None for d in shape]
        if rows is not None:
            found[rows.axis] = rows.source
        return found[slice(attribute(node, "start", int, 0), attribute(node, "end", int))]
