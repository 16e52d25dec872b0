"""The pass ``older-form``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs
from onnx import NodeProto

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.lower.node import Refused
from onnx_fix.lower.table import table
from onnx_fix.scope import Scope, has_unresolved
from onnx_fix.target import Finding, TensorFacts
from onnx_fix_passes._by_rule import low_node
from onnx_fix_passes._from_protos import attributes, constant_value, emit_all

_VERSIONS = {
    "BatchNormalization": 14,
    "GRU": 14,
    "LSTM": 14,
    "RNN": 14,
    "Resize": 18,
    "Split": 18,
}
"""The operator set in which the op got what the target does not read. What the node looked like
before is valid ever since."""

_LAYOUT = "the attribute is layout"
_MENDS: tuple[Mends, ...] = (
    Mends("ignored_attribute", "BatchNormalization", "the rank is known"),
    Mends("attribute_allowed_values", "BatchNormalization", "the rank is known"),
    Mends("outputs_max", "BatchNormalization", "it is in training mode and the rank is known"),
    Mends("ignored_attribute", "GRU", _LAYOUT),
    Mends("ignored_attribute", "LSTM", _LAYOUT),
    Mends("ignored_attribute", "RNN", _LAYOUT),
    Mends(
        "ignored_attribute",
        "Resize",
        "it enlarges, for antialias; the sizes are known, for keep_aspect_ratio_policy; never for "
        "cubic interpolation",
    ),
    Mends("attribute_allowed_values", "Resize", "as for ignored_attribute"),
    Mends("ignored_attribute", "Split"),
    Mends("attribute_must_be_absent", "Split"),
)


@dataclass(frozen=True)
class OlderForm(Pass):
    """Write a node without an attribute that the target does not read, as it was written before.

    Some attributes came to an op late, and releases take a node with them, drop them without a
    message, and compute something else. What the attribute asks for is written as it had to be
    when the op lacked it, by the rule that lowers the model's operator set, for this node alone.

    Rules:

    1. RNN, GRU, LSTM with ``layout`` 1: time first inside, Transpose around all of the data, the
       states and the results.
    2. BatchNormalization with ``training_mode``: the mean and the variance of the batch by
       ReduceMean, also as the further outputs.
    3. Resize with ``axes``: scales or sizes for all axes. ``antialias`` goes where nothing
       shrinks, ``keep_aspect_ratio_policy`` where the sizes are known.
    4. Split with ``num_outputs`` into uneven parts: the sizes as an input, computed at run time
       where the size of the axis is not known; zero where nothing is left for the last one.

    Before:
        y = LSTM <layout = 1, hidden_size = 8> (x, w, r)
    After:
        a = Transpose <perm = [1, 0, 2]> (x)
        b = LSTM <hidden_size = 8> (a, w, r)
        y = Transpose <perm = [2, 0, 1, 3]> (b)
    Exact:
        Yes, but for training statistics (rounding only). Left alone: what the
        rule cannot write, with its reason.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = _MENDS

    everywhere: bool = False
    """Also rewrite nodes that the target takes, where the older form is another one."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose the older form of every node that the target misreads or refuses for its
        newer attributes."""
        for node in scope.nodes(*_VERSIONS):
            version = _VERSIONS[node.op]
            if scope.opset >= version and (self.everywhere or _against(scope, node)):
                found = _site(scope, node, version)
                if found is not None:
                    yield found


def _against(scope: Scope, node: gs.Node) -> bool:
    return any(_is_mine(finding) for finding in _findings(scope, node))


def _findings(scope: Scope, node: gs.Node) -> list[Finding]:
    return [f for f in scope.judge(node).findings if f.refuses or f.in_doubt]


def _is_mine(finding: Finding) -> bool:
    return any((finding.kind, finding.op) == (claim.kind, claim.op) for claim in _MENDS)


def _site(scope: Scope, node: gs.Node, version: int) -> Rewrite | Skip | None:
    if has_unresolved(node, *node.attrs):
        return Skip(node, "an attribute is a parameter of the enclosing function; inline it first")
    low = low_node(scope, node, scope.opset + 1)
    if low is None:
        return Skip(node, "the node cannot be read")
    try:
        written = table()[node.op, version](low)
    except Refused as refused:
        return Skip(node, str(refused))
    if len(written) == 1 and attributes(written[0]) == attributes(low.proto):
        return None
    refusal = _refused(scope, node, written)
    if refusal:
        return Skip(node, refusal)
    e = Emitter(scope)
    made = emit_all(e, written, {t.name: t for t in node.inputs if t.name}.get)
    pairs = [(out, made[out.name]) for out in node.outputs if out.name]
    exactness = Exactness.ROUNDING if low.rounds else Exactness.EXACT
    return e.rewrite(node, pairs, exactness=exactness)


def _refused(scope: Scope, node: gs.Node, written: list[NodeProto]) -> str:
    """Why the target does not take what was written: more than it had against the node."""
    had = {f.kind for f in _findings(scope, node)}
    known: dict[str, TensorFacts | gs.Tensor] = {t.name: t for t in node.inputs if t.name}
    for proto in written:
        value = constant_value(proto)
        if value is not None:
            known[proto.output[0]] = Emitter(scope).const(value)
            continue
        inputs = [known.get(name, TensorFacts(name)) for name in proto.input]
        outputs = [TensorFacts(name) for name in proto.output]
        verdict = scope.proposed(proto.op_type, inputs, attributes(proto), outputs)
        against = [f for f in verdict.findings if f.refuses]
        if proto.op_type == node.op:
            against = [f for f in against if f.kind not in had]
        if against:
            return f"its older form needs {proto.op_type}, which is refused too: {against[0].why}"
    return ""
