"""Nodes that others wrote as protos, written into a rewrite."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, numpy_helper

from onnx_fix.emit import Emitter


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


def attributes(proto: NodeProto) -> dict[str, Any]:
    """The attributes of a node as an emitter takes them."""
    return {a.name: _attribute(a) for a in proto.attribute}


def _attribute(attribute: AttributeProto) -> object:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.type == attribute.TENSOR:
        return gs.Constant("", np.asarray(numpy_helper.to_array(value)))
    if isinstance(value, bytes):
        return value.decode()
    return list(value) if attribute.type in (attribute.INTS, attribute.FLOATS) else value
