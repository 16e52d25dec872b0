"""The pass ``integer-shape-arithmetic``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, has_unresolved, is_standard
from onnx_fix.signs import Signs
from onnx_fix.target.facts import TensorFacts
from onnx_fix_passes._size_programs import LARGEST, Link, NotWhole, Program, by_chain, program_of

_KIND = "float_shape_tensor"
_INTEGERS = (TensorProto.INT32, TensorProto.INT64)
_FLOATS: dict[int, np.dtype[np.generic]] = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.DOUBLE: np.dtype(np.float64),
}
_MOVES = frozenset(
    {
        "Concat",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Reshape",
        "Slice",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
"""Ops that put elements elsewhere and compute nothing."""

_BY_ITSELF = frozenset({"Ceil", "Floor", "Neg", "Round"})
_WITH_CONSTANT = frozenset({"Add", "Div", "Mul", "Sub"})
_WHOLE = frozenset({"Ceil", "Floor", "Round"})
_MOST_ELEMENTS = 64
_DEEP = 200


@dataclass(frozen=True)
class IntegerShapeArithmetic(Pass):
    """Compute sizes with integers where the export computes them with floats.

    Before: `f = Cast <to = 1> (h)  m = Mul (f, {1.5})  r = Floor (m)  y = Cast <to = 7> (r)`
    After: `p = Mul (h, {3})  y = Div (p, {2})`
    Exact: yes, up to the number that the note says (at least 1048576): a rewrite is proposed where
    floats and integers were tried for every number up to there and agree.
    Since: 0.1

    Only where the results become sizes. A constant is read as the simplest fraction that rounds
    to it.
    """

    mends: ClassVar[tuple[Mends, ...]] = (
        Mends(
            _KIND,
            "Cast",
            only="each size is multiplied, divided, added to and rounded with constants, and the "
            "floats do not round below 1048576",
        ),
    )

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a rewrite of every Cast that makes sizes of floats."""
        for node in scope.nodes("Cast"):
            if not any(f.kind == _KIND for f in scope.judge(node).findings):
                continue
            try:
                yield _rewrite(scope, node)
            except NotWhole as reason:
                yield Skip(node, f"{reason}; compute the size with whole numbers in the network")


def _rewrite(scope: Scope, node: gs.Node) -> Rewrite:
    dtype = node.attrs.get("to")
    if has_unresolved(node, "to") or dtype not in _INTEGERS:
        raise NotWhole("it casts to another type than INT32 and INT64")
    number = TensorFacts("n", dtype, (1,))
    constant = replace(number, constness="initializer")
    for op in ("Add", "Div", "Mul"):
        if not scope.accepts(op, [number, constant], {}, [number]):
            raise NotWhole(f"{scope.target.name} does not take {op} of integers")
    emit = Emitter(scope)
    integers = _Integers(scope, emit, dtype)
    result = integers.whole(node.inputs[0], ())
    note = f"the same as the floats for numbers up to {integers.limit}"
    return emit.rewrite(node, result, note=note if integers.computed else "")


@dataclass(frozen=True, slots=True)
class _Op:
    """One op of a chain of floats, whose constant may have several elements."""

    op: str
    dtype: np.dtype[np.generic]
    numbers: tuple[float, ...] | None = None
    shape: tuple[int, ...] = ()
    swapped: bool = False

    def link(self, place: int, shape: tuple[int, ...]) -> Link:
        """The op as one element sees it."""
        if self.numbers is None:
            return Link(self.op, self.dtype)
        spread = np.broadcast_to(np.reshape(self.numbers, self.shape), shape)
        return Link(self.op, self.dtype, float(spread.reshape(-1)[place]), self.swapped)


_Ops = tuple[_Op, ...]


class _Integers:
    """Writes tensors of floats, cut to whole numbers, with integers."""

    def __init__(self, scope: Scope, emit: Emitter, dtype: int) -> None:
        self.limit = LARGEST
        self.computed = False
        self._scope = scope
        self._emit = emit
        self._dtype = dtype
        self._made: dict[tuple[int, _Ops], gs.Tensor] = {}

    def whole(self, tensor: gs.Tensor, then: _Ops, depth: int = 0) -> gs.Tensor:
        """What ``then`` makes of a tensor of floats, cut to whole numbers.

        Raises:
            NotWhole: integers do not do the same.
        """
        key = (id(tensor), then)
        if key not in self._made:
            self._made[key] = self._whole(tensor, then, depth + 1)
        return self._made[key]

    def _whole(self, tensor: gs.Tensor, then: _Ops, depth: int) -> gs.Tensor:
        scope = self._scope
        value = _constant(scope, tensor)
        if value is not None:
            return self._of_constant(value, then)
        node = scope.producer(tensor)
        if node is None or depth > _DEEP:
            raise NotWhole(f"'{tensor.name}' does not come from sizes")
        if not is_standard(node):
            raise NotWhole(f"'{tensor.name}' is computed by {node.domain}::{node.op}")
        if node.op in _MOVES:
            return self._of_move(node, tensor, then, depth)
        dtype = _FLOATS.get(scope.dtype(tensor) or 0)
        if dtype is None:
            raise NotWhole(f"'{tensor.name}' is no float of 16, 32 or 64 bits")
        if node.op == "Cast":
            ops = (_Op("Cast", dtype), *then)
            if scope.dtype(node.inputs[0]) in _INTEGERS:
                return self._of_integers(node.inputs[0], node.inputs[0], ops)
            return self.whole(node.inputs[0], ops, depth)
        if node.op in _BY_ITSELF:
            return self.whole(node.inputs[0], (_Op(node.op, dtype), *then), depth)
        if node.op not in _WITH_CONSTANT:
            raise NotWhole(f"{node.op} does not give whole numbers of whole numbers")
        constants = [_constant(scope, t) for t in node.inputs]
        place = next((k for k, c in enumerate(constants) if c is not None), None)
        if place is None:
            raise NotWhole(f"{node.op} computes with two sizes that are floats")
        first = _with_constant(node.op, dtype, constants[place], swapped=place == 0)
        return self.whole(node.inputs[1 - place], (first, *then), depth)

    # -- constants ---------------------------------------------------------------------------------

    def _of_constant(self, value: NDArray[np.generic], then: _Ops) -> gs.Tensor:
        shape = _shape_of(then, value.shape)
        spread = np.broadcast_to(value, shape).reshape(-1)
        made = np.zeros(shape, np.int64).reshape(-1)
        for place in range(spread.size):
            links = tuple(op.link(place, shape) for op in then)
            result = by_chain(spread[place : place + 1], links)
            if not np.isfinite(spread[place]) or abs(int(result[0])) > 2**31 - 1:
                raise NotWhole("a constant does not fit INT32")
            made[place] = result[0]
        return self._emit.const(made.reshape(shape), self._dtype)

    # -- ops that only move ------------------------------------------------------------------------

    def _of_move(self, node: gs.Node, tensor: gs.Tensor, then: _Ops, depth: int) -> gs.Tensor:
        """The op moves integers instead, before or after what ``then`` does to them."""
        if has_unresolved(node, *node.attrs):
            raise NotWhole(f"an attribute of {node.op} is a parameter of the function")
        dtype = _FLOATS.get(self._scope.dtype(tensor) or 0)
        if then and dtype is not None and self._is_whole(tensor, 0):
            moved = self.whole(tensor, (), depth)
            return self._of_integers(moved, tensor, (_Op("Cast", dtype), *then))
        rank = self._scope.rank(tensor)
        ones = all(all(size == 1 for size in op.shape) for op in then)
        if not ones or any(len(op.shape) > (rank or 0) for op in then):
            raise NotWhole(f"{node.op} gives numbers that are not whole to several constants")
        inside = tuple(replace(op, shape=()) for op in then)
        count = len(node.inputs) if node.op == "Concat" else 1
        moved_inputs = [self.whole(t, inside, depth) for t in node.inputs[:count]]
        if node.op == "Identity":
            return moved_inputs[0]
        self._ask(node, count)
        return self._emit(node.op, *moved_inputs, *node.inputs[count:], **node.attrs)

    def _ask(self, node: gs.Node, count: int) -> None:
        """Whether the target takes the op for integers."""
        facts = self._scope.facts(node)
        typed = [replace(t, dtype=self._dtype) for t in facts.inputs[:count]]
        result = replace(facts.outputs[0], dtype=self._dtype)
        inputs = (*typed, *facts.inputs[count:])
        judged = self._scope.target.judge(replace(facts, inputs=inputs, outputs=(result,)))
        if judged.status == "refused" and not self._scope.refused(node):
            raise NotWhole(f"{self._scope.target.name} does not take {node.op} of integers")

    def _is_whole(self, tensor: gs.Tensor, depth: int) -> bool:
        """Whether a tensor of floats holds whole numbers."""
        value = _constant(self._scope, tensor)
        if value is not None:
            return bool(np.all(np.isfinite(value)) and np.all(value == np.trunc(value)))
        node = self._scope.producer(tensor)
        if node is None or not is_standard(node) or depth > _DEEP:
            return False
        if node.op in _WHOLE:
            return True
        if node.op == "Cast":
            given = self._scope.dtype(node.inputs[0])
            return given in _INTEGERS or (
                given in _FLOATS and self._is_whole(node.inputs[0], depth + 1)
            )
        if node.op in _MOVES:
            inputs = node.inputs if node.op == "Concat" else node.inputs[:1]
            return all(self._is_whole(t, depth + 1) for t in inputs)
        return False

    # -- arithmetic --------------------------------------------------------------------------------

    def _of_integers(self, tensor: gs.Tensor, signed: gs.Tensor, ops: _Ops) -> gs.Tensor:
        """What the ops make of integers; ``signed`` holds the same numbers in the old graph."""
        shape = _shape_of(ops, ())
        elements = int(np.prod(shape, dtype=np.int64))
        if elements > _MOST_ELEMENTS:
            raise NotWhole("a constant has more elements than a list of sizes")
        programs = [
            program_of(tuple(op.link(place, shape) for op in ops)) for place in range(elements)
        ]
        divides = any(step.over != 1 for program in programs for step in program.steps)
        if divides and not Signs(self._scope, None).nonnegative(signed):
            raise NotWhole(f"nothing shows that '{signed.name}' is not negative")
        self.computed = True
        self.limit = min([self.limit, *(program.limit for program in programs)])
        given = tensor
        if signed is tensor and self._scope.dtype(tensor) != self._dtype:
            given = self._emit.cast(tensor, self._dtype)
        return self._steps(given, signed, programs, shape)

    def _steps(
        self,
        given: gs.Tensor,
        signed: gs.Tensor,
        programs: Sequence[Program],
        shape: tuple[int, ...],
    ) -> gs.Tensor:
        result = given
        widen = shape
        for number in range(len(programs[0].steps) if programs else 0):
            steps = [program.steps[number] for program in programs]
            for op, values, neutral in (
                ("Mul", [s.times for s in steps], 1),
                ("Add", [s.plus for s in steps], 0),
                ("Div", [s.over for s in steps], 1),
            ):
                if all(v == neutral for v in values):
                    continue
                alike = len(set(values)) == 1
                array = np.asarray(values, np.int64).reshape(shape)
                if alike and not widen:
                    array = array.reshape(-1)[0]
                result = self._emit(op, result, self._emit.const(array, self._dtype))
                widen = ()
        if widen and not self._has(signed, widen):
            ones = self._emit.const(np.ones(widen, np.int64), self._dtype)
            result = self._emit("Mul", result, ones)
        return result

    def _has(self, tensor: gs.Tensor, shape: tuple[int, ...]) -> bool:
        """Whether a tensor surely keeps its shape beside one of the given shape."""
        own = self._scope.shape(tensor)
        if own is None or len(own) < len(shape):
            return False
        return all(b in (1, a) for a, b in zip(own[::-1], shape[::-1], strict=False))


def _constant(scope: Scope, tensor: gs.Tensor) -> NDArray[np.generic] | None:
    value = scope.constant(tensor, limit=_MOST_ELEMENTS)
    return scope.folded(tensor) if value is None else value


def _with_constant(
    op: str, dtype: np.dtype[np.generic], value: NDArray[np.generic] | None, *, swapped: bool
) -> _Op:
    if value is None or value.size > _MOST_ELEMENTS:
        raise NotWhole("a constant has more elements than a list of sizes")
    numbers = tuple(float(number) for number in value.reshape(-1))
    return _Op(op, dtype, numbers, value.shape, swapped)


def _shape_of(ops: _Ops, shape: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return tuple(np.broadcast_shapes(shape, *(op.shape for op in ops)))
    except ValueError:
        raise NotWhole("the constants do not broadcast") from None
