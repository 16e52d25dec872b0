"""Rounds of a Loop after its end that repeat the last one: what to change, and the change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto

from onnx_fix.functions import every_node, label_of
from onnx_fix.lower.rules.bodies import reads, type_proto
from onnx_fix.scope import STANDARD_DOMAINS, Scope, TypeInfo
from onnx_fix.shape_values import ShapeValues
from onnx_fix.target.facts import TensorFacts
from onnx_fix.weights import is_heavy
from onnx_fix_passes._body_folding import Folding
from onnx_fix_passes._body_rounds import MARK, Unresolved, rank_inside
from onnx_fix_passes._isolated_node import Isolated, isolated
from onnx_fix_passes._wide_steps import Names, Steps

_SMALL = 64
_OURS = "trt."


@dataclass(frozen=True)
class Held:
    """A state that the body reads: it stays what it was before the last round.

    ``result`` says whether what the last round makes is wanted too.
    """

    place: int
    kind: TypeInfo
    result: bool


@dataclass(frozen=True)
class Plan:
    """How a Loop is changed.

    ``ends`` is False where the body never ends the loop, ``scalar`` says whether the condition
    that it computes is one. ``counter`` is the rank of the number of the round, None where the body
    does not read it. With ``cut`` the trip count is put in the place of the one that there was.
    """

    trips: int | None
    cut: bool
    ends: bool
    scalar: bool = True
    counter: int | None = None
    held: tuple[Held, ...] = ()


def plan_for(scope: Scope, node: gs.Node, values: ShapeValues, most: int, cut: int) -> Plan:
    """How a Loop is changed so that rounds after its end do no harm.

    A trip count that is missing, or more than ``most``, becomes ``cut`` where that is not 0.

    Raises:
        Unresolved: it cannot be; the message says why.
    """
    _check_place(scope)
    trips, is_cut = _trips(scope, node, values, most, cut)
    alone = isolated(scope, node, values)
    body = next((a.g for a in alone.proto.attribute if a.name == "body"), None)
    if body is None or len(body.input) < 2 or not body.output:
        raise Unresolved("it has no body with a condition")
    _check_repeatable(body)
    firsts = list(node.inputs[2:])
    for out in node.outputs[len(firsts) :]:
        if _is_wanted(scope, out):
            raise Unresolved(
                f"'{out.name}' is stacked over the rounds, so its length depends on the round that "
                "ends the loop; write into a tensor of the final size instead"
            )
    kinds = [_kind(scope, first, k) for k, first in enumerate(firsts)]
    given = scope.shape(node.inputs[0]) if node.inputs and node.inputs[0].name else ()
    if given is None and _declared(body.input[0]) is None:
        raise Unresolved("the rank of its trip count is not known")
    count = rank_inside(body, 0, given)
    folding = _folding(scope, alone, body, kinds, count)
    condition = folding.name(body.output[0].name)
    known = folding.constants.get(condition)
    if condition == body.input[1].name or (known is not None and bool(known.all())):
        if is_cut:
            raise Unresolved("its body never ends it")
        return Plan(trips, is_cut, ends=False)
    used = {name for inner in body.node for name in reads(inner)}
    used.update(value.name for value in body.output)
    held = tuple(_held(scope, node, body, folding, kinds, used))
    return Plan(
        trips=trips,
        cut=is_cut,
        ends=True,
        scalar=_rank(folding, body.output[0]) == 0,
        counter=count if body.input[0].name in used else None,
        held=held,
    )


def _check_place(scope: Scope) -> None:
    around: Scope | None = scope
    while around is not None:
        if around.kind == "function":
            raise Unresolved("it stands in a function, where no types are known; inline it first")
        around = around.parent
    if scope.opset < 9:
        raise Unresolved(f"operator set {scope.opset} has no Where; raise the operator set")


def _trips(
    scope: Scope, node: gs.Node, values: ShapeValues, most: int, cut: int
) -> tuple[int | None, bool]:
    """How many rounds a loop makes where that is known, and whether it is cut there."""
    if not node.inputs or not node.inputs[0].name:
        if cut:
            return cut, True
        raise Unresolved(
            "it has no trip count, so it would never end; give it the most rounds there can be, or "
            "name them in the option most_rounds"
        )
    trips = node.inputs[0]
    known = scope.folded(trips)
    found = known.reshape(-1).tolist() if known is not None else values.numbers(trips)
    if found is None or len(found) != 1:
        return None, False
    if found[0] > most:
        if cut:
            return cut, True
        raise Unresolved(
            f"it would make all {found[0]} rounds of its trip count '{trips.name}'; give it the "
            "most rounds there can be, or name them in the option most_rounds (max_rounds is "
            f"{most})"
        )
    return int(found[0]), False


def _check_repeatable(body: GraphProto) -> None:
    for _, node in every_node(body.node):
        domain = node.domain or ""
        if domain not in STANDARD_DOMAINS and not domain.startswith(_OURS):
            raise Unresolved(
                f"a round would be repeated, and whether {domain}::{node.op_type} then gives the "
                "same is not known"
            )


def _is_wanted(scope: Scope, tensor: gs.Tensor) -> bool:
    return bool(scope.consumers(tensor)) or scope.is_output(tensor)


def _kind(scope: Scope, first: gs.Tensor, place: int) -> TypeInfo:
    """The type that a state starts with; dims of unknown size get symbols of their own."""
    shape = scope.shape(first)
    if shape is None:
        return TypeInfo(scope.dtype(first), None)
    main = scope.model.main.tensors.get(first.name) is first or isinstance(first, gs.Constant)
    dims = (
        d if isinstance(d, int) or (main and d) else f"{MARK}{place}.{axis}"
        for axis, d in enumerate(shape)
    )
    return TypeInfo(scope.dtype(first), tuple(dims))


def _folding(
    scope: Scope, alone: Isolated, body: GraphProto, kinds: Sequence[TypeInfo], count: int
) -> Folding:
    """What is known of the tensors of a body whose states have the types they start with."""
    if body.sparse_initializer:
        raise Unresolved("its body has a sparse initializer")
    graph = alone.graph(body.node, [v.name for v in body.output], body.name)
    own = {v.name for v in body.input} | {t.name for t in body.initializer}
    outside = [v for v in graph.input if v.name not in own]
    del graph.input[:]
    graph.input.extend(outside)
    declared = _declared(body.input[1])
    flag = TypeInfo(TensorProto.BOOL, None if declared is None else (1,) * len(declared))
    types = [TypeInfo(TensorProto.INT64, (1,) * count), flag, *kinds]
    for value, kind in zip(body.input, types, strict=False):
        graph.input.append(_value_info(value.name, kind))
    given = {name: value for name, value in alone.given.items() if name not in own}
    inputs = {v.name for v in body.input}
    for tensor in body.initializer:
        if tensor.name in inputs:
            continue
        if is_heavy(tensor, _SMALL):
            kind = TypeInfo(tensor.data_type, tuple(tensor.dims))
            graph.input.append(_value_info(tensor.name, kind))
        else:
            given[tensor.name] = alone.read(tensor)
    return Folding(graph, scope.opset, given, exact=True)


def _value_info(name: str, kind: TypeInfo) -> ValueInfoProto:
    value = ValueInfoProto(name=name)
    if kind.dtype is not None:
        value.type.CopyFrom(type_proto(kind))
    return value


def _rank(folding: Folding, value: ValueInfoProto) -> int | None:
    shape = folding.shape(folding.name(value.name))
    if shape is not None:
        return len(shape)
    kind = value.type.tensor_type
    return len(kind.shape.dim) if kind.HasField("shape") else None


def _held(
    scope: Scope,
    node: gs.Node,
    body: GraphProto,
    folding: Folding,
    kinds: Sequence[TypeInfo],
    used: set[str],
) -> Iterator[Held]:
    inside = scope.model.inner_scopes(node)[0]
    for place, kind in enumerate(kinds):
        before, after = body.input[2 + place], body.output[1 + place]
        if before.name not in used or folding.name(after.name) == before.name:
            continue
        _check_shape(folding, before, after, kind)
        wanted = place < len(node.outputs) and _is_wanted(scope, node.outputs[place])
        if kind.dtype != TensorProto.BOOL:
            _check_where(inside, before, kind)
        yield Held(place, kind, wanted)


def _check_shape(
    folding: Folding, before: ValueInfoProto, after: ValueInfoProto, kind: TypeInfo
) -> None:
    """Look whether a round gives a state the type that it had.

    Raises:
        Unresolved: that is not known.
    """
    if not kind.dtype or kind.shape is None:
        raise Unresolved(f"type or rank of what '{before.name}' starts with are not known")
    name = folding.name(after.name)
    made = folding.shape(name)
    declared = _declared(after)
    if made is None and declared is not None and all(isinstance(d, int) for d in declared):
        made = declared
    if made is not None and declared is not None and len(made) == len(declared):
        pairs = zip(made, declared, strict=True)
        made = tuple(d if m is None and isinstance(d, int) else m for m, d in pairs)
    if folding.dtype(name) not in (0, kind.dtype):
        raise Unresolved(f"'{before.name}' changes its type to that of '{after.name}'")
    if made != kind.shape:
        texts = [_text(shape) for shape in (kind.shape, made)]
        raise Unresolved(
            f"'{before.name}' enters a round as {texts[0]} and leaves it as '{after.name}' of "
            f"{texts[1]}, which is not known to be the same; keep states of one shape"
        )


def _declared(value: ValueInfoProto) -> tuple[int | None, ...] | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)


def _text(shape: Sequence[int | str | None] | None) -> str:
    if shape is None:
        return "unknown shape"
    dims = ("?" if d is None or str(d).startswith(MARK) else str(d) for d in shape)
    return f"[{', '.join(dims)}]"


def _check_where(inside: Scope, state: ValueInfoProto, kind: TypeInfo) -> None:
    """Look whether a state can be chosen by Where.

    Raises:
        Unresolved: it cannot be.
    """
    dtype = int(kind.dtype or 0)
    flag = TensorFacts("flag", TensorProto.BOOL, ())
    fact = TensorFacts(state.name, dtype, kind.shape)
    allowed = onnx.defs.get_schema("Where", inside.opset).type_constraints
    spelled = f"tensor({TensorProto.DataType.Name(dtype).lower()})"
    known = any(spelled in one.allowed_type_strs for one in allowed)
    if not known or not inside.accepts("Where", [flag, fact, fact], {}, [fact]):
        raise Unresolved(
            f"{inside.target.name} takes no Where of the type of '{state.name}'; cast it in the "
            "network"
        )


# -- the change ------------------------------------------------------------------------------------


def write(
    outside: Steps, inside: Scope, proto: NodeProto, plan: Plan, names: Names, pass_name: str
) -> None:
    """Change a Loop in place; what it reads anew goes to ``outside``."""
    body = next(a.g for a in proto.attribute if a.name == "body")
    label = label_of(proto)
    origin = NodeProto(metadata_props=proto.metadata_props)
    outside.begin(origin, label)
    steps = Steps(inside, body, names, pass_name)
    steps.begin(origin, label)
    for node in body.node:
        steps.keep(node)
    if not proto.input[1:2] or not proto.input[1]:
        first = outside.const(np.ones((1,) * rank_inside(body, 1, ())), TensorProto.BOOL)
        proto.input[1:2] = [first]
    if plan.cut:
        shape = (1,) * (plan.counter or 0)
        proto.input[0] = outside.const(np.full(shape, plan.trips), TensorProto.INT64)
    states = len(proto.input) - 2
    del body.output[1 + states :]
    del proto.output[states:]
    given = body.output[0].name
    body.output[0].name = steps.add("Identity", body.input[1].name)
    if plan.ends:
        rounds = _Rounds(outside, steps, proto, body, names)
        rounds.hold(given, plan)
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in steps.all()]
    del body.node[:]
    body.node.extend(nodes)


class _Rounds:
    """Makes the states of one Loop stay what they were before its last round."""

    def __init__(
        self, outside: Steps, steps: Steps, proto: NodeProto, body: GraphProto, names: Names
    ) -> None:
        self._outside = outside
        self._steps = steps
        self._proto = proto
        self._body = body
        self._names = names

    def hold(self, goes_on: str, plan: Plan) -> None:
        """Let the states change while the condition ``goes_on`` is true."""
        steps, body = self._steps, self._body
        if not plan.scalar:
            goes_on = steps.add("Reshape", goes_on, steps.const([], TensorProto.INT64))
        ends = ""
        for held in plan.held:
            before, after = body.input[2 + held.place], body.output[1 + held.place]
            if held.kind.dtype != TensorProto.BOOL:
                kept = steps.add("Where", goes_on, after.name, before.name)
            else:
                ends = ends or steps.add("Not", goes_on)
                new = steps.add("And", goes_on, after.name)
                kept = steps.add("Or", new, steps.add("And", ends, before.name))
            kind = self._spelled(held.kind, before.name)
            if not held.result:
                body.output[1 + held.place].CopyFrom(_value_info(kept, kind))
                before.CopyFrom(_value_info(before.name, kind))
                continue
            name = before.name
            before.CopyFrom(_value_info(self._names.fresh(f"{name}/unread"), kind))
            after.CopyFrom(_value_info(after.name, kind))
            self._carry(self._proto.input[2 + held.place], name, kept, kind)
        if plan.counter is not None:
            number = body.input[0]
            kind = TypeInfo(TensorProto.INT64, (1,) * plan.counter)
            name = number.name
            number.name = self._names.fresh(f"{name}/unread")
            more = steps.add("Add", name, steps.const(1, TensorProto.INT64))
            kept = steps.add("Where", goes_on, more, name)
            first = self._outside.const(np.zeros((1,) * plan.counter), TensorProto.INT64)
            self._carry(first, name, kept, kind)

    def _carry(self, first: str, before: str, after: str, kind: TypeInfo) -> None:
        """Carry one more state, behind the others."""
        self._proto.input.append(first)
        self._proto.output.append(self._names.fresh(f"{before}/last"))
        self._body.input.append(_value_info(before, kind))
        self._body.output.append(_value_info(after, kind))

    def _spelled(self, kind: TypeInfo, name: str) -> TypeInfo:
        """The type with symbols that a model may have."""
        dims = (
            f"{name}_{axis}" if isinstance(d, str) and d.startswith(MARK) else d
            for axis, d in enumerate(kind.shape or ())
        )
        return TypeInfo(kind.dtype, tuple(dims))
