"""The pass ``replace-eye-like``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import SMALL, Scope, attribute, has_unresolved
from onnx_fix_passes._places import places


@dataclass(frozen=True)
class ReplaceEyeLike(Pass):
    """Write EyeLike by the places along both axes, where the target lacks it.

    A matrix of known size becomes a constant.

    Before:
        y = EyeLike <k = 1> (x)
    After:
        rows = Range (0, height, 1), as a column
        columns = Range (0, width, 1)
        y = Cast (Equal (columns, Add (rows, 1)))
    Exact: yes.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "EyeLike"),
        Mends("static_shape_only", "EyeLike"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a comparison of places for every EyeLike that the target refuses."""
        for node in scope.nodes("EyeLike"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    x = node.inputs[0]
    if has_unresolved(node, "dtype", "k"):
        return Skip(node, "dtype or k is a parameter of the enclosing function; inline it first")
    dtype = attribute(node, "dtype", int) or scope.dtype(x)
    if dtype is None:
        return Skip(node, "the element type of its input is not known; state dtype")
    k = attribute(node, "k", int, 0) or 0
    e = Emitter(scope)
    known = [d for d in scope.shape(x) or () if isinstance(d, int)]
    if len(known) == 2 and known[0] * known[1] <= SMALL:
        return e.rewrite(node, e.const(np.eye(known[0], known[1], k), dtype))
    rows = places(e, e.dim(x, 0), [-1, 1])
    if k:
        rows = e("Add", rows, e.const(k))
    same = e("Equal", places(e, e.dim(x, 1), [-1]), rows)
    return e.rewrite(node, same if dtype == TensorProto.BOOL else e.cast(same, dtype))
