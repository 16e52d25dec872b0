"""Arithmetic on one whole number: as an export writes it in floats, and as integers do it.

A chain is what a float graph does to a size. A program does the same in integers: steps
``y = (y * times + plus) / over``. Whether the two agree is not argued but tried, for every number
up to the limit that is given back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Mode = Literal["floor", "ceil", "round", "trunc"]

LARGEST = 2**24
"""FLOAT holds every whole number up to here."""

ENOUGH = 2**20
"""A program must agree with its chain up to here at least."""

_INT32 = 2**31 - 1
_MOST_OVER = 4096
"""Constants are read as fractions with a denominator of at most this."""

_BLOCKS = (0, 2**10, *range(2**16, LARGEST, 2**16), LARGEST + 1)


class NotWhole(Exception):
    """A chain that no program is known for; the text says why."""


@dataclass(frozen=True, slots=True)
class Link:
    """One op of a chain. ``number`` is the constant operand; ``swapped``: it is the first one.

    ``dtype`` is the numpy type of the result; that of a Cast is what it casts to.
    """

    op: str
    dtype: np.dtype[np.generic]
    number: float | None = None
    swapped: bool = False


Chain = tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """``(y * times + plus) / over``, cut towards zero, with no negative dividend."""

    times: int
    plus: int
    over: int


@dataclass(frozen=True, slots=True)
class Program:
    """Steps that agree with a chain for the numbers 0 to ``limit``."""

    steps: tuple[Step, ...]
    limit: int


def fraction_of(number: float, dtype: np.dtype[np.generic]) -> Fraction:
    """The simple fraction that a constant stands for.

    Raises:
        NotWhole: there is none.
    """
    if not np.isfinite(number):
        raise NotWhole("a constant is not finite")
    simple = Fraction(number).limit_denominator(_MOST_OVER)
    if float(np.asarray(float(simple)).astype(dtype)) != number:
        raise NotWhole(f"the constant {number:.9g} is no simple fraction")
    return simple


@lru_cache(maxsize=512)
def program_of(chain: Chain) -> Program:
    """The integer steps that do what a chain of floats, cut to a whole number, does.

    Raises:
        NotWhole: none is known, or it differs for a number below ``ENOUGH``.
    """
    steps = tuple(_steps(chain))
    limit, why = LARGEST, "the floats round, and differ from whole numbers"
    for first, end in pairwise(_BLOCKS):
        numbers = np.arange(first, end, dtype=np.int64)
        with np.errstate(all="ignore"):
            wanted = by_chain(numbers, chain)
        made, narrow, cut = _by_steps(numbers, steps)
        same = narrow & cut & (made == wanted)
        if not same.all():
            place = int(np.argmin(same))
            limit = first + place - 1
            if not narrow[place]:
                why = "integers of 32 bits overflow on the way"
            elif not cut[place]:
                why = "what it divides may be negative: it is"
            break
    if limit < ENOUGH:
        raise NotWhole(f"{why} at {limit + 1}")
    return Program(steps, limit)


# -- from floats to integers -----------------------------------------------------------------------


def _steps(chain: Chain) -> Iterator[Step]:
    slope, offset = Fraction(1), Fraction(0)
    for link in (*chain, Link("Cast", np.dtype(np.int64))):
        mode = _mode(link)
        if mode is None:
            slope, offset = _affine(link, slope, offset)
            continue
        step, shift = _rounded(slope, offset, mode)
        yield step
        slope, offset = Fraction(1), Fraction(shift)


def _mode(link: Link) -> Mode | None:
    """How an op makes a whole number, None where it does not."""
    if link.op == "Cast":
        return "trunc" if link.dtype.kind == "i" else None
    modes: dict[str, Mode] = {"Floor": "floor", "Ceil": "ceil", "Round": "round"}
    return modes.get(link.op)


def _affine(link: Link, slope: Fraction, offset: Fraction) -> tuple[Fraction, Fraction]:
    if link.op in ("Cast", "Identity"):
        return slope, offset
    if link.op == "Neg":
        return -slope, -offset
    if link.number is None:
        raise NotWhole(f"{link.op} does not give whole numbers of whole numbers")
    number = fraction_of(link.number, link.dtype)
    if link.op == "Mul":
        return slope * number, offset * number
    if link.op == "Add":
        return slope, offset + number
    if link.op == "Sub":
        return (-slope, number - offset) if link.swapped else (slope, offset - number)
    if link.op == "Div" and not link.swapped and number:
        return slope / number, offset / number
    if link.op == "Div":
        raise NotWhole("it divides by a size, or by zero")
    raise NotWhole(f"{link.op} does not give whole numbers of whole numbers")


def _rounded(slope: Fraction, offset: Fraction, mode: Mode) -> tuple[Step, int]:
    """A step that rounds, and what is to be added to its result.

    The dividend is kept from being negative, as integers are cut towards zero.
    """
    over = int(np.lcm(slope.denominator, offset.denominator))
    times, plus = int(slope * over), int(offset * over)
    if over == 1:
        return Step(times, plus, 1), 0
    if times < 0:
        raise NotWhole("what it divides falls with the size and may be negative")
    if mode == "trunc" and plus < 0:
        raise NotWhole("what it cuts to a whole number may be negative")
    if mode == "round":
        if over % 2 == 0:
            raise NotWhole("Round takes halves to the even number, which a division does not")
        times, plus, over = 2 * times, 2 * plus + over, 2 * over
    if mode == "ceil":
        plus += over - 1
    shift = min(0, plus // over)
    return Step(times, plus - shift * over, over), shift


# -- both, for many numbers ------------------------------------------------------------------------


def _by_steps(
    numbers: NDArray[np.int64], steps: tuple[Step, ...]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """The results, where no number on the way needs more than 32 bits, and where no dividend is
    negative."""
    narrow, cut = (np.ones(numbers.shape, np.bool_) for _ in range(2))
    for step in steps:
        if step == Step(1, 0, 1):
            continue
        product = numbers * step.times
        total = product + step.plus
        narrow &= (np.abs(product) <= _INT32) & (np.abs(total) <= _INT32)
        if step.over != 1:
            cut &= total >= 0
            total //= step.over
        numbers = total
    return numbers, narrow, cut


def by_chain(numbers: NDArray[np.generic], chain: Chain) -> NDArray[np.int64]:
    """What a chain makes of numbers, cut to whole ones."""
    x = numbers
    for link in chain:
        x = _link(x, link).astype(link.dtype, copy=False)
    return np.trunc(x.astype(np.float64)).astype(np.int64)


def _link(x: NDArray[np.generic], link: Link) -> NDArray[np.generic]:
    if link.op in ("Cast", "Identity"):
        return x
    if link.number is None:
        unary = {"Floor": np.floor, "Ceil": np.ceil, "Round": np.rint, "Neg": np.negative}
        return np.asarray(unary[link.op](x))
    number = np.asarray(link.number).astype(x.dtype)
    a, b = (number, x) if link.swapped else (x, number)
    binary = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}
    return np.asarray(binary[link.op](a, b))
