"""If, Loop, Scan, sequences, optionals, strings and images.

If, Loop and Scan only learned types: element types since opset 16, sequences with 13, optionals
with 16. What their bodies hold is lowered node by node.
"""

from __future__ import annotations

from dataclasses import replace

from onnx import AttributeProto, NodeProto, TypeProto

from onnx_fix.lower.node import LowNode, Refused, Rule, make_attribute
from onnx_fix.lower.rules._steps import integer, keep, missing, same


def _carried(low: LowNode) -> list[NodeProto]:
    """The types of what the body gives and takes, as far as the graph states them."""
    for attribute in low.proto.attribute:
        if attribute.type != AttributeProto.GRAPH:
            continue
        for value in (*attribute.g.input, *attribute.g.output):
            full = value.type if value.type.WhichOneof("value") else None
            full = full or low.inside(attribute.name, value.name)
            kind = full.WhichOneof("value") if full is not None else None
            if kind == "optional_type" and low.opset <= 16:
                raise Refused(f"{low.op} carries no optional '{value.name}' before opset 16")
            if kind == "sequence_type" and low.opset <= 13:
                raise Refused(f"{low.op} carries no sequence '{value.name}' before opset 13")
    return keep(low)


def _if_11(low: LowNode) -> list[NodeProto]:
    """11 to 10: both branches had to give the same shape."""
    graphs = {a.name: a.g for a in low.proto.attribute if a.type == AttributeProto.GRAPH}
    outputs = (g.output for g in graphs.values())
    for number, values in enumerate(zip(*outputs, strict=False)):
        shapes = [
            _shape(low.inside(attribute, value.name) or value.type)
            for attribute, value in zip(graphs, values, strict=True)
        ]
        if None not in shapes and not _alike([s for s in shapes if s is not None]):
            raise Refused(
                f"the branches give output {number} different shapes, which If has not before "
                "opset 11"
            )
    return _carried(low)


def _shape(full: TypeProto) -> list[int | None] | None:
    """The sizes that a type states, None in the place of others; None where it states no rank."""
    if full.WhichOneof("value") != "tensor_type" or not full.tensor_type.HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") else None for d in full.tensor_type.shape.dim]


def _alike(shapes: list[list[int | None]]) -> bool:
    if len({len(shape) for shape in shapes}) > 1:
        return False
    return all(len({d for d in dims if d is not None}) <= 1 for dims in zip(*shapes, strict=True))


def _scan_axes(low: LowNode) -> list[NodeProto]:
    """11 to 9: axes could not be negative."""
    for name in ("scan_input_axes", "scan_output_axes"):
        axes = low.attr(name, [])
        if isinstance(axes, list) and any(a < 0 for a in axes):
            return _positive_scan_axes(low)
    return keep(low)


def _positive_scan_axes(low: LowNode) -> list[NodeProto]:
    count = integer(low, "num_scan_inputs", 0)
    states = len(low.proto.input) - count
    node = low.copy()
    for name, of in (("scan_input_axes", low.proto.input), ("scan_output_axes", low.proto.output)):
        axes = low.attr(name, [])
        if not isinstance(axes, list) or not axes:
            continue
        positive = []
        for axis, tensor in zip(axes, of[states:], strict=True):
            shape = low.types(tensor).shape if tensor else None
            if axis < 0 and shape is None:
                raise Refused(
                    f"{name} has a negative axis, and the rank of '{tensor}' is not known"
                )
            positive.append(axis if axis >= 0 else axis + len(shape or ()))
        _set(node, name, positive)
    return keep(replace(low, proto=node))


def _set(node: NodeProto, name: str, values: list[int]) -> None:
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, make_attribute(name, values)])


def _optional_alone(low: LowNode) -> list[NodeProto]:
    """18 to 15: a tensor or sequence may stand for the optional; it always has an element."""
    asks = low.op == "OptionalHasElement"
    if not low.input(0):
        return low.result(low.const(False))
    full = low.full(low.input(0))
    if full is None:
        raise Refused(f"whether '{low.input(0)}' is an optional is not known")
    if full.WhichOneof("value") == "optional_type":
        return keep(low)
    return low.result(low.const(True) if asks else low.input(0))


_SEQUENCES = "ONNX had no sequences"
RULES: dict[tuple[str, int], Rule] = {
    **{
        (op, version): _carried
        for op in ("If", "Loop")
        for version in (11, 13, 16, 19, 21, 23, 24, 25)
    },
    ("If", 11): _if_11,
    **{("Scan", version): _carried for version in (16, 19, 21, 23, 24, 25)},
    ("Scan", 11): _scan_axes,
    **{
        (op, 11): missing(_SEQUENCES)
        for op in (
            "ConcatFromSequence",
            "SequenceAt",
            "SequenceConstruct",
            "SequenceEmpty",
            "SequenceErase",
            "SequenceInsert",
            "SequenceLength",
            "SplitToSequence",
        )
    },
    ("SplitToSequence", 24): same(),
    ("Optional", 28): same(),
    ("Optional", 15): missing("ONNX had no optionals"),
    **{(op, 28): same() for op in ("OptionalGetElement", "OptionalHasElement")},
    **{(op, 18): _optional_alone for op in ("OptionalGetElement", "OptionalHasElement")},
    **{
        (op, 15): missing("ONNX had no optionals")
        for op in ("OptionalGetElement", "OptionalHasElement")
    },
    **{
        (op, version): missing("no other ops work on strings so")
        for op, version in (
            ("StringNormalizer", 10),
            ("StringConcat", 20),
            ("StringSplit", 20),
            ("RegexFullMatch", 20),
        )
    },
    ("ImageDecoder", 20): missing("no other op decodes images"),
}
