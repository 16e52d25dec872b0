"""The pass ``fold-if``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnx_fix.contract import Mends, New, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute
from onnx_fix.shape_values import ShapeValues
from onnx_fix_passes._body_flattening import Emission, flattened
from onnx_fix_passes._body_rounds import Unresolved
from onnx_fix_passes._isolated_node import isolated

_WHY = "the condition is constant, or follows from static sizes"


@dataclass(frozen=True)
class FoldIf(Pass):
    """Put the branch that is taken in the place of an If whose condition is known.

    The condition is constant, or computed from constants and from sizes that are static: the
    exporter of PyTorch writes such an If for ``squeeze`` of a dim that it does not know, which
    shapes or ``dims`` given later do tell.

    Before:
        d = Gather (Shape (x), {1})  c = Equal (d, {1}) with x of shape [N, 1]
        y = If (c) <then_branch = (Squeeze <axes = [1]> (x)), else_branch = (Identity (x))>
    After:
        y = Squeeze <axes = [1]> (x)
    Exact:
        Yes. An If, Loop or Scan in the branch that is taken is written out with it, where it is
        known what it does. Left alone: an If that the target takes, with all that is in its
        branches, unless another If beside it is not taken; a branch with an If, Loop or Scan that
        stays; nodes with parameters of an enclosing function.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.FOLD
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends(kind, "If", _WHY)
        for kind in ("branch_output_names_differ", "branch_shapes", "input_must_be_constant")
    )

    everywhere: bool = False
    """Also replace an If that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose the taken branch for every If that the target does not take as it is."""
        nodes = list(scope.nodes("If"))
        # What one If gives may be what another one, or a node of its branch, rests on.
        if not (self.everywhere or any(_is_doubted(scope, node) for node in nodes)):
            return
        values = scope.model.shape_values(scope)
        for node in nodes:
            taken = _condition(scope, node, values)
            if taken is not None:
                yield _site(scope, node, "then_branch" if taken else "else_branch", values)


def _is_doubted(scope: Scope, node: gs.Node) -> bool:
    """Whether the target may refuse the If, or surely refuses a node of a branch."""
    if any(f.refuses or f.in_doubt for f in scope.judge(node).findings):
        return True
    inner = scope.model.inner_scopes(node)
    return any(
        branch.refused(n) or (n.op == "If" and _is_doubted(branch, n))
        for branch in inner
        for n in branch.nodes()
    )


def _condition(scope: Scope, node: gs.Node, values: ShapeValues) -> bool | None:
    """Which way the condition goes, where that is known."""
    value = scope.folded(node.inputs[0])
    if value is not None:
        return bool(value.reshape(-1)[0]) if value.size == 1 else None
    known = values.numbers(node.inputs[0])
    return bool(known[0]) if known is not None and len(known) == 1 else None


def _site(scope: Scope, node: gs.Node, name: str, values: ShapeValues) -> Rewrite | Skip:
    graph = attribute(node, name, gs.Graph)
    branch = next((s for s in scope.model.inner_scopes(node) if s.graph is graph), None)
    if graph is None or branch is None:
        return Skip(node, f"it has no {name}")
    if any(isinstance(v, gs.Graph) for n in branch.nodes() for v in n.attrs.values()):
        return _flat_site(scope, node, name, values)
    now: dict[int, gs.Tensor] = {}
    new: list[New] = []
    for inner in (n for n in graph.nodes if scope.model.alive(n)):
        reason = _unmovable(branch, inner, now)
        if reason:
            return Skip(node, reason)
        inputs = tuple(_moved(branch, t, now) for t in inner.inputs)
        outputs = tuple(gs.Variable(f"{inner.op}:{k}") for k, _ in enumerate(inner.outputs))
        now.update(zip(map(id, inner.outputs), outputs, strict=True))
        new.append(New(inner.op, inputs, outputs, dict(inner.attrs), inner.domain or ""))
    pairs = [
        (old, _moved(branch, made, now))
        for old, made in zip(node.outputs, graph.outputs, strict=True)
        if old.name
    ]
    return Rewrite((node,), tuple(new), tuple(pairs))


def _flat_site(scope: Scope, node: gs.Node, name: str, values: ShapeValues) -> Rewrite | Skip:
    """The branch with the control flow inside it written out."""
    outputs = [
        (k, out)
        for k, out in enumerate(node.outputs)
        if scope.consumers(out) or scope.is_output(out)
    ]
    try:
        alone = isolated(scope, node, values)
        body = next(a.g for a in alone.proto.attribute if a.name == name)
        graph = alone.graph(body.node, [body.output[k].name for k, _ in outputs], body.name)
        given = alone.given_in(body)
        flat = flattened(graph, scope.opset, given, exact=True, read=alone.read)
        e = Emitter(scope)
        emission = Emission(e, flat, dict(alone.tensors), alone.read)
        made = [emission.tensor(result) for result in flat.outputs]
    except Unresolved as why:
        return Skip(node, f"the branch that is taken has an inner graph: {why}")
    pairs = [(out, new) for (_, out), new in zip(outputs, made, strict=True) if new is not None]
    return e.rewrite(node, pairs)


def _unmovable(branch: Scope, node: gs.Node, now: dict[int, gs.Tensor]) -> str:
    """Why a node cannot leave its branch, given the tensors that have left it."""
    for tensor in node.inputs:
        own = tensor.name and branch.tensors.get(tensor.name) is tensor
        if own and id(tensor) not in now and not isinstance(tensor, gs.Constant):
            return f"'{tensor.name}' of its branch is a sparse initializer"
    for value in node.attrs.values():
        parts = value if isinstance(value, list) else [value]
        for part in parts:
            if isinstance(part, gs.Node.AttributeRef):
                return "a node of its branch has a parameter of the enclosing function; inline it"
            if not isinstance(part, int | float | str | bytes | gs.Constant):
                return f"an attribute of a {node.op} in its branch is not read here"
    return ""


def _moved(branch: Scope, tensor: gs.Tensor, now: dict[int, gs.Tensor]) -> gs.Tensor:
    """The tensor that stands for one of the branch, or one from outside itself."""
    if id(tensor) in now or not tensor.name:
        return now.get(id(tensor), tensor)
    name = str(tensor.name)
    if isinstance(tensor, gs.Constant) and branch.tensors.get(name) is tensor:
        value = branch.constant(tensor, limit=None)
        assert value is not None, name
        now[id(tensor)] = gs.Constant(name, value)
        return now[id(tensor)]
    return tensor
