"""What a release refuses at certain sizes, from its facts."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto
from onnx.helper import get_attribute_value

from onnx_fix.functions import label_of
from onnx_fix.profiles.sized import Sized, Sizer
from onnx_fix.target import Target
from onnx_fix.target.data import Release, read
from onnx_fix.target.facts import NodeFacts, TensorFacts

_KINDS = ("max_value",)
"""The restrictions that depend on sizes and that nobody can tell without them."""


def has_int64(target: Target) -> bool:
    """Whether integers of the release are of 64 bits where a model has them so."""
    fact = next(e for e in read("facts")["general"] if e["id"] == "int64_io")
    return not Release.named(target.release).within(fact)


def beyond(target: Target, sizer: Sizer, sized: Sized) -> Iterator[tuple[NodeProto, str]]:
    """The nodes that the release refuses at these sizes, with the reason."""
    ops = {e["op"] for e in read("restrictions") if e["kind"] in _KINDS}
    for node in sizer.nodes:
        if node.op_type in ops and node.domain in ("", "ai.onnx"):
            for finding in target.judge(_facts(node, sizer.opset, sized)).findings:
                if finding.kind in _KINDS and finding.certain:
                    yield node, finding.why.split(";")[0]


def _facts(node: NodeProto, opset: int, sized: Sized) -> NodeFacts:
    return NodeFacts(
        op=node.op_type,
        domain=node.domain,
        name=label_of(node),
        scope="",
        opset=opset,
        inputs=tuple(_tensor(name, sized) for name in node.input),
        outputs=tuple(_tensor(name, sized) for name in node.output),
        attributes={a.name: get_attribute_value(a) for a in node.attribute if not a.ref_attr_name},
    )


def _tensor(name: str, sized: Sized) -> TensorFacts:
    value = sized.values.get(name)
    return TensorFacts(
        name,
        sized.types.get(name),
        sized.shapes.get(name),
        "initializer" if value is not None else "runtime",
        lambda: value,
    )
