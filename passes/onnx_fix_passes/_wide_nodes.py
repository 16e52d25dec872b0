"""Write the nodes around values that are carried in another element type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from onnx import AttributeProto, NodeProto, TensorProto

from onnx_fix.scope import Scope, attribute, node_label
from onnx_fix_passes._wide_bounds import bounds
from onnx_fix_passes._wide_floats import FORMATS, rounded
from onnx_fix_passes._wide_rules import CASTS, ORDER, SCATTERS, THROUGH_FLOAT, WRAPS, held_by
from onnx_fix_passes._wide_steps import Steps, converted, other_attribute
from onnx_fix_passes._wide_types import RANGES, Carrier
from onnx_fix_passes._wide_unsigned import (
    divided,
    flipped,
    looked_up,
    remainder,
    shifted_right,
    signed,
)

_FLOAT = int(TensorProto.FLOAT)
_OF_NOTHING = {"ReduceMax": "Max", "ReduceMin": "Min"}
"""Reductions that give the end of the range of their type where there is nothing to reduce (ONNX,
ReduceMax), and what keeps that end."""


@dataclass
class Writer:
    """Writes nodes of one graph. ``carriers`` and ``names`` are by the identity of a tensor."""

    scope: Scope
    steps: Steps
    carriers: Mapping[int, Carrier]
    names: Mapping[int, str]

    def name(self, tensor: gs.Tensor) -> str:
        """What the tensor is called from now on."""
        return self.names.get(id(tensor), str(tensor.name))

    def carrier(self, tensor: gs.Tensor) -> Carrier | None:
        """In what the values of a tensor are carried, or None where its type stays."""
        return self.carriers.get(id(tensor))

    def write(self, node: gs.Node, proto: NodeProto) -> None:
        """Write one node: as it stands, with other types, or by others."""
        self.steps.begin(proto, node_label(node))
        if node.op in CASTS and self._is_touched(node):
            self._cast(node, proto)
            return
        carrier = self._main(node)
        if carrier is None:
            self._same(node, proto)
        elif carrier.is_float:
            self._same(node, proto, carrier)
        elif carrier.bits and node.op in ORDER:
            self._ordered_bits(node, proto, carrier)
        elif node.op == "BitShift":
            self._shift(node, carrier)
        elif carrier.bits and node.op in ("Div", "Mod"):
            a, b = map(self.name, node.inputs)
            write = divided if node.op == "Div" else remainder
            write(self.steps, a, b, carrier, self.name(node.outputs[0]))
        elif node.op == "BitwiseNot" and carrier.low == 0 and not carrier.bits:
            most = self.steps.const(carrier.high, carrier.to)
            self.steps.add("Sub", most, self.name(node.inputs[0]), out=self.name(node.outputs[0]))
        elif node.op == "Relu":
            zero = self.steps.const(0, carrier.to)
            self.steps.add("Max", self.name(node.inputs[0]), zero, out=self.name(node.outputs[0]))
        elif node.op in THROUGH_FLOAT:
            self._through_float(node, proto, carrier)
        elif node.op in _OF_NOTHING and not carrier.bits and self._may_be_empty(node.inputs[0]):
            made = self.steps.fresh(f"{self.name(node.outputs[0])}/{node.op}")
            self._same(node, proto, carrier, {0: made})
            end = carrier.low if node.op == "ReduceMax" else carrier.high
            limit = self.steps.const(end, carrier.to)
            self.steps.add(_OF_NOTHING[node.op], made, limit, out=self.name(node.outputs[0]))
        elif not carrier.bits and self._wraps(node, carrier):
            made = self.steps.fresh(f"{self.name(node.outputs[0])}/{node.op}")
            self._same(node, proto, carrier, {0: made})
            self.steps.wrap(made, carrier, self.name(node.outputs[0]), _least(node, carrier))
        else:
            self._same(node, proto, carrier)

    def _may_be_empty(self, tensor: gs.Tensor) -> bool:
        shape = self.scope.shape(tensor)
        return shape is None or not all(isinstance(d, int) and d for d in shape)

    def _is_touched(self, node: gs.Node) -> bool:
        return any(id(t) in self.carriers for t in (*node.inputs, *node.outputs))

    def _main(self, node: gs.Node) -> Carrier | None:
        """The carrier of what the node gives, else of what it reads."""
        given = [c for t in (*node.outputs, *node.inputs) if (c := self.carrier(t)) is not None]
        return given[0] if given else None

    def _same(
        self,
        node: gs.Node,
        proto: NodeProto,
        carrier: Carrier | None = None,
        outputs: Mapping[int, str] | None = None,
        inputs: Mapping[int, str] | None = None,
    ) -> None:
        """The node itself, with the names and types that it has from now on."""
        made = NodeProto()
        made.CopyFrom(proto)
        for fields, tensors, others in (
            (made.input, node.inputs, inputs or {}),
            (made.output, node.outputs, outputs or {}),
        ):
            for place, tensor in enumerate(tensors):
                fields[place] = others.get(place, self.name(tensor))
        if carrier is not None:
            _retype_attributes(made, node, self.carriers, carrier)
        self.steps.keep(made)

    # -- conversions -------------------------------------------------------------------------------

    def _cast(self, node: gs.Node, proto: NodeProto) -> None:
        x, y = node.inputs[0], node.outputs[0]
        source, sink = self.carrier(x), self.carrier(y)
        was, made = self.scope.dtype(x), self.scope.dtype(y)
        if was is None or made is None:
            raise ValueError("a conversion of an unknown type is no part of a group")
        given = was if source is None else source.to
        kind = None if sink is None or was in held_by(sink.was) else FORMATS.get(sink.was)
        if kind is not None:
            wide = self.steps.cast(self.name(x), given, _FLOAT)
            saturate = attribute(node, "saturate", int, 1) != 0
            rounded(self.steps, wide, kind, saturate=saturate, out=self.name(y))
        elif sink is None or sink.is_float or sink.bits or self._stays(x, was, sink):
            one = NodeProto()
            one.CopyFrom(proto)
            to = made if sink is None else sink.to
            one.op_type = "Identity" if given == to else "Cast"
            del one.attribute[:], one.input[:], one.output[:]
            one.input.append(self.name(x))
            one.output.append(self.name(y))
            if given != to:
                other_attribute(one, "to", to)
            self.steps.keep(one)
        else:
            wide = self.steps.cast(self.name(x), given, sink.to)
            known = RANGES.get(was) if was != TensorProto.INT64 else None
            low = known[0] if known is not None and known[0] > -(1 << 30) else None
            self.steps.wrap(wide, sink, self.name(y), low)

    def _stays(self, x: gs.Tensor, was: int, sink: Carrier) -> bool:
        """Whether every number is one of the type that it is converted to."""
        found = RANGES.get(was)
        if found is None or not (sink.low <= found[0] and found[1] <= sink.high):
            known = bounds(self.scope, x)
            # From a float the fraction goes, so that -0.5 is a 0.
            return known is not None and sink.low <= known[0] and known[1] <= sink.high
        return True

    # -- what is not the node itself ---------------------------------------------------------------

    def _ordered_bits(self, node: gs.Node, proto: NodeProto, carrier: Carrier) -> None:
        """Unsigned numbers have the order that signed ones have with the first bit flipped."""
        inputs = {
            place: flipped(self.steps, self.name(t), carrier)
            for place, t in enumerate(node.inputs)
            if self.carrier(t) is not None
        }
        outputs = {
            place: self.steps.fresh(f"{self.name(t)}/{node.op}")
            for place, t in enumerate(node.outputs)
            if t.name and self.carrier(t) is not None
        }
        self._same(node, proto, None, outputs, inputs)
        for place, made in outputs.items():
            flipped(self.steps, made, carrier, self.name(node.outputs[place]))

    def _through_float(self, node: gs.Node, proto: NodeProto, carrier: Carrier) -> None:
        x, y = node.inputs[0], node.outputs[0]
        wide = self.steps.cast(self.name(x), carrier.to, _FLOAT)
        made = self.steps.fresh(f"{self.name(y)}/{node.op}")
        self._same(node, proto, None, {0: made}, {0: wide})
        self.steps.cast(made, _FLOAT, carrier.to, self.name(y))

    def _shift(self, node: gs.Node, carrier: Carrier) -> None:
        """Times or over a power of two, which is looked up; no bits are left from the width on."""
        steps, (x, by), y = self.steps, node.inputs, self.name(node.outputs[0])
        width = carrier.width
        most = steps.const(width, carrier.to)
        amount = steps.add("Min", self.name(by), most)
        if carrier.bits or carrier.low:
            # A shift by a number with the first bit set is negative here, or is so itself.
            beyond = steps.add("Less", self.name(by), steps.const(0, carrier.to))
            amount = steps.add("Where", beyond, most, amount)
        powers = [signed(1 << k, carrier) for k in range(width)]
        if attribute(node, "direction", str) != "RIGHT":
            factor = looked_up(steps, [*powers, 0], amount, carrier)
            made = steps.add("Mul", self.name(x), factor, out=y if carrier.bits else "")
            if not carrier.bits:
                steps.wrap(made, carrier, y)
        elif not carrier.bits:
            factor = looked_up(steps, [*powers, 1 << width], amount, carrier)
            self._over_power(self.name(x), factor, carrier, y)
        else:
            shifted_right(steps, self.name(x), amount, carrier, y)

    def _over_power(self, x: str, factor: str, carrier: Carrier, y: str) -> None:
        """Towards the lower number, as a shift goes: of a negative one by its complement."""
        steps = self.steps
        if carrier.low == 0:
            steps.add("Div", x, factor, out=y)
            return
        minus = steps.const(-1, carrier.to)
        negative = steps.add("Less", x, steps.const(0, carrier.to))
        other = steps.add("Where", negative, steps.add("Sub", minus, x), x)
        whole = steps.add("Div", other, factor)
        steps.add("Where", negative, steps.add("Sub", minus, whole), whole, out=y)

    def _wraps(self, node: gs.Node, carrier: Carrier) -> bool:
        """Whether the result may leave the range of the type."""
        if self.carrier(node.outputs[0]) is None:
            return False
        if node.op in SCATTERS:
            return attribute(node, "reduction", str, "none") in ("add", "mul")
        if node.op not in WRAPS:
            return False
        unsigned = carrier.low == 0
        if node.op == "Abs":
            return not unsigned
        if node.op == "Div":
            # Only the least number over -1 is out of range.
            by = None if unsigned else self.scope.constant(node.inputs[1])
            return not unsigned and (by is None or bool((np.asarray(by) == -1).any()))
        return True


def _least(node: gs.Node, carrier: Carrier) -> int | None:
    """The least result of an op on numbers of the type, where it fits into the carrier."""
    low, high = carrier.low, carrier.high
    by_op = {
        "Abs": 0,
        "Add": 2 * low,
        "Div": low,
        "Neg": -high,
        "Sub": low - high,
    }
    if low == 0 and carrier.to == TensorProto.INT64:
        by_op.update(ReduceSum=0, ReduceL1=0, CumSum=0)
    return by_op.get(node.op)


def _retype_attributes(
    made: NodeProto, node: gs.Node, carriers: Mapping[int, Carrier], carrier: Carrier
) -> None:
    if not any(id(t) in carriers for t in node.outputs):
        return
    for attr in list(made.attribute):
        if attr.type == AttributeProto.TENSOR and attr.t.data_type == carrier.was:
            stub_or_small(attr.t, carrier)
        elif attr.name == "dtype" and attr.type == AttributeProto.INT and attr.i == carrier.was:
            other_attribute(made, "dtype", carrier.to)


def stub_or_small(tensor: TensorProto, carrier: Carrier) -> None:
    """Give a tensor its carrier's type; one that is left out is converted when it is put back."""
    if tensor.data_location == TensorProto.EXTERNAL:
        tensor.data_type = carrier.to
    else:
        tensor.CopyFrom(converted(tensor, carrier))
