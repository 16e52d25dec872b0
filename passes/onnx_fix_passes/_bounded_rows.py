"""Give the nodes whose number of rows the data has a bounded one, with padding and a count."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated

import onnx_graphsurgeon as gs
from onnx import TensorProto
from pydantic import Field

from onnx_fix.contract import Exactness, Padded, Rewrite, Skip
from onnx_fix.emit import Emitter
from onnx_fix.op_names import REARRANGING
from onnx_fix.scope import Scope, attribute, is_standard
from onnx_fix.signs import Signs
from onnx_fix_passes import _nms_rounds as boxes
from onnx_fix_passes import _non_zero_ends as ends
from onnx_fix_passes._compaction import Compact, Padding, compact, form, within
from onnx_fix_passes._non_zero_points import points
from onnx_fix_passes._padded_rows import Flow
from onnx_fix_passes._row_sizes import Source
from onnx_fix_passes._uniform import uniform_value

_NAMED = ("keys", "compare")
_OPS = ("NonZero", "NonMaxSuppression")
_WHOLE = (TensorProto.INT32, TensorProto.INT64)

Positive = Annotated[int, Field(ge=1)]


def bounded(
    scope: Scope, op: str, max_count: Mapping[str, int], padding: Padding
) -> Iterator[Rewrite | Skip]:
    """Bound the nodes of an op that ``max_count`` names, each with those that hang on its rows."""
    yield from _Bounding(scope, max_count, padding).sites(op)


def asked_for(scope: Scope, node: gs.Node, max_count: Mapping[str, int]) -> int | None:
    """The most rows that a node shall have; None where it is to be left as it is.

    ``*`` stands for every NonZero that has no exact form, and for every NonMaxSuppression that the
    target does not take.
    """
    names = [str(node.name), str(node.outputs[0].name)]
    if node.op == "NonZero":
        if _has_exact_form(scope, node):
            return None
        names.append("*")
    else:
        if boxes.keeps_nothing(scope, node):
            return None
        if scope.judge(node).status != "supported":
            names.append("*")
    return next((max_count[n] for n in names if n in max_count), None)


class _Bounding:
    """The rewrites of one scope."""

    def __init__(self, scope: Scope, max_count: Mapping[str, int], padding: Padding) -> None:
        self._scope = scope
        self._padding = padding
        self._asked: list[tuple[gs.Node, int]] = []
        for node in scope.nodes(*_OPS) if max_count else ():
            most = asked_for(scope, node, max_count)
            if most is not None:
                self._asked.append((node, most))

    def sites(self, op: str) -> Iterator[Rewrite | Skip]:
        if all(node.op != op for node, _ in self._asked):
            return
        scope = self._scope
        if scope.kind != "main":
            for node, _ in self._asked:
                if node.op == op:
                    yield Skip(
                        node, "it stands in a subgraph or function, which gives the model no count"
                    )
            return
        flow = Flow(scope, {id(node): most for node, most in self._asked})
        for group in flow.groups():
            if group[0].node.op == op:
                yield from self._group(scope, flow, group)

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
        if source.node.op != "NonZero":
            return boxes.obstacle(scope, source.node, source.most)
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
            node, key, above = source.node, id(source.node), source.parent
            if node.op == "NonZero":
                mask = node.inputs[0]
                rows = None if above is None else (made[id(above.source.node)].valid, above.axis)
                dims = flow.dims(mask) or ()
                made[key] = compact(scope, e, mask, dims, source.most, self._padding, rows)
            else:
                made[key] = boxes.select(scope, e, node, source.most, self._padding)
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
        plain = points(scope, index) is not None or _moved(scope, index)
        below = self._padding == "minus-one"
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
        verb = {"NonZero": "finds the first {} in row-major order", _OPS[1]: "keeps {} boxes"}
        parts = [
            f"'{scope.label(s.node)}' {verb[s.node.op].format(s.most)} and no more, "
            f"and output '{names[id(s.node)]}' says how many it found"
            for s in group
        ]
        told = [
            f"'{p.output}' has {p.counts[0][1]} along axis {p.axis}, of which "
            f"'{p.counts[0][0]}' are valid"
            for p in padded
        ]
        text = "; ".join([*parts, *told])
        if group[0].node.op != "NonZero":
            return f"{text}; padding: {self._padding}; up to 2**24 places for boxes, not in FP16"
        return f"{text}; padding: {self._padding}; masks of up to 2**24 elements, not in FP16"


def _has_exact_form(scope: Scope, node: gs.Node) -> bool:
    """Whether replace-non-zero does away with a node and changes nothing."""
    if scope.judge(node).status == "supported":
        return False
    mask = node.inputs[0]
    if scope.folded(mask) is not None or uniform_value(scope, mask) is not None:
        return True
    return not ends.needs_coordinates(scope, node)


def _moved(scope: Scope, tensor: gs.Tensor, depth: int = 16) -> bool:
    """Whether a tensor holds nothing but numbers of rows of a NonMaxSuppression.

    Padding, a row again or zeros, is in range then wherever these are.
    """
    node = scope.producer(tensor)
    if node is None or not is_standard(node) or depth == 0:
        return False
    if node.op == "NonMaxSuppression":
        return True
    if node.op == "Concat":
        return all(_moved(scope, t, depth - 1) for t in node.inputs)
    whole = node.op == "Cast" and attribute(node, "to", int) in _WHOLE
    return (whole or node.op in REARRANGING) and _moved(scope, node.inputs[0], depth - 1)


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
