"""What a user asks for: which dims become symbols, and what is known besides."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from onnx import ModelProto

from onnx_fix.errors import UsageError
from onnx_fix.symbolic.size import Size, parse_size
from onnx_fix.verify.symbols import dim_at, fed_inputs, input_dims

CONSTANTS = "constants"
"""What ``assume`` says of all that is left open."""

Places = dict[tuple[str, int], str]
"""Symbols by input name and axis."""


def parse_dynamic(texts: Sequence[str]) -> dict[str, str]:
    """``INPUT:AXIS=SYMBOL`` as a mapping from place to symbol; names may hold colons.

    Raises:
        UsageError: it is not of this form, or a place comes twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        place, _, symbol = text.rpartition("=")
        name, _, axis = place.rpartition(":")
        if not name or not symbol or not axis.lstrip("-").isdecimal():
            raise UsageError(f"'{text}': INPUT:AXIS=SYMBOL is wanted, such as kpts0:1=n0")
        if place in found:
            raise UsageError(f"'{text}': {place} is given a symbol twice")
        found[place] = symbol
    return found


def parse_assume(texts: Sequence[str]) -> dict[str, str]:
    """``PLACE=SIZE``, or ``constants`` for all that is left open, as a mapping.

    Raises:
        UsageError: it is not of this form.
    """
    found: dict[str, str] = {}
    for text in texts:
        place, sign, value = text.rpartition("=")
        if text == CONSTANTS:
            found[CONSTANTS] = ""
        elif not sign or not place or not value:
            raise UsageError(
                f"'{text}': PLACE=SIZE is wanted, such as 'val_12[1]=n0', or {CONSTANTS}"
            )
        else:
            found[place] = value
    return found


def places(dynamic: Mapping[str, str], model: ModelProto) -> Places:
    """The places that are meant, checked against the inputs of the model.

    Raises:
        UsageError: there is no such input or axis, or the symbol is no name.
    """
    inputs = {value.name: value for value in fed_inputs(model)}
    found: Places = {}
    for place, symbol in dynamic.items():
        name, _, number = place.rpartition(":")
        if name not in inputs:
            close = difflib.get_close_matches(name, list(inputs), n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; it has: {', '.join(inputs)}"
            raise UsageError(f"the model has no input '{name}'{hint}")
        axis, _ = dim_at(inputs[name], int(number))
        if not symbol.isidentifier():
            raise UsageError(f"'{symbol}' cannot name a dim: letters, digits and _ are wanted")
        found[name, axis] = symbol
    return found


def numbers(where: Places, model: ModelProto, what: str) -> dict[str, int]:
    """The number that each symbol was in an export; none for dims that are dynamic there.

    Raises:
        UsageError: one symbol was two numbers, or an input is missing.
    """
    inputs = {value.name: value for value in fed_inputs(model)}
    found: dict[str, int] = {}
    first: dict[str, str] = {}
    for (name, axis), symbol in where.items():
        dims = input_dims(inputs[name]) if name in inputs else None
        if dims is None or axis >= len(dims):
            raise UsageError(f"{what} has no input '{name}' with {axis + 1} dims")
        number = dims[axis]
        if not isinstance(number, int):
            continue
        if found.setdefault(symbol, number) != number:
            raise UsageError(
                f"in {what}, {first[symbol]} is {found[symbol]} and {name}:{axis} is {number}: "
                f"they cannot both be {symbol}"
            )
        first.setdefault(symbol, f"{name}:{axis}")
    return found


def assumed(assume: Mapping[str, str | int]) -> dict[str, Size]:
    """What numbers are, by place.

    Raises:
        UsageError: a value is no size.
    """
    return {place: parse_size(str(v)) for place, v in assume.items() if place != CONSTANTS}
