"""Sizes that are known only when the engine runs, and what reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.check.finding import CheckFinding, Code, Severity
from onnx_fix.check.model_check import CheckContext, ModelCheck
from onnx_fix.check.model_checks._facts import BACKED, listed
from onnx_fix.model import Model
from onnx_fix.order import reads
from onnx_fix.scope import Scope, is_standard, node_label
from onnx_fix.verify.symbols import symbols

_FUNCTIONS = frozenset({"floor", "ceil", "min", "max", "Min", "Max"})
_NUMBERS = frozenset({TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT})
_WORD = re.compile(r"[A-Za-z_][\w.]*")
_SOURCES = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})


class DataDependentSizes(ModelCheck):
    """Nodes whose output size follows from the data, with everything downstream of them.

    Told of NonZero, NonMaxSuppression, Compress, Unique, and of If whose branches give different
    sizes, where the target takes the node: where it refuses it, that finding comes first.
    """

    code: ClassVar[Code] = Code(
        "OF805",
        "data-dependent-sizes",
        "sizes that depend on the data reach other nodes",
        "How many elements a node gives is known only when the engine runs. Everything that is "
        "computed from it has that size as well: the builder plans for the largest one, fuses less "
        "across it, and layers that need sizes from the profile refuse it. Outputs of such a size "
        "need an output allocator in the application.",
        "Use a form of fixed size (a mask in place of indices, TopK with a bound in place of "
        "NonZero), or end the engine before the node and do the rest outside.",
    )

    def run(self, context: CheckContext) -> Iterator[CheckFinding]:
        """One warning for each node that starts such sizes and is read.

        A node downstream of several is told of with the first of them.
        """
        known = frozenset(symbols(context.proto))
        for scope in context.model.scopes:
            if scope.kind == "function":
                continue
            nodes = [n for n in scope.graph.nodes if context.model.alive(n)]
            starts = [n for n in nodes if _starts(context.model, n) and not scope.refused(n)]
            if starts:
                spread = _Spread(scope, starts, known)
                for node in nodes:
                    spread.follow(node)
                for number, node in enumerate(starts):
                    finding = self._of(spread, number, node)
                    if finding is not None:
                        yield finding

    def _of(self, spread: _Spread, number: int, node: gs.Node) -> CheckFinding | None:
        readers, outputs = spread.readers[number], spread.outputs(number)
        parts = []
        if readers:
            named = listed(f"{reader.op} {node_label(reader)}" for reader in readers)
            parts.append(f"nodes whose sizes follow from it: {len(readers)} ({named})")
        if outputs:
            parts.append(f"the size of the output is known only after the run: {listed(outputs)}")
        if not parts:
            return None
        return CheckFinding(
            code=self.code,
            severity=Severity.WARNING,
            why=f"how much {node.op} gives depends on the data; {'; '.join(parts)}",
            mend="use a form of fixed size, or end the engine before this node",
            scope=spread.scope.path,
            node=node_label(node),
            op=node.op,
            tensor=next((str(t.name) for t in node.outputs if t.name), ""),
            evidence="inferred",
            source=BACKED["inferred"],
        )


class _Spread:
    """Follows sizes that depend on data through one scope, node by node in execution order.

    Tensors whose own size is open carry the number of the node where that starts; so do small
    integer tensors computed from such a size, since a Reshape or Range may be built from them.
    """

    def __init__(self, scope: Scope, starts: list[gs.Node], known: frozenset[str]) -> None:
        self.scope = scope
        self.readers: list[list[gs.Node]] = [[] for _ in starts]
        self._known = known
        self._number = {id(n): k for k, n in enumerate(starts)}
        self._open: dict[int, int] = {}
        self._values: dict[int, int] = {}

    def follow(self, node: gs.Node) -> None:
        """Take in the next node."""
        mine = self._number.get(id(node))
        if mine is not None:
            self._open.update((id(t), mine) for t in self._unsettled(node))
        if not self._open:
            return
        read = [id(t) for t in reads(node)]
        sizes = [self._open[t] for t in read if t in self._open]
        values = [self._values[t] for t in read if t in self._values]
        if node.op in ("Shape", "Size") and is_standard(node):
            values += sizes
        if values:
            settled = (t for t in node.outputs if self._is_list_of_sizes(t))
            self._values.update((id(t), min(values)) for t in settled)
        if (sizes or values) and mine is None:
            unsettled = self._unsettled(node)
            if unsettled:
                first = min(sizes + values)
                self.readers[first].append(node)
                self._open.update((id(t), first) for t in unsettled)

    def outputs(self, number: int) -> list[str]:
        """The outputs of the scope that one start leaves open."""
        return [str(t.name) for t in self.scope.graph.outputs if self._open.get(id(t)) == number]

    def _unsettled(self, node: gs.Node) -> list[gs.Tensor]:
        return [t for t in node.outputs if t.name and not self._is_settled(t)]

    def _is_settled(self, tensor: gs.Tensor) -> bool:
        """Whether the shape is made of numbers and sizes of inputs alone."""
        shape = self.scope.shape(tensor)
        return shape is not None and all(
            isinstance(d, int) or (d is not None and self._of_inputs(d)) for d in shape
        )

    def _of_inputs(self, dim: str) -> bool:
        words = set(_WORD.findall(dim))
        return bool(words) and words <= self._known | _FUNCTIONS

    def _is_list_of_sizes(self, tensor: gs.Tensor) -> bool:
        shape, dtype = self.scope.shape(tensor), self.scope.dtype(tensor)
        return dtype in _NUMBERS and shape is not None and len(shape) <= 1


def _starts(model: Model, node: gs.Node) -> bool:
    if not is_standard(node):
        return False
    return node.op in _SOURCES or (node.op == "If" and _branches_differ(model, node))


def _branches_differ(model: Model, node: gs.Node) -> bool:
    """Whether the branches certainly give different sizes, and the condition depends on data."""
    inner = model.inner_scopes(node)
    if len(inner) != 2 or not _from_data(model, node.inputs[0]):
        return False
    for left, right in zip(inner[0].graph.outputs, inner[1].graph.outputs, strict=False):
        a, b = model.type_of(left).shape, model.type_of(right).shape
        if a is None or b is None or len(a) != len(b):
            continue
        pairs = zip(a, b, strict=True)
        if any(isinstance(x, int) and isinstance(y, int) and x != y for x, y in pairs):
            return True
    return False


def _from_data(model: Model, tensor: gs.Tensor) -> bool:
    """Whether a tensor depends on more than constants and the sizes of other tensors."""
    todo, seen = [tensor], set()
    while todo:
        top = todo.pop()
        if not top.name or id(top) in seen or model.constness(top) != "runtime":
            continue
        seen.add(id(top))
        node = model.producer(top)
        if node is None:
            return True
        if not (is_standard(node) and node.op in ("Shape", "Size")):
            todo.extend(reads(node))
    return False
