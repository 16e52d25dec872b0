"""GridSample: older names of two modes, and, where it did not exist, Gather and arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from onnx import NodeProto, TensorProto

from onnx_fix.lower.node import LowNode, Refused, Rule
from onnx_fix.lower.rules._steps import (
    counting,
    dims_of,
    dtype_name,
    integer,
    keep,
    known_dtype,
    known_rank,
    same,
    unsqueeze,
)
from onnx_fix.lower.rules._types import FLOATS
from onnx_fix.lower.rules.arithmetic import ending, round_even
from onnx_fix.lower.rules.split_slice import dim

_MODES = {"linear": "bilinear", "cubic": "bicubic", "nearest": "nearest"}
_INT64 = TensorProto.INT64
_ALPHA = -0.75


def _named_modes(low: LowNode) -> list[NodeProto]:
    """20 to 16: ``linear`` was ``bilinear`` and ``cubic`` was ``bicubic``; the input had rank 4.

    Other ranks are written out.
    """
    rank = low.rank(0) or low.rank(1)
    mode = str(low.attr("mode", "linear"))
    if mode not in _MODES:
        raise Refused(f"mode {mode} of GridSample has no name before opset 20")
    if rank is not None and rank != 4:
        return _written_out(low)
    return keep(low, widen=True, mode=_MODES[mode])


@dataclass(frozen=True)
class _Axis:
    """A spatial axis: its size as int64 and as float, and the position along it."""

    size: str
    length: str
    position: str


class _Sampler:
    """What the places of the grid are, and what is there."""

    def __init__(self, low: LowNode) -> None:
        self.low = low
        self._numbers: dict[float, str] = {}
        self.mode = str(low.attr("mode", "linear")).removeprefix("bi")
        self.padding = str(low.attr("padding_mode", "zeros"))
        self.aligned = bool(integer(low, "align_corners", 0))
        kinds = {known_dtype(low, 0), known_dtype(low, 1)}
        if not kinds <= FLOATS:
            names = ", ".join(sorted(dtype_name(k) for k in kinds - FLOATS))
            raise Refused(f"GridSample of {names} is not written in older ops")
        self.kind = int(TensorProto.DOUBLE if TensorProto.DOUBLE in kinds else TensorProto.FLOAT)
        rank = low.rank(0)
        self.count = (known_rank(low, 1) if rank is None else rank) - 2
        if self.mode == "cubic" and self.count != 2:
            raise Refused(f"mode cubic is not defined for inputs of rank {self.count + 2}")
        self.axes = [self._axis(i) for i in range(self.count)]

    def cast(self, name: str, index: int) -> str:
        """An input in the type of the computation."""
        done = known_dtype(self.low, index) == self.kind
        return name if done else self.low.add("Cast", name, to=self.kind)

    def number(self, value: float) -> str:
        """A constant in the type of the computation."""
        if value not in self._numbers:
            self._numbers[value] = self.low.const(value, self.kind)
        return self._numbers[value]

    def _axis(self, index: int) -> _Axis:
        low, known = self.low, dim(self.low, 0, index + 2)
        if known is not None:
            size, length = low.const(known, _INT64), self.number(known)
        else:
            at = low.const(index + 2, _INT64)
            size = low.add("Gather", low.add("Shape", low.input(0)), at, axis=0)
            length = low.add("Cast", size, to=self.kind)
        last = low.const(self.count - 1 - index, _INT64)
        place = low.add("Gather", low.input(1), last, axis=self.count + 1)
        place = low.add("Add", self.cast(place, 1), self.number(1))
        if self.aligned:
            whole = low.add("Sub", length, self.number(1))
            position = low.add("Mul", low.add("Div", place, self.number(2)), whole)
        else:
            doubled = low.add("Sub", low.add("Mul", place, length), self.number(1))
            position = low.add("Div", doubled, self.number(2))
        if self.mode == "nearest":
            position = round_even(low, position, self.kind)
        return _Axis(size, length, position)

    def clamped(self, x: str, axis: _Axis) -> str:
        """Moved to the first or last element."""
        low = self.low
        above = low.add("Max", x, self.number(0))
        return low.add("Min", above, low.add("Sub", axis.length, self.number(1)))

    def reflected(self, x: str, axis: _Axis) -> str:
        """Mirrored at the border as often as it takes: |x - first| modulo twice the range."""
        low = self.low
        first = self.number(0 if self.aligned else -0.5)
        span = axis.length
        if self.aligned:
            span = low.add("Max", low.add("Sub", span, self.number(1)), self.number(1))
        twice = low.add("Add", span, span)
        away = low.add("Abs", low.add("Sub", x, first))
        turns = low.add("Mul", low.add("Floor", low.add("Div", away, twice)), twice)
        rest = low.add("Sub", away, turns)
        return low.add("Add", first, low.add("Min", rest, low.add("Sub", twice, rest)))

    def neighbours(self, x: str) -> list[tuple[str, str]]:
        """The indices (as floats) next to a place, and their weights; empty for the weight 1."""
        low = self.low
        if self.mode == "nearest":
            return [(x, "")]
        floor = low.add("Floor", x)
        t = low.add("Sub", x, floor)
        if self.mode == "linear":
            after = low.add("Add", floor, self.number(1))
            return [(floor, low.add("Sub", self.number(1), t)), (after, t)]
        rest = low.add("Sub", self.number(1), t)
        weights = [self._far(t), self._near(t), self._near(rest), self._far(rest)]
        return [
            (low.add("Add", floor, self.number(i - 1)), weight) for i, weight in enumerate(weights)
        ]

    def _near(self, t: str) -> str:
        """((a + 2) t - (a + 3)) t^2 + 1."""
        low = self.low
        inner = low.add("Sub", low.add("Mul", t, self.number(_ALPHA + 2)), self.number(_ALPHA + 3))
        return low.add("Add", low.add("Mul", inner, low.add("Mul", t, t)), self.number(1))

    def _far(self, t: str) -> str:
        """((a u - 5 a) u + 8 a) u - 4 a with u = t + 1."""
        low = self.low
        u = low.add("Add", t, self.number(1))
        inner = low.add("Sub", low.add("Mul", u, self.number(_ALPHA)), self.number(5 * _ALPHA))
        inner = low.add("Add", low.add("Mul", inner, u), self.number(8 * _ALPHA))
        return low.add("Sub", low.add("Mul", inner, u), self.number(4 * _ALPHA))

    def indices(self, x: str, axis: _Axis) -> tuple[str, str]:
        """The index of an element that is there, and (for zeros) whether it was."""
        low = self.low
        there = ""
        if self.padding == "zeros":
            last = low.add("Sub", axis.length, self.number(1))
            before = low.add("Less", x, self.number(0))
            there = low.add("Not", low.add("Or", before, low.add("Greater", x, last)))
        elif self.padding == "reflection":
            x = self.reflected(x, axis)
        return low.add("Cast", self.clamped(x, axis), to=_INT64), there


def _written_out(low: LowNode) -> list[NodeProto]:
    """The op did not exist: neighbours are gathered from the elements in a row, and weighed.

    As runtimes do, places are rounded before anything beyond the border is mirrored or clamped;
    for the rest it is the same whether places or their neighbours are.
    """
    sampler = _Sampler(low)
    count, kind = sampler.count, sampler.kind
    last = [0, *range(2, count + 2), 1]
    data = low.add("Transpose", sampler.cast(low.input(0), 0), perm=last)
    channels = dims_of(low, low.input(0), [1])
    data = low.add("Reshape", data, low.add("Concat", low.const([-1], _INT64), channels, axis=0))
    around = [
        [(*sampler.indices(x, axis), weight) for x, weight in sampler.neighbours(axis.position)]
        for axis in sampler.axes
    ]
    batch = _batch(low, sampler)
    total = ""
    for corner in product(*around):
        flat = batch
        for (index, _, _), axis in zip(corner, sampler.axes, strict=True):
            flat = low.add("Add", low.add("Mul", flat, axis.size), index)
        value = low.add("Gather", data, flat, axis=0)
        there = [t for _, t, _ in corner if t]
        if there:
            mask = there[0]
            for other in there[1:]:
                mask = low.add("And", mask, other)
            mask = unsqueeze(low, mask, [count + 1])
            value = low.add("Where", mask, value, sampler.number(0))
        weights = [w for _, _, w in corner if w]
        if weights:
            weight = weights[0]
            for other in weights[1:]:
                weight = low.add("Mul", weight, other)
            value = low.add("Mul", value, unsqueeze(low, weight, [count + 1]))
        total = low.add("Add", total, value) if total else value
    low.rounds = True
    first = [0, count + 1, *range(1, count + 1)]
    if known_dtype(low, 0) == kind:
        return low.result(low.add("Transpose", total, perm=first))
    turned = low.add("Transpose", total, perm=first)
    return ending(low, "Cast", turned, to=known_dtype(low, 0))


def _batch(low: LowNode, sampler: _Sampler) -> str:
    """The number of each batch entry, of shape (N, 1, ...)."""
    if dim(low, 0, 0) == 1:
        return low.const(0, _INT64)
    numbers = counting(low, dims_of(low, low.input(0), [0]))
    return unsqueeze(low, numbers, list(range(1, sampler.count + 1)))


RULES: dict[tuple[str, int], Rule] = {
    ("GridSample", 22): same(widen=True),
    ("GridSample", 20): _named_modes,
    ("GridSample", 16): _written_out,
}
