"""What TensorRT's plugin EfficientNMS_TRT computes, as rounds over the best scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.contract import Port
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved

OP = "EfficientNMS_TRT"
FEWEST = 2000
"""So many of the best scores the plugin looks at on any GPU and in any release."""

_FLOAT = int(TensorProto.FLOAT)
_HALF = int(TensorProto.FLOAT16)
_INT32 = int(TensorProto.INT32)
_DEEP = np.float32(-32768)
"""What the plugin writes in place of a score that does not count."""
_DENSE = np.float32(0.007)
"""Below this threshold the plugin keeps scores that do not count, at the end of the order."""
WRITTEN = 8
"""Up to this many rounds are written one after the other, more as a Loop."""
_NEEDED = ("score_threshold", "iou_threshold", "max_output_boxes")


class Unfit(Exception):
    """Why a node cannot be written in ops."""


@dataclass(frozen=True)
class Asked:
    """What a node asks for; ``shared`` where all classes have one box."""

    boxes: gs.Tensor
    scores: gs.Tensor
    anchors: gs.Tensor | None
    images: int | str
    count: int
    classes: int
    shared: bool
    least: np.float32
    overlap: np.float32
    most: int
    none: int
    active: bool
    agnostic: bool
    centred: bool
    half: bool

    @property
    def pairs(self) -> int:
        """How many scores an image has."""
        return self.count * self.classes

    @property
    def dense(self) -> bool:
        """Whether scores that do not count are kept, with what the plugin writes there."""
        return bool(self.least < _raw(_DENSE, self.active))


def plugin_nodes(scope: Scope, op: str, *, everywhere: bool) -> Iterator[gs.Node]:
    """The nodes of a plugin that the target does not ship, or with ``everywhere`` all."""
    functions = {f.domain for f in scope.model.proto.functions if f.name == op}
    for domain in sorted({n.domain or "" for n in scope.graph.nodes if n.op == op} - functions):
        for node in scope.nodes(op, domain=domain):
            if everywhere or op not in scope.target.plugins or scope.refused(node):
                yield node


def images_of(scope: Scope, node: gs.Node) -> int | str:
    """The number of images in the first two inputs, or a symbol for it."""
    firsts = [_first(scope, t) for t in node.inputs[:2]]
    named = next((d for d in firsts if isinstance(d, str)), f"{node.outputs[0].name}_batch")
    return next((d for d in firsts if isinstance(d, int)), named)


def image_starts(e: Emitter, tensor: gs.Tensor, images: int | str, size: int) -> gs.Tensor | None:
    """Where the rows of every image begin, (B, 1) of int64, with so many rows in each.

    ``tensor`` has the images first. None where there is one image.
    """
    if images == 1:
        return None
    if isinstance(images, int):
        return e.const(np.arange(images, dtype=np.int64).reshape(-1, 1) * size)
    end = e.reshape(e.dim(tensor, 0), [])
    line = e("Range", np.asarray(0, np.int64), end, np.asarray(1, np.int64))
    return e("Mul", e.reshape(line, [-1, 1]), e.ints([size]))


def sides(e: Emitter, corners: gs.Tensor, *, turned: bool = True) -> dict[str, gs.Tensor]:
    """The low and the high corner of boxes, and the area.

    ``turned``: in whatever order the boxes have them; else those whose first is not the low one
    have no area, and overlap with nothing.
    """
    low, high = (e.slice(corners, [k], [k + 2], [1]) for k in (0, 2))
    if turned:
        low, high = e("Min", low, high), e("Max", low, high)
    size = e("Sub", high, low)
    area = e.reduce("ReduceProd", size if turned else e("Relu", size), [1], keepdims=True)
    return {"low": low, "high": high, "area": area}


def overlap(e: Emitter, given: Mapping[str, gs.Tensor], own: Mapping[str, gs.Tensor]) -> gs.Tensor:
    """The shared area by the joint one, no number where both are 0; corners along axis 1."""
    ends = e("Min", given["high"], own["high"]), e("Max", given["low"], own["low"])
    shared = e.reduce("ReduceProd", e("Relu", e("Sub", *ends)), [1], keepdims=True)
    joint = e("Sub", e("Add", given["area"], own["area"]), shared)
    return e("Div", shared, joint)


def _raw(threshold: np.float32, active: bool) -> np.float32:
    """The threshold of scores before their activation."""
    if not active:
        return threshold
    if threshold <= 0:
        return _DEEP
    with np.errstate(divide="ignore"):
        return np.float32(np.log(threshold / (np.float32(1) - threshold)))


def read(scope: Scope, node: gs.Node) -> Asked:
    """What a node asks for.

    Raises:
        Unfit: something that matters is not known, or is none that the plugin takes.
    """
    if has_unresolved(node, *node.attrs):
        raise Unfit("an attribute is a parameter of the enclosing function; inline it first")
    for name in _NEEDED:
        if attribute(node, name, int if name.startswith("max") else float) is None:
            raise Unfit(f"it has no attribute {name}, which the plugin asks for")
    given = [t for t in node.inputs if t.name]
    if len(given) != len(node.inputs) or len(given) not in (2, 3):
        raise Unfit(f"it has {len(given)} inputs, and the plugin takes 2 or 3")
    half = in_half(scope, given)
    boxes, scores = (scope.shape(t) for t in given[:2])
    if scores is None or len(scores) not in (3, 4) or boxes is None or len(boxes) not in (3, 4):
        raise Unfit("the ranks of its boxes and scores are not known to be 3 or 4")
    lengths = [d for d in (scores[1], boxes[1]) if isinstance(d, int)]
    classes, each = scores[2], boxes[2] if len(boxes) == 4 else 1
    if not lengths or not isinstance(classes, int) or not isinstance(each, int):
        raise Unfit("the numbers of its boxes and classes are not known; fix them in the export")
    if lengths[0] * classes == 0 or each not in (1, classes):
        raise Unfit("it has no boxes, or neither one nor one for every class")
    if len(given) == 3:
        first = _first(scope, given[2])
        if scope.rank(given[2]) != 3 or first not in (1, boxes[0], scores[0]) or first is None:
            raise Unfit("its anchors are not known to be for one image or for all")
    return _read(scope, node, given, (lengths[0], classes), each == 1, half)


def _first(scope: Scope, tensor: gs.Tensor) -> int | str | None:
    return (scope.shape(tensor) or (None,))[0]


def in_half(scope: Scope, given: list[gs.Tensor]) -> bool:
    """Whether the inputs are float16; they are computed with as float32.

    Raises:
        Unfit: they are neither float32 nor float16.
    """
    types = {scope.dtype(t) for t in given}
    if types not in ({_FLOAT}, {_HALF}):
        raise Unfit("its inputs are not known to be float32, all of them, or float16")
    return types == {_HALF}


def widened(e: Emitter, tensor: gs.Tensor, half: bool) -> gs.Tensor:
    """A tensor as float32."""
    return e.cast(tensor, _FLOAT) if half else tensor


def narrowed(e: Emitter, tensor: gs.Tensor, half: bool) -> gs.Tensor:
    """A float32 tensor in the type of the inputs."""
    return e.cast(tensor, _HALF) if half else tensor


def _read(
    scope: Scope,
    node: gs.Node,
    given: list[gs.Tensor],
    sizes: tuple[int, int],
    shared: bool,
    half: bool,
) -> Asked:
    flags = {
        name: attribute(node, name, int, 0)
        for name in ("score_activation", "class_agnostic", "box_coding")
    }
    if any(value not in (0, 1) for value in flags.values()):
        raise Unfit("an attribute that the plugin takes as 0 or 1 is neither")
    most = attribute(node, "max_output_boxes", int) or 0
    overlap = np.float32(attribute(node, "iou_threshold", float) or 0)
    threshold = np.float32(attribute(node, "score_threshold", float) or 0)
    if most < 1 or overlap <= 0 or not 0 <= threshold < 1:
        raise Unfit("the plugin takes no such max_output_boxes, iou_threshold or score_threshold")
    active = bool(flags["score_activation"])
    return Asked(
        given[0],
        given[1],
        given[2] if len(given) == 3 else None,
        images_of(scope, node),
        *sizes,
        shared,
        _raw(threshold, active),
        overlap,
        most,
        attribute(node, "background_class", int, -1) or 0,
        active,
        bool(flags["class_agnostic"]),
        bool(flags["box_coding"]),
        half,
    )


def best_boxes(scope: Scope, e: Emitter, asked: Asked, many: int) -> list[gs.Tensor]:
    """The outputs of the plugin, of the ``many`` best scores of every image."""
    maker = _Maker(scope, e, asked, many)
    return maker.outputs()


class _Maker:
    """Writes the nodes for one node of the plugin. B is the number of images, M of scores."""

    def __init__(self, scope: Scope, e: Emitter, asked: Asked, many: int) -> None:
        self.scope, self.e, self.asked, self.many = scope, e, asked, many
        self.beyond = e.const(np.float32(many))
        self.zero = e.const(np.float32(0))

    def outputs(self) -> list[gs.Tensor]:
        e, asked, many = self.e, self.asked, self.many
        scores, index = self._best()
        kinds = self._kinds(index)
        corners = self._corners(index, kinds)
        chosen = self._chosen(scores, corners, kinds)
        ok = e("Less", chosen, self.beyond)
        # Relu tells releases before 8.2 that a number is not negative.
        number = e("Relu", e("Where", ok, chosen, self.zero))
        place = self._in_batch(e.cast(number, TensorProto.INT64), many)
        found = e("Gather", e.reshape(scores, [-1]), place, axis=0)
        if asked.active:
            found = e("Sigmoid", found)
        boxes = e("Gather", e.reshape(corners, [-1, 4]), place, axis=0)
        count = e.reduce("ReduceSum", e.cast(ok, _FLOAT), [1], keepdims=True)
        classes: gs.Tensor = e("Sub", place, place)
        if kinds is not None:
            classes = e("Gather", e.reshape(kinds, [-1]), place, axis=0)
        whole = e.cast(classes, _FLOAT)
        return [
            e.cast(count, _INT32),
            narrowed(e, e("Where", e.unsqueeze(ok, [2]), boxes, self.zero), asked.half),
            narrowed(e, e("Where", ok, found, self.zero), asked.half),
            e.cast(e("Where", ok, whole, self.zero), _INT32),
        ]

    def _best(self) -> tuple[gs.Tensor, gs.Tensor]:
        """The best scores of every image, in order, and where they are: (B, M)."""
        e, asked = self.e, self.asked
        # The plugin compares in the type of the scores.
        bound = np.float32(np.float16(asked.least)) if asked.half else asked.least
        least = np.full(asked.classes, bound, np.float32)
        if 0 <= asked.none < asked.classes:
            least[asked.none] = np.inf
        limits: NDArray[np.float32] | np.float32 = bound
        if np.isinf(least).any():
            limits = least.reshape([-1] + [1] * ((self.scope.rank(asked.scores) or 3) - 3))
        wide = widened(e, asked.scores, asked.half)
        low = e("Less", wide, e.const(limits))
        counted = e.reshape(e("Where", low, e.const(_DEEP), wide), [0, asked.pairs])
        scores, index = e.many("TopK", 2, counted, e.ints([self.many]), axis=1)
        return scores, index

    def _kinds(self, index: gs.Tensor) -> gs.Tensor | None:
        """The classes of the best scores, (B, M) of int64; None where there is but one."""
        e, classes = self.e, self.asked.classes
        if classes == 1:
            return None
        start = e("Mul", e("Div", index, e.ints([classes])), e.ints([classes]))
        return e("Sub", index, start)

    def _in_batch(self, index: gs.Tensor, size: int) -> gs.Tensor:
        """Positions in rows of a size as positions in all rows of all images."""
        starts = image_starts(self.e, self.asked.scores, self.asked.images, size)
        return index if starts is None else self.e("Add", index, starts)

    def _corners(self, index: gs.Tensor, kinds: gs.Tensor | None) -> gs.Tensor:
        """The boxes of the best scores, low and high corner: (B, M, 4)."""
        e, asked = self.e, self.asked
        box = index
        if kinds is not None:
            box = e("Div", index, e.ints([asked.classes]))
        place, size = (box, asked.count) if asked.shared else (index, asked.pairs)
        flat = e.reshape(widened(e, asked.boxes, asked.half), [-1, 4])
        own = e("Gather", flat, self._in_batch(place, size), axis=0)
        first, second = (e.slice(own, [k], [k + 2], [2]) for k in (0, 2))
        if asked.anchors is not None:
            shared = self.scope.shape(asked.anchors)
            one = shared is not None and shared[0] == 1
            where = box if one else self._in_batch(box, asked.count)
            anchors = e.reshape(widened(e, asked.anchors, asked.half), [-1, 4])
            anchor = e("Gather", anchors, where, axis=0)
            low, high = (e.slice(anchor, [k], [k + 2], [2]) for k in (0, 2))
            if not asked.centred:
                ends = e("Min", first, second), e("Max", first, second)
                moved = e("Min", low, high), e("Max", low, high)
                pairs = zip(ends, moved, strict=True)
                return e.concat([e("Add", one, other) for one, other in pairs], 2)
            first = e("Add", e("Mul", first, high), low)
            second = e("Mul", high, e("Exp", second))
        if not asked.centred:
            return own
        half = e("Mul", second, e.const(np.float32(0.5)))
        return e.concat([e("Sub", first, half), e("Add", first, half)], 2)

    def _chosen(self, scores: gs.Tensor, corners: gs.Tensor, kinds: gs.Tensor | None) -> gs.Tensor:
        """The numbers of the scores that are kept, in order, M where there are no more: (B, K)."""
        e, asked, many = self.e, self.asked, self.many
        given = sides(e, e.transpose(corners, [0, 2, 1]))
        if kinds is not None and not asked.agnostic:
            given["kind"] = e.unsqueeze(e.cast(kinds, _FLOAT), [1])
        line = e.const(np.arange(many, dtype=np.float32).reshape(1, 1, many))
        best = e.unsqueeze(scores, [1])
        lowest = np.float32(-np.inf) if asked.dense else _DEEP
        alive: gs.Tensor = e("Where", e("Greater", best, e.const(lowest)), line, self.beyond)
        if asked.most <= WRITTEN:
            numbers: list[gs.Tensor] = []
            for _ in range(asked.most):
                number, alive = self._round(e, alive, given)
                numbers.append(number)
            return e.reshape(e.concat(numbers, 2), [0, asked.most])
        state = Port(gs.Variable("alive"), _FLOAT, (asked.images, 1, many))

        def body(inner: Emitter) -> tuple[list[Port], list[Port]]:
            number, left = self._round(inner, state.tensor, given)
            single = (asked.images, 1, 1)
            return [Port(left, _FLOAT, state.shape)], [Port(number, _FLOAT, single)]

        _, gathered = e.loop(asked.most, [(alive, state)], body)
        return e.reshape(e.transpose(gathered, [1, 2, 0, 3]), [0, asked.most])

    def _round(
        self, e: Emitter, alive: gs.Tensor, given: Mapping[str, gs.Tensor]
    ) -> tuple[gs.Tensor, gs.Tensor]:
        """The first that is alive, and those that are after it: (B, 1, 1) and (B, 1, M)."""
        number = e.reduce("ReduceMin", alive, [2], keepdims=True)
        one = e("Equal", alive, number)
        own = {
            name: e.reduce("ReduceSum", e("Where", one, tensor, self.zero), [2], keepdims=True)
            for name, tensor in given.items()
        }
        # A share at the threshold is over it; nothing by nothing is no number, and not greater.
        below = e.const(np.nextafter(self.asked.overlap, np.float32(0), dtype=np.float32))
        over: gs.Tensor = e("Greater", overlap(e, given, own), below)
        if "kind" in given:
            over = e("And", over, e("Equal", given["kind"], own["kind"]))
        return number, e("Where", e("Or", over, one), self.beyond, alive)
