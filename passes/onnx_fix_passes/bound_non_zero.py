"""NonZero with a result of bounded size, where the user says how large."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from onnx_fix.contract import Pass, Rewrite, Skip, Stage
from onnx_fix.scope import Scope
from onnx_fix_passes._bounded_rows import Positive, bounded
from onnx_fix_passes._compaction import Padding


@dataclass(frozen=True)
class BoundNonZero(Pass):
    """Gives NonZero a result of fixed size, with padding and a count, where an option asks.

    Before:
        n = NonZero(mask)
    After:
        keys = Mul(Cast(mask), falling numbers); best, _ = TopK(keys, K);
        place = Where(Greater(best, 0), Sub(size, best), padding); n = Div and Mul of place;
        count = ReduceSum(Greater(best, 0))

    The first K elements that are not zero are found, in the order of NonZero. What follows is
    padding, and so is what is computed from it. A NonZero whose mask is computed from the result of
    another one is bounded with it: padding counts as not selected there, and its K is the size of
    its mask unless the option names it too. Each NonZero adds an output to the model, an int64
    scalar: how many it found, K at most. It is called after the first output that has such rows
    (``keypoints_count``), else after the result of the NonZero.

    The rows are followed to the outputs through ops that treat rows one by one. The pass declines
    where another op reads them (a sum over the rows, say), where their number is used for anything
    but shapes, and in subgraphs. Gathers at computed places are kept in range. Where NonZero can
    be replaced exactly (replace-non-zero) it is left to that.

    Exact: no. The outputs have K rows in place of as many as were selected; the report names them,
        and the comparison with the original goes as far as the count says. Where more than K are
        selected the first K are kept, and the count is K. Positions are numbered in float32: masks
        of up to 2**24 elements, and an engine must not compute them in FP16 (``--fp16`` of trtexec
        may). A mask without any element has nothing that padding could be gathered from. Where
        the target's TopK is limited to less than K, every element is compared with 1 to K instead.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND

    max_count: dict[str, Positive] | None = None
    """The largest number of elements to find, by the name of the NonZero node or of its output;
    ``*`` stands for all others. Asked for, it happens whether the target takes NonZero or not."""

    padding: Padding = "repeat-last"
    """What follows the last coordinates: these again (zero where nothing is selected), -1 or 0.
    Nothing is gathered from the end at -1, but from the front."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        yield from bounded(scope, "NonZero", self.max_count or {}, self.padding)
