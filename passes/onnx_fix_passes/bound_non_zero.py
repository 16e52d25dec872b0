"""NonZero with a result of bounded size, where the user says how large."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import onnx_graphsurgeon as gs
from onnx import TensorProto
from pydantic import Field

from onnx_fix.contract import Exactness, Padded, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute
from onnx_fix.signs import Signs
from onnx_fix_passes import _non_zero_ends as ends
from onnx_fix_passes._compaction import Compact, compact, form, within
from onnx_fix_passes._non_zero_points import points
from onnx_fix_passes._padded_rows import Flow
from onnx_fix_passes._row_sizes import Source
from onnx_fix_passes._uniform import uniform_value

_NAMED = ("keys", "compare")

Positive = Annotated[int, Field(ge=1)]


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

    padding: Literal["repeat-last", "minus-one", "zero"] = "repeat-last"
    """What follows the last coordinates: these again (zero where nothing is selected), -1 or 0.
    Nothing is gathered from the end at -1, but from the front."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        asked = self._asked(scope)
        if not asked:
            return
        if scope.kind != "main":
            for node, _ in asked:
                yield Skip(
                    node, "it stands in a subgraph or function, which gives the model no count"
                )
            return
        flow = Flow(scope, {id(node): most for node, most in asked})
        for group in flow.groups():
            yield from self._group(scope, flow, group)

    def _asked(self, scope: Scope) -> list[tuple[gs.Node, int]]:
        found: list[tuple[gs.Node, int]] = []
        wanted = self.max_count or {}
        for node in scope.nodes("NonZero") if wanted else ():
            names = (node.name, node.outputs[0].name, "*")
            most = next((wanted[n] for n in names if n in wanted), None)
            if most is not None and not _has_exact_form(scope, node):
                found.append((node, most))
        return found

    def _group(self, scope: Scope, flow: Flow, group: list[Source]) -> Iterator[Rewrite | Skip]:
        reasons: list[str] = []
        for source in group:
            reason = flow.obstacles.get(id(source.node)) or self._unfit(scope, flow, source)
            if reason:
                reasons.append(reason)
                yield Skip(source.node, reason)
        if not reasons:
            yield self._rewrite(scope, flow, group)

    def _unfit(self, scope: Scope, flow: Flow, source: Source) -> str:
        found = form(scope, source.most, _length(flow, source))
        return "" if found in _NAMED else found

    def _rewrite(self, scope: Scope, flow: Flow, group: list[Source]) -> Rewrite:
        e = Emitter(scope)
        made: dict[int, Compact] = {}
        names: dict[int, str] = {}
        results: list[tuple[gs.Tensor, gs.Tensor]] = []
        old: list[gs.Node] = []
        counts: dict[int, tuple[tuple[str, int], ...]] = {}
        padded: list[Padded] = []
        for source in group:
            node, mask, key = source.node, source.node.inputs[0], id(source.node)
            above = source.parent
            rows = None if above is None else (made[id(above.source.node)].valid, above.axis)
            dims = flow.dims(mask) or ()
            made[key] = compact(scope, e, mask, dims, source.most, self.padding, rows)
            old.append(node)
            results.append((node.outputs[0], made[key].found))
            leading = source.outputs[0][0] if source.outputs else node.outputs[0]
            names[key] = f"{leading.name}_count"
            own = (names[key], source.most)
            counts[key] = (own, *(() if above is None else counts[id(above.source.node)]))
            padded.extend(Padded(t.name, axis, counts[key]) for t, axis in source.outputs)
        for source in group:
            for gather in source.gathers:
                kept = self._kept_in_range(scope, flow, e, gather)
                if kept is not None:
                    old.append(gather)
                    results.append((gather.outputs[0], kept))
        return e.rewrite(
            old,
            results,
            exactness=Exactness.CONTRACT,
            note=self._note(scope, group, names, padded),
            asked_by="max_count",
            adds=[(names[k], made[k].count) for k in names],
            padded=padded,
        )

    def _kept_in_range(
        self, scope: Scope, flow: Flow, e: Emitter, gather: gs.Node
    ) -> gs.Tensor | None:
        """A Gather or GatherND whose padding is in range; None where it is as it stands."""
        data, index = gather.inputs
        plain = points(scope, index) is not None
        below = self.padding == "minus-one"
        if plain and not below:
            return None
        axis = None
        if gather.op == "Gather":
            axis = (attribute(gather, "axis", int, 0) or 0) % (scope.rank(data) or 1)
        sizes = None if plain else _sizes(scope, flow, e, gather, axis)
        forward = plain or Signs(scope, None).nonnegative(index)
        dtype = scope.dtype(index) or int(TensorProto.INT64)
        low = below or not forward
        inside = within(e, index, dtype, sizes, low=low, forward=forward)
        return e(gather.op, data, inside, axis=axis)

    def _note(
        self,
        scope: Scope,
        group: list[Source],
        names: dict[int, str],
        padded: list[Padded],
    ) -> str:
        parts = [
            f"'{scope.label(s.node)}' finds the first {s.most} in row-major order and no more, "
            f"and output '{names[id(s.node)]}' says how many it found"
            for s in group
        ]
        told = [
            f"'{p.output}' has {p.counts[0][1]} along axis {p.axis}, of which "
            f"'{p.counts[0][0]}' are valid"
            for p in padded
        ]
        text = "; ".join([*parts, *told])
        return f"{text}; padding: {self.padding}; masks of up to 2**24 elements, not in FP16"


def _has_exact_form(scope: Scope, node: gs.Node) -> bool:
    """Whether replace-non-zero does away with a node and changes nothing."""
    if scope.judge(node).status == "supported":
        return False
    mask = node.inputs[0]
    if scope.folded(mask) is not None or uniform_value(scope, mask) is not None:
        return True
    return not ends.needs_coordinates(scope, node)


def _length(flow: Flow, source: Source) -> int | None:
    dims = flow.dims(source.node.inputs[0])
    known = [d for d in dims or () if isinstance(d, int)]
    return math.prod(known) if dims is not None and len(known) == len(dims) else None


def _sizes(scope: Scope, flow: Flow, e: Emitter, gather: gs.Node, axis: int | None) -> gs.Tensor:
    """The sizes that the indices of a Gather or GatherND must stay below."""
    data, index = gather.inputs
    dims = flow.dims(data) or ()
    last = (scope.shape(index) or (None,))[-1]
    columns = last if isinstance(last, int) else 0
    sizes: list[gs.Tensor] = []
    for place in range(columns) if axis is None else (axis,):
        size = dims[place]
        sizes.append(e.ints([size]) if isinstance(size, int) else e.dim(data, place))
    return e.concat(sizes, 0)
