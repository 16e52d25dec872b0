"""One node while it is being lowered, and what a rule may ask and make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import AttributeProto, NodeProto, TypeProto, helper, numpy_helper

from onnx_fix.scope import TypeInfo


class Refused(Exception):
    """A node that has no equivalent at the lower operator set; the text is the reason."""


@dataclass
class LowNode:
    """A node at the operator set ``opset``, to be written for ``opset - 1``.

    ``types`` gives what is known of a tensor by name, ``value`` the value of a small constant by
    name (None for a run-time tensor), ``fresh`` a tensor name that nothing else has, ``full`` the
    type of a value that may be a sequence or an optional, None where it is not known; ``inside``
    is the same for a value of the graph that an attribute holds. ``ir_version`` is that of the
    model when it is lowered. A rule sets ``rounds`` where it writes an op that exists below by
    others, so that results may round otherwise, and ``note`` to what it takes for granted.
    """

    proto: NodeProto
    opset: int
    types: Callable[[str], TypeInfo]
    value: Callable[[str], NDArray[np.generic] | None]
    fresh: Callable[[str], str]
    full: Callable[[str], TypeProto | None] = lambda _: None
    inside: Callable[[str, str], TypeProto | None] = lambda _attribute, _name: None
    made: list[NodeProto] = field(default_factory=list)
    ir_version: int = onnx.IR_VERSION
    rounds: bool = False
    note: str = ""

    # -- asking ----------------------------------------------------------------------------------

    @property
    def op(self) -> str:
        """The op type."""
        return self.proto.op_type

    def input(self, index: int) -> str:
        """The name of an input, empty where it is omitted."""
        return self.proto.input[index] if index < len(self.proto.input) else ""

    def attr(self, name: str, default: object = None) -> object:
        """The decoded value of an attribute.

        Raises:
            Refused: it refers to a parameter of the enclosing function.
        """
        for attribute in self.proto.attribute:
            if attribute.name == name:
                if attribute.ref_attr_name:
                    raise Refused(f"attribute {name} is a parameter of the function; inline it")
                value = helper.get_attribute_value(attribute)
                return value.decode() if isinstance(value, bytes) else value
        return default

    def has(self, name: str) -> bool:
        """Whether the node has an attribute."""
        return any(a.name == name for a in self.proto.attribute)

    def constant(self, index: int, what: str) -> NDArray[np.generic]:
        """The value of an input that becomes an attribute.

        Raises:
            Refused: it is computed at run time.
        """
        value = self.value(self.input(index))
        if value is None:
            raise Refused(
                f"{what} '{self.input(index)}' is computed at run time, and is an attribute before "
                f"opset {self.opset}"
            )
        return value

    def dtype(self, index: int) -> int | None:
        """The element type of an input, None where it is not known."""
        name = self.input(index)
        return self.types(name).dtype if name else None

    def rank(self, index: int) -> int | None:
        """The rank of an input, None where it is not known."""
        name = self.input(index)
        shape = self.types(name).shape if name else None
        return None if shape is None else len(shape)

    # -- making ----------------------------------------------------------------------------------

    def copy(
        self,
        *,
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
        drop: Sequence[str] = (),
        op: str | None = None,
        **attributes: object,
    ) -> NodeProto:
        """The node with other inputs, outputs or attributes; trailing omitted inputs are cut."""
        node = NodeProto()
        node.CopyFrom(self.proto)
        if op is not None:
            node.op_type = op
        if inputs is not None:
            kept = list(inputs)
            while kept and not kept[-1]:
                kept.pop()
            del node.input[:]
            node.input.extend(kept)
        if outputs is not None:
            del node.output[:]
            node.output.extend(outputs)
        left = [a for a in node.attribute if a.name not in drop and a.name not in attributes]
        del node.attribute[:]
        node.attribute.extend(left)
        for name, value in attributes.items():
            if value is not None:
                node.attribute.append(make_attribute(name, value))
        return node

    def add(self, op: str, *inputs: str, count: int = 1, **attributes: object) -> str:
        """Make a node before the result; its first output is returned.

        ``many`` gives all outputs.
        """
        return self.many(op, *inputs, count=count, **attributes)[0]

    def many(self, op: str, *inputs: str, count: int = 1, **attributes: object) -> list[str]:
        """Make a node with several outputs before the result."""
        base = self.proto.output[0] if self.proto.output else self.proto.name
        outputs = [self.fresh(f"{base}/{op}") for _ in range(count)]
        node = helper.make_node(op, list(inputs), outputs, name=outputs[0])
        for name, value in attributes.items():
            if value is not None:
                node.attribute.append(make_attribute(name, value))
        self.made.append(node)
        return outputs

    def const(self, value: ArrayLike, dtype: int | None = None) -> str:
        """Make a Constant node."""
        array = np.asarray(value)
        if dtype is not None:
            array = array.astype(helper.tensor_dtype_to_np_dtype(dtype))
        name = self.fresh(f"{self.proto.output[0]}/constant")
        tensor = numpy_helper.from_array(array, name)
        self.made.append(helper.make_node("Constant", [], [name], name=name, value=tensor))
        return name

    def result(self, node: NodeProto | str) -> list[NodeProto]:
        """All nodes that stand for this one: those made, then the last.

        A name stands for the tensor that carries the value: the last node made gives it the name of
        the output, and any other tensor is passed on by Identity.
        """
        if isinstance(node, str):
            if self.made and list(self.made[-1].output) == [node]:
                last = self.made.pop()
                last.output[0] = self.proto.output[0]
                last.name = self.proto.name
                return [*self.made, last]
            last = helper.make_node("Identity", [node], [self.proto.output[0]])
            last.name = self.proto.name
            node = last
        return [*self.made, node]


def make_attribute(name: str, value: object) -> AttributeProto:
    """An attribute; numpy scalars and arrays of them become plain numbers, empty lists INTS."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple) and not value:
        return helper.make_attribute(name, [], attr_type=AttributeProto.INTS)
    return helper.make_attribute(name, value)


Rule = Callable[[LowNode], list[NodeProto]]
"""Writes a node for the operator set below its own. Raises ``Refused`` where it cannot."""


def since(op: str, opset: int) -> int | None:
    """The operator set in which the op got the meaning that it has at ``opset``; None before it
    existed."""
    try:
        return int(onnx.defs.get_schema(op, opset, "").since_version)
    except onnx.defs.SchemaError:
        return None
