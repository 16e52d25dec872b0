"""Which pass clears a finding: the passes are asked, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from onnx_fix.contract import BasePass, ModelPass, Pass, Rewrite, Skip
from onnx_fix.freeze_hint import freeze_hint
from onnx_fix.lower.node import since
from onnx_fix.model import Model
from onnx_fix.registry import default_order, menders
from onnx_fix.scope import Scope, is_standard
from onnx_fix.target import MISREAD, Finding


@dataclass(slots=True)
class _Answer:
    """What a pass would do in one scope.

    ``old`` are the nodes it rewrites, with the ops of what it puts there; ``swept`` those that
    nobody reads then, ``left`` says why it leaves others alone; nodes by identity.
    """

    old: dict[int, frozenset[str]] = field(default_factory=dict)
    swept: set[int] = field(default_factory=set)
    left: dict[int, str] = field(default_factory=dict)


_NOTHING = _Answer()


@dataclass(frozen=True, slots=True)
class Mended:
    """The pass that clears a finding (None: no pass does), and why a pass for it leaves it."""

    by: str | None
    reason: str = ""


class Mending:
    """Asks the default passes, with their default options, what they would do to a model.

    A pass is asked once for a scope, and only where it claims a finding in that scope. The answer
    is about the model as it stands: a pass may do more once another one has changed the model.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._functions = {(f.domain, f.name) for f in model.proto.functions}
        self._answers: dict[tuple[int, type[BasePass]], _Answer] = {}
        self._order = default_order()
        self._owners = {
            id(inner): (scope, node)
            for scope in model.scopes
            for node in scope.graph.nodes
            for inner in model.inner_scopes(node)
        }

    def is_call(self, node: gs.Node) -> bool:
        """Whether the node calls a function that the model defines."""
        return bool(self._functions) and (node.domain or "", node.op) in self._functions

    def prepare(self, scope: Scope, judged: Iterable[tuple[gs.Node, Finding]]) -> None:
        """Ask every pass that claims one of the findings of a scope."""
        seen: set[tuple[str, str, bool]] = set()
        for node, finding in judged:
            if not seen:
                self._prepare_around(scope)
            constant = finding.foldable or _is_constant(scope, node)
            if (finding.kind, node.op, constant) in seen:
                continue
            seen.add((finding.kind, node.op, constant))
            for cls, claim in menders(finding.kind, node.op):
                if claim.shown_by == "site" or (claim.shown_by == "constants" and constant):
                    self._answer(scope, cls)

    def _prepare_around(self, scope: Scope) -> None:
        """Ask the passes that claim something of the nodes that a graph stands in."""
        while (owner := self._owners.get(id(scope))) is not None:
            scope, node = owner
            for cls in self._order:
                if any(claim.op == node.op for claim in cls.mends):
                    self._answer(scope, cls)

    def _with_its_graph(self, scope: Scope, node: gs.Node) -> type[BasePass] | None:
        """The pass that takes away the node that the graph of this one stands in.

        Where it puts nodes of the same op there, this may be one of them.
        """
        while (owner := self._owners.get(id(scope))) is not None:
            scope, outer = owner
            for cls in self._order:
                made = self._answers.get((id(scope), cls), _NOTHING).old.get(id(outer))
                if made is not None and node.op not in made:
                    return cls
        return None

    def of(self, scope: Scope, node: gs.Node, finding: Finding) -> Mended:
        """The first pass in the default order that clears the finding, once prepared.

        A node may also go because a rewrite of others leaves it without a reader, or takes away
        the node whose graph it is in; its findings go with it, whatever the pass claims.
        """
        around = self._with_its_graph(scope, node)
        if around is not None:
            return Mended(around.name)
        claims = dict(menders(finding.kind, node.op))
        reason = ""
        for cls in self._order:
            answer = self._answers.get((id(scope), cls), _NOTHING)
            claim = claims.get(cls)
            if id(node) in answer.swept:
                return Mended(cls.name)
            if claim is None:
                continue
            if claim.shown_by == "call":
                clears = self.is_call(node)
            elif claim.shown_by == "constants":
                makes = _maker(scope, node, finding) if finding.foldable else None
                clears = id(node) in answer.old or (makes is not None and id(makes) in answer.old)
            else:
                clears = id(node) in answer.old
            if clears:
                return Mended(cls.name)
            if not reason and id(node) in answer.left:
                reason = f"{cls.name} leaves it as the model stands: {answer.left[id(node)]}"
        hint = freeze_hint(scope, node, finding)
        if hint and "--freeze" not in reason:
            reason = f"{reason}; {hint}" if reason else f"but {hint}"
        return Mended(None, reason or self._by_lowering(node, finding))

    def _by_lowering(self, node: gs.Node, finding: Finding) -> str:
        """What may help where the node is newer than the release, or read by older rules."""
        have, newest = self.model.opset, self.model.target.opset_range[1]
        version = (since(node.op, have) or 0) if is_standard(node) else 0
        if finding.kind in MISREAD or (newest is not None and version > newest):
            return (
                "by itself; the model is written for an older operator set where that can be done, "
                "and `onnx-fix plan MODEL --target T` tells what is left then"
            )
        return ""

    def _answer(self, scope: Scope, cls: type[BasePass]) -> _Answer:
        key = (id(scope), cls)
        if key not in self._answers:
            pass_ = cls()
            if isinstance(pass_, Pass | ModelPass):
                self._answers[key] = _ask(scope, pass_.forecast(scope))
            else:
                self._answers[key] = _Answer()
        return self._answers[key]


def _is_constant(scope: Scope, node: gs.Node) -> bool:
    outputs = [tensor for tensor in node.outputs if tensor.name]
    return bool(outputs) and scope.constness(outputs[0]) == "foldable"


def _maker(scope: Scope, node: gs.Node, finding: Finding) -> gs.Node | None:
    """The node that computes the tensor of a finding."""
    tensor = next((t for t in node.inputs if t.name and t.name == finding.tensor), None)
    return None if tensor is None else scope.producer(tensor)


def _ask(scope: Scope, proposed: Iterable[Rewrite | Skip]) -> _Answer:
    """What a pass proposes; a proposal changes nothing before the engine applies it."""
    answer = _Answer()
    rewrites: list[Rewrite] = []
    for site in proposed:
        if isinstance(site, Skip):
            answer.left[id(site.node)] = site.reason
        else:
            rewrites.append(site)
    for rewrite in rewrites:
        made = frozenset(new.op for new in rewrite.new)
        answer.old.update((id(node), made) for node in rewrite.old)
    answer.swept = _swept(scope, rewrites, set(answer.old))
    return answer


def _swept(scope: Scope, rewrites: list[Rewrite], old: set[int]) -> set[int]:
    """The nodes that nobody reads once the old ones are replaced."""
    gone = set(old)
    kept = {id(tensor) for r in rewrites for new in r.new for tensor in new.inputs}
    kept |= {id(tensor) for r in rewrites for _, tensor in r.replaces}
    todo = [tensor for r in rewrites for node in r.old for tensor in node.inputs]
    while todo:
        tensor = todo.pop()
        node = scope.producer(tensor) if tensor.name else None
        if node is None or id(node) in gone or scope.model.scope_of(node) is not scope:
            continue
        outputs = [out for out in node.outputs if out.name]
        if not any(
            id(out) in kept
            or scope.is_output(out)
            or any(id(reader) not in gone for reader in scope.consumers(out))
            for out in outputs
        ):
            gone.add(id(node))
            todo.extend(node.inputs)
    return gone - old
