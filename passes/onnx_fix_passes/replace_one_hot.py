"""The pass ``replace-one-hot``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix_passes._by_rule import is_taken
from onnx_fix_passes._places import places


@dataclass(frozen=True)
class ReplaceOneHot(Pass):
    """Write OneHot by Equal and Where, where the target lacks it or its depth is not constant.

    A negative index counts from the end. One that is out of range has no place, so it gives
    the off value everywhere.

    Before:
        y = OneHot (indices, depth, values)
    After:
        i = Unsqueeze (indices)
        k = Where (Less (i, 0), Add (i, depth), i)
        y = Where (Equal (k, Range (0, depth, 1)), on, off)
    Exact:
        Yes; a depth from a floating-point input is the size that is stated of the output, which the
        note says. Left alone: an unknown rank.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("dtype_refused", "OneHot", "the model states the size of the output"),
        Mends("input_must_be_constant", "OneHot", "the rank of the indices is known"),
        Mends("no_importer", "OneHot", "the rank of the indices is known"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose Equal and Where for every OneHot that the target refuses."""
        for node in scope.nodes("OneHot"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    indices, depth, values = node.inputs
    rank = scope.rank(indices)
    if has_unresolved(node, "axis"):
        return Skip(node, "axis is a parameter of the enclosing function; inline it first")
    if rank is None:
        return Skip(node, "the rank of its indices is not known")
    alien = next((t for t in (indices, values) if not is_taken(scope, t)), None)
    if alien is not None:
        return Skip(node, f"{scope.target.name} does not take '{alien.name}' for its type or rank")
    e = Emitter(scope)
    axis = attribute(node, "axis", int, -1) or 0
    if not -rank - 1 <= axis <= rank:
        return Skip(node, f"its axis {axis} does not exist in a tensor of rank {rank + 1}")
    axis %= rank + 1
    known = scope.folded(depth)
    sizes = scope.shape(node.outputs[0])
    stated = sizes[axis] if sizes is not None and len(sizes) == rank + 1 else None
    from_float = any(f.kind == "dtype_refused" for f in scope.judge(node).findings)
    note = ""
    if known is not None:
        size: gs.Tensor = e.ints([int(known.reshape(-1)[0])])
    elif from_float and isinstance(stated, int):
        size = e.ints([stated])
        note = f"'{depth.name}' is {stated}, as the shape that is stated of the result has it"
    elif from_float:
        return Skip(
            node,
            f"the depth '{depth.name}' rests on a floating-point input, of which "
            f"{scope.target.name} makes no size; make that input an integer",
        )
    else:
        whole = depth if scope.dtype(depth) == TensorProto.INT64 else _int64(e, depth)
        size = whole if scope.shape(depth) == (1,) else e.reshape(whole, [1])
    at = indices if scope.dtype(indices) == TensorProto.INT64 else _int64(e, indices)
    at = e.unsqueeze(at, [axis])
    from_end = e("Less", at, e.const(0))
    at = e("Where", from_end, e("Add", at, size), at)
    hot = e("Equal", at, places(e, size, [-1] + [1] * (rank - axis)))
    given = scope.folded(values)
    if given is not None and given.size == 2:
        off, on = (e.const(v.reshape(())) for v in given.reshape(-1))
    else:
        off, on = (e("Gather", values, e.const(k), axis=0) for k in range(2))
    if scope.dtype(values) == TensorProto.BOOL:
        both = e("Or", e("And", hot, on), e("And", e("Not", hot), off))
        return e.rewrite(node, both, note=note)
    return e.rewrite(node, e("Where", hot, on, off), note=note)


def _int64(e: Emitter, x: gs.Tensor) -> gs.Tensor:
    return e.cast(x, TensorProto.INT64)
