"""Write a model for a newer operator set.

Only the nodes whose op has another version there are touched, each by itself: onnx's version
converter gets a model of that one node, where it is right (``_RULES`` has the rest). So names,
weights, annotations and everything else that the converter drops from whole models stay as they
are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from onnx_fix.errors import ModelError
from onnx_fix.functions import graphs_of, has_bodies, label_of
from onnx_fix.load import opset_of
from onnx_fix.lower import Refusal
from onnx_fix.model import Model
from onnx_fix.scope import STANDARD_DOMAINS, Scope
from onnx_fix.sign import sign
from onnx_fix.target import default_target

_CONVERTER_ERRORS = (
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    onnx.version_converter.ConvertError,
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
)
_MOST_ELEMENTS = 4096
"""Constants of more elements than this are no axes, sizes or scales: their type is enough."""

_BY_BODY = frozenset({"If", "Loop", "Scan"})
"""Ops that only took in more types; the nodes inside them are written one by one."""


@dataclass(frozen=True, slots=True)
class Raised:
    """The raised model, how many nodes were rewritten by op, and what stood in the way.

    With refusals ``model`` is the original.
    """

    model: ModelProto
    rewritten: dict[str, int]
    refusals: tuple[Refusal, ...]


class _Refused(Exception):
    """Why a node cannot be written for the newer operator set."""


def raise_opset(model: ModelProto, opset: int, *, pass_name: str = "raise-opset") -> Raised:
    """Write a model for the operator set ``opset`` of the default domain.

    Args:
        model: Never changed. Weights may be stubs. Functions must have been inlined.
        opset: Not below that of the model.
        pass_name: What new nodes are signed with.
    """
    have = opset_of(model.opset_import)
    proto = ModelProto()
    proto.CopyFrom(model)
    work = _Work(proto, have, opset, pass_name)
    work.graph(proto.graph, "")
    if work.refusals:
        return Raised(model, {}, tuple(work.refusals))
    for entry in proto.opset_import:
        if entry.domain in STANDARD_DOMAINS:
            entry.version = opset
    needed = onnx.helper.find_min_ir_version_for(list(proto.opset_import), ignore_unknown=True)
    proto.ir_version = max(proto.ir_version, needed)
    return Raised(proto, dict(work.rewritten), ())


class _Work:
    """A model on its way up. The types are those of the model as given: they do not change."""

    def __init__(self, proto: ModelProto, have: int, wanted: int, pass_name: str) -> None:
        self.proto = proto
        self._have, self._wanted = have, wanted
        self._pass_name = pass_name
        self.rewritten: Counter[str] = Counter()
        self.refusals: list[Refusal] = []
        view = Model(proto, None, default_target())
        self._view = view
        self._scopes = iter(view.scopes)
        self._names = {n for scope in view.scopes for n in scope.tensors}
        self._names |= {n.name for scope in view.scopes for n in scope.graph.nodes}
        self._counts: dict[str, int] = {}

    def graph(self, graph: GraphProto, path: str) -> None:
        """Go over the nodes of a graph, and of those inside it first."""
        scope = next(self._scopes)
        nodes: list[NodeProto] = []
        for node in list(graph.node):
            for label, body in graphs_of(node):
                self.graph(body, f"{path}/{label}" if path else label)
            try:
                written = self._node(node, scope)
            except _Refused as refused:
                refusal = Refusal(path, label_of(node), node.op_type, self._have, str(refused))
                self.refusals.append(refusal)
                written = None
            if written is None:
                nodes.append(node)
                continue
            self.rewritten[node.op_type] += 1
            label = label_of(node)
            for made in written:
                sign(
                    made,
                    pass_name=self._pass_name,
                    came_from=f"{path}:{label}" if path else label,
                    ir_version=self.proto.ir_version,
                )
            nodes.extend(written)
        fresh = [NodeProto.FromString(n.SerializeToString()) for n in nodes]
        del graph.node[:]
        graph.node.extend(fresh)

    def _node(self, node: NodeProto, scope: Scope) -> list[NodeProto] | None:
        """What stands in the place of a node, or None where it stays."""
        if node.domain not in STANDARD_DOMAINS:
            return None
        before, after = (_schema(node.op_type, v) for v in (self._have, self._wanted))
        if before is None:
            raise _Refused(f"{node.op_type} does not exist at opset {self._have}")
        if after is not None and after.since_version == before.since_version:
            return None
        if node.op_type in _BY_BODY and (node.op_type, before.since_version) != ("Scan", 8):
            return None
        if has_bodies(node):
            raise _Refused(f"no rule writes {node.op_type} of opset {self._have} in a newer way")
        rule = _RULES.get(node.op_type)
        written = (
            None
            if rule is None
            else rule(_Old(node, self._have, self._wanted, partial(self._rank, scope)))
        )
        if written is not None:
            written = self._named_apart(node, written)
        else:
            written = self._converted(node, scope)
        return None if len(written) == 1 and written[0] == node else written

    def _converted(self, node: NodeProto, scope: Scope) -> list[NodeProto]:
        single = self._single(node, scope)
        try:
            done = onnx.version_converter.convert_version(single, self._wanted)
            onnx.checker.check_model(done, full_check=True)
        except _CONVERTER_ERRORS as error:
            raise _Refused(f"onnx's converter: {' '.join(str(error).split())}") from error
        return self._own(node, single, done)

    def _single(self, node: NodeProto, scope: Scope) -> ModelProto:
        """A model of one node, with the types of its tensors and the values of small constants."""
        inputs: list[ValueInfoProto] = []
        initializers: list[TensorProto] = []
        for name in dict.fromkeys(n for n in node.input if n):
            tensor = _tensor(scope, name)
            value = self._view.value_if_there(tensor, limit=_MOST_ELEMENTS)
            if value is not None:
                initializers.append(onnx.numpy_helper.from_array(value, name))
                continue
            inputs.append(self._info(name, scope))
        plain = NodeProto()
        plain.CopyFrom(node)
        plain.doc_string = ""
        del plain.metadata_props[:]
        outputs = [self._info(name, scope) for name in node.output if name]
        graph = onnx.helper.make_graph([plain], "one", inputs, outputs, initializers)
        single = onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid("", self._have)]
        )
        single.ir_version = max(4, min(self.proto.ir_version, onnx.IR_VERSION))
        return single

    def _info(self, name: str, scope: Scope) -> ValueInfoProto:
        known = self._view.type_of(_tensor(scope, name))
        if known.dtype is None:
            raise _Refused(f"the type of '{name}' is not known")
        return onnx.helper.make_tensor_value_info(name, known.dtype, known.shape)

    def _rank(self, scope: Scope, name: str) -> int | None:
        shape = self._view.type_of(_tensor(scope, name)).shape
        return None if shape is None else len(shape)

    def _own(self, node: NodeProto, single: ModelProto, done: ModelProto) -> list[NodeProto]:
        """The nodes of a converted model, under names that nothing else in the model has."""
        used = {name for made in done.graph.node for name in made.input}
        given = {t.name for t in single.graph.initializer}
        written = [
            _constant_node(tensor)
            for tensor in done.graph.initializer
            if tensor.name in used and tensor.name not in given
        ]
        written += [NodeProto.FromString(n.SerializeToString()) for n in done.graph.node]
        return self._named_apart(node, written)

    def _named_apart(self, node: NodeProto, written: list[NodeProto]) -> list[NodeProto]:
        kept = {*node.input, *node.output}
        renamed: dict[str, str] = {}
        base = label_of(node)
        for made in written:
            for k, name in enumerate(made.output):
                if name and name not in kept:
                    renamed[name] = self._fresh(f"{base}/{made.op_type}")
                    made.output[k] = renamed[name]
            for k, name in enumerate(made.input):
                made.input[k] = renamed.get(name, name)
        same = [m for m in written if m.op_type == node.op_type]
        heir = same[0] if len(same) == 1 else written[-1]
        for made in written:
            made.name = node.name if made is heir else self._fresh(f"{base}/{made.op_type}")
        heir.doc_string = node.doc_string
        del heir.metadata_props[:]
        heir.metadata_props.extend(node.metadata_props)
        return written

    def _fresh(self, base: str) -> str:
        name = base
        while name in self._names:
            self._counts[base] = self._counts.get(base, 0) + 1
            name = f"{base}_{self._counts[base]}"
        self._names.add(name)
        return name


def _constant_node(tensor: TensorProto) -> NodeProto:
    return onnx.helper.make_node("Constant", [], [tensor.name], value=tensor)


def _tensor(scope: Scope, name: str) -> gs.Tensor:
    looked: Scope | None = scope
    while looked is not None:
        if name in looked.tensors:
            return looked.tensors[name]
        looked = looked.parent
    raise ModelError(f"'{name}' is made by no node and is no input or initializer")


def _schema(op: str, opset: int) -> onnx.defs.OpSchema | None:
    try:
        schema = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated else schema


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            if attribute.ref_attr_name:
                raise _Refused(f"attribute {name} is a parameter of the function; inline it")
            return onnx.helper.get_attribute_value(attribute)
    return default


@dataclass(frozen=True, slots=True)
class _Old:
    """A node of an older operator set, and what a rule may know of it."""

    node: NodeProto
    have: int
    wanted: int
    rank: Callable[[str], int | None]


def _broadcast(old: _Old) -> list[NodeProto] | None:
    """6 to 7: an attribute asked for broadcasting, of the second input along the axes from
    ``axis`` on; the converter does it for static shapes alone."""
    node = old.node
    if not old.have < 7 <= old.wanted:
        return None
    inputs, made = list(node.input), []
    axis = _attribute(node, "axis", None) if _attribute(node, "broadcast", 0) else None
    if axis is not None:
        ranks = [old.rank(name) for name in inputs]
        a, b = ranks[0], ranks[1]
        if a is None or b is None:
            raise _Refused(f"it broadcasts along axis {axis}, and a rank is not known")
        last = (axis + a if axis < 0 else axis) + b
        if last < a:
            axes = list(range(b, b + a - last))
            made = _unsqueeze(inputs[1], axes, old.wanted)
            inputs[1] = "spread"
    return [*made, onnx.helper.make_node(node.op_type, inputs, node.output)]


def _unsqueeze(name: str, axes: list[int], opset: int) -> list[NodeProto]:
    if opset < 13:
        return [onnx.helper.make_node("Unsqueeze", [name], ["spread"], axes=axes)]
    values = onnx.numpy_helper.from_array(np.asarray(axes, dtype=np.int64))
    return [
        onnx.helper.make_node("Constant", [], ["axes"], value=values),
        onnx.helper.make_node("Unsqueeze", [name, "axes"], ["spread"]),
    ]


def _hardmax(old: _Old) -> list[NodeProto] | None:
    """12 to 13: Hardmax took all axes from ``axis`` on as one; the converter lets it stand."""
    node = old.node
    if not old.have < 13 <= old.wanted:
        return None
    axis = _attribute(node, "axis", 1)
    if axis == -1:
        return [onnx.helper.make_node("Hardmax", node.input, node.output, axis=-1)]
    return [
        onnx.helper.make_node("Shape", [node.input[0]], ["shape"]),
        onnx.helper.make_node("Flatten", [node.input[0]], ["flat"], axis=axis),
        onnx.helper.make_node("Hardmax", ["flat"], ["marked"], axis=-1),
        onnx.helper.make_node("Reshape", ["marked", "shape"], [node.output[0]]),
    ]


def _resize(old: _Old) -> list[NodeProto] | None:
    """10 to 11: pixels stood at ``x / scale``, and the nearest was the one below. Upsample, which
    Resize replaced, meant the same; the converter gives Resize the new meaning."""
    node = old.node
    if not old.have < 11 <= old.wanted:
        return None
    made: list[NodeProto] = []
    if len(node.input) > 1:
        scales = node.input[1]
    else:
        given = _attribute(node, "scales", None)
        if given is None:
            raise _Refused(f"{node.op_type} has no scales")
        scales = "scales"
        values = onnx.numpy_helper.from_array(np.asarray(given, dtype=np.float32))
        made.append(onnx.helper.make_node("Constant", [], [scales], value=values))
    roi = ""
    if old.wanted < 13:
        roi = "roi"
        nothing = onnx.numpy_helper.from_array(np.zeros(0, dtype=np.float32))
        made.append(onnx.helper.make_node("Constant", [], [roi], value=nothing))
    mode = _attribute(node, "mode", b"nearest").decode()
    made.append(
        onnx.helper.make_node(
            "Resize",
            [node.input[0], roi, scales],
            node.output,
            mode="linear" if mode == "bilinear" else mode,
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
    )
    return made


_BROADCASTING = ["Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor"]

_RULES: Mapping[str, Callable[[_Old], list[NodeProto] | None]] = {
    **dict.fromkeys(_BROADCASTING, _broadcast),
    "Hardmax": _hardmax,
    "Resize": _resize,
    "Upsample": _resize,
}
"""What onnx's converter gets wrong or refuses upwards; a rule gives None at other versions."""
