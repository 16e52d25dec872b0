"""The forms a check is printed in, one module each; every one has ``render``."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from onnx_fix.check.formats import github, human, json_format, sarif
from onnx_fix.check.formats.grouping import Results
from onnx_fix.errors import UsageError

FORMATS = ("human", "json", "sarif", "github")


class Renderer(Protocol):
    """Makes one text of the results of a check of one or several models.

    The text ends in a line break. ``verbose`` above 0 lists every node in the form for people; the
    forms for programs always have everything.
    """

    def __call__(self, results: Results, *, verbose: int = 0) -> str:
        """The text."""
        ...


def renderer(form: str, *, color: bool = False) -> Renderer:
    """The renderer of a form; ``color`` is for ``human`` alone.

    Raises:
        UsageError: there is no such form.
    """
    known: dict[str, Renderer] = {
        "human": partial(human.render, color=color),
        "json": json_format.render,
        "sarif": sarif.render,
        "github": github.render,
    }
    if form not in known:
        raise UsageError(f"--format {form}: choose {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    return known[form]


__all__ = ["FORMATS", "Renderer", "renderer"]
