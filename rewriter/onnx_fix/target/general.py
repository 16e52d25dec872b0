"""Facts that hold for a node of any op: its ranks, its element types, its age."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from onnx import TensorProto

from onnx_fix.target.data import Release, read
from onnx_fix.target.dtypes import NAMES
from onnx_fix.target.facts import Dim, NodeFacts, TensorFacts
from onnx_fix.target.values import UNKNOWN, attribute, same
from onnx_fix.target.verdict import Finding

NOT_EVALUATED: Mapping[str, str] = MappingProxyType(
    {
        "opset_not_enforced": "says that nothing is refused for it",
        "op_type_only": "told by the dispatch of nodes outside the default domain",
        "standard_function_bodies_not_expanded": "told by the finding for a missing importer",
        "int64_io": "written into the names of element types; concerns bindings, not nodes",
        "int64_native": "written into the names of element types; concerns bindings, not nodes",
        "double_to_float": "written into the names of element types",
        "outputs_arity": "what each importer makes stands in the restrictions outputs_max",
        "domain_spelling": "a matter of the model, not of a node",
        "single_opset_import": "a matter of the model, not of a node",
        "required_attribute_missing": "stands in the restrictions attribute_must_be_present",
        "nesting": "a matter of the model, not of a node",
    }
)
"""General facts that a node does not show, each with the reason."""


class Typed(Protocol):
    """What is known of a tensor's type, in the facts of a node or elsewhere."""

    @property
    def dtype(self) -> int | None:
        """The ``TensorProto.DataType``, None where it is not known."""

    @property
    def shape(self) -> tuple[Dim, ...] | None:
        """The dims, None where the rank is not known."""


def _unlike(inputs: Sequence[Typed]) -> bool:
    """Whether the inputs are of several types, or one is of INT8."""
    dtypes = {tensor.dtype for tensor in inputs}
    return len(dtypes) > 1 or TensorProto.INT8 in dtypes


PROBED = "a live TensorRT-RTX 1.7 parser"
_WHOLE = frozenset({TensorProto.BOOL, TensorProto.INT32, TensorProto.INT64})
_FLOATS = frozenset(
    {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
)
_UINT8_TAKEN = frozenset({"Cast", "Identity"})
_QUANTIZING = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True, slots=True)
class General:
    """The general facts of one release, ready to be asked of many nodes.

    ``refused`` maps ``TensorProto.DataType`` numbers to the fact that refuses them; initializers
    of the types in ``constants`` are taken all the same.
    """

    max_rank: int
    rank_fact: Mapping[str, Any]
    refused: Mapping[int, Mapping[str, Any]]
    constants: frozenset[int]
    attributes: tuple[Mapping[str, Any], ...]
    source: str
    uint8_fact: Mapping[str, Any]
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    float_sizes: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, release: Release, source: str, names: Mapping[int, str] = NAMES) -> General:
        """Select the facts that hold at a release; ``names`` are element types as it sees them."""
        refused: dict[int, Mapping[str, Any]] = {}
        constants: set[int] = set()
        attributes = []
        rules: dict[str, Mapping[str, Any]] = {}
        ranks: Mapping[str, Any] = {}
        uint8: Mapping[str, Any] = {}
        float_sizes: Mapping[str, Any] = {}
        for fact in read("facts")["general"]:
            rule = fact.get("rule")
            inside = release.within(fact)
            if rule in ("operands_alike", "constant_refused") and inside:
                rules[rule] = fact
            if rule == "max_rank":
                ranks = fact
            elif rule == "attribute_refused" and inside:
                attributes.append(fact)
            elif rule == "float_shape_tensor" and inside:
                float_sizes = fact
            elif rule in ("refused", "unknown_before") and inside is (rule == "refused"):
                refused.update({n: fact for n, name in NAMES.items() if name in fact["dtypes"]})
            if "constants_since" in fact and release.at_least(fact["constants_since"]):
                constants.update(n for n, name in NAMES.items() if name in fact["dtypes"])
            if rule == "unknown_before" and "UINT8" in fact["dtypes"]:
                uint8 = release.settle(fact)
        return cls(
            ranks["max"],
            ranks,
            refused,
            frozenset(constants),
            tuple(attributes),
            source,
            uint8,
            rules,
            float_sizes,
            names,
        )

    def suspects(self, opset: int, inputs: Sequence[Typed], outputs: Sequence[Typed]) -> bool:
        """Whether `findings` could find anything, at the cost of one look at each tensor."""
        for tensor in (*inputs, *outputs):
            if tensor.dtype == 2 or tensor.dtype in self.refused:
                return True
            if tensor.shape is not None and len(tensor.shape) > self.max_rank:
                return True
        if self.float_sizes and len(inputs) == 1 and inputs[0].dtype in _FLOATS:
            return True
        return opset < 7 or (bool(self.rules) and _unlike(inputs))

    def findings(self, node: NodeFacts) -> list[Finding]:
        """What the general facts say of a node."""
        found: dict[str, Finding] = {}
        for tensor in (*node.inputs, *node.outputs):
            for finding in self._of_tensor(node, tensor):
                found.setdefault(finding.kind, finding)
        for fact in self.attributes:
            if node.op not in fact["ops"] or node.opset > fact["opset_max"]:
                continue
            value = attribute(node, fact["attribute"], fact["default"])
            if value is UNKNOWN or not same(value, fact["default"]):
                why = f"attribute {fact['attribute']} of opset {node.opset} is not honoured"
                certain = value is not UNKNOWN
                found[fact["id"]] = self._finding(node, fact, "parse_error", why, "", certain)
        told = (*self._operands(node), *self._constants(node), *self._sizes(node))
        for finding in told:
            found.setdefault(finding.kind, finding)
        return list(found.values())

    def _operands(self, node: NodeFacts) -> Iterator[Finding]:
        """Operands of several element types, where the release asks for one."""
        fact = self.rules.get("operands_alike")
        if fact is None or node.op not in fact["ops"]:
            return
        places = fact["ops"][node.op]
        if places is None:
            places = range(len(node.inputs))
        given = [node.inputs[i] for i in places if i < len(node.inputs) and node.inputs[i].name]
        names = {self.names.get(t.dtype, str(t.dtype)): t.name for t in given if t.dtype}
        if len(names) > 1:
            why = f"the operands are of types {' and '.join(names)}"
            yield self._finding(node, fact, "parse_error", why, list(names.values())[1])

    def _constants(self, node: NodeFacts) -> Iterator[Finding]:
        """Constants of a type that hardly any op reads."""
        fact = self.rules.get("constant_refused")
        if fact is None or node.op in fact["ops"]:
            return
        for tensor in node.inputs:
            constant = tensor.name and tensor.constness == "initializer" and tensor.dtype
            if constant and NAMES[constant] in fact["dtypes"]:
                why = f"'{tensor.name}' is a constant of {NAMES[constant]}: only Q/DQ read it"
                yield self._finding(node, fact, "build_error", why, tensor.name)

    def _sizes(self, node: NodeFacts) -> Iterator[Finding]:
        """Whole numbers computed as floating-point numbers, that decide on a shape."""
        fact = self.float_sizes
        if not fact or node.op not in fact["ops"] or not node.inputs or not node.outputs:
            return
        x, y = node.inputs[0], node.outputs[0]
        if x.constness != "runtime" or x.dtype is None or y.dtype not in _WHOLE:
            return
        use = y.size_use() if NAMES.get(x.dtype) in fact["dtypes"] else None
        ops = x.float_ops() if use is not None else frozenset()
        if ops <= set(fact["harmless"]):
            return
        if not ops & set(fact["by_unary"]):
            fact = {**fact, "message": ""}
        why = f"'{x.name}' is {NAMES[x.dtype]} and decides on a shape: {use}"
        yield self._finding(node, fact, "build_error", why, x.name)

    def _of_tensor(self, node: NodeFacts, tensor: TensorFacts) -> list[Finding]:
        found = []
        if tensor.shape is not None and len(tensor.shape) > self.max_rank:
            why = f"'{tensor.name}' has rank {len(tensor.shape)}, more than {self.max_rank}"
            fact = self.rank_fact
            found.append(self._finding(node, fact, "parse_or_build_error", why, tensor.name))
        fact_of_type = None if tensor.dtype is None else self.refused.get(tensor.dtype)
        if tensor.constness == "initializer" and tensor.dtype in self.constants:
            fact_of_type = None
        if fact_of_type is not None and tensor.dtype is not None:
            why = f"'{tensor.name}' is {NAMES[tensor.dtype]}, which this release does not take"
            found.append(self._finding(node, fact_of_type, "parse_error", why, tensor.name))
        elif tensor.dtype == 2 and self._doubtful_uint8(node, tensor):
            why = f"'{tensor.name}' is UINT8, taken as network input or output beside Cast"
            fact, effect = self.uint8_fact, "parse_or_build_error"
            sure = tensor.bound is False or node.op in fact.get("refused_by", ())
            found.append(self._finding(node, fact, effect, why, tensor.name, sure))
        return found

    def _doubtful_uint8(self, node: NodeFacts, tensor: TensorFacts) -> bool:
        """UINT8 at a release that knows it, between ops that may not take it."""
        if tensor.constness == "initializer" or node.op in _QUANTIZING:
            return False
        return node.op not in _UINT8_TAKEN or tensor.bound is False

    def _finding(
        self,
        node: NodeFacts,
        fact: Mapping[str, Any],
        effect: str,
        why: str,
        tensor: str,
        certain: bool = True,
    ) -> Finding:
        return Finding(
            op=node.op,
            node=node.name,
            scope=node.scope,
            kind=fact["id"],
            effect=effect,
            message=fact.get("message", ""),
            why=why,
            evidence=fact["evidence"],
            source=PROBED if fact["evidence"] == "probe" else self.source,
            tensor=tensor,
            certain=certain,
        )
