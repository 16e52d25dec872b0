"""The pass ``replace-bit-shift``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix_passes._bits import CHUNK, Bits, bits_of, is_narrow


@dataclass(frozen=True)
class ReplaceBitShift(Pass):
    """Write BitShift as a product or a quotient by a power of two, where the target lacks it.

    Rules:

    1. To the left: a product, which wraps around. Numbers of fewer than 32 bits are worked on as
       INT32 and brought back to their range.
    2. To the right: a quotient, of a negative number x that of -1 - x, taken back after.
    3. The powers of two are constants where the shift is one, and are looked up otherwise. Those
       that do not fit INT32 are made of two or three.
    4. A shift by less than nothing, or by the number of bits or more, moves all bits out.

    It runs before the lowering, which has no better form for older operator sets.

    Before:
        y = BitShift <direction = "RIGHT"> (x, 3) of INT32
    After:
        negative = Less (x, 0)
        u = Where (negative, Sub (-1, x), x)
        q = Div (u, 8)
        y = Where (negative, Sub (-1, q), q)
    Exact:
        Yes. Left alone: UINT64, whose numbers no signed integers hold, and UINT32 where the target
        holds INT64 in 32 bits.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "BitShift", "the numbers are integers but not UINT64"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a product or a quotient for every BitShift that the target refuses."""
        for node in scope.nodes("BitShift"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    x, by = node.inputs
    dtype = scope.dtype(x) or scope.dtype(by) or scope.dtype(node.outputs[0])
    if has_unresolved(node, "direction"):
        return Skip(node, "direction is a parameter of the enclosing function; inline it first")
    if dtype is None:
        return Skip(node, "the element type is not known")
    e = Emitter(scope)
    bits = bits_of(e, dtype)
    if bits is None:
        kind = TensorProto.DataType.Name(dtype)
        return Skip(node, f"no signed integers hold all of {kind}; use INT64 in the network")
    if dtype == TensorProto.UINT32 and is_narrow(scope, bits):
        return Skip(node, f"{scope.target.name} holds INT64, which UINT32 needs, in 32 bits")
    powers = _powers(scope, bits, by)
    wide = bits.take(x)
    if attribute(node, "direction", str) == "LEFT":
        for power in powers:
            wide = e("Mul", wide, power)
        narrow = bits.width < (64 if bits.work == TensorProto.INT64 else 32)
        return e.rewrite(node, bits.give(bits.wrapped(wide) if narrow else wide))
    if not bits.signed:
        return e.rewrite(node, bits.give(_quotient(e, wide, powers)))
    minus, negative = bits.const(-1), e("Less", wide, bits.const(0))
    over = _quotient(e, e("Where", negative, e("Sub", minus, wide), wide), powers)
    return e.rewrite(node, bits.give(e("Where", negative, e("Sub", minus, over), over)))


def _quotient(e: Emitter, x: gs.Tensor, powers: list[gs.Tensor]) -> gs.Tensor:
    for power in powers:
        x = e("Div", x, power)
    return x


def _powers(scope: Scope, bits: Bits, by: gs.Tensor) -> list[gs.Tensor]:
    """Powers of two whose product is that of the shift; each fits INT32."""
    e, width = bits.e, bits.width
    given = scope.folded(by)
    if given is not None:
        rest = given.astype(np.int64)
        rest = np.where((rest < 0) | (rest > width), width, rest)
        found: list[gs.Tensor] = []
        while not found or (rest > 0).any():
            part = np.minimum(rest, CHUNK)
            found.append(bits.const(1 << part))
            rest = rest - part
        return found
    wide = bits.take(by)
    most = bits.const(width)
    outside = e("Or", e("Less", wide, bits.const(0)), e("Greater", wide, most))
    shift = e("Where", outside, most, wide)
    table = bits.const([1 << k for k in range(min(width, CHUNK) + 1)])
    found = []
    left = width
    while left > CHUNK:
        part = e("Where", e("Greater", shift, bits.const(CHUNK)), bits.const(CHUNK), shift)
        found.append(e("Gather", table, part, axis=0))
        shift = e("Sub", shift, part)
        left -= CHUNK
    return [*found, e("Gather", table, shift, axis=0)]
