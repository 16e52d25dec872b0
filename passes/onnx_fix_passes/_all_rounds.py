"""The body of a Loop or Scan, computed for all rounds at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs
from onnx import NodeProto, TensorProto

from onnx_fix.emit import Emitter
from onnx_fix_passes._body_flattening import Flat
from onnx_fix_passes._body_rounds import Array, Unresolved
from onnx_fix_passes._from_protos import Read, attributes
from onnx_fix_passes._never_failing import may_fail, same

_UNARY = frozenset(
    {
        "Abs",
        "Cast",
        "Ceil",
        "Cos",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "HardSigmoid",
        "Identity",
        "IsInf",
        "IsNaN",
        "LeakyRelu",
        "Log",
        "Neg",
        "Not",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Sigmoid",
        "Sign",
        "Sin",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Tan",
        "Tanh",
    }
)
_BROADCAST = frozenset(
    {
        "Add",
        "And",
        "Div",
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Or",
        "Pow",
        "Sub",
        "Where",
        "Xor",
    }
)
_SUMMED = frozenset({TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64})
_INTEGERS = frozenset(
    {
        TensorProto.INT16,
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.INT8,
        TensorProto.UINT16,
        TensorProto.UINT32,
        TensorProto.UINT64,
        TensorProto.UINT8,
    }
)
_HALF = frozenset({TensorProto.BFLOAT16, TensorProto.FLOAT16})
MOST_NODES = 500


@dataclass(frozen=True)
class Value:
    """A tensor of the body: for all rounds along a new first axis, or the same in each."""

    tensor: gs.Tensor
    varies: bool


@dataclass(frozen=True)
class State:
    """What a round gets and gives on, by name, and what the first one gets."""

    given: str
    result: str
    first: gs.Tensor


@dataclass
class AllRounds:
    """Computes tensors of a body without control flow.

    ``varying`` makes what differs from round to round from the start: the number of the round, and
    the slices of a Scan. ``count`` makes the number of rounds, an int64 scalar.
    """

    e: Emitter
    flat: Flat
    tensors: Mapping[str, gs.Tensor]
    states: Mapping[str, State]
    varying: Mapping[str, Callable[[], gs.Tensor]]
    number: Callable[[], gs.Tensor]
    count: Callable[[], gs.Tensor]
    read: Read
    rounds: bool = False
    """Whether floats were summed in another order."""
    _values: dict[str, Value] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if len(self.flat.nodes) > MOST_NODES:
            raise Unresolved(f"its body has more than {MOST_NODES} nodes")
        self._makers = {name: node for node in self.flat.nodes for name in node.output if name}
        self._results = {s.result: s for s in self.states.values() if s.result != s.given}

    def stacked(self, name: str) -> gs.Tensor:
        """A result of every round, along a new first axis."""
        value = self.value(name)
        if value.varies:
            return value.tensor
        rank = self._rank(name)
        count = self.e.reshape(self.count(), [1])
        sizes = self.e.concat([count, self.e.ints([1] * rank)], 0) if rank else count
        return self.e("Expand", value.tensor, sizes)

    def last(self, state: State) -> gs.Tensor:
        """What the last round gives on."""
        if state.result == state.given:
            return state.first
        added = self._added(state)
        if added.value.varies:
            total = self.e.reduce("ReduceSum", self._lifted(added), [0])
            return self._onto(state.first, total, added)
        return self._stepped(state.first, self.count(), added)

    def value(self, name: str) -> Value:
        """A tensor of the body.

        Raises:
            Unresolved: it is not known how to compute it for all rounds at once.
        """
        if name not in self._values:
            if name in self._open:
                raise Unresolved(
                    "what a round computes from the one before is no sum of what does not depend "
                    "on it"
                )
            self._open.add(name)
            self._values[name] = self._computed(name)
            self._open.discard(name)
        return self._values[name]

    def _computed(self, name: str) -> Value:
        if name in self.flat.constants:
            return Value(self.e.const(self.flat.constants[name]), False)
        if name in self.varying:
            return Value(self.varying[name](), True)
        if name in self.states:
            state = self.states[name]
            if state.result == name:
                return Value(state.first, False)
            return self._sums(state, exclusive=True)
        if name in self._results:
            return self._sums(self._results[name], exclusive=False)
        node = self._makers.get(name)
        if node is not None:
            return self._node(node, name)
        if name not in self.tensors:
            raise Unresolved(f"its body reads '{name}', which is not computed for all rounds")
        return Value(self.tensors[name], False)

    # -- nodes -------------------------------------------------------------------------------------

    def _node(self, node: NodeProto, name: str) -> Value:
        inputs = [self.value(given) if given else None for given in node.input]
        own = attributes(node, self.read)
        if not any(value is not None and value.varies for value in inputs):
            if may_fail(self.flat, node):
                raise Unresolved(f"a {node.op_type} of its body may fail where there is no round")
            tensors = [None if value is None else value.tensor for value in inputs]
            made = self.e.many(node.op_type, len(node.output), *tensors, **own)
            for out, tensor in zip(node.output, made, strict=True):
                self._values[out] = Value(tensor, False)
            return self._values[name]
        if node.domain or len(node.output) != 1:
            raise Unresolved(_unknown(node))
        data, index = inputs[0], inputs[1] if len(inputs) > 1 else None
        if node.op_type in _UNARY and data is not None and len(inputs) == 1:
            return Value(self.e(node.op_type, data.tensor, **own), True)
        if node.op_type in _BROADCAST:
            rank = max(self._rank(given) for given in node.input)
            lifted = [
                self._aligned(value, self._rank(given), rank)
                for value, given in zip(inputs, node.input, strict=True)
                if value is not None
            ]
            return Value(self.e(node.op_type, *lifted, **own), True)
        if (
            node.op_type == "Gather"
            and not (data is None or index is None or data.varies or own.get("axis"))
            and self._rank(node.input[1]) == 0
        ):
            return Value(self.e("Gather", data.tensor, index.tensor, axis=0), True)
        raise Unresolved(_unknown(node))

    def _rank(self, name: str) -> int:
        shape = self.flat.shape(name)
        if shape is None:
            raise Unresolved(f"the rank of '{name}' in its body is not known")
        return len(shape)

    def _aligned(self, value: Value, have: int, want: int) -> gs.Tensor:
        if not value.varies:
            return value.tensor
        return self.e.unsqueeze(value.tensor, list(range(1, 1 + want - have)))

    # -- sums over the rounds ----------------------------------------------------------------------

    def _added(self, state: State) -> Added:
        node = self._makers.get(state.result)
        if node is None or node.domain or node.op_type not in ("Add", "Sub"):
            raise Unresolved(
                "what a round computes from the one before is no sum of what does not depend on it"
            )
        place = 0 if node.op_type == "Sub" or node.input[0] == state.given else 1
        if node.input[place] != state.given:
            raise Unresolved(
                "what a round computes from the one before is no sum of what does not depend on it"
            )
        name = node.input[1 - place]
        before, after = self.flat.shape(state.given), self.flat.shape(state.result)
        if before is None or after is None or len(before) != len(after):
            raise Unresolved(f"the shape of '{state.given}' in its body is not known")
        if not all(map(same, before, after)):
            raise Unresolved(f"'{state.given}' may change its shape from round to round")
        dtype = self.flat.dtype(state.given)
        added = Added(self.value(name), name, node.op_type, dtype, len(before), self._rank(name))
        self.rounds = self.rounds or dtype not in _INTEGERS
        return added

    def _sums(self, state: State, *, exclusive: bool) -> Value:
        added = self._added(state)
        if added.value.varies:
            if added.dtype not in _SUMMED:
                raise Unresolved("sums over the rounds in this element type are not written")
            total = self.e(
                "CumSum",
                self._lifted(added),
                np.asarray(0, np.int64),
                exclusive=1 if exclusive else None,
            )
            return Value(self._onto(state.first, total, added), True)
        number = self.number()
        if not exclusive:
            number = self.e("Add", number, np.asarray(1, np.int64))
        number = self.e.unsqueeze(number, list(range(1, added.rank + 1)))
        return Value(self._stepped(state.first, number, added), True)

    def _stepped(self, first: gs.Tensor, number: gs.Tensor, added: Added) -> gs.Tensor:
        """The state after some rounds that add the same."""
        total = self._times(self.e.cast(number, self._counting(added.dtype)), added)
        result = self._onto(first, total, added)
        step = self.flat.constants.get(added.name)
        if added.dtype in _INTEGERS or (step is not None and _finite(step)):
            return result
        # No step at all, where zero times infinity is none.
        return self.e("Where", self.e("Equal", number, np.asarray(0, np.int64)), first, result)

    def _lifted(self, added: Added) -> gs.Tensor:
        return self._aligned(added.value, added.own_rank, added.rank)

    def _counting(self, dtype: int) -> int:
        """Rounds are counted in float32 where half precision would not count far."""
        return int(TensorProto.FLOAT) if dtype in _HALF else dtype

    def _times(self, number: gs.Tensor, added: Added) -> gs.Tensor:
        step = added.value.tensor
        if added.dtype in _HALF:
            step = self.e.cast(step, int(TensorProto.FLOAT))
        return self.e("Mul", number, step)

    def _onto(self, first: gs.Tensor, total: gs.Tensor, added: Added) -> gs.Tensor:
        if added.dtype in _HALF and not added.value.varies:
            wide = self.e.cast(first, int(TensorProto.FLOAT))
            return self.e.cast(self.e(added.op, wide, total), added.dtype)
        return self.e(added.op, first, total)


@dataclass(frozen=True)
class Added:
    """What every round adds to a state (or takes from it)."""

    value: Value
    name: str
    op: str
    dtype: int
    rank: int
    own_rank: int


def _finite(value: Array) -> bool:
    return bool(np.isfinite(value.astype(np.float64)).all())


def _unknown(node: NodeProto) -> str:
    return f"its body has a {node.op_type}, which is not computed for all rounds at once"
