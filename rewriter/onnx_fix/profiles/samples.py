"""A profile from sample inputs: the smallest, the median and the largest size seen."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto

from onnx_fix.errors import UsageError
from onnx_fix.profiles.asked import Asked, Range, of_bounds
from onnx_fix.profiles.profile import Profile, profile_from
from onnx_fix.profiles.settle import settle
from onnx_fix.profiles.shape_tensors import shape_inputs
from onnx_fix.verify.symbols import fed_inputs, input_dims, symbols

if TYPE_CHECKING:
    from onnx_fix.verify.feeds import Value

_MOST = 8
"""Names of samples that a message lists."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What sample inputs say: ranges of every dim and shape tensor, and what to know of them."""

    asked: tuple[Asked, ...]
    samples: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Derived:
    """A profile derived from samples, with what to know of it."""

    profile: Profile
    seen: Seen

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of it, in sentences."""
        return self.seen.notes


def from_inputs(model: ModelProto, folder: str | Path, given: Sequence[Asked] = ()) -> Derived:
    """The profile that sample inputs make up: per symbol the smallest, median and largest size.

    Values of shape tensors are ranged element by element. Of an even number of samples the lower
    median is taken, so that every size was seen. Element types do not matter, and arrays that are
    no inputs (of the model before it was fixed, say) are passed over.

    Args:
        model: The model whose inputs are meant.
        folder: Samples as `onnx_fix.verify.user_feeds.find_user_feeds` takes them.
        given: Ranges that stand as they are; only what they leave open comes from the samples.

    Raises:
        UsageError: there are no samples; a sample lacks an input, or has one of another rank or
            size than declared, or different sizes for one symbol; or ``given`` does not suit the
            model.
    """
    seen = look_at(model, folder)
    return Derived(profile_from(model, fill_in(model, given, seen.asked)), seen)


def fill_in(model: ModelProto, given: Sequence[Asked], more: Iterable[Asked]) -> list[Asked]:
    """The given ranges, and of others those that they leave open."""
    settled = settle(model, given, whole=False)
    ranged = {(name, kind) for name, kind, _ in settled.inputs}
    ranged.update((one.name, "values" if one.form == "values" else "shape") for one in given)
    return [
        *given,
        *(
            one
            for one in more
            if one.name not in settled.dims
            and (one.name, "values" if one.form == "values" else "shape") not in ranged
        ),
    ]


def look_at(model: ModelProto, folder: str | Path) -> Seen:
    """What the samples below a folder say.

    Raises:
        UsageError: as `from_inputs`.
    """
    from onnx_fix.verify.user_feeds import find_user_feeds, read_case

    places = symbols(model)
    declared = {value.name: input_dims(value) for value in fed_inputs(model)}
    drives = {name: found for name, found in shape_inputs(model).items() if not found.obstacle}
    sizes: dict[str, list[int]] = {name: [] for name in places}
    shapes: dict[str, list[tuple[int, ...]]] = {n: [] for n, d in declared.items() if d is None}
    values: dict[str, list[tuple[int, ...]]] = {name: [] for name in drives}
    samples: list[str] = []
    extra: set[str] = set()
    for case in find_user_feeds(folder):
        feeds = read_case(case, model, passed_over=extra)
        samples.append(case.name)
        for name, where in places.items():
            sizes[name].append(_shape(feeds[where[0].input])[where[0].axis])
        for name, found in shapes.items():
            found.append(_shape(feeds[name]))
        for name, elements in values.items():
            elements.append(tuple(int(v) for v in np.ravel(np.asarray(feeds[name]))))
    asked: list[Asked] = []
    for name, numbers in sizes.items():
        low, usual, high = _range(numbers)
        asked.append(Asked(name, "number", (low,), (usual,), (high,)))
    for name, rows in shapes.items():
        asked.append(_by_place(name, rows, samples, "shape"))
    for name, rows in values.items():
        if rows[0]:
            asked.append(_by_place(name, rows, samples, "values"))
    return Seen(tuple(asked), tuple(samples), tuple(_notes(asked, samples, sorted(extra))))


def _shape(value: Value) -> tuple[int, ...]:
    assert not isinstance(value, list)
    return tuple(value.shape)


def _range(numbers: Sequence[int]) -> Range:
    return min(numbers), int(statistics.median_low(numbers)), max(numbers)


def _by_place(
    name: str, rows: Sequence[tuple[int, ...]], samples: Sequence[str], form: str
) -> Asked:
    lengths = {len(row): sample for row, sample in zip(rows, samples, strict=True)}
    if len(lengths) > 1:
        told = ", ".join(f"{length} in {sample}" for length, sample in sorted(lengths.items()))
        what = "dims" if form == "shape" else "values"
        raise UsageError(f"input {name} has different numbers of {what}: {told}")
    columns = [_range(column) for column in zip(*rows, strict=True)]
    bounds = [tuple(column[k] for column in columns) for k in range(3)]
    return of_bounds(name, [("shape" if form == "shape" else "values", bound) for bound in bounds])


def _notes(asked: Sequence[Asked], samples: Sequence[str], extra: Sequence[str]) -> Iterable[str]:
    if extra:
        yield f"passed over, as the model has no such input: {', '.join(extra[:_MOST])}"
    if not asked:
        return
    if len(samples) == 1:
        yield (
            f"there is one sample alone, {samples[0]}: min, opt and max are the same, and the "
            "engine takes no other size"
        )
        return
    alike = [one.name for one in asked if one.min == one.max]
    if alike:
        yield (
            f"all {len(samples)} samples agree in {', '.join(alike[:_MOST])}: the engine takes no "
            "other size there"
        )
