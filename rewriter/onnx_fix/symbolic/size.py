"""Integer expressions over sizes: sums of products of symbols, floor quotients, maxima, minima.

An expression is kept in one canonical form (a polynomial whose unknowns are symbols and the
quotients that do not divide out), so that two ways to compute a size compare equal, a factor can be
taken out exactly, and nothing has to be simplified. A general computer-algebra package does this
too, but a model has some ten thousand sizes and asks for little more than ``+``, ``*`` and ``//``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import Literal, Union

from onnx_fix.errors import UsageError


@dataclass(frozen=True, slots=True)
class Quotient:
    """``floor(top / bottom)``, where that does not divide out."""

    top: Size
    bottom: Size

    def __str__(self) -> str:
        return f"{_factor(self.top)}//{_factor(self.bottom)}"


@dataclass(frozen=True, slots=True)
class Extreme:
    """The largest or the smallest of two sizes."""

    kind: Literal["max", "min"]
    args: tuple[Size, Size]

    def __str__(self) -> str:
        return f"{self.kind}({self.args[0]}, {self.args[1]})"


Atom = str | Quotient | Extreme
Monomial = tuple[Atom, ...]
SizeLike = Union["Size", int, str]


_NONE: frozenset[str] = frozenset()


def _order(monomial: Monomial) -> tuple[int, tuple[str, ...]]:
    return len(monomial), tuple(str(a) for a in monomial)


class Size:
    """An integer expression. Immutable; equal and hashed by its canonical form.

    A string stands for the symbol of that name wherever a size is wanted, an int for a number.
    """

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        if len(terms) == 1:
            (item,) = terms.items()
            self.terms: tuple[tuple[Monomial, int], ...] = (item,) if item[1] else ()
            return
        kept = [(m, c) for m, c in terms.items() if c]
        if len(kept) > 1:
            kept.sort(key=lambda item: _order(item[0]), reverse=True)
        self.terms = tuple(kept)

    # -- what it is -------------------------------------------------------------------------------

    @property
    def number(self) -> int | None:
        """The number that it is; None where a symbol takes part."""
        terms = self.terms
        if len(terms) != 1:
            return None if terms else 0
        monomial, coefficient = terms[0]
        return None if monomial else coefficient

    @cached_property
    def symbol(self) -> str | None:
        """The symbol that it is; None for anything else."""
        if len(self.terms) != 1:
            return None
        monomial, coefficient = self.terms[0]
        one = coefficient == 1 and len(monomial) == 1
        return monomial[0] if one and isinstance(monomial[0], str) else None

    @cached_property
    def symbols(self) -> frozenset[str]:
        """The symbols that take part, in quotients as well."""
        if not self.terms:
            return _NONE
        found: set[str] = set()
        for monomial, _ in self.terms:
            for atom in monomial:
                if isinstance(atom, str):
                    found.add(atom)
                else:
                    found.update(*(s.symbols for s in _parts(atom)))
        return frozenset(found) if found else _NONE

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int):
            return self.number == other
        return isinstance(other, Size) and self.terms == other.terms

    @cached_property
    def _hash(self) -> int:
        return hash(self.terms)

    def __hash__(self) -> int:
        # A size that is a number equals that int, so it hashes like it.
        return hash(self.number) if self.number is not None else self._hash

    def __str__(self) -> str:
        if not self.terms:
            return "0"
        if len(self.terms) == 1 and self.terms[0][1] == 1 and len(self.terms[0][0]) == 1:
            return str(self.terms[0][0][0])
        text = ""
        for monomial, coefficient in self.terms:
            shown = abs(coefficient)
            parts = [str(shown)] if shown != 1 or not monomial else []
            parts += [f"({a})" if isinstance(a, Quotient) else str(a) for a in monomial]
            sign = " + " if coefficient > 0 else " - "
            if not text:
                sign = "" if coefficient > 0 else "-"
            text += sign + "*".join(parts)
        return text

    def __repr__(self) -> str:
        return f"Size({self})"

    # -- arithmetic -------------------------------------------------------------------------------

    def __add__(self, other: SizeLike) -> Size:
        other = size(other)
        if not self.terms:
            return other
        if not other.terms:
            return self
        terms = dict(self.terms)
        for monomial, coefficient in other.terms:
            terms[monomial] = terms.get(monomial, 0) + coefficient
        return Size(terms)

    __radd__ = __add__

    def __neg__(self) -> Size:
        return Size({m: -c for m, c in self.terms})

    def __sub__(self, other: SizeLike) -> Size:
        return self + -size(other)

    def __rsub__(self, other: SizeLike) -> Size:
        return size(other) - self

    def __mul__(self, other: SizeLike) -> Size:
        other = size(other)
        if self.number == 1:
            return other
        if other.number == 1:
            return self
        if len(self.terms) == 1 and len(other.terms) == 1:
            (ours, a), (theirs, b) = self.terms[0], other.terms[0]
            joined = tuple(sorted((*ours, *theirs), key=str)) if ours and theirs else ours or theirs
            return Size({joined: a * b})
        terms: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in other.terms:
                both = tuple(sorted((*left, *right), key=str))
                terms[both] = terms.get(both, 0) + a * b
        return Size(terms)

    __rmul__ = __mul__

    def __floordiv__(self, other: SizeLike) -> Size:
        """The floor of the quotient.

        Raises:
            ZeroDivisionError: the divisor is the number 0.
        """
        other = size(other)
        if other.number == 0:
            raise ZeroDivisionError
        exact = self.exact(other)
        if exact is not None:
            return exact
        if other.number is None:
            return Size({(Quotient(self, other),): 1})
        return _floor(self, other.number)

    def __mod__(self, other: SizeLike) -> Size:
        return self - self // other * size(other)

    def exact(self, divisor: SizeLike) -> Size | None:
        """The size that times the divisor gives this one for all values of the symbols, or None."""
        divisor = size(divisor)
        if not divisor.terms:
            return None
        (lead, factor), *_ = divisor.terms
        rest, quotient = self, Size({})
        while rest.terms:
            monomial, coefficient = rest.terms[0]
            left = _without(monomial, lead)
            if left is None or coefficient % factor:
                return None
            step = Size({left: coefficient // factor})
            quotient = quotient + step
            rest = rest - step * divisor
        return quotient

    # -- values -----------------------------------------------------------------------------------

    def at(self, values: Mapping[str, int]) -> int:
        """The number that it is for these values of its symbols.

        Raises:
            KeyError: a symbol has no value.
            ZeroDivisionError: a divisor becomes 0.
        """
        total = 0
        for monomial, coefficient in self.terms:
            for atom in monomial:
                coefficient *= _value(atom, values)
            total += coefficient
        return total

    def replaced(self, values: Mapping[str, Size]) -> Size:
        """The expression with symbols replaced by other expressions."""
        if self.symbols.isdisjoint(values):
            return self
        total = size(0)
        for monomial, coefficient in self.terms:
            term = size(coefficient)
            for atom in monomial:
                term = term * _replaced(atom, values)
            total = total + term
        return total


SIZES: dict[int | str, Size] = {}


def size(value: SizeLike) -> Size:
    """An int, the name of a symbol, or a size, as a size."""
    if isinstance(value, Size):
        return value
    known = SIZES.get(value)
    if known is None:
        terms: dict[Monomial, int] = {(value,): 1} if isinstance(value, str) else {(): int(value)}
        known = Size(terms)
        if isinstance(value, int) and -1 <= value < 4096:
            SIZES[value] = known
    return known


def largest(a: SizeLike, b: SizeLike) -> Size:
    """The larger of two sizes."""
    return _extreme("max", size(a), size(b), max)


def smallest(a: SizeLike, b: SizeLike) -> Size:
    """The smaller of two sizes."""
    return _extreme("min", size(a), size(b), min)


def _extreme(
    kind: Literal["max", "min"], a: Size, b: Size, pick: Callable[[int, int], int]
) -> Size:
    distance = (a - b).number
    if distance is not None:
        return a if pick(distance, 0) == distance else b
    first, second = sorted((a, b), key=str)
    return Size({(Extreme(kind, (first, second)),): 1})


def _floor(top: Size, bottom: int) -> Size:
    """``top // bottom`` for a number that does not divide all of ``top``."""
    if bottom < 0:
        top, bottom = -top, -bottom
    whole, rest = {}, {}
    for monomial, coefficient in top.terms:
        more, left = divmod(coefficient, bottom)
        whole[monomial], rest[monomial] = more, left
    remainder = Size(rest)
    found = Size(whole)
    # floor((g*x + c) / (g*d)) is floor((x + floor(c/g)) / d).
    common = gcd(bottom, *(c for m, c in remainder.terms if m))
    top = Size({m: c // common for m, c in remainder.terms})
    bottom //= common
    if top.number is not None or bottom == 1:
        return found + (top.number // bottom if top.number is not None else top)
    # floor((floor(x/a) + c) / b) is floor((x + a*c) / (a*b)) for positive a and b.
    (monomial, coefficient), *others = top.terms
    inner = monomial[0] if len(monomial) == 1 and coefficient == 1 else None
    if isinstance(inner, Quotient) and all(not m for m, _ in others):
        below = inner.bottom.number
        if below is not None and below > 0:
            added = others[0][1] if others else 0
            return found + (inner.top + below * added) // (below * bottom)
    return found + Size({(Quotient(top, size(bottom)),): 1})


def _without(monomial: Monomial, taken: Monomial) -> Monomial | None:
    left = list(monomial)
    for atom in taken:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def _parts(atom: Atom) -> Iterable[Size]:
    if isinstance(atom, Quotient):
        return atom.top, atom.bottom
    return atom.args if isinstance(atom, Extreme) else ()


def _value(atom: Atom, values: Mapping[str, int]) -> int:
    if isinstance(atom, str):
        return values[atom]
    first, second = (part.at(values) for part in _parts(atom))
    if isinstance(atom, Quotient):
        return first // second
    return max(first, second) if atom.kind == "max" else min(first, second)


def _replaced(atom: Atom, values: Mapping[str, Size]) -> Size:
    if isinstance(atom, str):
        return values.get(atom, size(atom))
    first, second = (part.replaced(values) for part in _parts(atom))
    if isinstance(atom, Quotient):
        return first // second
    return largest(first, second) if atom.kind == "max" else smallest(first, second)


def _factor(value: Size) -> str:
    """A size as a factor: sums and products in parentheses."""
    simple = value.number is not None or value.symbol is not None
    return str(value) if simple else f"({value})"


# -- text ------------------------------------------------------------------------------------------


def parse_size(text: str) -> Size:
    """An expression such as ``n0 + 1``, ``H//8 * (W//8)``, ``max(n, 16)`` or ``-(-H//8)``.

    ``/`` stands for ``//``. Whatever ``str`` makes of a size reads back as that size, if the names
    of its symbols are identifiers.

    Raises:
        UsageError: it is none.
    """
    try:
        return _parsed(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError) as error:
        raise UsageError(
            f"'{text}' is no size; sums, products, // and % of names and numbers are wanted"
        ) from error


_BINARY: Mapping[type[ast.operator], Callable[[Size, Size], Size]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Div: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
}


def _parsed(tree: ast.expr) -> Size:
    if isinstance(tree, ast.Name):
        return size(tree.id)
    if isinstance(tree, ast.Constant) and type(tree.value) is int:
        return size(tree.value)
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        return -_parsed(tree.operand)
    if isinstance(tree, ast.BinOp) and type(tree.op) in _BINARY:
        return _BINARY[type(tree.op)](_parsed(tree.left), _parsed(tree.right))
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and len(tree.args) == 2:
        first, second = (_parsed(a) for a in tree.args)
        if tree.func.id in ("max", "min"):
            return (largest if tree.func.id == "max" else smallest)(first, second)
    raise ValueError
