"""The pass ``replace-col2-im``."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnx_fix.contract import Exactness, Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved

_FLOATS = frozenset(
    {
        int(TensorProto.BFLOAT16),
        int(TensorProto.DOUBLE),
        int(TensorProto.FLOAT),
        int(TensorProto.FLOAT16),
    }
)
_TYPES = _FLOATS | {int(TensorProto.INT32), int(TensorProto.INT64)}
_MOST_CHOICES = 4


@dataclass(frozen=True)
class ReplaceCol2Im(Pass):
    """Write Col2Im as one Gather and one ReduceSum along every axis of the image.

    Before:
        y = Col2Im (x, image_shape, block_shape)
    After:
        c = Pad (Reshape (x)) with (batch, channels, taps * blocks, taps * blocks), a zero behind;
        r = ReduceSum <axes = [2]> (Gather <axis = 2> (c, rows));
        y = ReduceSum <axes = [3]> (Gather <axis = 3> (r, columns))
    Exact:
        Rounding only: elements that overlap are summed along one axis, then along the next. Where
        no blocks overlap, and for integers, it is exact. The batch may be dynamic. A block_shape
        that is computed at run time chooses between those that the known shapes allow. Left alone:
        an image_shape that is computed at run time and that no known shape tells; more than four
        possible block shapes; other types.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = (
        Mends("no_importer", "Col2Im", "image_shape and block_shape are constant"),
    )

    everywhere: bool = False
    """Also rewrite nodes that the target takes."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        for node in scope.nodes("Col2Im"):
            if self.everywhere or scope.refused(node):
                yield _site(scope, node)


@dataclass(frozen=True, slots=True)
class _Axis:
    """The image along one axis, and the blocks that cover it."""

    size: int
    taps: int
    stride: int
    dilation: int
    begin: int
    end: int

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        reach = (self.taps - 1) * self.dilation + 1
        return (self.size + self.begin + self.end - reach) // self.stride + 1

    def sources(self) -> NDArray[np.int64]:
        """Which of the taps * blocks elements are summed for each place: a row for each summand.

        One behind the last stands for none.
        """
        found: list[list[int]] = [[] for _ in range(self.size)]
        for tap, block in itertools.product(range(self.taps), range(self.blocks)):
            place = block * self.stride + tap * self.dilation - self.begin
            if 0 <= place < self.size:
                found[place].append(tap * self.blocks + block)
        none, most = self.taps * self.blocks, max(1, max(map(len, found)))
        rows = [[*f, *[none] * (most - len(f))] for f in found]
        return np.asarray(rows, dtype=np.int64).T


def _site(scope: Scope, node: gs.Node) -> Rewrite | Skip:
    if has_unresolved(node, "dilations", "pads", "strides"):
        return Skip(node, "an attribute is a parameter of the enclosing function; inline it first")
    x, image_shape, block_shape = node.inputs[:3]
    dtype = scope.dtype(x)
    if dtype is None:
        return Skip(node, "the element type of its input is not known")
    if dtype not in _TYPES:
        return Skip(
            node, f"{TensorProto.DataType.Name(dtype)} is not summed here: cast it to FLOAT"
        )
    image = _image(scope, node)
    if image is None:
        return Skip(
            node, f"image_shape '{image_shape.name}' is computed at run time; make it a constant"
        )
    choices = _blocks(scope, node, image)
    if not choices:
        return Skip(
            node, f"block_shape '{block_shape.name}' is computed at run time; make it a constant"
        )
    if any(a.blocks < 1 for axes in choices for a in axes):
        return Skip(node, "a block is larger than its image")
    e = Emitter(scope)
    result = _written(scope, e, node, choices[-1])
    for axes in choices[-2::-1]:
        chosen = _is_chosen(e, block_shape, axes)
        result = e("Where", chosen, _written(scope, e, node, axes), result)
    stated = [t.name for t in (image_shape, block_shape) if scope.folded(t) is None]
    note = f"{' and '.join(stated)}: as the stated shapes have it" if stated else ""
    adds = dtype in _FLOATS and any(len(a.sources()) > 1 for axes in choices for a in axes)
    exactness = Exactness.ROUNDING if adds else Exactness.EXACT
    return e.rewrite(node, result, exactness=exactness, note=note)


def _image(scope: Scope, node: gs.Node) -> list[int] | None:
    given = scope.folded(node.inputs[1])
    if given is not None:
        return [int(v) for v in given.reshape(-1)]
    out = scope.shape(node.outputs[0])
    known = [d for d in (out or ())[2:] if isinstance(d, int)]
    return known if out is not None and known and len(known) == len(out) - 2 else None


def _blocks(scope: Scope, node: gs.Node, image: Sequence[int]) -> list[tuple[_Axis, ...]]:
    """The blocks of the node, or all that the known shapes allow; none where they are too many."""
    given = scope.folded(node.inputs[2])
    if given is not None:
        return [_axes(node, image, [int(v) for v in given.reshape(-1)])]
    data, out = scope.shape(node.inputs[0]), scope.shape(node.outputs[0])
    if data is None or out is None or len(data) != 3:
        return []
    rows, places, channels = data[1], data[2], out[1]
    if not (isinstance(rows, int) and isinstance(places, int) and isinstance(channels, int)):
        return []
    taps = rows // max(1, channels)
    found = []
    for sizes in _products(taps, len(image)):
        axes = _axes(node, image, sizes)
        if all(a.blocks > 0 for a in axes) and math.prod(a.blocks for a in axes) == places:
            found.append(axes)
    return found if len(found) <= _MOST_CHOICES else []


def _products(number: int, count: int) -> Iterator[list[int]]:
    """All ways to write a number as a product of so many."""
    if count == 1:
        yield [number]
        return
    for first in range(1, number + 1):
        if number % first == 0:
            for others in _products(number // first, count - 1):
                yield [first, *others]


def _axes(node: gs.Node, image: Sequence[int], block: Sequence[int]) -> tuple[_Axis, ...]:
    count = len(image)
    strides = attribute(node, "strides", list) or [1] * count
    dilations = attribute(node, "dilations", list) or [1] * count
    pads = attribute(node, "pads", list) or [0] * (2 * count)
    return tuple(
        _Axis(image[k], block[k], strides[k], dilations[k], pads[k], pads[k + count])
        for k in range(count)
    )


def _is_chosen(e: Emitter, block_shape: gs.Tensor, axes: Sequence[_Axis]) -> gs.Tensor:
    """Whether the run-time block_shape is this one; the last size follows from the others."""
    chosen: gs.Tensor | None = None
    for k, axis in enumerate(axes[:-1]):
        size = e("Gather", block_shape, e.const(k), axis=0)
        same = e("Equal", size, e.const(axis.taps))
        chosen = same if chosen is None else e("And", chosen, same)
    return chosen if chosen is not None else e.const(np.asarray(True))


def _written(scope: Scope, e: Emitter, node: gs.Node, axes: Sequence[_Axis]) -> gs.Tensor:
    x, count = node.inputs[0], len(axes)
    shape = scope.shape(x) or (None,) * 3
    taps = math.prod(a.taps for a in axes)
    channels = shape[1] // taps if isinstance(shape[1], int) else -1
    batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else 0
    apart = [batch, channels, *(a.taps for a in axes), *(a.blocks for a in axes)]
    order = [0, 1, *itertools.chain.from_iterable((2 + k, 2 + count + k) for k in range(count))]
    data = e.transpose(e.reshape(x, apart), order)
    data = e.reshape(data, [0, channels, *(a.taps * a.blocks for a in axes)])
    sources = [a.sources() for a in axes]
    lacks = [int(np.any(s == a.taps * a.blocks)) for a, s in zip(axes, sources, strict=True)]
    if any(lacks):
        data = e("Pad", data, e.ints([0] * (4 + count) + lacks))
    for k, found in enumerate(sources):
        alone = len(found) == 1
        data = e("Gather", data, found[0] if alone else found, axis=2 + k)
        if not alone:
            data = e.reduce("ReduceSum", data, [2 + k])
    return data
