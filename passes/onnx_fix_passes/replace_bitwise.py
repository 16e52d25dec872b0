"""The pass ``replace-bitwise``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix.target import TensorFacts
from onnx_fix_passes._bits import Bits, bits_of, is_narrow, runs

_MOST_RUNS = 4
_LOW = 31
"""Bits whose power of two is above INT32 where they are reached."""
_KNOWN = "the ranks are known, and the numbers are integers but not UINT64"


@dataclass(frozen=True)
class ReplaceBitwise(Pass):
    """Write BitwiseAnd, BitwiseOr, BitwiseXor and BitwiseNot by arithmetic, where the target lacks
    them.

    Rules:

    1. BitwiseNot: -1 - x, for unsigned numbers the greatest number less x.
    2. One constant number whose ones stand in few runs: BitwiseAnd is the remainder by the power
       behind a run less that by the power before it, for each run. What it has is taken out and the
       constant put in (BitwiseOr), or what is left of the constant (BitwiseXor).
    3. Otherwise the bits stand along a new last axis: quotients by powers of two, modulo 2. They
       are multiplied, compared or subtracted, weighted, and summed up again; the sign apart. It
       needs memory for as many numbers as there are bits.

    It runs before the lowering, which writes rule 3 by MatMul.

    Before:
        y = BitwiseAnd (x, 255)
    After:
        y = Mod (x, 256)
    Exact:
        Yes. Left alone: UINT64; INT64 by rule 3 where the target holds it in 32 bits; unknown
        ranks.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = (
        *(
            Mends("no_importer", op, _KNOWN)
            for op in ("BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor")
        ),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose arithmetic for every op on bits that the target refuses."""
        for node in scope.nodes("BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    dtypes = [scope.dtype(t) for t in (*node.inputs, *node.outputs)]
    dtype = next((d for d in dtypes if d is not None), None)
    if dtype is None:
        return Skip(node, "the element type is not known")
    e = Emitter(scope)
    bits = bits_of(e, dtype)
    if bits is None:
        kind = TensorProto.DataType.Name(dtype)
        return Skip(node, f"no signed integers hold all of {kind}; use INT64 in the network")
    if node.op == "BitwiseNot":
        most = bits.const(-1 if bits.signed else (1 << bits.width) - 1)
        return e.rewrite(node, bits.give(e("Sub", most, bits.take(node.inputs[0]))))
    for x, mask in (node.inputs, node.inputs[::-1]):
        short = _by_constant(scope, bits, node, x, mask)
        if short is not None:
            return short
    return _by_bits(scope, bits, node)


# -- rule 2 ----------------------------------------------------------------------------------------


def _by_constant(
    scope: Scope, bits: Bits, node: gs.Node, x: gs.Tensor, mask: gs.Tensor
) -> Rewrite | None:
    value, rank = scope.folded(mask), scope.rank(x)
    if value is None or value.size == 0 or (value != value.flat[0]).any():
        return None
    if value.ndim and (value.size > 1 or rank is None or value.ndim > rank):
        return None
    number = int(value.reshape(-1)[0])
    found = runs(number & (1 << bits.width) - 1, bits.width)
    ends = {k for run in found for k in run} - {0, bits.width}
    if len(found) > _MOST_RUNS or (is_narrow(scope, bits) and max(ends, default=0) >= _LOW):
        return None
    e, wide = bits.e, bits.take(x)
    held = _masked(bits, wide, found)
    if node.op == "BitwiseAnd":
        return e.rewrite(node, bits.give(held))
    constant = bits.const(number)
    cleared = e("Sub", wide, held)
    added = constant if node.op == "BitwiseOr" else e("Sub", constant, held)
    return e.rewrite(node, bits.give(e("Add", cleared, added)))


def _masked(bits: Bits, x: gs.Tensor, found: list[tuple[int, int]]) -> gs.Tensor:
    """The bits of some runs; the others are 0."""
    total: gs.Tensor | None = None
    for low, high in found:
        part = _below(bits, x, high)
        if low:
            part = bits.e("Sub", part, _below(bits, x, low))
        total = part if total is None else bits.e("Add", total, part)
    return bits.e("Mul", x, bits.const(0)) if total is None else total


def _below(bits: Bits, x: gs.Tensor, bit: int) -> gs.Tensor:
    """The number of the bits below one, the whole number where that is the width."""
    if bit == bits.width:
        return x
    if bit == bits.width - 1 and bits.signed:
        return _without_sign(bits, x, bits.e("Less", x, bits.const(0)))
    return bits.modulo(x, 1 << bit)


def _without_sign(bits: Bits, x: gs.Tensor, negative: gs.Tensor) -> gs.Tensor:
    """The number of all bits but that of the sign."""
    least = bits.const(-1 << (bits.width - 1))
    return bits.e("Where", negative, bits.e("Sub", x, least), x)


# -- rule 3 ----------------------------------------------------------------------------------------


def _by_bits(scope: Scope, bits: Bits, node: gs.Node) -> Rewrite | Skip:
    ranks = [scope.rank(t) for t in node.inputs]
    if is_narrow(scope, bits):
        return Skip(
            node, f"{scope.target.name} holds INT64 in 32 bits; cast to INT32 in the network"
        )
    known = [r for r in ranks if r is not None]
    if len(known) < len(ranks):
        return Skip(node, "the rank of an input is not known")
    longer = TensorFacts("bits", bits.work, (None,) * (max(known) + 1))
    if not scope.accepts("Mul", [longer, longer], outputs=[longer]):
        return Skip(
            node, f"{scope.target.name} takes no further axis for the bits; flatten the tensor"
        )
    e = bits.e
    count = bits.width - bits.signed
    # The sums of both halves are exact in double precision, in which onnxruntime adds.
    halves = [min(count, 32), count - min(count, 32)]
    planes, signs = [], []
    for tensor, rank in zip(node.inputs, known, strict=True):
        x = bits.take(tensor)
        if bits.signed:
            negative = e("Less", x, bits.const(0))
            signs.append(negative)
            x = _without_sign(bits, x, negative)
        column = e.unsqueeze(x, [rank])
        powers = bits.const([1 << k for k in range(count)])
        planes.append(bits.modulo(e("Div", column, powers), 2))
    both = _of_planes(bits, node.op, *planes)
    total: gs.Tensor | None = None
    start = 0
    for size in halves:
        if size:
            weights = bits.const([1 << k if start <= k < start + size else 0 for k in range(count)])
            weighted = e("Mul", both, weights)
            part = e.reduce("ReduceSum", weighted, [max(known)])
            total = part if total is None else e("Add", total, part)
        start += size
    assert total is not None
    if not bits.signed:
        return e.rewrite(node, bits.give(total))
    least = bits.const(-1 << (bits.width - 1))
    negative = _of_signs(e, node.op, *signs)
    return e.rewrite(node, bits.give(e("Where", negative, e("Add", total, least), total)))


def _of_planes(bits: Bits, op: str, a: gs.Tensor, b: gs.Tensor) -> gs.Tensor:
    e = bits.e
    if op == "BitwiseXor":
        apart = e("Sub", a, b)
        return e("Mul", apart, apart)
    both = e("Mul", a, b)
    return both if op == "BitwiseAnd" else e("Sub", e("Add", a, b), both)


def _of_signs(e: Emitter, op: str, a: gs.Tensor, b: gs.Tensor) -> gs.Tensor:
    if op == "BitwiseXor":
        return e("And", e("Or", a, b), e("Not", e("And", a, b)))
    return e("And" if op == "BitwiseAnd" else "Or", a, b)
