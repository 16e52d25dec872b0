"""The pass ``expand-functions``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.lower.node import Refused
from onnx_fix.lower.rules.bodies import body_at
from onnx_fix.registry import menders
from onnx_fix.scope import Scope, has_unresolved
from onnx_fix.target import TensorFacts
from onnx_fix_passes._body_flattening import Emission, Flat, flattened
from onnx_fix_passes._body_rounds import Unresolved
from onnx_fix_passes._by_rule import is_taken, low_node

_RANDOM = frozenset({"Bernoulli"})
"""The body draws its numbers otherwise than the op does."""

_NO_BETTER = frozenset({"AffineGrid", "Clip", "LogSoftmax", "Range", "Softmax", "Softplus"})
"""The body of AffineGrid fails for a batch of one, those of Clip, Range and of reductions say
nothing simpler than the op, that of Softplus overflows, and those of Softmax and LogSoftmax are
sums that the same releases misread."""

_EXACT = frozenset({"CastLike", "CenterCropPad", "GreaterOrEqual", "LessOrEqual", "PRelu", "Relu"})
_SMALL = 64


@dataclass(frozen=True)
class ExpandFunctions(Pass):
    """Write a node as the function body that ONNX itself defines its op by.

    TensorRT does not use these bodies: an op without an importer is refused although ONNX says how
    it is made of simpler ones. The body is taken in the operator set of the model. Sizes that are
    known, and what follows from them, are computed; CastLike becomes Cast where the type is known.
    The other passes go on from there: an op of the body may itself be expanded.

    It runs among the passes that decompose, behind the constants and the lowering: what these mend
    does not need the many nodes of a body.

    Before:
        y = Mish (x)
    After:
        a = Softplus (x)
        b = Tanh (a)
        y = Mul (x, b)
    Exact:
        Rounding only: the body is the definition, and its steps round. GreaterOrEqual, LessOrEqual
        and what only moves or compares is exact. Left alone: ops whose body the schema gives for
        types that are not known; bodies with an If, Loop or Scan that rests on what is known at run
        time only; random numbers; tensors of a type that the target refuses anywhere; a body with
        an op that the target has no importer for, no pass replaces and ONNX gives no body for, or
        with axes that it does not read; reductions, AffineGrid, Clip, Range, Softplus, Softmax and
        LogSoftmax, which a body would not make better.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "*", "ONNX defines the op by ops that the target takes"),
        Mends("no_kernel", "Attention"),
        Mends("opset_semantics", "GroupNormalization"),
        Mends("outputs_max", "LayerNormalization"),
    )

    everywhere: bool = False
    """Also expand nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose the body for every node that has one and that the target refuses."""
        for node in scope.nodes():
            if has_body(node.op, scope.opset) and (self.everywhere or _against(scope, node)):
                yield _site(scope, node)


def has_body(op: str, opset: int) -> bool:
    """Whether ONNX defines an op by others, for some types at least."""
    if op in _NO_BETTER or op.startswith("Reduce"):
        return False
    try:
        # The stubs of onnx do not know these members.
        schema: Any = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)


def _against(scope: Scope, node: gs.Node) -> bool:
    return any(f.refuses or f.in_doubt for f in scope.judge(node).findings)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    if node.op in _RANDOM:
        return Skip(node, f"the function body of {node.op} draws other random numbers")
    if has_unresolved(node, *node.attrs):
        return Skip(node, "an attribute is a parameter of the enclosing function; inline it first")
    alien = next((t for t in (*node.inputs, *node.outputs) if not is_taken(scope, t)), None)
    if alien is not None:
        return Skip(
            node,
            f"{scope.target.name} refuses '{alien.name}' itself for its type or rank, so it would "
            "refuse the body as well; cast or reshape it in the network",
        )
    low = low_node(scope, node, scope.opset)
    if low is None:
        return Skip(node, "the node cannot be read")
    try:
        graph = body_at(low, scope.opset)
    except Refused as refused:
        return Skip(node, f"its function body cannot be written: {refused}")
    if graph is None:
        return Skip(node, f"ONNX gives no function body for {node.op} of these types")
    names = [value.name for value in graph.input]
    given = {
        name: value
        for name, t in zip(names, node.inputs, strict=False)
        if t.name and (value := scope.constant(t, limit=_SMALL)) is not None
    }
    try:
        flat = flattened(graph, scope.opset, given)
    except Unresolved as why:
        return Skip(node, f"the function body of {node.op} has an If, Loop or Scan: {why}")
    lacking = _lacking(scope, flat)
    if lacking:
        return Skip(
            node,
            f"its function body needs {', '.join(lacking)}, which {scope.target.name} lacks too",
        )
    if _reduces_unread(scope, flat):
        return Skip(
            node,
            f"its function body in opset {scope.opset} reduces over axes that {scope.target.name} "
            "does not read; write the model for an older operator set (--opset)",
        )
    tensors = dict(zip(names, node.inputs, strict=False))
    return _emitted(scope, node, flat, tensors)


def _lacking(scope: Scope, flat: Flat) -> list[str]:
    """The ops of a body that the target has no importer for, no pass replaces and ONNX gives no
    body for."""
    ops = {n.op_type for n in flat.nodes if not scope.target.has_importer(n.op_type)}
    return sorted(op for op in ops if not (has_body(op, scope.opset) or _is_replaced(op)))


def _reduces_unread(scope: Scope, flat: Flat) -> bool:
    """Whether a body has a reduction by an axes input, and the target reads that of no sum."""
    if not any(n.op_type.startswith("Reduce") and len(n.input) > 1 for n in flat.nodes):
        return False
    x = TensorFacts("x", onnx.TensorProto.FLOAT, (2, 3))
    axes = TensorFacts(
        "axes", onnx.TensorProto.INT64, (1,), "initializer", lambda: np.asarray([1], np.int64)
    )
    return not scope.accepts("ReduceSum", [x, axes])


def _is_replaced(op: str) -> bool:
    return any(claim.op == op for _, claim in menders("no_importer", op))


def _emitted(scope: Scope, node: gs.Node, flat: Flat, tensors: dict[str, gs.Tensor]) -> Rewrite:
    e = Emitter(scope)
    emission = Emission(e, flat, tensors, omits=True)
    results = []
    for out, name in zip(node.outputs, flat.outputs, strict=False):
        result = emission.tensor(name) if out.name else None
        if result is not None:
            results.append((out, result))
    exactness = Exactness.EXACT if node.op in _EXACT else Exactness.ROUNDING
    return e.rewrite(node, results, exactness=exactness)
