"""The pass ``unroll-loops``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix.shape_values import ShapeValues
from onnx_fix_passes._body_flattening import Emission, flattened
from onnx_fix_passes._body_rounds import Array, Limits, Unresolved
from onnx_fix_passes._isolated_node import isolated

_WHY = "the number of rounds is constant, and at most the option limit"
_KINDS = (
    "body_reads_missing_condition",
    "loop_condition_not_updated",
    "min_state_vars",
    "scan_output_needs_trip_count",
    "state_shape_constant",
)
_LISTS = ("Sequence", "Optional")


@dataclass(frozen=True)
class UnrollLoops(Pass):
    """Write the rounds of a Loop or Scan one after the other, where it is known how many there are.

    1. A Loop: the trip count is constant or follows from static sizes, and the condition is true
       in every round, or follows from the numbers of the rounds and from constants.
    2. A Scan: the dim that it goes over has a static size. Axes and directions are kept.
    3. What is stacked over the rounds is joined by Unsqueeze and Concat. The number of the round is
       a constant; what is computed from it alone is computed here.
    4. If, Loop and Scan inside the body are written out as well; they may rest on the number of the
       round.

    Before:
        y = Loop (three, true, x) <body = (i, c, a) => (c, b) { b = Mul (a, a) }>
    After:
        a = Mul (x, x)
        b = Mul (a, a)
        y = Mul (b, b)
    Exact:
        Yes. Left alone: a loop that the target takes, unless its body keeps lists of tensors, has a
        tensor that must be constant, or has such a loop; a number of rounds that is known at run
        time only; more rounds than ``limit``, or more nodes than ``limit_nodes``; random numbers;
        parameters of an enclosing function; a loop without a round whose outputs are of unknown
        sizes.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = tuple(Mends(kind, "Loop", _WHY) for kind in _KINDS)

    limit: int = 32
    """Most rounds of one loop that are written out."""

    limit_nodes: int = 2000
    """Most nodes that one loop becomes."""

    everywhere: bool = False
    """Also unroll loops that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose the rounds of every loop that the target does not take as it is."""
        values: ShapeValues | None = None
        for node in scope.nodes("Loop", "Scan"):
            if not (self.everywhere or _is_doubted(scope, node)):
                continue
            values = values or scope.model.shape_values(scope)
            try:
                yield _site(scope, node, values, Limits(self.limit, self.limit_nodes))
            except Unresolved as why:
                yield Skip(node, str(why))


def _is_doubted(scope: Scope, node: gs.Node) -> bool:
    """Whether the target may refuse the loop, or its body for what rounds apart do without."""
    if any(f.refuses or f.in_doubt for f in scope.judge(node).findings):
        return True
    for body in scope.model.inner_scopes(node):
        for inner in body.nodes():
            if inner.op.startswith(_LISTS) or inner.op.endswith("Sequence"):
                if body.refused(inner):
                    return True
            elif inner.op in ("If", "Loop", "Scan"):
                if _is_doubted(body, inner):
                    return True
            elif any(
                f.kind == "input_must_be_constant" and (f.refuses or f.in_doubt)
                for f in body.judge(inner).findings
            ):
                return True
    return False


def _site(scope: Scope, node: gs.Node, values: ShapeValues, limits: Limits) -> Rewrite:
    alone = isolated(scope, node, values)
    outputs = [t for t in node.outputs if scope.consumers(t) or scope.is_output(t)]
    wanted = {t.name for t in outputs}
    alone.proto.output[:] = [name if name in wanted else "" for name in alone.proto.output]
    if node.op == "Loop":
        _check_trips(node, values, alone.given)
    graph = alone.graph([alone.proto], [t.name for t in outputs], node.op)
    flat = flattened(graph, scope.opset, alone.given, limits=limits, exact=True, read=alone.read)
    e = Emitter(scope)
    emission = Emission(e, flat, dict(alone.tensors), alone.read)
    pairs = []
    for out, name in zip(outputs, flat.outputs, strict=True):
        result = emission.tensor(name)
        if result is None:
            raise Unresolved(f"nothing makes its output '{out.name}'")
        pairs.append((out, result))
    return e.rewrite(node, pairs)


def _check_trips(node: gs.Node, values: ShapeValues, given: dict[str, Array]) -> None:
    """Say which dim a trip count is.

    Raises:
        Unresolved: it is one of no known size.
    """
    trips = node.inputs[0] if node.inputs and node.inputs[0].name else None
    if trips is None or trips.name in given:
        return
    value = values.value(trips)
    if value is not None and len(value) == 1 and isinstance(value[0], str):
        raise Unresolved(
            f"the trip count '{trips.name}' is the size of the dim '{value[0]}'; fix the dim "
            "(--static), and the rounds can be written out"
        )
