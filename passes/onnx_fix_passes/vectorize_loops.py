"""The pass ``vectorize-loops``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import GraphProto, TensorProto, helper

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.lower.rules.bodies import type_proto
from onnx_fix.scope import Scope, TypeInfo, attribute
from onnx_fix.shape_values import ShapeValues
from onnx_fix.target.facts import TensorFacts
from onnx_fix_passes._all_rounds import AllRounds, State
from onnx_fix_passes._body_flattening import Flat, flattened
from onnx_fix_passes._body_rounds import Unresolved, rank_inside
from onnx_fix_passes._isolated_node import Isolated, isolated

_WHY = "no round reads the one before, but for sums"


@dataclass(frozen=True)
class VectorizeLoops(Pass):
    """Compute all rounds of a Loop or Scan at once, where they depend on each other by sums only.

    How many rounds there are need not be known. In place of the number of the round comes a Range,
    in place of the slices of a Scan the tensor itself, and ops on elements work on all rounds along
    a new first axis.

    1. What each round computes from its number, its slices and tensors outside, by ops on elements
       and by Gather at the number of the round.
    2. A state to which every round adds the same tensor: that tensor times the number of the round.
    3. A state to which every round adds what it computes: a CumSum, and a ReduceSum for the last.

    Before:
        y = Loop (n, true, start) <body = (i, c, a) => (c, b, s) { b = Add (a, step)  s = a }>
    After:
        i = Cast <to = FLOAT> (Range (0, n, 1))
        y = Add (start, Mul (i, step))
    Exact:
        Yes, but for rounding where floats are summed over the rounds: products and other orders
        take the place of sums one by one. Left alone: a loop that the target takes; other states,
        conditions that the body computes, other ops in the body, axes other than the first, and
        reversed directions.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends(kind, "Loop", _WHY)
        for kind in ("body_reads_missing_condition", "min_state_vars", "state_shape_constant")
    )

    everywhere: bool = False
    """Also rewrite loops that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose all rounds at once for every loop that the target does not take."""
        values: ShapeValues | None = None
        for node in scope.nodes("Loop", "Scan"):
            findings = scope.judge(node).findings
            if not (self.everywhere or any(f.refuses or f.in_doubt for f in findings)):
                continue
            values = values or scope.model.shape_values(scope)
            try:
                if scope.opset < 11:
                    raise Unresolved(f"operator set {scope.opset} has no Range of run-time numbers")
                alone = isolated(scope, node, values)
                yield _scan(scope, node, alone) if node.op == "Scan" else _loop(scope, node, alone)
            except Unresolved as why:
                yield Skip(node, str(why))


def _loop(scope: Scope, node: gs.Node, alone: Isolated) -> Rewrite:
    body = next(a.g for a in alone.proto.attribute if a.name == "body")
    trips = node.inputs[0] if node.inputs and node.inputs[0].name else None
    if trips is None:
        raise Unresolved("it has no trip count")
    condition = node.inputs[1] if len(node.inputs) > 1 and node.inputs[1].name else None
    held = alone.given.get(condition.name) if condition is not None else None
    if held is not None and held.all():
        condition = None
    firsts = list(node.inputs[2:])
    number, goes_on = (value.name for value in body.input[:2])
    if rank_inside(body, 0, scope.shape(trips)):
        raise Unresolved("the number of the round is no scalar in its body")
    types = {number: TypeInfo(TensorProto.INT64, ()), goes_on: TypeInfo(TensorProto.BOOL, ())}
    flat = _flat(scope, alone, body, types, firsts, 2)
    still = flat.outputs[0]
    if still != goes_on and not (still in flat.constants and flat.constants[still].all()):
        raise Unresolved(f"whether it goes on ('{body.output[0].name}') is computed in its body")
    e = Emitter(scope)

    @cache
    def numbers() -> gs.Tensor:
        count = trips if scope.rank(trips) == 0 else e.reshape(trips, [])
        if condition is not None:
            # A condition that is false from the start leaves no round.
            asked = condition if scope.rank(condition) == 0 else e.reshape(condition, [])
            count = e("Mul", count, e.cast(asked, TensorProto.INT64))
        return _range(scope, e, count)

    @cache
    def count() -> gs.Tensor:
        return e("Gather", e.shape(numbers()), np.asarray(0, np.int64), axis=0)

    states = _states(body, flat, firsts, 2, 1)
    rounds = AllRounds(
        e, flat, alone.tensors, states, {number: numbers}, numbers, count, alone.read
    )
    return _rewrite(scope, node, rounds, list(states.values()), flat, 1, [])


def _scan(scope: Scope, node: gs.Node, alone: Isolated) -> Rewrite:
    body = next(a.g for a in alone.proto.attribute if a.name == "body")
    scanned = attribute(node, "num_scan_inputs", int, 0) or 0
    for name in ("scan_input_axes", "scan_input_directions", "scan_output_directions"):
        if any(attribute(node, name, list, []) or []):
            raise Unresolved(f"its {name} are not all 0")
    held = len(node.inputs) - scanned
    firsts, sources = list(node.inputs[:held]), list(node.inputs[held:])
    types = {}
    for value, source in zip(body.input[held:], sources, strict=True):
        shape = scope.shape(source)
        types[value.name] = TypeInfo(scope.dtype(source), None if shape is None else shape[1:])
    flat = _flat(scope, alone, body, types, firsts, 0)
    e = Emitter(scope)

    @cache
    def count() -> gs.Tensor:
        return e("Gather", e.shape(sources[0]), np.asarray(0, np.int64), axis=0)

    @cache
    def numbers() -> gs.Tensor:
        return _range(scope, e, count())

    def slices(source: gs.Tensor) -> Callable[[], gs.Tensor]:
        return lambda: source

    pairs = zip(body.input[held:], sources, strict=True)
    varying = {value.name: slices(source) for value, source in pairs}
    states = _states(body, flat, firsts, 0, 0)
    rounds = AllRounds(e, flat, alone.tensors, states, varying, numbers, count, alone.read)
    axes = attribute(node, "scan_output_axes", list, []) or []
    return _rewrite(scope, node, rounds, list(states.values()), flat, 0, axes)


def _flat(
    scope: Scope,
    alone: Isolated,
    body: GraphProto,
    types: dict[str, TypeInfo],
    firsts: list[gs.Tensor],
    before: int,
) -> Flat:
    """The body with the types that its inputs have; states keep those that they start with."""
    graph = alone.graph(body.node, [v.name for v in body.output], body.name)
    given = alone.given_in(body)
    known = {v.name: v.type for v in graph.input}
    inner = {v.name for v in body.input}
    kept = [v for v in graph.input if v.name not in inner]
    del graph.input[:]
    graph.input.extend(kept)
    for value, first in zip(body.input[before:], firsts, strict=False):
        copy = graph.input.add()
        copy.name = value.name
        if first.name in known:
            copy.type.CopyFrom(known[first.name])
    for name, info in types.items():
        copy = graph.input.add()
        copy.name = name
        if info.dtype is not None:
            copy.type.CopyFrom(type_proto(info))
    return flattened(graph, scope.opset, given, exact=True, read=alone.read)


def _states(
    body: GraphProto, flat: Flat, firsts: list[gs.Tensor], before: int, after: int
) -> dict[str, State]:
    return {
        value.name: State(value.name, flat.outputs[after + k], first)
        for k, (value, first) in enumerate(zip(body.input[before:], firsts, strict=False))
    }


def _rewrite(
    scope: Scope,
    node: gs.Node,
    rounds: AllRounds,
    states: list[State],
    flat: Flat,
    after: int,
    axes: list[int],
) -> Rewrite:
    pairs: list[tuple[gs.Tensor, gs.Tensor]] = []
    for k, out in enumerate(node.outputs):
        if not (scope.consumers(out) or scope.is_output(out)):
            continue
        if k < len(states):
            pairs.append((out, rounds.last(states[k])))
            continue
        name = flat.outputs[after + k]
        result = rounds.stacked(name)
        axis = axes[k - len(states)] if axes else 0
        if axis:
            rank = len(flat.shape(name) or ()) + 1
            order = list(range(1, rank))
            order.insert(axis % rank, 0)
            result = rounds.e.transpose(result, order)
        pairs.append((out, result))
    exactness = Exactness.ROUNDING if rounds.rounds else Exactness.EXACT
    return rounds.e.rewrite(node, pairs, exactness=exactness)


def _range(scope: Scope, e: Emitter, count: gs.Tensor) -> gs.Tensor:
    """The numbers of the rounds: int64, 1-D."""
    for dtype in (TensorProto.INT64, TensorProto.INT32):
        kind = helper.tensor_dtype_to_np_dtype(dtype)
        limit = TensorFacts("limit", dtype, ())
        zero, one = e.const(np.asarray(0, kind)), e.const(np.asarray(1, kind))
        if scope.accepts("Range", [zero, limit, one]):
            if dtype == TensorProto.INT64:
                return e("Range", zero, count, one)
            numbers = e("Range", zero, e.cast(count, dtype), one)
            return e.cast(numbers, TensorProto.INT64)
    raise Unresolved(f"{scope.target.name} takes no Range of a run-time length")
