"""The pass ``replace-nms``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnx_fix.contract import Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope
from onnx_fix_passes._bounded_rows import Positive, asked_for, bounded
from onnx_fix_passes._compaction import Padding
from onnx_fix_passes._nms_rounds import keeps_nothing


@dataclass(frozen=True)
class ReplaceNms(Pass):
    """Gives NonMaxSuppression a result of fixed size, with padding and a count, if asked to.

    Before:
        rows = NonMaxSuppression(boxes, scores, most, iou, score)
    After:
        of every round: best = ReduceMax(scores);
        box = ReduceMin(Where(Equal(scores, best), numbers, N));
        over = Greater(Div(shared area, joint area), iou); scores = Where(over, score, scores);
        of what was chosen: the first K, as bound-non-zero finds them, and how many there are

    A round chooses the best box of every class of every batch, the first of those that are equal,
    and takes away what overlaps it. There are as many rounds as a class may keep boxes: the least
    of K, of max_output_boxes_per_class and of the number of boxes; more than eight are a Loop.
    What follows the result is padding, and so is what is computed from it; a NonZero of a mask
    along the rows is bounded with them. The model gets an output, an int64 scalar, that says how
    many boxes are kept, K at most.

    A node that keeps no box whatever the data (its third input is missing or 0) is an empty
    constant, which needs no option.

    Exact: no, but for the empty constant. The outputs have K rows in place of as many as are kept,
        in the same order; where more are kept the first K are there. Boxes are compared as
        onnxruntime compares them, operation by operation. Scores that are no number are never
        chosen where there is a score threshold; without one they, and those of minus infinity,
        rank with the lowest float32. Sizes that are known at run time only must not be 0 there, for
        padding has to be some box. Needs float32: an engine must not compute it in FP16.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND

    max_count: dict[str, Positive] | None = None
    """The largest number of rows to keep, by the name of the NonMaxSuppression node or of its
    output; ``*`` stands for all others that the target does not take."""

    padding: Padding = "repeat-last"
    """What follows the last row: the row again (box 0 where none is kept), -1 or 0."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        wanted = self.max_count or {}
        for node in scope.nodes("NonMaxSuppression"):
            if scope.judge(node).status == "supported":
                continue
            if keeps_nothing(scope, node):
                e = Emitter(scope)
                yield e.rewrite(node, e.const(np.zeros((0, 3), np.int64)))
            elif asked_for(scope, node, wanted) is None:
                name = node.outputs[0].name
                yield Skip(
                    node,
                    "the number of its rows depends on the data; with a bound it is written in "
                    f"other ops: --max-count '{name}=K'",
                )
        yield from bounded(scope, "NonMaxSuppression", wanted, self.padding)
