"""The pass ``move-bools``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix.target import TensorFacts

_MOVED: dict[str, tuple[int, int | None]] = {
    "Concat": (0, None),
    "Expand": (0, 1),
    "Gather": (0, 1),
    "Slice": (0, 1),
    "Split": (0, 1),
    "Tile": (0, 1),
    "Where": (1, 3),
}
"""Ops that move elements and compute nothing, and which of their inputs hold the elements."""


@dataclass(frozen=True)
class MoveBools(Pass):
    """Move BOOL as INT32 where the target moves none: Concat, Expand, Gather, Slice, Split, Tile
    and the branches of Where.

    Before:
        y = Slice (b, starts, ends)
    After:
        i = Cast <to = INT32> (b)
        s = Slice (i, starts, ends)
        y = Cast <to = BOOL> (s)
    Exact:
        Yes: true is 1 and false is 0, on the way there and back. Left alone: nodes that the target
        refuses with INT32 as well.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends("dtype_refused", op, "the elements are BOOL") for op in _MOVED
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a cast there and back for every BOOL that the target does not move."""
        for node in scope.nodes(*_MOVED):
            moved = node.inputs[slice(*_MOVED[node.op])]
            if not any(scope.dtype(t) == TensorProto.BOOL for t in moved):
                continue
            refused = any(
                f.kind == "dtype_refused" and (f.refuses or f.in_doubt)
                for f in scope.judge(node).findings
            )
            if refused or self.everywhere:
                yield _site(scope, node, moved)


def _site(scope: Scope, node: gs.Node, moved: list[gs.Tensor]) -> Rewrite | Skip:
    facts = scope.facts(node)
    elements = {id(t) for t in moved}
    inputs = [
        _integer(f) if id(t) in elements else f
        for t, f in zip(node.inputs, facts.inputs, strict=True)
    ]
    outputs = [_integer(f) for f in facts.outputs]
    changed = replace(facts, inputs=tuple(inputs), outputs=tuple(outputs))
    against = [f for f in scope.target.judge(changed).findings if f.kind == "dtype_refused"]
    if any(f.refuses for f in against):
        return Skip(node, f"{scope.target.name} takes no {node.op} of INT32 either")
    e = Emitter(scope)
    cast: dict[int, gs.Tensor] = {}
    for tensor in moved:
        if id(tensor) not in cast:
            cast[id(tensor)] = e.cast(tensor, TensorProto.INT32)
    made = e.many(
        node.op,
        len(node.outputs),
        *(cast.get(id(t), t) if t.name else None for t in node.inputs),
        **dict(node.attrs),
    )
    pairs = [
        (old, e.cast(new, TensorProto.BOOL))
        for old, new in zip(node.outputs, made, strict=True)
        if old.name
    ]
    return e.rewrite(node, pairs)


def _integer(facts: TensorFacts) -> TensorFacts:
    return replace(facts, dtype=int(TensorProto.INT32)) if facts.name else facts
