"""Float constants that half precision turns into 0 or infinity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import has_option, listed
from onnx_fix.errors import ModelError
from onnx_fix.scope import Scope, is_standard, node_label

_MOST_ELEMENTS = 4096
"""Larger constants are weights, and are not read."""

_ROUNDS_TO_ZERO = 2.0**-25
"""Half of the smallest subnormal of binary16 (IEEE 754): it rounds to even, which is 0."""

_ROUNDS_TO_INFINITY = 65520.0
"""Halfway between the largest number of binary16, 65504, and 2**16: it rounds to infinity."""

_HANDS_ON = frozenset(
    {
        "Cast",
        "Expand",
        "Flatten",
        "Identity",
        "Reshape",
        "Sqrt",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
"""Ops that hand an epsilon on to the division (Sqrt: 0 stays 0)."""

_COPIES = _HANDS_ON - {"Sqrt"}
_ADDS_EPSILON = frozenset({"Add", "Clip", "Max", "Sum"})
_COMPARES = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
_HARMLESS = _COMPARES | {"BatchNormalization", "Clip", "Max", "Min", "Range", "Shape", "Size"}
"""Ops for which infinity does what the largest number did. The parser folds the statistics of
BatchNormalization into a scale, in float32."""

_DEEP = 6
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)


class HalfConstants(ModelCheck):
    """Constants that FP16 cannot hold, where that changes results.

    An epsilon that becomes 0 is told of where a division or logarithm follows; a number that
    becomes infinite where it is not only a bound. Told of for releases whose builder converts to
    FP16 on its own (--fp16): a strongly typed network keeps float32.
    """

    code: ClassVar[Code] = Code(
        "OF806",
        "not-in-half",
        "a constant becomes 0 or infinite if the engine is built with --fp16",
        "Half precision holds nothing between 0 and 3e-8 and nothing above 65504. An epsilon of "
        "1e-12 becomes 0 and no longer keeps a division from 0/0; a mask of -1e9 becomes minus "
        "infinity, and a row that is masked throughout gives NaN in Softmax. Without --fp16 "
        "nothing of this happens.",
        "Use a larger epsilon (1e-6) and a smaller mask (-6e4) in the network, or keep the layers "
        "in float32: --precisionConstraints=obey --layerPrecisions=<layer>:fp32 (8.4 to 10.16).",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """One warning for each such constant."""
        if not has_option(context, "--fp16"):
            return
        for scope in context.model.scopes:
            for tensor, value in _constants(scope):
                held = np.abs(value[np.isfinite(value) & (value != 0)])
                if held.size == 0:
                    continue
                if float(held.max()) >= _ROUNDS_TO_INFINITY:
                    worst, becomes = float(value.flat[_place(value, largest=True)]), "infinite"
                    nodes = list(_read_as_number(scope, tensor))
                elif float(held.max()) <= _ROUNDS_TO_ZERO:
                    worst, becomes = float(value.flat[_place(value, largest=False)]), "0"
                    nodes = list(_divided_by(scope, tensor))
                else:
                    continue
                if nodes:
                    yield self._finding(context, scope, tensor, worst, becomes, nodes)

    def _finding(
        self,
        context: CheckContext,
        scope: Scope,
        tensor: gs.Tensor,
        worst: float,
        becomes: str,
        nodes: list[gs.Node],
    ) -> CheckFinding:
        names = list(dict.fromkeys(node_label(n) for n in nodes))
        where = listed(f"{n.op} {node_label(n)}" for n in nodes)
        change = "a larger one, such as 1e-6" if becomes == "0" else "one within 65504"
        mend = f"with --fp16: replace the constant by {change}"
        if has_option(context, "--layerPrecisions"):
            layers = ",".join(f"{_quoted(n)}:fp32" for n in names)
            mend += (
                f", or keep it in float32: --precisionConstraints=obey --layerPrecisions={layers}"
            )
        elif has_option(context, "--precisionConstraints"):
            mend += ", or keep the layers in float32 by setPrecision and --precisionConstraints"
        else:
            mend += ", or build without --fp16"
        return CheckFinding(
            code=self.code,
            severity=Severity.WARNING,
            why=f"if built with --fp16: {worst:.3g} becomes {becomes} in half precision; {where}",
            mend=mend,
            scope=scope.path,
            node=names[0],
            op=nodes[0].op,
            tensor=str(tensor.name),
            evidence="inferred",
            source="the range of binary16 in IEEE 754",
        )


def _quoted(name: str) -> str:
    return f"'{name}'" if ":" in name else name


def _place(value: NDArray[np.generic], *, largest: bool) -> int:
    size = np.where(np.isfinite(value) & (value != 0), np.abs(value), -1 if largest else np.inf)
    return int(np.argmax(size) if largest else np.argmin(size))


def _constants(scope: Scope) -> Iterator[tuple[gs.Tensor, NDArray[np.generic]]]:
    """The small float constants of a scope with their values, made ones included."""
    made = (t for n in scope.nodes("Constant", "ConstantOfShape") for t in n.outputs[:1])
    stored = (t for t in scope.tensors.values() if isinstance(t, gs.Constant))
    for tensor in (*stored, *made):
        held: gs.Tensor = tensor
        node = scope.producer(tensor)
        if node is not None and node.op == "ConstantOfShape":
            held = node.attrs.get("value")
        elif node is not None and "value_float" not in node.attrs and "value" not in node.attrs:
            continue
        if isinstance(held, gs.Constant) and scope.dtype(held) not in _FLOATS:
            continue
        try:
            value = scope.constant(held, limit=_MOST_ELEMENTS) if held is not None else None
        except ModelError:
            # External data that cannot be read: the check of external data says so.
            continue
        if value is not None and value.dtype in (np.float32, np.float64) and value.size:
            yield tensor, value


def _read_as_number(scope: Scope, tensor: gs.Tensor, depth: int = 0) -> Iterator[gs.Node]:
    """The nodes that compute with a constant, copies of it followed."""
    for node in scope.consumers(tensor):
        if not is_standard(node) or node.op in _HARMLESS:
            continue
        if node.op in _COPIES:
            if depth < _DEEP and node.inputs and node.inputs[0] is tensor:
                yield from _read_as_number(scope, node.outputs[0], depth + 1)
        elif not _only_compared(scope, node):
            yield node


def _only_compared(scope: Scope, node: gs.Node) -> bool:
    """Whether the node's results are only compared or searched for a maximum."""
    if node.op not in ("Where", "Add", "Sub", "Concat"):
        return False
    readers = [reader for t in node.outputs if t.name for reader in scope.consumers(t)]
    if not readers or any(scope.is_output(t) for t in node.outputs):
        return False
    return all(r.op in ("ArgMax", "ArgMin") or r.op in _COMPARES for r in readers)


def _divided_by(scope: Scope, tensor: gs.Tensor, depth: int = 0) -> Iterator[gs.Node]:
    """The nodes that add an epsilon (or bound by it), with those up to the division by it."""
    for node in scope.consumers(tensor):
        if not is_standard(node):
            continue
        if node.op in _COPIES and depth < _DEEP and node.inputs[0] is tensor:
            yield from _divided_by(scope, node.outputs[0], depth + 1)
        elif _divides(scope, node, tensor):
            yield node
        elif node.op in _ADDS_EPSILON and not _is_upper_bound(node, tensor):
            way = _way_to_division(scope, node.outputs[0], 0)
            if way:
                yield from (node, *way)


def _is_upper_bound(node: gs.Node, tensor: gs.Tensor) -> bool:
    return node.op == "Clip" and len(node.inputs) > 2 and node.inputs[2] is tensor


def _way_to_division(scope: Scope, tensor: gs.Tensor, depth: int) -> list[gs.Node]:
    """The nodes from a tensor to one that divides by it or takes its logarithm; empty if none."""
    for node in scope.consumers(tensor):
        if not is_standard(node):
            continue
        if _divides(scope, node, tensor):
            return [node]
        if node.op in _HANDS_ON and node.inputs[0] is tensor and depth < _DEEP:
            way = _way_to_division(scope, node.outputs[0], depth + 1)
            if way:
                return [node, *way]
    return []


def _divides(scope: Scope, node: gs.Node, tensor: gs.Tensor) -> bool:
    if node.op in ("Log", "Reciprocal"):
        return True
    if node.op == "Div":
        return len(node.inputs) > 1 and node.inputs[1] is tensor
    return (
        node.op == "Pow"
        and node.inputs[0] is tensor
        and node.inputs[1] is not tensor
        and _is_negative(scope, node.inputs[1])
    )


def _is_negative(scope: Scope, tensor: gs.Tensor) -> bool:
    try:
        value = scope.constant(tensor, limit=1)
    except ModelError:
        return False
    return value is not None and value.size == 1 and bool(value.reshape(-1)[0] < 0)
