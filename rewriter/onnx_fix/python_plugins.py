"""Plugins in Python, which let TensorRT parse and build where no plugin library is at hand."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from onnx import ModelProto

from onnx_fix.functions import all_nodes
from onnx_fix.plugin_bodies import GROUP


def known() -> dict[str, Path]:
    """The ops that the installed collections have a plugin in Python for, and its module."""
    found: dict[str, Path] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda e: (e.name, e.value)):
        collection = import_module(entry.value)
        if hasattr(collection, "python_plugins"):
            found.update(collection.python_plugins())
    return found


def wanted(model: ModelProto) -> dict[str, Path]:
    """Those for the ops of a model, functions of its own aside."""
    functions = {f.name for f in model.functions}
    ops = {node.op_type for node in all_nodes(model)} - functions
    return {op: path for op, path in known().items() if op in ops}
