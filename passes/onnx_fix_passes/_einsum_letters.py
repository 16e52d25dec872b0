"""Einsum equations: reading, checking, and binding the ellipsis to the ranks of the operands.

Source: the ONNX operator Einsum-12, which follows ``numpy.einsum``.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_TERM = re.compile(r"([A-Za-z]*)(\.\.\.)?([A-Za-z]*)")

Labels = tuple[str, ...]
"""The axes of a tensor by name: letters, and numbers for what an ellipsis stands for, counted from
its right end, so that the axes of ellipses of different ranks meet by name."""


class EquationError(ValueError):
    """The equation cannot be read, or does not fit its operands; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Equation:
    """An equation whose every axis has a name."""

    terms: tuple[Labels, ...]
    output: Labels

    def text(self) -> str | None:
        """The equation in lower case, with the output and no ellipsis; None above 26 labels.

        Labels that are lower case letters already are kept.
        """
        used = list(dict.fromkeys(label for term in self.terms for label in term))
        free = [c for c in string.ascii_lowercase if c not in used]
        new = [label for label in used if label not in string.ascii_lowercase]
        if len(new) > len(free):
            return None
        names = dict(zip(new, free, strict=False))
        terms = ["".join(names.get(label, label) for label in term) for term in self.terms]
        return f"{','.join(terms)}->{''.join(names.get(c, c) for c in self.output)}"


def bind(equation: str, ranks: Sequence[int | None]) -> Equation:
    """Read an equation for operands of these ranks (None: not known).

    Blanks do not count. Without ``->`` the output is the dims of the ellipsis, then the labels that
    occur once, in the order of their character codes (upper case first).

    Raises:
        EquationError: the equation is malformed, does not fit the ranks, or holds an ellipsis for
            an operand of unknown rank.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise EquationError(
            f"equation '{equation}' has {len(terms)} terms and the node has {len(ranks)} inputs"
        )
    bound = [
        _bind_term(equation, term, k, rank)
        for k, (term, rank) in enumerate(zip(terms, ranks, strict=True))
    ]
    dots = max((sum(label.isdigit() for label in term) for term in bound), default=0)
    ellipsis = tuple(str(k) for k in reversed(range(dots)))
    counts = Counter(label for term in bound for label in term)
    if not arrow:
        letters = sorted(c for c, times in counts.items() if times == 1 and not c.isdigit())
        return Equation(tuple(bound), (*ellipsis, *letters))
    front, there, back = _split(equation, right)
    if ellipsis and not there:
        raise EquationError(
            f"the output of equation '{equation}' has no ellipsis although its operands have one: "
            "implementations disagree on what that means"
        )
    output = (*front, *(ellipsis if there else ()), *back)
    for label in output:
        if label not in counts:
            raise EquationError(f"output label '{label}' of equation '{equation}' has no operand")
        if output.count(label) > 1:
            raise EquationError(f"the output of equation '{equation}' has label '{label}' twice")
    return Equation(tuple(bound), output)


def _split(equation: str, term: str) -> tuple[str, str, str]:
    found = _TERM.fullmatch(term)
    if found is None:
        raise EquationError(f"equation '{equation}' is malformed at '{term}'")
    return found[1], found[2] or "", found[3]


def _bind_term(equation: str, term: str, index: int, rank: int | None) -> Labels:
    front, dots, back = _split(equation, term)
    letters = len(front) + len(back)
    if not dots:
        if rank is not None and rank != letters:
            raise EquationError(
                f"equation '{equation}' names {letters} axes of operand {index}, which has {rank}"
            )
        return (*front, *back)
    if rank is None:
        raise EquationError(
            f"equation '{equation}' has an ellipsis for operand {index}, whose rank is not known"
        )
    if rank < letters:
        raise EquationError(
            f"equation '{equation}' names {letters} axes of operand {index}, which has {rank}"
        )
    return (*front, *(str(k) for k in reversed(range(rank - letters))), *back)
