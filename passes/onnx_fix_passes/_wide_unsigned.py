"""Arithmetic of unsigned numbers on their bits in signed ones."""

from __future__ import annotations

from onnx_fix_passes._wide_steps import Steps
from onnx_fix_passes._wide_types import Carrier


def signed(number: int, carrier: Carrier) -> int:
    """A number as the carrier holds it: with ``bits``, the signed one of the same bits."""
    folded = carrier.bits and number >= carrier.span // 2
    return number - carrier.span if folded else number


def looked_up(steps: Steps, table: list[int], place: str, carrier: Carrier) -> str:
    """Numbers of a small table."""
    return steps.add("Gather", steps.const(table, carrier.to), place, axis=0)


def flipped(steps: Steps, x: str, carrier: Carrier, out: str = "") -> str:
    """The number with its first bit flipped: so unsigned numbers have the order of signed ones."""
    return steps.add("Add", x, steps.const(-(1 << carrier.width - 1), carrier.to), out=out)


def is_less(steps: Steps, a: str, b: str, carrier: Carrier) -> str:
    """Whether an unsigned number is less than another."""
    return steps.add("Less", flipped(steps, a, carrier), flipped(steps, b, carrier))


def shifted_right(steps: Steps, x: str, amount: str, carrier: Carrier, out: str) -> str:
    """Shifted by at most the width. The first bit is moved by itself: it is a sign here."""
    width, least = carrier.width, -(1 << carrier.width - 1)
    zero = steps.const(0, carrier.to)
    negative = steps.add("Less", x, zero)
    rest = steps.add("Where", negative, flipped(steps, x, carrier), x)
    # Over the least number, which is larger than any rest, nothing is left.
    over = [*(1 << k for k in range(width - 1)), least, least]
    moved = steps.add("Div", rest, looked_up(steps, over, amount, carrier))
    firsts = [*(signed(1 << width - 1 - k, carrier) for k in range(width)), 0]
    first = looked_up(steps, firsts, amount, carrier)
    return steps.add("Add", moved, steps.add("Where", negative, first, zero), out=out)


def divided(steps: Steps, x: str, by: str, carrier: Carrier, out: str = "") -> str:
    """The whole quotient of unsigned numbers.

    Twice the quotient of the half is at most 1 too small, if the divisor has no first bit; if it
    has one, the quotient is 0 or 1.
    """
    zero, one = steps.const(0, carrier.to), steps.const(1, carrier.to)
    two = steps.const(2, carrier.to)
    negative = steps.add("Less", x, zero)
    rest = steps.add("Where", negative, flipped(steps, x, carrier), x)
    quarter = steps.const(1 << carrier.width - 2, carrier.to)
    first = steps.add("Where", negative, quarter, zero)
    half = steps.add("Add", steps.add("Div", rest, two), first)
    near = steps.add("Mul", steps.add("Div", half, by), two)
    left = steps.add("Sub", x, steps.add("Mul", near, by))
    done = is_less(steps, left, by, carrier)
    exact = steps.add("Add", near, steps.add("Where", done, zero, one))
    large = steps.add("Where", is_less(steps, x, by, carrier), zero, one)
    return steps.add("Where", steps.add("Less", by, zero), large, exact, out=out)


def remainder(steps: Steps, x: str, by: str, carrier: Carrier, out: str) -> str:
    """What the division of unsigned numbers leaves."""
    whole = steps.add("Mul", divided(steps, x, by, carrier), by)
    return steps.add("Sub", x, whole, out=out)
