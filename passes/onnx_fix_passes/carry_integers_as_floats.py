"""The pass ``carry-integers-as-floats``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, has_unresolved, is_standard
from onnx_fix_passes._integer_ranges import MOVES, Range, range_of

_FLOAT = int(TensorProto.FLOAT)
_BOUNDS: dict[int, tuple[int, int]] = {
    int(getattr(TensorProto, f"{sign}INT{bits}")): (
        (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )
    for sign in ("", "U")
    for bits in (8, 16)
}
"""The integer types that FP32 carries in place of, and their ends."""

_INDICES = {"Flatten": 1, "Identity": 1, "MaxPool": 1, "Transpose": 1}
_MOVES = MOVES | {"Concat"}


@dataclass(frozen=True)
class CarryIntegersAsFloats(Pass):
    """Carry integers of 8 and 16 bits in FP32, where they came from floats.

    TensorRT computes in no such type: it takes INT8 between Q and DQ, and UINT8 at the ends of a
    network. Rules, for a Cast of FP32 to INT8, UINT8, INT16 or UINT16:

    1. A Cast of its result reads the floats, where these are provably whole numbers that the type
       holds (what Round and Clip made).
    2. An op that moves elements (Concat, Gather, MaxPool, Reshape, Slice, Split, Transpose ...) and
       that the target refuses with the type moves the floats, and the Cast goes behind it. So does
       one that moves constants of these types.
    3. ``Sub (Add (x, z), z)`` of a constant whole number z is x, where x is provably whole.

    Before:
        i = Cast <to = UINT8> (x)
        r = Reshape (i, shape)
        y = Cast <to = FLOAT> (r)
    After:
        y = Reshape (x, shape)
    Exact:
        Yes: FP32 holds every integer of 16 bits. Left alone: floats that may be fractions or
        out of range, ops that compute, and the Cast in front of an output of the network.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.CLEAN
    mends: ClassVar[tuple[Mends, ...]] = ()

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose floats wherever integers of few bits came from floats."""
        carried = _Carried(scope)
        for node in scope.nodes("Cast", "Sub", *_MOVES):
            if node.op == "Cast":
                found = _cast(scope, carried, node)
            elif node.op == "Sub":
                found = _shift(scope, node)
            else:
                found, moved = _move(scope, carried, node)
                if found is not None:
                    yield found
                    carried.take(moved)
                continue
            if found is not None:
                yield found


class _Carried:
    """Where the FP32 numbers are that tensors of few bits were cast from."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._moved: dict[int, tuple[gs.Tensor, gs.Tensor, Range]] = {}

    def take(self, moved: list[tuple[gs.Tensor, gs.Tensor, Range]]) -> None:
        """Remember casts of this run, whose types nobody has inferred yet, once they are made."""
        for tensor, floats, known in moved:
            if self._cast_from(tensor) is floats:
                self._moved[id(tensor)] = tensor, floats, known

    def _cast_from(self, tensor: gs.Tensor) -> gs.Tensor | None:
        node = self.scope.producer(tensor)
        if node is None or node.op != "Cast" or not is_standard(node):
            return None
        return node.inputs[0]

    def source(self, tensor: gs.Tensor) -> tuple[gs.Tensor, Range] | None:
        """The floats, where they are whole numbers that the type of the tensor holds."""
        if id(tensor) in self._moved:
            return self._moved[id(tensor)][1:]
        source, dtype = self._cast_from(tensor), self.scope.dtype(tensor)
        if source is None or dtype not in _BOUNDS or self.scope.dtype(source) != _FLOAT:
            return None
        known = range_of(self.scope, source)
        return (source, known) if known.within(*_BOUNDS[dtype]) else None


def _cast(scope: Scope, carried: _Carried, node: gs.Node) -> Rewrite | None:
    """Rule 1."""
    found = carried.source(node.inputs[0])
    to = node.attrs.get("to")
    if found is None or not isinstance(to, int):
        return None
    source, known = found
    if to in _BOUNDS and not known.within(*_BOUNDS[to]):
        return None
    e = Emitter(scope)
    return e.rewrite(node, source if to == _FLOAT else e.cast(source, to))


_Moved = list[tuple[gs.Tensor, gs.Tensor, Range]]


def _move(scope: Scope, carried: _Carried, node: gs.Node) -> tuple[Rewrite | None, _Moved]:
    """Rule 2; also which outputs are cast from what."""
    count = len(node.inputs) if node.op == "Concat" else 1
    moved = node.inputs[:count]
    dtype = scope.dtype(moved[0]) if moved else None
    if dtype not in _BOUNDS or dtype is None or has_unresolved(node, *node.attrs):
        return None, []
    if not any(f.refuses or f.in_doubt for f in scope.judge(node).findings):
        return None, []
    outputs = [t for t in node.outputs if t.name]
    more = node.op in _INDICES and len(outputs) > _INDICES[node.op]
    if scope.constness(node.outputs[0]) != "runtime" or more:
        return None, []
    e = Emitter(scope)
    floats: list[gs.Tensor] = []
    ranges: list[Range] = []
    for tensor in moved:
        value = scope.constant(tensor, limit=None)
        found = carried.source(tensor)
        if value is not None:
            floats.append(e.const(value.astype(np.float32)))
            low, high = _BOUNDS[dtype]
            ranges.append(Range(low, high, True))
        elif found is not None:
            floats.append(found[0])
            ranges.append(found[1])
        else:
            return None, []
    made = e.many(
        node.op,
        len(node.outputs),
        *floats,
        *(t if t.name else None for t in node.inputs[count:]),
        **dict(node.attrs),
    )
    known = Range(min(r.low for r in ranges), max(r.high for r in ranges), True)
    named = [(old, new) for old, new in zip(node.outputs, made, strict=True) if old.name]
    pairs = [(old, e.cast(new, dtype)) for old, new in named]
    return e.rewrite(node, pairs), [(old, new, known) for old, new in named]


def _shift(scope: Scope, node: gs.Node) -> Rewrite | None:
    """Rule 3."""
    inner = scope.producer(node.inputs[0])
    if inner is None or inner.op != "Add" or not is_standard(inner):
        return None
    taken = scope.folded(node.inputs[1])
    added = scope.folded(inner.inputs[1])
    if taken is None or added is None or taken.size != 1 or scope.dtype(node.inputs[0]) != _FLOAT:
        return None
    if added.size != 1 or taken.reshape(-1)[0] != added.reshape(-1)[0]:
        return None
    if scope.shape(inner.inputs[0]) is None or taken.ndim or added.ndim:
        return None
    ends = _BOUNDS[int(TensorProto.INT16)]
    known = range_of(scope, inner.inputs[0])
    shift = range_of(scope, inner.inputs[1])
    if not (known.within(2 * ends[0], 2 * ends[1]) and shift.within(2 * ends[0], 2 * ends[1])):
        return None
    return Emitter(scope).rewrite(node, inner.inputs[0])
