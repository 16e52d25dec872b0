"""The pass ``replace-max-unpool``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx.helper import tensor_dtype_to_np_dtype

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix_passes._by_rule import is_taken
from onnx_fix_passes._places import known_sizes

_SCATTER_ELEMENTS_SINCE = 11


@dataclass(frozen=True)
class ReplaceMaxUnpool(Pass):
    """Write MaxUnpool as a ScatterElements into zeros, where the target lacks it.

    The indices count in the flat tensor of the sizes that the kernel, the strides and the padding
    give. Where a third input gives larger sizes, zeros follow: at the ends of the axes, as in the
    tests of ONNX. onnxruntime counts in the larger tensor instead.

    Before:
        y = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (x, indices)
    After:
        zeros = ConstantOfShape (count)
        flat = ScatterElements (zeros, Reshape (indices, -1), Reshape (x, -1))
        y = Reshape (flat, sizes)
    Exact:
        Yes, where no two indices are the same (runtimes do not agree on those). Left alone: an
        unknown rank.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (Mends("no_importer", "MaxUnpool", "the rank is known"),)

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a ScatterElements for every MaxUnpool that the target refuses."""
        for node in scope.nodes("MaxUnpool"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    x, indices = node.inputs[:2]
    rank, dtype = scope.rank(x), scope.dtype(x)
    if has_unresolved(node, "kernel_shape", "pads", "strides"):
        return Skip(node, "an attribute is a parameter of the enclosing function; inline it first")
    if rank is None or dtype is None:
        return Skip(node, "the rank or the element type of its input is not known")
    if not is_taken(scope, x):
        return Skip(node, f"{scope.target.name} does not take '{x.name}' for its type or rank")
    kernel = attribute(node, "kernel_shape", list) or []
    count = len(kernel)
    if rank != count + 2:
        return Skip(node, f"its kernel has {count} sizes, and its input rank {rank}")
    strides = attribute(node, "strides", list) or [1] * count
    pads = attribute(node, "pads", list) or [0] * (2 * count)
    e = Emitter(scope)
    sizes = [e.dim(x, 0), e.dim(x, 1)]
    for axis, stride in enumerate(strides):
        more = int(kernel[axis]) - int(pads[axis]) - int(pads[count + axis]) - int(stride)
        sizes.append(_scaled(e, e.dim(x, axis + 2), int(stride), more))
    shape, total = _together(e, sizes)
    zero = gs.Constant("", np.zeros(1, tensor_dtype_to_np_dtype(dtype)))
    zeros = e("ConstantOfShape", total, value=zero)
    op = "ScatterElements" if e.opset >= _SCATTER_ELEMENTS_SINCE else "Scatter"
    flat = e(op, zeros, e.reshape(indices, [-1]), e.reshape(x, [-1]), axis=0)
    result: gs.Tensor = e.reshape(flat, shape)
    wanted = node.inputs[2] if len(node.inputs) > 2 and node.inputs[2].name else None
    if wanted is None:
        return e.rewrite(node, result)
    if e.opset < _SCATTER_ELEMENTS_SINCE:
        return Skip(node, "Pad of this operator set has no pads computed at run time; raise it")
    given = scope.folded(wanted)
    if given is not None and known_sizes(shape) == [int(v) for v in given.reshape(-1)]:
        return e.rewrite(node, result)
    before = e.ints([0] * rank)
    result = e("Pad", result, e("Concat", before, e("Sub", wanted, shape), axis=0))
    return e.rewrite(
        node, result, note="the indices count in the smaller tensor, as in the tests of ONNX"
    )


def _scaled(e: Emitter, size: gs.Tensor, factor: int, more: int) -> gs.Tensor:
    known = known_sizes(size)
    if known is not None:
        return e.ints([known[0] * factor + more])
    return e("Add", e("Mul", size, e.ints([factor])), e.ints([more]))


def _together(e: Emitter, sizes: list[gs.Tensor]) -> tuple[gs.Tensor, gs.Tensor]:
    """The sizes as one tensor, and their product, of shape (1,)."""
    known = [found[0] for s in sizes if (found := known_sizes(s)) is not None]
    if len(known) == len(sizes):
        return e.ints(known), e.ints([int(np.prod(known))])
    total = sizes[0]
    for size in sizes[1:]:
        total = e("Mul", total, size)
    return e("Concat", *sizes, axis=0), total
