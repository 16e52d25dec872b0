"""The pass ``replace-range``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, is_standard
from onnx_fix.target import TensorFacts

INT64 = int(TensorProto.INT64)
_INTEGERS = frozenset(
    {
        TensorProto.BOOL,
        TensorProto.INT8,
        TensorProto.INT16,
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.UINT8,
    }
)
_DIGITS = {int(TensorProto.FLOAT): 24, int(TensorProto.DOUBLE): 53, int(TensorProto.FLOAT16): 11}
"""Bits of a whole number that a floating-point type holds."""
_FINEST = 1 << 10
"""The finest fraction that bounds are multiplied out to; int32 has to hold what comes of it."""
_SAME = frozenset({"Identity", "Reshape", "Squeeze", "Unsqueeze"})
_ARITHMETIC = frozenset({"Add", "Mul", "Sub"})
_MOST_NODES = 24


@dataclass(frozen=True)
class ReplaceRange(Pass):
    """Write a Range of floating-point numbers as one of integers, where they are whole.

    Rules:

    1. Bounds are whole where they are cast from integers, whole constants, or sums, differences
       and products of such. Fractions like 1/2 or 0.125 in constants are multiplied out.
    2. Other bounds, where the model states the length of the output: the start, plus so many
       times the step.

    Before:
        limit = Cast <to = FLOAT> (size); y = Range (0.5, limit, 1)
    After:
        i = Range (1, Mul (size, 2), 2); y = Mul (Cast <to = FLOAT> (i), 0.5)
    Exact:
        Rule 1: yes, while the type holds the numbers: up to 2**24 in FLOAT, of the bounds
        multiplied out. Both run through the same exact numbers then, and have as many. Rule 2:
        rounding only, as runtimes may add the steps up. Left alone: bounds that rest on fractions
        known at run time only, whose number of elements integers do not give.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends(
            "dtype",
            "Range",
            "the bounds are cast from integers, or constants, or the model states the length",
        ),
        Mends("dtype_refused", "Range", "the model states the length of the output"),
    )

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("Range"):
            if scope.refused(node) and scope.dtype(node.inputs[0]) not in _INTEGERS:
                found = self._site(scope, node)
                stated = _stated(scope, node) if isinstance(found, Skip) else None
                yield stated or found

    def _site(self, scope: Scope, node: gs.Node) -> Rewrite | Skip:
        dtype = next((d for t in node.inputs if (d := scope.dtype(t)) is not None), None)
        if dtype is None:
            return Skip(node, "the element type of its bounds is not known")
        if dtype not in _DIGITS:
            name = TensorProto.DataType.Name(dtype)
            return Skip(node, f"{name} counts in steps that integers do not follow")
        whole = TensorFacts("y", INT64, (None,))
        real = TensorFacts("y", dtype, (None,))
        if not scope.accepts("Cast", [whole], {"to": dtype}, [real]):
            name = TensorProto.DataType.Name(dtype)
            return Skip(node, f"{scope.target.name} casts no integers to {name}")
        bounds = [_Whole(scope, _DIGITS[dtype]).of(t) for t in node.inputs]
        lacking = next((t for t, b in zip(node.inputs, bounds, strict=True) if b is None), None)
        if lacking is not None:
            return Skip(
                node,
                f"'{lacking.name}' is not seen to hold whole numbers: cast it from an integer, or "
                "make it a constant",
            )
        found = [b for b in bounds if b is not None]
        step = found[2]
        if isinstance(step, Fraction) and step == 0:
            return Skip(node, "its step is 0")
        parts = [b.denominator for b in found if isinstance(b, Fraction)]
        parts += [b.denominator() for b in found if isinstance(b, _Node)]
        scale = math.lcm(*parts)
        if scale > _FINEST:
            return Skip(
                node, f"its bounds are multiples of 1/{scale}, which int32 counts too few of"
            )
        e = Emitter(scope)
        whole_bounds = [_written(e, b, scale) for b in found]
        steps = e.cast(e("Range", *whole_bounds), dtype)
        if scale == 1:
            return e.rewrite(node, steps, note=_note(dtype))
        return e.rewrite(node, e("Mul", steps, e.const(1 / scale, dtype)), note=_note(dtype))


def _stated(scope: Scope, node: gs.Node) -> Rewrite | None:
    """The Range by its start and step alone, where the model states how long it is."""
    dtype, length = scope.dtype(node.outputs[0]), _length(scope, node.outputs[0])
    real = TensorFacts("y", dtype, (None,))
    if (
        dtype is None
        or length is None
        or not all(scope.accepts(op, [real, real], {}, [real]) for op in ("Add", "Mul"))
    ):
        return None
    start, _, step = node.inputs
    e = Emitter(scope)
    places = e.const(np.arange(length), dtype)
    result = e("Add", start, e("Mul", step, places))
    note = f"it has {length} elements, as the shape that is stated of its result has it"
    return e.rewrite(node, result, exactness=Exactness.ROUNDING, note=note)


def _length(scope: Scope, tensor: gs.Tensor) -> int | None:
    """The length of a vector, by what is known of it or of a Cast of it."""
    readers = scope.consumers(tensor)
    casts = [t for n in readers if n.op == "Cast" and is_standard(n) for t in n.outputs]
    for shape in map(scope.shape, (tensor, *casts)):
        if shape is not None and len(shape) == 1 and isinstance(shape[0], int):
            return shape[0]
    return None


def _note(dtype: int) -> str:
    name = TensorProto.DataType.Name(dtype)
    return f"exact while {name} holds the numbers: up to 2**{_DIGITS[dtype]}"


@dataclass(frozen=True)
class _Node:
    """Arithmetic of whole numbers: an integer tensor, or an op of two of these."""

    op: str
    parts: tuple[_Node | Fraction, ...] = ()
    source: gs.Tensor | None = None

    def denominator(self) -> int:
        """A number that makes it whole."""
        each = [p.denominator() if isinstance(p, _Node) else p.denominator for p in self.parts] or [
            1
        ]
        return math.prod(each) if self.op == "Mul" else math.lcm(*each)


class _Whole:
    """Follows a floating-point scalar back to integers."""

    def __init__(self, scope: Scope, digits: int) -> None:
        self._scope = scope
        self._digits = digits
        self._left = _MOST_NODES

    def of(self, tensor: gs.Tensor) -> _Node | Fraction | None:
        """What a scalar is, as integers and exact constants; None where it is neither."""
        scope = self._scope
        value = scope.folded(tensor)
        if value is not None:
            number = float(value.reshape(-1)[0].astype(np.float64)) if value.size == 1 else math.nan
            return Fraction(number) if math.isfinite(number) else None
        node = scope.producer(tensor)
        self._left -= 1
        if node is None or self._left < 0 or not is_standard(node):
            return None
        # A narrower type would round.
        if _DIGITS.get(scope.dtype(tensor) or 0, 0) < self._digits:
            return None
        if node.op == "Cast":
            source = node.inputs[0]
            if scope.dtype(source) in _INTEGERS:
                return _Node("Cast", source=source)
            return self.of(source)
        if node.op in _SAME:
            return self.of(node.inputs[0])
        if node.op == "Neg":
            given = self.of(node.inputs[0])
            return None if given is None else _Node("Mul", (given, Fraction(-1)))
        if node.op in _ARITHMETIC:
            parts = [self.of(t) for t in node.inputs]
            known = [p for p in parts if p is not None]
            return _Node(node.op, tuple(known)) if len(known) == len(parts) else None
        return None


def _written(e: Emitter, value: _Node | Fraction, scale: int) -> gs.Tensor:
    """A number times the scale, as an INT64 scalar."""
    if isinstance(value, Fraction):
        return e.const(np.asarray(int(value * scale), np.int64))
    if value.source is not None:
        whole: gs.Tensor = e.reshape(e.cast(value.source, INT64), [])
        return whole if scale == 1 else e("Mul", whole, e.const(np.asarray(scale, np.int64)))
    if value.op != "Mul":
        return e(value.op, *(_written(e, part, scale) for part in value.parts))
    first, second = value.parts
    # Each factor is multiplied out by what it needs itself, the rest goes to the second.
    own = first.denominator() if isinstance(first, _Node) else first.denominator
    return e("Mul", _written(e, first, own), _written(e, second, scale // own))
