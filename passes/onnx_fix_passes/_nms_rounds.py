"""NonMaxSuppression as rounds of fixed size: the best box, and what it suppresses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Port
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix_passes._compaction import FLOAT, LONGEST, Compact, Padding, first_places, form

_STORED = 2**12
"""Numbers of up to this many boxes are stored, more are computed."""
_LOWEST = np.float32(np.finfo(np.float32).min)
_INT64 = int(TensorProto.INT64)
_NAMED = ("keys", "compare")
_WRITTEN = 8
"""Up to this many rounds are written one after the other, more as a Loop."""


def given(node: gs.Node, place: int) -> gs.Tensor | None:
    """An input, or None where it is left out."""
    if place >= len(node.inputs) or not node.inputs[place].name:
        return None
    return node.inputs[place]


def per_class(scope: Scope, node: gs.Node) -> int | None:
    """How many boxes each class keeps at most; None where it is known at run time only."""
    most = given(node, 2)
    if most is None:
        return 0
    value = scope.folded(most)
    return None if value is None or value.size != 1 else max(0, int(value.reshape(-1)[0]))


def sizes(scope: Scope, node: gs.Node) -> tuple[int | None, int | None, int | None]:
    """The numbers of batches, classes and boxes, None where one is not known."""
    boxes, scores = scope.shape(node.inputs[0]) or (None,) * 3, scope.shape(node.inputs[1])
    pairs = zip((boxes[0], None, boxes[1]), scores or (None,) * 3, strict=True)
    batch, classes, count = (next((d for d in p if isinstance(d, int)), None) for p in pairs)
    return batch, classes, count


def _dims(scope: Scope, node: gs.Node) -> tuple[int | str, int | str, int | str]:
    """The same with the symbols of those that are not known."""
    known, scores = sizes(scope, node), scope.shape(node.inputs[1]) or (None,) * 3
    label = node.outputs[0].name
    named = (f"{label}_batch", f"{label}_classes", f"{label}_boxes")
    batch, classes, count = (
        n if n is not None else d if isinstance(d, str) else name
        for n, d, name in zip(known, scores, named, strict=True)
    )
    return batch, classes, count


def keeps_nothing(scope: Scope, node: gs.Node) -> bool:
    """Whether no box is kept whatever the data."""
    if _ranks(scope, node) != (3, 3):
        return False
    return per_class(scope, node) == 0 or 0 in sizes(scope, node)


def _ranks(scope: Scope, node: gs.Node) -> tuple[int | None, int | None]:
    return scope.rank(node.inputs[0]), scope.rank(node.inputs[1])


def rounds(scope: Scope, node: gs.Node, most: int) -> int:
    """How many boxes of a class there may be among the first ``most``."""
    limits = (most, per_class(scope, node), sizes(scope, node)[2])
    return min(n for n in limits if n is not None)


def _length(scope: Scope, node: gs.Node, most: int) -> int | None:
    batch, classes, _ = sizes(scope, node)
    if batch is None or classes is None:
        return None
    return batch * classes * rounds(scope, node, most)


def obstacle(scope: Scope, node: gs.Node, most: int) -> str:
    """Why a node cannot be written with at most so many rows; empty where it can."""
    if has_unresolved(node, "center_point_box"):
        return "an attribute is a parameter of the enclosing function; inline it first"
    if _ranks(scope, node) != (3, 3):
        return "its boxes and scores are not known to have three dimensions"
    if any(scope.dtype(t) != FLOAT for t in node.inputs[:2]):
        return "its boxes and scores are not float32"
    count = sizes(scope, node)[2]
    if (count is None or count > _STORED) and scope.opset < 11:
        return "numbering its boxes needs Range: export with operator set 11"
    if count is not None and count > LONGEST:
        return f"it has {count} boxes, and float32 tells {LONGEST} of them apart"
    length = _length(scope, node, most)
    if length is not None and length > LONGEST:
        return f"it has room for {length} rows, and float32 tells {LONGEST} of them apart"
    found = form(scope, most, length)
    return "" if found in _NAMED else found


@dataclass(frozen=True)
class _Boxes:
    """What every round reads. Corners are (B, 1, 2, N), numbers and the area end in (1, N)."""

    low: gs.Tensor
    high: gs.Tensor
    area: gs.Tensor
    numbers: gs.Tensor
    beyond: gs.Tensor
    out: gs.Tensor
    overlap: gs.Tensor


def select(scope: Scope, e: Emitter, node: gs.Node, most: int, padding: Padding) -> Compact:
    """The first ``most`` rows of a NonMaxSuppression: (most, 3), which are valid, how many."""
    state, boxes = _start(scope, e, node)
    many = rounds(scope, node, most)
    if many <= _WRITTEN:
        bests, numbers = _unrolled(e, state, boxes, many)
    else:
        bests, numbers = _looped(e, state, boxes, many, _dims(scope, node))
    chosen: gs.Tensor = e("Greater", bests, boxes.out)
    limit = given(node, 2)
    if limit is not None and per_class(scope, node) is None:
        line = e.const(np.arange(many, dtype=np.float32).reshape(1, 1, many, 1))
        chosen = e("And", chosen, e("Less", line, e.reshape(e.cast(limit, FLOAT), [1])))
    flat = e.reshape(e.cast(chosen, FLOAT), [1, -1])
    place, ok = first_places(scope, e, flat, _length(scope, node, most), most)
    valid = e.reshape(ok, [-1])
    kept = e("Where", ok, place, e.const(np.float32(0)))
    kept = e("Where", ok, place, e("ReduceMax", kept, keepdims=0))
    where = e.reshape(_counted(e, kept), [-1])
    box = _counted(e, e("Gather", e.reshape(numbers, [-1]), where, axis=0))
    batch, line = _batch_and_class(scope, e, node, where, many)
    found = e.concat([e.reshape(t, [-1, 1]) for t in (batch, line, box)], 1)
    if padding != "repeat-last":
        filler = e.const(np.asarray(-1 if padding == "minus-one" else 0, np.int64))
        found = e("Where", e.reshape(ok, [-1, 1]), found, filler)
    number = e("ReduceSum", e.cast(ok, FLOAT), keepdims=0)
    return Compact(found, valid, e.cast(number, _INT64))


def _counted(e: Emitter, number: gs.Tensor) -> gs.Variable:
    """A float as an int64 that releases before 8.2 see is not negative."""
    return e.cast(e("Relu", number), _INT64)


def _start(scope: Scope, e: Emitter, node: gs.Node) -> tuple[gs.Tensor, _Boxes]:
    """The scores (B, C, 1, N), those that do not count replaced, and the boxes."""
    corners = e.unsqueeze(e.transpose(node.inputs[0], [0, 2, 1]), [1])
    first, second = (e.slice(corners, [k], [k + 2], [2]) for k in (0, 2))
    if attribute(node, "center_point_box", int, 0):
        half = e("Div", second, e.const(np.float32(2)))
        low, high = e("Sub", first, half), e("Add", first, half)
    else:
        low, high = e("Min", first, second), e("Max", first, second)
    area = e.reduce("ReduceProd", e("Sub", high, low), [2], keepdims=True)
    threshold = given(node, 4)
    out: gs.Tensor
    least: gs.Tensor
    if threshold is None:
        out, least = e.const(np.float32(-np.inf)), e.const(_LOWEST)
    else:
        out = least = e.reshape(threshold, [1])
    scores = e.unsqueeze(node.inputs[1], [2])
    state = e("Where", e("Greater", scores, least), scores, least)
    count = sizes(scope, node)[2]
    numbers: gs.Tensor
    beyond: gs.Tensor
    if count is not None and count <= _STORED:
        numbers = e.const(np.arange(count, dtype=np.float32).reshape(1, 1, 1, count))
        beyond = e.const(np.float32(count))
    else:
        size = e.reshape(e.dim(node.inputs[1], 2), [])
        zero, one = np.asarray(0, np.int64), np.asarray(1, np.int64)
        line = e.cast(e("Range", zero, size, one), FLOAT)
        numbers, beyond = e.reshape(line, [1, 1, 1, -1]), e.cast(size, FLOAT)
    iou = given(node, 3)
    overlap = e.const(np.float32(0)) if iou is None else e.reshape(iou, [1])
    return state, _Boxes(low, high, area, numbers, beyond, out, overlap)


def _best(e: Emitter, state: gs.Tensor, boxes: _Boxes) -> tuple[gs.Tensor, gs.Tensor, gs.Tensor]:
    """The best score of each class, the lowest number of a box that has it, and where it is."""
    best = e.reduce("ReduceMax", state, [3], keepdims=True)
    places = e("Where", _equal(e, state, best), boxes.numbers, boxes.beyond)
    number = e.reduce("ReduceMin", places, [3], keepdims=True)
    return best, number, places


def _suppressed(
    e: Emitter, state: gs.Tensor, boxes: _Boxes, number: gs.Tensor, places: gs.Tensor
) -> gs.Tensor:
    """The scores without the box that is chosen, and without those that it overlaps."""
    one = _equal(e, places, number)
    zero = e.const(np.float32(0))
    low, high = (
        e.reduce("ReduceSum", e("Where", one, side, zero), [3], keepdims=True)
        for side in (boxes.low, boxes.high)
    )
    sides = e("Relu", e("Sub", e("Min", boxes.high, high), e("Max", boxes.low, low)))
    shared = e.reduce("ReduceProd", sides, [2], keepdims=True)
    own = e.reduce("ReduceProd", e("Sub", high, low), [2], keepdims=True)
    union = e("Sub", e("Add", boxes.area, own), shared)
    # Nothing by nothing is no number, and no number is greater.
    over = e("Greater", e("Div", shared, union), boxes.overlap)
    return e("Where", e("Or", over, one), boxes.out, state)


def _equal(e: Emitter, a: gs.Tensor, b: gs.Tensor) -> gs.Tensor:
    """Whether floats are equal, of which ``b`` is the largest or the least of ``a``."""
    if e.opset >= 11:
        return e("Equal", a, b)
    return e("Not", e("Or", e("Less", a, b), e("Greater", a, b)))


def _unrolled(
    e: Emitter, state: gs.Tensor, boxes: _Boxes, many: int
) -> tuple[gs.Tensor, gs.Tensor]:
    """The best scores and the boxes of all rounds: (B, C, rounds, 1)."""
    bests: list[gs.Tensor] = []
    numbers: list[gs.Tensor] = []
    for k in range(many):
        best, number, places = _best(e, state, boxes)
        bests.append(best)
        numbers.append(number)
        if k + 1 < many:
            state = _suppressed(e, state, boxes, number, places)
    return e.concat(bests, 2), e.concat(numbers, 2)


def _looped(
    e: Emitter,
    state: gs.Tensor,
    boxes: _Boxes,
    many: int,
    dims: tuple[int | str, int | str, int | str],
) -> tuple[gs.Tensor, gs.Tensor]:
    """The same of a Loop that ends after a number of rounds that is known.

    The state has the same shape before and after a round, so its sizes are named.
    """
    batch, classes, count = dims
    whole, single = (batch, classes, 1, count), (batch, classes, 1, 1)
    scores = Port(gs.Variable("scores"), FLOAT, whole)

    def one(inner: Emitter) -> tuple[list[Port], list[Port]]:
        best, number, places = _best(inner, scores.tensor, boxes)
        left = _suppressed(inner, scores.tensor, boxes, number, places)
        return [Port(left, FLOAT, whole)], [Port(t, FLOAT, single) for t in (best, number)]

    _, bests, numbers = e.loop(many, [(state, scores)], one)
    first, second = (e.squeeze(e.transpose(t, [1, 2, 0, 3, 4]), [4]) for t in (bests, numbers))
    return first, second


def _batch_and_class(
    scope: Scope, e: Emitter, node: gs.Node, where: gs.Tensor, many: int
) -> tuple[gs.Tensor, gs.Tensor]:
    """Positions in (B, C, rounds) as the numbers of the batch and of the class."""
    batches, classes, _ = sizes(scope, node)
    nothing = e("Sub", where, where)
    if batches == 1 and classes == 1:
        return nothing, nothing
    pair = e("Div", where, e.ints([many])) if many > 1 else where
    if classes == 1:
        return pair, nothing
    if batches == 1:
        return nothing, pair
    size = e.ints([classes]) if classes is not None else e.dim(node.inputs[1], 1)
    batch = e("Div", pair, size)
    return batch, e("Sub", pair, e("Mul", batch, size))
