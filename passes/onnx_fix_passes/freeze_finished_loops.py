"""The pass ``freeze-finished-loops``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import onnx_graphsurgeon as gs
from onnx import GraphProto, ModelProto, NodeProto

from onnx_fix.contract import (
    Exactness,
    Mends,
    ModelPass,
    New,
    Rewrite,
    Skip,
    Skipped,
    Stage,
    Transformed,
)
from onnx_fix.functions import bodies_of
from onnx_fix.model import Model
from onnx_fix.scope import Scope, node_label
from onnx_fix.target import Target
from onnx_fix_passes._body_rounds import Unresolved
from onnx_fix_passes._repeated_rounds import Plan, plan_for, write
from onnx_fix_passes._wide_steps import Names, Steps

_KIND = "loop_condition_not_updated"


@dataclass
class _Plans:
    """What becomes of the loops of a model: by identity of the node, and what is said of it."""

    found: dict[int, Plan] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


@dataclass(frozen=True)
class FreezeFinishedLoops(ModelPass):
    """Make the rounds harmless that a Loop makes after its end, where the target goes on until the
    trip count.

    Once the body says that the loop ends, every state stays what it was before that round, and so
    does the number of the round. All further rounds repeat the last one with the same inputs: none
    of their nodes can fail where the last round did not, and each gives the results again.

    1. A state that the body reads and whose result is wanted becomes two: what the body reads, by
       Where on the condition, and the result of the round as it is.
    2. The number of the round becomes a state where the body reads it.
    3. The condition that the body gives back is the one that it got.

    Before:
        y = Loop (n, c, x) <body = (i, p, a) => (q, b) { b = Neg (a)  q = Not (p) }>
    After:
        y, z = Loop (n, c, x, x) <body = (i, p, r, a) => (o, b, k) {
            b = Neg (a)  q = Not (p)  k = Where (q, b, a)  o = Identity (p) }>
    Exact:
        Yes, unless ``most_rounds`` is given; the loop always takes the time of all its rounds.
        Booleans are kept by And, Or and Not. Left alone: a loop that the target takes; one without
        a trip count, or with one of more than ``max_rounds``; outputs that are stacked over the
        rounds; states of which it is not known that they keep their shape; random numbers and ops
        of other domains in the body; loops in local functions.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends(
            _KIND,
            "Loop",
            "it has a trip count, stacks nothing over the rounds, and its states keep their shapes",
        ),
    )

    max_rounds: int = 4096
    """Most rounds of a loop whose trip count is known; it always makes all of them."""

    most_rounds: int = 0
    """Trip count of a loop that has none, or one of more than ``max_rounds``; 0 leaves such a loop
    alone. A loop that needs more rounds is cut off there, which is another function."""

    everywhere: bool = False
    """Also change loops that the target takes."""

    def due(self, model: Model) -> bool:
        """Whether there is a loop that the target does not end."""
        return any(self._is_due(scope, node) for scope, node in _loops(model))

    def forecast(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """The loops that change, and those that cannot."""
        for node in scope.nodes("Loop"):
            if self._is_due(scope, node):
                planned = self._plan(scope, node)
                if isinstance(planned, str):
                    yield Skip(node, planned)
                else:
                    yield Rewrite((node,), (New(node.op, tuple(node.inputs), ()),), ())

    def made_of(self, model: Model) -> Transformed | None:
        """The new model; it is copied only where a loop can be changed."""
        if not self.due(model):
            return None
        plans = self._plans(model)
        if plans.found:
            return self.transform(model.skeleton(), model.target)
        return Transformed(model.proto, (), tuple(plans.skipped))

    def transform(self, model: ModelProto, target: Target) -> Transformed:
        """The model with loops that may run on after their end."""
        proto = ModelProto()
        proto.CopyFrom(model)
        view = Model(proto, None, target)
        plans = self._plans(view)
        if plans.found:
            _Edit(view, proto, plans.found, self.name).graph(view.main, proto.graph)
        cut = any(plan.cut for plan in plans.found.values())
        return Transformed(
            proto,
            tuple(plans.lines),
            tuple(plans.skipped),
            Exactness.CONTRACT if cut else Exactness.EXACT,
            asked_by="most_rounds" if cut else None,
        )

    def _plans(self, model: Model) -> _Plans:
        plans = _Plans()
        for scope, node in _loops(model):
            if not self._is_due(scope, node):
                continue
            planned = self._plan(scope, node)
            if isinstance(planned, str):
                plans.skipped.append(Skipped(scope.path, node_label(node), node.op, planned))
            else:
                plans.found[id(node)] = planned
                plans.lines.append(_line(scope, node, planned))
        return plans

    def _is_due(self, scope: Scope, node: gs.Node) -> bool:
        against = scope.judge(node).findings
        if any(f.kind == _KIND and (f.refuses or f.in_doubt) for f in against):
            return True
        return self.everywhere and _computes_end(scope, node)

    def _plan(self, scope: Scope, node: gs.Node) -> Plan | str:
        values = scope.model.shape_values(scope)
        try:
            return plan_for(scope, node, values, self.max_rounds, self.most_rounds)
        except Unresolved as why:
            return str(why)


def _loops(model: Model) -> Iterator[tuple[Scope, gs.Node]]:
    for scope in model.scopes:
        for node in scope.nodes("Loop"):
            yield scope, node


def _computes_end(scope: Scope, node: gs.Node) -> bool:
    """Whether the condition that the body gives back is another one than it got."""
    for inside in scope.model.inner_scopes(node):
        tensor = inside.graph.outputs[0]
        maker = inside.producer(tensor)
        while maker is not None and maker.op == "Identity":
            tensor = maker.inputs[0]
            maker = inside.producer(tensor)
        if tensor is not inside.graph.inputs[1] and inside.folded(tensor) is None:
            return True
    return False


def _line(scope: Scope, node: gs.Node, plan: Plan) -> str:
    label = node_label(node)
    where = f"'{label}' in {scope.path}" if scope.path else f"'{label}'"
    if not plan.ends:
        return f"Loop {where}: its body never ends it, and now says so"
    if plan.cut:
        return (
            f"Loop {where} makes {plan.trips} rounds and no more; those after its end repeat the "
            "last one"
        )
    count = f"the trip count '{node.inputs[0].name}'" if plan.trips is None else f"{plan.trips}"
    return f"Loop {where} makes all rounds ({count}); those after its end repeat the last one"


class _Edit:
    """The edits of one model."""

    def __init__(
        self, model: Model, proto: ModelProto, plans: dict[int, Plan], pass_name: str
    ) -> None:
        self._model = model
        self._plans = plans
        self._pass_name = pass_name
        self._names = Names.of(proto.graph)

    def graph(self, scope: Scope, graph: GraphProto) -> None:
        """Change the loops of a graph, and those inside it."""
        steps = Steps(scope, graph, self._names, self._pass_name)
        for node, proto in zip(scope.graph.nodes, list(graph.node), strict=True):
            inner = self._model.inner_scopes(node)
            for inside, body in zip(inner, bodies_of(proto), strict=True):
                self.graph(inside, body)
            if id(node) in self._plans:
                plan = self._plans[id(node)]
                write(steps, inner[0], proto, plan, self._names, self._pass_name)
            steps.keep(proto)
        nodes = [NodeProto.FromString(node.SerializeToString()) for node in steps.all()]
        del graph.node[:]
        graph.node.extend(nodes)
