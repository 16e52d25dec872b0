"""The pass ``spell-defaults``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope

_MINE = frozenset({"attribute_must_be_absent", "attribute_must_be_present"})


@dataclass(frozen=True)
class SpellDefaults(Pass):
    """Leave out, or write out, an attribute that has its default value, as the target wants it.

    Before: `y = ScatterND <reduction = "none"> (x, i, u)`
    After: `y = ScatterND (x, i, u)`
    Exact: yes, by the default that the schema of the op gives.
    Since: 0.1

    1. An attribute that must be absent and has its default value is left out (ScatterND, reduction,
       which TensorRT 10.0 to 10.8 refuses even as "none").
    2. An attribute that must be present and has a default is written out (Reshape's allowzero, for
       which TensorRT 8.0 to 8.4 has no default).

    Another value than the default is left alone, and so is an attribute without one.
    """

    stage: ClassVar[Stage] = Stage.REPAIR
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("attribute_must_be_absent", "ScatterND", "the attribute has its default value"),
        Mends("attribute_must_be_present", "Reshape"),
    )

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose the other spelling of every node that is refused for it."""
        for node in scope.nodes():
            verdict = scope.judge(node)
            if verdict.status != "refused" or not any(
                f.refuses and f.kind in _MINE for f in verdict.findings
            ):
                continue
            attrs = _respelled(scope, node)
            if attrs is None:
                continue
            emit = Emitter(scope)
            given = (t if t.name else None for t in node.inputs)
            outputs = emit.many(node.op, len(node.outputs), *given, **attrs)
            pairs = [(a, b) for a, b in zip(node.outputs, outputs, strict=True) if a.name]
            yield emit.rewrite(node, pairs)


def _respelled(scope: Scope, node: gs.Node) -> dict[str, Any] | None:
    """The attributes with one default left out or written out, such that the target takes them."""
    if any(isinstance(v, gs.Graph | AttributeProto) for v in node.attrs.values()):
        return None
    try:
        schema = onnx.defs.get_schema(node.op, scope.opset, "")
    except onnx.defs.SchemaError:
        return None
    for name, known in schema.attributes.items():
        if known.default_value.type == AttributeProto.UNDEFINED:
            continue
        default = onnx.helper.get_attribute_value(known.default_value)
        default = default.decode() if isinstance(default, bytes) else default
        attrs = dict(node.attrs)
        if name not in attrs:
            attrs[name] = default
        elif attrs[name] == default:
            del attrs[name]
        else:
            continue
        findings = scope.target.judge(scope.facts(node).with_attributes(attrs)).findings
        if not any(f.refuses and f.kind in _MINE for f in findings):
            return attrs
    return None
