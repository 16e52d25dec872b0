"""The pass ``quantize-symmetrically``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, has_unresolved, is_standard
from onnx_fix_passes import _quantized as q
from onnx_fix_passes._integer_ranges import MOVES

_MIDDLE = 128
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_MOVES = MOVES | {"Concat"}


@dataclass(frozen=True)
class QuantizeSymmetrically(Pass):
    """Quantise to INT8 with zero point 0 what is quantised to UINT8 with zero point 128.

    The steps are the same, and all numbers 128 lower: the layers of INT8 that TensorRT has are
    kept. All the tensors that hang together are rewritten at once: from QuantizeLinear or
    constants, through ops that move elements (Concat, MaxPool, Reshape, Transpose ...), to
    DequantizeLinear.

    Before:
        q = QuantizeLinear (x, scale, 128 as UINT8)
        y = DequantizeLinear (q, scale, 128 as UINT8)
    After:
        q = QuantizeLinear (x, scale, 0 as INT8)
        y = DequantizeLinear (q, scale, 0 as INT8)
    Exact:
        Yes. Left alone: tensors that leave the network, or that another op reads or makes; other
        zero points, for which INT8 has no form; what the target does not take as INT8.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = ()

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose INT8 for every set of tensors that hang together."""
        order = {id(n): k for k, n in enumerate(scope.graph.nodes)}
        done: set[int] = set()
        for node in scope.nodes(_QUANTIZE, _DEQUANTIZE):
            start = node.outputs[0] if node.op == _QUANTIZE else node.inputs[0]
            if id(start) in done or scope.dtype(start) != q.UINT8:
                continue
            region = _Region(scope)
            whole = region.grow(start)
            done.update(region.tensors)
            nodes = sorted(region.nodes, key=lambda n: order.get(id(n), 0))
            due = self.everywhere or any(_against(scope, n) for n in nodes)
            if whole and due and region.is_taken():
                yield _rewrite(scope, region, nodes)


def _against(scope: Scope, node: gs.Node) -> bool:
    return any(f.refuses or f.in_doubt for f in scope.judge(node).findings)


def _data(node: gs.Node) -> list[gs.Tensor]:
    """The inputs whose elements a node moves."""
    return list(node.inputs) if node.op == "Concat" else list(node.inputs[:1])


@dataclass
class _Region:
    """Tensors of UINT8 that hang together, with the nodes that make, move and read them."""

    scope: Scope
    tensors: dict[int, gs.Tensor] = field(default_factory=dict)
    nodes: list[gs.Node] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    def grow(self, start: gs.Tensor) -> bool:
        """Take in all that hangs together with a tensor; whether INT8 can take its place."""
        work, whole = [start], True
        while work:
            tensor = work.pop()
            if id(tensor) in self.tensors:
                continue
            self.tensors[id(tensor)] = tensor
            whole = self._made(tensor) and not self.scope.is_output(tensor) and whole
            nodes = list(self.scope.consumers(tensor))
            producer = self.scope.producer(tensor)
            if producer is not None:
                nodes.append(producer)
            for node in nodes:
                fits = self._fits(node, tensor)
                whole = whole and fits
                if fits and node.op in _MOVES:
                    work.extend(t for t in (*_data(node), *node.outputs) if t.name)
        return whole

    def _made(self, tensor: gs.Tensor) -> bool:
        """Whether it is a constant, or made by a node."""
        if self.scope.producer(tensor) is not None:
            return self.scope.dtype(tensor) == q.UINT8
        return self.scope.constant(tensor, limit=None) is not None

    def _fits(self, node: gs.Node, tensor: gs.Tensor) -> bool:
        """Whether a node that reads or makes a tensor does so with 128 for zero."""
        if not is_standard(node) or self.scope.model.scope_of(node) is not self.scope:
            return False
        if has_unresolved(node, *node.attrs):
            return False
        if id(node) not in self._seen:
            self._seen.add(id(node))
            self.nodes.append(node)
        if node.op in _MOVES:
            given = [t for t in node.outputs if t.name]
            single = node.op == "Split" or len(given) == 1
            others = node.inputs[len(_data(node)) :]
            return single and not any(t is tensor for t in others)
        if node.op not in (_QUANTIZE, _DEQUANTIZE):
            return False
        place = node.outputs[0] if node.op == _QUANTIZE else node.inputs[0]
        if place is not tensor or any(t is tensor for t in node.inputs[1:]):
            return False
        try:
            zero = q.given(self.scope, node, 2, "zero point")
            scale = q.given(self.scope, node, 1, "scale")
        except q.Declined:
            return False
        return zero is not None and scale is not None and zero.uniform == _MIDDLE

    def is_taken(self) -> bool:
        """Whether the target takes the nodes with INT8 in place of UINT8."""
        return all(self._takes(node) for node in self.nodes)

    def _takes(self, node: gs.Node) -> bool:
        facts = self.scope.facts(node)
        inputs = [
            replace(f, dtype=q.INT8) if id(t) in self.tensors else f
            for t, f in zip(node.inputs, facts.inputs, strict=True)
        ]
        outputs = [
            replace(f, dtype=q.INT8) if id(t) in self.tensors else f
            for t, f in zip(node.outputs, facts.outputs, strict=True)
        ]
        if node.op in (_QUANTIZE, _DEQUANTIZE):
            zeros = np.zeros(q.shape_of(self.scope, node.inputs[2]), np.int8)
            inputs[2] = replace(
                inputs[2], dtype=q.INT8, constness="initializer", value=lambda: zeros
            )
        changed = replace(
            facts,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            attributes={k: v for k, v in facts.attributes.items() if k != "output_dtype"},
        )
        return not any(f.refuses or f.in_doubt for f in self.scope.target.judge(changed).findings)


def _rewrite(scope: Scope, region: _Region, nodes: list[gs.Node]) -> Rewrite:
    e = Emitter(scope)
    made: dict[int, gs.Tensor] = {}
    for tensor in region.tensors.values():
        value = scope.constant(tensor, limit=None) if scope.producer(tensor) is None else None
        if value is not None:
            made[id(tensor)] = e.const((value.astype(np.int16) - _MIDDLE).astype(np.int8))
    results = []
    for node in nodes:
        inputs = [made.get(id(t), t) if t.name else None for t in node.inputs]
        attrs = dict(node.attrs)
        if node.op in (_QUANTIZE, _DEQUANTIZE):
            inputs[2] = e.const(np.zeros(q.shape_of(scope, node.inputs[2]), np.int8))
            if node.op == _QUANTIZE:
                attrs.pop("output_dtype", None)
        outputs = e.many(node.op, len(node.outputs), *inputs, **attrs)
        made.update((id(t), new) for t, new in zip(node.outputs, outputs, strict=True))
        if node.op == _DEQUANTIZE:
            results.append((node.outputs[0], outputs[0]))
    return e.rewrite(nodes, results)
