"""The pass ``replace-tensor-scatter``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.lower.rules.scatter import tensor_scatter
from onnx_fix.scope import Scope
from onnx_fix_passes._by_rule import by_rule, is_taken


@dataclass(frozen=True)
class ReplaceTensorScatter(Pass):
    """Write TensorScatter as ScatterElements, where the target does not take its mode, its axis or
    its rank.

    The place of an element of the update is its own along the axis plus the write index of its
    batch; in mode ``circular`` it starts again behind the end of the cache.

    Before:
        y = TensorScatter <mode = "circular"> (cache, update, at)
    After:
        k = Add (Range (0, length, 1), at), along the axis and the batch
        places = Expand (Mod (k, size), Shape (update))
        y = ScatterElements (cache, places, update)
    Exact:
        Yes. Left alone: an unknown rank, the batch axis.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = (
        *(
            Mends(kind, "TensorScatter", "the rank is known")
            for kind in (
                "attribute_allowed_values",
                "dtype_refused",
                "no_importer",
                "rank",
                "static_shape_only",
            )
        ),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a ScatterElements for every TensorScatter that the target refuses."""
        for node in scope.nodes("TensorScatter"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    alien = next((t for t in node.inputs[:2] if not is_taken(scope, t)), None)
    if alien is not None:
        return Skip(node, f"{scope.target.name} does not take '{alien.name}' for its type or rank")
    return by_rule(scope, node, tensor_scatter)
