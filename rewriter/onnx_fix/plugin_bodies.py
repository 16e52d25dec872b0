"""What plugin nodes compute: bodies of the installed collections, and of the table."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from onnx import FunctionProto

from onnx_fix.plugin_table import bodies_of, shipped

if TYPE_CHECKING:
    from onnx_fix.engine import Step
    from onnx_fix.verify.source import PluginBody

GROUP = "onnx_fix.plugins"
"""Entry point group of plugin collections: packages with ``reference_functions(opset)``."""


def reference_functions(opset: int) -> list[FunctionProto]:
    """Bodies of the plugin ops of all installed collections, for running them on a CPU."""
    bodies: list[FunctionProto] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda e: (e.name, e.value)):
        bodies.extend(import_module(entry.value).reference_functions(opset))
    return bodies


def plugin_bodies(opset: int, steps: Sequence[Step] = ()) -> list[PluginBody]:
    """As ``reference_functions``, with the nodes of tables.

    Those of the passes that are run go before those of the table that ships with onnx-fix.
    """
    own = [body for step in steps for body in step.pass_.plugin_bodies()]
    return [*reference_functions(opset), *own, *bodies_of(shipped())]
