"""What the nodes of an entry compute, as functions of the model that verification runs."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnx_fix.plugin_table.entries import ONNX_BODY, PluginEntry, function_text, parsed_nodes
from onnx_fix.plugin_table.translate import (
    NoCounterpart,
    converted,
    inverted,
    of_plugin,
    of_proto,
    translated,
)

DOMAIN = "onnx_fix.bodies"
"""The domain of the functions, in models in memory alone."""


_CONSTANTS = {
    "value_int": np.int64,
    "value_ints": np.int64,
    "value_float": np.float32,
    "value_floats": np.float32,
}
"""How a Constant node says numbers without a tensor."""


def no_numbers(_name: str) -> list[float] | None:
    """No input is known to be a constant."""
    return None


@dataclass(frozen=True)
class NodeBody:
    """Makes functions for the nodes of one entry: those of its op, and plugin nodes."""

    entry: PluginEntry

    def function(self, node: onnx.NodeProto) -> onnx.FunctionProto | None:
        """The function that computes a node, without attributes; None where there is none."""
        entry = self.entry
        if entry.body is None:
            return None
        known = node.domain in ("", "ai.onnx") and onnx.defs.has(node.op_type)
        is_plugin = node.op_type == entry.plugin and not known
        is_op = (node.domain, node.op_type) in entry.keys and not known
        if not (is_plugin or is_op) or any(a.ref_attr_name for a in node.attribute):
            return None
        wanted = len(entry.plugin_inputs if is_plugin and not is_op else entry.inputs)
        if len([name for name in node.input if name]) != wanted:
            return None
        try:
            if is_op:
                made = body_of(entry, translated(entry, of_proto(node), no_numbers), of_op=True)
            else:
                made = body_of(entry, of_plugin(entry, of_proto(node)))
        except NoCounterpart:
            return None
        if len(node.output) < len(made.output):
            # onnxruntime takes no call that leaves outputs out.
            del made.output[len(node.output) :]
            made.name += f"_{len(made.output)}"
        return made


def bodies_of(entries: Iterable[PluginEntry]) -> list[NodeBody]:
    """Those of entries that have a body."""
    return [NodeBody(entry) for entry in entries if entry.body is not None]


def body_of(
    entry: PluginEntry, attributes: Mapping[str, Any], *, of_op: bool = False
) -> onnx.FunctionProto:
    """What the plugin computes with the given attributes; with ``of_op`` what the op does.

    Raises:
        NoCounterpart: the attributes are none that the table makes.
    """
    if entry.body == ONNX_BODY:
        function = _of_op(entry, inverted(entry, attributes))
    else:
        more = {n: converted(r, n, attributes.get(r.from_ or n)) for n, r in entry.derived.items()}
        text = {name: written(value) for name, value in {**attributes, **more}.items()}
        body = string.Template(entry.body or "").substitute(text)
        function = onnx.parser.parse_function(function_text(entry, body, "f", DOMAIN))
    if of_op:
        function.input[:] = [i.name for i in entry.inputs]
        if entry.before:
            made = [*parsed_nodes(entry, entry.before, entry.plugin_inputs).node, *function.node]
            del function.node[:]
            function.node.extend(made)
        _reshape(entry, function)
    as_tensors(function.node)
    digest = hashlib.sha256(function.SerializeToString(deterministic=True)).hexdigest()
    function.name = f"{entry.op_type}_{digest[:16]}"
    return function


def _of_op(entry: PluginEntry, attributes: Mapping[str, Any]) -> onnx.FunctionProto:
    # Plugins want INT32 where ONNX has INT64 for indices.
    whole = {i.name: f"{i.name}_int64" for i in entry.inputs if i.cast in ("int32", "int64")}
    nodes = [
        helper.make_node("Cast", [name], [wide], to=onnx.TensorProto.INT64)
        for name, wide in whole.items()
    ]
    given = [whole.get(i.name, i.name) for i in entry.inputs]
    nodes.append(helper.make_node(entry.op_type, given, list(entry.outputs), **attributes))
    imports = [helper.make_opsetid("", entry.opset)]
    names = list(entry.plugin_inputs)
    return helper.make_function(DOMAIN, "f", names, list(entry.outputs), nodes, imports)


def as_tensors(nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Write the values of Constant nodes as tensors, which every operator set has."""
    made = list(nodes)
    for node in made:
        _as_tensor(node)
    return made


def _as_tensor(node: onnx.NodeProto) -> None:
    if node.op_type != "Constant" or node.attribute[0].name not in _CONSTANTS:
        return
    attribute = node.attribute[0]
    values = np.asarray(helper.get_attribute_value(attribute), _CONSTANTS[attribute.name])
    tensor = onnx.numpy_helper.from_array(values, node.output[0])
    node.attribute[0].CopyFrom(helper.make_attribute("value", tensor))


def _reshape(entry: PluginEntry, function: onnx.FunctionProto) -> None:
    """Give the outputs the shapes that the op has."""
    for name, shape in entry.reshape.items():
        inner = f"{name}_of_plugin"
        for node in function.node:
            for k, output in enumerate(node.output):
                node.output[k] = inner if output == name else output
            for k, read in enumerate(node.input):
                node.input[k] = inner if read == name else read
        wanted = f"{name}_shape"
        tensor = helper.make_tensor(wanted, onnx.TensorProto.INT64, [len(shape)], shape)
        function.node.append(helper.make_node("Constant", [], [wanted], value=tensor))
        function.node.append(helper.make_node("Reshape", [inner, wanted], [name]))


def written(value: Any) -> str:
    """A value of an attribute as ONNX text."""
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text or "e" in text or "n" in text else f"{text}.0"
    return str(value)


def opset_of_body(function: onnx.FunctionProto) -> int:
    """The default operator set that a body imports."""
    return next(int(e.version) for e in function.opset_import if e.domain in ("", "ai.onnx"))
