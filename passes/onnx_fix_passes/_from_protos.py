"""Nodes that others wrote as protos, written into a rewrite."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, TensorProto, numpy_helper

from onnx_fix.emit import Emitter

Read = Callable[[TensorProto], NDArray[np.generic]]


def emit_all(
    e: Emitter, protos: Iterable[NodeProto], tensor: Callable[[str], gs.Tensor | None]
) -> dict[str, gs.Tensor]:
    """Emit nodes in order; the tensors they make by name.

    ``tensor`` gives those that no node of the list makes, None for one that is omitted. Constant
    nodes with a tensor become constants of the rewrite.
    """
    made: dict[str, gs.Tensor] = {}
    for proto in protos:
        value = constant_value(proto)
        if value is not None:
            made[proto.output[0]] = e.const(value)
            continue
        inputs = [made[name] if name in made else tensor(name) for name in proto.input]
        outputs = e.many(proto.op_type, len(proto.output), *inputs, **attributes(proto))
        made.update(zip(proto.output, outputs, strict=True))
    return made


def constant_value(proto: NodeProto) -> NDArray[np.generic] | None:
    """The tensor that a Constant node holds as ``value``."""
    if proto.op_type != "Constant":
        return None
    return next(
        (np.asarray(numpy_helper.to_array(a.t)) for a in proto.attribute if a.name == "value"),
        None,
    )


def attributes(proto: NodeProto, read: Read = numpy_helper.to_array) -> dict[str, Any]:
    """The attributes of a node as an emitter takes them; ``read`` gives the values of tensors."""
    return {a.name: _attribute(a, read) for a in proto.attribute}


def _attribute(attribute: AttributeProto, read: Read) -> object:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.type == attribute.TENSOR:
        return gs.Constant("", np.asarray(read(value)))
    if isinstance(value, bytes):
        return value.decode()
    if attribute.type == attribute.STRINGS:
        return [text.decode() for text in value]
    return list(value) if attribute.type in (attribute.INTS, attribute.FLOATS) else value
