"""A range as a person wrote it, before a model says what its name means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from onnx_fix.errors import UsageError

Form = Literal["number", "shape", "values"]
"""``512`` is a number, ``1x300x2`` a shape, ``[16,16]`` are values of a shape tensor."""

Bound = tuple[int, ...]
Triple = tuple[Bound, Bound, Bound]
"""min, opt and max."""

Range = tuple[int, int, int]
"""min, opt and max of a symbolic dim."""

Kind = Literal["shape", "values"]
"""What the range of an input is of: its sizes, or its elements."""


@dataclass(frozen=True, slots=True)
class Asked:
    """min, opt and max of a dim or of an input, all three of one form.

    A number has one element. Whether a number means a dim, an input of one axis or a scalar shape
    tensor is for the model to say.
    """

    name: str
    form: Form
    min: Bound
    opt: Bound
    max: Bound

    @property
    def triple(self) -> Triple:
        """The three in order."""
        return self.min, self.opt, self.max

    def __str__(self) -> str:
        spelled = [spell(bound, self.form) for bound in self.triple]
        return spelled[0] if len(set(spelled)) == 1 else ":".join(spelled)


def spell(bound: Sequence[int], form: Form) -> str:
    """One of the three bounds as it is written."""
    if form == "values":
        return f"[{','.join(map(str, bound))}]"
    return "x".join(map(str, bound))


def of_bounds(name: str, bounds: Sequence[tuple[Form, Bound]]) -> Asked:
    """A range from three bounds that were read one by one.

    Raises:
        UsageError: they are of different forms or lengths, not in order, or a size is negative.
    """
    forms = {form for form, _ in bounds}
    if forms == {"number", "shape"}:
        raise UsageError(f"{name}: min, opt and max have different numbers of dims")
    if len(forms) != 1:
        raise UsageError(
            f"{name}: min, opt and max must be of one form: numbers, shapes such as 1x300x2, or "
            "values such as [16,16]"
        )
    form = forms.pop()
    if form == "shape" and all(len(bound) == 1 for _, bound in bounds):
        form = "number"
    low, usual, high = (bound for _, bound in bounds)
    if not len(low) == len(usual) == len(high):
        what = "values" if form == "values" else "dims"
        raise UsageError(
            f"{name}: min, opt and max have {len(low)}, {len(usual)} and {len(high)} {what}"
        )
    for place, (a, b, c) in enumerate(zip(low, usual, high, strict=True)):
        where = "" if form == "number" else f", {'value' if form == 'values' else 'axis'} {place}"
        if not a <= b <= c:
            raise UsageError(f"{name}{where}: min <= opt <= max must hold, not {a}, {b}, {c}")
        if a < 0 and form == "shape":
            raise UsageError(f"{name}{where}: a size is 0 or more, not {a}")
    return Asked(name, form, low, usual, high)


def asked_of(ranges: Mapping[str, Sequence[int] | Sequence[Sequence[int]]]) -> tuple[Asked, ...]:
    """Ranges from Python: three numbers for a dim, three shapes for an input.

    Raises:
        UsageError: as `of_bounds`, or there are not three.
    """
    found = []
    for name, three in ranges.items():
        if len(three) != 3:
            raise UsageError(f"{name}: min, opt and max are wanted, not {three!r}")
        bounds: list[tuple[Form, Bound]] = [
            ("number", (bound,)) if isinstance(bound, int) else ("shape", tuple(bound))
            for bound in three
        ]
        found.append(of_bounds(name, bounds))
    return tuple(found)


def without_doubles(asked: Iterable[Asked]) -> tuple[Asked, ...]:
    """The ranges, each name once.

    Raises:
        UsageError: a name has two; `number` and `values` of one name may stand together.
    """
    found = tuple(asked)
    seen: set[tuple[str, bool]] = set()
    for one in found:
        key = one.name, one.form == "values"
        if key in seen:
            raise UsageError(f"{one.name}: has two ranges; give one")
        seen.add(key)
    return found
