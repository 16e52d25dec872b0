"""Element types of inputs and outputs that the engine changes or cannot have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from onnx import TensorProto, TypeProto, ValueInfoProto

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import general_fact, holds, source
from onnx_fix.target.data import read
from onnx_fix.target.dtypes import NAMES
from onnx_fix.target.facts import NodeFacts, TensorFacts
from onnx_fix.verify.symbols import fed_inputs

BINDING_REFUSED = Code(
    "OF831",
    "binding-type-refused",
    "an input or output cannot be a binding of an engine",
    "Bindings are tensors of at most 8 dimensions and of a few element types. Sequences, optionals "
    "and maps are no tensors; strings, unsigned integers and others have no type in TensorRT.",
    "Cast or unpack at the border of the network, so that the engine begins and ends with tensors "
    "it knows.",
)


class BindingTypes(ModelCheck):
    """Types of inputs and outputs.

    A tensor that a node reads or makes is judged with the node; told of here are the bindings that
    change their type, those that are no tensors, and those that no node reads or makes.
    """

    code: ClassVar[Code] = Code(
        "OF830",
        "binding-type-changes",
        "an input or output has another element type in the engine",
        "Before 9.0 INT64 bindings become INT32, and since 8.0 DOUBLE ones become FLOAT. The build "
        "works; an application that copies 8-byte elements into such a binding passes wrong "
        "numbers.",
        "Let the application ask the engine for the type of each binding, or cast to INT32 or "
        "FLOAT in the model itself.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """At most one finding for each input and output."""
        tensors = context.model.main.tensors
        outputs = context.proto.graph.output
        for kind, values in (("input", fed_inputs(context.proto)), ("output", outputs)):
            for value in values:
                tensor = tensors[value.name]
                touched = bool(tensor.inputs or tensor.outputs)
                finding = self._of(context, kind, value, touched)
                if finding is not None:
                    yield finding

    def _of(
        self, context: CheckContext, kind: str, value: ValueInfoProto, judged: bool
    ) -> CheckFinding | None:
        what = value.type.WhichOneof("value")
        if what is None:
            return None
        refused = general_fact("io_types_refused")
        if what != "tensor_type":
            return CheckFinding(
                code=BINDING_REFUSED,
                severity=Severity.ERROR if kind == "input" else Severity.UNKNOWN,
                why=f"the {kind} '{value.name}' is no tensor; its type is "
                f"{what.removesuffix('_type')}",
                mend=BINDING_REFUSED.mend,
                tensor=value.name,
                message=str(refused["message"]) if kind == "input" else "",
                evidence=str(refused["evidence"]),
                source=source(context, refused),
            )
        return self._narrowed(context, kind, value) or (
            None if judged else _refused(context, kind, value)
        )

    def _narrowed(
        self, context: CheckContext, kind: str, value: ValueInfoProto
    ) -> CheckFinding | None:
        for dtype, fact_id, to in (
            (TensorProto.INT64, "int64_io", "INT32"),
            (TensorProto.DOUBLE, "double_to_float", "FLOAT"),
        ):
            fact = general_fact(fact_id)
            if value.type.tensor_type.elem_type == dtype and holds(context, fact):
                return CheckFinding(
                    code=self.code,
                    severity=Severity.WARNING,
                    why=f"the {kind} '{value.name}' is {TensorProto.DataType.Name(dtype)} in the "
                    f"model and {to} in the engine",
                    mend=f"copy {to} to or from the engine",
                    tensor=value.name,
                    evidence=str(fact["evidence"]),
                    source=source(context, fact),
                )
        return None


def _refused(context: CheckContext, kind: str, value: ValueInfoProto) -> CheckFinding | None:
    """What the general facts say of a tensor that no node shows: an Identity stands in for one."""
    tensor = _tensor(value.name, value.type)
    node = NodeFacts("Identity", "", "", "", context.model.opset, (tensor,), (), {})
    general = {str(fact["id"]) for fact in read("facts")["general"]}
    findings = context.target.judge(node).findings
    certain = [f for f in findings if f.refuses and f.kind in general]
    if not certain:
        return None
    found = certain[0]
    return CheckFinding(
        code=BINDING_REFUSED,
        severity=Severity.ERROR,
        why=f"the {kind} {found.why}",
        mend=BINDING_REFUSED.mend,
        tensor=value.name,
        message=found.message,
        evidence=found.evidence,
        source=found.source,
    )


def _tensor(name: str, kind: TypeProto) -> TensorFacts:
    dtype = kind.tensor_type.elem_type
    rank = len(kind.tensor_type.shape.dim)
    return TensorFacts(name, dtype if dtype in NAMES else None, (None,) * rank)
