"""The pass ``map-to-plugins``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Exactness, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.plugin_table import (
    InputRule,
    NoCounterpart,
    NodeBody,
    PluginEntry,
    bodies_of,
    expanded,
    translated,
)
from onnx_fix.plugin_table.bodies import as_tensors, body_of, opset_of_body
from onnx_fix.plugin_table.entries import parsed_nodes
from onnx_fix.scope import Scope
from onnx_fix.signs import Signs
from onnx_fix.target import TensorFacts
from onnx_fix_passes._from_protos import emit_all


@dataclass(frozen=True)
class MapToPlugins(Pass):
    """Ops become the plugin nodes that a table names, or what the plugin computes.

    The table is `plugins:` of the pipeline file. An entry names an op, the plugin that takes its
    place, how attributes are translated, and what the inputs must be. Inputs are cast and reordered
    for the plugin, constants become attributes, and outputs are reshaped, as the entry says. Where
    the target does not ship the plugin, or the entry names none, the body of the entry takes the
    place of the op, which verification runs for either.

    Before:
        y = mmdeploy.MMCVMultiScaleDeformableAttention(value, shapes, starts, places, weights)
    After:
        z = trt.plugins.MultiscaleDeformableAttnPlugin_TRT<plugin_version = "1",
        plugin_namespace = "">(value, Cast(shapes), Cast(starts), places, weights)
        y = Reshape(z, [0, 0, -1])
    Exact:
        As the entry says; rounding only where it says nothing. Left alone: ops of ONNX, and plugins
        of TensorRT, that the target takes; nodes with an attribute, a type or a rank that the entry
        does not know; and plugins whose name the parser keeps for an op of its own.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.INLINE
    default: ClassVar[bool] = False
    without_plugins: ClassVar[Mapping[str, object]] = MappingProxyType({"form": "onnx"})

    table: tuple[PluginEntry, ...] = ()
    """The entries, as in `plugins:` of the pipeline file."""

    form: Literal["plugin", "onnx"] = "plugin"
    """``plugin``: plugin nodes where the target has the plugin; ``onnx``: bodies alone."""

    def plugin_bodies(self) -> Sequence[NodeBody]:
        return bodies_of(expanded(self.table))

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        entries: dict[tuple[str, str], list[PluginEntry]] = {}
        for entry in expanded(self.table):
            for key in entry.keys:
                entries.setdefault(key, []).append(entry)
        for (domain, op), known in entries.items():
            for node in scope.nodes(op, domain=domain):
                site = self._site(scope, node, known)
                if site is not None:
                    yield site

    def _site(
        self, scope: Scope, node: gs.Node, known: Sequence[PluginEntry]
    ) -> Rewrite | Skip | None:
        """The rewrite by the first entry that fits; else why none does."""
        if (node.domain or "", node.op) in {
            (f.domain, f.name) for f in scope.model.proto.functions
        }:
            return None
        reason = ""
        count = len([t for t in node.inputs if t.name])
        # Entries of one op differ in what is optional; those of another count say least.
        for entry in sorted(known, key=lambda e: len(e.inputs) != count):
            taken = entry.is_standard or node.op in scope.target.plugins
            if taken and not (entry.everywhere or scope.refused(node)):
                continue
            try:
                return self._rewrite(scope, node, entry)
            except NoCounterpart as error:
                reason = reason or str(error)
        return Skip(node, reason) if reason else None

    def _rewrite(self, scope: Scope, node: gs.Node, entry: PluginEntry) -> Rewrite:
        refs = [k for k, v in node.attrs.items() if isinstance(v, gs.Node.AttributeRef)]
        if refs:
            raise NoCounterpart(
                f"its attribute {refs[0]} is a parameter of the enclosing function; inline it first"
            )
        if entry.is_standard and scope.opset < entry.since:
            raise NoCounterpart(
                f"the table has it as operator set {entry.since} does, and the model has "
                f"{scope.opset}"
            )
        inputs = _inputs(scope, node, entry)
        if entry.by:
            raise NoCounterpart(f"{entry.by} writes it in ops; the table is for verification alone")
        if len(node.outputs) > len(entry.outputs):
            raise NoCounterpart(
                f"it has {len(node.outputs)} outputs, the table {len(entry.outputs)}"
            )
        attributes = translated(
            entry, dict(node.attrs), partial(_numbers, scope, inputs), scope.opset
        )
        why = "plugins are not wanted" if self.form == "onnx" else ""
        why = why or _against(scope, entry, inputs, attributes)
        e = Emitter(scope)
        if not why:
            results = _by_plugin(e, scope, entry, inputs, attributes)
            note = _note(scope, entry)
        elif entry.body is None or entry.is_standard:
            raise NoCounterpart(why)
        else:
            results = _by_body(e, scope, entry, inputs, attributes)
            note = f"plain ONNX ops, since {why}" if entry.plugin else ""
        pairs = [
            (old, new) for old, new in zip(node.outputs, results, strict=False) if old.name
        ]  # fmt: skip
        exactness = Exactness.EXACT if entry.exact else Exactness.ROUNDING
        return e.rewrite(node, pairs, exactness=exactness, note=note)


def _inputs(scope: Scope, node: gs.Node, entry: PluginEntry) -> dict[str, gs.Tensor]:
    """The inputs by their names in the table, checked."""
    given = list(node.inputs)
    while given and not given[-1].name:
        given.pop()
    if len(given) != len(entry.inputs) or any(not t.name for t in given):
        raise NoCounterpart(f"it has {len(given)} inputs, the table {len(entry.inputs)}")
    for tensor, rule in zip(given, entry.inputs, strict=True):
        _check(scope, tensor, rule)
    return {rule.name: tensor for tensor, rule in zip(given, entry.inputs, strict=True)}


def _check(scope: Scope, tensor: gs.Tensor, rule: InputRule) -> None:
    dtype, rank = scope.dtype(tensor), scope.rank(tensor)
    if rule.types and dtype is None:
        raise NoCounterpart(f"the element type of its input {rule.name} is not known")
    if rule.types and dtype not in {_number(name) for name in rule.types}:
        said = TensorProto.DataType.Name(dtype or 0).lower()
        raise NoCounterpart(
            f"its input {rule.name} is of type {said}; the table has {', '.join(rule.types)}"
        )
    if rule.constant and scope.constness(tensor) == "runtime":
        raise NoCounterpart(f"its input {rule.name} is no constant")
    ranks = (rule.rank,) if isinstance(rule.rank, int) else rule.rank
    if ranks is not None and rank not in ranks:
        said = "not known" if rank is None else str(rank)
        wanted = " or ".join(map(str, ranks))
        raise NoCounterpart(f"the rank of its input {rule.name} is {said}, not {wanted}")
    shape = scope.shape(tensor) or ()
    for axis in rule.known:
        if axis >= len(shape) or not isinstance(shape[axis], int):
            raise NoCounterpart(f"the size of its input {rule.name} along axis {axis} is not known")
    if rule.nonnegative and not Signs(scope, None).nonnegative(tensor):
        raise NoCounterpart(f"its input {rule.name} may be negative, for all that is known")


def _number(name: str) -> int:
    return int(TensorProto.DataType.Value(name.upper()))


def _numbers(scope: Scope, inputs: dict[str, gs.Tensor], name: str) -> list[float] | None:
    value = scope.folded(inputs[name])
    return None if value is None else np.asarray(value, np.float64).reshape(-1).tolist()


def _against(
    scope: Scope, entry: PluginEntry, inputs: dict[str, gs.Tensor], attributes: dict[str, Any]
) -> str:
    """Why the plugin cannot stand there; empty where it can."""
    target, plugin = scope.target, entry.plugin
    if plugin is None:
        return "the entry names no plugin"
    if target.has_importer(plugin):
        return f"the parser of {target.name} has an importer called {plugin}, which goes first"
    if entry.targets is not None:
        if target.name not in entry.targets:
            return f"{target.name} is none of the targets of {plugin}: {', '.join(entry.targets)}"
    elif entry.library:
        return (
            f"{plugin} is in {entry.library}; name the releases that it is built for, such as "
            f"`targets: [{target.name}]` beside `use`"
        )
    elif plugin not in target.plugins:
        return f"{target.name} does not ship {plugin}"
    given = [inputs.get(name, TensorFacts("")) for name in entry.plugin_inputs]
    whole = {**attributes, **_creator(entry)}
    verdict = scope.proposed(plugin, given, whole)
    # A plugin that the table places there is found, whatever ops and plugins the release has.
    placed = {"no_importer", "unknown_plugin"} if entry.targets is not None else set()
    findings = (f for f in verdict.findings if f.kind not in placed)
    refusing = [f for f in findings if f.refuses and not f.in_doubt]
    return refusing[0].why if verdict.status == "refused" and refusing else ""


def _note(scope: Scope, entry: PluginEntry) -> str:
    """What the user has to know of a plugin node."""
    stock = entry.plugin in scope.target.plugins
    where = f"is a plugin that {scope.target.name} ships" if stock else "needs a library"
    if entry.library and not stock:
        where = f"needs {entry.library}"
    said = "compared by the body in the table" if entry.body else "not compared: it has no body"
    more = f"; it {entry.note}" if entry.note else ""
    return f"{entry.plugin} {where}; {said}{more}"


def _creator(entry: PluginEntry) -> dict[str, str]:
    return {"plugin_version": entry.version, "plugin_namespace": entry.namespace}


def _by_plugin(
    e: Emitter,
    scope: Scope,
    entry: PluginEntry,
    inputs: dict[str, gs.Tensor],
    attributes: dict[str, Any],
) -> list[gs.Tensor]:
    casts = {rule.name: rule.cast for rule in entry.inputs}
    read = inputs if entry.before else entry.plugin_inputs
    ready = {name: _cast(e, scope, inputs[name], casts[name]) for name in read}
    if entry.before:
        nodes = as_tensors(parsed_nodes(entry, entry.before, entry.plugin_inputs).node)
        ready.update(emit_all(e, nodes, lambda name: ready.get(name)))
    given = [ready[name] for name in entry.plugin_inputs]
    made = e.many(
        str(entry.plugin),
        len(entry.outputs),
        *given,
        domain=entry.domain,
        **attributes,
        **_creator(entry),
    )
    return [
        e.reshape(tensor, entry.reshape[name]) if name in entry.reshape else tensor
        for name, tensor in zip(entry.outputs, made, strict=True)
    ]


def _cast(e: Emitter, scope: Scope, tensor: gs.Tensor, wanted: str | None) -> gs.Tensor:
    if wanted is None or scope.dtype(tensor) == _number(wanted):
        return tensor
    return e.cast(tensor, _number(wanted))


def _by_body(
    e: Emitter,
    scope: Scope,
    entry: PluginEntry,
    inputs: dict[str, gs.Tensor],
    attributes: dict[str, Any],
) -> list[gs.Tensor]:
    function = body_of(entry, attributes, of_op=True)
    wanted = opset_of_body(function)
    if scope.opset < wanted:
        raise NoCounterpart(
            f"its meaning in ONNX ops needs operator set {wanted}, and the model has "
            f"{scope.opset}; write `opset: {wanted}` in the pipeline, and fix the result once more "
            "where the target wants an older one"
        )
    made = emit_all(e, function.node, lambda name: inputs.get(name))
    return [made[name] for name in entry.outputs]
