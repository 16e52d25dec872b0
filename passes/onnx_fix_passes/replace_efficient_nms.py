"""The pass ``replace-efficient-nms``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import onnx_graphsurgeon as gs
from pydantic import Field

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix_passes._best_boxes import FEWEST, OP, Asked, Unfit, best_boxes, plugin_nodes, read


@dataclass(frozen=True)
class ReplaceEfficientNms(Pass):
    """Write TensorRT's plugin EfficientNMS_TRT in ops, where the target has no such plugin.

    Before:
        number, boxes, scores, classes = TRT.EfficientNMS_TRT(boxes, scores)
    After:
        best, place = TopK(Where(Less(scores, score_threshold), -32768, scores), M);
        of every round: first = ReduceMin(alive); over = Greater(Div(shared area, joint area), iou);
        alive = Where(Or(over, Equal(alive, first)), M, alive); then what was chosen: Gather

    There are as many rounds as boxes go out (max_output_boxes), in a Loop where they are more than
    eight. What is not found is 0, as the plugin has it. The third input, anchors, is taken, too.

    Exact: rounding only, where an image has 2000 scores (boxes times classes) at most. The plugin
        looks at the best 5000 scores alone, 4096 in 8.0, and 2000 on GPUs with few registers; where
        there are more, the option says how many the ops look at. The order of equal scores is open
        in the plugin; here the first box goes first. The sizes of boxes and scores must be known,
        but for the batch; float16 is computed with as float32. An engine must not compute it in
        FP16.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", OP, f"an image has {FEWEST} scores at most, and sizes are known"),
        Mends("ignored_attribute", OP, f"an image has {FEWEST} scores at most"),
    )

    candidates: Annotated[int, Field(ge=1)] | None = None
    """How many of the best scores of an image to look at, where it has more than 2000; TensorRT
    takes 3840 at most."""

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in plugin_nodes(scope, OP, everywhere=self.everywhere):
            yield self._site(scope, node)

    def _site(self, scope: Scope, node: gs.Node) -> Rewrite | Skip:
        try:
            asked = read(scope, node)
        except Unfit as error:
            return Skip(node, str(error))
        if asked.pairs > FEWEST and self.candidates is None:
            return Skip(
                node,
                f"an image has {asked.pairs} scores, of which the plugin looks at the best {FEWEST}"
                " to 5000, by release and GPU; say how many other ops shall look at, such as "
                "`candidates: 3840` in the options of replace-efficient-nms",
            )
        return self._rewrite(scope, node, asked)

    def _rewrite(self, scope: Scope, node: gs.Node, asked: Asked) -> Rewrite:
        e = Emitter(scope)
        many = asked.pairs
        if many > FEWEST and self.candidates is not None:
            many = min(many, self.candidates)
        made = best_boxes(scope, e, asked, many)
        pairs = [(old, new) for old, new in zip(node.outputs, made, strict=False) if old.name]
        if asked.pairs <= FEWEST:
            return e.rewrite(node, pairs, exactness=Exactness.ROUNDING)
        return e.rewrite(
            node,
            pairs,
            exactness=Exactness.CONTRACT,
            asked_by="candidates",
            note=f"of the {asked.pairs} scores of an image the {many} best are looked at; the "
            "plugin looks at 5000, at 4096 in 8.0, and at 2000 on GPUs with few registers; not in "
            "FP16",
        )
