"""Pools and convolutions on tensors that lack the batch axis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.op_names import BROADCASTING
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix.target import TensorFacts

_POOLS = ("AveragePool", "LpPool", "MaxPool")
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_LACKS_BATCH = "all that is wrong is the missing batch axis"

_OF_FIRST_INPUT = frozenset(
    {
        "Abs",
        "BatchNormalization",
        "Cast",
        "CastLike",
        "Ceil",
        "Celu",
        "Clip",
        "Cos",
        "Dropout",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "InstanceNormalization",
        "IsInf",
        "IsNaN",
        "LayerNormalization",
        "LeakyRelu",
        "Log",
        "LogSoftmax",
        "LpNormalization",
        "Mish",
        "Neg",
        "Not",
        "Pad",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Sign",
        "Sin",
        "Slice",
        "Softmax",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
        "Transpose",
    }
)
"""Ops whose first output has the rank of their first input."""

"""Ops whose output has the highest rank among their inputs."""


@dataclass(frozen=True)
class BatchPooling(Pass):
    """Give a pool or convolution on a tensor without batch axis the batch axis it needs.

    ONNX wants an input of rank ``k + 2`` (batch, channels, ``k`` spatial sizes) for a kernel of
    ``k`` sizes. The tracing exporter of PyTorch writes ``F.max_pool2d`` of a (C, H, W) tensor as a
    MaxPool of rank 3, which the ONNX checker in full, onnxruntime and TensorRT refuse. Such a node
    is invalid, so it is mended whatever the target takes.

    Rules:

    1. MaxPool, AveragePool, LpPool whose input has rank ``k + 1``: a batch axis of size 1 is put
       in front of the input and taken off every output.
    2. Conv and ConvTranspose likewise; ``k`` is the length of ``kernel_shape``, or the rank of the
       weights less 2.
    3. The rank of a tensor behind such a node is not known to shape inference; it is followed
       through elementwise ops, so that a chain of pools is mended in one run.

    Where the target does not take Unsqueeze or Squeeze as the model's operator set spells them,
    Expand to a shape of ones and Gather of index 0 along axis 0 do the same.

    Before:
        y = MaxPool <kernel_shape = [9, 9], pads = [4, 4, 4, 4]> (x)
    After:
        a = Unsqueeze (x, zero)
        b = MaxPool <kernel_shape = [9, 9], pads = [4, 4, 4, 4]> (a)
        y = Squeeze (b, zero)
    Exact:
        Yes: a batch of one is pooled or convolved on its own. The indices output of MaxPool counts
        within the flat tensor and does not change either. Left alone: global pools (their
        rank never shows that an axis is missing), inputs of other ranks, and inputs whose rank is
        not known.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.REPAIR
    mends: ClassVar[tuple[Mends, ...]] = (
        *(Mends("kernel_rank", op, _LACKS_BATCH) for op in (*_CONVOLUTIONS, *_POOLS)),
        *(Mends("spatial_dims", op, _LACKS_BATCH) for op in ("AveragePool", "MaxPool")),
        Mends("rank", "ConvTranspose", _LACKS_BATCH),
    )

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a batch axis for every node that lacks it."""
        ranks = _Ranks(scope)
        for node in scope.nodes():
            if node.op in _POOLS or node.op in _CONVOLUTIONS:
                spatial = _spatial(node, ranks)
                rank = ranks.of(node.inputs[0]) if node.inputs else None
                if spatial is None or rank is None or rank == spatial + 2:
                    # Most of unknown rank are valid: nothing to say of them.
                    pass
                elif rank == spatial + 1 and has_unresolved(node, *node.attrs):
                    yield Skip(node, "an attribute comes from a function parameter: inline it")
                elif rank == spatial + 1:
                    yield _batched(node, rank, scope)
                else:
                    yield Skip(
                        node,
                        f"'{node.inputs[0].name}' has rank {rank}; {spatial} spatial sizes need "
                        f"{spatial + 2}, or {spatial + 1} without the batch axis: mend the model",
                    )
            ranks.follow(node)


def _spatial(node: gs.Node, ranks: _Ranks) -> int | None:
    """The number of spatial sizes that the kernel of a node has."""
    kernel = attribute(node, "kernel_shape", list)
    if kernel is not None:
        return len(kernel)
    if has_unresolved(node, "kernel_shape") or node.op in _POOLS or len(node.inputs) < 2:
        return None
    weights = ranks.of(node.inputs[1])
    return None if weights is None else weights - 2


def _batched(node: gs.Node, rank: int, scope: Scope) -> Rewrite:
    e = Emitter(scope)
    x = node.inputs[0]
    batched = _with_batch(e, x, rank)
    named = [k for k, t in enumerate(node.outputs) if t.name]
    count = max(named, default=0) + 1
    outputs = e.many(node.op, count, batched, *node.inputs[1:], **node.attrs)
    results = [(node.outputs[k], _without_batch(e, outputs[k], x, rank)) for k in named]
    return e.rewrite(
        node, results, note=f"'{x.name}' of rank {rank} has no batch axis; the model was invalid"
    )


def _with_batch(e: Emitter, x: gs.Tensor, rank: int) -> gs.Tensor:
    if not _takes(e, "Unsqueeze", x):
        ones = e.ints([1] * (rank + 1))
        if e.scope.accepts("Expand", [x, ones]):
            return e("Expand", x, ones)
    return e.unsqueeze(x, [0])


def _without_batch(e: Emitter, y: gs.Tensor, x: gs.Tensor, rank: int) -> gs.Tensor:
    shape = (1, *(None for _ in range(rank)))
    facts = TensorFacts("y", dtype=e.scope.dtype(x), shape=shape)
    if not _takes(e, "Squeeze", facts):
        first = e.const(0)
        if e.scope.accepts("Gather", [facts, first], {"axis": 0}):
            return e("Gather", y, first, axis=0)
    return e.squeeze(y, [0])


def _takes(e: Emitter, op: str, x: gs.Tensor | TensorFacts) -> bool:
    if e.opset >= 13:
        return e.scope.accepts(op, [x, e.ints([0])])
    return e.scope.accepts(op, [x], {"axes": [0]})


@dataclass
class _Ranks:
    """Ranks of tensors, also behind nodes at which shape inference stops."""

    scope: Scope
    followed: dict[int, int] = field(default_factory=dict)

    def of(self, tensor: gs.Tensor) -> int | None:
        """The rank of a tensor, or None."""
        known = self.scope.rank(tensor)
        return self.followed.get(id(tensor)) if known is None else known

    def follow(self, node: gs.Node) -> None:
        """Note the rank of a node's outputs where it follows from its inputs."""
        if not node.inputs or not node.outputs:
            return
        if node.op in _POOLS or node.op in _CONVOLUTIONS:
            rank, outputs = self.of(node.inputs[0]), node.outputs
        elif node.op in _OF_FIRST_INPUT:
            rank, outputs = self.of(node.inputs[0]), node.outputs[:1]
        elif node.op in BROADCASTING:
            found = [self.of(t) for t in node.inputs]
            rank = None if None in found else max(r for r in found if r is not None)
            outputs = node.outputs
        elif node.op == "Concat":
            rank = next((r for t in node.inputs if (r := self.of(t)) is not None), None)
            outputs = node.outputs
        else:
            return
        if rank is not None:
            for tensor in outputs:
                self.followed[id(tensor)] = rank
