"""What the values of a tensor rest on, walked backwards through a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnx_fix.target.facts import Origin

if TYPE_CHECKING:
    from onnx_fix.scope import Scope

MOST_NODES = 64
"""Nodes that are walked before the search is given up."""

_SHAPE_ONLY = frozenset({"Shape", "Size"})
"""Ops whose output does not rest on the values of their input."""


def origin_of(scope: Scope, tensor: gs.Tensor) -> Origin | None:
    """The ops between a tensor and what it rests on, and the element types of network inputs.

    None where the way back is long, or leads to an input of a body or function.
    """
    ops: set[str] = set()
    dtypes: set[int] = set()
    seen: set[int] = set()
    left = [tensor]
    while left:
        current = left.pop()
        if not current.name or id(current) in seen:
            continue
        seen.add(id(current))
        node = scope.producer(current)
        if node is None:
            if isinstance(current, gs.Constant):
                continue
            dtype = scope.dtype(current)
            if dtype is None or not scope.model.is_input(current) or scope.kind != "main":
                return None
            dtypes.add(dtype)
            continue
        if node.op == "Constant":
            continue
        ops.add(node.op)
        if len(seen) > MOST_NODES or any(isinstance(v, gs.Graph) for v in node.attrs.values()):
            return None
        if node.op not in _SHAPE_ONLY:
            left += node.inputs
    return Origin(frozenset(ops), frozenset(dtypes))
