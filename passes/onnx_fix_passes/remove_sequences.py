"""The pass ``remove-sequences``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnx_fix.contract import Mends, Pass, Rewrite, Skip, Stage
from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved, is_standard
from onnx_fix.shape_values import ShapeValues
from onnx_fix_passes._body_rounds import Unresolved
from onnx_fix_passes._sequence_contents import (
    MAKERS,
    Element,
    Part,
    Pieces,
    Reader,
    Unknown,
    written,
)
from onnx_fix_passes._sequence_maps import mapped

_READERS = ("ConcatFromSequence", "SequenceAt", "SequenceLength")


@dataclass(frozen=True)
class RemoveSequences(Pass):
    """Write what is read from a sequence as tensors, where it is known what the sequence holds.

    TensorRT has no sequences. Exporters write them for lists of tensors: ``torch.split`` and
    ``torch.chunk`` become SplitToSequence and SequenceAt, and an unrolled loop that appends to a
    list becomes a row of SequenceInsert.

    1. SequenceAt at a constant position becomes the tensor that was put there, or a Slice of the
       tensor that SplitToSequence cuts (Gather where the dim goes). Where all that is read from a
       SplitToSequence is such elements, one Split cuts them all.
    2. SequenceAt at a run-time position becomes a Gather: of the tensor that is cut into pieces of
       size 1, or of all elements joined where they are of one shape.
    3. SequenceLength becomes a constant, or is computed from the size that is cut.
    4. ConcatFromSequence becomes a Concat (with Unsqueeze where it stacks).
    5. SequenceMap becomes its body once for every element.

    Before:
        s = SplitToSequence <axis = 1> (x, two) with x of shape [N, 4]
        a = SequenceAt (s, zero)  b = SequenceAt (s, one)
    After:
        a, b = Split <axis = 1, split = [2, 2]> (x)
    Exact:
        Yes. A position that does not exist, which is an error at run time, is one no longer where
        the length is known at run time only. Left alone: sequences that are inputs or outputs of
        the model, are carried by a Loop, or come from an If; run-time positions in sequences of
        tensors of other shapes; splits of run-time sizes.
    Since: 0.1
    """

    stage: ClassVar[Stage] = Stage.EXPAND
    mends: ClassVar[tuple[Mends, ...]] = tuple(
        Mends("no_importer", op, "it is known which tensors the sequence holds")
        for op in (*_READERS, *sorted(MAKERS), "SequenceMap")
    )

    everywhere: bool = False
    """Also remove sequences on a target that takes them."""

    def sites(self, scope: Scope) -> Iterator[Rewrite | Skip]:
        """Propose tensors for what is read from every sequence."""
        reader = Reader(scope)
        done: set[int] = set()
        values: ShapeValues | None = None
        for node in scope.nodes(*_READERS, *MAKERS, "SequenceMap"):
            if not (self.everywhere or scope.refused(node)):
                continue
            if node.op not in _READERS:
                out = next((t for t in node.outputs if scope.is_output(t)), None)
                if out is not None:
                    yield Skip(
                        node,
                        f"the sequence '{out.name}' leaves the graph; give its tensors out one by "
                        "one",
                    )
                elif node.op == "SplitToSequence":
                    rewrite = _one_split(scope, reader, node)
                    if rewrite is not None:
                        done.update(map(id, rewrite.old))
                        yield rewrite
                elif node.op == "SequenceMap":
                    values = values or scope.model.shape_values(scope)
                    try:
                        yield mapped(scope, reader, node, values)
                    except (Unknown, Unresolved) as why:
                        yield Skip(node, str(why))
            elif id(node) not in done:
                try:
                    yield _read(scope, reader, node)
                except Unknown as why:
                    yield Skip(node, str(why))


def _one_split(scope: Scope, reader: Reader, node: gs.Node) -> Rewrite | None:
    """All elements of a split by one node, where nothing else is read from it."""
    sequence = node.outputs[0]
    try:
        parts = reader.contents(sequence)
    except Unknown:
        return None
    if isinstance(parts, Pieces):
        return None
    readers: list[tuple[gs.Node, int]] = []
    for at in scope.consumers(sequence):
        if at.op != "SequenceAt" or not is_standard(at) or scope.model.scope_of(at) is not scope:
            return None
        position = reader.position(at.inputs[1])
        if position is None or not -len(parts) <= position < len(parts):
            return None
        readers.append((at, position % len(parts)))
    used = {position for _, position in readers}
    if len(used) < 2 or 2 * len(used) < len(parts):
        return None
    first = parts[0]
    assert isinstance(first, Part)
    e = Emitter(scope)
    sizes = [part.size for part in parts if isinstance(part, Part)]
    old = scope.opset < 13
    inputs = [first.source] if old else [first.source, e.ints(sizes)]
    attrs = {"axis": first.axis, "split": sizes} if old else {"axis": first.axis}
    outputs = [gs.Variable(f"part:{k}") for k in range(len(sizes))]
    if sum(sizes) == 0 or not scope.accepts("Split", inputs, attrs, outputs):
        return None
    made = e.many("Split", len(sizes), *inputs, axis=first.axis, split=sizes if old else None)
    cut = {k: made[k] if first.keep else e.squeeze(made[k], [first.axis]) for k in sorted(used)}
    pairs = [(at.outputs[0], cut[position]) for at, position in readers]
    return e.rewrite([at for at, _ in reversed(readers)], pairs)


def _read(scope: Scope, reader: Reader, node: gs.Node) -> Rewrite | Skip:
    e = Emitter(scope)
    held = reader.contents(node.inputs[0])
    if node.op == "SequenceLength":
        if not isinstance(held, Pieces):
            return e.rewrite(node, e.const(np.asarray(len(held), np.int64)))
        return e.rewrite(node, _count(e, held))
    if node.op == "SequenceAt":
        position = reader.position(node.inputs[1])
        if position is None:
            return _at_run_time(scope, e, node, held)
        if isinstance(held, Pieces):
            return e.rewrite(node, written(e, held.at(position)))
        if not -len(held) <= position < len(held):
            return Skip(
                node, f"position {position} does not exist in a sequence of {len(held)} tensors"
            )
        return e.rewrite(node, written(e, held[position]))
    if has_unresolved(node, "axis", "new_axis"):
        return Skip(node, "an attribute is a parameter of the enclosing function; inline it")
    axis = attribute(node, "axis", int)
    new = bool(attribute(node, "new_axis", int, 0))
    if axis is None:
        return Skip(node, "it has no axis")
    if isinstance(held, Pieces):
        return _whole(e, node, held, axis, new)
    if not held:
        return Skip(node, "the sequence is empty, and nothing cannot be joined")
    if axis < 0:
        rank = _rank(scope, held)
        if rank is None:
            return Skip(node, "the axis is negative, and the rank of the elements is not known")
        axis += rank + new
    parts = [written(e, element) for element in held]
    if new:
        parts = [e.unsqueeze(part, [axis]) for part in parts]
    return e.rewrite(node, e.concat(parts, axis))


def _count(e: Emitter, held: Pieces) -> gs.Tensor:
    """How many pieces there are."""
    size = e("Gather", e.shape(held.source), e.const(np.asarray(held.axis, np.int64)), axis=0)
    if held.chunk == 1:
        return size
    chunk = e.const(np.asarray(held.chunk, np.int64))
    return e("Div", e("Add", size, e.const(np.asarray(held.chunk - 1, np.int64))), chunk)


def _whole(e: Emitter, node: gs.Node, held: Pieces, axis: int, new: bool) -> Rewrite | Skip:
    """All pieces joined: what was cut, perhaps with its dims in another order."""
    stacked = held.rank if not held.keep else held.rank + 1
    axis %= stacked if new else stacked - 1
    if held.keep and not new and axis == held.axis:
        return e.rewrite(node, held.source)
    if not held.keep and new:
        order = [k for k in range(held.rank) if k != held.axis]
        order.insert(axis, held.axis)
        return e.rewrite(node, e.transpose(held.source, order))
    return Skip(
        node,
        "the sequence is split along a dim of unknown size and joined along another one; fix the "
        "dim",
    )


def _at_run_time(
    scope: Scope, e: Emitter, node: gs.Node, held: tuple[Element, ...] | Pieces
) -> Rewrite | Skip:
    """The element at a run-time position."""
    at = node.inputs[1]
    cut = _cut_apart(scope, held)
    if cut is not None:
        if not scope.accepts("Gather", [cut.source, at], {"axis": cut.axis}):
            return _misread(scope, node)
        index = e.reshape(at, [1]) if cut.keep else _scalar(scope, e, at)
        return e.rewrite(node, e("Gather", cut.source, index, axis=cut.axis))
    kinds = {_kind(scope, element) for element in held} if isinstance(held, tuple) else {None}
    if len(kinds) != 1 or None in kinds or not isinstance(held, tuple):
        return Skip(
            node,
            f"position '{at.name}' is known at run time only, and the elements are not known to be "
            "of one shape",
        )
    first = held[0].source if isinstance(held[0], Part) else held[0]
    if not scope.accepts("Gather", [first, at]):
        return _misread(scope, node)
    joined = e.concat([e.unsqueeze(written(e, element), [0]) for element in held], 0)
    return e.rewrite(node, e("Gather", joined, _scalar(scope, e, at), axis=0))


def _scalar(scope: Scope, e: Emitter, at: gs.Tensor) -> gs.Tensor:
    return at if scope.rank(at) == 0 else e.reshape(at, [])


def _cut_apart(scope: Scope, held: tuple[Element, ...] | Pieces) -> Part | Pieces | None:
    """What a sequence is a tensor's pieces of size 1 of, all of them in order."""
    if isinstance(held, Pieces):
        return held if held.chunk == 1 else None
    first = held[0] if held else None
    if not isinstance(first, Part):
        return None
    for k, part in enumerate(held):
        if not isinstance(part, Part) or part.source is not first.source:
            return None
        if (part.axis, part.start, part.size, part.keep) != (first.axis, k, 1, first.keep):
            return None
    size = (scope.shape(first.source) or ())[first.axis]
    return first if size == len(held) else None


def _misread(scope: Scope, node: gs.Node) -> Skip:
    return Skip(
        node,
        f"the position is known at run time only, and {scope.target.name} takes no Gather of these "
        "tensors; cast them in the network, or use a constant position",
    )


def _kind(scope: Scope, element: Element) -> object:
    """Type and shape of an element, None where they are not known."""
    source = element.source if isinstance(element, Part) else element
    shape, dtype = scope.shape(source), scope.dtype(source)
    if shape is None or dtype is None:
        return None
    if isinstance(element, Part):
        middle = (element.size,) if element.keep else ()
        shape = (*shape[: element.axis], *middle, *shape[element.axis + 1 :])
    return None if None in shape else (dtype, shape)


def _rank(scope: Scope, held: tuple[Element, ...]) -> int | None:
    for element in held:
        if isinstance(element, Part):
            rank = scope.rank(element.source)
            return None if rank is None else rank - (not element.keep)
        rank = scope.rank(element)
        if rank is not None:
            return rank
    return None
