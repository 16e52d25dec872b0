"""Find the checks of models, and every code there is."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from onnx_fix.check import model_checks as package
from onnx_fix.check.codes import NODE_CODES
from onnx_fix.check.finding import Code
from onnx_fix.check.model_check import ModelCheck
from onnx_fix.errors import InternalError

_LIVE = "onnx_fix.check.live"


def _modules() -> Iterator[ModuleType]:
    for info in pkgutil.iter_modules(package.__path__):
        if not info.name.startswith("_"):
            yield importlib.import_module(f"{package.__name__}.{info.name}")


@cache
def model_checks() -> tuple[type[ModelCheck], ...]:
    """Every check of whole models, in the order of their codes."""
    found = [
        value
        for module in _modules()
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, ModelCheck)
        and value.__module__ == module.__name__
    ]
    return tuple(sorted(found, key=lambda cls: cls.code.code))


@cache
def model_codes() -> tuple[Code, ...]:
    """The codes of the checks of whole models, with any that their modules define beside."""
    found = {cls.code.code: cls.code for cls in model_checks()}
    for module in _modules():
        beside = (value for value in vars(module).values() if isinstance(value, Code))
        found.update((code.code, code) for code in beside if code.code.startswith("OF8"))
    return tuple(found[number] for number in sorted(found))


@cache
def live_codes() -> tuple[Code, ...]:
    """The codes of what an installed parser says."""
    if importlib.util.find_spec(_LIVE) is None:
        return ()
    return tuple(importlib.import_module(_LIVE).LIVE_CODES)


@cache
def all_codes() -> tuple[Code, ...]:
    """Every code, in order of the numbers.

    Raises:
        InternalError: two kinds of findings have one number or one name.
    """
    listed = [*NODE_CODES.values(), *model_codes(), *live_codes()]
    for taken in ([c.code for c in listed], [c.name for c in listed]):
        twice = sorted({text for text in taken if taken.count(text) > 1})
        if twice:
            raise InternalError(f"codes that are given twice: {', '.join(twice)}")
    return tuple(sorted(listed, key=lambda c: c.code))
