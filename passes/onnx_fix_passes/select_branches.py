"""The pass ``select-branches``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs
from onnx import GraphProto, TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, is_standard
from onnx_fix.shape_values import ShapeValues
from onnx_fix.target.facts import TensorFacts
from onnx_fix_passes._body_flattening import Emission, Flat, flattened
from onnx_fix_passes._body_rounds import Limits, Unresolved
from onnx_fix_passes._isolated_node import Isolated, isolated
from onnx_fix_passes._never_failing import may_fail, same

_WHY = "both branches give the same shapes, and neither can fail"
_MOST_STEPS = 16
_CHEAP = 32
"""Both branches are computed for a doubt alone where they have no more nodes than this."""


@dataclass(frozen=True)
class SelectBranches(Pass):
    """Compute both branches of an If and take the results by Where.

    TensorRT 7 takes an If of a constant condition only, and later releases have rules of their own
    for the branches. Where both branches give the same shapes whatever the sizes are, and where
    computing the branch that is not meant cannot fail, a choice between the results is the same.

    Before:
        y = If (c) <then_branch = (Relu (x)), else_branch = (Tanh (x))>
    After:
        a = Relu (x)  b = Tanh (x)
        y = Where (c, a, b)
    Exact:
        Yes; it takes the time of both branches. Booleans are chosen by And, Or and Not where the
        target has no Where of them. Left alone: an If that the target takes, and a long one that it
        may take; outputs of which it is not known that they have the same shape; branches with an
        op that fails for some values or sizes (a Gather at a computed place, a division of
        integers, a Reshape to computed sizes, dims that may not fit), with an If, Loop or Scan that
        stays, random numbers, or sequences.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends(kind, "If", _WHY)
        for kind in ("branch_output_names_differ", "branch_shapes", "input_must_be_constant")
    )

    limit_nodes: int = 2000
    """Most nodes that an If becomes."""

    everywhere: bool = False
    """Also replace an If that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a choice for every If that the target does not take as it is."""
        values: ShapeValues | None = None
        for node in scope.nodes("If"):
            findings = scope.judge(node).findings
            refused = self.everywhere or any(f.refuses for f in findings)
            if not (refused or any(f.in_doubt for f in findings)):
                continue
            values = values or scope.model.shape_values(scope)
            if scope.folded(node.inputs[0]) is not None or values.numbers(node.inputs[0]):
                continue
            try:
                yield _site(scope, node, values, self.limit_nodes if refused else _CHEAP)
            except Unresolved as why:
                asked = _asked_dim(scope, node.inputs[0], values)
                yield Skip(node, f"{why}{asked}")


def _site(scope: Scope, node: gs.Node, values: ShapeValues, most: int) -> Rewrite:
    alone = isolated(scope, node, values)
    graphs = {a.name: a.g for a in alone.proto.attribute}
    if not {"then_branch", "else_branch"} <= set(graphs):
        raise Unresolved("it lacks a branch")
    wanted = [
        (k, out)
        for k, out in enumerate(node.outputs)
        if scope.consumers(out) or scope.is_output(out)
    ]
    then, other = (
        _branch(scope, alone, graphs[name], [k for k, _ in wanted], Limits(nodes=most))
        for name in ("then_branch", "else_branch")
    )
    if len(then.nodes) + len(other.nodes) > most:
        raise Unresolved(f"both branches together are more than {most} nodes")
    facts = [_fact(then, other, k, out) for k, (_, out) in enumerate(wanted)]
    for flat in (then, other):
        failing = next((n for n in flat.nodes if may_fail(flat, n)), None)
        if failing is not None:
            raise Unresolved(
                f"a {failing.op_type} in a branch may fail where the other branch is meant, so "
                "both cannot be computed"
            )
    condition = node.inputs[0]
    flag = TensorFacts("condition", TensorProto.BOOL, ())
    e = Emitter(scope)
    emissions = [Emission(e, flat, dict(alone.tensors), alone.read) for flat in (then, other)]
    if scope.rank(condition) != 0:
        condition = e.reshape(condition, [])
    inverse: gs.Tensor | None = None
    pairs = []
    for k, ((_, out), fact) in enumerate(zip(wanted, facts, strict=True)):
        made = []
        for emission, flat in zip(emissions, (then, other), strict=True):
            tensor = emission.tensor(flat.outputs[k])
            if tensor is None:
                raise Unresolved(f"nothing makes its output '{out.name}'")
            made.append(tensor)
        if scope.accepts("Where", [flag, fact, fact], {}, [fact]):
            pairs.append((out, e("Where", condition, *made)))
        elif fact.dtype == TensorProto.BOOL:
            inverse = e("Not", condition) if inverse is None else inverse
            halves = (e("And", condition, made[0]), e("And", inverse, made[1]))
            pairs.append((out, e("Or", *halves)))
        else:
            raise Unresolved(
                f"{scope.target.name} takes no Where of the type of '{out.name}'; cast it in the "
                "network"
            )
    return e.rewrite(node, pairs, note="both branches are computed")


def _branch(
    scope: Scope, alone: Isolated, branch: GraphProto, places: list[int], limits: Limits
) -> Flat:
    graph = alone.graph(branch.node, [branch.output[k].name for k in places], branch.name)
    given = alone.given_in(branch)
    return flattened(graph, scope.opset, given, limits=limits, exact=True, read=alone.read)


def _fact(then: Flat, other: Flat, index: int, out: gs.Tensor) -> TensorFacts:
    """What is known of an output, which is the same whichever branch it comes from.

    Raises:
        Unresolved: that it is the same is not known.
    """
    names = then.outputs[index], other.outputs[index]
    dtypes = then.dtype(names[0]), other.dtype(names[1])
    shapes = then.shape(names[0]), other.shape(names[1])
    if not dtypes[0] or dtypes[0] != dtypes[1]:
        raise Unresolved(f"the branches give '{out.name}' types that are not known to be the same")
    left, right = shapes
    if left is None or right is None:
        raise Unresolved(f"the branches give '{out.name}' shapes that are not known")
    alike = len(left) == len(right) and all(map(same, left, right))
    if not alike:
        texts = [", ".join("?" if d is None else str(d) for d in shape) for shape in (left, right)]
        raise Unresolved(
            f"the branches give '{out.name}' the shapes [{texts[0]}] and [{texts[1]}], which are "
            "not known to be the same"
        )
    return TensorFacts(str(out.name), dtypes[0], left)


def _asked_dim(scope: Scope, condition: gs.Tensor, values: ShapeValues) -> str:
    """Which dim a condition asks for: exporters write an If for sizes that they do not know."""
    work, seen = [condition], 0
    while work and seen < _MOST_STEPS:
        seen += 1
        node = scope.producer(work.pop())
        if node is None or not is_standard(node):
            continue
        if node.op == "Gather":
            maker = scope.producer(node.inputs[0])
            at = scope.folded(node.inputs[1])
            if maker is not None and maker.op == "Shape" and at is not None and at.size == 1:
                source = maker.inputs[0]
                shape, place = scope.shape(source), int(at.reshape(-1)[0])
                dim = shape[place] if shape is not None and place < len(shape) else None
                named = f"the dim '{dim}'" if isinstance(dim, str) else f"dim {place}"
                return (
                    f"; the condition asks for the size of {named} of '{source.name}': fix the "
                    "dims of the inputs (--static), and one branch is left"
                )
        work += [t for t in node.inputs if t.name]
    return ""
