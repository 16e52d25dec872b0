"""64-bit constants that become 32-bit ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import general_fact, holds, listed, source
from onnx_fix.errors import ModelError
from onnx_fix.scope import Scope, is_standard, node_label

_MOST_ELEMENTS = 4096
"""Larger constants are not read."""

_LIMITS = np.iinfo(np.int32)
_COPIES = frozenset({"Concat", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_BOUNDS = frozenset(
    {"Clip", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min"}
)
"""Ops for which the largest 32-bit number does what a larger one did, as all others are 32-bit."""

_COMPUTES = frozenset({"Add", "Div", "Mod", "Mul", "Pow", "Sub", "Where"})
_DEEP = 6


class ClampedIntegers(ModelCheck):
    """INT64 constants out of the range of INT32, where somebody computes with them.

    Slice is left out, whose ends are usually the largest number there is, and so are bounds.
    """

    code: ClassVar[Code] = Code(
        "OF832",
        "clamped-integers",
        "an INT64 constant does not fit INT32 and is clamped",
        "Before 9.0 INT64 is INT32 inside the engine. Constants beyond 2147483647 are clamped to "
        "it with a warning in the log, and what is computed from them differs.",
        "Keep such numbers out of the network (hashes, time stamps, 64-bit masks), or take 9.0 or "
        "later.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """One finding for each such constant that is read as a number."""
        fact = general_fact("int64_io")
        if not holds(context, fact):
            return
        for scope in context.model.scopes:
            made = (t for n in scope.nodes("Constant") for t in n.outputs[:1])
            stored = (t for t in scope.tensors.values() if isinstance(t, gs.Constant))
            for tensor in (*stored, *made):
                worst = _out_of_range(scope, tensor)
                nodes = list(_readers(scope, tensor, 0)) if worst is not None else []
                if not nodes:
                    continue
                computes = any(n.op in _COMPUTES for n in nodes)
                named = listed(f"{n.op} {node_label(n)}" for n in nodes)
                yield CheckFinding(
                    code=self.code,
                    severity=Severity.SILENT if computes else Severity.UNKNOWN,
                    why=f"{worst} is clamped to the range of INT32; read by {named}",
                    mend="keep the number out of the network, or take 9.0 or later",
                    scope=scope.path,
                    node=node_label(nodes[0]),
                    op=nodes[0].op,
                    tensor=str(tensor.name),
                    evidence=str(fact["evidence"]),
                    source=source(context, fact),
                )


def _out_of_range(scope: Scope, tensor: gs.Tensor) -> int | None:
    if isinstance(tensor, gs.Constant) and scope.dtype(tensor) != TensorProto.INT64:
        return None
    try:
        value = scope.constant(tensor, limit=_MOST_ELEMENTS)
    except ModelError:
        # External data that cannot be read: the check of external data says so.
        return None
    if value is None or value.dtype != np.int64 or value.size == 0:
        return None
    numbers = value.astype(np.int64)
    outside = numbers[(numbers > _LIMITS.max) | (numbers < _LIMITS.min)]
    return int(outside.flat[0]) if outside.size else None


def _readers(scope: Scope, tensor: gs.Tensor, depth: int) -> Iterator[gs.Node]:
    """The nodes to which the number itself matters."""
    for node in scope.consumers(tensor):
        if is_standard(node) and (node.op in _BOUNDS or node.op == "Slice"):
            continue
        if is_standard(node) and node.op in _COPIES and depth < _DEEP:
            yield from _readers(scope, node.outputs[0], depth + 1)
        elif is_standard(node) and node.op == "Cast":
            yield from _readers(scope, node.outputs[0], depth + 1) if depth < _DEEP else ()
        else:
            yield node
