"""The only code that edits a graph: applies, names, signs and numbers what passes propose."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, GraphProto, NodeProto

from onnx_fix.contract import (
    BasePass,
    Body,
    Change,
    Exactness,
    ModelPass,
    New,
    Pass,
    PassResult,
    Rewrite,
    Skip,
    Skipped,
    Transformed,
)
from onnx_fix.errors import InternalError
from onnx_fix.model import Model
from onnx_fix.order import in_order
from onnx_fix.scope import Scope, node_label
from onnx_fix.sign import sign
from onnx_fix.weights import StoredValues, constant_proto

MOST_ROUNDS = 12


@dataclass(frozen=True)
class Step:
    """A pass in a pipeline. ``where`` says which nodes it may touch (all of them by default)."""

    pass_: BasePass
    where: Callable[[gs.Node], bool] | None = None


@dataclass
class Engine:
    """Runs steps over a model. ``limit`` stops after that many changes, which bisection uses."""

    model: Model
    limit: int | None = None
    after_each: Callable[[Model, PassResult], None] | None = None
    count: int = 0
    results: list[PassResult] = field(default_factory=list)

    def run(self, steps: Sequence[Step], *, rounds: int = MOST_ROUNDS) -> list[PassResult]:
        """Run the steps in order, again and again until nothing changes.

        Raises:
            InternalError: a pass proposed an invalid rewrite, or the passes undo each other.
        """
        for number in range(1, rounds + 1):
            before = self.count
            for step in steps:
                self._step(step, number)
                if self._full():
                    return self.results
            if self.count == before:
                return self.results
        busy = sorted({r.pass_name for r in self.results if r.round == rounds and r.changes})
        if rounds > 1:
            raise InternalError(
                f"after {rounds} rounds these passes still change the model: {', '.join(busy)}; "
                "they undo each other"
            )
        return self.results

    def _full(self) -> bool:
        return self.limit is not None and self.count >= self.limit

    def _step(self, step: Step, number: int) -> None:
        start = time.perf_counter()
        skipped: list[Skipped] = []
        if isinstance(step.pass_, ModelPass):
            changes, skipped = self._model_pass(step.pass_)
        elif isinstance(step.pass_, Pass):
            changes, skipped = self._pass(step.pass_, step.where)
        else:
            raise InternalError(f"{type(step.pass_).__name__} is neither a Pass nor a ModelPass")
        seconds = time.perf_counter() - start
        result = PassResult(step.pass_.name, number, tuple(changes), tuple(skipped), seconds)
        self.results.append(result)
        if self.after_each is not None:
            self.after_each(self.model, result)

    # -- passes over nodes -------------------------------------------------------------------------

    def _pass(
        self, pass_: Pass, where: Callable[[gs.Node], bool] | None
    ) -> tuple[list[Change], list[Skipped]]:
        changes: list[Change] = []
        skipped: list[Skipped] = []
        for scope in tuple(self.model.scopes):
            edit = _Edit(self.model, scope, pass_)
            for site in pass_.sites(scope):
                if isinstance(site, Skip):
                    skipped.append(_skipped(scope, site.node, site.reason))
                elif where is not None and not all(where(n) for n in site.old):
                    skipped.append(_skipped(scope, site.old[0], "left out by the pipeline file"))
                elif not all(self.model.alive(n) for n in site.old):
                    skipped.append(
                        _skipped(scope, site.old[0], "overlaps with an earlier change of this run")
                    )
                else:
                    self.count += 1
                    changes.append(edit.apply(site, self.count))
                    if self._full():
                        break
            edit.finish()
            if self._full():
                break
        if changes:
            self.model.stale()
        return changes, skipped

    # -- transformers of whole models ------------------------------------------------------------

    def _model_pass(self, pass_: ModelPass) -> tuple[list[Change], list[Skipped]]:
        made = pass_.made_of(self.model)
        if made is None:
            return [], []
        _check_contract(pass_, made)
        if made.changes:
            self.model.replace(made.model)
        changes: list[Change] = []
        for line in made.changes:
            self.count += 1
            # Transformers are done as a whole, so their first change says what became of the ends.
            ends = () if changes else made.retyped
            exact = made.exactness
            changes.append(
                Change(self.count, pass_.name, "", (line,), (), (), (), exact, retyped=ends)
            )
        return changes, list(made.skipped)


def _check_contract(pass_: ModelPass, made: Transformed) -> None:
    """Raise where a transformer changes the contract and no option asked for it."""
    unasked = made.asked_by is None or pass_.is_default(made.asked_by)
    if made.exactness is Exactness.CONTRACT and unasked:
        raise InternalError(f"pass {pass_.name} changes the contract, and no option asked for it")
    if made.retyped and made.exactness is not Exactness.CONTRACT:
        raise InternalError(f"pass {pass_.name} changes the ends of the model without saying so")


def _skipped(scope: Scope, node: gs.Node, reason: str) -> Skipped:
    return Skipped(scope.path, node_label(node), node.op, reason)


class _Edit:
    """The edits of one pass in one scope."""

    def __init__(self, model: Model, scope: Scope, pass_: Pass) -> None:
        self.model = model
        self.scope = scope
        self.pass_ = pass_
        self._placed: dict[int, list[gs.Node]] = {}
        self._touched: list[gs.Tensor] = []
        self._killed: list[gs.Node] = []

    # -- one rewrite ------------------------------------------------------------------------------

    def apply(self, rewrite: Rewrite, number: int) -> Change:
        """Put a rewrite into the graph.

        Raises:
            InternalError: the rewrite breaks the contract.
        """
        self._check(rewrite)
        old = rewrite.old
        anchor = old[0]
        label, ops = node_label(anchor), tuple(n.op for n in old)
        labels = tuple(node_label(n) for n in old)
        swaps = self._swaps(rewrite)
        taken = {id(t): out for out, t in swaps}
        base = next((t.name for t in anchor.outputs if t.name), label)
        for node in old:
            self._kill(node)
        rename: dict[int, gs.Tensor] = {}
        asked = {id(tensor): name for name, tensor in rewrite.adds}
        for new in rewrite.new:
            for out in new.outputs:
                if id(out) in taken:
                    rename[id(out)] = taken[id(out)]
                elif id(out) in asked:
                    out.name = self.model.fresh_name(asked[id(out)])
                    rename[id(out)] = out
                else:
                    out.name = self.model.fresh_name(f"{base}/{new.op}")
                    rename[id(out)] = out
        alone = len(rewrite.new) == 1
        made = [self._make(new, rename, anchor, alone) for new in rewrite.new]
        swapped = {id(out) for out, _ in swaps}
        for out, tensor in rewrite.replaces:
            if id(out) not in swapped:
                made.extend(self._reroute(out, rename.get(id(tensor), tensor), anchor))
        for _, tensor in rewrite.adds:
            self.model.add_output(tensor)
        named = {name: str(tensor.name) for name, tensor in rewrite.adds}
        padded = tuple(
            replace(p, counts=tuple((named.get(name, name), most) for name, most in p.counts))
            for p in rewrite.padded
        )
        for p in padded:
            self.model.resize_output(p.output, p.axis, p.counts[0][1])
        self._placed.setdefault(id(anchor), []).extend(made)
        return Change(
            number,
            self.pass_.name,
            self.scope.path,
            labels,
            ops,
            tuple(node_label(n) for n in made),
            tuple(n.op for n in made),
            rewrite.exactness,
            rewrite.note,
            padded,
        )

    def _check(self, rewrite: Rewrite) -> None:
        where = f"pass {self.pass_.name} on '{node_label(rewrite.old[0])}'"
        if rewrite.exactness is Exactness.CONTRACT and (
            rewrite.asked_by is None or self.pass_.is_default(rewrite.asked_by)
        ):
            raise InternalError(f"{where} changes the contract, and no option asked for it")
        if (rewrite.adds or rewrite.padded) and (
            rewrite.exactness is not Exactness.CONTRACT or self.scope.kind != "main"
        ):
            raise InternalError(f"{where} changes the outputs of the model without saying so")
        ours = {id(n) for n in rewrite.old}
        paired = {id(t) for t, _ in rewrite.replaces}
        fresh = {id(t) for new in rewrite.new for t in new.outputs}
        for node in rewrite.old:
            if self.model.scope_of(node) is not self.scope:
                raise InternalError(f"{where} reaches into another scope")
            for out in node.outputs:
                read = any(id(c) not in ours for c in self.model.consumers(out))
                if (read or self.model.is_output(out)) and id(out) not in paired:
                    raise InternalError(f"{where} loses '{out.name}', which is still read")
        made: set[int] = set()
        for new in rewrite.new:
            bodies = [v for v in new.attrs.values() if isinstance(v, Body)]
            for tensor in (*new.inputs, *(t for body in bodies for t in body.reads())):
                if id(tensor) in fresh and id(tensor) not in made:
                    raise InternalError(f"{where}: a new {new.op} reads what a later node makes")
            made.update(id(t) for t in new.outputs)

    def _swaps(self, rewrite: Rewrite) -> list[tuple[gs.Tensor, gs.Tensor]]:
        """The pairs in which the old tensor, and with it the name, lives on as a new output."""
        fresh = {id(t) for new in rewrite.new for t in new.outputs}
        pairs: list[tuple[gs.Tensor, gs.Tensor]] = []
        used: set[int] = set()
        # An output of the graph must keep its name, so it has the first claim.
        for out, tensor in sorted(rewrite.replaces, key=lambda p: not self.model.is_output(p[0])):
            if id(tensor) in fresh and id(tensor) not in used:
                used.add(id(tensor))
                pairs.append((out, tensor))
        return pairs

    def _kill(self, node: gs.Node) -> None:
        self.model.kill(node)
        self._killed.append(node)
        self._touched.extend(_read_by(node))
        for out in node.outputs:
            # Identity, not equality: GraphSurgeon compares nodes by structure.
            list.clear(out.inputs)

    def _make(
        self, new: New, rename: dict[int, gs.Tensor], anchor: gs.Node, alone: bool
    ) -> gs.Node:
        inputs = [self._settle(rename.get(id(t), t), anchor) for t in new.inputs]
        outputs = [rename[id(t)] for t in new.outputs]
        label = node_label(anchor)
        name = anchor.name if alone and anchor.name else self.model.fresh_name(f"{label}/{new.op}")
        node = gs.Node(op=new.op, name=name, domain=new.domain or None)
        list.extend(node.inputs, inputs)
        list.extend(node.outputs, outputs)
        for tensor in inputs:
            list.append(tensor.outputs, node)
        for tensor in outputs:
            list.append(tensor.inputs, node)
        proto = NodeProto()
        proto.op_type, proto.name, proto.domain = new.op, name, new.domain
        proto.input.extend(t.name for t in inputs)
        proto.output.extend(t.name for t in outputs)
        for key, value in new.attrs.items():
            given = self._body(value, rename, anchor) if isinstance(value, Body) else value
            proto.attribute.append(_attribute(key, given))
        node.attrs = {k: v for k, v in new.attrs.items() if not isinstance(v, Body)}
        self._sign(proto, anchor, alone)
        self.model.add_node(node, proto, self.scope)
        for attribute in proto.attribute:
            if isinstance(new.attrs[attribute.name], Body):
                inner = self.model.add_body(node, attribute.name, attribute.g, self.scope)
                node.attrs[attribute.name] = inner
        return node

    def _body(self, body: Body, rename: dict[int, gs.Tensor], anchor: gs.Node) -> GraphProto:
        """A body with names; what its nodes read from outside has its own by now."""
        label = node_label(anchor)
        names = {
            id(p.tensor): self.model.fresh_name(f"{label}/{p.tensor.name}") for p in body.inputs
        }
        graph = GraphProto(name=self.model.fresh_name(f"{label}/body"))
        for new in body.new:
            inputs = [
                names.get(id(t)) or self._settle(rename.get(id(t), t), anchor).name
                for t in new.inputs
            ]
            for out in new.outputs:
                names[id(out)] = self.model.fresh_name(f"{label}/{new.op}")
            name = self.model.fresh_name(f"{label}/{new.op}")
            proto = NodeProto(op_type=new.op, name=name, domain=new.domain)
            proto.input.extend(inputs)
            proto.output.extend(names[id(out)] for out in new.outputs)
            proto.attribute.extend(_attribute(k, v) for k, v in new.attrs.items())
            self._sign(proto, anchor, False)
            graph.node.append(proto)
        for ports, listed in ((body.inputs, graph.input), (body.outputs, graph.output)):
            listed.extend(
                onnx.helper.make_tensor_value_info(names[id(p.tensor)], p.dtype, p.shape)
                for p in ports
            )
        return graph

    def _sign(self, proto: NodeProto, anchor: gs.Node, alone: bool) -> None:
        origin = self.model.origin(anchor)
        if origin is not None:
            proto.doc_string = origin.doc_string if alone else ""
            proto.metadata_props.extend(origin.metadata_props)
        label = node_label(anchor)
        sign(
            proto,
            pass_name=self.pass_.name,
            came_from=f"{self.scope.path}:{label}" if self.scope.path else label,
            ir_version=self.model.proto.ir_version,
        )

    def _settle(self, tensor: gs.Tensor, anchor: gs.Node) -> gs.Tensor:
        """Give a constant that a pass made its name and its place among the initializers."""
        if (
            isinstance(tensor, gs.Constant)
            and not isinstance(tensor._values, StoredValues)
            and not self.model.is_settled(tensor)
        ):
            tensor.name = self.model.fresh_name(f"{node_label(anchor)}/{tensor.name}")
            self.model.add_constant(tensor, self.scope)
        return tensor

    def _reroute(self, out: gs.Tensor, tensor: gs.Tensor, anchor: gs.Node) -> list[gs.Node]:
        """Let the readers of ``out`` read ``tensor``; an output of the graph gets an Identity."""
        tensor = self._settle(tensor, anchor)
        for node in dict.fromkeys(_Key(n) for n in self.model.consumers(out)):
            for k, given in enumerate(node.node.inputs):
                if given is out:
                    list.__setitem__(node.node.inputs, k, tensor)
                    list.append(tensor.outputs, node.node)
        list.clear(out.outputs)
        if not self.model.is_output(out):
            return []
        bridge = New("Identity", (tensor,), (gs.Variable("bridge"),))
        return [self._make(bridge, {id(bridge.outputs[0]): out}, anchor, False)]

    # -- the end of a pass ------------------------------------------------------------------------

    def finish(self) -> None:
        """Sweep what lost its last reader, and rebuild the node list: linear in the scope."""
        if not self._killed:
            return
        self._sweep()
        dead = self._killed
        for tensor in {id(t): t for t in self._touched}.values():
            kept = [n for n in tensor.outputs if self.model.alive(n)]
            list.__setitem__(tensor.outputs, slice(None), kept)
            needed = tensor.outputs or self.model.is_output(tensor) or self.model.is_input(tensor)
            if isinstance(tensor, gs.Constant) and not needed:
                self.model.drop_constant(tensor)
        for scope in {id(s): s for s in (self.model.scope_of(n) for n in dead)}.values():
            scope.graph.nodes[:] = list(in_order(self.model, self._listed(scope)))

    def _listed(self, scope: Scope) -> Iterator[gs.Node]:
        for node in scope.graph.nodes:
            # New nodes may themselves have been replaced within the pass.
            stack = [node]
            while stack:
                top = stack.pop()
                if self.model.alive(top):
                    yield top
                else:
                    stack.extend(reversed(self._placed.get(id(top), [])))

    def _sweep(self) -> None:
        work = list(self._touched)
        while work:
            node = self.model.producer(work.pop())
            if node is None or any(
                self.model.consumers(t) or self.model.is_output(t) for t in node.outputs
            ):
                continue
            self.model.kill(node)
            self._killed.append(node)
            inputs = list(_read_by(node))
            self._touched.extend(inputs)
            work.extend(inputs)


def _attribute(name: str, value: object) -> AttributeProto:
    if isinstance(value, gs.Constant):
        return onnx.helper.make_attribute(name, constant_proto(value))
    if isinstance(value, list | tuple) and not value:
        return onnx.helper.make_attribute(name, [], attr_type=AttributeProto.INTS)
    return onnx.helper.make_attribute(name, value)


class _Key:
    """A node as a dictionary key: by identity."""

    __slots__ = ("node",)

    def __init__(self, node: gs.Node) -> None:
        self.node = node

    def __hash__(self) -> int:
        return id(self.node)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.node is self.node


def _read_by(node: gs.Node) -> Iterator[gs.Tensor]:
    """The tensors that a node reads, those read inside its subgraphs included."""
    for tensor in node.inputs:
        if tensor.name:
            yield tensor
    for value in node.attrs.values():
        if isinstance(value, gs.Graph):
            for inner in value.nodes:
                yield from _read_by(inner)
