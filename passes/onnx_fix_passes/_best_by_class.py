"""What BatchedNMSDynamic_TRT and mmdeploy's TRTBatchedNMS compute, as rounds over all scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Port
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix_passes._best_boxes import (
    WRITTEN,
    Unfit,
    image_starts,
    images_of,
    in_half,
    narrowed,
    overlap,
    sides,
    widened,
)

OP = "BatchedNMSDynamic_TRT"
MMDEPLOY_OP = "TRTBatchedNMS"

_FLOAT = int(TensorProto.FLOAT)
_INT32 = int(TensorProto.INT32)
_FEW_BITS = 10
"""Up to so many bits of scores in float16 are looked at; any other number means all."""
_MOST = 2**24
"""Numbers that float32 tells apart."""
_SAID = ("background", "classes", "tries", "most", "least", "overlap")
"""What both plugins are told, in the order of their attributes below."""
_NUMBERS = 4
"""So many of those are whole numbers, the others thresholds."""
_NAMES = {
    OP: (
        "backgroundLabelId", "numClasses", "topK", "keepTopK", "scoreThreshold", "iouThreshold",
        "clipBoxes",
    ),
    MMDEPLOY_OP: (
        "background_label_id", "num_classes", "topk", "keep_topk", "score_threshold",
        "iou_threshold", "clip_boxes",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What a node asks for; ``tries`` is how many scores of a class are looked at.

    ``turned``: boxes may have their corners in any order. ``joined``: boxes and scores go out as
    one, without a number; ``indexed``: the numbers of the boxes, too.
    """

    boxes: gs.Tensor
    scores: gs.Tensor
    images: int | str
    count: int
    classes: int
    shared: bool
    least: np.float32
    overlap: np.float32
    tries: int
    most: int
    none: int
    clipped: bool
    turned: bool
    joined: bool
    indexed: bool
    half: bool


def read(scope: Scope, node: gs.Node) -> Asked:
    """What a node asks for.

    Raises:
        Unfit: something that matters is not known, or is none that the plugin takes.
    """
    if has_unresolved(node, *node.attrs):
        raise Unfit("an attribute is a parameter of the enclosing function; inline it first")
    told, clips = _told(node), _NAMES[node.op][-1]
    if len(node.inputs) != 2:
        raise Unfit(f"it has {len(node.inputs)} inputs, and the plugin takes 2")
    half = in_half(scope, list(node.inputs))
    if half and node.op == MMDEPLOY_OP:
        raise Unfit("its inputs are float16, which the library does not take")
    if half and 0 < (attribute(node, "scoreBits", int, 16) or 0) <= _FEW_BITS:
        raise Unfit("its scores are float16, and scoreBits has them sorted by their first bits")
    # mmdeploy's library takes the attribute, and adds nothing to the sides of boxes either way.
    if node.op == OP and not attribute(node, "isNormalized", int, 1):
        raise Unfit("isNormalized is 0, with which the plugin counts areas in pixels")
    boxes, scores = (scope.shape(t) for t in node.inputs)
    if boxes is None or len(boxes) != 4 or scores is None or len(scores) not in (3, 4):
        raise Unfit("the ranks of its boxes and scores are not known to be 4, and 3 or 4")
    lengths = [d for d in (scores[1], boxes[1]) if isinstance(d, int)]
    classes, most = int(told["classes"]), int(told["most"])
    if not lengths or not isinstance(scores[2], int) or not isinstance(boxes[2], int):
        raise Unfit("the numbers of its boxes and classes are not known; fix them in the export")
    shared = boxes[2] == 1
    each = 1 if attribute(node, "shareLocation", int, int(shared)) else classes
    if scores[2] != classes or boxes[2] != each or not lengths[0]:
        raise Unfit("its shapes are not those of its attributes, or it has no boxes")
    top = int(told["tries"])
    if node.op == MMDEPLOY_OP and not 0 < top <= lengths[0]:
        top = lengths[0]
    if told["least"] < 0 or not 0 < most <= top:
        raise Unfit("its score threshold is negative, or it does not keep from 1 to topK boxes")
    tries = min(top, lengths[0])
    if classes * tries > _MOST:
        raise Unfit(f"it ranks {classes * tries} scores, and float32 tells {_MOST} of them apart")
    return Asked(
        node.inputs[0],
        node.inputs[1],
        images_of(scope, node),
        lengths[0],
        classes,
        shared,
        np.float32(told["least"]),
        np.float32(told["overlap"]),
        tries,
        most,
        int(told["background"]),
        bool(attribute(node, clips, int, 1)),
        turned=node.op == OP,
        joined=node.op == MMDEPLOY_OP,
        indexed=node.op == MMDEPLOY_OP and len(node.outputs) > 2,
        half=half,
    )


def _told(node: gs.Node) -> dict[str, float]:
    """The attributes that have no default."""
    told: dict[str, float] = {}
    for place, (name, said) in enumerate(zip(_NAMES[node.op], _SAID, strict=False)):
        value = attribute(node, name, int if place < _NUMBERS else float)
        if value is None:
            raise Unfit(f"it has no attribute {name}, which the plugin asks for")
        told[said] = value
    return told


def best_by_class(scope: Scope, e: Emitter, asked: Asked) -> list[gs.Tensor]:
    """The outputs of the plugin."""
    return _Maker(scope, e, asked).outputs()


class _Maker:
    """Writes the nodes for one node of the plugin.

    B is the number of images, C of classes, M of scores of a class that are looked at. The scores
    are (B, 1, C, M), the boxes (B, 4, C, M), where C is 1 if all classes have one box and M is all.
    """

    def __init__(self, scope: Scope, e: Emitter, asked: Asked) -> None:
        self.scope, self.e, self.asked = scope, e, asked
        self.zero = e.const(np.float32(0))
        self.dead = e.const(np.float32(-1))
        size = asked.classes * asked.tries
        shape = (1, 1, asked.classes, asked.tries)
        self.line = e.const(np.arange(size, dtype=np.float32).reshape(shape))
        self.beyond = e.const(np.float32(size))
        kinds = np.arange(asked.classes, dtype=np.float32).reshape(1, 1, -1, 1)
        self.kinds = e.const(kinds)
        self.index: gs.Tensor | None = None

    def outputs(self) -> list[gs.Tensor]:
        e, asked = self.e, self.asked
        alive, corners = self._tried()
        read = {"kind": self.kinds, "box": corners}
        if asked.indexed:
            read["index"] = self._numbers()
        found = self._chosen(alive, read, sides(e, corners, turned=asked.turned))
        best, box = found["best"], found["box"]
        ok = e("Greater", best, self.dead)
        if asked.clipped:
            box = e("Max", e("Min", box, e.const(np.float32(1))), self.zero)
        boxes = e("Where", e.unsqueeze(ok, [2]), box, self.zero)
        scores = e("Where", ok, best, self.zero)
        rest = [e("Where", ok, found[n], self.dead) for n in ("kind", "index") if n in found]
        if asked.joined:
            joined = narrowed(e, e.concat([boxes, e.unsqueeze(scores, [2])], 2), asked.half)
            return [joined, *(e.cast(t, _INT32) for t in rest)]
        number = e.reduce("ReduceSum", e.cast(ok, _FLOAT), [1], keepdims=True)
        return [
            e.cast(number, _INT32),
            *(narrowed(e, t, asked.half) for t in (boxes, scores, *rest)),
        ]

    def _numbers(self) -> gs.Tensor:
        """The numbers of the boxes, those of a class behind those of the one before."""
        e, asked = self.e, self.asked
        starts = np.arange(1 if asked.shared else asked.classes) * asked.count
        base = e.const(starts.astype(np.float32).reshape(1, 1, -1, 1))
        if self.index is not None:
            return e("Add", e.unsqueeze(e.cast(self.index, _FLOAT), [1]), base)
        line = np.arange(asked.count, dtype=np.float32)
        return e("Add", e.const(line.reshape(1, 1, 1, -1)), base)

    def _tried(self) -> tuple[gs.Tensor, gs.Tensor]:
        """The scores that are looked at, -1 where one does not count, and their boxes."""
        e, asked = self.e, self.asked
        least = np.full(asked.classes, asked.least, np.float32)
        if 0 <= asked.none < asked.classes:
            least[asked.none] = np.inf
        scores = e.reshape(widened(e, asked.scores, asked.half), [0, asked.count, asked.classes])
        counts = e("Greater", scores, e.const(least))
        counted = e.transpose(e("Where", counts, scores, self.dead), [0, 2, 1])
        if asked.tries == asked.count:
            wide = widened(e, asked.boxes, asked.half)
            return e.unsqueeze(counted, [1]), e.transpose(wide, [0, 3, 2, 1])
        best, index = e.many("TopK", 2, counted, e.ints([asked.tries]), axis=2)
        self.index = index
        size, place = asked.count, index
        if not asked.shared:
            size = asked.count * asked.classes
            kinds = e.const(np.arange(asked.classes, dtype=np.int64).reshape(-1, 1))
            place = e("Add", e("Mul", index, e.ints([asked.classes])), kinds)
        starts = image_starts(e, asked.scores, asked.images, size)
        if starts is not None:
            place = e("Add", place, e.reshape(starts, [-1, 1, 1]))
        boxes = e.reshape(widened(e, asked.boxes, asked.half), [-1, 4])
        boxes = e("Gather", boxes, place, axis=0)
        return e.unsqueeze(best, [1]), e.transpose(boxes, [0, 3, 1, 2])

    def _chosen(
        self, alive: gs.Tensor, read: Mapping[str, gs.Tensor], given: Mapping[str, gs.Tensor]
    ) -> dict[str, gs.Tensor]:
        """The best score of every round, -1 where there is none, and what it has of ``read``.

        All are (B, K), the boxes (B, K, 4).
        """
        e, asked = self.e, self.asked
        names = ("best", *read)
        parts: list[gs.Tensor]
        if asked.most <= WRITTEN:
            rows: list[list[gs.Tensor]] = []
            for _ in range(asked.most):
                row, alive = self._round(e, alive, read, given)
                rows.append([e.unsqueeze(tensor, [0]) for tensor in row])
            parts = [e.concat(column, 0) for column in zip(*rows, strict=True)]
        else:
            parts = self._looped(alive, read, given)
        turned = (e.transpose(tensor, [1, 0, 2, 3, 4]) for tensor in parts)
        return {
            name: e.reshape(tensor, [0, asked.most, 4] if name == "box" else [0, asked.most])
            for name, tensor in zip(names, turned, strict=True)
        }

    def _looped(
        self, alive: gs.Tensor, read: Mapping[str, gs.Tensor], given: Mapping[str, gs.Tensor]
    ) -> list[gs.Tensor]:
        """What the rounds of a Loop give, (K, B, 1 or 4, 1, 1)."""
        asked = self.asked
        whole = (asked.images, 1, asked.classes, asked.tries)
        state = Port(gs.Variable("alive"), _FLOAT, whole)

        def body(inner: Emitter) -> tuple[list[Port], list[Port]]:
            row, left = self._round(inner, state.tensor, read, given)
            ports = [
                Port(tensor, _FLOAT, (asked.images, 4 if name == "box" else 1, 1, 1))
                for name, tensor in zip(("best", *read), row, strict=True)
            ]
            return [Port(left, _FLOAT, whole)], ports

        return list(self.e.loop(asked.most, [(alive, state)], body)[1:])

    def _round(
        self,
        e: Emitter,
        alive: gs.Tensor,
        read: Mapping[str, gs.Tensor],
        given: Mapping[str, gs.Tensor],
    ) -> tuple[list[gs.Tensor], gs.Tensor]:
        """The best score with what it has of ``read``, and what is alive after it."""
        best = e.reduce("ReduceMax", alive, [2, 3], keepdims=True)
        places = e("Where", e("Equal", alive, best), self.line, self.beyond)
        one = e("Equal", self.line, e.reduce("ReduceMin", places, [2, 3], keepdims=True))
        own = {
            name: e.reduce("ReduceSum", e("Where", one, tensor, self.zero), [2, 3], keepdims=True)
            for name, tensor in read.items()
        }
        share = overlap(e, given, sides(e, own["box"], turned=self.asked.turned))
        over = e("Greater", share, e.const(self.asked.overlap))
        over = e("And", over, e("Equal", self.kinds, own["kind"]))
        left = e("Where", e("Or", over, one), self.dead, alive)
        return [best, *own.values()], left
