"""Where the elements of a tensor become sizes, and how floats among them are computed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.op_names import BROADCASTING, REARRANGING, REDUCTIONS

if TYPE_CHECKING:
    from onnx_fix.scope import Scope

MOST_NODES = 256
"""Nodes that are walked before the search is given up."""

_MOST_RANK = 2
"""Tensors of a higher rank list no sizes (pads are lists of two columns at times)."""

_STANDARD = ("", "ai.onnx")

SIZE_INPUTS: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "ConstantOfShape": {0: "input"},
        "Expand": {1: "shape"},
        "Pad": {1: "pads"},
        "Range": {0: "start", 1: "limit", 2: "delta"},
        "Reshape": {1: "shape"},
        "Resize": {3: "sizes"},
        "Slice": {1: "starts", 2: "ends", 4: "steps"},
        "Tile": {1: "repeats"},
        "TopK": {1: "K"},
    }
)
"""Inputs that decide on the shape of the output: shape tensors inside an engine."""

_COMPUTES = BROADCASTING | frozenset(
    {
        "Abs",
        "Cast",
        "Ceil",
        "Clip",
        "Concat",
        "Exp",
        "Floor",
        "Identity",
        "Log",
        "Neg",
        "Not",
        "Reciprocal",
        "Relu",
        "Round",
        "Sign",
        "Sqrt",
    }
)
"""Ops whose result is computed from all inputs, element by element or one after the other."""

_FIRST = (REARRANGING - {"Identity"}) | {"CumSum", "Pad", *REDUCTIONS}
"""Ops whose result is made of the elements of the first input."""

_INTEGERS = frozenset({TensorProto.BOOL, TensorProto.INT32, TensorProto.INT64})
_SCATTER = frozenset({"ScatterElements", "ScatterND"})


def size_use(scope: Scope, tensor: gs.Tensor) -> str | None:
    """The first input found that takes sizes from a tensor, as in "sizes of Resize 'up'".

    None where there is none, or the way is long. What leaves a body is not followed.
    """
    left, seen = [tensor], {id(tensor)}
    while left and len(seen) <= MOST_NODES:
        current = left.pop(0)
        for node in scope.consumers(current):
            if (node.domain or "") not in _STANDARD:
                continue
            for place, name in _size_inputs(node).items():
                if place < len(node.inputs) and node.inputs[place] is current:
                    label = node.name or next((t.name for t in node.outputs if t.name), node.op)
                    return f"{name} of {node.op} '{label}'"
            for output in node.outputs if _passes_on(node, current) else ():
                rank = scope.rank(output) if output.name else None
                short = rank is None or rank <= _MOST_RANK
                if output.name and short and id(output) not in seen:
                    seen.add(id(output))
                    left.append(output)
    return None


def _size_inputs(node: gs.Node) -> Mapping[int, str]:
    if node.op == "Loop" and len(node.outputs) > len(node.inputs) - 2:
        # The length of a scan output (NvInfer.h, ILoopOutputLayer::setInput).
        return {0: "trip count"}
    return SIZE_INPUTS.get(node.op, {})


def _passes_on(node: gs.Node, tensor: gs.Tensor) -> bool:
    """Whether elements of the tensor go into the results of the node."""
    if node.op in _COMPUTES:
        return True
    if node.op in _SCATTER:
        return any(t is tensor for t in (node.inputs[0], node.inputs[2]))
    return node.op in _FIRST and node.inputs[0] is tensor


def float_ops(scope: Scope, tensor: gs.Tensor) -> frozenset[str]:
    """The ops that compute a tensor of floats from integers, those that give integers left out.

    ``Constant`` stands for every constant, ``Input`` for an input of the model or of a body.
    """
    ops: set[str] = set()
    left, seen = [tensor], {id(tensor)}
    while left and len(seen) <= MOST_NODES:
        current = left.pop()
        if scope.dtype(current) in _INTEGERS:
            continue
        node = scope.producer(current)
        if scope.constness(current) != "runtime":
            ops.add("Constant")
        elif node is None:
            ops.add("Input")
        else:
            ops.add(node.op)
            left += [t for t in node.inputs if t.name and id(t) not in seen]
            seen.update(id(t) for t in node.inputs)
    return frozenset(ops)
