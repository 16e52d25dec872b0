"""The pass ``best-of-mask``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved, is_standard
from onnx_fix_passes._non_zero_dense import as_bool, same_shape
from onnx_fix_passes._non_zero_points import (
    KEEPS_SHAPE,
    Points,
    axes_of,
    gathered_at,
    points,
)

_FLOATS = frozenset({int(TensorProto.FLOAT), int(TensorProto.FLOAT16), int(TensorProto.DOUBLE)})
_PASSES_ON = KEEPS_SHAPE | {
    "Concat", "Expand", "Gather", "GatherND", "Shape", "Slice", "Split", "Squeeze", "Transpose",
    "Unsqueeze",
}  # fmt: skip


@dataclass(frozen=True)
class BestOfMask(Pass):
    """Take the best K of what a mask selects without a list of what it selects.

    Keypoint detectors and detection heads select by a threshold, and keep the K best: the elements
    that are not selected are as good as the worst number there is, so the TopK may look at all.

    Before:
        n = NonZero (mask); p = Transpose (n); s = GatherND (scores, p);
        best, i = TopK (s, K); where = Gather (p, i)
    After:
        best, i = TopK (Where (mask, scores, -inf), K) of all elements in a row;
        where = i divided by the sizes of the mask, axis by axis
    Exact:
        Yes, where at least K are selected; with fewer, TopK is not defined and the original fails,
        while this gives infinities at places that are not selected. Left alone: a K known at run
        time only, other uses of the coordinates, a TopK that takes any order.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.DECOMPOSE
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends(kind, "NonZero", "only the best K of what it selects are kept")
        for kind in ("needs_plugin", "no_importer")
    )

    everywhere: bool = False
    """Also where the target takes the NonZero."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose a TopK of everything for every TopK of what a refused NonZero selects."""
        for node in scope.nodes("TopK"):
            maker = scope.producer(node.inputs[0])
            found = maker is not None and maker.op in ("Gather", "GatherND")
            mask = gathered_at(scope, maker, whole=True) if found else None
            if maker is None or mask is None:
                continue
            # The legacy exporter writes a NonZero for every use of a mask.
            sources = [n for n in scope.consumers(mask) if n.op == "NonZero" and is_standard(n)]
            if self.everywhere or any(scope.refused(n) for n in sources):
                yield _site(scope, node, maker, mask, sources)


def _site(
    scope: Scope, node: gs.Node, maker: gs.Node, mask: gs.Tensor, sources: list[gs.Node]
) -> Rewrite | Skip:
    if has_unresolved(node, "axis", "largest", "sorted", "k"):
        return Skip(node, "an attribute is a parameter of the enclosing function; inline it first")
    scores, rank = maker.inputs[0], scope.rank(mask)
    dtype = scope.dtype(scores)
    count = _count(scope, node)
    if count is None:
        return Skip(node, "its K is known at run time only; --max-count bounds what is selected")
    if dtype not in _FLOATS or rank is None or not same_shape(scope, scores, mask):
        return Skip(node, "what it ranks is not floats of the shape of the mask")
    if not attribute(node, "sorted", int, 1):
        return Skip(node, "it takes any order of the best, so there is none to keep")
    readers, columns = _readers(scope, node.outputs[1])
    picks = {id(r): _picked(scope, r, mask) for r in readers}
    obstacle = next((r for r in readers if picks[id(r)] is None), None)
    if obstacle is not None or scope.is_output(node.outputs[1]):
        what = "an output" if obstacle is None else f"{obstacle.op} '{scope.label(obstacle)}'"
        return Skip(node, f"{what} needs the places among what is selected")
    uses = (_other_use(scope, source, {id(node), *picks}) for source in sources)
    other = next((use for use in uses if use is not None), None)
    if other is not None:
        return Skip(node, f"{other.op} '{scope.label(other)}' needs all that is selected")
    e = Emitter(scope)
    worst = np.asarray(-np.inf if attribute(node, "largest", int, 1) else np.inf)
    hidden = worst.astype(tensor_dtype_to_np_dtype(dtype or 0))
    whole = e("Where", e.reshape(as_bool(scope, e, mask), [-1]), e.reshape(scores, [-1]), hidden)
    largest = attribute(node, "largest", int)
    if scope.opset >= 10:
        best, places = e.many("TopK", 2, whole, e.ints([count]), axis=0, largest=largest)
    else:
        best, places = e.many("TopK", 2, whole, k=count, axis=0)
    pairs: list[tuple[gs.Tensor, gs.Tensor]] = [(node.outputs[0], best)]
    coordinates = _coordinates(e, places, mask, rank)
    for reader in readers:
        pick = picks[id(reader)]
        assert pick is not None
        if isinstance(pick, Points):
            made = _arranged(e, [coordinates[c] for c in pick.columns], pick)
        else:
            made = e("Gather", e.reshape(pick, [-1]), places, axis=0)
        pairs.append((reader.outputs[0], made))
    note = f"at least {count} must be selected, as the original asks"
    return e.rewrite((node, *columns, *readers), pairs, note=note)


def _count(scope: Scope, node: gs.Node) -> int | None:
    if "k" in node.attrs:
        return attribute(node, "k", int)
    value = scope.folded(node.inputs[1])
    return int(value.reshape(-1)[0]) if value is not None and value.size == 1 else None


def _readers(scope: Scope, places: gs.Tensor) -> tuple[list[gs.Node], list[gs.Node]]:
    """The nodes that read places, and what makes a column of them for a GatherND among these."""
    found: list[gs.Node] = []
    columns: list[gs.Node] = []
    for reader in scope.consumers(places):
        column = reader.op == "Unsqueeze" and axes_of(scope, reader) in ([1], [-1])
        behind = scope.consumers(reader.outputs[0]) if column else []
        picking = behind and all(r.op == "GatherND" for r in behind)
        if picking and not scope.is_output(reader.outputs[0]):
            found.extend(behind)
            columns.append(reader)
        else:
            found.append(reader)
    return found, columns


def _picked(scope: Scope, reader: gs.Node, mask: gs.Tensor) -> Points | gs.Tensor | None:
    """What a Gather at the places picks: coordinates, or elements of a tensor like the mask."""
    if reader.op not in ("Gather", "GatherND") or not is_standard(reader):
        return None
    rows, axis = reader.inputs[0], attribute(reader, "axis", int, 0) or 0
    if attribute(reader, "batch_dims", int, 0):
        return None
    found = points(scope, rows)
    if found is not None and found.mask is mask:
        return found if axis % (1 if found.layout == "flat" else 2) == _row_axis(found) else None
    maker = scope.producer(rows)
    if maker is None or maker.op not in ("Gather", "GatherND") or axis not in (0, -1):
        return None
    if gathered_at(scope, maker, whole=True) is not mask:
        return None
    return maker.inputs[0] if same_shape(scope, maker.inputs[0], mask) else None


def _row_axis(found: Points) -> int:
    """The dimension that counts what is selected."""
    return 1 if found.layout == "rows" else 0


def _other_use(scope: Scope, source: gs.Node, ends: set[int]) -> gs.Node | None:
    """A node that reads what was found, other than those that end here."""
    stack, seen = [source], {id(source)}
    while stack:
        for out in stack.pop().outputs:
            if scope.is_output(out):
                return source
            for reader in scope.consumers(out):
                if id(reader) in ends or id(reader) in seen:
                    continue
                if reader.op not in _PASSES_ON or scope.model.scope_of(reader) is not scope:
                    return reader
                seen.add(id(reader))
                stack.append(reader)
    return None


def _coordinates(e: Emitter, places: gs.Tensor, mask: gs.Tensor, rank: int) -> list[gs.Tensor]:
    """The coordinates of places in row-major order, each of shape (K,)."""
    found: list[gs.Tensor] = []
    rest = places
    for axis in range(rank - 1, 0, -1):
        size = e.dim(mask, axis)
        above = e("Div", rest, size)
        found.append(e("Sub", rest, e("Mul", above, size)))
        rest = above
    return [rest, *reversed(found)]


def _arranged(e: Emitter, columns: list[gs.Tensor], like: Points) -> gs.Tensor:
    if like.layout == "flat":
        return columns[0]
    axis = like.coordinate_axis
    return e.concat([e.unsqueeze(c, [axis]) for c in columns], axis)
