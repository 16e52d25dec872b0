"""A minimal model for every claim of a pass: one module per pass, named as its file.

``CASES`` of each is by the name of the pass, the kind of finding, and the op; ``*`` stands for any.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from claim import Case


def all_cases() -> dict[tuple[str, str, str], Case]:
    """The cases of all modules."""
    return {
        key: case
        for module in iter_modules(__path__)
        for key, case in import_module(f"claims.{module.name}").CASES.items()
    }
