"""Which rule lowers which op across which operator set.

The table is filled by the modules of ``rules``, each with a mapping ``RULES`` from
``(op, version)`` to a rule: the rule writes a node that has the meaning of ``version`` in the
meaning that the op had just before it (or in other ops where it did not exist). ``undecided``
compares it with the schemas that onnx ships, so that a new onnx shows what is missing.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import onnx

from onnx_fix.lower import rules
from onnx_fix.lower.node import Rule

LOWEST = 9
"""The lowest operator set that models are lowered to."""


@cache
def table() -> dict[tuple[str, int], Rule]:
    """All rules.

    Raises:
        RuntimeError: two modules decide the same step.
    """
    found: dict[tuple[str, int], Rule] = {}
    for info in sorted(pkgutil.iter_modules(rules.__path__), key=lambda i: i.name):
        module = importlib.import_module(f"{rules.__name__}.{info.name}")
        for key, rule in getattr(module, "RULES", {}).items():
            if key in found:
                raise RuntimeError(f"two rules for {key}: the second in {info.name}")
            found[key] = rule
    return found


def steps() -> list[tuple[str, int]]:
    """Every (op, version) of the default domain above ``LOWEST`` that the installed onnx knows."""
    versions = {
        (schema.name, schema.since_version)
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.domain == ""
        and schema.since_version > LOWEST
        and schema.support_level == onnx.defs.OpSchema.SupportType.COMMON
    }
    return sorted(versions)


def undecided() -> list[tuple[str, int]]:
    """Steps that no rule decides."""
    return [step for step in steps() if step not in table()]
