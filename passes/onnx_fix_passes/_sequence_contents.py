"""What a sequence holds, read from the nodes that make it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnx_fix.emit import Emitter
from onnx_fix.scope import Scope, attribute, has_unresolved, is_standard
from onnx_fix.target.facts import Dim

MAKERS = frozenset(
    {"SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SplitToSequence"}
)
"""Ops that give a sequence."""

LONGEST = 4096
"""Longer sequences are left alone: every element is a node."""


class Unknown(Exception):
    """What a sequence holds is not known; the message says why."""


@dataclass(frozen=True, eq=False)
class Part:
    """An element that a SplitToSequence cuts off: ``size`` of ``source`` from ``start`` on."""

    source: gs.Tensor
    axis: int
    start: int
    size: int
    keep: bool


@dataclass(frozen=True, eq=False)
class Pieces:
    """All pieces of ``source`` along a dim of unknown size, each ``chunk`` long, the last perhaps
    shorter."""

    source: gs.Tensor
    axis: int
    rank: int
    chunk: int
    keep: bool

    def at(self, position: int) -> Part:
        """One of them.

        Raises:
            Unknown: it counts from the end, and where it begins depends on the size.
        """
        if position < 0 and self.chunk != 1:
            raise Unknown(
                f"position {position} counts from the end of a split into pieces of {self.chunk} "
                "along a dim of unknown size; fix the dim (--static)"
            )
        return Part(self.source, self.axis, position * self.chunk, self.chunk, self.keep)


Element: TypeAlias = "gs.Tensor | Part"
Contents: TypeAlias = "tuple[Element, ...] | Pieces"


class Reader:
    """Reads sequences of one scope; what was read once is kept."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._kept: dict[int, Contents | str] = {}

    def contents(self, tensor: gs.Tensor) -> Contents:
        """The elements of a sequence.

        Raises:
            Unknown: they do not follow from the nodes that make it.
        """
        chain: list[tuple[gs.Tensor, gs.Node]] = []
        while id(tensor) not in self._kept:
            node = self.scope.producer(tensor)
            if node is None or not is_standard(node) or node.op not in _CHANGES:
                break
            chain.append((tensor, node))
            tensor = node.inputs[0]
        try:
            held = self._kept[id(tensor)] if id(tensor) in self._kept else self._base(tensor)
            if isinstance(held, str):
                raise Unknown(held)
            for made, node in reversed(chain):
                held = self._changed(node, held)
                self._kept[id(made)] = held
        except Unknown as why:
            self._kept.update((id(made), str(why)) for made, _ in chain)
            raise
        return held

    def position(self, tensor: gs.Tensor | None) -> int | None:
        """A position where it is constant; None at run time."""
        value = None if tensor is None else self.scope.folded(tensor)
        return int(value.reshape(-1)[0]) if value is not None and value.size == 1 else None

    def _base(self, tensor: gs.Tensor) -> Contents:
        node = self.scope.producer(tensor)
        if node is None:
            where = {"main": "model", "function": "function", "subgraph": "body of a Loop or Scan"}
            raise Unknown(
                f"the sequence '{tensor.name}' is an input of the {where[self.scope.kind]}; pass "
                "its tensors one by one"
                if self.scope.model.is_input(tensor)
                else f"nothing makes the sequence '{tensor.name}'"
            )
        held: Contents
        if not is_standard(node) or node.op not in MAKERS:
            raise Unknown(
                f"the sequence comes from a {node.op}; what it holds is known once that is gone"
            )
        if node.op == "SequenceConstruct":
            held = tuple(node.inputs)
        elif node.op == "SequenceEmpty":
            held = ()
        else:
            held = self._split(node)
        self._kept[id(tensor)] = held
        return held

    def _split(self, node: gs.Node) -> Contents:
        if has_unresolved(node, "axis", "keepdims"):
            raise Unknown(
                "axis or keepdims of its SplitToSequence is a parameter of the enclosing function; "
                "inline it"
            )
        source = node.inputs[0]
        shape = self.scope.shape(source)
        if shape is None:
            raise Unknown(f"the rank of '{source.name}', which is split, is not known")
        axis = attribute(node, "axis", int, 0)
        assert axis is not None
        if not -len(shape) <= axis < len(shape):
            raise Unknown(f"axis {axis} does not exist in '{source.name}' of rank {len(shape)}")
        axis %= len(shape)
        size = shape[axis]
        given = node.inputs[1] if len(node.inputs) > 1 and node.inputs[1].name else None
        if given is None:
            keep = bool(attribute(node, "keepdims", int, 1))
            lengths: list[int] | int = [1] * size if isinstance(size, int) else 1
        else:
            keep = True
            value = self.scope.folded(given)
            if value is None:
                raise Unknown(f"the sizes '{given.name}' of its split are known at run time only")
            lengths = _lengths(np.asarray(value), size)
        if isinstance(lengths, int):
            return Pieces(source, axis, len(shape), lengths, keep)
        if len(lengths) > LONGEST:
            raise Unknown(f"a sequence of {len(lengths)} tensors is too long to write out")
        starts = np.cumsum([0, *lengths]).tolist()
        return tuple(
            Part(source, axis, start, n, keep)
            for start, n in zip(starts[:-1], lengths, strict=True)
        )

    def _changed(self, node: gs.Node, held: Contents) -> Contents:
        if node.op == "Identity":
            return held
        if isinstance(held, Pieces):
            raise Unknown(
                "the sequence that it changes is split along a dim of unknown size; "
                "fix the dim (--static)"
            )
        inserts = node.op == "SequenceInsert"
        where = 2 if inserts else 1
        given = node.inputs[where] if len(node.inputs) > where and node.inputs[where].name else None
        if given is None:
            return (*held, node.inputs[1]) if inserts else held[:-1]
        position = self.position(given)
        if position is None:
            raise Unknown(f"position '{given.name}' of a {node.op} is known at run time only")
        position += len(held) if position < 0 else 0
        if not 0 <= position < len(held) + inserts:
            raise Unknown(f"position {position} does not exist in a sequence of {len(held)}")
        if inserts:
            return (*held[:position], node.inputs[1], *held[position:])
        return (*held[:position], *held[position + 1 :])


_CHANGES = frozenset({"Identity", "SequenceErase", "SequenceInsert"})


def _lengths(split: NDArray[np.generic], size: Dim) -> list[int] | int:
    """The sizes of the parts; one number where the dim is not known and all are of that size."""
    if split.ndim:
        return [int(n) for n in split]
    chunk = int(split)
    if chunk < 1:
        raise Unknown(f"a split into parts of {chunk} is not one")
    if not isinstance(size, int):
        return chunk
    rest = [size % chunk] if size % chunk else []
    return [chunk] * (size // chunk) + rest


def written(e: Emitter, element: Element) -> gs.Tensor:
    """The tensor that an element is."""
    if not isinstance(element, Part):
        return element
    end = element.start + element.size
    if not element.keep:
        index = e.const(np.asarray(element.start, np.int64))
        if e.scope.accepts("Gather", [element.source, index], {"axis": element.axis}):
            return e("Gather", element.source, index, axis=element.axis)
    last = np.iinfo(np.int64).max if element.start < 0 and end == 0 else end
    cut = e.slice(element.source, [element.start], [last], [element.axis])
    return cut if element.keep else e.squeeze(cut, [element.axis])
