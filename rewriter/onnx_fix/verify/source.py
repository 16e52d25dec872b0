"""A model to run: its proto, and where its external weights lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from onnx_fix.errors import ModelError
from onnx_fix.functions import all_nodes, bodies_of, every_node
from onnx_fix.plugin_table.bodies import DOMAIN, NodeBody, opset_of_body
from onnx_fix.scope import STANDARD_DOMAINS
from onnx_fix.verify.symbols import fed_inputs, input_dims

_FUNCTIONS_SINCE_IR = 8

PluginBody = onnx.FunctionProto | NodeBody
"""What a plugin node computes: one function for all, or what makes a function for each."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """One of the models that are compared.

    ``path`` is the file that holds exactly ``proto``, or None where there is none; ``base_dir`` is
    the folder that locations of external weights start from.
    """

    proto: onnx.ModelProto
    path: Path | None
    base_dir: Path | None

    @classmethod
    def of(
        cls,
        model: onnx.ModelProto | str | Path,
        base_dir: str | Path | None = None,
        plugin_bodies: Sequence[PluginBody] = (),
    ) -> ModelSource:
        """Take a model or a file, and give its plugin nodes bodies (in a copy in memory).

        Args:
            model: A model, which stays as it is, or the path of one.
            base_dir: The folder of the external weights; for a path the file's own folder.
            plugin_bodies: Bodies for the plugin nodes; those that no node needs are left out.

        Raises:
            ModelError: The file cannot be read or is no ONNX model.
        """
        folder = Path(base_dir) if base_dir is not None else None
        path: Path | None = None
        if isinstance(model, onnx.ModelProto):
            proto = model
        else:
            path = Path(model)
            folder = folder or path.parent
            proto = _read(path)
            if folder != path.parent:
                path = None
        whole = with_bodies(proto, plugin_bodies)
        return cls(whole, path if whole is proto else None, folder)

    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs that must be fed."""
        return tuple(value.name for value in fed_inputs(self.proto))

    def outputs(self) -> tuple[str, ...]:
        """Names of the graph outputs, in order."""
        return tuple(value.name for value in self.proto.graph.output)


@dataclass(frozen=True, slots=True)
class ChainSource:
    """Models that run one after the other, each on what was fed or an earlier one has made."""

    links: tuple[ModelSource, ...]
    given: tuple[str, ...]
    """Names of the inputs that must be fed."""
    wanted: tuple[str, ...]
    """Names of the tensors that come out in the end; one of the inputs may be among them."""
    declared: Mapping[str, tuple[int | str, ...]]
    """The dims of what is fed and of what goes between the models, where they are declared."""

    @classmethod
    def of(
        cls,
        models: Sequence[onnx.ModelProto | str | Path],
        whole: onnx.ModelProto,
        base_dir: str | Path | None = None,
        plugin_bodies: Sequence[PluginBody] = (),
    ) -> ChainSource:
        """Take models that stand for ``whole`` together; the rest is as in `ModelSource.of`.

        Raises:
            ModelError: A file cannot be read or is no ONNX model.
        """
        links = tuple(ModelSource.of(model, base_dir, plugin_bodies) for model in models)
        made = {name for link in links for name in link.outputs()}
        given = {name for link in links for name in link.inputs()} - made
        ends = tuple(value.name for value in whole.graph.output)
        # An input that no link reads may be fed all the same.
        fed = tuple(v.name for v in fed_inputs(whole))
        entering = [*fed_inputs(whole), *(v for link in links for v in fed_inputs(link.proto))]
        declared = {v.name: dims for v in entering if (dims := input_dims(v)) is not None}
        return cls(links, (*fed, *sorted(given - set(fed))), ends, declared)

    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs that must be fed."""
        return self.given

    def outputs(self) -> tuple[str, ...]:
        """Names of the tensors that come out in the end."""
        return self.wanted


Source = ModelSource | ChainSource


def _read(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path, load_external_data=False)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(f"{path}: cannot be read: {reason}") from error
    except Exception as error:  # protobuf's own DecodeError, of whichever protobuf is installed
        raise ModelError(f"{path}: is not an ONNX model (or is cut short)") from error


_RANDOM = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)


def random_outputs(model: onnx.ModelProto) -> frozenset[str]:
    """Return the graph outputs that depend on a random operator, also one in a nested graph."""
    random_functions: set[tuple[str, str]] = set()
    switched_off = {"", *_constant_false(model)}

    def is_random(node: onnx.NodeProto) -> bool:
        if node.op_type in _RANDOM or (node.domain, node.op_type) in random_functions:
            return True
        if node.op_type == "Dropout" and len(node.input) == 3:
            return node.input[2] not in switched_off
        return any(is_random(inner) for graph in bodies_of(node) for inner in graph.node)

    found = True
    while found:
        found = False
        for body in model.functions:
            key = body.domain, body.name
            if key not in random_functions and any(map(is_random, body.node)):
                random_functions.add(key)
                found = True
    tainted: set[str] = set()
    for node in model.graph.node:
        read = (name for _, inner in every_node([node]) for name in inner.input)
        if is_random(node) or any(name in tainted for name in read):
            tainted.update(name for name in node.output if name)
    return frozenset(value.name for value in model.graph.output if value.name in tainted)


def _constant_false(model: onnx.ModelProto) -> Iterator[str]:
    """Yield the names of bool constants that are false, such as a training mode."""
    named = [(tensor.name, tensor) for tensor in model.graph.initializer]
    for node in all_nodes(model):
        if node.op_type == "Constant":
            named += [(node.output[0], a.t) for a in node.attribute if a.name == "value"]
    for name, tensor in named:
        scalar = tensor.data_type == onnx.TensorProto.BOOL and not tensor.dims
        if scalar and not onnx.numpy_helper.to_array(tensor).any():
            yield name


def with_bodies(model: onnx.ModelProto, bodies: Sequence[PluginBody]) -> onnx.ModelProto:
    """Return ``model`` with the bodies that its nodes need as local functions.

    The model itself is returned where it needs none. Attributes that nodes carry and a body does
    not declare (``plugin_version`` and its like) are declared, for onnx demands it.
    """
    shared = [body for body in bodies if isinstance(body, onnx.FunctionProto)]
    own = [body for body in bodies if isinstance(body, NodeBody)]
    return _with_shared(_with_own(model, own), shared)


def _with_own(model: onnx.ModelProto, bodies: Sequence[NodeBody]) -> onnx.ModelProto:
    """Give the nodes that a table knows functions for their very attributes."""
    present = {(body.domain, body.name) for body in model.functions}
    named = {name for b in bodies for name in (b.entry.plugin, *(op for _, op in b.entry.keys))}

    def body_of(node: onnx.NodeProto) -> onnx.FunctionProto | None:
        if node.op_type not in named or (node.domain, node.op_type) in present:
            return None
        made = (body.function(node) for body in bodies)
        return next((function for function in made if function is not None), None)

    if not any(body_of(node) for node in all_nodes(model)):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = max(copy.ir_version, _FUNCTIONS_SINCE_IR)
    made: dict[str, onnx.FunctionProto] = {}
    for node in all_nodes(copy):
        function = body_of(node)
        if function is None:
            continue
        made[function.name] = function
        node.domain, node.op_type = function.domain, function.name
        del node.attribute[:]
    _import_domains(copy, {DOMAIN})
    copy = _raised(copy, max(map(opset_of_body, made.values())))
    opset = max(e.version for e in copy.opset_import if e.domain in STANDARD_DOMAINS)
    for function in made.values():
        body = copy.functions.add()
        body.CopyFrom(function)
        for entry in body.opset_import:
            entry.version = max(entry.version, opset)
    return copy


def _raised(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The model at an operator set that the bodies are written for, where it can be raised.

    onnxruntime runs functions with the operator set of the model.
    """
    from onnx_fix.load import opset_of
    from onnx_fix.raising import raise_opset

    if opset_of(model.opset_import) >= opset or model.functions:
        return model
    return raise_opset(model, opset).model


def _import_domains(model: onnx.ModelProto, domains: set[str]) -> None:
    holders: list[onnx.ModelProto | onnx.FunctionProto] = [model, *model.functions]
    for holder in holders:
        imported = {entry.domain for entry in holder.opset_import}
        for domain in sorted(domains - imported):
            holder.opset_import.add(domain=domain, version=1)


def _with_shared(model: onnx.ModelProto, bodies: Sequence[onnx.FunctionProto]) -> onnx.ModelProto:
    """Give the nodes of an op the one function that computes them all."""
    present = {(body.domain, body.name) for body in model.functions}
    by_name = {(body.domain, body.name): body for body in bodies}
    wanted: dict[tuple[str, str], set[str]] = {}
    pending = list(all_nodes(model))
    while pending:
        node = pending.pop()
        key = node.domain, node.op_type
        if key not in by_name or key in present:
            continue
        if key not in wanted:
            wanted[key] = set()
            pending.extend(by_name[key].node)
        wanted[key].update(attribute.name for attribute in node.attribute)
    if not wanted:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = max(copy.ir_version, _FUNCTIONS_SINCE_IR)
    for key in sorted(wanted):
        body = copy.functions.add()
        body.CopyFrom(by_name[key])
        declared = {*body.attribute, *(attribute.name for attribute in body.attribute_proto)}
        body.attribute.extend(sorted(wanted[key] - declared))
    _import_domains(copy, {key[0] for key in wanted})
    return copy
