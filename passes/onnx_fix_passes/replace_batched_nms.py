"""The pass ``replace-batched-nms``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix_passes._best_boxes import Unfit, plugin_nodes
from onnx_fix_passes._best_by_class import MMDEPLOY_OP, OP, best_by_class, read


@dataclass(frozen=True)
class ReplaceBatchedNms(Pass):
    """Write TensorRT's plugin BatchedNMSDynamic_TRT in ops, where the target has no such plugin.

    With an option, TRTBatchedNMS of mmdeploy's library, too, which gives boxes and scores as one.

    Before:
        number, boxes, scores, classes = TRT.BatchedNMSDynamic_TRT(boxes, scores)
    After:
        alive = Where(Greater(scores, scoreThreshold), scores, -1), of every class the topK best;
        of every round: best = ReduceMax(alive); first = ReduceMin(Where(Equal(alive, best), line));
        over = And(Greater(Div(shared area, joint area), iou), same class);
        alive = Where(Or(over, Equal(line, first)), -1, alive)

    There are as many rounds as boxes go out (keepTopK), in a Loop where they are more than eight.
    What is not found is 0, and its class -1, as the plugin has it.

    Exact: rounding only. Left alone: boxes that are not normalized (isNormalized = 0), whose areas
        the plugin counts in pixels. The sizes of boxes and scores must be known, but for the batch;
        float16 is computed with as float32. An engine must not compute it in FP16.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", OP, "isNormalized is 1, and sizes are known"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    mmdeploy: bool = False
    """Also rewrite mmdeploy::TRTBatchedNMS, for those who have no library with it."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in self._nodes(scope):
            try:
                asked = read(scope, node)
            except Unfit as error:
                yield Skip(node, str(error))
                continue
            e = Emitter(scope)
            made = best_by_class(scope, e, asked)
            pairs = [(old, new) for old, new in zip(node.outputs, made, strict=False) if old.name]
            yield e.rewrite(node, pairs, exactness=Exactness.ROUNDING)

    def _nodes(self, scope: Scope) -> Iterator[gs.Node]:
        yield from plugin_nodes(scope, OP, everywhere=self.everywhere)
        if self.mmdeploy:
            yield from plugin_nodes(scope, MMDEPLOY_OP, everywhere=True)
