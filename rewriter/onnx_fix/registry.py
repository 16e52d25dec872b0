"""Find passes by name: in the installed collections, and in the user's own files."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from onnx_fix.contract import BasePass, Mends, ModelPass, Pass
from onnx_fix.errors import PipelineError, UsageError

GROUP = "onnx_fix.passes"
"""Entry point group: each entry names a package whose modules hold one pass each."""


def passes_in(module: ModuleType) -> list[type[BasePass]]:
    """The pass classes that a module defines."""
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, BasePass)
        and value not in (BasePass, Pass, ModelPass)
        and value.__module__ == module.__name__
    ]


def _collect(package: ModuleType) -> Iterable[type[BasePass]]:
    yield from passes_in(package)
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda i: i.name):
        if not info.name.startswith("_"):
            yield from passes_in(importlib.import_module(f"{package.__name__}.{info.name}"))


@cache
def installed() -> dict[str, type[BasePass]]:
    """Every pass of every installed collection, by name.

    Raises:
        UsageError: two collections have a pass of the same name.
    """
    found: dict[str, type[BasePass]] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda e: (e.name, e.value)):
        for cls in _collect(importlib.import_module(entry.value)):
            other = found.setdefault(cls.name, cls)
            if other is not cls:
                raise UsageError(
                    f"two passes are called '{cls.name}': {other.__module__} and {cls.__module__}; "
                    "uninstall one of the packages"
                )
    return found


def load_custom(source: str, base_dir: Path) -> dict[str, type[BasePass]]:
    """The passes of a user's own Python file (relative to ``base_dir``) or importable module.

    Raises:
        PipelineError: there is no such file or module, or it defines no pass.
    """
    if source.endswith(".py"):
        path = (base_dir / source).resolve()
        spec = importlib.util.spec_from_file_location(f"onnx_fix_custom_{path.stem}", path)
        if spec is None or spec.loader is None or not path.is_file():
            raise PipelineError(f"{path}: there is no such file; correct the entry under custom")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        try:
            module = importlib.import_module(source)
        except ModuleNotFoundError as error:
            raise PipelineError(f"custom passes: {error}; install the package") from error
    found = list(_collect(module)) if hasattr(module, "__path__") else passes_in(module)
    if not found:
        raise PipelineError(f"{source} defines no pass (a frozen dataclass derived from Pass)")
    return {cls.name: cls for cls in found}


def get(name: str, more: dict[str, type[BasePass]] | None = None) -> type[BasePass]:
    """A pass by name.

    Raises:
        UsageError: no pass has that name; the nearest names are given.
    """
    known = {**installed(), **(more or {})}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=2)
    hint = (
        f"; did you mean {' or '.join(near)}?"
        if near
        else f"; known are {', '.join(sorted(known))}"
    )
    raise UsageError(f"there is no pass called '{name}'{hint}")


def default_order(
    passes: Iterable[type[BasePass]] | None = None,
) -> list[type[BasePass]]:
    """The passes in the order the planner runs them: by stage, then by name."""
    found = installed().values() if passes is None else passes
    return sorted((p for p in found if p.default), key=lambda p: (p.stage.value, p.name))


@cache
def menders(kind: str, op: str) -> tuple[tuple[type[BasePass], Mends], ...]:
    """The default passes that clear a kind of finding of an op, in the order they would run."""
    return tuple(
        (cls, claim)
        for cls in default_order()
        for claim in cls.mends
        if claim.kind in (kind, "*") and claim.op in (op, "*")
    )
