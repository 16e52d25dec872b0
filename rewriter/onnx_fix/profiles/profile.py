"""One optimization profile: smallest, usual and largest shape of every dynamic input."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from onnx import ModelProto

from onnx_fix.errors import UsageError
from onnx_fix.verify.symbols import dim_size, fed_inputs, input_dims

Range = tuple[int, int, int]
"""min, opt and max of a symbolic dim."""

Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""min, opt and max shape of an input (or values, of a shape tensor)."""


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
    kind: Literal["shape", "values"] = "shape"

    @property
    def shapes(self) -> Shapes:
        """The three in order."""
        return self.min, self.opt, self.max


@dataclass(frozen=True, slots=True)
class Profile:
    """Ranges of all dynamic inputs, in the order of the model's inputs; static ones have none."""

    inputs: tuple[InputRange, ...]

    def of(self, name: str) -> InputRange | None:
        """What it says of an input."""
        return next((i for i in self.inputs if i.name == name), None)


def profile_of(
    model: ModelProto,
    dims: Mapping[str, Range],
    shapes: Mapping[str, Shapes] | None = None,
) -> Profile:
    """The profile of a model from ranges of its symbols, or shapes of whole inputs.

    Args:
        model: The model whose inputs are meant; weights are not looked at.
        dims: min, opt and max by symbol.
        shapes: min, opt and max shape by input; they win over ``dims``.

    Raises:
        UsageError: a symbol or input is unknown, has no range, or its range is none.
    """
    given = dict(shapes or {})
    ranges: list[InputRange] = []
    names = [value.name for value in fed_inputs(model)]
    for name in given:
        if name not in names:
            raise UsageError(f"the model has no input called '{name}'{_near(name, names)}")
    for value in fed_inputs(model):
        declared = input_dims(value)
        if value.name in given:
            found = given[value.name]
        elif declared is None or all(isinstance(d, int) for d in declared):
            continue
        else:
            low, usual, high = (
                tuple(dim_size(d, {s: r[k] for s, r in dims.items()}) for d in declared)
                for k in range(3)
            )
            found = (low, usual, high)
        _check(value.name, declared, found)
        if declared is None or any(isinstance(d, str) for d in declared):
            ranges.append(InputRange(value.name, *found))
    return Profile(tuple(ranges))


def _check(name: str, declared: Sequence[int | str] | None, shapes: Shapes) -> None:
    low, usual, high = shapes
    if not len(low) == len(usual) == len(high):
        raise UsageError(f"input {name}: min, opt and max have different ranks")
    if declared is not None and len(declared) != len(low):
        raise UsageError(f"input {name} has {len(declared)} dims, its profile {len(low)}")
    for axis, sizes in enumerate(zip(low, usual, high, strict=True)):
        if not 0 <= sizes[0] <= sizes[1] <= sizes[2]:
            raise UsageError(
                f"input {name}, axis {axis}: min <= opt <= max must hold, not "
                f"{sizes[0]}, {sizes[1]}, {sizes[2]}"
            )
        fixed = declared[axis] if declared is not None else None
        if isinstance(fixed, int) and sizes != (fixed, fixed, fixed):
            raise UsageError(f"input {name}, axis {axis}: the model has {fixed} there, always")


def _near(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; it has: {', '.join(names)}"
