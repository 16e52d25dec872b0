"""One optimization profile: smallest, usual and largest shape of every dynamic input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from onnx_fix.profiles.asked import Asked, Kind, Range, Triple, asked_of, of_bounds
from onnx_fix.profiles.settle import settle
from onnx_fix.profiles.shape_tensors import shape_inputs

Shapes = Triple
"""min, opt and max shape of an input (or values, of a shape tensor)."""

Ranges = Mapping[str, Range | Shapes]
"""min, opt and max sizes by symbol, shapes by input."""


@dataclass(frozen=True, slots=True)
class InputRange:
    """What a profile says of one input.

    ``kind`` is ``shape`` for sizes, ``values`` where the input is a shape tensor: then ``min``,
    ``opt`` and ``max`` are bounds of its elements.
    """

    name: str
    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]
    kind: Kind = "shape"

    @property
    def shapes(self) -> Shapes:
        """The three in order."""
        return self.min, self.opt, self.max


@dataclass(frozen=True, slots=True)
class Profile:
    """Ranges of all dynamic inputs and shape tensors, in the order of the model's inputs.

    Other inputs have none. ``dims`` are the ranges of the symbols that the shapes follow from.
    """

    inputs: tuple[InputRange, ...]
    dims: tuple[tuple[str, Range], ...] = ()

    def of(self, name: str, kind: Kind | None = None) -> InputRange | None:
        """What it says of an input; of its shape first where it speaks of its values as well."""
        return next((i for i in self.inputs if i.name == name and kind in (None, i.kind)), None)

    @property
    def ranges(self) -> dict[str, Range]:
        """min, opt and max by symbol."""
        return dict(self.dims)

    @property
    def values(self) -> dict[str, Shapes]:
        """min, opt and max values by shape tensor."""
        return {i.name: i.shapes for i in self.inputs if i.kind == "values"}


def profile_of(
    model: ModelProto,
    dims: Mapping[str, Range],
    shapes: Mapping[str, Shapes] | None = None,
    values: Mapping[str, Shapes] | None = None,
) -> Profile:
    """The profile of a model from ranges of its symbols, or shapes of whole inputs.

    Args:
        model: The model whose inputs are meant; weights are not looked at.
        dims: min, opt and max by symbol.
        shapes: min, opt and max shape by input; the sizes of its symbols follow, and must be those
            of ``dims`` where both say something.
        values: min, opt and max values by shape tensor.

    Raises:
        UsageError: a symbol or input is unknown, has no range, or its range is none; all that is
            wrong is said at once.
    """
    asked = [*asked_of(dims), *asked_of(shapes or {})]
    for name, three in (values or {}).items():
        asked.append(of_bounds(name, [("values", tuple(bound)) for bound in three]))
    return profile_from(model, asked)


def profile_from(model: ModelProto, asked: Iterable[Asked]) -> Profile:
    """The profile of a model from ranges as they were written.

    Raises:
        UsageError: as `profile_of`.
    """
    settled = settle(model, asked, whole=True)
    inputs = [
        InputRange(name, low, usual, high, kind)
        for name, kind, (low, usual, high) in settled.inputs
    ]
    return Profile(tuple(inputs), tuple(settled.dims.items()))


def symbol_ranges(model: ModelProto, profiles: Iterable[Sequence[Asked]]) -> list[dict[str, Range]]:
    """min, opt and max by symbol, of each of several profiles; they need not be complete.

    Raises:
        UsageError: ranges do not suit the model.
    """
    return [settle(model, asked, whole=False).dims for asked in profiles]


def value_ranges(model: ModelProto, profiles: Iterable[Sequence[Asked]]) -> list[dict[str, Shapes]]:
    """min, opt and max values by shape tensor, of each of several profiles.

    Raises:
        UsageError: ranges do not suit the model.
    """
    drives = shape_inputs(model)
    found = []
    for asked in profiles:
        known = [one for one in asked if one.name in drives]
        settled = settle(model, known, whole=False).inputs
        found.append({name: triple for name, kind, triple in settled if kind == "values"})
    return found
