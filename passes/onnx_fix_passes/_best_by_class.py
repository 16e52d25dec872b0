"""What TensorRT's plugin BatchedNMSDynamic_TRT computes, as rounds over all scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnx_fix.contract import Port
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved
from onnx_fix_passes._best_boxes import WRITTEN, Unfit, image_starts, images_of, overlap, sides

OP = "BatchedNMSDynamic_TRT"

_FLOAT = int(TensorProto.FLOAT)
_INT32 = int(TensorProto.INT32)
_MOST = 2**24
"""Numbers that float32 tells apart."""
_NUMBERS = ("shareLocation", "backgroundLabelId", "numClasses", "topK", "keepTopK")
_THRESHOLDS = ("scoreThreshold", "iouThreshold")


@dataclass(frozen=True)
class Asked:
    """What a node asks for; ``tries`` is how many scores of a class are looked at."""

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


def read(scope: Scope, node: gs.Node) -> Asked:
    """What a node asks for.

    Raises:
        Unfit: something that matters is not known, or is none that the plugin takes.
    """
    if has_unresolved(node, *node.attrs):
        raise Unfit("an attribute is a parameter of the enclosing function; inline it first")
    given = {name: attribute(node, name, int) for name in _NUMBERS}
    limits = {name: attribute(node, name, float) for name in _THRESHOLDS}
    for name, value in {**given, **limits}.items():
        if value is None:
            raise Unfit(f"it has no attribute {name}, which the plugin asks for")
    if len(node.inputs) != 2 or any(scope.dtype(t) != _FLOAT for t in node.inputs):
        raise Unfit("its two inputs are not known to be float32; others are sorted in FP16")
    if not attribute(node, "isNormalized", int, 1):
        raise Unfit("isNormalized is 0, with which the plugin counts areas in pixels")
    boxes, scores = (scope.shape(t) for t in node.inputs)
    if boxes is None or len(boxes) != 4 or scores is None or len(scores) not in (3, 4):
        raise Unfit("the ranks of its boxes and scores are not known to be 4, and 3 or 4")
    lengths = [d for d in (scores[1], boxes[1]) if isinstance(d, int)]
    classes = given["numClasses"] or 0
    if not lengths or not isinstance(scores[2], int) or not isinstance(boxes[2], int):
        raise Unfit("the numbers of its boxes and classes are not known; fix them in the export")
    shared = bool(given["shareLocation"])
    if scores[2] != classes or boxes[2] != (1 if shared else classes) or not lengths[0]:
        raise Unfit("its shapes are not those of numClasses and shareLocation, or it has no boxes")
    tries, most = min(given["topK"] or 0, lengths[0]), given["keepTopK"] or 0
    least = np.float32(limits["scoreThreshold"] or 0)
    if least < 0 or not 0 < most <= (given["topK"] or 0):
        raise Unfit("scoreThreshold is negative, or keepTopK is not from 1 to topK")
    if classes * tries > _MOST:
        raise Unfit(f"it ranks {classes * tries} scores, and float32 tells {_MOST} of them apart")
    return Asked(
        node.inputs[0],
        node.inputs[1],
        images_of(scope, node),
        lengths[0],
        classes,
        shared,
        least,
        np.float32(limits["iouThreshold"] or 0),
        tries,
        most,
        -1 if given["backgroundLabelId"] is None else given["backgroundLabelId"],
        bool(attribute(node, "clipBoxes", int, 1)),
    )


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

    def outputs(self) -> list[gs.Tensor]:
        e, asked = self.e, self.asked
        alive, corners = self._tried()
        best, kind, box = self._chosen(alive, corners, sides(e, corners))
        ok = e("Greater", best, self.dead)
        number = e.reduce("ReduceSum", e.cast(ok, _FLOAT), [1], keepdims=True)
        if asked.clipped:
            box = e("Max", e("Min", box, e.const(np.float32(1))), self.zero)
        return [
            e.cast(number, _INT32),
            e("Where", e.unsqueeze(ok, [2]), box, self.zero),
            e("Where", ok, best, self.zero),
            e("Where", ok, kind, self.dead),
        ]

    def _tried(self) -> tuple[gs.Tensor, gs.Tensor]:
        """The scores that are looked at, -1 where one does not count, and their boxes."""
        e, asked = self.e, self.asked
        least = np.full(asked.classes, asked.least, np.float32)
        if 0 <= asked.none < asked.classes:
            least[asked.none] = np.inf
        scores = e.reshape(asked.scores, [0, asked.count, asked.classes])
        counts = e("Greater", scores, e.const(least))
        counted = e.transpose(e("Where", counts, scores, self.dead), [0, 2, 1])
        if asked.tries == asked.count:
            return e.unsqueeze(counted, [1]), e.transpose(asked.boxes, [0, 3, 2, 1])
        best, index = e.many("TopK", 2, counted, e.ints([asked.tries]), axis=2)
        size, place = asked.count, index
        if not asked.shared:
            size = asked.count * asked.classes
            kinds = e.const(np.arange(asked.classes, dtype=np.int64).reshape(-1, 1))
            place = e("Add", e("Mul", index, e.ints([asked.classes])), kinds)
        starts = image_starts(e, asked.scores, asked.images, size)
        if starts is not None:
            place = e("Add", place, e.reshape(starts, [-1, 1, 1]))
        boxes = e("Gather", e.reshape(asked.boxes, [-1, 4]), place, axis=0)
        return e.unsqueeze(best, [1]), e.transpose(boxes, [0, 3, 1, 2])

    def _chosen(
        self, alive: gs.Tensor, corners: gs.Tensor, given: Mapping[str, gs.Tensor]
    ) -> tuple[gs.Tensor, gs.Tensor, gs.Tensor]:
        """Scores, classes and boxes in order: (B, K), (B, K) and (B, K, 4); -1 are no scores."""
        e, asked = self.e, self.asked
        rows: list[tuple[gs.Tensor, gs.Tensor, gs.Tensor]] = []
        if asked.most <= WRITTEN:
            for _ in range(asked.most):
                row, alive = self._round(e, alive, corners, given)
                rows.append(row)
            best, kind, box = (e.concat(parts, 2) for parts in zip(*rows, strict=True))
            return (
                e.reshape(best, [0, asked.most]),
                e.reshape(kind, [0, asked.most]),
                e.transpose(e.reshape(box, [0, 4, asked.most]), [0, 2, 1]),
            )
        whole = (asked.images, 1, asked.classes, asked.tries)
        state = Port(gs.Variable("alive"), _FLOAT, whole)

        def body(inner: Emitter) -> tuple[list[Port], list[Port]]:
            row, left = self._round(inner, state.tensor, corners, given)
            ports = [
                Port(tensor, _FLOAT, (asked.images, width, 1, 1))
                for tensor, width in zip(row, (1, 1, 4), strict=True)
            ]
            return [Port(left, _FLOAT, whole)], ports

        _, bests, kinds, boxes = e.loop(asked.most, [(alive, state)], body)
        best, kind, box = (e.transpose(t, [1, 0, 2, 3, 4]) for t in (bests, kinds, boxes))
        return (
            e.reshape(best, [0, asked.most]),
            e.reshape(kind, [0, asked.most]),
            e.reshape(box, [0, asked.most, 4]),
        )

    def _round(
        self, e: Emitter, alive: gs.Tensor, corners: gs.Tensor, given: Mapping[str, gs.Tensor]
    ) -> tuple[tuple[gs.Tensor, gs.Tensor, gs.Tensor], gs.Tensor]:
        """The best score with its class and box, and what is alive after it."""
        best = e.reduce("ReduceMax", alive, [2, 3], keepdims=True)
        places = e("Where", e("Equal", alive, best), self.line, self.beyond)
        one = e("Equal", self.line, e.reduce("ReduceMin", places, [2, 3], keepdims=True))
        box, kind = (
            e.reduce("ReduceSum", e("Where", one, tensor, self.zero), [2, 3], keepdims=True)
            for tensor in (corners, self.kinds)
        )
        over = e("Greater", overlap(e, given, sides(e, box)), e.const(self.asked.overlap))
        over = e("And", over, e("Equal", self.kinds, kind))
        left = e("Where", e("Or", over, one), self.dead, alive)
        return (best, kind, box), left
